"""What a multi-person network is to learn: cells, heatmaps, masks, and which pictures count."""

from argparse import Namespace

import pytest
import torch

from src.datasets.annotations import MASKED
from src.datasets.crops import Batch, in_step
from src.utils.multi_person import TagObjective

SIDE, STRIDE = 32, 4


@pytest.fixture
def objective() -> TagObjective:
    return TagObjective(Namespace(input_res=SIDE, sigma=1.0), STRIDE)


def batch() -> Batch:
    """Two pictures with two slots for people of two joints: two people, and nobody."""
    joints = torch.zeros(2, 2, 2, 2)
    joints[0, 0] = torch.tensor([[9.0, 14.0], [31.9, 0.0]])
    joints[0, 1] = torch.tensor([[11.9, 20.0], [32.0, 5.0]])  # in the next cell of the column; outside
    visible = torch.zeros(2, 2, 2, dtype=torch.int8)
    visible[0] = torch.tensor([[2, 1], [1, 2]])
    mask = torch.ones(2, 8, 8, dtype=torch.uint8)
    mask[0, 0] = 0
    return {"image": torch.zeros(2, SIDE, SIDE, 3), "joints": joints, "visible": visible, "mask": mask}


def test_joints_have_cells_if_they_are_labelled_and_inside(objective: TagObjective) -> None:
    found = objective.supervised(batch())
    assert found["cells"][0].tolist() == [[[2, 3], [7, 0]], [[2, 5], [8, 1]]]
    assert found["has_target"].tolist() == [[[True, True], [True, False]], [[False, False]] * 2]
    assert found["weight"].tolist() == [1, 1]  # there is something to be learnt where nobody is


def test_the_truth_has_all_people_in_the_map_of_a_joint(objective: TagObjective) -> None:
    found = objective.supervised(batch())
    heatmaps, mask, cells, counts = objective.truth(found)
    assert heatmaps.shape == (2, 2, 8, 8) and not heatmaps[1].any()
    near = torch.exp(torch.tensor(-0.5)).item()
    assert heatmaps[0, 0, 1:8, 2].tolist() == pytest.approx([near**4, near, 1, near, 1, near, near**4][0:7])
    assert heatmaps[0, 1, 0, 7] == 0 and mask[0, 0, 7] == 0  # nothing is known there
    assert torch.equal(mask, batch()["mask"])
    assert cells is found["cells"] and counts is found["has_target"]


@pytest.mark.parametrize(
    "side, sigma, expected, radius", [(512, 0, 2.0, 6), (64, 0, 0.25, 1), (64, 1.5, 1.5, 5)]
)
def test_sigma_is_a_64th_of_the_map_if_none_is_given(
    side: int, sigma: float, expected: float, radius: int
) -> None:
    found = TagObjective(Namespace(input_res=side, sigma=sigma), STRIDE)
    assert (found.sigma, found.radius, found.size) == (expected, radius, side // STRIDE)


def test_a_filler_counts_for_nothing(objective: TagObjective) -> None:
    """Unlike a picture without people, of which the ground is learnt."""
    filler, whole = in_step([batch() | {"taken": 4}], 2)
    assert (filler["visible"] == MASKED).all()
    found = objective.supervised(filler)
    assert found["weight"].tolist() == [0, 0] and not found["mask"].any() and not found["has_target"].any()
    assert objective.supervised(whole)["weight"].tolist() == [1, 1]


def test_heatmaps_are_compared_where_the_mask_is_not(objective: TagObjective) -> None:
    found = objective.supervised(batch())
    maps = torch.arange(2 * 4 * 64.0).view(2, 4, 8, 8) + 1
    heatmaps = objective.heatmaps(maps, found)
    assert not heatmaps[0, :, 0].any()
    assert torch.equal(heatmaps[0, :, 1:], maps[0, :2, 1:]) and torch.equal(heatmaps[1], maps[1, :2])
