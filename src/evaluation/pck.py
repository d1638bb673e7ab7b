"""Percentage of correct keypoints (PCK): joints whose error is at most a share of a length of their person.

The length is what tells the metrics apart: the torso (PCK), the head (PCKh), the box around the person.
N people, J joints, T thresholds.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from src.datasets.annotations import UNLABELLED

# Coordinates and lengths may have been float32: an error of exactly the threshold is then off by up to this.
_ROUNDING = 1e-5


class Tally(NamedTuple):
    """How many joints are correct, and how many count: int64, percentages come from these.

    The last axis of both is J, the others broadcast: for a curve correct is (T, J) and counted (J,).
    """

    correct: np.ndarray
    counted: np.ndarray

    def percent(self) -> np.ndarray:
        """The percentage of each joint, (..., J); NaN for a joint that never counts."""
        return _percent(self.correct, self.counted)

    def pooled(self, joints: Sequence[int]) -> np.ndarray:
        """The percentage (...) over these joints of all people: each joint weighs as often as it counts."""
        return _percent(self.correct[..., list(joints)].sum(-1), self.total(joints))

    def mean(self, joints: Sequence[int]) -> np.ndarray:
        """The plain mean (...) of these joints' percentages, but for those that never count."""
        return self.means([joints])[..., 0]

    def means(self, groups: Sequence[Sequence[int]]) -> np.ndarray:
        """The `mean` of each group of joints, (..., groups)."""
        percent, members = self.percent(), _members(groups, self.counted.shape[-1])
        seen = ~np.isnan(percent)
        return _percent(np.where(seen, percent, 0) @ members / 100, seen @ members)

    def total(self, joints: Sequence[int]) -> np.ndarray:
        """How many of these joints count, (...)."""
        return self.counted[..., list(joints)].sum(-1)

    def totals(self, groups: Sequence[Sequence[int]]) -> np.ndarray:
        """The `total` of each group of joints, (..., groups)."""
        return self.counted @ _members(groups, self.counted.shape[-1])


def distances(
    predictions: np.ndarray, truth: np.ndarray, length: np.ndarray, counted: np.ndarray
) -> np.ndarray:
    """Errors in units of a length, (N, J) float32; NaN where a joint does not count.

    predictions, truth (N, J, 2) in the same coordinates, counted (N, J) bool. length (N,), of people, or
    (N, J), of joints: without a positive one a joint does not count. Instead of N there may be several axes,
    which broadcast. A prediction that is not a number is infinitely far off.
    """
    with np.errstate(over="ignore"):  # what is too large for a square is infinitely far off, too
        offset = (predictions - truth).astype(np.float32, copy=False)
        np.square(offset, out=offset)
        # joint after joint in memory, to be sorted in `tally`
        error = np.add(offset[..., 0], offset[..., 1], order="F")
    np.sqrt(error, out=error)
    error[np.isnan(error)] = np.inf
    unit = np.where(length > 0, length, np.nan).astype(np.float32)
    error /= unit if unit.ndim == error.ndim else unit[..., None]
    return only(error, counted)


def only(distance: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """`distance` (N, J) where `counted` (N, J) bool, else NaN."""
    with np.errstate(invalid="ignore"):
        # 0 / 1 is 0 and 0 / 0 NaN: a quarter of the time of np.where, which decides one by one
        return distance + np.divide(0, counted, dtype=distance.dtype)


def tally(distance: np.ndarray, threshold: float | np.ndarray) -> Tally:
    """Count `distances` (N, J) that are at most `threshold`: one number, or (T,) for correct (T, J)."""
    limits = np.append(np.atleast_1d(threshold) + _ROUNDING, np.inf).astype(distance.dtype)
    # Sorted once, a joint's distances give their number up to any limit; those that do not count are last.
    counts = np.stack([column.searchsorted(limits, side="right") for column in np.sort(distance.T)], axis=1)
    return Tally(counts[:-1].reshape(*np.shape(threshold), -1), counts[-1])


def within(distance: np.ndarray, threshold: float) -> np.ndarray:
    """Whether distances are at most `threshold`; those that do not count are not."""
    return distance <= distance.dtype.type(threshold + _ROUNDING)


def first_passed(distance: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Which of the rising thresholds (T,) is the first that each distance is within; T if none, or NaN."""
    limits = (thresholds + _ROUNDING).astype(distance.dtype)
    return limits.searchsorted(distance)


def area_under_curve(thresholds: np.ndarray, percent: np.ndarray) -> np.ndarray:
    """The mean height (...) of curves (..., T) between their ends, by the trapezoid rule."""
    return percent @ area_weights(thresholds)


def area_weights(thresholds: np.ndarray) -> np.ndarray:
    """What each value (T,) of a curve adds to the area under it; their sum is 1."""
    halves = np.diff(thresholds) / 2
    return (np.append(halves, 0) + np.append(0, halves)) / (thresholds[-1] - thresholds[0])


def box_sides(joints: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """The longer side (N,) of the box around each person's labelled joints; 0 or -inf where there is no box.

    joints (N, J, 2), visible (N, J).
    """
    points = np.ascontiguousarray(joints.transpose(1, 2, 0))  # (J, 2, N): NumPy is slow along short axes
    labelled = np.ascontiguousarray(visible.T > UNLABELLED)[:, None]
    low = np.where(labelled, points, np.inf).min(0)
    high = np.where(labelled, points, -np.inf).max(0)
    return (high - low).max(0)


def _percent(correct: np.ndarray, counted: np.ndarray) -> np.ndarray:
    return 100 * correct / np.where(counted > 0, counted, np.nan)


def _members(groups: Sequence[Sequence[int]], joints: int) -> np.ndarray:
    """Which joint is in which group: (joints, groups) int64, 0 or 1."""
    return np.array([[int(joint in group) for group in groups] for joint in range(joints)])
