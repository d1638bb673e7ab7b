"""The ResNet trunk, and where its weights come from."""

import urllib.error
from typing import Any

import pytest
import torch
from torchvision.models import resnet18

from src.errors import UserError
from src.models import build, load, outline, resnet
from src.models.checkpoint import describe, save_checkpoint
from src.models.layers import Normalise

SKELETON = {"name": "two", "joints": ["a", "b"]}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> Any:
        raise urllib.error.URLError("no\nnetwork")

    monkeypatch.setattr(resnet, "_download", refuse)


def test_trunk_is_that_of_torchvision(monkeypatch):
    theirs = resnet18().eval()
    monkeypatch.setattr(resnet, "_download", lambda name: theirs.state_dict())
    normalise = Normalise()
    trunk, width = resnet.resnet_trunk("resnet18", "imagenet", normalise)
    images = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        features = trunk.eval()(normalise(images))
        assert features.shape == (2, width, 2, 3)
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        theirs.avgpool = theirs.fc = torch.nn.Identity()  # type: ignore[assignment]
        torch.testing.assert_close(features.flatten(1), theirs((images - mean) / std))


def test_fresh_weights_see_images_as_they_are():
    network = build("simple", 2, backbone="resnet10", feats=4)
    assert not network.get_buffer("normalise.mean").any() and (network.get_buffer("normalise.std") == 1).all()


@pytest.mark.parametrize("name", ["resnet18", "resnet10"])
def test_weights_that_cannot_be_had(offline, capsys, name):
    with pytest.raises(UserError, match=r"resnet\d\d for ImageNet cannot be had \(.*no network.*auto goes"):
        resnet.imagenet_weights(name, "imagenet")
    assert resnet.imagenet_weights(name, "auto") is None
    assert "it starts from fresh ones" in capsys.readouterr().err
    assert resnet.imagenet_weights(name, "none") is None and not capsys.readouterr().err


def test_resnet10_has_no_weights_for_imagenet():
    with pytest.raises(ValueError, match="resnet10"):
        resnet._download("resnet10")


def test_wrong_words_are_refused():
    with pytest.raises(UserError, match="none, auto or imagenet, not 'yes'"):
        build("simple", 2, pretrained="yes")
    with pytest.raises(UserError, match=r"no backbone 'resnet49' \(did you mean 'resnet"):
        build("chained", 2, backbone="resnet49")


def test_what_is_opened_again_fetches_nothing(tmp_path, monkeypatch):
    fetched = []

    def download(name: str) -> dict[str, torch.Tensor]:
        fetched.append(name)
        return resnet18().state_dict()

    monkeypatch.setattr(resnet, "_download", download)
    network = build("simple", 2, backbone="resnet18", feats=4, pretrained="imagenet")
    assert fetched == ["resnet18"] and network.config["pretrained"] == "none"
    state = describe(network, SKELETON, 64)
    state["config"] = state["config"] | {"pretrained": "imagenet"}  # not as it is written, but as it might be
    save_checkpoint(tmp_path / "best.pth", state)
    assert load(tmp_path / "best.pth").config == network.config
    outline("simple", state["config"], most=1000)
    assert fetched == ["resnet18"]
