"""The hourglass of associative embedding: its published size, its outputs, its options."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from src.errors import UserError
from src.models import build

SMALL = {"stacks": 2, "feats": 8, "increase": 4, "depth": 2}


@pytest.mark.parametrize(
    ("config", "side", "parameters", "macs"),
    [
        ({"unused": 34}, 512, 138_893_840, 222_210_031_616),
        ({}, 512, 138_832_776, 221_211_787_264),
        ({"stacks": 1}, 512, 35_046_690, 63_912_804_352),
        ({"stacks": 1, "feats": 32, "increase": 16}, 128, 808_962, 580_259_840),
    ],
)
def test_parameters_and_arithmetic(config, side, parameters, macs):
    with torch.device("meta"):
        network = build("hg-ae", 17, **config)
        images = torch.empty(1, 3, side, side)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        outputs = network(images)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert counter.get_total_flops() == 2 * macs
    assert [tuple(output.shape) for output in outputs] == [(1, 34, side // 4, side // 4)] * len(
        network.stacks
    )


@pytest.mark.parametrize("arch, more", [("hg-ae", {}), ("hg", {"increase": None})])
def test_tags_follow_the_heatmaps(arch, more):
    config = {key: value for key, value in (SMALL | more).items() if value is not None}
    network = build(arch, 5, tag_dim=2, **config).eval()
    outputs = network(torch.rand(1, 3, 32, 32))
    assert [tuple(output.shape) for output in outputs] == [(1, 15, 8, 8)] * 2


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_every_parameter_gets_a_gradient(norm):
    torch.manual_seed(0)
    network = build("hg-ae", 5, norm=norm, **SMALL)
    assert any("norm.running_mean" in name for name in network.state_dict()) == (norm == "batch")
    sum(output.square().mean() for output in network(torch.rand(2, 3, 32, 32))).backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in network.parameters())


def test_unused_maps_are_seen_by_the_next_stack_only():
    torch.manual_seed(0)
    network = build("hg-ae", 5, unused=3, **SMALL).eval()
    images = torch.rand(1, 3, 32, 32)
    first, second = network(images)
    assert first.shape[1] == second.shape[1] == 10
    with torch.no_grad():
        network.heads[0].bias[10:] += 1
    changed = network(images)
    assert torch.equal(changed[0], first) and not torch.allclose(changed[1], second)


@pytest.mark.parametrize(
    "name, value", [("stacks", 0), ("feats", 0), ("depth", 0), ("tag_dim", 0), ("norm", "layer")]
)
def test_impossible_sizes_are_named(name, value):
    with pytest.raises(UserError, match=name):
        build("hg-ae", 5, **{name: value})
