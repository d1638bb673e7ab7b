"""The compositional model: its published size, its stages, and the structure that it is given."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from src.datasets.skeletons import LSP, MPII
from src.errors import UserError
from src.models import build
from src.models.dlcm import MPII_BONES

BONES = ((0, 1), (1, 2), (2, 3))


def small(**config: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return build("dlcm", 4, **{"feats": 10, "depth": 1, "bones": BONES, **config})


@pytest.mark.parametrize(
    ("config", "side", "device", "parameters", "macs"),
    [
        ({"feats": 32}, 64, "cpu", 378_942, 97_250_048),
        pytest.param({}, 256, "meta", 15_430_846, 15_558_688_768, marks=pytest.mark.slow),
    ],
)
def test_parameters_and_arithmetic(config, side, device, parameters, macs):
    with torch.device(device):
        network = build("dlcm", 16, **config).eval()
        images = torch.empty(1, 3, side, side)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        outputs = network(images)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert counter.get_total_flops() == 2 * macs
    cells = side // 4
    assert [tuple(output.shape) for output in outputs] == [
        (1, maps, cells, cells) for maps in (16, 28, 22, 28, 16)
    ]


def test_structure_of_other_skeletons():
    network = build("dlcm", 14, feats=26, depth=1, bones=LSP.bones, parts=LSP.parts).eval()
    assert [output.shape[1] for output in network(torch.rand(1, 3, 16, 16))] == [14, 23, 19, 23, 14]


def test_default_structure_is_that_of_mpii():
    with torch.device("meta"):
        network = build("dlcm", 16, feats=32)
        assert build("dlcm", 5, feats=8).bones == []
    assert list(MPII_BONES) == MPII.bones == network.bones
    assert [list(part) for part in network.parts] == MPII.parts


def test_what_is_inferred_on_the_way_up_is_seen_on_the_way_down():
    network, images = small().eval(), torch.rand(1, 3, 16, 16)
    before = network(images)
    for stage in range(4):
        for module in (network.merge_features[stage], network.merge_heatmaps[stage]):
            module.weight.data.zero_()
            module.bias.data.zero_()
    apart = network(images)
    assert torch.equal(apart[0], before[0]) and not torch.allclose(apart[1], before[1])
    with torch.no_grad():
        network.heads[1].bias += 1  # of the bones, on the way up
    moved = network(images)
    assert torch.equal(moved[2], apart[2]) and not torch.allclose(moved[3], apart[3])
    with torch.no_grad():
        network.heads[0].bias += 1  # of the joints
    again = network(images)
    assert torch.equal(again[3], moved[3]) and not torch.allclose(again[4], moved[4])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"bones": [(0, 4)]}, "bones are groups of numbers below 4"),
        ({"bones": 3}, "bones are groups of numbers"),
        ({"bones": [0, 1]}, "bones are groups of numbers"),
        ({"bones": [("0", 1)]}, "bones are groups of numbers"),
        ({"bones": [(0, 1, 2)]}, "bones are pairs of joints"),
        ({"parts": [(0, 3)]}, "parts are groups of numbers below 3"),
        ({"parts": [()]}, "parts are groups of numbers below 3"),
        ({"feats": 8}, "feats is too small; for 7 maps of a stage it is at least 9"),
    ],
)
def test_impossible_structures_are_named(config, message):
    with pytest.raises(UserError, match=message):
        small(**config)
