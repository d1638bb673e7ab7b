"""PCK against loops over people and joints, and at its edges."""

import math

import numpy as np
import pytest

from src.evaluation.pck import Tally, area_under_curve, box_sides, distances, only, tally

NAN = math.nan


def random_people(count: int = 60, joints: int = 5, seed: int = 0) -> dict[str, np.ndarray]:
    """Predictions near the truth; some joints do not count, some people have no length."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 500, (count, joints, 2))
    length = rng.uniform(20, 80, count)
    length[::7], length[3] = NAN, 0
    counted = rng.random((count, joints)) < 0.8
    counted[:, 4] = False
    return {
        "predictions": truth + rng.normal(0, 25, truth.shape),
        "truth": truth,
        "length": length,
        "counted": counted,
    }


def counts_by_loops(people: dict[str, np.ndarray], threshold: float) -> tuple[list[int], list[int]]:
    """Correct and counted joints, one after the other."""
    count, joints, _ = people["truth"].shape
    correct, total = [0] * joints, [0] * joints
    for n in range(count):
        for j in range(joints):
            if people["counted"][n, j] and people["length"][n] > 0:
                total[j] += 1
                error = math.dist(people["predictions"][n, j], people["truth"][n, j])
                correct[j] += error / people["length"][n] <= threshold
    return correct, total


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.5, 2.0])
def test_counts_are_those_of_loops(threshold: float) -> None:
    people = random_people()
    result = tally(distances(**people), threshold)
    correct, counted = counts_by_loops(people, threshold)
    assert result.correct.tolist() == correct
    assert result.counted.tolist() == counted


def test_a_curve_is_its_thresholds_one_by_one() -> None:
    distance = distances(**random_people())
    thresholds = np.linspace(0, 0.5, 11)
    curve = tally(distance, thresholds)
    each = [tally(distance, threshold) for threshold in thresholds]
    np.testing.assert_array_equal(curve.percent(), [one.percent() for one in each])
    np.testing.assert_array_equal(curve.pooled([0, 2]), [one.pooled([0, 2]) for one in each])
    np.testing.assert_array_equal(curve.mean([0, 2]), [one.mean([0, 2]) for one in each])


def test_means_by_hand() -> None:
    """Joint 0: 3 of 4 right, joint 1: 0 of 1, joint 2 never counts."""
    result = Tally(np.array([3, 0, 0]), np.array([4, 1, 0]))
    np.testing.assert_array_equal(result.percent(), [75, 0, NAN])
    assert result.pooled([0, 1, 2]) == pytest.approx(60)  # 3 of 5
    assert result.mean([0, 1, 2]) == pytest.approx(37.5)  # of 75 and 0
    assert result.total([0, 1, 2]) == 5
    assert np.isnan(result.pooled([2])) and np.isnan(result.mean([2]))
    np.testing.assert_array_equal(result.means([(0,), (1, 0), (2,)]), [75, 37.5, NAN])
    np.testing.assert_array_equal(result.totals([(0,), (1, 0), (2,)]), [4, 5, 0])


@pytest.mark.parametrize(("share", "right"), [(0.5, True), (0.5001, False)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_threshold_itself_is_right(share: float, right: bool, dtype: type) -> None:
    """Also after all was rounded to float32, far from the origin and for the smallest heads of MPII."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 1900, (500, 3, 2))
    length = rng.uniform(14.5, 300, 500)
    angle = rng.uniform(0, 2 * np.pi, (500, 3))
    offset = share * length[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], axis=2)
    predictions = (truth + offset).astype(dtype)
    everything = np.ones((500, 3), bool)
    result = tally(distances(predictions, truth.astype(dtype), length.astype(dtype), everything), 0.5)
    assert result.correct.tolist() == [500 * right] * 3


def test_what_does_not_count_and_what_is_wrong() -> None:
    truth = np.zeros((3, 2, 2))
    truth[0, 1] = NAN  # unlabelled
    predictions = np.zeros((3, 2, 2))
    predictions[1, 0] = NAN  # wrong, not uncounted
    counted = np.array([[True, False], [True, True], [True, True]])
    found = distances(predictions, truth, np.array([10, 10, NAN]), counted)
    np.testing.assert_array_equal(found, [[0, NAN], [np.inf, 0], [NAN, NAN]])


def test_only_keeps_what_counts() -> None:
    kept = only(np.array([[0, 0.5], [np.inf, NAN]], np.float32), np.array([[True, False], [True, True]]))
    np.testing.assert_array_equal(kept, [[0, NAN], [np.inf, NAN]])
    assert kept.dtype == np.float32


def test_area_under_curve_by_hand() -> None:
    assert area_under_curve(np.array([0, 1, 3]), np.array([0, 100, 100])) == pytest.approx((50 + 200) / 3)


def test_box_sides_by_hand() -> None:
    joints = np.array([[[0, 0], [3, 7], [100, 100]], [[5, 5], [0, 0], [0, 0]], [[1, 1], [2, 2], [3, 3]]])
    visible = np.array([[2, 1, 0], [2, 0, 0], [0, 0, 0]])
    sides = box_sides(joints.astype(np.float32), visible)
    assert sides[0] == 7
    assert not (sides[1:] > 0).any()  # one joint, no joint: no box
