"""What the device makes of a batch of crops: float pictures, target cells and heatmaps."""

import math

import torch
from torch import Tensor


def to_images(image: Tensor, color: Tensor | None = None) -> Tensor:
    """Bytes (B, H, W, 3) as floats (B, 3, H, W) in [0, 1], channels multiplied by `color` (B, 3) if given.

    The result is a view in channels-last memory order.
    """
    images = image.to(torch.float32)
    if color is None:
        images /= 255
    else:  # a whole row of factors: a CPU multiplies by three at a time much more slowly
        row = (color / 255)[:, None, None].expand(-1, 1, image.shape[2], -1).contiguous()
        images.mul_(row).clamp_(max=1)
    return images.permute(0, 3, 1, 2)


def target_cells(joints: Tensor, visible: Tensor, input_res: int, size: int) -> tuple[Tensor, Tensor]:
    """The heatmap cell of each joint, and whether it has a target.

    joints (B, J, 2) in crop pixels, visible (B, J). Returns cells (B, J, 2) int64 and has_target (B, J) bool:
    the joint is labelled and its cell, floor(x size / input_res), lies inside the map. Of several people a
    picture likewise: (B, P, J, 2) and (B, P, J).
    """
    cells = torch.floor(joints * (size / input_res)).long()
    inside = ((cells >= 0) & (cells < size)).all(-1)
    return cells, inside & (visible > 0)


def gaussian_heatmaps(cells: Tensor, has_target: Tensor, size: int, sigma: float, radius: int) -> Tensor:
    """Targets (B, J, size, size): a Gaussian of peak 1 on each joint's cell, zero beyond `radius` cells.

    cells (B, J, 2) int64, has_target (B, J) bool; a joint without target has an empty map. The Gaussian is
    the outer product of its two profiles, which is exact and leaves one multiplication a pixel.
    """
    grid = torch.arange(size, device=cells.device)
    distance = grid - grid[:, None]  # in each row from another cell
    profiles = torch.exp(-(distance.float() ** 2) / (2 * sigma**2)) * (distance.abs() <= radius)
    x, y = profiles[cells.clamp(0, size - 1)].unbind(2)  # (B, J, size) each
    y = y * has_target[..., None]
    return y[..., :, None] * x[..., None, :]


def gaussian_mass(sigma: float, radius: int) -> float:
    """The sum over all cells of a target of `gaussian_heatmaps` that lies wholly inside its map."""
    return sum(math.exp(-(step**2) / (2 * sigma**2)) for step in range(-radius, radius + 1)) ** 2


def people_heatmaps(cells: Tensor, labelled: Tensor, size: int, sigma: float, radius: int) -> Tensor:
    """Targets (B, J, size, size) for several people a picture: of their Gaussians, the largest at each cell.

    cells (B, P, J, 2) int64, labelled (B, P, J) bool, as of `target_cells`. Only the (2 radius + 1)^2 cells
    around joints are visited: people cost little beside the empty maps.
    """
    batch, slots, joints = labelled.shape
    maps = torch.arange(batch * joints, device=cells.device).view(batch, 1, joints).expand(-1, slots, -1)
    cells, maps, labelled = cells.reshape(-1, 2), maps.reshape(-1), labelled.reshape(-1)
    if cells.device.type == "cpu":  # elsewhere it would have to be waited for, to know how many they are
        cells, maps, labelled = cells[labelled], maps[labelled], labelled[labelled]
    reach = torch.arange(-radius, radius + 1, device=cells.device)
    profile = torch.exp(-(reach.float() ** 2) / (2 * sigma**2))
    place = cells[..., None] + reach  # (joints, 2, 2 radius + 1)
    inside = (place >= 0) & (place < size) & labelled[:, None, None]
    x, y = place.clamp(0, size - 1).unbind(1)
    across, down = (profile * inside).unbind(1)
    index = (maps[:, None, None] * size + y[:, :, None]) * size + x[:, None]
    values = down[:, :, None] * across[:, None]
    heatmaps = torch.zeros(batch * joints * size * size, device=cells.device)
    heatmaps.scatter_reduce_(0, index.reshape(-1), values.reshape(-1), "amax")
    return heatmaps.view(batch, joints, size, size)
