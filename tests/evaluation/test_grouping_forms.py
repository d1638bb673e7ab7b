"""The decoder in C gives, bit by bit, what that in NumPy and SciPy gives."""

import numpy as np
import pytest

from bench import layouts
from src.datasets.skeletons import COCO
from src.evaluation.grouping import Grouping, group_in_c, group_in_numpy


def assert_same(module, heatmaps, tags, settings) -> int:
    """Both find the same people; returns how many."""
    compiled = group_in_c(module, heatmaps, tags, settings)
    for ours, numpy in zip(compiled, group_in_numpy(heatmaps, tags, settings), strict=True):
        assert ours.dtype == numpy.dtype and ours.shape == numpy.shape
        assert np.array_equal(ours, numpy, equal_nan=True)
    return len(compiled.joints)


@pytest.mark.parametrize("seed", range(60))
def test_extension_on_maps_full_of_ties(extension, seed):
    """Whole numbers as tags and tenths as heights: peaks, plateaus, equal costs and equal cells abound."""
    random = np.random.default_rng(seed)
    joints, dimensions, height, width = random.integers((1, 1, 3, 3), (6, 4, 24, 24)).tolist()
    heatmaps = random.integers(-3, 8, (joints, height, width)).astype(np.float32) / 10
    tags = random.integers(0, 5, (dimensions, joints, height, width)).astype(np.float32)
    if seed % 2:
        tags = tags / 4 + random.normal(0, 0.1, tags.shape).astype(np.float32)
    settings = Grouping(
        tuple(random.permutation(joints).tolist()),
        max_people=int(random.integers(1, 40)),
        window=int(random.choice([1, 3, 5])),
        threshold=float(random.choice([0, 0.1, 0.4])),
        tag_threshold=float(random.choice([0.5, 1, 2])),
        refine=bool(seed % 5),
    )
    assert_same(extension, heatmaps, tags, settings)


@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize("noisy", [False, True], ids=["perfect", "noisy"])
def test_extension_on_people_of_real_pictures(extension, shared_data, dimensions, noisy):
    compare_on_layouts(extension, layouts.read(shared_data("coco"))[::60], 96, dimensions, noisy)


@pytest.mark.slow
@pytest.mark.parametrize("noisy", [False, True], ids=["perfect", "noisy"])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_extension_on_people_of_all_real_pictures(extension, shared_data, dimensions, noisy):
    compare_on_layouts(extension, layouts.read(shared_data("coco")), 128, dimensions, noisy)


def compare_on_layouts(module, some, size, dimensions, noisy):
    random = np.random.default_rng(0)
    noise = layouts.Noise(size, random, dimensions)
    settings, people = Grouping.of(COCO), 0
    for layout in some:
        maps = layouts.perfect_maps(layout, size, random, dimensions)
        heatmaps, tags = noise.over(maps) if noisy else maps
        people += assert_same(module, heatmaps, tags, settings)
    assert people >= 0.95 * sum(len(layout.box) for layout in some), "the maps must show people"
