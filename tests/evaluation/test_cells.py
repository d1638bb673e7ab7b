"""Decoding in NumPy: the very points that PyTorch's decoding gives."""

import numpy as np
import torch

from src.evaluation import cells
from src.evaluation.decode import decode


def test_points_are_those_of_the_other_form() -> None:
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 4, (40, 3, 5, 6)).astype(np.float32)  # with many ties, and maxima at borders
    points, scores = cells.decode(maps)
    expected, values = decode(torch.from_numpy(maps))
    np.testing.assert_array_equal(points, expected.numpy())
    np.testing.assert_array_equal(scores, values.numpy())
    assert points.dtype == scores.dtype == np.float32
