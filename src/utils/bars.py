"""Scores of several runs side by side, such as AP and AR: read from JSON files, as a table, drawn as bars.

A file has a title and figures, which are shares from 0 to 1, or null: {"title": "Newell et al.", "figures":
{"AP": 0.593, "AP50": 0.82}}. `hgpose-ae/test.py --json` writes such files; those of publications are short.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.errors import UserError
from src.utils.curves import COLOURS, STYLE, save_figure, take_literally

_GROUP = 0.84  # the share of the axis that the bars of a figure take


@dataclass(frozen=True)
class Scores:
    """What one run reached: figures by name, from 0 to 1, NaN where there is none."""

    label: str
    figures: dict[str, float]


def read_scores(path: Path, label: str | None = None) -> Scores:
    """The figures in a JSON file. label: what to call them instead of their title.

    UserError for a file that is missing or holds no figures.
    """
    from src.datasets.files import load_json  # it is slow, and so is Matplotlib

    content = load_json(path)
    figures = content.get("figures") if isinstance(content, dict) else None
    if not isinstance(figures, dict) or not figures:
        raise UserError(f"{path} holds no figures; hgpose-ae/test.py --json writes them")
    wrong = [name for name, value in figures.items() if not _is_share(value)]
    if wrong:
        raise UserError(f"{path}: {wrong[0]} is {figures[wrong[0]]!r}, not a share from 0 to 1")
    values = {name: math.nan if value is None else float(value) for name, value in figures.items()}
    return Scores(label or str(content.get("title") or path.stem), values)


def _is_share(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and 0 <= value <= 1)


def table(scores: Sequence[Scores]) -> str:
    """The figures in percent as text: a row for each run, a column for each figure."""
    names = names_of(scores)
    width = max(len(each.label) for each in scores)
    lines = [" " * width + "".join(f"{name:>7}" for name in names)]
    for each in scores:
        values = (each.figures.get(name, math.nan) for name in names)
        cells = ("–" if math.isnan(value) else f"{100 * value:.1f}" for value in values)
        lines.append(each.label.ljust(width) + "".join(f"{cell:>7}" for cell in cells))
    return "\n".join(lines)


def draw_bars(scores: Sequence[Scores], out: Path, width: float = 9.0) -> None:
    """Write one chart with a group of bars for each figure, in percent, a colour a run.

    out: .png, .pdf or .svg, replaced as a whole. width: inches. UserError if `out` cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    names = names_of(scores)
    thickness = _GROUP / len(scores)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, 0.4 * width + 0.22 * len(scores)), dpi=200, layout="constrained")
        panel = figure.subplots()
        panel.grid(axis="x", visible=False)
        for run, each in enumerate(scores):
            values = [100 * each.figures.get(name, math.nan) for name in names]
            places = [place + (run - (len(scores) - 1) / 2) * thickness for place in range(len(names))]
            colour = COLOURS[run % len(COLOURS)]
            bars = panel.bar(places, values, 0.92 * thickness, color=colour, label=each.label, zorder=2)
            written = ["" if math.isnan(value) else f"{value:.1f}" for value in values]
            size = min(7.0, 72 * width * thickness / (len(names) * 2.6))
            panel.bar_label(bars, written, fontsize=size, padding=1, color="#404040")
        panel.set_xticks(range(len(names)), names)
        panel.tick_params(axis="x", length=0)
        panel.set_ylim(0, 104)
        panel.set_title("%")
        take_literally(
            figure.legend(loc="outside lower center", ncols=max(1, int(width // 3)), frameon=False)
        )
        save_figure(figure, out)


def names_of(scores: Sequence[Scores]) -> list[str]:
    """The figures that any of the runs has, in the order in which they come."""
    return list(dict.fromkeys(name for each in scores for name in each.figures))
