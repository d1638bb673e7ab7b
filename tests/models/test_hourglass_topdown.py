"""Top-down modulation: its start, its sight, and the sizes that it takes."""

import pytest
import torch
from torch import Tensor

from src.models import build
from src.models.checkpoint import describe, load_weights
from src.models.hourglass_topdown import _on_grid
from src.models.layers import PoseNetwork

SMALL = {"stacks": 2, "feats": 8, "depth": 2, "latent": 4}


def small(num_joints: int = 5) -> PoseNetwork:
    torch.manual_seed(0)
    return build("hg-topdown", num_joints, **SMALL)


def outputs_and_factors(network: PoseNetwork, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    factors: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _, inputs, output: factors.append(output))
        for module in network.factors
    ]
    outputs = network(images)
    for hook in hooks:
        hook.remove()
    return outputs, factors


def test_factors_begin_near_one():
    _, factors = outputs_and_factors(small(), torch.rand(8, 3, 64, 64))
    for factor in factors:
        assert factor.shape == (8, 5, 16, 16)
        torch.testing.assert_close(factor.mean(), torch.tensor(1.0))
        torch.testing.assert_close(factor.std(), torch.tensor(0.1), rtol=0.02, atol=0)


@torch.inference_mode()
def test_product_is_predicted_and_passed_on():
    network = small().eval()
    images = torch.rand(1, 3, 64, 64)
    plain, _ = outputs_and_factors(network, images)
    for kind in ("weight", "bias"):
        network.get_parameter(f"factors.0.norm.{kind}").zero_()
    first, last = network(images)
    assert not first.any() and not torch.allclose(last, plain[1])


@torch.inference_mode()
def test_factors_look_at_the_whole_picture():
    network = small().eval()
    images = torch.rand(1, 3, 256, 256)
    _, before = outputs_and_factors(network, images)
    images[..., -8:, -8:] = 0
    _, after = outputs_and_factors(network, images)
    assert (after[0] - before[0])[..., :4, :4].any()  # at the other corner


@pytest.mark.parametrize("height, width", [(4, 4), (2, 2), (3, 6), (8, 16)])
def test_grid_is_the_mean_over_equal_areas(height, width):
    x = torch.rand(2, 3, height, width)
    fine = x.repeat_interleave(48 // height, dim=2).repeat_interleave(48 // width, dim=3)
    torch.testing.assert_close(_on_grid(x), fine.unflatten(3, (4, 12)).unflatten(2, (4, 12)).mean((3, 5)))


def test_factors_are_made_anew_for_other_joints():
    report = load_weights(small(4), describe(small(), {}, 64))
    layers = {name.split(".")[0] for name in report.remade}
    assert layers == {"heads", "merge_heatmaps", "factors"} and not report.missing
