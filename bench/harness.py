"""Two formulations of the same work, run in turn: a row of the table that `python -m bench` prints.

A module of benches has one function, `cases(options) -> Iterator[Item]`. It yields, one after the other, a
`Case` (two functions to be compared), a `Measure` (what is no ratio of times, or was measured in another
way), or `Skipped`. Each item is measured before the next one is asked for, so what a case needs may be made
late and dropped early. A UserError, or a package that is not there, skips the rest of the module with its
message.
"""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from src.utils.garbage import no_collection

Work = Callable[[], object]

FEWEST, MOST = 5, 201  # pairs of runs
SHORTEST = 0.002  # seconds: shorter work is repeated until it takes as long, which a clock can measure


class Options(NamedTuple):
    """What is measured on: a device, and folders of data sets, which may be missing.

    quick: only roughly. archs: of which networks, where that is asked for; none for all.
    """

    device: str
    lspet: Path
    coco: Path
    quick: bool = False
    archs: Sequence[str] = ()

    @property
    def seconds(self) -> float:
        """How long a case may take, where it is not slower than that."""
        return 0.5 if self.quick else 4.0


class Case(NamedTuple):
    """The same work in this project's formulation and in a plain one, which `plain` names in a few words.

    ours, theirs: functions that return when the work is done (on a GPU, after synchronising). goal: the ratio
    theirs / ours at least; with at_most, the ratio ours / theirs at most, for work that has something to do
    beyond the plain one.
    """

    name: str
    plain: str
    ours: Work
    theirs: Work
    goal: float | None = None
    at_most: bool = False


@dataclass(frozen=True)
class Measure:
    """A row of the table.

    ours, theirs: in `unit`, which is s, B (bytes), or a word to be shown as it is; theirs None where there is
    nothing to compare with. ratio: what the goal is for if there is one: theirs / ours, or ours / theirs with
    at_most. Without a ratio the goal is for `ours`. quartiles: of the ratios of neighbouring runs.
    """

    name: str
    plain: str
    ours: float
    unit: str
    goal: float | None = None
    at_most: bool = False
    theirs: float | None = None
    ratio: float | None = None
    quartiles: tuple[float, float] | None = None
    pairs: int | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        if self.goal is None:
            return None
        value = self.ours if self.ratio is None else self.ratio
        return value <= self.goal if self.at_most else value >= self.goal


class Skipped(NamedTuple):
    """What cannot be measured here, and why."""

    name: str
    why: str


Item = Case | Measure | Skipped


def beside(
    name: str, plain: str, ours: float, theirs: float, unit: str, goal: float | None, at_most: bool = False
) -> Measure:
    """The row of two numbers that were measured once, such as bytes."""
    return Measure(name, plain, ours, unit, goal, at_most, theirs, _ratio(ours, theirs, at_most))


def compare(case: Case, seconds: float = 4.0, fewest: int = FEWEST) -> Measure:
    """Run both functions of a case in turn for about `seconds`, and at least `fewest` times each.

    Both run before, uncounted. Every other pair begins with the plain one, so that neither profits from
    what the other leaves in caches or takes from the clock of the processor. The ratio is the median over
    pairs: what slows the machine for a while slows both of a pair.
    """
    gc.collect()  # before and not within, where it would hit one of the two at random
    with no_collection():
        calls = _calls(case.ours), _calls(case.theirs)
        pairs: list[tuple[float, float]] = []
        end = time.perf_counter() + seconds
        while len(pairs) < fewest or (time.perf_counter() < end and len(pairs) < MOST):
            if len(pairs) % 2:
                theirs = _time(case.theirs, calls[1])
                ours = _time(case.ours, calls[0])
            else:
                ours = _time(case.ours, calls[0])
                theirs = _time(case.theirs, calls[1])
            pairs.append((ours, theirs))
    return summarise(case, pairs)


def clock(work: Work, seconds: float) -> float:
    """The median of the seconds that a work takes alone, for goals that are times."""
    gc.collect()  # before and not within, where it would hit one of the two at random
    with no_collection():
        calls = _calls(work)
        end = time.perf_counter() + seconds
        times = [_time(work, calls)]
        while len(times) < FEWEST or (time.perf_counter() < end and len(times) < MOST):
            times.append(_time(work, calls))
    return statistics.median(times)


def summarise(case: Case, pairs: Sequence[tuple[float, float]]) -> Measure:
    """The medians of the seconds (ours, theirs), at least two pairs; median and quartiles of their ratios."""
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = [_ratio(*pair, case.at_most) for pair in pairs]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Measure(
        case.name, case.plain, ours, "s", case.goal, case.at_most, theirs, middle, (low, high), len(pairs)
    )


def _ratio(ours: float, theirs: float, at_most: bool) -> float:
    return ours / theirs if at_most else theirs / ours


def _time(work: Work, calls: int) -> float:
    """Seconds a call."""
    start = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - start) / calls


def _calls(work: Work) -> int:
    """How many calls to time together. Runs the work once or twice: a first run may compile or import."""
    if _time(work, 1) > 100 * SHORTEST:
        return 1
    return max(1, round(SHORTEST / max(_time(work, 1), 1e-7)))
