"""DeepPose (Toshev and Szegedy, "DeepPose: human pose estimation via deep neural networks", CVPR 2014).

A classification network whose last layer gives the coordinates of joints, and a cascade of further ones that
look closer. Shapes: B batch, J joints, S x S image. Coordinates are in units of the crop: (0, 0) is the upper
left corner of the first pixel, (1, 1) the lower right one of the last, and the centre of pixel k lies at
(k + 0.5) / S. Joints may lie outside.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import UserError
from src.models import least_side
from src.models.backbones import backbone_and_head
from src.models.layers import Normalise, PoseNetwork


class DeepPose(PoseNetwork):
    """Coordinates from a backbone; 1 + `cascade` stages.

    A further stage cuts a square out around each joint of the stage before and says how far the joint is from
    its centre, with a backbone of its own, and a row of weights for each joint. Unlike the paper's, the
    squares come from the crop that the first stage sees, at its resolution; their side is a share of the
    crop, where the paper takes one of the torso, which crops by the person's size hold nearly constant; and
    all stages learn at once, each from what the one before really predicts instead of a simulation of it.

    num_joints: J.
    backbone: a classification network of torchvision (`src.models.backbones.backbones`). The paper's is an
        AlexNet.
    cascade: further stages, each of which takes J times as many pictures, of `window`.
    window: side of the squares, as a share of the crop.
    pretrained: none, auto or imagenet (`src.models.resnet.imagenet_weights`), for every stage.

    Raises UserError for a number that cannot be, or another word.
    """

    joint_layers = ("head", "closer_heads")
    CENTRE: ClassVar[float] = 0.5  # where joints are before anything is learnt

    @staticmethod
    def meanings(layer: str, size: int, joints: Sequence[str]) -> list[Any]:
        """x and y of each joint."""
        return coordinates(size, joints)

    def __init__(
        self,
        num_joints: int,
        backbone: str = "resnet50",
        cascade: int = 0,
        window: float = 0.5,
        pretrained: str = "none",
    ) -> None:
        if num_joints < 1 or cascade < 0:
            raise UserError("deeppose: num_joints is at least 1, and cascade at least 0")
        if not isinstance(window, int | float) or not 0 < window <= 1:
            raise UserError(f"deeppose: window is a share of the crop, above 0 and at most 1, not {window}")
        super().__init__()
        self.window, self.least_side = float(window), least_side(backbone)
        self.normalise = Normalise()
        stages = [
            backbone_and_head(backbone, 2 * num_joints, pretrained, self.normalise)
            for _ in range(1 + cascade)
        ]
        (self.trunk, self.head), *closer = stages
        self.closer = nn.ModuleList(trunk for trunk, _ in closer)
        self.closer_heads = nn.ModuleList(head for _, head in closer)
        for stage, (_, head) in enumerate(stages):
            nn.init.normal_(head.weight, std=0.001)
            nn.init.constant_(head.get_parameter("bias"), 0 if stage else self.CENTRE)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Coordinates (B, J, 2) in units of the crop, of each stage, for RGB `images` (B, 3, S, S) in [0, 1].

        They are float32 at least, whatever the precision of the backbone.
        """
        images = self.normalise(images)
        features = self.part(self.trunk, images)
        stages = [linear(features, self.head.weight, self.head.bias).unflatten(1, (-1, 2))]
        for trunk, head in zip(self.closer, self.closer_heads, strict=True):
            before = stages[-1].detach()
            features = self.part(trunk, self._squares(images, before))
            stages.append(before + self.window * _of_own_joint(features, head, before.shape[1]))
        return stages

    def _squares(self, images: Tensor, centres: Tensor) -> Tensor:
        """The squares around joints (B, J, 2), one after the other, (B J, 3, s, s); 0 beyond the crop."""
        side = max(round(self.window * int(images.shape[3])), self.least_side)
        steps = torch.arange(side, device=images.device, dtype=centres.dtype)
        steps = self.window * ((steps + 0.5) / side - 0.5)
        x, y = (centres.flatten(0, 1)[:, None] + steps[:, None]).unbind(2)  # (B J, s) each
        grid = torch.stack([x[:, None].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], dim=3)
        joints = centres.shape[1]
        repeated = images[:, None].expand(-1, joints, -1, -1, -1).flatten(0, 1)
        return F.grid_sample(repeated, (2 * grid - 1).to(images.dtype), align_corners=False)


def coordinates(size: int, joints: Sequence[str]) -> list[Any]:
    """What the `size` rows of a last layer stand for: x and y of the first joint, of the second one, …"""
    return [(joints[row // 2], row % 2) for row in range(min(size, 2 * len(joints)))]


def linear(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer in float32 at least: bfloat16 tells no more than 256 places of a crop apart."""
    kind = features.device.type
    with nullcontext() if kind == "meta" else torch.autocast(kind, enabled=False):
        return F.linear(features.to(torch.promote_types(features.dtype, torch.float32)), weight, bias)


def _of_own_joint(features: Tensor, head: nn.Module, joints: int) -> Tensor:
    """(B, J, 2) from the features (B J, F) of each joint's square: of all that the head says, its own."""
    said = linear(features, head.get_parameter("weight"), head.get_parameter("bias"))
    return torch.diagonal(said.view(-1, joints, joints, 2), dim1=1, dim2=2).transpose(1, 2)
