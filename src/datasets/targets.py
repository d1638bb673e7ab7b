"""What the device makes of a batch of crops: float pictures, target cells and heatmaps."""

import torch
from torch import Tensor


def to_images(image: Tensor, color: Tensor | None = None) -> Tensor:
    """Bytes (B, H, W, 3) as floats (B, 3, H, W) in [0, 1], channels multiplied by `color` (B, 3) if given.

    The result is a view in channels-last memory order.
    """
    images = image.to(torch.float32) / 255
    if color is not None:
        images = (images * color[:, None, None]).clamp_(max=1)
    return images.permute(0, 3, 1, 2)


def target_cells(joints: Tensor, visible: Tensor, input_res: int, size: int) -> tuple[Tensor, Tensor]:
    """The heatmap cell of each joint, and whether it has a target.

    joints (B, J, 2) in crop pixels, visible (B, J). Returns cells (B, J, 2) int64 and has_target (B, J) bool:
    the joint is labelled and its cell, floor(x size / input_res), lies inside the map.
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
    distance = grid - cells[..., None]  # (B, J, 2, size)
    profile = torch.exp(-(distance.float() ** 2) / (2 * sigma**2)) * (distance.abs() <= radius)
    x, y = (profile * has_target[..., None, None]).unbind(2)  # (B, J, size) each
    return y[..., :, None] * x[..., None, :]
