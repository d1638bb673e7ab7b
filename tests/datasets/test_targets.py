"""Targets against the plain definition: one Gaussian a joint, drawn cell by cell."""

import math

import pytest
import torch

from src.datasets.targets import (
    gaussian_heatmaps,
    gaussian_mass,
    people_heatmaps,
    target_cells,
    to_images,
)


def plain_heatmap(cell: tuple[int, int], size: int, sigma: float, radius: int) -> torch.Tensor:
    heatmap = torch.zeros(size, size)
    for y in range(size):
        for x in range(size):
            dx, dy = x - cell[0], y - cell[1]
            if max(abs(dx), abs(dy)) <= radius:
                heatmap[y, x] = math.exp(-(dx * dx + dy * dy) / (2 * sigma**2))
    return heatmap


@pytest.mark.parametrize("sigma, radius", [(1.0, 3), (1.75, 3), (2.0, 6)])
def test_heatmaps_equal_the_plain_definition(sigma: float, radius: int) -> None:
    cells = torch.tensor([[[5, 9], [0, 0], [15, 2]], [[7, 7], [15, 15], [3, 12]]])
    has_target = torch.tensor([[True, True, True], [True, False, True]])
    heatmaps = gaussian_heatmaps(cells, has_target, 16, sigma, radius)
    for b in range(2):
        for j in range(3):
            x, y = cells[b, j].tolist()
            expected = plain_heatmap((x, y), 16, sigma, radius) * has_target[b, j]
            # the product of two exponentials differs from one in the last bits of float32
            torch.testing.assert_close(heatmaps[b, j], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("sigma, radius", [(1.0, 3), (1.75, 3), (2.0, 6)])
def test_the_mass_is_the_sum_of_a_whole_target(sigma: float, radius: int) -> None:
    target = gaussian_heatmaps(
        torch.tensor([[[8, 8]]]), torch.ones(1, 1, dtype=torch.bool), 17, sigma, radius
    )
    assert gaussian_mass(sigma, radius) == pytest.approx(float(target.sum()), rel=1e-6)


def test_default_target_is_seven_wide_with_peak_one() -> None:
    has_target = torch.ones(1, 1, dtype=torch.bool)
    heatmap = gaussian_heatmaps(torch.tensor([[[8, 8]]]), has_target, 17, 1.0, 3)[0, 0]
    assert heatmap[8, 8] == 1
    assert int((heatmap > 0).sum()) == 49
    torch.testing.assert_close(heatmap, heatmap.flip(0))
    torch.testing.assert_close(heatmap, heatmap.flip(1))


def test_cells_are_floored_and_joints_outside_or_unlabelled_have_no_target() -> None:
    joints = torch.tensor([[[0.0, 0.0], [255.9, 128.0], [256.0, 10.0], [-0.1, 10.0], [20.0, 20.0]]])
    visible = torch.tensor([[2, 1, 2, 2, 0]], dtype=torch.int8)
    cells, has_target = target_cells(joints, visible, input_res=256, size=64)
    assert cells[0, :2].tolist() == [[0, 0], [63, 32]]
    # -0.1 lies in cell -1, not in cell 0: truncation toward zero would draw it at the border
    assert has_target.tolist() == [[True, True, False, False, False]]


def test_a_cell_outside_has_an_empty_map() -> None:
    cells, nowhere = torch.tensor([[[-5, 3], [2, 99]]]), torch.zeros(1, 2, dtype=torch.bool)
    assert not gaussian_heatmaps(cells, nowhere, 8, 1.0, 3).any()


def test_images_are_scaled_coloured_and_clamped() -> None:
    image = torch.full((1, 2, 2, 3), 200, dtype=torch.uint8)
    images = to_images(image, torch.tensor([[1.0, 0.5, 1.4]]))
    assert images.shape == (1, 3, 2, 2)
    torch.testing.assert_close(images[0, :, 0, 0], torch.tensor([200 / 255, 100 / 255, 1.0]))
    torch.testing.assert_close(to_images(image), torch.full((1, 3, 2, 2), 200 / 255))
    assert (image == 200).all() and to_images(image).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("sigma, radius", [(1.0, 3), (2.0, 6)])
def test_of_several_people_the_largest_counts(sigma: float, radius: int) -> None:
    """Near each other, on one cell, at the edges, unlabelled; and a picture of nobody."""
    cells = torch.tensor([[[5, 9], [0, 0]], [[7, 10], [15, 15]], [[5, 9], [3, 3]]])
    labelled = torch.tensor([[True, True], [True, True], [True, False]])
    batch = torch.stack([labelled, torch.zeros_like(labelled)])
    heatmaps = people_heatmaps(cells.expand(2, -1, -1, -1), batch, 16, sigma, radius)
    assert heatmaps.shape == (2, 2, 16, 16) and not heatmaps[1].any()
    for joint in range(2):
        people = [
            plain_heatmap((int(x), int(y)), 16, sigma, radius)
            for (x, y), counts in zip(cells[:, joint], labelled[:, joint], strict=True)
            if counts
        ]
        torch.testing.assert_close(heatmaps[0, joint], torch.stack(people).amax(0), rtol=1e-6, atol=1e-7)
    one_by_one = gaussian_heatmaps(cells, labelled, 16, sigma, radius).amax(0)
    torch.testing.assert_close(heatmaps[0], one_by_one, rtol=0, atol=0)


def test_cells_beyond_the_map_and_empty_slots_leave_nothing() -> None:
    joints = torch.tensor([[[[-1.0, 5.0], [float("nan"), 2.0]], [[70.0, 2.0], [0.0, 0.0]]]])
    visible = torch.tensor([[[2, 0], [1, 0]]], dtype=torch.int8)
    cells, labelled = target_cells(joints, visible, input_res=64, size=16)
    assert cells.shape == (1, 2, 2, 2) and not labelled.any()
    assert not people_heatmaps(cells, labelled, 16, 2.0, 6).any()
