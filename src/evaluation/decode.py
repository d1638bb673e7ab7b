"""From heatmaps to points: arg-max cells, the quarter shift, and the average with the mirrored picture.

B batch, J joints, h x w heatmap. Cell k covers [k, k + 1), so its centre is k + 0.5. All functions work on
the device of the maps and never wait for it.
"""

import torch
from torch import Tensor


def argmax_cells(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """The cell (x, y) of the largest value of each map, and that value; the first in reading order of equals.

    heatmaps (B, J, h, w). Returns cells (B, J, 2) int64 and values (B, J).
    """
    maps, width = heatmaps.flatten(2), heatmaps.shape[3]
    if _suits_numpy(maps):
        index = torch.from_numpy(maps.detach().numpy().argmax(2))
        values = maps.gather(2, index[..., None]).squeeze(2)
    else:
        values, index = maps.max(2)
    return torch.stack([index % width, index // width], dim=2), values


def _suits_numpy(maps: Tensor) -> bool:
    """Whether NumPy is faster: on CPUs it looks at many numbers at a time, PyTorch at one."""
    plain = maps.device.type == "cpu" and maps.dtype == torch.float32 and maps.is_contiguous()
    return plain and not torch.compiler.is_compiling()


def decode(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """The point of each map in cells (multiply by input size / map size for crop pixels), and its confidence.

    A point is the centre of the arg-max cell, moved a quarter of a cell along each axis towards the larger of
    the two neighbours, as in the stacked hourglass (Newell et al., ECCV 2016); not if they are equal, nor at
    the border of the map. The confidence is the map's value there. Its sign does not matter: a map may be
    known up to a constant only (softmax loss), and a caller can still drop points of low confidence.

    heatmaps (B, J, h, w), h and w at least 3. Returns points (B, J, 2) float and confidences (B, J).
    """
    height, width = heatmaps.shape[2:]
    cells, values = argmax_cells(heatmaps)
    x, y = cells.unbind(2)
    inner = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)
    middle = y.clamp(1, height - 2) * width + x.clamp(1, width - 2)
    beside = torch.stack([middle + 1, middle - 1, middle + width, middle - width], dim=2)
    right, left, below, above = heatmaps.flatten(2).gather(2, beside).unbind(2)
    towards = torch.stack([right - left, below - above], dim=2).sign()
    return cells + 0.5 + 0.25 * towards * inner[..., None], values


def flip_average(heatmaps: Tensor, of_mirrored: Tensor, flip_order: list[int]) -> Tensor:
    """The mean of the maps of a picture and those of its mirror image, brought back to the picture.

    heatmaps, of_mirrored (B, J, h, w); flip_order: Skeleton.flip_order. Returns (B, J, h, w).
    """
    # Stacked views, not an index: that would be copied to the device, which waits for it.
    restored = torch.stack([of_mirrored[:, joint] for joint in flip_order], dim=1).flip(3)
    return (heatmaps + restored) / 2
