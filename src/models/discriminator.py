"""The discriminator of self-adversarial training (Chou, Chien and Chen, "Self adversarial training for human
pose estimation", 2017): an auto-encoder of heatmaps that sees the picture they are of.

Shapes: B batch, J joints, C = feats, h x w heatmap.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models.hourglass import Stacked, hourglass_stack
from src.models.layers import ConvNormReLU, Residual


class Discriminator(Stacked):
    """Stacked hourglasses from a small picture and heatmaps (B, J, h, w) to the heatmaps again.

    num_joints: J.
    stacks, feats, modules, depth: as those of StackedHourglass; h and w are multiples of 2^depth.

    Raises UserError for a size below 1 (feats below 2).
    """

    stride = 1

    def __init__(
        self, num_joints: int, stacks: int = 4, feats: int = 256, modules: int = 2, depth: int = 4
    ) -> None:
        sizes = {"num_joints": num_joints, "stacks": stacks, "modules": modules, "depth": depth}
        for name, size in [*sizes.items(), ("feats", feats // 2)]:
            if size < 1:
                raise UserError(f"discriminator: {name} is too small; every size is at least 1, and feats 2")
        stem = nn.Sequential(
            OrderedDict(
                entry=ConvNormReLU(3 + num_joints, 64, kernel=3),
                residual1=Residual(64, 128),
                residual2=Residual(128, 128),
                residual3=Residual(128, feats),
            )
        )
        hourglasses = (hourglass_stack(feats, modules, depth) for _ in range(stacks))
        super().__init__(stem, hourglasses, feats, num_joints)

    def forward(self, images: Tensor, heatmaps: Tensor) -> Tensor:  # type: ignore[override]
        """The heatmaps as the last stack reconstructs them, (B, J, h, w).

        images: (B, 3, h, w), RGB in [0, 1], as small as the heatmaps.
        """
        x = torch.cat([self.normalise(images), heatmaps], dim=1)
        return self.maps(self.part(self.stem, x))[-1]
