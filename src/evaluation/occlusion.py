"""How well a network's confidence tells joints that cannot be seen: precision and recall over a threshold.

A joint is taken for absent where the highest value of its heatmap is at most the threshold. Which joints are
absent is up to the annotation: those that are unlabelled, or the hidden ones as well. N joints of people.
"""

from typing import NamedTuple

import numpy as np

from src.datasets.annotations import HIDDEN, MASKED, UNLABELLED


class Curve(NamedTuple):
    """Over rising thresholds, all distinct confidences: precision and recall, from 0 to 1, of equal length.

    share: of joints that are absent, which is the precision of guessing.
    """

    threshold: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    share: float

    @property
    def average(self) -> float:
        """Average precision: the area under precision over recall, in steps."""
        return float(np.diff(self.recall, prepend=0) @ self.precision)


def absent(visible: np.ndarray, hidden: bool) -> np.ndarray:
    """Which joints are absent, of visibilities of any shape: unlabelled ones, and perhaps hidden ones."""
    return (visible > MASKED) & (visible <= (HIDDEN if hidden else UNLABELLED))


def precision_recall(score: np.ndarray, is_absent: np.ndarray) -> Curve | None:
    """The curve of joints with a confidence (N,), of which some are absent (N,) bool; None if none is."""
    if not is_absent.any():
        return None
    order = np.argsort(score, kind="stable")
    threshold, positive = score[order], is_absent[order]
    last = np.append(np.diff(threshold) > 0, True)  # of those with the same confidence
    right, called = np.cumsum(positive)[last], np.flatnonzero(last) + 1
    return Curve(threshold[last], right / called, right / positive.sum(), float(positive.mean()))
