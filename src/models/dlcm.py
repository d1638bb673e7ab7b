"""Deeply learned compositional model (Tang, Yu and Wu, ECCV 2018).

Shapes: B batch, J joints, C = feats, H x W image, h x w = H/4 x W/4 (heatmap).
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models.layers import (
    ConvNormReLU,
    Hourglass,
    Normalise,
    NormReLUConv,
    PoseNetwork,
    Residual,
    Stem,
    residuals,
)

Groups = Sequence[Sequence[int]]

# Of the 16 joints of MPII: legs, hips, neck and head, arms; and which two bones make a part.
MPII_BONES = (
    (0, 1), (1, 2), (3, 4), (4, 5), (2, 6), (3, 6), (7, 8), (8, 9), (10, 11), (11, 12), (13, 14), (14, 15),
)  # fmt: skip


class DLCM(PoseNetwork):
    """Five hourglasses that infer joints, bones, parts, and with these in view bones and joints again.

    Each stage gives heatmaps (B, J + n, h, w): of the joints, then of the n things of its level, which are
    none, the bones, the parts, the bones, none. The last one, (B, J, h, w), is the answer.
    `src.losses.composition` compares them with what it draws for `bones` and `parts`.

    The authors' file of the network is not published. The number of parameters and of multiply-adds that the
    paper gives is that of plain residuals, and of none between hourglass and prediction.

    levels: of the stages, 0 for joints alone, 1 with bones, 2 with parts.

    num_joints: J.
    feats: C, larger than J + bones and J + parts by at least 2.
    modules: residual blocks at each place of an hourglass.
    depth: how many times an hourglass halves its map; the image side is a multiple of 4 * 2^depth.
    bones: pairs of joints; `src.datasets.skeletons.Skeleton.bones` has them. By default those of MPII for
        16 joints, else none.
    parts: groups of bones. By default each two bones in a row.

    Raises UserError for a size that is too small, and bones or parts of what does not exist.
    """

    joint_layers: ClassVar[tuple[str, ...]] = ("heads", "merge_heatmaps", "narrow")
    levels: ClassVar[tuple[int, ...]] = (0, 1, 2, 1, 0)  # from joints up to parts and down again

    @staticmethod
    def meanings(layer: str, size: int, joints: Sequence[str]) -> list[Any]:
        """The joints; bones and parts, and the room that is left beside them, are another body's."""
        known = [] if layer == "narrow" else [*joints[:size]]
        return known + [None] * (size - len(known))

    def __init__(
        self,
        num_joints: int,
        feats: int = 256,
        modules: int = 1,
        depth: int = 4,
        bones: Groups | None = None,
        parts: Groups | None = None,
    ) -> None:
        sizes = {"num_joints": num_joints, "feats": feats, "modules": modules, "depth": depth}
        for name, size in sizes.items():
            if size < 1:
                raise UserError(f"dlcm: {name} is too small; every size is at least 1")
        if bones is None:
            bones = MPII_BONES if num_joints == 16 else ()
        _require_groups("bones", bones, num_joints)
        if parts is None:
            parts = [range(bone, min(bone + 2, len(bones))) for bone in range(0, len(bones), 2)]
        _require_groups("parts", parts, len(bones))
        if any(len(bone) != 2 for bone in bones):
            raise UserError("dlcm: bones are pairs of joints")
        most = num_joints + max(len(bones), len(parts))
        if feats < most + 2:
            raise UserError(f"dlcm: feats is too small; for {most} maps of a stage it is at least {most + 2}")
        super().__init__()
        self.bones, self.parts = [tuple(bone) for bone in bones], [tuple(part) for part in parts]
        maps = [num_joints + (0, len(bones), len(parts))[level] for level in self.levels]
        self.normalise = Normalise()
        self.stem = Stem(feats, block=_residual)
        self.stacks = nn.ModuleList(_stack(feats, modules, depth) for _ in maps)
        self.heads = nn.ModuleList(nn.Conv2d(feats, count, 1) for count in maps)
        self.merge_features = nn.ModuleList(nn.Conv2d(feats, feats, 1) for _ in maps[1:])
        self.merge_heatmaps = nn.ModuleList(nn.Conv2d(count, feats, 1) for count in maps[:-1])
        # on the way down: room for what was found on the way up
        self.narrow = nn.ModuleList(_residual(feats, feats - count) for count in maps[3:])

    def forward(self, images: Tensor) -> list[Tensor]:
        """The maps of every stage, (B, J + n, h, w) each, for RGB `images` (B, 3, H, W) in [0, 1]."""
        x = self.part(self.stem, self.normalise(images))  # (B, C, h, w)
        outputs: list[Tensor] = []
        for i, (stack, head) in enumerate(zip(self.stacks, self.heads, strict=True)):
            feature = self.part(stack, x)
            maps = head(feature)
            outputs.append(maps)
            if i == len(self.merge_features):
                break
            x = x + self.merge_features[i](feature) + self.merge_heatmaps[i](maps)
            if i > 1:
                x = torch.cat([outputs[3 - i], self.narrow[i - 2](x)], dim=1)
        return outputs


def _require_groups(what: str, groups: Any, count: int) -> None:
    """UserError unless it is sequences of numbers from 0 to below `count`, whatever was typed."""
    try:
        fine = all(group and all(member in range(count) for member in group) for group in groups)
    except TypeError:
        fine = False
    if not fine:
        raise UserError(f"dlcm: {what} are groups of numbers below {count}, such as [[0, 1], [1, 2]]")


def _residual(inputs: int, outputs: int) -> Residual:
    """A residual whose skip is normalised where the width changes."""
    return Residual(inputs, outputs, NormReLUConv(inputs, outputs) if inputs != outputs else None)


def _stack(feats: int, modules: int, depth: int) -> nn.Sequential:
    """An hourglass and what follows it before the prediction, (B, C, h, w) -> (B, C, h, w)."""
    return nn.Sequential(
        OrderedDict(
            hourglass=Hourglass(depth, feats, lambda inputs, _: residuals(inputs, modules)),
            project=ConvNormReLU(feats, feats),
        )
    )
