"""Iterative error feedback (Carreira, Agrawal, Fragkiadaki and Malik, CVPR 2016).

The network sees the picture beside a drawing of the pose that it believes in, and says in which direction
each joint has to go; a few bounded steps lead from the mean pose to the answer. Shapes: B batch, J joints,
H x W image. Coordinates are in units of the crop, as those of `src.models.deeppose`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models.backbones import backbone_and_head, first_convolution
from src.models.deeppose import coordinates, linear
from src.models.layers import Normalise, PoseNetwork


class IterativeErrorFeedback(PoseNetwork):
    """A pose that is corrected `steps` times; a stage for each step.

    It learns along a fixed path (`on_path`), as the paper has it, and never from where its own steps would
    lead. Unlike the paper's it learns all steps from the beginning, since where they start does not depend on
    what it has learnt; and a step is bounded in use as well, which the authors' demonstration leaves out.

    num_joints: J.
    backbone: a classification network of torchvision (`src.models.backbones.backbones`); its first
        convolution gets J or J + 1 further inputs.
    steps: how often the pose is corrected.
    reach: how far a joint goes in a step at most, as a share of the crop (published: 20 of 224 pixels).
    sigma: of the Gaussians that are drawn for joints, as a share of the crop.
    marker: whether the middle of the crop is drawn, too, as one more joint that is never moved.
    pretrained: none, auto or imagenet (`src.models.resnet.imagenet_weights`), of all but the drawn joints.

    Raises UserError for a number that cannot be, or another word.
    """

    joint_layers = ("mean_pose", "entry_of_pose", "head")
    sees_joints = ("entry_of_pose",)

    @staticmethod
    def meanings(layer: str, size: int, joints: Sequence[str]) -> list[Any]:
        """x and y of each joint; of drawings and the mean pose, the joints and what may be marked beside."""
        return coordinates(size, joints) if layer == "head" else [*joints, "marker"][:size]

    def __init__(
        self,
        num_joints: int,
        backbone: str = "googlenet",
        steps: int = 4,
        reach: float = 20 / 224,
        sigma: float = 5 / 224,
        marker: bool = True,
        pretrained: str = "none",
    ) -> None:
        if min(num_joints, steps) < 1:
            raise UserError("ief: num_joints and steps are at least 1")
        for name, share in (("reach", reach), ("sigma", sigma)):
            if not isinstance(share, int | float) or not 0 < share <= 1:
                raise UserError(f"ief: {name} is a share of the crop, above 0 and at most 1, not {share}")
        super().__init__()
        self.steps, self.reach, self.sigma, self.marker = steps, float(reach), float(sigma), marker
        self.mean_pose = MeanPose(num_joints)
        self.normalise = Normalise()
        self.trunk, self.head = backbone_and_head(backbone, 2 * num_joints, pretrained, self.normalise)
        # one convolution of picture and drawing is the sum of two, and that of the picture serves all steps
        self.entry = first_convolution(self.trunk)
        self.entry_of_pose = nn.Conv2d(
            num_joints + marker,
            self.entry.out_channels,
            self.entry.kernel_size,  # type: ignore[arg-type]
            self.entry.stride,  # type: ignore[arg-type]
            self.entry.padding,  # type: ignore[arg-type]
            bias=False,
        )
        for weight, std in ((self.entry_of_pose.weight, 0.01), (self.head.weight, 0.001)):
            nn.init.normal_(weight, std=std)
        nn.init.zeros_(self.head.get_parameter("bias"))

    def forward(self, images: Tensor) -> list[Tensor]:
        """The pose (B, J, 2) after each step, for RGB `images` (B, 3, H, W) in [0, 1]."""
        seen = self.entry(self.normalise(images))
        pose = self.mean_pose(images.shape[0])
        stages = []
        for _ in range(self.steps):
            pose = pose.detach()
            pose = pose + bounded(self.correction(seen, pose, _size(images)), self.reach)
            stages.append(pose)
        return stages

    def along_path(self, images: Tensor, truth: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """For training: from a random place of each person's path, where the network goes, and where to.

        images (B, 3, H, W); truth (B, J, 2) the true pose, known (B, J) bool which of it is labelled: other
        joints stay where they are in the mean pose. Returns poses (B, J, 2), the first not bounded.
        """
        step = torch.randint(self.steps, (len(images),), device=images.device)[:, None, None]
        start = self.mean_pose(len(images))
        truth = torch.where(known[..., None], truth, start)
        pose = on_path(start, truth, step * self.reach)
        correction = self.correction(self.entry(self.normalise(images)), pose, _size(images))
        return pose + correction, on_path(pose, truth, self.reach)

    def correction(self, seen: Tensor, pose: Tensor, size: tuple[int, int]) -> Tensor:
        """How far the joints (B, J, 2) are to go, in units of the crop, not bounded.

        seen: what the first convolution makes of the picture, of `size` (H, W).
        """
        x = seen + self.entry_of_pose(self.drawn(pose, size))
        said = linear(self.part(self.trunk, x), self.head.weight, self.head.bias)
        return self.reach * said.unflatten(1, (-1, 2))

    def drawn(self, pose: Tensor, size: tuple[int, int]) -> Tensor:
        """A map (B, J or J + 1, H, W) of each joint: a Gaussian, from -0.5 far away to 0.5."""
        if self.marker:
            pose = torch.cat([pose, torch.full_like(pose[:, :1], 0.5)], dim=1)
        across, down = (
            self._profile(place, length) for place, length in zip(pose.unbind(2), size[::-1], strict=True)
        )
        return down[..., :, None] * across[..., None, :] - 0.5

    def _profile(self, place: Tensor, length: int) -> Tensor:
        """Gaussians (B, J, length) around places (B, J)."""
        centres = (torch.arange(length, device=place.device, dtype=place.dtype) + 0.5) / length
        return torch.exp(-((centres - place[..., None]) ** 2) / (2 * self.sigma**2))


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[2], images.shape[3]


class MeanPose(nn.Module):
    """Where the joints are before anything is seen: all in the middle, until they are set or loaded."""

    pose: Tensor

    def __init__(self, num_joints: int) -> None:
        super().__init__()
        self.register_buffer("pose", torch.full((num_joints, 2), 0.5))

    def set(self, pose: Tensor) -> None:
        """pose (J, 2), in units of the crop."""
        self.pose.copy_(pose)

    def forward(self, people: int) -> Tensor:  # (people, J, 2)
        return self.pose.expand(people, -1, -1)


def bounded(move: Tensor, reach: float) -> Tensor:
    """`move` (…, 2), no longer than `reach`, in the same direction."""
    square = move.square().sum(-1, keepdim=True)  # whose root has no gradient at 0
    too_long = square > reach**2
    length = torch.where(too_long, square, 1).sqrt()
    return torch.where(too_long, move * (reach / length), move)


def on_path(start: Tensor, end: Tensor, distance: Tensor | float) -> Tensor:
    """Where each joint (B, J, 2) is that has gone so far from start towards end, and no farther than that.

    The steps of `bounded` towards `end` lead along it (fixed path consolidation).
    """
    move = end - start
    length = move.square().sum(-1, keepdim=True).sqrt()
    return start + move * (distance / length.clamp(min=1e-12)).clamp(max=1)
