"""What is wrong with joints, by hand-made cases; who is who of the people in a picture."""

import math

import numpy as np
import pytest

from src.evaluation.failures import GOOD, KINDS, NOT_COUNTED, REACH, failures, matched, oks_limits

NAMES = list(KINDS)
MIRROR = [1, 0, 2]  # left and right, and one of neither side
PERSON = [[0.0, 0.0], [100.0, 0.0], [50.0, 50.0]]


def kinds(predicted: list[list[list[float]]], people: int = 1, **changes: np.ndarray) -> list[list[str]]:
    """The kinds of joints of people who stand 1000 pixels apart, 20 long, and are right within half of it."""
    truth = np.array(PERSON) + 1000 * np.arange(people)[:, None, None]
    arguments = {"labelled": np.ones(truth.shape[:2], bool), "length": np.full(people, 20.0), **changes}
    found = failures(np.array(predicted), truth, threshold=0.5, mirror=MIRROR, **arguments)
    return [[NAMES[kind] if kind != NOT_COUNTED else "" for kind in row] for row in found]


def test_each_kind() -> None:
    assert kinds([[[0, 10], [100, 0], [50, 50]]]) == [["right"] * 3]
    assert kinds([[[0, 10.1], [100, 20.6], [50, 71]]]) == [["near", "near", "missed"]]  # near ends at 20.65
    assert kinds([[[100, 5], [0, 20], [100, 0]]]) == [["inverted", "inverted", "missed"]]
    assert kinds([[[math.nan, 0], [math.inf, 0], [50, 50]]]) == [["missed", "missed", "right"]]


def test_what_is_not_labelled_or_has_no_length_does_not_count() -> None:
    unlabelled = np.array([[True, False, True]])
    # the left joint is where the right one would be, which nobody has labelled
    assert kinds([[[100, 0], [100, 0], [50, 50]]], labelled=unlabelled) == [["missed", "", "right"]]
    for length in (0.0, math.nan, -1.0):
        assert kinds([PERSON], length=np.array([length])) == [["", "", ""]]
        assert kinds([PERSON], length=np.array([[20.0, length, 20.0]])) == [["right", "", "right"]]


def test_joints_of_others_in_the_same_picture() -> None:
    second_left, second_right = [1000, 1000], [1100, 1000]
    predicted = [[second_left, second_left, second_left], [second_left, second_right, [1050, 1050]]]
    together, apart = np.array([7, 7]), np.array([7, 8])
    assert kinds(predicted, 2, picture=together) == [["swapped", "swapped", "missed"], ["right"] * 3]
    assert kinds(predicted, 2, picture=apart)[0] == kinds(predicted, 2)[0] == ["missed"] * 3


def test_the_reach_of_near_is_that_of_the_similarities() -> None:
    limit = oks_limits(np.array([400.0]), [0.05])[0, 0]
    spread = 2 * 0.05 * 20
    assert math.exp(-((limit / spread) ** 2) / 2) == pytest.approx(GOOD)
    assert math.exp(-((REACH * limit / spread) ** 2) / 2) == pytest.approx(0.5)


def test_the_surest_takes_whom_it_is_most_like() -> None:
    truth = np.array([PERSON, np.array(PERSON) + 30])
    joints = np.array([truth[0] + 1, truth[0], truth[1] + 2, truth[0] + 500])
    visible, area = np.full((2, 3), 2), np.full(2, 10000.0)
    sigmas = [0.1] * 3
    place, similarity = matched(joints, np.array([0.9, 0.5, 0.7, 0.8]), truth, visible, area, sigmas)
    assert place.tolist() == [0, 2] and 0.9 < similarity[1] < similarity[0] < 1
    nobody, none = matched(joints[3:], np.ones(1), truth, visible, area, sigmas)
    assert nobody.tolist() == [-1, -1] and not none.any()
    assert matched(joints[:0], np.ones(0), truth, visible, area, sigmas)[0].tolist() == [-1, -1]
