"""Chained predictions: what each joint sees, in which order, and that groups are branches by themselves."""

import pytest
import torch
import torch.nn.functional as F

from src.errors import UserError
from src.models import build
from src.models.chained import _feedback
from src.models.layers import PoseNetwork

ORDER = [3, 1, 4, 0, 2]


def small(order: list[int] | None = None) -> PoseNetwork:
    torch.manual_seed(0)
    return build("chained", 5, feats=16, backbone="resnet10", order=order).eval()


@pytest.mark.parametrize("order", [None, ORDER])
@torch.inference_mode()
def test_a_joint_is_seen_by_those_after_it(order):
    network = small(order)
    images = torch.rand(1, 3, 64, 64)
    (before,) = network(images)
    for step, joint in enumerate(order or range(5)):
        bias = network.get_parameter(f"decoders.{step}.exit.bias")
        bias += 1
        (after,) = network(images)
        bias -= 1
        changed = (after - before).abs().amax(dim=(0, 2, 3)) > 1e-6
        torch.testing.assert_close(after[:, joint], before[:, joint] + 1)
        assert changed.nonzero().flatten().tolist() == sorted((order or list(range(5)))[step:])


@torch.inference_mode()
def test_order_names_the_maps():
    images = torch.rand(1, 3, 64, 64)
    plain, ordered = small(), small(ORDER)
    ordered.load_state_dict(plain.state_dict())
    torch.testing.assert_close(ordered(images)[0][:, ORDER], plain(images)[0])


@torch.inference_mode()
def test_feedback_of_several_steps_is_that_of_each():
    both = _feedback(feats=3, kernel=3, later=2).eval()
    heatmap = torch.rand(1, 1, 16, 16)
    maps = []
    for rows in (slice(0, 3), slice(3, 6)):
        x = F.conv2d(heatmap, both.entry.weight[rows], both.entry.bias[rows])
        x = F.conv2d(x, both.halve1.weight[rows], both.halve1.bias[rows], stride=2, padding=1)
        x = F.relu(x / (1 + 1e-5) ** 0.5)  # normalisation with fresh statistics
        x = F.conv2d(x, both.halve2.weight[rows], both.halve2.bias[rows], stride=2, padding=1)
        maps.append(x / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(both(heatmap), torch.cat(maps, dim=1))


@pytest.mark.parametrize(
    "config, said",
    [
        ({"order": [0, 1, 2, 3]}, "order"),
        ({"order": [0, 1, 2, 3, 3]}, "order"),
        ({"order": 5}, "order"),
        ({"order": [0, 1, 2, 3, "4"]}, "order"),
        ({"kernel": 2}, "kernel is odd"),
        ({"feats": 1}, "feats"),
    ],
)
def test_impossible_arguments_are_named(config, said):
    with pytest.raises(UserError, match=said):
        build("chained", 5, **config)
