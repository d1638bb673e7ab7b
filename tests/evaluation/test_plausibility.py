"""What is wrong with joints and limbs, on people built for it."""

import numpy as np
import pytest

from src.datasets.skeletons import MPII
from src.evaluation.plausibility import describe_failures
from src.evaluation.results import Result

PEOPLE = 40
JOINTS = np.arange(16)[:, None] * [[10.0, 7.0]]  # every limb of a group but one has another length
COUNTED = len(MPII.mean_joints)


def people() -> tuple[np.ndarray, np.ndarray]:
    """(N, J, 2) alike but for their places, and who is in sight: all but the left wrist."""
    joints = JOINTS + 1000.0 * np.arange(PEOPLE)[:, None, None]
    visible = np.full((PEOPLE, 16), 2)
    visible[:, MPII.index("left wrist")] = 1
    return joints, visible


def described(predictions: np.ndarray, bootstrap: int = 0) -> Result:
    joints, visible = people()
    return describe_failures(predictions, joints, visible, MPII, np.full(PEOPLE, 8.0), 0.5, "test", bootstrap)


def percent(result: Result, key: str, column: int = 0) -> float:
    return result.sections["means"][f"failures_{key}"].scores[column].percent


def test_true_joints_are_right_and_no_limb_of_them_is_too_long() -> None:
    result = described(people()[0])
    assert percent(result, "right") == 100 and percent(result, "too_long") == 0
    assert result.people == PEOPLE and result.left_out == 0
    kinds = [percent(result, kind) for kind in ("right", "near", "inverted", "missed")]
    assert sum(kinds) == pytest.approx(100)


def test_exchanged_wrists_are_inverted() -> None:
    joints, _ = people()
    both = [MPII.index("left wrist"), MPII.index("right wrist")]
    joints[:10, both] = joints[:10, both[::-1]]
    result = described(joints)
    assert percent(result, "inverted") == pytest.approx(100 * 20 / (COUNTED * PEOPLE))
    assert percent(result, "inverted", 1) == pytest.approx(100 * 10 / ((COUNTED - 1) * PEOPLE))
    assert percent(result, "inverted", 2) == pytest.approx(25)  # of the left wrists, alone hidden


def test_a_wrist_far_away_is_missed_and_makes_a_limb_that_nobody_has() -> None:
    joints, _ = people()
    joints[0, MPII.index("right wrist")] += 300
    joints[1, MPII.index("right wrist")] = np.nan
    result = described(joints)
    assert percent(result, "missed") == pytest.approx(100 * 2 / (COUNTED * PEOPLE))
    limbs = result.sections["parts"]["Lower arm"].scores[0]
    assert limbs.counted == 2 * PEOPLE and limbs.percent == pytest.approx(100 * 2 / (2 * PEOPLE))


def test_joints_half_a_head_off_are_near() -> None:
    joints, _ = people()
    joints[:, MPII.index("head top"), 1] += 0.75 * 8
    assert percent(described(joints), "near") == pytest.approx(100 / COUNTED)


def test_people_without_a_length_are_left_out() -> None:
    joints, visible = people()
    length = np.where(np.arange(PEOPLE) < 5, np.nan, 8.0)
    result = describe_failures(joints, joints, visible, MPII, length, 0.5, "test")
    assert (result.people, result.left_out) == (PEOPLE - 5, 5) and "5 people" in result.notes[0]
    assert percent(result, "right") == 100


def test_intervals_hold_the_share() -> None:
    joints, _ = people()
    joints[:10] += 100
    score = described(joints, 500).sections["means"]["failures_missed"].scores[0]
    assert score.interval is not None
    low, high = score.interval
    # 10 of 40 people: a standard deviation of 6.8 %
    assert score.percent == pytest.approx(25)
    assert 8 < low < 20 and 30 < high < 42
