"""Heatmaps to points, against a formulation that goes joint by joint."""

import numpy as np
import pytest
import torch

from src.datasets.skeletons import LSP
from src.datasets.targets import gaussian_heatmaps, gaussian_mass
from src.evaluation import cells
from src.evaluation.decode import argmax_cells, as_targets, decode, flip_average


def decode_one(heatmap: np.ndarray) -> tuple[float, float]:
    """The point of one map, written as in the text of the method."""
    height, width = heatmap.shape
    y, x = divmod(int(heatmap.argmax()), width)
    point = [x + 0.5, y + 0.5]
    if 0 < x < width - 1 and 0 < y < height - 1:
        point[0] += 0.25 * np.sign(heatmap[y, x + 1] - heatmap[y, x - 1])
        point[1] += 0.25 * np.sign(heatmap[y + 1, x] - heatmap[y - 1, x])
    return point[0], point[1]


@pytest.mark.parametrize("levels", [3, 1000])  # 3: equal maxima and equal neighbours are frequent
def test_decode_is_that_of_each_map(levels: int) -> None:
    heatmaps = torch.randint(levels, (4, 5, 9, 7), generator=torch.manual_seed(0)).float()
    points, score = decode(heatmaps)
    expected = [[decode_one(heatmap) for heatmap in sample] for sample in heatmaps.numpy()]
    np.testing.assert_array_equal(points.numpy(), expected)
    np.testing.assert_array_equal(score.numpy(), heatmaps.amax((2, 3)).numpy())


def test_argmax_is_the_first_of_equals_in_x_y_order() -> None:
    heatmaps = torch.zeros(1, 2, 3, 4)
    heatmaps[0, 0, 1, 3] = heatmaps[0, 0, 2, 0] = 1
    cells, values = argmax_cells(heatmaps)
    assert cells.tolist() == [[[3, 1], [0, 0]]]
    assert values.tolist() == [[1, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("width", [5, 6, 8])  # columns are taken together by one, two and four
def test_argmax_does_not_depend_on_type_and_order_in_memory(
    dtype: torch.dtype, order: torch.memory_format, width: int
) -> None:
    """Maps of few levels, with many equals, and one that is not a number somewhere."""
    heatmaps = torch.randint(4, (3, 5, 8, width), generator=torch.manual_seed(0)).to(dtype)
    heatmaps[1, 2, 4, 3] = torch.nan
    cells, values = argmax_cells(heatmaps.contiguous(memory_format=order))
    flat = heatmaps.float().flatten(2).numpy()
    rows, columns = np.divmod(flat.argmax(2), width)
    np.testing.assert_array_equal(cells.numpy(), np.stack([columns, rows], axis=2))
    np.testing.assert_array_equal(values.float().numpy(), flat.max(2))


def bells(centres: torch.Tensor, sigma: float, size: int) -> torch.Tensor:
    """Gaussians (B, J, size, size), sampled at the centres of cells, around points (B, J, 2) in cells."""
    steps = torch.arange(size) + 0.5 - centres[..., None].double()
    x, y = torch.exp(-(steps**2) / (2 * sigma**2)).unbind(2)
    return y[..., :, None] * x[..., None, :]


@pytest.mark.parametrize("sigma", [1.0, 1.75])
def test_dark_finds_the_peaks_of_gaussians(sigma: float) -> None:
    """Logarithms are exact parabolas; heatmaps are smoothed by what is cut at three sigma, hence the 1e-3."""
    centres = 9 + 14 * torch.rand(16, 5, 2, generator=torch.manual_seed(0))
    maps = bells(centres, sigma, 32)
    logits, heatmaps = decode(maps.log().float(), 1.0, sigma)[0], decode(maps.float(), None, sigma)[0]
    torch.testing.assert_close(logits, centres, rtol=0, atol=1e-4)
    torch.testing.assert_close(heatmaps, centres, rtol=0, atol=1e-3)
    assert (decode(maps.float())[0] - centres).abs().max() > 0.2


def test_height_and_place_in_the_picture_do_not_matter_to_dark() -> None:
    maps = bells(torch.tensor([[[9.3, 12.8]]]), 1.0, 24).float()
    moved = decode(0.1 * maps.roll((3, -2), (2, 3)), None, 1.0)[0]
    torch.testing.assert_close(moved, torch.tensor([[[7.3, 15.8]]]), rtol=0, atol=1e-3)


def test_dark_shifts_nothing_where_there_is_no_peak() -> None:
    """A flat map, a ridge, a peak at the border, one beside it, a saddle, and a step of more than a cell."""
    size, middle = 9, (slice(None), slice(None))
    maps = torch.zeros(1, 6, size, size)
    maps[0, 1][middle] = -((torch.arange(size) - 4.2) ** 2)
    maps[0, 2] = bells(torch.tensor([[[0.5, 4.7]]]), 1.0, size)[0, 0].log()
    maps[0, 3] = bells(torch.tensor([[[1.7, 4.7]]]), 1.0, size)[0, 0].log()
    maps[0, 4, 4, 4], maps[0, 4, 2, 4], maps[0, 4, 6, 4] = 1, 5 / 6, 5 / 6
    maps[0, 4, 3, 3] = maps[0, 4, 5, 5] = 0.9
    maps[0, 5, 4, 4], maps[0, 5, 4, 5], maps[0, 5, 4, 3] = 1, 0.99, -5
    points, _ = decode(maps, 1.0, 1.0)
    assert torch.equal(points, argmax_cells(maps)[0] + 0.5)
    assert decode(torch.zeros(1, 1, 5, 5), None, 1.0)[0].tolist() == [[[0.5, 0.5]]]


def test_a_map_below_zero_has_its_peak_too() -> None:
    heatmaps = torch.full((1, 1, 5, 5), -3.0)
    heatmaps[0, 0, 2, 1] = -1
    points, score = decode(heatmaps)
    assert points.tolist() == [[[1.5, 2.5]]]
    assert score.tolist() == [[-1]]


def test_logits_of_a_target_have_its_confidence_and_place() -> None:
    """Targets whose logarithm is given are seen again, also without PyTorch. A flat map says little."""
    joints, mass = torch.tensor([[[8, 5], [6, 9], [0, 0]]]), gaussian_mass(1.5, 5)
    targets = gaussian_heatmaps(joints, torch.ones(1, 3, dtype=torch.bool), 16, 1.5, 5)
    logits = 7 + targets.clamp(min=1e-30).log()
    logits[0, 2] = 4
    points, score = decode(logits, mass)
    assert torch.equal(points, decode(logits)[0])
    torch.testing.assert_close(score, torch.tensor([[1, 1, mass / 256]]), rtol=1e-5, atol=0)
    torch.testing.assert_close(as_targets(logits, mass)[:, :2], targets[:, :2], rtol=0, atol=1e-5)
    _, sharper = decode(3 * logits, mass)
    assert sharper[0, :2].tolist() == [1, 1]  # of a sum that is held, though the peak would be higher
    for maps in (logits, 3 * logits):
        for own, plain in zip(decode(maps, mass), cells.decode(maps.numpy(), mass), strict=True):
            np.testing.assert_allclose(plain, own.numpy(), rtol=1e-5)
        np.testing.assert_allclose(cells.as_targets(maps.numpy(), mass), as_targets(maps, mass), atol=1e-5)


def test_round_trip_of_rendered_joints() -> None:
    """A symmetric target gives its cell's centre: half a cell at most from any joint in the cell."""
    joints = torch.rand(50, 3, 2, generator=torch.manual_seed(1)) * 32
    cells = joints.floor().long()
    heatmaps = gaussian_heatmaps(cells, torch.ones(50, 3, dtype=torch.bool), size=32, sigma=1, radius=3)
    points, score = decode(heatmaps)
    assert torch.equal(points, cells + 0.5)
    assert (points - joints).abs().max() <= 0.5
    assert torch.equal(score, torch.ones(50, 3))


def test_round_trip_of_a_peak_between_centres() -> None:
    """The quarter shift leaves at most a quarter of a cell (up to float32) if the map has the exact place."""
    joints = 2 + torch.rand(50, 3, 2, generator=torch.manual_seed(2)) * 28
    grid = torch.arange(32) + 0.5
    x, y = torch.exp(-((grid - joints[..., None]) ** 2) / 2).unbind(2)
    points, _ = decode(y[..., :, None] * x[..., None, :])
    assert (points - joints).abs().max() <= 0.25 + 1e-5


def mirrored(heatmaps: torch.Tensor) -> torch.Tensor:
    """What a network that is blind to left and right gives for the mirrored picture."""
    return heatmaps[:, LSP.flip_order].flip(3)


def test_flip_average_of_a_symmetric_network_is_its_output() -> None:
    heatmaps = torch.randn(2, LSP.num_joints, 6, 8, generator=torch.manual_seed(3))
    assert torch.equal(flip_average(heatmaps, mirrored(heatmaps), LSP.flip_order), heatmaps)


def test_flip_average_is_the_mean_with_left_and_right_restored() -> None:
    first, second = torch.randn(2, 2, LSP.num_joints, 6, 8, generator=torch.manual_seed(4))
    average = flip_average(first, second, LSP.flip_order)
    right, left, x = LSP.index("right wrist"), LSP.index("left wrist"), 1
    expected = (first[:, right, :, x] + second[:, left, :, 7 - x]) / 2
    assert torch.equal(average[:, right, :, x], expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_nothing_waits_for_the_device() -> None:
    heatmaps = torch.randn(2, LSP.num_joints, 16, 16, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        decode(flip_average(heatmaps, heatmaps, LSP.flip_order))
    finally:
        torch.cuda.set_sync_debug_mode("default")
