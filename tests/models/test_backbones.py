"""Classification networks as trunks: all families, and their weights for ImageNet in our terms."""

import urllib.error
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models as torchvision_models

from src.errors import UserError
from src.models import build, least_side, outline, resnet
from src.models.backbones import backbone_and_head, backbones
from src.models.layers import Normalise


@pytest.fixture
def hosted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """`hosted[name] = state dict` is what torchvision has for a backbone; others cannot be had."""
    weights: dict[str, Any] = {}

    def download(name: str) -> Any:
        if name not in weights:
            raise urllib.error.URLError("no network")
        return weights[name]

    monkeypatch.setattr(resnet, "_download", download)
    return weights


# one of each family
FAMILIES = [
    "resnet10", "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3",
    "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "resnext50_32x4d",
    "shufflenet_v2_x0_5", "swin_t", "swin_v2_t", "vgg11_bn",
]  # fmt: skip
QUICK = ("resnet10", "alexnet")


def takes_its_least_side(arch: str, name: str, **config: int) -> None:
    """On the meta device, where only shapes are computed; and what is stored is all that is built."""
    side = least_side(name)
    with torch.device("meta"):
        network = build(arch, 3, backbone=name, **config)
        outputs = network(torch.empty(2, 3, side, side))
    assert tuple(outputs[-1].shape) == (2, 3, 2)
    outline(arch, network.config, most=len(network.state_dict()))


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES],
)
def test_every_family_can_give_corrections(name):
    takes_its_least_side("ief", name, steps=1)


@pytest.mark.parametrize("name", QUICK)
def test_a_cascade_of_any_family(name):
    takes_its_least_side("deeppose", name, cascade=1)


def test_names():
    assert {"resnet152", "inception_v3", "mobilenet_v3_large", "convnext_base", *FAMILIES} <= set(backbones())
    assert not any(name.startswith(("vit", "maxvit", "squeezenet", "regnet")) for name in backbones())
    assert len(set(backbones())) == len(backbones()) > 50


def test_fresh_weights_are_those_of_torchvision_but_for_the_last_layer(hosted):
    theirs = torchvision_models.mobilenet_v3_small().eval()
    hosted["mobilenet_v3_small"] = theirs.state_dict()
    normalise = Normalise()
    trunk, head = backbone_and_head("mobilenet_v3_small", 10, "imagenet", normalise)
    assert (head.in_features, head.out_features) == (1024, 10)
    images = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    theirs.classifier[3] = nn.Identity()  # type: ignore[assignment]
    with torch.inference_mode():
        torch.testing.assert_close(trunk.eval()(normalise(images)), theirs((images - mean) / std))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_inceptions_see_colours_as_they_learnt_them(hosted, name):
    """Torchvision changes their colours within the network; here the normalisation does it."""
    make = torchvision_models.get_model_builder(name)
    theirs = make(transform_input=True, aux_logits=True, init_weights=False).eval()
    hosted[name] = theirs.state_dict()
    normalise = Normalise()
    trunk, _ = backbone_and_head(name, 4, "imagenet", normalise)
    images = torch.rand(1, 3, 96, 96)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    theirs.fc = nn.Identity()  # type: ignore[assignment]
    with torch.inference_mode():
        expected = theirs((images - mean) / std)
        torch.testing.assert_close(trunk.eval()(normalise(images)), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["mnasnet0_5", pytest.param("densenet121", marks=pytest.mark.slow)])
def test_weights_of_older_forms(hosted, name):
    """MNASNet's know their version, DenseNet's were stored with dots within names."""
    stored = torchvision_models.get_model(name).state_dict()
    if name == "densenet121":
        for key in list(stored):
            for layer in ("norm1", "norm2", "conv1", "conv2"):
                if f".{layer}." in key and "denselayer" in key:
                    stored[key.replace(layer, f"{layer[:-1]}.{layer[-1]}")] = stored.pop(key)
        assert "features.denseblock1.denselayer1.norm.1.weight" in stored
    hosted[name] = stored
    trunk, _ = backbone_and_head(name, 4, "imagenet", Normalise())
    kind = {"mnasnet0_5": "layers.0.weight", "densenet121": "features.denseblock1.denselayer1.norm1.weight"}
    assert trunk.get_parameter(kind[name]).isfinite().all()


@pytest.mark.parametrize("arch", ["deeppose", "ief"])
def test_weights_that_cannot_be_had(hosted, capsys, arch):
    with pytest.raises(UserError, match=r"weights of resnet18 for ImageNet cannot be had \(.*no network"):
        build(arch, 3, backbone="resnet18", pretrained="imagenet")
    network = build(arch, 3, backbone="resnet18", pretrained="auto")
    assert "it starts from fresh ones" in capsys.readouterr().err
    assert not network.get_buffer("normalise.mean").any()


def test_all_have_weights_for_imagenet():
    for name in backbones()[1:]:  # resnet10 is not torchvision's
        assert "IMAGENET1K_V1" in torchvision_models.get_model_weights(name).__members__, name


def test_pretrained_filters_see_the_picture_in_iterative_error_feedback(hosted):
    hosted["resnet18"] = torchvision_models.resnet18().state_dict()
    filters = hosted["resnet18"]["conv1.weight"].clone()
    network = build("ief", 3, backbone="resnet18", pretrained="imagenet")
    assert torch.equal(network.get_parameter("entry.weight"), filters)
    assert network.config["pretrained"] == "none" and network.get_buffer("normalise.std").max() < 0.3
