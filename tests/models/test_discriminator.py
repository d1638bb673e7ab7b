"""The discriminator: its size, its arithmetic, its gradients; and that nobody takes it for a pose network."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from src.datasets.skeletons import MPII, SKELETONS
from src.errors import UserError
from src.losses.adversarial import energy
from src.models import ARCHITECTURES, PARTNERS, build, load, outline
from src.models.checkpoint import describe, load_weights, read_checkpoint, save_checkpoint

# Exact counts, without batch-normalisation buffers, and multiply-accumulates of the convolutions alone.
SIZES = [
    ({}, 16, 64, 24_873_408, 24_344_526_848),
    ({"feats": 128, "modules": 1}, 17, 128, 3_335_044, 15_457_058_816),
    ({"stacks": 1, "feats": 32, "modules": 1}, 16, 32, 183_568, 145_411_072),
]


@pytest.mark.parametrize(("config", "num_joints", "side", "parameters", "macs"), SIZES)
def test_parameters_and_arithmetic(config, num_joints, side, parameters, macs):
    with torch.device("meta"):
        network = build("discriminator", num_joints, **config).eval()
        images, heatmaps = torch.empty(1, 3, side, side), torch.empty(1, num_joints, side, side)
    with FlopCounterMode(display=False) as counter:
        reconstructed = network(images, heatmaps)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert counter.get_total_flops() == 2 * macs
    assert reconstructed.shape == heatmaps.shape


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
@pytest.mark.parametrize("stacks", [1, 2])
def test_every_parameter_gets_a_gradient(skeleton, stacks):
    torch.manual_seed(0)
    network = build("discriminator", skeleton.num_joints, stacks=stacks, feats=8, modules=1, depth=2)
    heatmaps = torch.rand(2, skeleton.num_joints, 8, 8, requires_grad=True)
    energy(network(torch.rand(2, 3, 8, 8), heatmaps), heatmaps).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert "bias" in name or parameter.grad.any(), name
    assert heatmaps.grad is not None and heatmaps.grad.any()


def test_it_sees_the_picture():
    torch.manual_seed(0)
    network = build("discriminator", 5, stacks=1, feats=8, modules=1, depth=2).eval()
    heatmaps, images = torch.rand(1, 5, 8, 8), torch.rand(2, 1, 3, 8, 8)
    with torch.inference_mode():
        one, other = (network(image, heatmaps) for image in images)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", ["num_joints", "stacks", "feats", "modules", "depth"])
def test_impossible_sizes_are_named(name):
    with pytest.raises(UserError, match=f"discriminator: {name} is too small"):
        build("discriminator", **{"num_joints": 5, name: 0})


def test_it_is_no_network_to_find_poses_with(tmp_path):
    """A checkpoint of it starts another discriminator, and is refused where a pose is wanted."""
    config = {"stacks": 1, "feats": 8, "modules": 1, "depth": 2}
    assert PARTNERS.keys().isdisjoint(ARCHITECTURES)
    network, path = build("discriminator", 16, **config), tmp_path / "discriminator.pth"
    save_checkpoint(path, describe(network, MPII.to_dict(), 64))
    with pytest.raises(UserError, match="is a discriminator, which finds no pose: --load-discriminator"):
        load(path)
    again = build("discriminator", 16, **config)
    assert str(load_weights(again, read_checkpoint(path), strict=True)).endswith("tensors loaded")
    assert again.state_dict().keys() == outline("discriminator", {"num_joints": 16, **config}, 1000).keys()


def test_beside_a_pose_network_it_is_found_by_its_entry():
    config = {"stacks": 1, "feats": 8, "modules": 1, "depth": 2}
    pose_network, beside = build("hg", 16, **config), build("discriminator", 16, **config)
    checkpoint = describe(pose_network, MPII.to_dict(), 64) | {"discriminator": beside.state_dict()}
    again = build("discriminator", 16, **config)
    load_weights(again, checkpoint, strict=True, entry="discriminator")
    assert all(torch.equal(value, beside.state_dict()[name]) for name, value in again.state_dict().items())
    with pytest.raises(UserError, match="of architecture hg, the network is discriminator"):
        load_weights(again, checkpoint)
    with pytest.raises(
        UserError, match=r"of another size: stem.residual3.norm1.weight|of another size: stem"
    ):
        load_weights(build("discriminator", 16, **config | {"feats": 16}), checkpoint, entry="discriminator")
