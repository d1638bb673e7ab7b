"""A ResNet and deconvolutions (Xiao, Wu and Wei, "Simple baselines for human pose estimation", ECCV 2018).

Shapes: B batch, J joints, C = feats, H x W image, h x w = H/4 x W/4 (heatmap).
"""

from collections import OrderedDict

from torch import Tensor, nn

from src.errors import UserError
from src.models.layers import Normalise, PoseNetwork
from src.models.resnet import resnet_trunk


class SimpleBaseline(PoseNetwork):
    """The last features of a ResNet, doubled in size three times; one stage.

    num_joints: J.
    feats: C, the width of the deconvolutions.
    backbone: resnet18, resnet34, resnet50, resnet101 or resnet152 (`src.models.resnet.RESNETS`).
    pretrained: none, auto or imagenet (`src.models.resnet.imagenet_weights`).

    Raises UserError for a size below 1, or another word.
    """

    joint_layers = ("head",)

    def __init__(
        self, num_joints: int, feats: int = 256, backbone: str = "resnet50", pretrained: str = "none"
    ) -> None:
        if min(num_joints, feats) < 1:
            raise UserError("simple: num_joints and feats are at least 1")
        super().__init__()
        self.normalise = Normalise()
        self.trunk, width = resnet_trunk(backbone, pretrained, self.normalise)
        widths = [width, feats, feats]
        self.deconvolutions = nn.ModuleList(_double(inputs, feats) for inputs in widths)
        self.head = nn.Conv2d(feats, num_joints, 1)
        nn.init.normal_(self.head.weight, std=0.001)
        nn.init.zeros_(self.head.get_parameter("bias"))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Heatmaps, once (B, J, h, w), for RGB `images` (B, 3, H, W) in [0, 1]."""
        x = self.normalise(images)
        for part in [*self.trunk, *self.deconvolutions]:
            x = self.part(part, x)
        return [self.head(x)]


def _double(inputs: int, outputs: int) -> nn.Sequential:
    """Twice the size, (B, inputs, h, w) -> (B, outputs, 2h, 2w)."""
    convolution = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    nn.init.normal_(convolution.weight, std=0.001)
    layers = OrderedDict(conv=convolution, norm=nn.BatchNorm2d(outputs), relu=nn.ReLU(inplace=True))
    return nn.Sequential(layers)
