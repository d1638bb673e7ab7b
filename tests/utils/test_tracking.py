"""Numbers that stay with people, and joints that rest without jitter and move without delay."""

import numpy as np
import pytest

from src.utils.tracking import PATIENCE, OneEuro, Sizes, Smoother, Tracker

RATE = 30.0
PERSON = np.array([[0, 0], [30, 60], [-30, 60], [0, 100], [10, 160.0]])  # about 170 pixels large


def at(*places: tuple[float, float]) -> np.ndarray:
    return np.stack([PERSON + place for place in places]) if places else np.empty((0, 5, 2))


def test_people_keep_their_numbers_in_any_order() -> None:
    tracker = Tracker()
    assert tracker(at((0, 0), (300, 0))) == [1, 2]
    assert tracker(at((290, 0), (10, 0))) == [2, 1]
    assert tracker(at((20, 0), (280, 5), (900, 0))) == [1, 2, 3]


def test_two_people_who_pass_each_other_are_told_apart_by_the_nearest() -> None:
    """The closer pair goes first, though the other one was listed before."""
    tracker = Tracker()
    tracker(at((0, 0), (60, 0)))
    assert tracker(at((40, 0), (61, 0))) == [1, 2]


def test_who_is_far_away_is_somebody_else() -> None:
    tracker = Tracker()
    tracker(at((0, 0)))
    assert tracker(at((100, 0))) == [2]  # more than half of a person's size


@pytest.mark.parametrize("gap, number", [(PATIENCE, 1), (PATIENCE + 1, 2)])
def test_people_are_remembered_for_a_while(gap: int, number: int) -> None:
    tracker = Tracker()
    tracker(at((0, 0)))
    for _ in range(gap):
        assert tracker(at()) == []
    assert tracker(at((0, 0))) == [number]


def test_people_without_a_common_joint_are_different() -> None:
    tracker = Tracker()
    upper, lower = at((0, 0)), at((0, 0))
    upper[:, :2] = lower[:, 2:] = np.nan
    assert [tracker(upper), tracker(lower)] == [[1], [2]]


def filtered(points: np.ndarray, times: np.ndarray, **settings: float) -> np.ndarray:
    """Places (T, 2) of one point after the filter, of a person of 200 pixels."""
    one_euro = OneEuro(**settings)
    return np.stack([one_euro(point[None], t, 200.0)[0] for point, t in zip(points, times, strict=True)])


def test_a_resting_point_loses_its_jitter() -> None:
    """White noise through a low-pass of 1 Hz at 30 frames a second keeps about 0.3 of its deviation."""
    noise = np.random.default_rng(0).normal(0, 2, (300, 2))
    smooth = filtered(100 + noise, np.arange(300) / RATE)
    assert smooth[30:].std() < 0.45 * noise[30:].std()
    assert np.diff(smooth, axis=0).std() < 0.25 * np.diff(noise, axis=0).std()
    np.testing.assert_allclose(smooth[30:].mean(0), 100, atol=0.5)


def test_a_fast_point_is_followed() -> None:
    """Three sizes of the person a second: the delay is less than one frame, of a fixed filter five."""
    times = np.arange(60) / RATE
    points = np.stack([600 * times, 0 * times], axis=1)
    step = 600 / RATE
    assert (points - filtered(points, times))[30:, 0].max() < step
    assert (points - filtered(points, times, beta=0.0))[30:, 0].min() > 4 * step


def test_the_filter_is_the_same_at_any_size() -> None:
    noise = np.random.default_rng(1).normal(0, 2, (50, 1, 2))
    small, large = OneEuro(), OneEuro()
    for number, point in enumerate(noise):
        a, b = small(point, number / RATE, 200.0), large(10 * point, number / RATE, 2000.0)
        np.testing.assert_allclose(10 * a, b)


def test_time_and_not_frames_counts() -> None:
    """A step is followed as far in a second, in however many frames."""
    ends = []
    for count in (15, 60):
        times = np.linspace(0, 0.5, count + 1)
        points = np.where(times[:, None] > 0, 1.0, 0.0) * np.ones(2)
        ends.append(filtered(points, times, beta=0.0)[-1, 0])
    assert ends[0] == pytest.approx(ends[1], abs=0.02)


def test_a_point_that_was_away_starts_anew() -> None:
    one_euro = OneEuro()
    for number in range(5):
        one_euro(np.array([[10.0, 10.0]]), number / RATE, 200.0)
    lost = one_euro(np.array([[np.nan, np.nan]]), 5 / RATE, 200.0)
    assert np.isnan(lost).all()
    np.testing.assert_allclose(one_euro(np.array([[90.0, 90.0]]), 2.0, 200.0), [[90, 90]])


def test_people_are_smoothed_by_their_numbers() -> None:
    smoother = Smoother()
    first = at((0, 0), (300, 0))
    smoother(first, [1, 2], 0.0)
    swapped = smoother(first[::-1], [2, 1], 1 / RATE)
    np.testing.assert_allclose(swapped, first[::-1])
    for second in range(1, 50):  # others come and go: nothing piles up
        smoother(at((0, 0)), [10 + second], float(second))
    assert len(smoother._filters) <= 2


def test_sizes_change_slowly_and_settle() -> None:
    """In every other frame half of the person is not seen; then it is twice as large; then it is gone."""
    sizes, seen = Sizes(), []
    for number in range(300):
        true = 200.0 if number < 150 else 400.0
        seen.append(sizes([true * (1 - number % 2 / 2)], [1], number / RATE)[0])
    assert np.abs(np.diff(seen)).max() < 0.05 * 250  # which it is too small when it grows
    assert np.mean(seen[90:150]) == pytest.approx(150, rel=0.1)
    assert np.mean(seen[270:]) == pytest.approx(300, rel=0.1)
    assert sizes([0.0], [1], 300 / RATE) == seen[-1]
    assert sizes([50.0, 0.0], [2, 3], 301 / RATE).tolist() == [50, 0]
    assert sizes([70.0], [3], 302 / RATE) == 70
    assert sizes([90.0], [9], 500 / RATE) == 90 and list(sizes._known) == [9], "nothing piles up"
