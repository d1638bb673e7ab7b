"""What a protocol found: a table of percentages and its curves, as text and as JSON.

print(format_table(result))
write_json(path, to_json(result))
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from src.utils.words import counted


class Score(NamedTuple):
    """A percentage, NaN if nothing counts, how many joints it is of, and perhaps its 95 % interval."""

    percent: float
    counted: int
    interval: tuple[float, float] | None = None


class Breakdown(NamedTuple):
    """What was found of groups of people, and what they are grouped by."""

    by: str
    results: "dict[str, Result]"


class Row(NamedTuple):
    """A line of a table: a score for each column."""

    label: str
    scores: tuple[Score, ...]


@dataclass(frozen=True)
class Result:
    """What a protocol found.

    sections: the table in blocks, rows by key. people: how many were scored. notes: what a reader must know
    beyond the table, such as how many people were left out. curves: percentages over `thresholds`, by key.
    breakdowns: the same for groups of the people.
    """

    protocol: str
    title: str
    people: int
    left_out: int
    notes: tuple[str, ...]
    columns: tuple[str, ...]
    sections: dict[str, dict[str, Row]]
    thresholds: np.ndarray
    curves: dict[str, np.ndarray]
    breakdowns: tuple[Breakdown, ...] = ()

    @property
    def single(self) -> str:
        """The section whose rows are no groups and no means: joints, limbs or parts."""
        return next(name for name in self.sections if name not in ("groups", "means"))


def format_table(result: Result) -> str:
    """The result as lines of text: percentages, beside each how many joints it is of, and its interval."""
    rows = [row for block in result.sections.values() for row in block.values()]
    between = any(score.interval for row in rows for score in row.scores)
    head = [""]
    for column in result.columns:
        head += [column, result.single, *(["95 %"] if between else [])]
    blocks = [
        [[row.label, *_cells(row, between)] for row in block.values()] for block in result.sections.values()
    ]
    lines = [head, *(line for block in blocks for line in block)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = [f"{result.title}, {counted(result.people)}", *result.notes, _aligned(head, widths)]
    for block in blocks:
        text += ["", *(_aligned(line, widths) for line in block)]
    for breakdown in result.breakdowns:
        text += ["", *_groups_of_people(breakdown)]
    return "\n".join(text)


def _groups_of_people(breakdown: Breakdown) -> list[str]:
    """A line for each group of people: how many they are, groups of joints and the first mean."""
    lines: list[list[str]] = []
    for label, result in breakdown.results.items():
        mean = next(iter(result.sections["means"].values()))
        rows = [*result.sections["groups"].values(), mean._replace(label="Mean")]
        first = [row.scores[0] for row in rows]
        if not lines:
            lines.append([f"by {breakdown.by}", "people", *(row.label for row in rows), result.single])
        shares = ["-" if np.isnan(score.percent) else f"{score.percent:.2f}" for score in first]
        lines.append([label, str(result.people), *shares, str(first[-1].counted)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [_aligned(line, widths) for line in lines]


def _cells(row: Row, between: bool) -> list[str]:
    cells = []
    for score in row.scores:
        low, high = score.interval or (np.nan, np.nan)
        cells += ["-" if np.isnan(score.percent) else f"{score.percent:.2f}", str(score.counted)]
        cells += [f"{low:.2f}…{high:.2f}" if low == low else ""] if between else []
    return cells


def _aligned(cells: list[str], widths: list[int]) -> str:
    label, *numbers = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join([cells[0].ljust(len(label)), *numbers]).rstrip()


def to_json(result: Result) -> dict[str, Any]:
    """The result as plain numbers; what nothing counts for is null.

    Keys: protocol, title, people, left_out, notes; groups, joints (or limbs) and means, each as {row:
    {column: percent, column_count: joints}}, with column_interval, [low, high], where there is one; curves,
    as {"threshold": [...], row: [percent, ...]}; by, if people were grouped, as {grouping: {group: the same
    without curves}}.
    """
    curves = {"threshold": result.thresholds} | result.curves
    by = {
        breakdown.by: {label: _table(each) for label, each in breakdown.results.items()}
        for breakdown in result.breakdowns
    }
    return {
        **_table(result),
        "curves": {key: [_plain(value) for value in curve] for key, curve in curves.items()},
        **({"by": by} if by else {}),
    }


def _table(result: Result) -> dict[str, Any]:
    sections = {
        section: {key: _numbers(row, result.columns) for key, row in rows.items()}
        for section, rows in result.sections.items()
    }
    return {
        "protocol": result.protocol,
        "title": result.title,
        "people": result.people,
        "left_out": result.left_out,
        "notes": list(result.notes),
        **sections,
    }


def _numbers(row: Row, columns: tuple[str, ...]) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for column, score in zip(columns, row.scores, strict=True):
        numbers |= {column: _plain(score.percent), f"{column}_count": score.counted}
        if score.interval:
            numbers[f"{column}_interval"] = [_plain(end) for end in score.interval]
    return numbers


def _plain(value: float) -> float | None:
    """A number that JSON has a word for."""
    return None if np.isnan(value) else round(float(value), 6)
