"""What is found out about the predictions of a run, whatever kind of network made them."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from src.datasets.images import BadImage
from src.evaluation.failures import KINDS
from src.evaluation.pck import Tally
from src.utils.command import note

PIXELS = 240  # the longer side of a picture on the page
_QUALITY = 80  # of its JPEG
RANKS = ("Best", "Typical", "Worst")


@dataclass(frozen=True)
class Settings:
    """How runs are looked at.

    samples: people of each data set, or pictures with several, that the network is run on where no
    predictions are stored; 0: predictions are left out. pictures: to show of each of RANKS. anew: run the
    network even if there are predictions. device, workers: as in test.py.
    """

    samples: int = 300
    pictures: int = 6
    anew: bool = False
    device: str = "auto"
    workers: int = 2


class Table(NamedTuple):
    """Rows of percentages by name, NaN where nothing counts; counts: of how many joints or people each is."""

    columns: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]
    counts: dict[str, int]


class Shown(NamedTuple):
    """A picture: its JPEG in base64, its name, and what there is to say about it."""

    data: str
    name: str
    caption: str


@dataclass(frozen=True)
class Findings:
    """What the predictions of one run for one data set show. J joints.

    title: what they were scored by, and on. source: where they come from. notes: what a reader must know.
    tables: by their captions. thresholds, curves: percentages of joints within a threshold, by name.
    errors (K,): of joints, in `unit`, of which up to `limit` is right (None: that depends on the joint).
    kinds: the share of each of KINDS, (J, len(KINDS)), NaN for a joint that never counts; counted (J,).
    pictures: by RANKS.
    """

    title: str
    source: str
    notes: tuple[str, ...]
    tables: dict[str, Table]
    thresholds: list[float]
    curves: dict[str, list[float]]
    errors: np.ndarray
    unit: str
    limit: float | None
    joints: tuple[str, ...]
    kinds: np.ndarray
    counted: np.ndarray
    pictures: dict[str, list[Shown]] = field(default_factory=dict)


def shares(kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The percentage of each of KINDS (J, len(KINDS)), and how often a joint counts (J,), of kinds (N, J)."""
    counts = np.stack([(kinds == kind).sum(0) for kind in range(len(KINDS))])
    counted = counts.sum(0)
    return Tally(counts, counted).percent().T, counted


def ranked(badness: np.ndarray, eligible: np.ndarray, count: int) -> dict[str, list[int]]:
    """Which of N to show of each of RANKS: the least bad, those about the median, the worst first.

    badness (N,): rises with errors, NaN where nobody can tell; eligible (N,) bool: who is shown first.
    Nobody is shown twice.
    """
    rows = np.flatnonzero(np.isfinite(badness) & eligible)
    order = rows[np.argsort(badness[rows], kind="stable")].tolist()
    count = min(count, len(order) // len(RANKS) or len(order))
    middle = (len(order) - count) // 2
    parts = [order[:count], order[middle : middle + count], order[::-1][:count]]
    if len(order) < len(RANKS):  # too few to tell apart
        parts = [order, [], []]
    return dict(zip(RANKS, parts, strict=True))


def gallery(
    badness: np.ndarray, eligible: np.ndarray, count: int, show: Callable[[int], Shown]
) -> dict[str, list[Shown]]:
    """What `show` makes of `ranked` places; pictures that cannot be read are left out with a note."""

    def readable(place: int) -> list[Shown]:
        try:
            return [show(place)]
        except BadImage as reason:
            note(str(reason))
            return []

    return {
        rank: [shown for place in places for shown in readable(place)]
        for rank, places in ranked(badness, eligible, count).items()
    }


def jpeg(image: np.ndarray) -> str:
    """A picture (H, W, 3) uint8 RGB as JPEG in base64."""
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    assert done, "an encoder that OpenCV has does not fail on uint8 pictures"
    return base64.b64encode(data.tobytes()).decode("ascii")
