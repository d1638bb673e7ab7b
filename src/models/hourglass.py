"""Stacked hourglass network (Newell, Yang and Deng, "Stacked hourglass networks …", ECCV 2016).

Shapes: B batch, S stacks, J joints, C = feats, H x W image, h x w = H/4 x W/4 (heatmap).
"""

from collections import OrderedDict
from collections.abc import Iterable

from torch import Tensor, nn

from src.errors import UserError
from src.models.layers import ConvNormReLU, Hourglass, Normalise, PoseNetwork, Stem, residuals


class Stacked(PoseNetwork):
    """Hourglasses in a row; each predicts all maps, and the next one sees what it predicted.

    stem: (B, 3, H, W) -> (B, C, h, w). stacks: S modules (B, C, h, w) -> (B, C, h, w).
    outputs: maps that every stack predicts. unused: further ones, which only the next stack sees.
    """

    joint_layers = ("heads", "merge_heatmaps")

    def __init__(
        self, stem: nn.Module, stacks: Iterable[nn.Module], feats: int, outputs: int, unused: int = 0
    ) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.stem = stem
        self.stacks = nn.ModuleList(stacks)
        self.outputs, maps, count = outputs, outputs + unused, len(self.stacks)
        self.heads = nn.ModuleList(nn.Conv2d(feats, maps, 1) for _ in range(count))
        # the last stack has no successor, so it merges nothing: every parameter gets a gradient
        self.merge_features = nn.ModuleList(nn.Conv2d(feats, feats, 1) for _ in range(count - 1))
        self.merge_heatmaps = nn.ModuleList(nn.Conv2d(maps, feats, 1) for _ in range(count - 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """The maps of every stack, S times (B, outputs, h, w), for RGB `images` (B, 3, H, W) in [0, 1]."""
        x = self.part(self.stem, self.normalise(images))  # (B, C, h, w)
        outputs: list[Tensor] = []
        for i, (stack, head) in enumerate(zip(self.stacks, self.heads, strict=True)):
            feature = self.part(stack, x)  # (B, C, h, w)
            maps = head(feature)
            outputs.append(maps[:, : self.outputs])
            if i < len(self.merge_features):
                x = x + self.merge_features[i](feature) + self.merge_heatmaps[i](maps)
        return outputs


class StackedHourglass(Stacked):
    """The stacked hourglass: heatmaps (B, J, h, w) a stack; with tags, (B, J + tag_dim * J, h, w).

    num_joints: J.
    stacks: S, the number of hourglasses.
    feats: C, the width of every hourglass; inside a residual it is half of that.
    modules: residual blocks at each place of an hourglass, and between hourglass and prediction.
    depth: how many times an hourglass halves its map; the image side is a multiple of 4 * 2^depth
        (`src.models.check_input`).
    stem_feats: width of the stem's second residual: 128 in the authors' code, 256 in pytorch-pose.
    tag_dim: maps of tags for each joint, which follow the heatmaps (associative embedding).

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
        tag_dim: int = 0,
    ) -> None:
        sizes = {"num_joints": num_joints, "stacks": stacks, "modules": modules, "depth": depth}
        for name, size in [*sizes.items(), ("feats", feats // 2), ("stem_feats", stem_feats // 2)]:
            if size < 1:
                raise UserError(f"hg: {name} is too small; every size is at least 1, and widths at least 2")
        hourglasses = (_stack(feats, modules, depth) for _ in range(stacks))
        super().__init__(Stem(feats, stem_feats), hourglasses, feats, num_joints * (1 + tag_dim))


def _stack(feats: int, modules: int, depth: int) -> nn.Sequential:
    """An hourglass and what follows it before the prediction, (B, C, h, w) -> (B, C, h, w)."""
    return nn.Sequential(
        OrderedDict(
            hourglass=Hourglass(depth, feats, lambda inputs, _: residuals(inputs, modules)),
            residuals=residuals(feats, modules),
            project=ConvNormReLU(feats, feats),
        )
    )
