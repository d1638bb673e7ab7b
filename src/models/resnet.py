"""ResNets of torchvision as the first part of other networks, with or without weights learnt on ImageNet."""

from collections import OrderedDict
from typing import Any

from torch import Tensor, nn

from src.errors import UserError, suggest
from src.models.layers import Normalise
from src.utils.command import note

PRETRAINED = ("none", "auto", "imagenet")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# The kind of block, and how many stand at each of the four sizes; resnet10 is for quick trials and tests.
RESNETS = {
    "resnet10": ("BasicBlock", (1, 1, 1, 1)),
    "resnet18": ("BasicBlock", (2, 2, 2, 2)),
    "resnet34": ("BasicBlock", (3, 4, 6, 3)),
    "resnet50": ("Bottleneck", (3, 4, 6, 3)),
    "resnet101": ("Bottleneck", (3, 4, 23, 3)),
    "resnet152": ("Bottleneck", (3, 8, 36, 3)),
}


def resnet_trunk(name: str, pretrained: str, normalise: Normalise) -> tuple[nn.Sequential, int]:
    """A ResNet without its classifier: five parts from (B, 3, H, W) to (B, width, H/32, W/32), and the width.

    name: in RESNETS. pretrained: as of `imagenet_weights`; `normalise`, which stands before the trunk, then
    gets the statistics that these weights were learnt with.

    Raises UserError for another name, and as `imagenet_weights`.
    """
    from torchvision.models import resnet

    if name not in RESNETS:
        raise UserError(f"there is no backbone {name!r}{suggest(name, RESNETS)}; known: {', '.join(RESNETS)}")
    weights = imagenet_weights(name, pretrained)
    block, counts = RESNETS[name]
    network = resnet.ResNet(getattr(resnet, block), list(counts))
    if weights is not None:
        network.load_state_dict(weights)
        normalise.set(IMAGENET_MEAN, IMAGENET_STD)
    entry = OrderedDict(conv=network.conv1, norm=network.bn1, relu=network.relu, pool=network.maxpool)
    trunk = OrderedDict(
        entry=nn.Sequential(entry),
        layer1=network.layer1,
        layer2=network.layer2,
        layer3=network.layer3,
        layer4=network.layer4,
    )
    return nn.Sequential(trunk), network.fc.in_features


def imagenet_weights(name: str, pretrained: str) -> dict[str, Tensor] | None:
    """The weights of torchvision's `name` for ImageNet in their first version, from its cache or the network.

    pretrained: none for None; where they cannot be had, auto for None with a note, imagenet for an error.

    Raises UserError for another value, or for "imagenet" without the weights.
    """
    if pretrained not in PRETRAINED:
        raise UserError(f"pretrained is {', '.join(PRETRAINED[:-1])} or {PRETRAINED[-1]}, not {pretrained!r}")
    if pretrained == "none":
        return None
    try:
        return _download(name)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
    if pretrained == "imagenet":
        raise UserError(
            f"the weights of {name} for ImageNet cannot be had ({reason}); "
            "instead of imagenet, auto goes on without them, and none never asks"
        )
    note(f"no weights of {name} for ImageNet ({reason}): it starts from fresh ones")
    return None


def _download(name: str) -> dict[str, Any]:
    """The state dict of torchvision. Raises ValueError if it has none, OSError or RuntimeError on the way."""
    from torchvision.models import get_model_weights

    return get_model_weights(name)["IMAGENET1K_V1"].get_state_dict(progress=False, check_hash=True)
