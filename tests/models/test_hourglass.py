"""The stacked hourglass: its size, its arithmetic, its gradients, and that it compiles."""

import copy

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from src.errors import UserError
from src.losses.heatmap import LOSSES
from src.models import build
from src.models.layers import Hourglass, PoseNetwork, Residual, Stem, residuals


def small(**config: int) -> PoseNetwork:
    """All that the full-size network has, in little: stacks, modules, two levels; input 32 px."""
    torch.manual_seed(0)
    return build("hg", 5, **{"stacks": 2, "feats": 8, "modules": 2, "depth": 2, **config})


# Exact counts, without batch-normalisation buffers, and multiply-accumulates of the convolutions alone.
SIZES = [
    ({"stacks": 1}, 16, 256, 3_426_448, 5_150_343_168),
    ({"stacks": 2}, 16, 256, 6_570_400, 8_334_606_336),
    ({"stacks": 4}, 16, 256, 12_858_304, 14_703_132_672),
    ({}, 16, 256, 25_434_112, 27_440_185_344),
    ({}, 17, 256, 25_437_960, 27_455_913_984),
    ({"stacks": 2, "modules": 2}, 16, 256, 12_577_184, 13_562_281_984),
    ({"stacks": 4, "modules": 2}, 16, 256, 24_871_872, 25_158_483_968),
    ({"stacks": 8, "modules": 2}, 16, 256, 49_461_248, 48_350_887_936),
    ({"stacks": 1, "stem_feats": 256}, 16, 256, 3_586_960, 5_804_654_592),
    ({"stacks": 2, "stem_feats": 256}, 16, 256, 6_730_912, 8_988_917_760),
    ({"stacks": 8, "stem_feats": 256}, 16, 256, 25_594_624, 28_094_496_768),
    ({"stacks": 1, "feats": 32}, 16, 64, 182_032, 87_225_088),
    ({"stacks": 2, "feats": 32}, 16, 64, 234_560, 90_564_096),
    ({"stacks": 1, "feats": 32, "stem_width": 32, "stem_feats": 64}, 16, 64, 90_320, 27_357_952),
]


@pytest.mark.parametrize(("config", "num_joints", "side", "parameters", "macs"), SIZES)
def test_parameters_and_arithmetic(config, num_joints, side, parameters, macs):
    with torch.device("meta"):
        network = build("hg", num_joints, **config).eval()
        images = torch.empty(1, 3, side, side)
    with FlopCounterMode(display=False) as counter:
        outputs = network(images)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert counter.get_total_flops() == 2 * macs
    shape = (1, num_joints, side // 4, side // 4)
    assert [output.shape for output in outputs] == [shape] * network.config["stacks"]


@pytest.mark.parametrize(
    ("block", "parameters"),
    [
        (lambda: Residual(256, 256), 214_528),
        (lambda: Residual(64, 128), 58_112),
        (lambda: Residual(128, 256), 230_912),
        (lambda: Stem(256), 352_640),
        (lambda: Hourglass(4, 256, lambda inputs, outputs: residuals(inputs, 1)), 2_788_864),
    ],
)
def test_blocks_have_their_published_size(block, parameters):
    assert sum(p.numel() for p in block().parameters()) == parameters


def test_residual_does_not_change_its_input():
    x = torch.randn(2, 8, 4, 4)
    before = x.clone()
    Residual(8, 8)(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_parameter_gets_a_gradient(loss):
    network = small()
    LOSSES[loss](network(torch.rand(2, 3, 32, 32)), torch.rand(2, 5, 8, 8)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_later_stacks_see_the_heatmaps_of_earlier_ones():
    network = small().eval()
    images = torch.rand(1, 3, 32, 32)
    first, last = network(images)
    with torch.no_grad():
        network.get_parameter("heads.0.bias").add_(1)
    moved_first, moved_last = network(images)
    torch.testing.assert_close(moved_first, first + 1)
    assert not torch.allclose(moved_last, last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_forward_is_finite(dtype):
    network = small().to(dtype).eval()
    for output in network(torch.rand(1, 3, 32, 32, dtype=dtype)):
        assert output.dtype == dtype and output.isfinite().all()


def test_autocast_trains_in_bfloat16():
    network = small()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(torch.rand(2, 3, 32, 32))
        loss = LOSSES["mse"](outputs, torch.rand(2, 5, 8, 8))
    assert outputs[0].dtype == torch.bfloat16 and loss.dtype == torch.float32
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_normalisation_is_the_identity_until_it_is_set():
    network = small().eval()
    images = torch.rand(1, 3, 32, 32)
    plain = network(images)[-1]
    network.get_buffer("normalise.mean").fill_(0.5)
    network.get_buffer("normalise.std").fill_(0.25)
    torch.testing.assert_close(network(images * 0.25 + 0.5)[-1], plain, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_network_and_loss_compile_in_one_graph(loss):
    network = small(modules=1, depth=1)
    images, target = torch.rand(2, 3, 16, 16), torch.rand(2, 5, 4, 4)
    weight = torch.tensor([[1.0, 1, 0, 1, 1], [0, 1, 1, 1, 1]])

    def step(images, target, weight):
        return LOSSES[loss](network(images), target, weight)

    def value_and_gradients(step):
        value = step(images, target, weight)
        return [value.detach(), *torch.autograd.grad(value, list(network.parameters()))]

    plain = value_and_gradients(step)
    torch._dynamo.reset()
    compiled = value_and_gradients(torch.compile(step, fullgraph=True, backend="aot_eager"))
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-6)  # sums in another order


@pytest.mark.parametrize("backend", [None, pytest.param("aot_eager", marks=pytest.mark.slow)])
def test_activations_computed_again_change_nothing(backend):
    plain = small()
    frugal = copy.deepcopy(plain)
    frugal.grad_checkpoint = True
    torch._dynamo.reset()
    forward = torch.compile(frugal, fullgraph=True, backend=backend) if backend else frugal
    images = torch.rand(2, 3, 32, 32)
    for _ in range(2):  # the second step sees the statistics that the first one left
        for network in (plain, forward):
            sum(heatmaps.square().mean() for heatmaps in network(images)).backward()
    for (name, one), other in zip(plain.named_parameters(), frugal.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=0, atol=0, msg=name)
    for (name, one), other in zip(plain.named_buffers(), frugal.buffers(), strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=0, msg=name)  # each batch is counted once


def test_activations_are_not_kept():
    network = small(stacks=2)
    kept = []

    def numbers() -> int:
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
            outputs = network(torch.rand(2, 3, 32, 32))
        assert len(outputs) == 2
        return sum(kept)

    plain = numbers()
    network.grad_checkpoint = True
    assert numbers() < 0.3 * plain
    with torch.inference_mode():
        network(torch.rand(1, 3, 32, 32))  # nothing to keep, nothing to forget


@pytest.mark.parametrize(
    "name, size",
    [("stacks", 0), ("feats", 1), ("modules", 0), ("depth", 0), ("stem_feats", 0), ("stem_width", 0)],
)
def test_impossible_sizes_are_named(name, size):
    with pytest.raises(UserError, match=name):
        small(**{name: size})
