"""Medians, ratios and their order, on a clock that only work moves; the table; what is skipped."""

import gc
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench import __main__ as command
from bench import harness, table
from bench.harness import (
    FEWEST,
    MOST,
    Case,
    Item,
    Measure,
    Options,
    Skipped,
    beside,
    clock,
    compare,
    summarise,
)
from src.errors import UserError


class Clock:
    """Time that passes only while something works; which work was done is remembered."""

    def __init__(self) -> None:
        self.now, self.done = 0.0, ""

    def perf_counter(self) -> float:
        return self.now

    def work(self, letter: str, *seconds: float) -> harness.Work:
        """A work that takes these seconds in turn, the last ones from then on."""
        rest = list(seconds)

        def run() -> None:
            self.done += letter
            self.now += rest.pop(0) if len(rest) > 1 else rest[0]

        return run


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(harness, "time", clock)
    return clock


def test_ratio_is_the_median_over_neighbours() -> None:
    """Pairs with ratios 2, 2, 5: the machine was four times as slow in the third pair, both works with it."""
    pairs = [(1.0, 2.0), (2.0, 4.0), (4.0, 20.0)]
    row = summarise(Case("a", "b", print, print, goal=2), pairs)
    assert (row.ours, row.theirs, row.ratio, row.quartiles, row.pairs) == (2, 4, 2, (2, 3.5), 3)
    assert row.met
    turned = summarise(Case("a", "b", print, print, goal=0.4, at_most=True), pairs)
    assert turned.ratio == 0.5
    assert not turned.met


def test_each_begins_every_other_pair(fake: Clock) -> None:
    row = compare(Case("", "", fake.work("o", 0.1), fake.work("t", 0.3)), seconds=0)
    assert fake.done[-2 * FEWEST :] == "ottoottoot"
    assert row.pairs == FEWEST
    assert row.ratio == pytest.approx(3)


def test_first_runs_do_not_count(fake: Clock) -> None:
    row = compare(Case("", "", fake.work("o", 100, 1), fake.work("t", 1, 2)), seconds=0)
    assert (row.ours, row.theirs) == (1, 2)


def test_a_case_takes_about_the_seconds_it_may(fake: Clock) -> None:
    row = compare(Case("", "", fake.work("o", 0.1), fake.work("t", 0.1)), seconds=4)
    assert row.pairs in (20, 21)  # sums of tenths are rounded
    row = compare(Case("", "", fake.work("o", 0.001), fake.work("t", 0.001)), seconds=4)
    assert row.pairs == MOST


def test_short_work_is_timed_in_packs(fake: Clock) -> None:
    """Ours is called 200 times for a time that the clock can measure; the figure is that of one call."""
    row = compare(Case("", "", fake.work("o", 1e-5), fake.work("t", 1e-3)), seconds=0)
    assert fake.done.count("o") == 2 + 200 * FEWEST
    assert fake.done.count("t") == 2 + 2 * FEWEST
    assert row.ours == pytest.approx(1e-5)
    assert row.ratio == pytest.approx(100)


def test_clock_is_the_median_of_one_work(fake: Clock) -> None:
    assert clock(fake.work("o", 9, 1, 5, 2, 3, 4), seconds=0) == 3


def test_no_garbage_is_collected_meanwhile() -> None:
    seen: list[bool] = []
    compare(Case("", "", lambda: seen.append(gc.isenabled()), lambda: None), seconds=0)
    assert not any(seen)
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Measure("", "", 5, "s"), None),
        (Measure("", "", 5, "s", goal=5), True),
        (Measure("", "", 5, "s", goal=4, at_most=True), False),
        (beside("", "", 1, 10, "B", 0.1, at_most=True), True),
        (beside("", "", 2, 10, "B", 6), False),
    ],
)
def test_goals(row: Measure, met: bool | None) -> None:
    assert row.met is met


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.01234, "s", "12.3 ms"),
        (1.5, "s", "1.5 s"),
        (4e-6, "s", "4 µs"),
        (3e-9, "s", "3 ns"),
        (0.0, "s", "0 ns"),
        (29_550_000, "B", "29.6 MB"),
        (-1500, "B", "-1.5 kB"),
        (12, "B", "12 B"),
        (1234.5, "samples/s", "1234 samples/s"),
    ],
)
def test_quantities(value: float, unit: str, text: str) -> None:
    assert table.quantity(value, unit) == text


def test_a_row_of_the_table() -> None:
    row = Measure(
        "a name that is so long that it goes on below", "plain one", 0.002, "s", 3, False, 0.006, 3, (2, 4)
    )
    first, second = table.line(row).splitlines()
    assert re.split(r"\s{2,}", first)[1:] == ["plain one", "2 ms", "6 ms", "3 (2–4)", "≥ 3 ✓"]
    assert len(first) == len(table.head().splitlines()[1])
    assert f"{first.split('  ')[0]} {second}" == row.name
    assert "skipped: no pictures" in table.line(Skipped("sample", "no pictures"))


def modules(monkeypatch: pytest.MonkeyPatch, cases: Callable[[Options], Iterator[Item]]) -> None:
    """Make `cases` those of the only module of benches."""
    module: Any = ModuleType("bench.invented")
    module.cases = cases
    monkeypatch.setitem(sys.modules, "bench.invented", module)
    monkeypatch.setattr(command, "MODULES", {"invented": "one row, and what comes then"})


def one_row(then: Exception | None = None) -> Callable[[Options], Iterator[Item]]:
    def cases(options: Options) -> Iterator[Item]:
        yield Measure("first", "plain", 1, "B", goal=2)
        if then is not None:
            raise then

    return cases


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (UserError("there are no pictures"), "there are no pictures"),
        (ModuleNotFoundError("No module named 'skimage'", name="skimage.transform"), "skimage.transform"),
    ],
)
def test_what_cannot_be_measured_is_skipped(
    error: Exception,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    modules(monkeypatch, one_row(error))
    command.main(["--json", str(tmp_path / "new" / "out.json"), "--device", "cpu"])
    written = json.loads((tmp_path / "new" / "out.json").read_text())
    assert written["machine"]["device"].startswith("CPU")
    first, skipped = written["rows"]
    assert (first["module"], first["name"], first["ours"], first["met"]) == ("invented", "first", 1, False)
    assert why in skipped["why"]
    assert "0 of 1 goals reached" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["src.models.nothing", "bench.nothing"])
def test_a_mistake_of_ours_is_not_skipped(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    modules(monkeypatch, one_row(ModuleNotFoundError("", name=name)))
    with pytest.raises(ModuleNotFoundError):
        command.main(["--json", str(tmp_path / "out.json"), "--device", "cpu"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("argv", [["evaluatoin"], ["--quik"], ["--device", "abacus"]])
def test_wrong_options_are_one_line(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(argv)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")
