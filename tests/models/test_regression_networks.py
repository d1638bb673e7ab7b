"""Every network that gives coordinates: its published size, that it learns and travels, and its places."""

import copy
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from src.errors import UserError
from src.losses.coordinates import LOSSES
from src.models import ARCHITECTURES, PARTNERS, REGRESSION, SINGLE_PERSON, build, check_input, load
from src.models.checkpoint import describe, load_weights, save_checkpoint
from src.models.deeppose import DeepPose
from src.models.ief import IterativeErrorFeedback, bounded, on_path
from src.models.layers import PoseNetwork
from tests.exporting import assert_exports_to_onnx

JOINTS, SIDE = 5, 64
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "deeppose": ("deeppose", {"backbone": "resnet10"}),
    "cascade": ("deeppose", {"backbone": "resnet10", "cascade": 1}),
    "ief": ("ief", {"backbone": "resnet10", "steps": 2, "reach": 0.2, "sigma": 0.05}),
}

# Exact numbers for 16 joints: side of the input, parameters, and multiply-adds of convolutions and matrices.
SIZES = [
    ("deeppose", {}, 256, 23_573_600, 5_338_365_952),
    ("deeppose", {"backbone": "resnet18"}, 256, 11_192_928, 2_368_749_568),
    ("deeppose", {"backbone": "alexnet"}, 224, 57_134_944, 710_223_552),
    ("ief", {"steps": 1}, 224, 5_686_016, 2_166_130_688),
    ("ief", {"steps": 1, "backbone": "resnet50", "marker": False}, 256, 23_623_776, 6_160_449_536),
    # of further steps only what is drawn goes through the first convolution: 64 x 112 x 112 x 3 x 7 x 7 less
    ("ief", {}, 224, 5_686_016, 4 * 2_166_130_688 - 3 * 64 * 112**2 * 3 * 7**2),
]
FURTHER_SIZES = [
    ("ief", {"steps": 1, "marker": False}, 224, 5_682_880, 2_126_792_704),
    ("deeppose", {"backbone": "inception_v3"}, 299, 21_851_136, 5_711_233_632),
    ("deeppose", {"backbone": "googlenet"}, 224, 5_632_704, 1_497_384_960),
    ("deeppose", {"backbone": "resnet34"}, 256, 21_301_088, 4_784_668_672),
    ("deeppose", {"backbone": "resnet18", "num_joints": 17}, 256, 11_192_928 + 1026, 2_368_750_592),
    ("deeppose", {"backbone": "resnet101"}, 256, 42_565_728, 10_186_981_376),
    ("deeppose", {"backbone": "resnet152"}, 256, 58_209_376, 15_035_596_800),
    ("deeppose", {"backbone": "inception_v3"}, 256, 21_851_136, 3_847_614_816),
    # 16 squares of half the side, whose maps have a quarter of the cells, but for the last layer
    (
        "deeppose",
        {"backbone": "resnet18", "cascade": 1},
        256,
        2 * 11_192_928,
        5 * (2_368_749_568 - 512 * 32) + 17 * 512 * 32,
    ),
    ("ief", {"steps": 1, "backbone": "resnet18"}, 224, 11_246_240, 2_482_323_456),
]


@pytest.mark.parametrize(
    ("arch", "config", "side", "parameters", "macs"),
    [*SIZES, *(pytest.param(*size, marks=pytest.mark.slow) for size in FURTHER_SIZES)],
)
def test_parameters_and_arithmetic(arch, config, side, parameters, macs):
    with torch.device("meta"):
        network = build(arch, **{"num_joints": 16, **config}).eval()
        images = torch.empty(1, 3, side, side)
    with FlopCounterMode(display=False) as counter:
        outputs = network(images)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert counter.get_total_flops() == 2 * macs
    assert {tuple(output.shape) for output in outputs} == {(1, network.config["num_joints"], 2)}
    assert len(outputs) == network.config.get("steps", 1 + network.config.get("cascade", 0))


def test_the_table_is_one_of_its_own():
    assert not REGRESSION.keys() & (ARCHITECTURES.keys() | PARTNERS.keys() | set(SINGLE_PERSON))
    assert {arch for arch, _ in SMALL.values()} == REGRESSION.keys()
    assert all(row.paper for row in REGRESSION.values())
    with pytest.raises(UserError, match=r"no architecture 'deepose' \(did you mean 'deeppose'"):
        build("deepose", 3)


@pytest.fixture(params=SMALL)
def network(request: pytest.FixtureRequest) -> PoseNetwork:
    """A small network with weights that are the same in every run."""
    torch.manual_seed(0)
    arch, config = SMALL[request.param]
    return build(arch, JOINTS, **config)


@pytest.fixture
def images(network: PoseNetwork) -> torch.Tensor:
    return torch.rand(3, 3, SIDE, SIDE)


def squares(outputs: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([output.square().mean() for output in outputs]).sum()


def test_every_parameter_gets_a_gradient(network, images):
    squares(network(images)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        if parameter.ndim > 1:
            assert parameter.grad.any(), name


def test_coordinates_stay_precise_in_bfloat16(network, images):
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(images)
    assert all(output.dtype == torch.float32 and output.isfinite().all() for output in outputs)
    assert not torch.equal(outputs[-1], outputs[-1].bfloat16().float())
    squares(outputs).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_activations_computed_again_change_nothing(network, images):
    frugal = copy.deepcopy(network)
    frugal.grad_checkpoint = True
    for one in (network, frugal):
        squares(one(images)).backward()
    for (name, one), other in zip(network.named_parameters(), frugal.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=0, atol=0, msg=name)
    for (name, one), other in zip(network.named_buffers(), frugal.buffers(), strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=0, msg=name)


def test_other_joints_make_their_layers_anew(network, tmp_path):
    skeleton = {"name": "five", "joints": list("abcde")}
    save_checkpoint(tmp_path / "best.pth", describe(network, skeleton, SIDE))
    loaded = load(tmp_path / "best.pth")
    assert loaded.config == network.config and loaded.input_res == SIDE
    other = build(network.arch, **{**network.config, "num_joints": 3})
    before = other.head.weight.clone()
    report = load_weights(other, describe(network, skeleton, SIDE))
    # the marker is one more drawing, whatever the joints
    again = {"deeppose": ("head.", "closer_heads."), "ief": ("head.", "entry_of_pose.", "mean_pose.")}
    assert report.remade and all(name.startswith(again[network.arch]) for name in report.remade)
    assert not report.missing and not report.unused and torch.equal(other.head.weight, before)


@pytest.mark.parametrize(
    ("arch", "config", "message"),
    [
        ("deeppose", {"num_joints": 0}, "num_joints is at least 1"),
        ("deeppose", {"cascade": -1}, "cascade at least 0"),
        ("deeppose", {"window": 0}, "window is a share of the crop"),
        ("deeppose", {"window": "half"}, "window is a share of the crop"),
        (
            "deeppose",
            {"backbone": "resnet51"},
            r"no backbone 'resnet51' \(did you mean 'resnet50'\?\); known: ",
        ),
        ("deeppose", {"backbone": "vit_b_16"}, "no backbone 'vit_b_16'"),
        ("deeppose", {"pretrained": "yes"}, "none, auto or imagenet, not 'yes'"),
        ("ief", {"steps": 0}, "steps are at least 1"),
        ("ief", {"reach": 0.0}, "reach is a share of the crop"),
        ("ief", {"sigma": -1}, "sigma is a share of the crop"),
        ("ief", {"cascade": 1}, "ief has no argument 'cascade'"),
    ],
)
def test_what_cannot_be_is_refused(arch, config, message):
    with pytest.raises(UserError, match=message):
        build(arch, **{"num_joints": 3, "backbone": "resnet10", **config})


def test_sizes_of_pictures():
    check_input("deeppose", 299)
    check_input("ief", 64, backbone="resnet18")
    with pytest.raises(UserError, match="74 px does not suit deeppose: the side must be at least 75"):
        check_input("deeppose", 74, backbone="inception_v3")


def test_squares_of_the_cascade_are_where_they_should_be():
    """In a picture whose colour says where its pixels are, bilinear samples say where they were taken."""
    torch.manual_seed(0)
    network = build("deeppose", 2, backbone="resnet10", window=0.5, cascade=1)
    assert isinstance(network, DeepPose)
    places = (torch.arange(128) + 0.5) / 128
    picture = torch.stack([places.expand(128, -1), places[:, None].expand(-1, 128), torch.ones(128, 128)])
    centres = torch.tensor([[[0.5, 0.4], [0.3, 0.7]]])
    found = network._squares(picture[None], centres)
    assert found.shape == (2, 3, 64, 64)
    steps = ((torch.arange(64) + 0.5) / 64 - 0.5) * 0.5
    for square, (x, y) in zip(found, centres[0], strict=True):
        torch.testing.assert_close(square[0], (x + steps).expand(64, -1), rtol=0, atol=1e-5)
        torch.testing.assert_close(square[1], (y + steps)[:, None].expand(-1, 64), rtol=0, atol=1e-5)
    outside = network._squares(picture[None], torch.tensor([[[2.0, 2.0], [0.0, 0.5]]]))
    assert not outside[0].any() and not outside[1, 2, :, :31].any() and outside[1, 2, :, 33:].all()


def test_a_stage_of_the_cascade_moves_each_joint_by_its_own_square():
    torch.manual_seed(0)
    network = build("deeppose", JOINTS, backbone="resnet10", cascade=1, window=0.25).eval()
    images = torch.rand(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        first, second = network(images)
        features = network.closer[0](network._squares(images, first))  # type: ignore[index, operator]
        said = network.closer_heads[0](features).view(2, JOINTS, JOINTS, 2)  # type: ignore[index, operator]
    for joint in range(JOINTS):
        torch.testing.assert_close(second[:, joint], first[:, joint] + 0.25 * said[:, joint, joint])


# iterative error feedback


def feedback(**config: Any) -> IterativeErrorFeedback:
    torch.manual_seed(0)
    network = build("ief", JOINTS, **{"backbone": "resnet10", **config})
    assert isinstance(network, IterativeErrorFeedback)
    return network


def test_two_convolutions_are_one_of_picture_and_drawing():
    network = feedback()
    images, pose = torch.rand(2, 3, SIDE, SIDE), torch.rand(2, JOINTS, 2)
    drawn = network.drawn(pose, (SIDE, SIDE))
    assert drawn.shape == (2, JOINTS + 1, SIDE, SIDE)
    weight = torch.cat([network.entry.weight, network.entry_of_pose.weight], dim=1)
    joined = torch.nn.functional.conv2d(torch.cat([images, drawn], dim=1), weight, stride=2, padding=3)
    torch.testing.assert_close(network.entry(images) + network.entry_of_pose(drawn), joined)


def test_joints_are_drawn_where_they_are():
    network = feedback(sigma=0.1)
    pose = (torch.tensor([[3, 40], [63, 0], [10, 10], [31, 32], [20, 5]]) + 0.5) / 64
    drawn = network.drawn(pose[None], (64, 64))[0]
    assert drawn.min() >= -0.5
    for joint, (x, y) in enumerate((pose * 64).floor().long().tolist()):
        assert drawn[joint, y, x] == 0.5 and drawn[joint].argmax() == 64 * y + x
    one_sigma = torch.exp(torch.tensor(-0.5)) - 0.5
    assert drawn[2, 10, 16] > one_sigma > drawn[2, 10, 17]  # 6.4 pixels away
    # the marker: the middle lies between four pixels
    assert (drawn[5, 31:33, 31:33] == drawn[5].max()).all()
    assert len(feedback(marker=False).drawn(pose[None], (64, 64))[0]) == JOINTS


def test_bounded_moves():
    move = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.1, 0.0]], requires_grad=True)
    kept = bounded(move, 0.5)
    torch.testing.assert_close(kept, torch.tensor([[0.3, 0.4], [0, 0], [0.1, 0]]))
    kept.sum().backward()
    assert move.grad is not None and move.grad.isfinite().all()  # also where nothing moves


def test_the_path_is_that_of_bounded_steps():
    torch.manual_seed(0)
    start, end = torch.rand(2, 3, JOINTS, 2).unbind(0)
    end[0] = start[0]
    pose = start
    for step in range(6):
        torch.testing.assert_close(on_path(start, end, step * 0.15), pose, rtol=0, atol=1e-6)
        pose = pose + bounded(end - pose, 0.15)
    assert torch.equal(on_path(start, end, 10.0), end)


@pytest.mark.parametrize("steps", [1, 4])
def test_an_oracle_comes_as_near_as_its_steps_allow(monkeypatch, steps):
    """The error left is max(0, |u| - steps reach), where u leads from the mean pose to the true one."""
    network = feedback(steps=steps, reach=0.1)
    network.mean_pose.set(torch.rand(JOINTS, 2))
    truth = torch.rand(8, JOINTS, 2)
    monkeypatch.setattr(network, "correction", lambda seen, pose, size: truth - pose)
    outputs = network(torch.rand(8, 3, SIDE, SIDE))
    start = network.mean_pose(8)
    for step, pose in enumerate(outputs, start=1):
        left = ((truth - start).norm(dim=2) - step * 0.1).clamp(min=0)
        torch.testing.assert_close((truth - pose).norm(dim=2), left, rtol=0, atol=1e-6)
        torch.testing.assert_close(pose, on_path(start, truth, step * 0.1), rtol=0, atol=1e-6)


def test_training_stands_on_the_path_and_learns_its_next_step(monkeypatch):
    network = feedback(steps=3, reach=0.1)
    network.mean_pose.set(torch.rand(JOINTS, 2))
    truth, known = torch.rand(64, JOINTS, 2), torch.rand(64, JOINTS) > 0.2
    stood: list[torch.Tensor] = []

    def nothing(seen: torch.Tensor, pose: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        stood.append(pose)
        return torch.zeros_like(pose)

    monkeypatch.setattr(network, "correction", nothing)
    poses, following = network.along_path(torch.rand(64, 3, SIDE, SIDE), truth, known)
    start = network.mean_pose(64)
    assert torch.equal(poses, stood[0])
    assert torch.equal(poses[~known], start[~known]) and torch.equal(following[~known], start[~known])
    steps = [
        next(
            n for n in range(3) if torch.allclose(on_path(start, truth, n * 0.1)[i][known[i]], pose[known[i]])
        )
        for i, pose in enumerate(poses)
    ]
    assert set(steps) == {0, 1, 2}
    after = on_path(start, truth, 0.1 * (1 + torch.tensor(steps))[:, None, None])
    torch.testing.assert_close(following[known], after[known], rtol=0, atol=1e-6)


# travelling and learning


@pytest.mark.slow
def test_compiles_into_one_graph(network, images):
    def step(images: torch.Tensor) -> torch.Tensor:
        return squares(network(images))

    plain = step(images)
    gradients = torch.autograd.grad(plain, list(network.parameters()))
    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")(images)
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-6)  # sums in another order
    again = torch.autograd.grad(compiled, list(network.parameters()))
    torch.testing.assert_close(again, gradients, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_the_path_compiles_into_one_graph():
    network = feedback(steps=1)
    images, truth, known = torch.rand(2, 3, SIDE, SIDE), torch.rand(2, JOINTS, 2), torch.rand(2, JOINTS) > 0.5
    torch._dynamo.reset()
    along = torch.compile(network.along_path, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        compiled = along(images, truth, known)
    torch.testing.assert_close(compiled, network.along_path(images, truth, known), rtol=0, atol=1e-2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the exporter, about itself
def test_exports_to_onnx(network, images):
    assert_exports_to_onnx(network, images)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_learns_four_pictures_by_heart(name):
    """Within 100 steps to under a quarter of the error of a pose in the middle of the crop."""
    torch.manual_seed(1)
    arch, config = SMALL[name]
    network = build(arch, 2, **{**config, "backbone": "shufflenet_v2_x0_5"})
    images, truth = torch.rand(4, 3, SIDE, SIDE), 0.3 + 0.4 * torch.rand(4, 2, 2)
    known = torch.ones(4, 2, dtype=torch.bool)
    optimizer = torch.optim.Adam(network.parameters())
    for number in range(100):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - number / 100)
        optimizer.zero_grad()
        if isinstance(network, IterativeErrorFeedback):
            pose, target = network.along_path(images, truth, known)
            LOSSES["smooth"]([pose], target).backward()
        else:
            LOSSES["smooth"](network(images), truth).backward()
        optimizer.step()
    left = (network(images)[-1] - truth).norm(dim=2).mean()  # with the statistics of these pictures
    assert left < 0.25 * (truth - 0.5).norm(dim=2).mean()
