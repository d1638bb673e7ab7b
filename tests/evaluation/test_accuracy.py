"""Accuracy in training, against the definition by arg-max of prediction and target, joint by joint."""

import math

import numpy as np
import pytest
import torch

from src.datasets.skeletons import LSP, MPII, Skeleton
from src.datasets.targets import gaussian_heatmaps, target_cells
from src.evaluation.accuracy import HeatmapAccuracy

CPU = torch.device("cpu")
SIZE, INPUT = 20, 80


def shares_by_argmax(heatmaps: np.ndarray, targets: np.ndarray) -> list[float]:
    """Per joint the share found, from rendered targets: the original definition over one batch.

    A joint whose target peaks in the first row or column, as an empty target does, is not valid there.
    """
    shares = []
    for joint in range(targets.shape[1]):
        found = valid = 0
        for heatmap, target in zip(heatmaps[:, joint], targets[:, joint], strict=True):
            y, x = np.unravel_index(target.argmax(), target.shape)
            if x == 0 or y == 0:
                continue
            predicted_y, predicted_x = np.unravel_index(heatmap.argmax(), heatmap.shape)
            valid += 1
            found += math.hypot(predicted_x - x, predicted_y - y) / (SIZE / 10) <= 0.5
        shares.append(found / valid if valid else math.nan)
    return shares


def random_batch(people: int, skeleton: Skeleton = LSP) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Joints in and around the crop, some unlabelled, and maps that peak near them."""
    generator = torch.manual_seed(people)
    joints = torch.rand(people, skeleton.num_joints, 2, generator=generator) * (INPUT + 20) - 10
    joints[((joints >= 0) & (joints < INPUT / SIZE)).any(2)] -= 11  # none in the first row or column
    visible = torch.randint(3, joints.shape[:2], generator=generator)
    jitter = torch.randint(-1, 2, joints.shape, generator=generator)
    cells = (torch.floor(joints * SIZE / INPUT).long() + jitter).clamp(0, SIZE - 1)
    heatmaps = gaussian_heatmaps(cells, torch.ones(cells.shape[:2], dtype=torch.bool), SIZE, 1.0, 3)
    return joints, visible, heatmaps


def test_counting_by_cells_is_the_definition_by_argmax() -> None:
    joints, visible, heatmaps = random_batch(200)
    cells, has_target = target_cells(joints, visible, INPUT, SIZE)
    accuracy = HeatmapAccuracy(LSP, CPU)
    accuracy.update(heatmaps, cells, has_target)
    targets = gaussian_heatmaps(cells, has_target, SIZE, 1.0, 3)
    expected = shares_by_argmax(heatmaps.numpy(), targets.numpy())
    assert 0.3 < np.mean(expected) < 0.95  # right and wrong ones among them
    np.testing.assert_allclose(accuracy.per_joint(), expected, rtol=1e-6)
    assert accuracy.mean() == pytest.approx(np.mean([expected[j] for j in LSP.accuracy_joints]), rel=1e-6)


def test_joints_in_the_first_row_and_column_count() -> None:
    """There the explicit mask differs from the original definition, which loses them."""
    cells = torch.tensor([[[0, 5], [5, 0], [0, 0]]]).expand(1, 3, 2)
    cells = torch.cat([cells, torch.zeros(1, LSP.num_joints - 3, 2, dtype=torch.int64)], 1)
    counts = torch.arange(LSP.num_joints)[None] < 3
    accuracy = HeatmapAccuracy(LSP, CPU)
    accuracy.update(gaussian_heatmaps(cells, counts, SIZE, 1.0, 3), cells, counts)
    assert accuracy.counted.tolist() == [1, 1, 1] + [0] * 11
    assert accuracy.mean() == 1


def test_a_twentieth_of_the_map_is_still_found() -> None:
    size = 60  # reach: exactly 3 cells
    heatmaps = torch.zeros(3, LSP.num_joints, size, size)
    for i, x in enumerate((33, 34, 26)):
        heatmaps[i, :, 30, x] = 1
    cells = torch.full((3, LSP.num_joints, 2), 30)
    accuracy = HeatmapAccuracy(LSP, CPU)
    accuracy.update(heatmaps, cells, torch.ones(3, LSP.num_joints, dtype=torch.bool))
    assert accuracy.correct.tolist() == [1] * LSP.num_joints


def test_the_epoch_does_not_depend_on_batches() -> None:
    joints, visible, heatmaps = random_batch(37)
    cells, has_target = target_cells(joints, visible, INPUT, SIZE)
    whole, parts = HeatmapAccuracy(LSP, CPU), HeatmapAccuracy(LSP, CPU)
    whole.update(heatmaps, cells, has_target)
    for i in range(0, 37, 5):
        parts.update(heatmaps[i : i + 5], cells[i : i + 5], has_target[i : i + 5])
    assert torch.equal(whole.correct, parts.correct) and torch.equal(whole.counted, parts.counted)
    assert whole.mean() == parts.mean()


def test_joints_never_seen_are_left_out_of_the_mean() -> None:
    accuracy = HeatmapAccuracy(MPII, CPU)
    assert math.isnan(accuracy.mean())
    ankle, knee = MPII.accuracy_joints[:2]
    accuracy.counted[ankle], accuracy.correct[ankle] = 4, 1
    accuracy.counted[knee], accuracy.correct[knee] = 1, 1
    accuracy.counted[MPII.index("pelvis")] = 9  # no accuracy joint
    assert accuracy.mean() == pytest.approx((1 / 4 + 1) / 2)
    assert math.isnan(accuracy.per_joint()[MPII.index("left wrist")])


def test_counts_survive_a_checkpoint() -> None:
    joints, visible, heatmaps = random_batch(8)
    first, second = HeatmapAccuracy(LSP, CPU), HeatmapAccuracy(LSP, CPU)
    first.update(heatmaps, *target_cells(joints, visible, INPUT, SIZE))
    stored = {key: value.clone() for key, value in first.state_dict().items()}
    second.load_state_dict(stored)
    first.reset()
    assert math.isnan(first.mean())
    assert torch.equal(second.correct, stored["correct"])
    assert torch.equal(second.counted, stored["counted"])
