"""What is found out about the predictions of a run, whatever kind of network made them."""

import base64
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from src.errors import UserError
from src.evaluation.failures import KINDS
from src.utils.command import note
from src.utils.experiment import BEST, NEWEST
from src.utils.options import Parser, parse_test, stored_options

PIXELS = 240  # the longer side of a picture on the page
_QUALITY = 80  # of its JPEG
RANKS = ("Best", "Typical", "Worst")


@dataclass(frozen=True)
class Settings:
    """How runs are looked at.

    samples: people, or pictures with several, that the network is run on where no predictions are stored; 0:
    predictions are left out. pictures: to show of each of RANKS. anew: run the network even if there are
    predictions. device, workers: as in test.py.
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
    """What the predictions of one run show. J joints.

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


def scoring_options(folder: Path, build: Callable[[Parser], None], settings: Settings) -> Namespace:
    """The options of test.py for the run in `folder`; of several data sets that it learnt from, the first."""
    folder = folder.resolve()
    argv = ["--exp", folder.name, "--exp-dir", str(folder.parent.parent), "--device", settings.device]
    stored = stored_options(folder)
    if isinstance(stored.get("dataset"), list):
        argv += ["--dataset", str(stored["dataset"][0])]
    args = parse_test(build, "", folder.parent.name, [*argv, "--workers", str(settings.workers)])
    args.input_res = stored.get("input-res", args.input_res)
    args.batch_size = min(args.batch_size, settings.samples)
    args.valid_iters = -(-settings.samples // args.batch_size)
    return args


def checkpoint(folder: Path) -> Path:
    """The best checkpoint of a run, or the newest where none has been validated. UserError without any."""
    for path in (folder / BEST, folder / NEWEST):
        if path.is_file():
            return path
    raise UserError(f"{folder} has no checkpoint and no predictions")


def stored_files(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """The files of predictions of a run that are not older than its best checkpoint."""
    best = folder / BEST
    for path in (folder / name for name in names):
        if not path.is_file():
            continue
        if best.is_file() and path.stat().st_mtime < best.stat().st_mtime:
            note(f"{path} is older than {BEST}, and left out")
        else:
            yield path


def shares(kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The percentage of each of KINDS (J, len(KINDS)), and how often a joint counts (J,), of kinds (N, J)."""
    counts = np.stack([(kinds == kind).sum(0) for kind in range(len(KINDS))], axis=1)
    counted = counts.sum(1)
    return 100 * counts / np.where(counted > 0, counted, np.nan)[:, None], counted


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


def jpeg(image: np.ndarray) -> str:
    """A picture (H, W, 3) uint8 RGB as JPEG in base64."""
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    assert done, "an encoder that OpenCV has does not fail on uint8 pictures"
    return base64.b64encode(data.tobytes()).decode("ascii")
