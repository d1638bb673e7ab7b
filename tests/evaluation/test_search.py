"""Where a network that sees colours finds people: at any scale, mirrored, through the loader."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.datasets.crops import in_order, load, readable
from src.datasets.skeletons import Skeleton
from src.datasets.synth import SynthScenes
from src.errors import UserError
from src.evaluation.search import SceneViews, Search, find_all, maps_of
from tests.searching import find_people

PAIR = Skeleton("pair", ("left eye", "right eye"), ((0, 1),), ((0, 1),), {}, (0,), (0,), (0.1, 0.1), (0, 1))
DEVICE = torch.device("cpu")


class Eyes(nn.Module):
    """Heatmaps where a picture is red and green; the tags of both joints are ten times its share of blue."""

    def forward(self, images: Tensor) -> list[Tensor]:
        red, green, blue = F.avg_pool2d(images, 4).split(1, dim=1)
        tags = 10 * blue / (red + green).clamp(min=1e-3)
        return [torch.zeros_like(images), torch.cat([red, green, tags, tags], dim=1)]


def picture(
    width: int, height: int, *people: tuple[float, tuple[float, float], tuple[float, float]]
) -> np.ndarray:
    """People with a share of blue in their eyes, which are two blurred dots, red and green."""
    y, x = np.mgrid[:height, :width] + 0.5
    image = np.zeros((height, width, 3))
    for blue, *eyes in people:
        for channel, (eye_x, eye_y) in enumerate(eyes):
            dot = np.exp(-((x - eye_x) ** 2 + (y - eye_y) ** 2) / (2 * 5.0**2))
            image[..., channel] += dot
            image[..., 2] += blue * dot
    return (255 * image.clip(0, 1)).round().astype(np.uint8)


TWO = (0.1, (30.0, 20.0), (50.0, 30.0)), (0.6, (100.0, 60.0), (80.0, 70.0))


@pytest.mark.parametrize("scales", [(1,), (2, 1, 0.5), (0.7,), (0.5, 2)])
@pytest.mark.parametrize(("width", "height"), [(128, 90), (90, 128), (300, 200)])
def test_people_are_found_where_they_are(width, height, scales):
    search = Search.of(PAIR, 128, 16, scales, flip_test=False)
    image = picture(
        width, height, *[(b, *((x * width / 130, y * height / 90) for x, y in eyes)) for b, *eyes in TWO]
    )
    found = find_people(Eyes(), image, search)
    order = np.argsort(found.joints[:, 0, 0])
    expected = np.array([eyes for _, *eyes in TWO]) * (width / 130, height / 90)
    # a quarter shift leaves a quarter of a cell, a cell is up to 4 / 0.5 input pixels
    assert np.abs(found.joints[order] - expected).max() < 3 * max(width, height) / (128 * min(scales))
    assert (found.score > 0.3).all()


def test_sides_are_rounded_up_and_fall():
    search = Search.of(PAIR, 512, 64, (0.5, 1, 2, 1.01))
    assert search.sides == (1024, 576, 512, 256) and search.tags_of == 2
    assert Search.of(PAIR, 500, 64, (0.25, 4)).sides == (2048, 128)
    assert Search.of(PAIR, 448, 64, (1.1,)).sides == (512,)
    assert Search.of(PAIR, 640, 64, (0.1,)).sides == (64,), "64.00000000000001 is no more than 64"
    assert Search.of(PAIR, 512, 64, (1e-9,)).sides == (64,)
    assert Search.of(PAIR, 512, 64, flip_test=False).flip_order is None
    assert Search.of(PAIR, 512, 64, max_people=3).grouping.max_people == 3


@pytest.mark.parametrize("scales", [(), (0,), (1, -1), (float("nan"),), (float("inf"),)])
def test_scales_that_are_none(scales):
    with pytest.raises(UserError, match="scales are positive numbers"):
        Search.of(PAIR, 512, 64, scales)


def test_a_scale_beyond_all_pictures_is_refused():
    assert Search.of(PAIR, 512, 64, (32,)).sides == (16384,)
    with pytest.raises(UserError, match=r"a scale of 1e\+09 times 512 pixels is more than 16,384"):
        Search.of(PAIR, 512, 64, (1, 1e9))


class Lines(nn.Module):
    """Maps of J 2 and L 2, all of them different."""

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = F.avg_pool2d(images, 4)
        return [torch.cat([maps[:, :2], 5 * maps[:, 1:], maps[:, :2] - 3], dim=1)]


def test_maps_of_mirrored_pictures_are_turned_back():
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    search = Search.of(PAIR, 32, 16)
    heatmaps, tags = maps_of(Lines(), [images], search)
    straight, mirrored = Lines()(images)[0], Lines()(images.flip(3))[0].flip(3)
    torch.testing.assert_close(heatmaps, (straight[:, :2] + mirrored[:, [1, 0]]) / 2)
    assert tags.shape == (2, 4, 2, 8, 8)
    torch.testing.assert_close(tags[:, :2], straight[:, 2:].unflatten(1, (2, 2)))
    torch.testing.assert_close(tags[:, 2:], mirrored[:, [3, 2, 5, 4]].unflatten(1, (2, 2)))


def test_heatmaps_of_scales_are_averaged_and_tags_are_of_one():
    images = [
        torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(side)) for side in (64, 32, 16)
    ]
    search = Search.of(PAIR, 32, 16, (2, 1, 0.5), flip_test=False)
    heatmaps, tags = maps_of(Lines(), images, search)
    large, middle, small = (F.interpolate(Lines()(image)[0], (16, 16), mode="bilinear") for image in images)
    torch.testing.assert_close(heatmaps, (large + middle + small)[:, :2] / 3)
    torch.testing.assert_close(tags, middle[:, 2:].unflatten(1, (2, 2)))


def test_pictures_go_through_the_loader_in_batches():
    """Bit by bit what single pictures give; here the pictures are synthetic."""
    people = SynthScenes("valid", 3, PAIR, 96)
    search = Search.of(PAIR, 64, 16, (1.5, 1), threshold=0.3)
    loader = load(SceneViews(people, search.sides), in_order(3, 2), 0, DEVICE)
    found = dict(find_all(Eyes(), readable(loader, lambda: False, []), search, DEVICE))
    assert list(found) == [0, 1, 2]
    for row, together in found.items():
        alone = find_people(Eyes(), people.scene(row).read(1).pixels, search)
        assert len(alone.joints) and np.array_equal(alone.joints, together.joints, equal_nan=True)
        assert np.array_equal(alone.person_score, together.person_score)
