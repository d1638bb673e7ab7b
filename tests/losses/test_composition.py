"""Targets of bones and parts, and the loss of a network that predicts them."""

from argparse import Namespace

import pytest
import torch

from src.datasets.targets import gaussian_heatmaps
from src.losses.composition import composed, compositional
from src.losses.heatmap import LOSSES, heatmap_mse
from src.models import build
from src.utils.composition import CompositionObjective

SIZE, SIGMA, RADIUS = 16, 1.5, 5
BONES, PARTS = ((0, 1), (1, 2), (2, 3)), ((0, 1), (2,))
LEVELS = (0, 1, 2, 1, 0)

# Two people, the second of whom lacks a joint.
CELLS = torch.tensor([[[2, 3], [12, 3], [12, 13], [12, 13]], [[1, 1], [9, 4], [3, 15], [15, 0]]])
HAS_TARGET = torch.tensor([[True, True, True, True], [True, True, False, True]])


def truth() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Targets and weights: of joints, of bones, of parts."""
    joints = gaussian_heatmaps(CELLS, HAS_TARGET, SIZE, SIGMA, RADIUS)
    bones, drawn, parts, known = composed(CELLS, HAS_TARGET, BONES, PARTS, SIZE, SIGMA, RADIUS)
    return [joints, bones, parts], [HAS_TARGET.float(), drawn, known]


def test_a_bone_is_the_largest_of_the_gaussians_along_it():
    (_, bones, _), _ = truth()
    grid = torch.arange(SIZE, dtype=torch.float64)
    for person, bone in ((0, 0), (0, 1), (0, 2), (1, 0)):
        start, end = (CELLS[person, joint].double() for joint in BONES[bone])
        points = start + torch.linspace(0, 1, 2001, dtype=torch.float64)[:, None] * (end - start)
        squared = (grid - points[:, :1])[:, None] ** 2 + (grid - points[:, 1:])[
            :, :, None
        ] ** 2  # (2001, h, w)
        nearest = squared.amin(0)
        expected = torch.exp(-nearest / (2 * SIGMA**2)) * (nearest <= RADIUS**2)
        # the nearest of these points is at most 1 / 400 of a cell away from the nearest one of all
        torch.testing.assert_close(bones[person, bone].double(), expected, rtol=0, atol=1e-5)


def test_a_part_is_the_largest_of_its_bones():
    (_, bones, parts), _ = truth()
    assert bones.shape == (2, 3, SIZE, SIZE) and parts.shape == (2, 2, SIZE, SIZE)
    assert torch.equal(parts[:, 0], torch.maximum(bones[:, 0], bones[:, 1]))
    assert torch.equal(parts[:, 1], bones[:, 2])


def test_what_lacks_a_joint_is_empty_and_weighs_nothing():
    (_, bones, parts), (_, drawn, known) = truth()
    assert drawn.tolist() == [[1, 1, 1], [1, 0, 0]] and known.tolist() == [[1, 1], [1, 0]]
    assert not bones[1, 1:].any() and not parts[1, 1].any()
    assert torch.equal(parts[1, 0], bones[1, 0])


def outputs() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    counts = [4 + (0, 3, 2)[level] for level in LEVELS]
    return [torch.randn(2, count, SIZE, SIZE, generator=generator).requires_grad_() for count in counts]


@pytest.mark.parametrize("stage_weights", [None, (1, 2, 3, 4, 5)])
def test_the_loss_is_the_sum_of_the_means_of_the_stages(stage_weights):
    targets, weights = truth()
    weights = [torch.ones_like(weight) for weight in weights]
    stages = outputs()
    loss = compositional(heatmap_mse, stages, targets, weights, weights[0].sum(), LEVELS, stage_weights)
    joints, bones, parts = targets
    own = [
        joints,
        torch.cat([joints, bones], 1),
        torch.cat([joints, parts], 1),
        torch.cat([joints, bones], 1),
        joints,
    ]
    means = [(stage - target).square().mean() for stage, target in zip(stages, own, strict=True)]
    counts = stage_weights or (1,) * 5
    torch.testing.assert_close(loss, sum(n * mean for n, mean in zip(counts, means, strict=True)))


@pytest.mark.parametrize("name", LOSSES)
def test_parts_of_a_batch_add_up_and_empty_maps_get_no_gradient(name):
    targets, weights = truth()
    stages, total = outputs(), weights[0].sum()
    whole = compositional(LOSSES[name], stages, targets, weights, total, LEVELS)
    halves = [
        compositional(
            LOSSES[name],
            *([x[i : i + 1] for x in group] for group in (stages, targets, weights)),
            total,
            LEVELS,
        )
        for i in (0, 1)
    ]
    torch.testing.assert_close(sum(halves), whole)
    whole.backward()
    bones, parts = stages[1].grad[:, 4:], stages[2].grad[:, 4:]
    assert bones[0].any() and parts[0].any()
    assert [bool(bone.any()) for bone in bones[1]] == [True, False, False]
    assert [bool(part.any()) for part in parts[1]] == [True, False]


def test_a_skeleton_without_bones():
    bones, drawn, parts, known = composed(CELLS, HAS_TARGET, (), (), SIZE, SIGMA, RADIUS)
    assert bones.shape == parts.shape == (2, 0, SIZE, SIZE) and drawn.shape == known.shape == (2, 0)


@pytest.mark.parametrize("bones", [BONES, ()])
def test_network_and_loss_fit_together(bones):
    network = build("dlcm", 4, feats=12, depth=1, bones=bones)
    options = Namespace(
        input_res=64, sigma=SIGMA, target_radius=0, loss="mse", mask_unlabelled=True, stage_weights=None
    )
    objective = CompositionObjective(options, network)
    batch = objective.supervised({"joints": CELLS * 4.0 + 2, "visible": 2 * HAS_TARGET.long()})
    maps = network(torch.rand(2, 3, 64, 64))
    losses = objective.losses(maps, *objective.truth(batch), total=batch["weight"].sum())
    losses["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
