"""Every network of the table: its published size, any size it builds in, and that it learns and travels."""

import copy
from typing import Any, NamedTuple

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from src.datasets.targets import gaussian_heatmaps
from src.errors import UserError
from src.losses.heatmap import LOSSES
from src.models import ARCHITECTURES, arguments, build, smallest_input
from src.models.layers import PoseNetwork
from tests.exporting import assert_exports_to_onnx


class Small(NamedTuple):
    """A network in little: its arguments, and the side of its input in pixels."""

    config: dict[str, Any]
    side: int


HOURGLASS = {"feats": 8, "depth": 2}
WITHOUT_SKIP = {"feats": 16, "depth": 1}  # all goes through the smallest map
SMALL = {
    "hg": Small({"stacks": 2, **HOURGLASS}, 32),
    "hg-ae": Small({"stacks": 2, "increase": 4, **HOURGLASS}, 32),
    "hg-topdown": Small({"stacks": 2, "latent": 4, **HOURGLASS}, 32),
    "hg-256": Small(HOURGLASS, 32),
    "hg-256-no-skip": Small(WITHOUT_SKIP, 32),
    "hg-512": Small(HOURGLASS, 32),
    "hg-generic": Small({"stacks": 2, **HOURGLASS}, 32),
    "hg-single": Small(HOURGLASS, 32),
    "hg-single-no-skip": Small(WITHOUT_SKIP, 32),
    "hg-single-no-skip-clstm": Small(WITHOUT_SKIP, 32),
    "hg-stacked": Small(HOURGLASS, 32),
    "pyranet": Small({"stacks": 1, "feats": 16, "depth": 3, "base_width": 4, "cardinality": 2}, 32),
    "pose-attention": Small({"stacks": 2, "feats": 8, "depth": 1, "modules": 2, "kernel": 3, "whole": 1}, 32),
    "dlcm": Small({"feats": 20, "depth": 1, "bones": [[0, 1], [1, 2], [2, 3], [3, 4]]}, 32),
    "simple": Small({"feats": 8, "backbone": "resnet10"}, 64),
    "chained": Small({"feats": 4, "backbone": "resnet10", "order": [3, 1, 4, 0, 2]}, 64),
}
HEATMAP = [arch for arch in SMALL if arch != "hg-ae"]
JOINTS = 5

# Exact numbers: parameters, and multiply-adds of the convolutions, transposed ones and matrices alone.
SIZES = [
    ("hg-topdown", {"stacks": 2}, 9_791_168, 8_371_539_200),
    ("hg-256", {}, 3_211_920, 4_277_927_936),
    ("hg-256-no-skip", {}, 2_353_808, 3_119_251_456),
    ("hg-512", {}, 12_331_152, 12_740_198_400),
    ("hg-single", {}, 13_255_824, 14_001_373_184),
    # hg-single without its skips: at each of 4 places residuals 256 -> 256, twice, and 256 -> 512
    ("hg-single-no-skip", {}, 13_255_824 - 4 * (2 * 214_528 + 920_576), 6_692_798_464),
    # and three gates of 256 x 256 and a bias, at 4 x 4 cells
    ("hg-single-no-skip-clstm", {}, 7_857_296 + 3 * 257 * 256, 6_692_798_464 + 16 * 3 * 256**2),
    ("hg-stacked", {}, 26_353_824, 26_196_049_920),
    ("simple", {}, 33_999_440, 7_234_125_824),
    ("chained", {}, 32_660_176, 6_545_997_824),
]
LARGER_SIZES = [
    ("hg-topdown", {"stacks": 1}, 5_036_832, 5_168_809_600),
    ("hg-topdown", {}, 38_317_184, 27_587_916_800),
    ("hg-256", {"num_joints": 13}, 3_211_149, 4_274_782_208),
    # "hg" of 8 stacks without the residuals and merges: the stem, and 8 times hourglass, projection and head
    ("hg-generic", {}, 352_640 + 8 * (2_788_864 + 66_304 + 4_112), 18_464_374_784),
    ("pyranet", {"stacks": 2}, 7_286_464, 7_321_415_180),
    ("pyranet", {}, 28_131_832, 22_829_322_956),
    ("pyranet", {"stacks": 2, "base_width": 6, "cardinality": 30}, 14_331_908, 13_277_355_912),
    ("pose-attention", {}, 58_312_088, 63_863_619_584),
    ("pose-attention", {"kernel": 1}, 58_303_448, 63_757_451_264),
    ("simple", {"backbone": "resnet101"}, 52_991_568, 12_082_741_248),
    ("simple", {"backbone": "resnet152"}, 68_635_216, 16_931_356_672),
    ("chained", {"kernel": 1}, 24_304_336, 5_256_249_344),
    ("chained", {"kernel": 5}, 49_371_856, 9_125_494_784),
    ("chained", {"backbone": "resnet18"}, 22_552_016, 4_130_078_720),
    ("chained", {"backbone": "resnet50"}, 34_981_840, 7_105_937_408),
]


@pytest.mark.parametrize(
    ("arch", "config", "parameters", "macs"),
    [*SIZES, *(pytest.param(*size, marks=pytest.mark.slow) for size in LARGER_SIZES)],
)
def test_parameters_and_arithmetic(arch, config, parameters, macs):
    with torch.device("meta"):
        network = build(arch, **{"num_joints": 16, **config}).eval()
        images = torch.empty(1, 3, 256, 256)
    with FlopCounterMode(display=False) as counter:
        outputs = network(images)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert counter.get_total_flops() == 2 * macs
    cells = 256 // network.stride
    assert {tuple(output.shape) for output in outputs} == {(1, network.config["num_joints"], cells, cells)}
    assert len(outputs) == network.config.get("stacks", 1)


@pytest.fixture(params=SMALL)
def arch(request: pytest.FixtureRequest) -> str:
    torch.manual_seed(0)
    return request.param


@pytest.fixture
def network(arch: str) -> PoseNetwork:
    """A small network with weights that are the same in every run."""
    return build(arch, JOINTS, **SMALL[arch].config)


@pytest.fixture
def images(arch: str) -> torch.Tensor:
    return torch.rand(2, 3, SMALL[arch].side, SMALL[arch].side)


def test_rows_are_complete():
    assert SMALL.keys() == ARCHITECTURES.keys(), "each network has a small form here"
    assert all(row.paper for row in ARCHITECTURES.values())


def test_every_parameter_gets_a_gradient(network, images):
    sum(output.square().mean() for output in network(images)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        if parameter.ndim > 1:  # that of a bias before a normalisation is zero, but for rounding
            assert parameter.grad.any(), name


def test_autocast_computes_in_bfloat16(network, images):
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(images)
        sum(output.float().square().mean() for output in outputs).backward()
    assert all(output.dtype == torch.bfloat16 and output.isfinite().all() for output in outputs)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@torch.inference_mode()
def test_any_size_that_divides(arch, network):
    multiple = ARCHITECTURES[arch].input_multiple(**network.config)
    least = smallest_input(arch, **network.config)
    network.eval()
    for height, width in ((least, least), (least + multiple, least + 2 * multiple)):
        outputs = network(torch.rand(1, 3, height, width))
        maps = JOINTS * (1 + (arch == "hg-ae"))
        expected = (1, maps, height // network.stride, width // network.stride)
        # the stages of dlcm have further maps behind those of the joints
        assert {tuple(output[:, :maps].shape) for output in outputs} == {expected}
        assert outputs[-1].shape[1] == maps


@pytest.mark.parametrize("num_joints", [1, 17])
def test_any_number_of_joints(arch, num_joints):
    small = SMALL[arch]
    config = {key: value for key, value in small.config.items() if key not in ("order", "bones")}
    network = build(arch, num_joints, **config).eval()
    maps = num_joints * (1 + (arch == "hg-ae"))
    assert network(torch.rand(1, 3, small.side, small.side))[-1].shape[:2] == (1, maps)


def test_activations_computed_again_change_nothing(network, images):
    frugal = copy.deepcopy(network)
    frugal.grad_checkpoint = True
    for one in (network, frugal):
        torch.manual_seed(1)  # for pyranet's windows
        sum(output.square().mean() for output in one(images)).backward()
    for (name, one), other in zip(network.named_parameters(), frugal.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=0, atol=0, msg=name)
    for (name, one), other in zip(network.named_buffers(), frugal.buffers(), strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=0, msg=name)


def test_sizes_below_one_are_refused(arch, network):
    for name in ("num_joints", "stacks", "feats", "depth", "modules", "latent"):
        if name in network.config:
            with pytest.raises(UserError, match=name):
                build(arch, **{**network.config, name: 0})


@pytest.mark.slow
@pytest.mark.parametrize("arch", {row.class_name: arch for arch, row in ARCHITECTURES.items()}.values())
def test_compiles_into_one_graph(arch):
    torch.manual_seed(0)
    small, least = SMALL[arch], {"stacks": 1, "depth": 1}
    known = arguments(arch)
    config = small.config | {name: size for name, size in least.items() if name in known}
    network, images = build(arch, JOINTS, **config), torch.rand(2, 3, small.side, small.side)

    def step(images: torch.Tensor) -> torch.Tensor:
        return sum(output.square().mean() for output in network(images))

    torch.manual_seed(1)  # for pyranet's windows
    plain = step(images)
    gradients = torch.autograd.grad(plain, list(network.parameters()))
    torch._dynamo.reset()
    torch.manual_seed(1)
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")(images)
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-6)  # sums in another order
    again = torch.autograd.grad(compiled, list(network.parameters()))
    torch.testing.assert_close(again, gradients, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the exporter, about itself
def test_exports_to_onnx(network, images):
    assert_exports_to_onnx(network, images)


@pytest.mark.slow
def test_learns_four_pictures_by_heart(arch, network):
    """Within 200 steps to under a fifth of what a network without an answer has: empty maps, or even ones."""
    side = SMALL[arch].side
    size = side // network.stride
    images, cells = torch.rand(4, 3, side, side), torch.randint(size, (4, JOINTS, 2))
    target = gaussian_heatmaps(cells, torch.ones(4, JOINTS, dtype=torch.bool), size, sigma=1, radius=3)
    loss = LOSSES["softmax" if arch == "chained" else "mse"]
    best = target.log().clamp(min=-100) if arch == "chained" else target
    empty, least = (float(loss([maps], target)) for maps in (torch.zeros_like(target), best))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(200):
        stages = [output[:, :JOINTS] for output in network(images)]
        value = loss(stages[-1:], target).item()
        if value - least < 0.2 * (empty - least):
            return
        optimizer.zero_grad()
        loss(stages, target).backward()
        optimizer.step()
    pytest.fail(f"the loss is {value:.4f}, where {empty:.4f} is no answer and {least:.4f} the least possible")
