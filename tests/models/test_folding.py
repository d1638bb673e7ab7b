"""Folded normalisations: the same answers from fewer layers, in every network."""

import copy

import pytest
import torch
from torch import nn

from src.models.folding import fold
from src.models.layers import PoseNetwork
from tests.exporting import loaded
from tests.models.test_zoo import SMALL

REGRESSION = {
    "deeppose": ({"backbone": "resnet10", "cascade": 1}, 64),
    "ief": ({"backbone": "resnet10", "steps": 2}, 64),
}
QUICK = ("hg", "hg-topdown", "simple", "chained", "deeppose", "ief")
ALL = {arch: (small.config, small.side) for arch, small in SMALL.items()} | REGRESSION


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(
    "arch", [pytest.param(arch, marks=() if arch in QUICK else pytest.mark.slow) for arch in ALL]
)
@torch.inference_mode()
def test_answers_stay(arch: str) -> None:
    config, side = ALL[arch]
    network = loaded(arch, side, **config).network
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training: neither 1 nor 0
            module.weight.uniform_(0.5, 2)
            module.bias.normal_()
    images = torch.rand(2, 3, side, side)
    expected, before = network(images), norms(network)
    answers = fold(network)(images)
    for answer, stage in zip(answers, expected, strict=True):  # float32 rounds in every layer
        torch.testing.assert_close(answer, stage, rtol=0, atol=2e-5 * float(stage.abs().max()))
    assert norms(network) < before or before == 0


class Twigs(PoseNetwork):
    """Convolutions whose normalisation must stay: it is not the only one to see them, or not always."""

    arch, config = "hg", {"depth": 2}

    def __init__(self) -> None:
        super().__init__()
        self.seen_twice, self.norm1 = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
        self.shared, self.norm2, self.norm3 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.repeated, self.norm4 = nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4)
        for norm in (self.norm1, self.norm2, self.norm3, self.norm4):
            nn.init.uniform_(norm.weight, 2, 3)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self.seen_twice(x)
        x = x + self.norm1(x)
        x = self.norm2(self.shared(x)) + self.norm3(self.shared(x))
        return [self.norm4(self.repeated(self.norm4(self.repeated(x))))]


@torch.inference_mode()
def test_only_what_may_be_folded_is() -> None:
    torch.manual_seed(0)
    network, images = Twigs().eval(), torch.rand(2, 3, 16, 16)
    plain = copy.deepcopy(network)
    torch.testing.assert_close(fold(network)(images)[0], plain(images)[0])
    kept = [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert kept == ["norm1", "norm2", "norm3"], "the fourth always follows the same convolution"
