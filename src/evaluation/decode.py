"""From heatmaps to points: arg-max cells, the quarter shift, and the average with the mirrored picture.

B batch, J joints, h x w heatmap. Cell k covers [k, k + 1), so its centre is k + 0.5. All functions work on
the device of the maps and never wait for it.
"""

import math

import torch
from torch import Tensor


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
    x, y = x.clamp(1, width - 2), y.clamp(1, height - 2)
    person, joint = _all_maps(heatmaps)
    to_right = heatmaps[person, joint, y, x + 1] - heatmaps[person, joint, y, x - 1]
    downwards = heatmaps[person, joint, y + 1, x] - heatmaps[person, joint, y - 1, x]
    towards = torch.stack([to_right, downwards], dim=2).sign()
    return cells + 0.5 + 0.25 * towards * inner[..., None], values


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
