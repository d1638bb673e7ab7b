"""PyraNet: its published size, its kinds of pyramids, and pooling that is exact, random or fixed."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from src.errors import UserError
from src.models import build
from src.models.layers import PoseNetwork
from src.models.pyranet import KINDS, Pyramid, fixed_pools, random_pools

SIZES = [[6, 9], [5, 8], [3, 5]]  # of maps of 7 x 10: the largest there can be, and smaller ones


def small(**config: object) -> PoseNetwork:
    torch.manual_seed(0)
    return build("pyranet", 5, **{"stacks": 1, "feats": 8, "depth": 2, "base_width": 4, **config})


def test_small_network_has_its_published_size():
    network = build("pyranet", 16, stacks=1, feats=32, base_width=8, cardinality=2).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(1, 3, 64, 64))
    assert sum(p.numel() for p in network.parameters()) == 203_536
    assert counter.get_total_flops() == 2 * 91_792_080


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        ({"stacks": 2}, 7_286_464),
        pytest.param({"base_width": 6, "cardinality": 30}, 54_272_576, marks=pytest.mark.slow),
    ],
)
def test_published_numbers_of_parameters(config, parameters):
    with torch.device("meta"):
        network = build("pyranet", 16, **config)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_pyramids(kind):
    network = small(pyramid=kind, cardinality=3)
    images = torch.rand(2, 3, 32, 32)
    network(images)[0].square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    other = network(images)[0]
    assert torch.equal(other, network(images)[0]) == (kind == "D")  # without chance, for it does not pool
    network.eval()
    assert torch.equal(network(images)[0], network(images)[0])


@pytest.mark.parametrize(
    ("kind", "inputs", "outputs"), [("A", 12, 4), ("B", 4, 4), ("C", 4, 12), ("D", 4, 4)]
)
def test_what_goes_into_a_pyramid_and_comes_out(kind, inputs, outputs):
    pyramid = Pyramid(4, 3, KINDS[kind])
    assert (pyramid.inputs, pyramid.outputs) == (inputs, outputs)
    assert pyramid(torch.rand(2, inputs, 9, 7)).shape == (2, outputs, 9, 7)


def test_branches_see_the_published_sizes():
    pyramid, sizes = Pyramid(2, 4, KINDS["B"]), []
    for conv in pyramid.convs:
        conv.register_forward_pre_hook(lambda _, inputs: sizes.append(tuple(inputs[0].shape[2:])))
    pyramid(torch.rand(1, 2, 64, 64))
    assert sizes == [(53, 53), (45, 45), (38, 38), (32, 32)]


@pytest.mark.parametrize("branches", [1, 3])
def test_fixed_pools_are_those_of_pytorch(branches):
    x = torch.randn(2, 4 * branches, 7, 10)
    middle = torch.full((2, 4, 2), 0.5)
    for i, (pool, size) in enumerate(zip(fixed_pools(x, SIZES, 4), SIZES, strict=True)):
        own = x[:, 4 * i : 4 * i + 4] if branches > 1 else x
        assert torch.equal(pool, F.fractional_max_pool2d(own, 2, size, _random_samples=middle))


@pytest.mark.parametrize("branches", [1, 3])
def test_random_pools_are_those_of_pytorch(branches):
    x = torch.randn(2, 4 * branches, 7, 10, requires_grad=True)
    samples = torch.rand(3, 2, 4, 2)
    samples[0, 0, :2] = torch.tensor([[0.0, 1 - 2**-24], [1 - 2**-24, 0.0]])  # the ends of the range
    pools = random_pools(x, SIZES, samples)
    parts = x.chunk(3, dim=1) if branches > 1 else [x] * 3
    expected = [
        F.fractional_max_pool2d(own, 2, size, _random_samples=sample)
        for own, size, sample in zip(parts, SIZES, samples, strict=True)
    ]
    for pool, answer in zip(pools, expected, strict=True):
        assert torch.equal(pool, answer)
    weights = [torch.rand_like(answer) for answer in expected]
    gradients = [torch.autograd.grad(outputs, x, weights)[0] for outputs in (pools, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-6)  # sums in another order


def test_windows_do_not_depend_on_the_precision_of_maps():
    x, samples = torch.randn(1, 3, 64, 64).bfloat16(), torch.rand(1, 1, 3, 2)
    (half,), (full,) = (random_pools(maps, [[53, 53]], samples) for maps in (x, x.float()))
    assert half.dtype == torch.bfloat16 and torch.equal(half.float(), full)


def test_windows_are_drawn_from_the_generator_of_torch():
    network, images = small(), torch.rand(2, 3, 32, 32)
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(network(images)[0])
    assert torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])


@pytest.mark.parametrize(
    ("name", "value"), [("cardinality", 0), ("base_width", 0), ("base_width", 9), ("pyramid", "E")]
)
def test_impossible_pyramids_are_named(name, value):
    with pytest.raises(UserError, match=name):
        small(**{name: value})
