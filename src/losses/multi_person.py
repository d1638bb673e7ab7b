"""The loss of a network that finds all people of a picture: heatmaps, and tags that say whose a joint is.

Shapes: B pictures, S stages, J joints, L tag dimension, P slots for people, h x w maps. Arithmetic is in
float32 at least and stays on the device.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from src.losses.associative_embedding import associative_embedding

FOREGROUND = 0.01  # gamma of Luo et al.


def multi_person(
    outputs: Sequence[Tensor],
    target: Tensor,
    mask: Tensor,
    cells: Tensor,
    labelled: Tensor,
    total: Tensor,
    *,
    weighted: bool = False,
    pull_weight: float = 1e-3,
    push_weight: float = 1e-3,
) -> dict[str, Tensor]:
    """Associative embedding (Newell, Huang and Deng, NIPS 2017): error of heatmaps, and pull and push.

    outputs: S maps (B, J + L J, h, w), heatmaps before tags.
    target: (B, J, h, w), of several people the largest.
    mask: (B, h, w), 0 in cells where nothing is known; they still count in the mean.
    cells, labelled: (B, P, J, 2) int64 and (B, P, J) bool, as `associative_embedding` takes them.
    total: scalar that the sums over pictures are divided by, such as B.
    weighted: weigh each error by how much it matters (Luo et al., "Rethinking the heatmap regression for
        bottom-up human pose estimation", CVPR 2021, section 3.4): where the target is t and the network says
        p, by t^0.01 |1 - p| + (1 - t^0.01) |p|. What is easy, above all the empty ground around people,
        weighs little, so empty maps are no plateau.

    Returns the terms heatmap, pull and push, as means over stages, and loss, their weighted sum.
    """
    joints = target.shape[1]
    mask = mask[:, None]
    sums = []
    for output in outputs:
        maps = output.to(torch.promote_types(output.dtype, torch.float32))
        heatmaps, tags = maps[:, :joints], maps[:, joints:].unflatten(1, (-1, joints))
        error = (heatmaps - target).square() * mask
        if weighted:
            error = error * _importance(heatmaps.detach(), target)
        pull, push = associative_embedding(tags, cells, labelled)
        sums.append(torch.stack([error.mean((1, 2, 3)).sum(), pull.sum(), push.sum()]))
    heatmap, pull, push = (torch.stack(sums).mean(0) / total).unbind()
    loss = heatmap + pull_weight * pull + push_weight * push
    return {"loss": loss, "heatmap": heatmap, "pull": pull, "push": push}


def _importance(heatmaps: Tensor, target: Tensor) -> Tensor:
    person = target.pow(FOREGROUND)
    return person * (1 - heatmaps).abs() + (1 - person) * heatmaps.abs()
