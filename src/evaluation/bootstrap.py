"""How far a figure may be from that of other people of the same kind: bootstrap intervals (Efron, 1979).

The people of a split are drawn again and again with replacement, as many as there are; what the middle 95 %
of the draws reach is the interval. A draw is a row of weights: how often each person was drawn. Figures that
are functions of sums over people come of all draws by a product of matrices.
"""

import warnings
from collections.abc import Callable

import numpy as np

LEVEL = 0.95
_AT_ONCE = 1 << 22  # weights in memory


def intervals(
    count: int, figures: Callable[[np.ndarray], np.ndarray], draws: int, seed: int = 0
) -> np.ndarray:
    """The ends (2, ...) of the intervals of some figures; NaN for one that is NaN in every draw.

    count: of people, or pictures, to draw from. figures: makes (B, ...) figures of weights (B, count).
    """
    random = np.random.default_rng(seed)
    block = max(1, _AT_ONCE // max(1, count))
    drawn = [figures(_weights(random, min(block, draws - start), count)) for start in range(0, draws, block)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of figures that are always NaN
        return np.nanquantile(np.concatenate(drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)


def _weights(random: np.random.Generator, draws: int, count: int) -> np.ndarray:
    """How often each of `count` people is drawn: (draws, count) float32, rows of sum `count`."""
    people = random.integers(count, size=(draws, count)) + count * np.arange(draws)[:, None]
    return np.bincount(people.ravel(), minlength=draws * count).reshape(draws, count).astype(np.float32)
