"""Chained predictions (Gkioxari, Toshev and Jaitly, ECCV 2016), with a ResNet.

One joint after another: from a hidden map comes the heatmap of a joint, and from the hidden map and all
heatmaps so far the next hidden map. Shapes: B batch, J joints, C = feats, H x W image, h x w = H/8 x W/8
(heatmap).
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import UserError
from src.models.layers import Normalise, PoseNetwork
from src.models.resnet import resnet_trunk


class ChainedPredictions(PoseNetwork):
    """Heatmaps that are predicted in an order, each with a view of those before it; one stage (B, J, h, w).

    Each step has weights of its own on the hidden map (B, C, H/32, W/32). As the paper has it, a step sees
    the neighbourhood in it and in the heatmaps (`kernel`; 1 would leave 15 of 16 cells unseen), the order
    begins with joints that are easily found, and the maps are trained as distributions (the softmax loss).
    In training as in use a step sees what the network predicted, as in the PyTorch code whose sizes these
    are. Scheduled sampling, which begins with true maps in their place and takes ever fewer of them, is left
    out: it needs maps of one kind, and those that the softmax loss trains are logits whose scale is free.

    num_joints: J.
    order: all joints from 0, in the order in which they are predicted; by default as they are numbered. The
        output is in the order of the skeleton in any case.
    feats: C; between hidden map and heatmap it is half of that.
    kernel: of the convolutions from step to step, odd.
    backbone: resnet18, resnet34, resnet50, resnet101 or resnet152 (`src.models.resnet.RESNETS`).
    pretrained: none, auto or imagenet (`src.models.resnet.imagenet_weights`).

    Raises UserError for a size below 1 (feats below 2), an even kernel, an order that is none, another word.
    """

    joint_layers = ("feedback",)
    stride: ClassVar[int] = 8

    @staticmethod
    def meanings(layer: str, size: int, joints: Sequence[str]) -> list[Any]:
        """Nothing: what a step adds at the later ones depends on the order of all joints."""
        return [None] * size

    def __init__(
        self,
        num_joints: int,
        order: Sequence[int] | None = None,
        feats: int = 64,
        kernel: int = 3,
        backbone: str = "resnet34",
        pretrained: str = "none",
    ) -> None:
        if num_joints < 1 or feats < 2:
            raise UserError("chained: num_joints is at least 1, and feats at least 2")
        if kernel < 1 or kernel % 2 == 0:
            raise UserError(f"chained: kernel is odd, so that maps keep their place, not {kernel}")
        if order is not None and not _is_permutation(order, num_joints):
            raise UserError(f"chained: order names each of the joints 0…{num_joints - 1} once")
        super().__init__()
        self.step_of = sorted(range(num_joints), key=order.__getitem__) if order else list(range(num_joints))
        self.normalise = Normalise()
        self.trunk, width = resnet_trunk(backbone, pretrained, self.normalise)
        self.entry = nn.Conv2d(width, feats, 1)
        self.decoders = nn.ModuleList(_decoder(feats) for _ in range(num_joints))
        self.updates = nn.ModuleList(_update(feats, kernel) for _ in range(num_joints - 1))
        self.feedback = nn.ModuleList(
            _feedback(feats, kernel, later) for later in range(num_joints - 1, 0, -1)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Heatmaps, once (B, J, h, w), for RGB `images` (B, 3, H, W) in [0, 1]."""
        x = self.normalise(images)
        for part in self.trunk:
            x = self.part(part, x)
        hidden = self.entry(x)  # (B, C, H/32, W/32)
        heatmaps: list[Tensor] = []
        coming: list[Tensor] = []  # what the heatmaps so far add to the hidden map of each later step
        for step, decoder in enumerate(self.decoders):
            if step > 0:
                hidden = F.relu(self.updates[step - 1](hidden) + coming.pop(0), inplace=True)
            heatmap = self.part(decoder, hidden)  # (B, 1, h, w)
            heatmaps.append(heatmap)
            if step < len(self.feedback):
                added = self.part(self.feedback[step], heatmap).chunk(len(self.feedback) - step, dim=1)
                coming = [a + b for a, b in zip(coming, added, strict=True)] if coming else list(added)
        return [torch.cat([heatmaps[step] for step in self.step_of], dim=1)]


def _is_permutation(order: Sequence[int], count: int) -> bool:
    """Whether `order`, which may come out of a file, has each number from 0 to `count` - 1 once."""
    if not isinstance(order, list | tuple) or any(type(joint) is not int for joint in order):
        return False
    return sorted(order) == list(range(count))


def _update(feats: int, kernel: int) -> nn.Sequential:
    """From the hidden map to a part of the next one, (B, C, H/32, W/32) -> (B, C, H/32, W/32)."""
    convolution = nn.Conv2d(feats, feats, kernel, padding=kernel // 2)
    return nn.Sequential(OrderedDict(conv=convolution, norm=nn.BatchNorm2d(feats)))


def _decoder(feats: int) -> nn.Sequential:
    """From the hidden map to a heatmap, (B, C, H/32, W/32) -> (B, 1, H/8, W/8)."""
    middle = feats // 2
    return nn.Sequential(
        OrderedDict(
            entry=nn.Conv2d(feats, middle, 1),
            double1=_Double(middle),
            double2=_Double(middle),
            exit=nn.Conv2d(middle, 1, 3, padding=1),
        )
    )


class _Double(nn.Module):
    """Twice the size, by three transposed convolutions at once: (B, feats, h, w) -> (B, feats, 2h, 2w)."""

    def __init__(self, feats: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.ConvTranspose2d(feats, feats, 2 + 2 * more, stride=2, padding=more) for more in range(3)
        )
        self.norm = nn.BatchNorm2d(feats)

    def forward(self, x: Tensor) -> Tensor:
        small, middle, large = (conv(x) for conv in self.convs)
        return F.relu(self.norm(small + middle + large), inplace=True)


def _feedback(feats: int, kernel: int, later: int) -> nn.Sequential:
    """From a heatmap to what it adds at `later` steps, (B, 1, H/8, W/8) -> (B, later * C, H/32, W/32).

    Each of these steps has weights of its own, which makes a group of the convolutions.
    """
    width = later * feats

    def halve() -> nn.Conv2d:
        return nn.Conv2d(width, width, kernel, stride=2, padding=kernel // 2, groups=later)

    return nn.Sequential(
        OrderedDict(
            entry=nn.Conv2d(1, width, 1),
            halve1=halve(),
            norm1=nn.BatchNorm2d(width),
            relu=nn.ReLU(inplace=True),
            halve2=halve(),
            norm2=nn.BatchNorm2d(width),
        )
    )
