"""People in a video: who is who from frame to frame, and their joints without jitter.

    tracker, smoother = Tracker(), Smoother()
    for people, seconds in frames:                  # joints (n, J, 2), NaN for those not found
        numbers = tracker(people)
        people = smoother(people, numbers, seconds)

n people in a frame, J joints.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

PATIENCE = 10  # frames after which somebody who was not seen is somebody else
REACH = 0.5  # how far a person may move between two frames, in sizes of the person


class Tracker:
    """Gives people numbers, from 1, that they keep as long as they are seen.

    The nearest are taken for the same, the closest pair first. Distance is the mean over the joints that both
    have, in sizes of the person.
    """

    def __init__(self) -> None:
        self._joints: dict[int, np.ndarray] = {}  # as last seen
        self._unseen: dict[int, int] = {}  # for how many frames
        self._people = 0

    def __call__(self, joints: np.ndarray) -> list[int]:
        """The numbers of the people (n, J, 2) in the next frame."""
        numbers = [0] * len(joints)
        pairs = [
            (_distance(before, person), place, number)
            for place, person in enumerate(joints)
            for number, before in self._joints.items()
        ]
        taken: set[int] = set()
        for distance, place, number in sorted(pairs):
            if distance <= REACH and not numbers[place] and number not in taken:
                numbers[place] = number
                taken.add(number)
        for place in range(len(joints)):
            if not numbers[place]:
                self._people += 1
                numbers[place] = self._people
        self._remember(dict(zip(numbers, joints, strict=True)))
        return numbers

    def _remember(self, seen: dict[int, np.ndarray]) -> None:
        self._unseen = {number: frames + 1 for number, frames in self._unseen.items()}
        self._unseen |= dict.fromkeys(seen, 0)
        self._joints |= seen
        for number in [number for number, frames in self._unseen.items() if frames > PATIENCE]:
            del self._unseen[number], self._joints[number]


def _distance(before: np.ndarray, now: np.ndarray) -> float:
    """How far a person (J, 2) has moved; infinite where no joint is known in both."""
    both = np.isfinite(before).all(1) & np.isfinite(now).all(1)
    if not both.any():
        return math.inf
    moved = np.linalg.norm(now[both] - before[both], axis=1).mean()
    return float(moved / max(extent(before), extent(now), 1.0))


def extent(joints: np.ndarray) -> float:
    """The diagonal of the box around the joints (J, 2) that are known, in pixels; 0 if there are none."""
    known = joints[np.isfinite(joints).all(1)]
    return float(np.linalg.norm(np.ptp(known, axis=0))) if len(known) else 0.0


class OneEuro:
    """A filter that takes jitter out of points that rest, and follows those that move.

    Casiez, Roussel and Vogel, "1 € filter: a simple speed-based low-pass filter for noisy input in
    interactive systems", CHI 2012: a low-pass whose cutoff grows with the speed. Here the speed is that of
    the point in the plane, in sizes of the person a second, so that the settings suit every resolution.

    cutoff: in Hz, of points that rest; less is smoother. beta: by how many Hz it grows for a size a second.
    """

    SPEED_CUTOFF = 1.0  # Hz
    FORGET = 1.0  # seconds after which a point that was not seen starts anew

    def __init__(self, cutoff: float = 1.0, beta: float = 5.0) -> None:
        self.cutoff, self.beta = cutoff, beta
        self._points = self._speed = self._seen = np.empty(0)

    def __call__(self, points: np.ndarray, seconds: float, size: float) -> np.ndarray:
        """Smoothed points (J, 2) of a moment later than those before; NaN stays NaN.

        size: of the person in pixels.
        """
        if not len(self._seen):
            self._points, self._speed = np.full(points.shape, np.nan), np.zeros(points.shape)
            self._seen = np.full(len(points), -math.inf)
        known = np.isfinite(points).all(1)
        goes_on = known & (seconds - self._seen <= self.FORGET)
        step = np.where(goes_on, seconds - self._seen, 1.0)[:, None]
        moved = np.where(goes_on[:, None], points - self._points, 0) / step
        share = _share(self.SPEED_CUTOFF, step)
        self._speed = np.where(goes_on[:, None], share * moved + (1 - share) * self._speed, 0)
        speed = np.linalg.norm(self._speed, axis=1, keepdims=True) / max(size, 1.0)
        share = np.where(goes_on[:, None], _share(self.cutoff + self.beta * speed, step), 1.0)
        before = np.where(goes_on[:, None], self._points, 0)
        smooth = np.where(known[:, None], share * points + (1 - share) * before, np.nan)
        self._points = np.where(known[:, None], smooth, self._points)
        self._seen = np.where(known, seconds, self._seen)
        return smooth.astype(points.dtype)


def _share(cutoff: Any, step: Any) -> Any:
    """What a low-pass takes of a new value that comes `step` seconds after the one before; of arrays, too."""
    turns = 2 * math.pi * cutoff * step
    return turns / (turns + 1)


class Smoother:
    """A OneEuro filter for each person, by the number that a Tracker gave."""

    def __init__(self, cutoff: float = 1.0) -> None:
        self._cutoff = cutoff
        self._filters: dict[int, OneEuro] = {}
        self._used: dict[int, float] = {}

    def __call__(self, joints: np.ndarray, numbers: list[int], seconds: float) -> np.ndarray:
        """The joints (n, J, 2) of the people with these numbers, smoothed."""
        smooth = joints.copy()
        for place, number in enumerate(numbers):
            own = self._filters.setdefault(number, OneEuro(self._cutoff))
            smooth[place] = own(joints[place], seconds, extent(joints[place]))
            self._used[number] = seconds
        for number in [number for number, used in self._used.items() if seconds - used > OneEuro.FORGET]:
            del self._used[number], self._filters[number]
        return smooth


class Sizes:
    """How large people are, by the number that a Tracker gave: that changes slowly, whatever joints do.

    What is drawn as wide as people are large does not flicker with them.
    """

    CUTOFF = 0.2  # Hz, of the low-pass

    def __init__(self) -> None:
        self._known: dict[int, tuple[float, float]] = {}  # size, and the time when it was seen

    def __call__(self, sizes: Sequence[float], numbers: Sequence[int], seconds: float) -> np.ndarray:
        """The sizes (n,) of the people with these numbers, smoothed; 0 is an unknown one."""
        for number, size in zip(numbers, sizes, strict=True):
            before, when = self._known.get(number, (size, seconds))
            if size and before:
                size = before + (size - before) * _share(self.CUTOFF, seconds - when)
            self._known[number] = size or before, seconds
        recent = {key: known for key, known in self._known.items() if seconds - known[1] <= OneEuro.FORGET}
        self._known = recent
        return np.array([recent[number][0] for number in numbers])
