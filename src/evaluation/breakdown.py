"""Groups of people to be scored apart: by what side they show, how their trunk leans, and what they do.

    scored = broken_down("view", partial(evaluate, "pck"), predictions, truth)

N people, J joints.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from src.datasets.annotations import UNLABELLED
from src.errors import UserError
from src.evaluation.protocols import Truth
from src.evaluation.results import Breakdown, Result

BY_ACTION = "action"
_UNKNOWN = "unknown"
_FACING = 0.3  # how many torsos apart the shoulders of who is seen from the front or back look at least
_LEANS = (20, 40, 120)  # degrees


def broken_down(
    by: str, score: Callable[[np.ndarray, Truth], Result], predictions: np.ndarray, truth: Truth
) -> Breakdown:
    """What `score` says of each group of people, by one of GROUPINGS, but for groups with nothing to score.

    predictions (N, J, 2). Raises UserError for a truth that does not say who belongs where.
    """
    labels, order = GROUPINGS[by](truth)
    results = {}
    for label in (*order, _UNKNOWN):
        rows = np.flatnonzero(labels == label)
        try:
            results[label] = score(predictions[rows], truth.select(rows))
        except UserError:  # nobody, or nobody with a length to measure errors by
            continue
    return Breakdown(by, results)


def views(truth: Truth) -> tuple[np.ndarray, tuple[str, ...]]:
    """front, back or profile (N,), by how far the left shoulder is from the right one across the trunk.

    In torsos, along the axis that points to the observer's right where the trunk is upright.
    """
    up, across, known = _trunks(truth)
    length = np.linalg.norm(up, axis=1)
    to_right = np.stack([-up[:, 1], up[:, 0]], axis=1)
    apart = (across * to_right).sum(1) / np.where(known, length, 1) ** 2
    names = ("front", "back", "profile")
    return np.select([~known, apart > _FACING, apart < -_FACING], [_UNKNOWN, *names[:2]], names[2]), names


def leans(truth: Truth) -> tuple[np.ndarray, tuple[str, ...]]:
    """The range of the angle (N,) between the trunk and upright."""
    up, _, known = _trunks(truth)
    angle = np.degrees(np.arctan2(np.abs(up[:, 0]), -up[:, 1]))
    ends = pairwise(_LEANS)
    names = (f"to {_LEANS[0]}°", *(f"{low}° to {high}°" for low, high in ends), f"over {_LEANS[-1]}°")
    return np.where(known, np.array(names)[np.searchsorted(_LEANS, angle)], _UNKNOWN), names


def actions(truth: Truth) -> tuple[np.ndarray, tuple[str, ...]]:
    """What each person does (N,). Raises UserError for a data set that does not say."""
    if truth.action is None:
        raise UserError(f"--by {BY_ACTION}: {truth.name} does not say what people do; penn does")
    labels = np.char.decode(truth.action, "utf-8", "replace")
    return labels, tuple(np.unique(labels).tolist())


# Each gives what a person is called (N,), and all such names in the order of a table.
GROUPINGS: dict[str, Callable[[Truth], tuple[np.ndarray, tuple[str, ...]]]] = {
    "view": views,
    "torso": leans,
    BY_ACTION: actions,
}


def _trunks(truth: Truth) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From hips up to shoulders, and from the right to the left shoulder (N, 2); who has all of them (N,)."""
    names = [f"{side} {joint}" for joint in ("shoulder", "hip") for side in ("left", "right")]
    missing = [name for name in names if name not in truth.skeleton.joints]
    if missing:
        raise UserError(f"--by: {truth.name} has no {missing[0]}, which tells how people stand")
    places = [truth.skeleton.joints.index(name) for name in names]
    left, right, left_hip, right_hip = truth.joints[:, places].astype(np.float64).swapaxes(0, 1)
    up, across = (left + right - left_hip - right_hip) / 2, left - right
    known = (truth.visible[:, places] > UNLABELLED).all(1) & (up != 0).any(1)
    return up, across, known
