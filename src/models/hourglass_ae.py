"""The hourglass of associative embedding (Newell, Huang and Deng, NIPS 2017).

Shapes: B batch, S stacks, J joints, L tag dimension, C = feats, H x W image, h x w = H/4 x W/4 (maps).
"""

from collections import OrderedDict
from functools import partial

from torch import nn

from src.errors import UserError
from src.models.hourglass import Stacked
from src.models.layers import ConvNormReLU, Hourglass


class AEHourglass(Stacked):
    """Hourglasses of plain 3 x 3 convolutions that grow wider as their maps shrink.

    Every stack predicts (B, J + L * J, h, w): heatmaps, then tags, those of the first dimension first.

    num_joints: J.
    stacks: S, the number of hourglasses.
    feats: C, the width at the full size of the maps.
    increase: features more each time these are halved.
    depth: how many times an hourglass halves its map; the image side is a multiple of 4 * 2^depth.
    tag_dim: L.
    norm: "batch" for batch normalisation before each ReLU, which the authors' network does without ("none").
    sigmoid: whether the heatmaps are probabilities.
    unused: further maps that are predicted and merged but mean nothing: 34 in the authors' checkpoints.

    Raises UserError for a size below 1, or another norm.
    """

    def __init__(
        self,
        num_joints: int,
        stacks: int = 4,
        feats: int = 256,
        increase: int = 128,
        depth: int = 4,
        tag_dim: int = 1,
        norm: str = "none",
        sigmoid: bool = False,
        unused: int = 0,
    ) -> None:
        sizes = {"num_joints": num_joints, "stacks": stacks, "feats": feats, "depth": depth}
        for name, size in [*sizes.items(), ("tag_dim", tag_dim)]:
            if size < 1:
                raise UserError(f"hg-ae: {name} is too small; it is at least 1")
        if increase < 0 or unused < 0:
            raise UserError("hg-ae: increase and unused are at least 0")
        if norm not in ("none", "batch"):
            raise UserError(f"hg-ae: norm is none or batch, not {norm!r}")
        block = partial(ConvNormReLU, kernel=3, norm=norm == "batch")
        hourglasses = (_stack(feats, increase, depth, block) for _ in range(stacks))
        outputs, sigmoids = num_joints * (1 + tag_dim), num_joints if sigmoid else 0
        super().__init__(_stem(feats, block), hourglasses, feats, outputs, unused, sigmoids)


def _stem(feats: int, block: partial[ConvNormReLU]) -> nn.Sequential:
    """From the image to a quarter of its size, (B, 3, H, W) -> (B, C, h, w)."""
    return nn.Sequential(
        OrderedDict(
            entry=block(3, 64, kernel=7, stride=2),
            conv1=block(64, 128),
            pool=nn.MaxPool2d(2),
            conv2=block(128, 128),
            conv3=block(128, feats),
        )
    )


def _stack(feats: int, increase: int, depth: int, block: partial[ConvNormReLU]) -> nn.Sequential:
    """An hourglass and what follows it before the prediction, (B, C, h, w) -> (B, C, h, w)."""
    return nn.Sequential(
        OrderedDict(
            hourglass=Hourglass(depth, feats, block, increase),
            conv1=block(feats, feats),
            conv2=block(feats, feats),
        )
    )
