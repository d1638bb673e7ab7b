"""Bones and parts as targets beside joints (Tang et al., "Deeply learned compositional models", ECCV 2018).

Shapes: B batch, S stages, J joints, L bones, P parts, h x w heatmap. A bone is a pair of joints, a part a
group of bones. Everything stays on the device.
"""

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor

from src.losses.heatmap import over_stages

Groups = Sequence[Sequence[int]]


def composed(
    cells: Tensor,
    has_target: Tensor,
    bones: Groups,
    parts: Groups,
    size: int,
    sigma: float,
    radius: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The targets of bones and parts that follow from the joints.

    A bone is drawn by the distance of each cell from it, exp(-distance^2 / (2 sigma^2)), and by 0 beyond
    `radius`; that is the largest of the Gaussians along it. A part is the largest of its bones at each cell.
    A bone is empty if one of its joints has no target, a part if all its bones are empty. What is empty
    weighs nothing, so that nothing is learnt from it.

    cells, has_target: (B, J, 2) and (B, J) bool, as `src.datasets.targets.target_cells` gives them.
    bones: of joints. parts: of bones. size, sigma, radius: in cells.

    Returns maps of bones (B, L, size, size) and what each weighs (B, L), then the same of parts.
    """
    if not bones:
        maps, weight = (
            cells.new_zeros(len(cells), 0, size, size).float(),
            cells.new_zeros(len(cells), 0).float(),
        )
        return maps, weight, maps, weight
    # Stacked views, not indices: these would be copied to the device, which waits for them.
    start, end = (torch.stack([cells[:, bone[i]] for bone in bones], dim=1) for i in (0, 1))  # (B, L, 2)
    drawn = torch.stack([has_target[:, bone[0]] & has_target[:, bone[1]] for bone in bones], dim=1)
    lines = _lines(start, end, size, sigma, radius) * drawn[..., None, None]
    areas = [reduce(torch.maximum, [lines[:, bone] for bone in part]) for part in parts]
    known = [reduce(torch.logical_or, [drawn[:, bone] for bone in part]) for part in parts]
    return lines, drawn.float(), torch.stack(areas, dim=1), torch.stack(known, dim=1).float()


def _lines(start: Tensor, end: Tensor, size: int, sigma: float, radius: float) -> Tensor:
    """Lines between cells (B, L, 2) as maps (B, L, size, size): Gaussians of the distance from them."""
    start, end = start.float(), end.float()
    x, y = (torch.arange(size, device=start.device) - start[..., None]).unbind(2)  # (B, L, size) each
    dx, dy = (end - start).split(1, dim=2)  # (B, L, 1) each
    squared = (dx**2 + dy**2).clamp(min=1)  # of the length, which between cells is at least 1, or 0
    along = ((x * dx / squared)[..., None, :] + (y * dy / squared)[..., None]).clamp(0, 1)
    across = (x[..., None, :] - along * dx[..., None]) ** 2 + (y[..., None] - along * dy[..., None]) ** 2
    return torch.exp(-across / (2 * sigma**2)) * (across <= radius**2)


def compositional(
    loss: Callable[..., Tensor],
    outputs: Sequence[Tensor],
    targets: Sequence[Tensor],
    weights: Sequence[Tensor],
    total: Tensor,
    levels: Sequence[int],
    stage_weights: Sequence[float] | None = None,
) -> Tensor:
    """The loss of a network whose stages predict the joints and the maps of a level, summed over stages.

    loss: one of `src.losses.heatmap.LOSSES`.
    outputs: S heatmaps, (B, J + n, h, w) where the level has n maps.
    targets: of joints, bones, parts: (B, J, h, w), (B, L, h, w), (B, P, h, w). weights: of each map, (B, J) …
    total: the sum of the weights of the joints; of the whole batch, if this is a part of it. A stage that has
        twice as many maps as there are joints is divided by twice that, so it counts with their mean.
    levels: of each stage, 0 for joints alone, 1 with bones, 2 with parts.
    stage_weights: what each stage counts in the sum, if not 1.

    Returns a scalar.
    """
    stages = []
    for output, level in zip(outputs, levels, strict=True):
        groups = (0, level) if level else (0,)
        target, weight = (torch.cat([of_level[i] for i in groups], dim=1) for of_level in (targets, weights))
        stages.append(loss([output], target, weight, total * (output.shape[1] / targets[0].shape[1])))
    return over_stages(stages, stage_weights)
