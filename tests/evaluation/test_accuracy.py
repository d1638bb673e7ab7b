"""Accuracy in training, against the definition by arg-max of prediction and target, joint by joint."""

import math

import numpy as np
import pytest
import torch

from src.datasets.skeletons import LSP, MPII, Skeleton
from src.datasets.targets import gaussian_heatmaps, people_heatmaps, target_cells
from src.evaluation.accuracy import HeatmapAccuracy, PeakAccuracy

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


def peaks_by_loops(heatmap: np.ndarray) -> list[tuple[int, int]]:
    """The peaks (x, y) of a map by the definition of grouping: above the threshold, and largest of 5 x 5."""
    return [
        (x, y)
        for y, x in np.argwhere(heatmap > 0.1).tolist()
        if heatmap[y, x] == heatmap[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].max()
    ]


@pytest.mark.parametrize("size, reach", [(16, 1), (64, 1), (96, 2)])
def test_joints_of_several_people_are_found_where_their_map_has_a_peak(size: int, reach: int) -> None:
    random = torch.manual_seed(size)
    joints = LSP.num_joints
    cells = torch.randint(size, (3, 4, joints, 2), generator=random)
    counts = torch.rand(3, 4, joints, generator=random) < 0.7
    jitter = torch.randint(-reach - 1, reach + 2, cells.shape, generator=random)
    drawn = (cells + jitter).clamp(0, size - 1)
    shown = counts & (torch.rand(counts.shape, generator=random) < 0.8)
    heatmaps = people_heatmaps(drawn, shown, size, 1.0, 3)
    heatmaps *= torch.rand(3, joints, 1, 1, generator=random)  # some peaks are too low
    expected = torch.zeros(joints, dtype=torch.int64)
    for image, person, joint in counts.nonzero().tolist():
        x, y = cells[image, person, joint].tolist()
        peaks = peaks_by_loops(heatmaps[image, joint].numpy())
        expected[joint] += any(max(abs(x - a), abs(y - b)) <= reach for a, b in peaks)
    accuracy = PeakAccuracy(LSP, CPU)
    tags = torch.full_like(heatmaps, 9.0)  # maps that follow are not looked at
    accuracy.update(torch.cat([heatmaps, tags], 1), cells, counts)
    assert torch.equal(accuracy.counted, counts.sum((0, 1))) and torch.equal(accuracy.correct, expected)
    assert 0.2 < accuracy.mean() < 0.9  # right and wrong ones among them


def test_nobody_and_half_precision_are_counted() -> None:
    accuracy = PeakAccuracy(LSP, CPU)
    nowhere = torch.full((2, 3, LSP.num_joints, 2), -7)  # cells of what does not count may lie anywhere
    accuracy.update(torch.ones(2, LSP.num_joints, 8, 8), nowhere, torch.zeros(2, 3, LSP.num_joints).bool())
    assert math.isnan(accuracy.mean()) and not accuracy.counted.any()
    heatmaps = torch.zeros(1, LSP.num_joints, 8, 8, dtype=torch.bfloat16)
    heatmaps[..., 5, 2] = 0.5
    cells = torch.tensor([2, 5]).expand(1, 1, LSP.num_joints, 2)
    accuracy.update(heatmaps, cells, torch.ones(1, 1, LSP.num_joints).bool())
    assert accuracy.mean() == 1 and accuracy.joined().mean() == 1
