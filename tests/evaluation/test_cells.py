"""Decoding in NumPy: the very points that PyTorch's decoding gives."""

import numpy as np
import pytest
import torch

from src.datasets.targets import gaussian_heatmaps
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


@pytest.mark.parametrize("mass", [None, 6.25])
def test_dark_is_that_of_the_other_form(mass: float | None) -> None:
    """Float32 rounds differently in another order; where nothing is a peak, both stay in the middle.

    Of maps some peak at borders, some are flat, empty or no numbers.
    """
    random = torch.manual_seed(0)
    joints = torch.randint(12, (60, 5, 2), generator=random)
    maps = gaussian_heatmaps(joints, torch.ones(60, 5, dtype=torch.bool), 12, 1.5, 5)
    maps = 5 * maps + 0.3 * torch.rand(maps.shape, generator=random)
    maps[0], maps[1], maps[2] = 0, 2, torch.nan
    points, scores = cells.decode(maps.numpy(), mass, dark_sigma=1.0)
    expected, values = decode(maps, mass, dark_sigma=1.0)
    np.testing.assert_allclose(points, expected.numpy(), rtol=0, atol=1e-4)
    np.testing.assert_allclose(scores, values.numpy(), rtol=1e-5)
    assert points.dtype == scores.dtype == np.float32
    moved = np.abs(points - np.floor(points) - 0.5)
    assert 0.3 < (moved > 0).mean() < 0.9
    assert not moved[:3].any()
