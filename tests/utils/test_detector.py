"""A detector is used when its weights lie in the cache, and never downloaded."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from src.errors import UserError
from src.utils import detector
from src.utils.detector import Detector, find_detector, weights_of

QUICK = "ssdlite320_mobilenet_v3_large"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PyTorch's cache, empty; nothing can be downloaded."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a download")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


def test_without_weights_there_is_none() -> None:
    assert find_detector() is None
    with pytest.raises(UserError, match=r"are not at .*; to download them"):
        find_detector(QUICK)
    with pytest.raises(UserError, match=f"did you mean '{QUICK}'"):
        find_detector(QUICK[:-1])


def test_damaged_weights_are_named(cache: Path) -> None:
    weights_of(QUICK).write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"does not hold the weights of ssdlite320.*; remove it"):
        find_detector()


def test_the_best_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (QUICK, "fasterrcnn_mobilenet_v3_large_fpn"):
        weights_of(name).touch()
    monkeypatch.setattr(detector, "Detector", lambda name, device: name)
    assert find_detector() == "fasterrcnn_mobilenet_v3_large_fpn"
    assert find_detector(QUICK) == QUICK


def test_all_names_are_torchvisions() -> None:
    assert all(weights_of(name).suffix == ".pth" for name in detector.NETWORKS)


@pytest.mark.slow
def test_weights_of_the_cache_are_opened(cache: Path) -> None:
    torch.manual_seed(0)
    network = torchvision.models.get_model(QUICK, weights=None, weights_backbone=None)
    torch.save(network.state_dict(), weights_of(QUICK))
    found = find_detector(device="cpu")
    assert found is not None and found.name == QUICK
    for box in found(np.zeros((90, 120, 3), np.uint8), 0.0):
        x, y, width, height = box
        assert 0 <= x < x + width <= 120.01 and 0 <= y < y + height <= 90.01


def test_only_sure_people_count() -> None:
    class Network(torch.nn.Module):
        def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
            assert images[0].shape == (3, 4, 8) and images[0].max() == 1
            boxes = torch.tensor([[1.0, 2, 5, 4], [0, 0, 8, 4], [1, 1, 2, 2], [3, 3, 3, 4]])
            labels, scores = torch.tensor([1, 18, 1, 1]), torch.tensor([0.9, 0.8, 0.4, 0.9])
            return [{"boxes": boxes, "labels": labels, "scores": scores}]

    found = Detector.__new__(Detector)
    found.network, found.device = Network(), torch.device("cpu")
    assert found(np.full((4, 8, 3), 255, np.uint8), 0.5) == [(1, 2, 4, 2)]  # no dog, and none without width
