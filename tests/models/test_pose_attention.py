"""Multi-context attention: its published size, and attention for all joints at once."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from src.errors import UserError
from src.models import build
from src.models.pose_attention import BodyAttention, Gates, PartAttention


def test_small_network_has_its_published_size():
    network = build("pose-attention", 16, feats=32, kernel=3).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(1, 3, 64, 64))
    assert sum(p.numel() for p in network.parameters()) == 1_175_064
    assert counter.get_total_flops() == 2 * 261_378_048


@pytest.mark.parametrize(
    ("config", "parameters"),
    [({"stacks": 2}, 57_588_038), pytest.param({"stacks": 4}, 57_790_556, marks=pytest.mark.slow)],
)
def test_published_numbers_of_parameters(config, parameters):
    with torch.device("meta"):
        network = build("pose-attention", 16, **config)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_joints_are_attended_to_as_one_by_one():
    torch.manual_seed(0)
    together, x = PartAttention(6, 3, 5), torch.randn(2, 6, 8, 8)
    nn.init.normal_(together.bias)
    maps = []
    for joint in range(3):
        gates = Gates(6, 1, 5)
        one = slice(joint, joint + 1)
        gates.load_state_dict({name: value[one] for name, value in together.gates.state_dict().items()})
        attended = x * gates(x)
        maps.append(nn.functional.conv2d(attended, together.score.weight[one], together.bias[one].flatten()))
    torch.testing.assert_close(together(x), torch.cat(maps, dim=1))


def test_gates_listen_to_their_neighbours():
    gates, x = Gates(1, 1, 3), torch.zeros(1, 1, 9, 9)
    gates.evidence.get_parameter("weight").data.zero_()[0, 0, 1, 1] = 1
    gates.evidence.get_parameter("bias").data.zero_()
    even = gates(x)[0, 0]
    half = torch.zeros(()).sigmoid()  # of a cell without evidence, which sees the mean of cells like itself
    torch.testing.assert_close(even[4, 4], half.sigmoid().sigmoid())
    x[0, 0, 4, 4] = 20
    more = gates(x)[0, 0] - even
    assert more[4, 4] > 0.3 and more[4, 7] > 1e-4  # as far as three steps of one cell go
    assert not more[:, :1].any()


def test_one_gate_serves_all_features():
    attention, x = BodyAttention(4, 3), torch.randn(1, 4, 5, 5)
    torch.testing.assert_close(attention(x), x * attention.gates(x).expand_as(x))


def test_the_stem_can_halve_the_image_at_once():
    shapes = []
    for stride in (1, 2):
        network = build("pose-attention", 5, stacks=1, feats=8, depth=1, modules=1, stem_stride=stride).eval()
        network.get_submodule("stem.residual1").register_forward_hook(
            lambda module, inputs, output: shapes.append(tuple(output.shape))
        )
        assert network(torch.rand(1, 3, 16, 16))[0].shape == (1, 5, 4, 4)
    assert shapes == [(1, 64, 16, 16), (1, 64, 8, 8)]


@pytest.mark.parametrize(
    "whole, by_part", [(0, [True] * 3), (2, [False, False, True]), (9, [False] * 2 + [True])]
)
def test_which_stacks_attend_to_joints(whole, by_part):
    network = build("pose-attention", 5, stacks=3, feats=8, depth=1, modules=1, whole=whole)
    assert [isinstance(head, PartAttention) for head in network.heads] == by_part


@pytest.mark.parametrize("name, value", [("kernel", 4), ("kernel", 0), ("whole", -1), ("stem_stride", 3)])
def test_impossible_sizes_are_named(name, value):
    with pytest.raises(UserError, match=name):
        build("pose-attention", 5, **{name: value})
