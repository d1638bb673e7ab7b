"""From heatmaps to points: arg-max cells, shifts within a cell, and the average with the mirrored picture.

B batch, J joints, h x w heatmap. Cell k covers [k, k + 1), so its centre is k + 0.5. All functions work on
the device of the maps and never wait for it.
"""

import math

import torch
from torch import Tensor

from src.evaluation.cells import LEAST


def argmax_cells(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """The cell (x, y) of the largest value of each map, and that value; the first in reading order of equals.

    heatmaps (B, J, h, w). Returns cells (B, J, 2) int64 and values (B, J).
    """
    person, joint = _all_maps(heatmaps)
    if _suits_numpy(heatmaps):
        index = torch.from_numpy(heatmaps.detach().flatten(2).numpy().argmax(2))
        y, x = index // heatmaps.shape[3], index % heatmaps.shape[3]
        values = heatmaps[person, joint, y, x]
    else:
        values, y = _row_maxima(heatmaps).max(2)
        x = heatmaps[person, joint, y].max(2).indices
    return torch.stack([x, y], dim=2), values


def _suits_numpy(heatmaps: Tensor) -> bool:
    """Whether NumPy is faster: on CPUs it looks at many numbers at a time, PyTorch at one."""
    plain = heatmaps.device.type == "cpu" and heatmaps.dtype == torch.float32 and heatmaps.is_contiguous()
    return plain and not torch.compiler.is_compiling()


def _row_maxima(heatmaps: Tensor) -> Tensor:
    """The largest value of each row of each map, (B, J, h): unlike a place, a value is found in wide steps.

    Where the joints lie beside each other in memory (channels last), those of one cell are too few for a wide
    step of 32 numbers: columns are taken together by two or four, and halved afterwards.
    """
    if not heatmaps.is_contiguous(memory_format=torch.channels_last):
        return heatmaps.amax(3)
    joints, width = heatmaps.shape[1], heatmaps.shape[3]
    together = math.gcd(width, 2 if joints >= 16 else 4)
    steps = heatmaps.permute(0, 2, 3, 1).unflatten(2, (width // together, together)).flatten(3)
    maxima = steps.amax(2).unflatten(2, (together, -1))  # (B, h, together, J)
    while maxima.shape[2] > 1:
        maxima = torch.maximum(*maxima.chunk(2, dim=2))
    return maxima.squeeze(2).transpose(1, 2)


def _all_maps(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """Indices (B, 1) and (J,) of all maps, which indices (B, J) of their rows or cells may follow."""
    persons, joints = heatmaps.shape[:2]
    device = heatmaps.device
    return torch.arange(persons, device=device)[:, None], torch.arange(joints, device=device)


def decode(
    heatmaps: Tensor, target_mass: float | None = None, dark_sigma: float | None = None
) -> tuple[Tensor, Tensor]:
    """The point of each map in cells (multiply by input size / map size for crop pixels), and its confidence.

    A point is the centre of the arg-max cell, shifted: by `quarter_shifts`, or with `dark_sigma` by
    `dark_shifts`. The confidence is the map's value there; for maps of logits that of `as_targets`, at
    most 1.

    heatmaps (B, J, h, w), h and w at least 3. target_mass: for maps of logits, as in `as_targets`.
    dark_sigma: in cells, of the Gaussians that were learnt; logits do not need it, whatever it is. Returns
    points (B, J, 2) float and confidences (B, J).
    """
    cells, values = argmax_cells(heatmaps)
    if dark_sigma is None:
        shifts = quarter_shifts(heatmaps, cells)
    else:
        shifts = dark_shifts(heatmaps, cells, dark_sigma if target_mass is None else None)
    scores = values if target_mass is None else confidences(heatmaps, values, target_mass)
    return cells + 0.5 + shifts, scores


def quarter_shifts(heatmaps: Tensor, cells: Tensor) -> Tensor:
    """A quarter of a cell along each axis towards the larger of the two neighbours: (B, J, 2).

    As in the stacked hourglass (Newell et al., ECCV 2016); none where they are equal, nor at the border of
    the map. heatmaps (B, J, h, w), cells (B, J, 2).
    """
    height, width = heatmaps.shape[2:]
    x, y = cells.unbind(2)
    inner = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)
    x, y = x.clamp(1, width - 2), y.clamp(1, height - 2)
    person, joint = _all_maps(heatmaps)
    to_right = heatmaps[person, joint, y, x + 1] - heatmaps[person, joint, y, x - 1]
    downwards = heatmaps[person, joint, y + 1, x] - heatmaps[person, joint, y - 1, x]
    return 0.25 * torch.stack([to_right, downwards], dim=2).sign() * inner[..., None]


def dark_shifts(heatmaps: Tensor, cells: Tensor, sigma: float | None) -> Tensor:
    """From the arg-max cells to the peaks of Gaussians that the maps are taken for: (B, J, 2), in cells.

    DARK (Zhang et al., "Distribution-aware coordinate representation for human pose estimation", CVPR 2020,
    section 3.2): the logarithm of a Gaussian is a parabola, whose peak one step of Newton's method finds.
    Derivatives are central differences, those of second order of the first ones, so they reach two cells far.
    There is no shift where the cell is that near to the border, where the Hessian says that there is no peak,
    and where the step is longer than a cell along an axis.

    heatmaps (B, J, h, w), cells (B, J, 2). sigma: of the Gaussians, in cells, with which maps are smoothed
    before the logarithm, zero around them. That their height is lost does not matter: the logarithm turns a
    factor into a constant. None: the maps are logits, logarithms but for a constant, and smooth.
    """
    height, width = heatmaps.shape[2:]
    x, y = cells.unbind(2)
    logarithm = _around(heatmaps, cells, 2) if sigma is None else _smoothed(heatmaps, cells, sigma).log()
    middle = logarithm[..., 2, 2]
    east, west = logarithm[..., 2, 3], logarithm[..., 2, 1]
    south, north = logarithm[..., 3, 2], logarithm[..., 1, 2]
    gx, gy = (east - west) / 2, (south - north) / 2
    gxx = (logarithm[..., 2, 4] - 2 * middle + logarithm[..., 2, 0]) / 4
    gyy = (logarithm[..., 4, 2] - 2 * middle + logarithm[..., 0, 2]) / 4
    gxy = (logarithm[..., 3, 3] - logarithm[..., 1, 3] - logarithm[..., 3, 1] + logarithm[..., 1, 1]) / 4
    determinant = gxx * gyy - gxy**2
    shift = torch.stack([gxy * gy - gyy * gx, gxy * gx - gxx * gy], dim=2) / determinant[..., None]
    inner = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    is_peak = inner & (gxx < 0) & (determinant > 0) & (shift.abs() <= 1).all(2)
    return torch.where(is_peak[..., None], shift, 0.0)


def _around(heatmaps: Tensor, cells: Tensor, reach: int) -> Tensor:
    """The cells of each map up to `reach` from one: (B, J, 2 reach + 1, 2 reach + 1), 0 beyond the border."""
    height, width = heatmaps.shape[2:]
    steps = torch.arange(-reach, reach + 1, device=heatmaps.device)
    x, y = (cells[..., None] + steps).unbind(2)
    across, down = (x >= 0) & (x < width), (y >= 0) & (y < height)
    person, joint = (index[..., None, None] for index in _all_maps(heatmaps))
    rows, columns = y.clamp(0, height - 1)[..., :, None], x.clamp(0, width - 1)[..., None, :]
    return heatmaps[person, joint, rows, columns] * (down[..., :, None] & across[..., None, :])


def _smoothed(heatmaps: Tensor, cells: Tensor, sigma: float) -> Tensor:
    """The 5 x 5 cells (B, J, 5, 5) around one of each map, smoothed by a Gaussian; positive."""
    reach = math.ceil(3 * sigma)
    steps = torch.arange(-2 - reach, 3 + reach, device=heatmaps.device, dtype=torch.float32)
    distance = steps - steps[reach : reach + 5, None]
    weights = torch.exp(-(distance**2) / (2 * sigma**2)) * (distance.abs() <= reach)
    weights = weights / weights[0].sum()
    window = _around(heatmaps, cells, 2 + reach).float()
    return (weights @ window @ weights.T).clamp(min=LEAST)


def as_targets(heatmaps: Tensor, target_mass: float) -> Tensor:
    """What maps of logits (B, J, h, w), learnt with the softmax loss, stand for: targets, float32.

    The softmax over a map says where the joint is thought to be. Scaled to the sum `target_mass` of a whole
    target (`src.datasets.targets.gaussian_mass`) it is the mean of the targets that the network holds for
    possible, which is what a network of the squared error gives: its peak is 1 where the joint is sure.
    """
    return target_mass * heatmaps.float().flatten(2).softmax(2).unflatten(2, heatmaps.shape[2:])


def confidences(heatmaps: Tensor, peaks: Tensor, target_mass: float) -> Tensor:
    """The peaks (B, J) of `as_targets`, at most 1, given those of the maps of logits (B, J, h, w)."""
    share = 1 / (heatmaps - peaks[..., None, None]).exp().sum(dim=(2, 3))
    return (target_mass * share).clamp(max=1)


def flip_average_points(points: Tensor, of_mirrored: Tensor, flip_order: list[int]) -> Tensor:
    """The mean of the points (B, J, 2) of a picture, in units of it, and those of its mirror image."""
    x, y = torch.stack([of_mirrored[:, joint] for joint in flip_order], dim=1).unbind(2)
    return (points + torch.stack([1 - x, y], dim=2)) / 2


def flip_average(heatmaps: Tensor, of_mirrored: Tensor, flip_order: list[int]) -> Tensor:
    """The mean of the maps of a picture and those of its mirror image, brought back to the picture.

    heatmaps, of_mirrored (B, J, h, w); flip_order: Skeleton.flip_order. Returns (B, J, h, w).
    """
    # Stacked views, not an index: that would be copied to the device, which waits for it.
    restored = torch.stack([of_mirrored[:, joint] for joint in flip_order], dim=1).flip(3)
    return (heatmaps + restored) / 2
