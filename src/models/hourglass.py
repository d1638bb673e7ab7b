"""Stacked hourglass network (Newell, Yang and Deng, "Stacked hourglass networks …", ECCV 2016).

Shapes: B batch, S stacks, J joints, C = feats, H x W image, h x w = H/4 x W/4 (heatmap).
"""

import math
from collections import OrderedDict
from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models.layers import ConvNormReLU, Hourglass, Normalise, PoseNetwork, Stem, residuals

PRIOR = 0.01  # of probabilities at the start


class Stacked(PoseNetwork):
    """Hourglasses in a row; each predicts all maps, and the next one sees what it predicted.

    stem: (B, 3, H, W) -> (B, C, h, w). stacks: S modules (B, C, h, w) -> (B, C, h, w).
    outputs: maps that every stack predicts. unused: further ones, which only the next stack sees.
    sigmoids: how many of the maps, the first, are probabilities. These begin near PRIOR (Lin et al., "Focal
        loss for dense object detection", ICCV 2017, section 4.1): else all else waits until they have fallen.
    """

    joint_layers: ClassVar[tuple[str, ...]] = ("heads", "merge_heatmaps")

    def __init__(
        self,
        stem: nn.Module,
        stacks: Iterable[nn.Module],
        feats: int,
        outputs: int,
        unused: int = 0,
        sigmoids: int = 0,
    ) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.stem = stem
        self.stacks = nn.ModuleList(stacks)
        self.outputs, maps, count = outputs, outputs + unused, len(self.stacks)
        self.sigmoids = sigmoids
        heads = [nn.Conv2d(feats, maps, 1) for _ in range(count)]
        for head in heads:
            assert head.bias is not None
            nn.init.constant_(head.bias[:sigmoids], math.log(PRIOR / (1 - PRIOR)))
        self.heads = nn.ModuleList(heads)
        # the last stack has no successor, so it merges nothing: every parameter gets a gradient
        self.merge_features = nn.ModuleList(nn.Conv2d(feats, feats, 1) for _ in range(count - 1))
        self.merge_heatmaps = nn.ModuleList(nn.Conv2d(maps, feats, 1) for _ in range(count - 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """The maps of every stack, S times (B, outputs, h, w), for RGB `images` (B, 3, H, W) in [0, 1]."""
        return self.maps(self.part(self.stem, self.normalise(images)))

    def maps(self, x: Tensor) -> list[Tensor]:
        """The maps of every stack, for the features (B, C, h, w) that the stem makes."""
        outputs: list[Tensor] = []
        for i in range(len(self.stacks)):
            feature, maps = self.stage(i, x)
            outputs.append(self._shown(maps[:, : self.outputs]))
            if i < len(self.merge_features):
                x = x + self.merge_features[i](feature) + self.merge_heatmaps[i](maps)
        return outputs

    def _shown(self, maps: Tensor) -> Tensor:
        """What is shown of a stack's maps: the first ones as probabilities, in float32 at least."""
        if not self.sigmoids:
            return maps
        exact = maps[:, : self.sigmoids].to(torch.promote_types(maps.dtype, torch.float32))
        return torch.cat([exact.sigmoid(), maps[:, self.sigmoids :]], dim=1)

    def stage(self, i: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """The features (B, C, h, w) and the maps of stack `i`, for its input (B, C, h, w)."""
        feature = self.part(self.stacks[i], x)
        return feature, self.heads[i](feature)


class StackedHourglass(Stacked):
    """The stacked hourglass: heatmaps (B, J, h, w) a stack; with tags, (B, J + tag_dim * J, h, w).

    num_joints: J.
    stacks: S, the number of hourglasses.
    feats: C, the width of every hourglass; inside a residual it is half of that.
    modules: residual blocks at each place of an hourglass, and between hourglass and prediction.
    depth: how many times an hourglass halves its map; the image side is a multiple of 4 * 2^depth
        (`src.models.check_input`).
    stem_feats: width of the stem's second residual: 128 in the authors' code, 256 in pytorch-pose.
    stem_width: width of its first convolution, half that of its first residual: 64 everywhere. Where `feats`
        are few, the stem takes most of the time, and a narrower one nearly halves it.
    tag_dim: maps of tags for each joint, which follow the heatmaps (associative embedding).
    sigmoid: whether the heatmaps are probabilities.

    Raises UserError for a size below 1 (feats below 2).
    """

    def __init__(
        self,
        num_joints: int,
        stacks: int = 8,
        feats: int = 256,
        modules: int = 1,
        depth: int = 4,
        stem_feats: int = 128,
        stem_width: int = 64,
        tag_dim: int = 0,
        sigmoid: bool = False,
    ) -> None:
        sizes = {"num_joints": num_joints, "stacks": stacks, "modules": modules, "depth": depth}
        halves = {"feats": feats // 2, "stem_feats": stem_feats // 2}
        for name, size in {**sizes, "stem_width": stem_width, **halves}.items():
            if size < 1:
                raise UserError(f"hg: {name} is too small; every size is at least 1, and widths at least 2")
        hourglasses = (hourglass_stack(feats, modules, depth) for _ in range(stacks))
        outputs, sigmoids = num_joints * (1 + tag_dim), num_joints if sigmoid else 0
        stem = Stem(feats, stem_feats, stem_width)
        super().__init__(stem, hourglasses, feats, outputs, sigmoids=sigmoids)


def hourglass_stack(feats: int, modules: int, depth: int) -> nn.Sequential:
    """An hourglass and what follows it before the prediction, (B, C, h, w) -> (B, C, h, w)."""
    return nn.Sequential(
        OrderedDict(
            hourglass=Hourglass(depth, feats, lambda inputs, _: residuals(inputs, modules)),
            residuals=residuals(feats, modules),
            project=ConvNormReLU(feats, feats),
        )
    )
