"""What no body can look like: joints taken for those of the other side, and limbs longer than any.

The kinds of a joint are those of src/evaluation/failures.py. A limb is too long if its predicted length, in
the lengths by which a kind of PCK measures people, is beyond LONGEST of the true limbs of its group in the
split, left and right alike. How short a limb may look has no bound: it can point at the camera.

N people, J joints, L limbs, C columns.
"""

from collections.abc import Sequence

import numpy as np

from src.datasets.annotations import UNLABELLED, VISIBLE
from src.datasets.skeletons import Skeleton
from src.evaluation.bootstrap import intervals
from src.evaluation.failures import KINDS, failures
from src.evaluation.limbs import limbs_of
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
    limit = np.broadcast_to((threshold * length)[:, None], known.shape)
    kinds = failures(predictions, joints, known, limit, skeleton.flip_order)[:, list(skeleton.mean_joints)]
    seen = visible == VISIBLE
    of_joints = _columns(kinds >= 0, seen[:, list(skeleton.mean_joints)])
    long, counted, limb_seen = _long_limbs(predictions, joints, known, seen, skeleton, length)
    of_limbs = _columns(counted, limb_seen)
    places = {kind: list(KINDS).index(kind) for kind in _ALONE}
    parts = {
        **{
            f"{PROTOCOL}_{kind}": (f"Joints {kind}", of_joints & (kinds == place)[:, None], of_joints)
            for kind, place in places.items()
        },
        f"{PROTOCOL}_{_TOO_LONG}": ("Limbs too long", of_limbs & long[:, None], of_limbs),
    }
    _, groups = limbs_of(skeleton)
    by_group = {
        name: (f"{name} too long", (of_limbs & long[:, None])[..., list(own)], of_limbs[..., list(own)])
        for name, own in groups.items()
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


def _long_limbs(
    predictions: np.ndarray,
    joints: np.ndarray,
    known: np.ndarray,
    seen: np.ndarray,
    skeleton: Skeleton,
    length: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which limbs are too long, which count, and which are in sight: (N, L) bool each."""
    limbs, groups = limbs_of(skeleton)
    ends = [[[skeleton.index(joint) for joint in end] for end in both] for both in limbs.values()]
    counted, in_sight = (
        np.stack([state[:, one + other].all(1) for one, other in ends], axis=1) for state in (known, seen)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        found, true = (_lengths(points, ends) / length[:, None] for points in (predictions, joints))
        long = np.zeros(counted.shape, bool)
        for members in map(list, groups.values()):
            lengths = true[:, members][counted[:, members]]
            longest = np.quantile(lengths, LONGEST) if len(lengths) else np.nan
            long[:, members] = ~(found[:, members] <= longest)  # nor is one without an end a limb
    return long, counted, in_sight


def _lengths(points: np.ndarray, ends: Sequence[Sequence[Sequence[int]]]) -> np.ndarray:
    """Of each limb, between the middles of its ends: (N, L)."""
    middles = np.stack([[points[:, end].mean(1) for end in both] for both in ends])  # (L, 2, N, 2)
    return np.linalg.norm(middles[:, 0] - middles[:, 1], axis=2).T


def _row(label: str, found: np.ndarray, counted: np.ndarray, bootstrap: int) -> Row:
    """The share of what was found (N, C, P) in what counts, by column."""
    found, counted = found.sum(2), counted.sum(2)
    number, total = found.sum(0), counted.sum(0)
    known: list[tuple[float, float] | None] = [None] * len(total)
    if bootstrap:
        low, high = intervals(
            len(found), lambda weights: _percent(weights @ found, weights @ counted), bootstrap
        )
        known = [*zip(low.tolist(), high.tolist(), strict=True)]
    return Row(label, tuple(map(Score, _percent(number, total).tolist(), total.tolist(), known)))


def _percent(number: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.where(total > 0, 100 * number / np.maximum(total, 1), np.nan)
