"""Losses on heatmaps, with intermediate supervision: every stage is compared with the same target.

Shapes: B batch, S stages, J joints, h x w heatmap. All arithmetic is in float32 at least, whatever the
precision of the network, and stays on the device.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from src.losses import HEATMAP_LOSSES


def heatmap_mse(outputs: Sequence[Tensor], target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared error, summed over stages (Newell et al. 2016).

    outputs: S heatmaps (B, J, h, w).
    target: (B, J, h, w); the map of an unlabelled joint is zero.
    weight: (B, J), 0 takes a joint out of the mean; without it every joint counts.

    Returns a scalar: the mean over all joints (those that count) and cells, summed over stages. It is 0 if no
    joint counts.
    """
    target = _precise(target)
    stages = [(_precise(output) - target).square().mean(dim=(2, 3)) for output in outputs]  # (B, J) each
    return _weighted_mean(torch.stack(stages).sum(dim=0), weight)


def heatmap_softmax(outputs: Sequence[Tensor], target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy of the softmax over a map's cells with its target, scaled to sum 1; summed over stages.

    A map is read as a distribution of the joint's place, so an empty map is no minimum to escape from. Its
    values are logits: the place of the maximum is that of the target, the scale is free. The least
    possible value is S times the mean entropy of the targets.

    outputs: S maps of logits (B, J, h, w).
    target: (B, J, h, w), not negative; a joint whose map is zero, unlabelled or outside, does not count.
    weight: (B, J), 0 takes a joint out of the mean.

    Returns a scalar: the mean over the joints that count, summed over stages. It is 0 if no joint counts.
    """
    target = _precise(target).flatten(2)  # (B, J, h*w)
    mass = target.sum(dim=2, keepdim=True)
    share = target / torch.where(mass > 0, mass, 1)
    counted = (mass > 0).squeeze(2).to(target.dtype)  # (B, J)
    stages = [-(share * _precise(output).flatten(2).log_softmax(dim=2)).sum(dim=2) for output in outputs]
    return _weighted_mean(torch.stack(stages).sum(dim=0), counted if weight is None else counted * weight)


LOSSES = dict(zip(HEATMAP_LOSSES, (heatmap_mse, heatmap_softmax), strict=True))


def _precise(x: Tensor) -> Tensor:
    """`x` in float32, or in float64 if it is that already."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """The mean of `values` with `weight`, both (B, J); 0 if all weights are 0, decided on the device."""
    if weight is None:
        return values.mean()
    total = weight.sum()
    return (values * weight).sum() / torch.where(total > 0, total, 1)
