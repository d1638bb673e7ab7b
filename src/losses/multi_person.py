"""The loss of a network that finds all people of a picture: heatmaps, and tags that say whose a joint is.

Shapes: B pictures, S stages, J joints, L tag dimension, P slots for people, h x w maps. Arithmetic is in
float32 at least and stays on the device.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from src.losses.associative_embedding import associative_embedding
from src.losses.heatmap import over_stages

TINY = 1e-7  # float32 tells 1 from 1 - TINY


def multi_person(
    outputs: Sequence[Tensor],
    target: Tensor,
    mask: Tensor,
    cells: Tensor,
    labelled: Tensor,
    total: Tensor,
    *,
    logistic: bool = False,
    pull_weight: float = 1e-3,
    push_weight: float = 1e-3,
    stage_weights: Sequence[float] | None = None,
) -> dict[str, Tensor]:
    """Associative embedding (Newell, Huang and Deng, NIPS 2017): error of heatmaps, and pull and push.

    outputs: S maps (B, J + L J, h, w), heatmaps before tags.
    target: (B, J, h, w), of several people the largest.
    mask: (B, h, w), 0 in cells where nothing is known; they still count in the mean.
    cells, labelled: (B, P, J, 2) int64 and (B, P, J) bool, as `associative_embedding` takes them.
    total: scalar that the sums over pictures are divided by, such as B; where it is 0 nothing is to be
        learnt, and the losses are 0.
    logistic: the heatmaps are probabilities, and their error is the cross-entropy with the target (logistic
        regression in each cell; among others Kreiss, Bertoni and Alahi, "PifPaf", CVPR 2019). Squared errors
        have small networks predict empty maps for thousands of steps: while they do not know where a joint
        is, their best guess is nearly 0 everywhere.
    stage_weights: what each stage counts in the means over them, if not 1.

    Returns the terms heatmap, pull and push, as means over stages, and loss, their weighted sum.
    """
    joints = target.shape[1]
    mask = mask[:, None]
    sums = []
    for output in outputs:
        maps = output.to(torch.promote_types(output.dtype, torch.float32))
        heatmaps, tags = maps[:, :joints], maps[:, joints:].unflatten(1, (-1, joints))
        error = (_cross_entropy(heatmaps, target) if logistic else (heatmaps - target).square()) * mask
        pull, push = associative_embedding(tags, cells, labelled)
        sums.append(torch.stack([error.mean((1, 2, 3)).sum(), pull.sum(), push.sum()]))
    mean = over_stages(sums, stage_weights) / len(sums)
    heatmap, pull, push = (mean / torch.where(total > 0, total, 1)).unbind()
    loss = heatmap + pull_weight * pull + push_weight * push
    return {"loss": loss, "heatmap": heatmap, "pull": pull, "push": push}


def _cross_entropy(probabilities: Tensor, target: Tensor) -> Tensor:
    """That of each cell with a target between 0 and 1; finite where a probability is 0 or 1."""
    yes, no = torch.log(probabilities + TINY), torch.log1p(TINY - probabilities)
    return -(target * yes + (1 - target) * no)
