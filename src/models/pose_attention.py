"""Multi-context attention (Chu, Yang, Ouyang, Ma, Yuille and Wang, CVPR 2017).

Shapes: B batch, S stacks, J joints, C = feats, H x W image, h x w = H/4 x W/4 (heatmap).
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models.layers import (
    ConvNormReLU,
    HourglassLevel,
    Normalise,
    NormReLUConv,
    PoseNetwork,
    Residual,
    residuals,
)

STEPS = 3  # of the message passing between neighbouring cells


class PoseAttention(PoseNetwork):
    """Hourglasses whose features are gated before they become heatmaps, (B, J, h, w) a stack.

    Every stack attends to the body as a whole; the later ones, and the last one, then to each joint, too.
    This is the network of the authors' code, with the neighbourhoods that its script trains, not its default
    of one cell. It has no maps of attention from several sizes, of which the paper tells.

    num_joints: J.
    stacks: S.
    feats: C; the last stack is twice as wide after its hourglass.
    modules: blocks at each place of an hourglass; by default 8 / stacks: fewer stacks are no shallower.
    depth: how many times an hourglass halves its map; the image side is a multiple of 4 * 2^depth.
    kernel: cells along a side of the neighbourhood that a gate listens to, odd.
    whole: how many of the first stacks attend to the whole body only.
    stem_stride: of the first convolution: 1 in the authors' code, whose first features have the size of the
        image; 2 takes a quarter of the memory and time there.

    Raises UserError for a size that is too small, an even kernel, or another stride.
    """

    joint_layers = ("heads", "merge_heatmaps")

    def __init__(
        self,
        num_joints: int,
        stacks: int = 8,
        feats: int = 256,
        modules: int | None = None,
        depth: int = 4,
        kernel: int = 11,
        whole: int = 4,
        stem_stride: int = 1,
    ) -> None:
        modules = max(1, 8 // max(1, stacks)) if modules is None else modules
        sizes = {"num_joints": num_joints, "stacks": stacks, "feats": feats // 2, "modules": modules}
        for name, size in {**sizes, "depth": depth, "whole": whole + 1}.items():
            if size < 1:
                raise UserError(f"pose-attention: {name} is too small")
        if kernel < 1 or kernel % 2 == 0:
            raise UserError(f"pose-attention: kernel is odd, so that it has a centre, not {kernel}")
        if stem_stride not in (1, 2):
            raise UserError(f"pose-attention: stem_stride is 1 or 2, not {stem_stride}")
        super().__init__()
        self.normalise = Normalise()
        self.stem = _stem(feats, stem_stride)
        self.stacks, self.refine, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for i in range(stacks):
            last = i == stacks - 1
            width = 2 * feats if last else feats
            self.stacks.append(_stack(depth, feats, modules, width))
            self.refine.append(
                nn.Sequential(
                    OrderedDict(project=ConvNormReLU(width, width), attention=BodyAttention(width, kernel))
                )
            )
            by_part = last or i >= whole
            self.heads.append(
                PartAttention(width, num_joints, kernel) if by_part else nn.Conv2d(width, num_joints, 1)
            )
        self.merge_features = nn.ModuleList(ConvNormReLU(feats, feats) for _ in range(stacks - 1))
        self.merge_heatmaps = nn.ModuleList(nn.Conv2d(num_joints, feats, 1) for _ in range(stacks - 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """The heatmaps of every stack, S times (B, J, h, w), for RGB `images` (B, 3, H, W) in [0, 1]."""
        x = self.part(self.stem, self.normalise(images))  # (B, C, h, w)
        outputs: list[Tensor] = []
        for i, (stack, refine, head) in enumerate(zip(self.stacks, self.refine, self.heads, strict=True)):
            feature = self.part(stack, x)  # before attention: the next stack may look elsewhere
            heatmaps = head(refine(feature))
            outputs.append(heatmaps)
            if i < len(self.merge_features):
                x = x + self.merge_features[i](feature) + self.merge_heatmaps[i](heatmaps)
        return outputs


def _stem(feats: int, stride: int) -> nn.Sequential:
    """From the image to a quarter of its size, (B, 3, H, W) -> (B, C, h, w)."""
    return nn.Sequential(
        OrderedDict(
            entry=ConvNormReLU(3, 64, kernel=7, stride=stride),
            residual1=Residual(64, 64),
            pool1=nn.MaxPool2d(2) if stride == 1 else nn.Identity(),
            residual2=Residual(64, 64),
            residual3=Residual(64, 128),
            pool2=nn.MaxPool2d(2),
            residual4=Residual(128, 128),
            residual5=Residual(128, 128),
            residual6=Residual(128, feats),
        )
    )


def _stack(depth: int, feats: int, modules: int, outputs: int) -> nn.Sequential:
    """An hourglass and what follows it before attention, (B, C, h, w) -> (B, outputs, h, w)."""
    return nn.Sequential(
        OrderedDict(hourglass=_hourglass(depth, feats, modules), project=ConvNormReLU(feats, outputs))
    )


def _hourglass(level: int, feats: int, modules: int) -> HourglassLevel:
    """An hourglass whose skips see the larger surroundings, the more so the larger the map."""
    rows, length = (modules, level - 1) if level > 1 else (1, modules)  # each row begins with a plain block
    return HourglassLevel(
        skip=nn.Sequential(
            *(
                HourglassResidual(feats) if i else Residual(feats, feats)
                for _ in range(rows)
                for i in range(length)
            )
        ),
        down=residuals(feats, modules),
        inner=_hourglass(level - 1, feats, modules) if level > 1 else Residual(feats, feats),
        up=Residual(feats, feats),
    )


class HourglassResidual(Residual):
    """A residual block with a third branch, at half the size: the hourglass residual unit of the paper."""

    def __init__(self, feats: int) -> None:
        super().__init__(feats, feats)
        self.lower = nn.Sequential(
            nn.BatchNorm2d(feats),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(feats, feats, 3, padding=1),
            NormReLUConv(feats, feats, 3),
            nn.Upsample(scale_factor=2),
        )

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w) -> (B, C, h, w)
        return super().forward(x) + self.lower(x)


class Gates(nn.Module):
    """Maps of attention in (0, 1), each a conditional random field: (B, C, h, w) -> (B, maps, h, w).

    A cell's gate follows from its own evidence and, in a few steps of mean-field inference, from its
    neighbours' gates, weighted by the same learnt kernel in each step.
    """

    def __init__(self, feats: int, maps: int, kernel: int) -> None:
        super().__init__()
        self.evidence = nn.Conv2d(feats, maps, 3, padding=1)
        self.message = nn.Conv2d(maps, maps, kernel, padding=kernel // 2, groups=maps)
        for name, value in (("weight", kernel**-2), ("bias", 0)):  # at first the mean of the neighbours
            nn.init.constant_(self.message.get_parameter(name), value)

    def forward(self, x: Tensor) -> Tensor:
        evidence = self.evidence(x)
        gates = evidence
        for _ in range(STEPS):
            gates = torch.sigmoid(self.message(gates) + evidence)
        return gates


class BodyAttention(nn.Module):
    """All features gated by one map, (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, feats: int, kernel: int) -> None:
        super().__init__()
        self.gates = Gates(feats, 1, kernel)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gates(x)


class PartAttention(nn.Module):
    """Heatmaps, each of features that a map of its own gates: (B, C, h, w) -> (B, J, h, w).

    All joints are computed at once: a gate is the same for all features, so it may as well be applied to
    their weighted sum, and no joint needs a gated copy of them.
    """

    def __init__(self, feats: int, joints: int, kernel: int) -> None:
        super().__init__()
        self.gates = Gates(feats, joints, kernel)
        self.score = nn.Conv2d(feats, joints, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(joints, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        scores = self.gates(x) * self.score(x)
        return scores + self.bias.to(scores.dtype)
