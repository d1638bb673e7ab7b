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
    """How many joints are correct (..., J), and how many count (J,); int64. Percentages come from these."""

    correct: np.ndarray
    counted: np.ndarray

    def percent(self) -> np.ndarray:
        """The percentage of each joint, (..., J); NaN for a joint that never counts."""
        return _percent(self.correct, self.counted)

    def pooled(self, joints: Sequence[int]) -> np.ndarray:
        """The percentage (...) over these joints of all people: each joint weighs as often as it counts."""
        joints = list(joints)
        return _percent(self.correct[..., joints].sum(-1), self.counted[joints].sum())

    def mean(self, joints: Sequence[int]) -> np.ndarray:
        """The plain mean (...) of these joints' percentages, but for those that never count."""
        joints = [joint for joint in joints if self.counted[joint]]
        return self.percent()[..., joints].mean(-1) if joints else np.full(self.correct.shape[:-1], np.nan)

    def count(self, joints: Sequence[int]) -> int:
        """How many of these joints count."""
        return int(self.counted[list(joints)].sum())


def distances(
    predictions: np.ndarray, truth: np.ndarray, length: np.ndarray, counted: np.ndarray
) -> np.ndarray:
    """Errors in units of the person's length, (N, J) float64; NaN where a joint does not count.

    predictions, truth (N, J, 2) in the same coordinates. length (N,): people without a positive one do not
    count. counted (N, J) bool. A prediction that is not a number is infinitely far off.
    """
    offset = np.asarray(predictions, np.float64) - truth
    error = np.hypot(offset[..., 0], offset[..., 1])
    error[~np.isfinite(error)] = np.inf
    usable = length > 0
    error /= np.where(usable, length, 1)[:, None]
    error[~(counted & usable[:, None])] = np.nan
    return error


def tally(distance: np.ndarray, threshold: float | np.ndarray) -> Tally:
    """Count `distances` (N, J) that are at most `threshold`: one number, or (T,) for correct (T, J)."""
    limit = np.asarray(threshold)[..., None, None] + _ROUNDING
    return Tally((distance <= limit).sum(-2), (~np.isnan(distance)).sum(0))


def area_under_curve(thresholds: np.ndarray, percent: np.ndarray) -> float:
    """The mean height of a curve (T,) between its ends, by the trapezoid rule."""
    widths = np.diff(thresholds)
    return float((widths * (percent[1:] + percent[:-1]) / 2).sum() / widths.sum())


def box_sides(joints: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """The longer side (N,) of the box around each person's labelled joints; 0 or -inf where there is no box.

    joints (N, J, 2), visible (N, J).
    """
    labelled = (visible > UNLABELLED)[..., None]
    low = np.where(labelled, joints, np.inf).min(1)
    high = np.where(labelled, joints, -np.inf).max(1)
    return (high - low).max(1)


def _percent(correct: np.ndarray, counted: np.ndarray) -> np.ndarray:
    return 100 * correct / np.where(counted > 0, counted, np.nan)
