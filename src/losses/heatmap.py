"""Losses on heatmaps, with intermediate supervision: every stage is compared with the same target.

Shapes: B batch, S stages, J joints, h x w heatmap. All arithmetic is in float32 at least, whatever the
precision of the network, and stays on the device.

A loss is a weighted sum over people and joints, divided by the sum of the weights. `total` replaces that
where a batch is a part of a larger one: with the whole's sum of weights the losses of the parts add up to its
loss, and with 1 they are the sums themselves.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from src.errors import UserError
from src.losses import HEATMAP_LOSSES


def heatmap_mse(
    outputs: Sequence[Tensor],
    target: Tensor,
    weight: Tensor | None = None,
    total: Tensor | None = None,
    stage_weights: Sequence[float] | None = None,
) -> Tensor:
    """Mean squared error, summed over stages (Newell et al. 2016).

    outputs: S heatmaps (B, J, h, w).
    target: (B, J, h, w); the map of an unlabelled joint is zero.
    weight: (B, J), 0 takes a joint out of the mean; without it every joint counts.
    total: scalar, what the sum over people and joints is divided by, if not by the sum of the weights.
    stage_weights: what each stage counts in the sum, if not 1.

    Returns a scalar: the mean over all joints (those that count) and cells, summed over stages. It is 0 if no
    joint counts.
    """
    target = precise(target)
    stages = [(precise(output) - target).square().mean(dim=(2, 3)) for output in outputs]  # (B, J) each
    return weighted_mean(over_stages(stages, stage_weights), weight, total)


def heatmap_softmax(
    outputs: Sequence[Tensor],
    target: Tensor,
    weight: Tensor | None = None,
    total: Tensor | None = None,
    stage_weights: Sequence[float] | None = None,
) -> Tensor:
    """Cross-entropy of the softmax over a map's cells with its target, scaled to sum 1; summed over stages.

    A map is read as a distribution of the joint's place, so an empty map is no minimum to escape from. Its
    values are logits: the place of the maximum is that of the target, the scale is free. The least
    possible value is S times the mean entropy of the targets.

    outputs: S maps of logits (B, J, h, w).
    target: (B, J, h, w), not negative; a joint whose map is zero, unlabelled or outside, does not count.
    weight: (B, J), 0 takes a joint out of the mean.
    total: scalar, what the sum over people and joints is divided by, if not by the sum of the weights.
    stage_weights: what each stage counts in the sum, if not 1.

    Returns a scalar: the mean over the joints that count, summed over stages. It is 0 if no joint counts.
    """
    target = precise(target).flatten(2)  # (B, J, h*w)
    mass = target.sum(dim=2, keepdim=True)
    share = target / torch.where(mass > 0, mass, 1)
    counted = (mass > 0).squeeze(2).to(target.dtype)  # (B, J)
    stages = [-(share * precise(output).flatten(2).log_softmax(dim=2)).sum(dim=2) for output in outputs]
    weight = counted if weight is None else counted * weight
    return weighted_mean(over_stages(stages, stage_weights), weight, total)


LOSSES = dict(zip(HEATMAP_LOSSES, (heatmap_mse, heatmap_softmax), strict=True))


def precise(x: Tensor) -> Tensor:
    """`x` in float32, or in float64 if it is that already."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def joint_weights(loss: str, visible: Tensor, has_target: Tensor, mask_unlabelled: bool) -> Tensor:
    """What each joint (B, J), float32, weighs in a loss of LOSSES: their sum is what that divides by.

    visible (B, J): 0 is unlabelled, below 0 nobody's. has_target (B, J) bool: the joint's map is not empty.
    mask_unlabelled: whether mse leaves unlabelled joints out, too; softmax does in any case.
    """
    if loss == "softmax":
        return has_target.float()
    return (visible > 0 if mask_unlabelled else visible >= 0).float()


def over_stages(values: Sequence[Tensor], weights: Sequence[float] | None) -> Tensor:
    """The sum of the stages' values, each multiplied by its weight, if there are weights.

    Raises UserError for more or fewer weights than stages.
    """
    if weights is not None:
        if len(weights) != len(values):
            raise UserError(f"--stage-weights: {len(weights)} numbers for a network of {len(values)} stages")
        values = [weight * value for weight, value in zip(weights, values, strict=True)]
    return torch.stack(list(values)).sum(dim=0)


def weighted_mean(values: Tensor, weight: Tensor | None, total: Tensor | None) -> Tensor:
    """The sum of `values` with `weight`, both (B, J), over `total`; 0 if that is 0, decided on the device."""
    weight = torch.ones_like(values) if weight is None else weight
    total = weight.sum() if total is None else total
    return (values * weight).sum() / torch.where(total > 0, total, 1)
