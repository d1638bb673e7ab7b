"""Losses on coordinates, summed over stages, which are all compared with the same target.

Shapes: B batch, S stages, J joints. Coordinates are in units of the crop. All arithmetic is in float32 at
least and stays on the device; weights, `total` and stages are those of `src.losses.heatmap`.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor

from src.losses import COORDINATE_LOSSES
from src.losses.heatmap import over_stages, precise, weighted_mean

SMOOTH_WITHIN = 0.02  # of the crop: nearer than that the smooth loss is quadratic

Error = Callable[[Tensor, Tensor], Tensor]  # output, target -> error of each number


def coordinate_loss(
    error: Error,
    outputs: Sequence[Tensor],
    target: Tensor,
    weight: Tensor | None = None,
    total: Tensor | None = None,
    stage_weights: Sequence[float] | None = None,
) -> Tensor:
    """The mean error of a coordinate, x or y, of the joints that count, summed over stages.

    outputs: S poses (B, J, 2).
    target: (B, J, 2); what it says of a joint that does not count does not matter, if it is finite.
    weight: (B, J), 0 takes a joint out of the mean; without it every joint counts.
    total: scalar, what the sum over people and joints is divided by, if not by the sum of the weights.
    stage_weights: what each stage counts in the sum, if not 1.

    Returns a scalar, which is 0 if no joint counts.
    """
    target = precise(target)
    stages = [error(precise(output), target).mean(dim=2) for output in outputs]  # (B, J) each
    return weighted_mean(over_stages(stages, stage_weights), weight, total)


def _l1(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).abs()


def _l2(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square()


def _smooth(output: Tensor, target: Tensor) -> Tensor:
    """The error less half of SMOOTH_WITHIN, or a parabola that goes over into it there."""
    return F.smooth_l1_loss(output, target, reduction="none", beta=SMOOTH_WITHIN)


ERRORS = (_l1, _l2, _smooth)
LOSSES = {
    name: partial(coordinate_loss, error) for name, error in zip(COORDINATE_LOSSES, ERRORS, strict=True)
}
