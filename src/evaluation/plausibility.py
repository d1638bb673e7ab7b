"""What no body can look like: joints taken for those of the other side, and limbs longer than any.

The kinds of a joint are those of src/evaluation/failures.py. A limb is too long if its predicted length, in
the lengths by which a kind of PCK measures people, is beyond LONGEST of the true limbs of its group in the
split, left and right alike. How short a limb may look has no bound: it can point at the camera.

N people, J joints, L limbs, C columns.
"""

import numpy as np

from src.datasets.annotations import UNLABELLED, VISIBLE
from src.datasets.skeletons import Skeleton
from src.evaluation.bootstrap import intervals
from src.evaluation.failures import KINDS, NOT_COUNTED, failures
from src.evaluation.limbs import Limbs, limbs_of
from src.evaluation.pck import Tally
from src.evaluation.results import Result, Row, Score

PROTOCOL = "failures"
COLUMNS = ("all", "visible", "hidden")
LONGEST = 0.999  # of the true limbs are shorter than what is too long
_ALONE = tuple(kind for kind in KINDS if kind != "swapped")  # what can befall the only person of a crop
_TOO_LONG = "too_long"


def describe_failures(
    predictions: np.ndarray,
    joints: np.ndarray,
    visible: np.ndarray,
    skeleton: Skeleton,
    length: np.ndarray,
    threshold: float,
    title: str,
    bootstrap: int = 0,
) -> Result:
    """The shares of joints of each kind, and of limbs that are too long, in all, in sight and hidden.

    predictions, joints (N, J, 2); visible (N, J), 0 for what is not predicted, too. length (N,): of each
    person; a joint is right within `threshold` of it; who has none is left out. A limb is in sight if both
    ends are. bootstrap: how often people are drawn for intervals; 0: there are none.
    """
    known = (visible > UNLABELLED) & (length > 0)[:, None]
    in_means = list(skeleton.mean_joints)
    kinds = failures(predictions, joints, known, length, threshold, skeleton.flip_order)[:, in_means]
    seen = visible == VISIBLE
    of_joints = _columns(kinds != NOT_COUNTED, seen[:, in_means])
    limbs = limbs_of(skeleton)
    counted = limbs.whole(known)
    long = _too_long(predictions, joints, counted, limbs, length)
    of_limbs = _columns(counted, limbs.whole(seen))
    places = {kind: list(KINDS).index(kind) for kind in _ALONE}
    parts = {
        **{
            f"{PROTOCOL}_{kind}": (f"Joints {kind}", of_joints & (kinds == place)[:, None], of_joints)
            for kind, place in places.items()
        },
        f"{PROTOCOL}_{_TOO_LONG}": ("Limbs too long", of_limbs & long[:, None], of_limbs),
    }
    by_group = {
        name: (f"{name} too long", (of_limbs & long[:, None])[..., own], of_limbs[..., own])
        for name, own in limbs.groups.items()
    }
    people = int(known.any(1).sum())
    left_out = int((visible > UNLABELLED).any(1).sum()) - people
    return Result(
        protocol=PROTOCOL,
        title=title,
        people=people,
        left_out=left_out,
        notes=(f"{left_out} people without a length to measure by are left out",) if left_out else (),
        columns=COLUMNS,
        sections={
            "means": {key: _row(*part, bootstrap) for key, part in parts.items()},
            "parts": {key: _row(*part, 0) for key, part in by_group.items()},
        },
        thresholds=np.zeros(0),
        curves={},
    )


def _columns(counted: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """What counts (N, P) bool, in each of COLUMNS: (N, C, P)."""
    return np.stack([counted, counted & seen, counted & ~seen], axis=1)


def _too_long(
    predictions: np.ndarray, joints: np.ndarray, counted: np.ndarray, limbs: Limbs, length: np.ndarray
) -> np.ndarray:
    """Which limbs (N, L) bool are longer than those of `joints` that count (N, L), or lack an end."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found, true = (_lengths(points, limbs) / length[:, None] for points in (predictions, joints))
        long = np.zeros(counted.shape, bool)
        for members in limbs.groups.values():
            lengths = true[:, members][counted[:, members]]
            longest = np.quantile(lengths, LONGEST) if len(lengths) else np.nan
            long[:, members] = ~(found[:, members] <= longest)
    return long


def _lengths(points: np.ndarray, limbs: Limbs) -> np.ndarray:
    """Of each limb, between its ends: (N, L)."""
    ends = limbs.middles(points)
    return np.linalg.norm(ends[:, 0] - ends[:, 1], axis=2).T


def _row(label: str, found: np.ndarray, counted: np.ndarray, bootstrap: int) -> Row:
    """The share of what was found (N, C, P) in what counts, by column."""
    each = Tally(found.sum(2), counted.sum(2))
    everybody = Tally(*(part.sum(0) for part in each))
    known: list[tuple[float, float] | None] = [None] * len(everybody.counted)
    if bootstrap:

        def figures(weights: np.ndarray) -> np.ndarray:
            return Tally(*(weights @ part for part in each)).percent()

        low, high = intervals(len(found), figures, bootstrap)
        known = [*zip(low.tolist(), high.tolist(), strict=True)]
    return Row(label, tuple(map(Score, everybody.percent().tolist(), everybody.counted.tolist(), known)))
