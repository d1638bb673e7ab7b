"""The table of `python -m bench`, a row at a time: cells that are too long go on in the next line."""

import textwrap
from itertools import zip_longest

from bench.harness import Measure, Skipped

_WIDTHS = (36, 30, 9, 9, 18, 11)  # what, plain formulation, ours, plain, ratio, goal

_UNITS = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (0.0, "ns")),
    "B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (0.0, "B")),
}
_SMALLEST = {"ns": 1e-9, "B": 1.0}


def head() -> str:
    """The names of the columns, underlined."""
    return f"{_aligned('what', 'plain formulation', 'ours', 'plain', 'ratio', 'goal')}\n{'─' * _TOTAL}"


def line(row: Measure | Skipped) -> str:
    """A row: numbers, the quartiles of the ratio in brackets, and whether the goal is reached."""
    if isinstance(row, Skipped):
        return _aligned(row.name, f"skipped: {row.why}", "", "", "", "")
    theirs = "" if row.theirs is None else quantity(row.theirs, row.unit)
    ratio = "" if row.ratio is None else f"{row.ratio:.3g}"
    if row.quartiles is not None:
        ratio += " ({:.3g}–{:.3g})".format(*row.quartiles)
    return _aligned(row.name, row.plain, quantity(row.ours, row.unit), theirs, ratio, _goal(row))


def quantity(value: float, unit: str) -> str:
    """A number in a unit that suits its size, to three digits: 0.0123 s is 12.3 ms."""
    for size, name in _UNITS.get(unit, ()):
        if abs(value) >= size:
            value, unit = value / (size or _SMALLEST[name]), name
            break
    return f"{value:.0f} {unit}" if abs(value) >= 100 else f"{value:.3g} {unit}"


def _goal(row: Measure) -> str:
    if row.goal is None:
        return ""
    bound = f"{row.goal:.3g}" if row.ratio is not None else quantity(row.goal, row.unit)
    return f"{'≤' if row.at_most else '≥'} {bound} {'✓' if row.met else '✗'}"


def _aligned(*cells: str) -> str:
    """Cells beside one another: texts to the left, numbers to the right."""
    columns = [textwrap.wrap(cell, width) for cell, width in zip(cells, _WIDTHS, strict=True)]
    lines = []
    for parts in zip_longest(*columns, fillvalue=""):
        texts = [part.ljust(width) for part, width in zip(parts[:2], _WIDTHS[:2], strict=True)]
        numbers = [part.rjust(width) for part, width in zip(parts[2:], _WIDTHS[2:], strict=True)]
        lines.append("  ".join([*texts, *numbers]).rstrip())
    return "\n".join(lines)


_TOTAL = sum(_WIDTHS) + 2 * (len(_WIDTHS) - 1)
