"""Classification networks of torchvision as the trunk of others, with a last layer for other numbers.

Each takes a picture and gives a row of features: all that torchvision has but those for one size of input
only (ViT, MaxViT), SqueezeNet, whose last layer is no linear one, and RegNets, which cannot be laid out
without memory, as a checkpoint is looked at (`src.models.outline`).
"""

import re
from functools import cache

from torch import Tensor, nn

from src.errors import UserError, suggest
from src.models.layers import Normalise
from src.models.resnet import IMAGENET_MEAN, IMAGENET_STD, RESNETS, imagenet_weights

UNSUITABLE = ("vit_", "maxvit_", "squeezenet", "regnet_")

# Arguments of those that have further classifiers for training, which are not wanted here. Their weights for
# ImageNet are of colours from -1 to 1.
PLAIN = {"aux_logits": False, "init_weights": False}
INCEPTIONS = ("googlenet", "inception_v3")


@cache
def backbones() -> tuple[str, ...]:
    """The names of all backbones."""
    from torchvision import models

    known = models.list_models(module=models)
    return (*RESNETS, *(name for name in known if name not in RESNETS and not name.startswith(UNSUITABLE)))


def backbone_and_head(
    name: str, outputs: int, pretrained: str, normalise: Normalise
) -> tuple[nn.Module, nn.Linear]:
    """A trunk from (B, 3, H, W) to features (B, F), and the layer, fresh, from those to (B, outputs).

    name: in `backbones()`. pretrained: as of `src.models.resnet.imagenet_weights`; `normalise`, which stands
    before the trunk, then gets the statistics that these weights were learnt with.

    Raises UserError for another name, and as `imagenet_weights`.
    """
    if name not in backbones():
        raise UserError(
            f"there is no backbone {name!r}{suggest(name, backbones())}; known: {', '.join(backbones())}"
        )
    weights = imagenet_weights(name, pretrained)
    network = _network(name, outputs)
    head_name, head = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear)][-1]
    _replace(network, head_name, nn.Identity())
    if weights is not None:
        _keep_trunk(weights, network)
        network.load_state_dict(weights)
        if name in INCEPTIONS:
            normalise.set((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        else:
            normalise.set(IMAGENET_MEAN, IMAGENET_STD)
    return network, head


def first_convolution(trunk: nn.Module) -> nn.Conv2d:
    """Take the convolution that sees the picture out of a trunk, which then begins behind it."""
    name, convolution = next((n, m) for n, m in trunk.named_modules() if isinstance(m, nn.Conv2d))
    _replace(trunk, name, nn.Identity())
    return convolution


def _network(name: str, outputs: int) -> nn.Module:
    from torchvision.models import get_model, resnet

    if name in RESNETS:  # one of them is not torchvision's
        block, counts = RESNETS[name]
        return resnet.ResNet(getattr(resnet, block), list(counts), num_classes=outputs)
    further = PLAIN if name in INCEPTIONS else {}
    return get_model(name, weights=None, num_classes=outputs, **further)


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` in the place of the layer `name` of a network."""
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, module)


def _keep_trunk(weights: dict[str, Tensor], trunk: nn.Module) -> None:
    """Leave of the weights for ImageNet those of the trunk, in place: the dict knows its versions."""
    own = trunk.state_dict().keys()
    for name in list(weights):
        weight = weights.pop(name)
        # DenseNet's were stored when a layer could still be called norm.1
        today = re.sub(r"(denselayer\d+\.[a-z]+)\.([12]\.)", r"\1\2", name)
        if today in own:
            weights[today] = weight
