"""Scores of several runs side by side: read from JSON files, as a table, drawn as bars or as curves.

A file has a title and figures, which are shares from 0 to 1, or null: {"title": "Newell et al.", "figures":
{"AP": 0.593, "AP50": 0.82}}. `hgpose-ae/test.py --json` writes such files; those of publications are short.
`hgpose/test.py --json` writes what a protocol found (src/evaluation/results.py): its figures are those of the
groups of joints and the means, and there are curves over the threshold of an error that counts as correct.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from src.errors import UserError, suggest
from src.utils.curves import COLOURS, STYLE, End, label_ends, look_of, save_figure, take_literally

_GROUP = 0.84  # the share of the axis that the bars of a figure take


@dataclass(frozen=True)
class Scores:
    """What one run reached: figures by name, from 0 to 1, NaN where there is none.

    intervals: the ends of those that have one. curves: percentages by name over the thresholds under
    "threshold".
    """

    label: str
    figures: dict[str, float]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)

    def content(self) -> dict[str, Any]:
        """What a JSON file has of it: title, figures and, if there are any, intervals."""
        return {"title": self.label, "figures": self.figures} | (
            {"intervals": self.intervals} if self.intervals else {}
        )


def read_all(paths: Sequence[Path], labels: Sequence[str] | None, protocol: str | None) -> list[Scores]:
    """The scores in JSON files, by one protocol: `protocol`, or the first that all of them have.

    labels: what to call them instead of their titles. UserError for a file that is missing or holds no
    figures, and for files without a common protocol.
    """
    files = [_by_protocol(path) for path in paths]
    common = [name for name in files[0] if all(name in each for each in files)]
    if protocol and protocol not in common:
        lacking = next(path for path, each in zip(paths, files, strict=True) if protocol not in each)
        raise UserError(f"{lacking} holds no figures by --protocol {protocol}")
    if not common:
        held = "; ".join(f"{path}: {', '.join(each)}" for path, each in zip(paths, files, strict=True))
        raise UserError(f"the files have no protocol in common ({held})")
    chosen, scores = protocol or common[0], []
    for path, each in zip(paths, files, strict=True):
        try:
            scores.append(_scores(each[chosen], path))
        except (AttributeError, IndexError, StopIteration, TypeError, ValueError) as error:
            raise UserError(f"{path} is not as test.py --json writes it ({error!r})") from None
    if not labels:
        return scores
    return [replace(each, label=label) for each, label in zip(scores, labels, strict=True)]


def _by_protocol(path: Path) -> dict[str, dict[str, Any]]:
    """What a JSON file holds by each protocol; figures alone are by "ap"."""
    from src.datasets.files import load_json  # it is slow, and so is Matplotlib

    content = load_json(path)
    further = content.get("further", []) if isinstance(content, dict) else None
    each = [content, *further] if isinstance(further, list) else []
    if not each or not all(isinstance(one, dict) and (_shares(one) or _percentages(one)) for one in each):
        raise UserError(f"{path} holds no figures; test.py --json writes them")
    return {str(one.get("protocol", "ap")): one for one in each}


def _shares(content: dict[str, Any]) -> dict[str, Any]:
    figures = content.get("figures")
    return figures if isinstance(figures, dict) else {}


def _percentages(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of groups, of means by short names ("pckh_auc" is "auc"), and of limbs that are too long."""
    prefix = str(content.get("protocol", "")).replace("-", "_") + "_"
    rows: dict[str, dict[str, Any]] = {}
    for section, suffix in (("groups", ""), ("means", ""), ("parts", " too long")):
        part = content.get(section, {})
        if not isinstance(part, dict) or not all(isinstance(row, dict) for row in part.values()):
            return {}
        rows |= {key.removeprefix(prefix) + suffix: row for key, row in part.items()}
    return rows


def _scores(content: dict[str, Any], path: Path) -> Scores:
    rows = _percentages(content)
    if not rows:
        pairs = content.get("intervals", {}).items()
        stored = {name: (float(low), float(high)) for name, (low, high) in pairs}
        return Scores(str(content.get("title") or path.stem), _checked(_shares(content), path), stored)
    column = next(iter(next(iter(rows.values()))))  # the first: "all", or strict PCP
    percent = {name: row.get(column) for name, row in rows.items()}
    shares = {n: p / 100 if isinstance(p, int | float) else p for n, p in percent.items()}
    ends = {name: row.get(f"{column}_interval") for name, row in rows.items()}
    known = {name: (end[0] / 100, end[1] / 100) for name, end in ends.items() if end and None not in end}
    curves = {
        name: [math.nan if value is None else float(value) for value in curve]
        for name, curve in content.get("curves", {}).items()
    }
    return Scores(path.stem, _checked(shares, path), known, curves if len(curves) > 1 else {})


def _checked(figures: dict[str, Any], path: Path) -> dict[str, float]:
    wrong = [name for name, value in figures.items() if not _is_share(value)]
    if wrong:
        raise UserError(f"{path}: {wrong[0]} is {figures[wrong[0]]!r}, not a share from 0 to 1")
    return {name: math.nan if value is None else float(value) for name, value in figures.items()}


def _is_share(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and 0 <= value <= 1)


def table(scores: Sequence[Scores]) -> str:
    """The figures in percent as text: a row for each run; a column for each if there are intervals."""
    names = names_of(scores)
    lines = [["", *names], *([each.label, *(_cell(each, name) for name in names)] for each in scores)]
    if any(each.intervals for each in scores):
        lines = [list(column) for column in zip(*lines, strict=True)]
    first, *widths = (max(map(len, column)) for column in zip(*lines, strict=True))
    return "\n".join(
        line[0].ljust(first)
        + "".join(cell.rjust(max(5, width) + 2) for cell, width in zip(line[1:], widths, strict=True))
        for line in lines
    )


def markdown(scores: Sequence[Scores]) -> str:
    """The table in Markdown, the highest figure of several runs bold."""
    names = names_of(scores)
    rows = [[each.label, *_marked(scores, each, "**{}**".format)] for each in scores]
    cells = [["", *names], ["---", *["---:"] * len(names)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells)


def latex(scores: Sequence[Scores]) -> str:
    """The table as a LaTeX tabular, the highest figure of several runs bold."""
    names = names_of(scores)
    rows = [[_escaped(each.label), *_marked(scores, each, r"\textbf{{{}}}".format)] for each in scores]
    lines = [" & ".join(row) + r" \\" for row in [["", *map(_escaped, names)], *rows]]
    body = [lines[0], r"\hline", *lines[1:]]
    return "\n".join([rf"\begin{{tabular}}{{l{'r' * len(names)}}}", *body, r"\end{tabular}"])


TABLES: dict[str, Callable[[Sequence[Scores]], str]] = {"text": table, "md": markdown, "tex": latex}


def _marked(scores: Sequence[Scores], own: Scores, mark: Callable[[str], str]) -> list[str]:
    """The cells of a run, those marked that no other run exceeds, and some other does not reach."""
    cells = []
    for name in names_of(scores):
        values = [value for each in scores if not math.isnan(value := each.figures.get(name, math.nan))]
        is_best = name in own.figures and min(values, default=0) < own.figures[name] == max(values)
        cell = _cell(own, name)
        cells.append(mark(cell) if is_best else cell)
    return cells


def _cell(scores: Scores, name: str) -> str:
    value, ends = scores.figures.get(name, math.nan), scores.intervals.get(name)
    between = f" ({100 * ends[0]:.1f}–{100 * ends[1]:.1f})" if ends else ""
    return "–" if math.isnan(value) else f"{100 * value:.1f}{between}"


_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def _escaped(text: str) -> str:
    return re.sub(r"[\\~^&%$#_{}]", lambda found: _LATEX.get(found[0], "\\" + found[0]), text)


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
            colour = _colour(run)
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


def draw_curves(scores: Sequence[Scores], names: Sequence[str], out: Path, width: float = 9.0) -> None:
    """Write one figure with a panel for each name: percentages over the threshold, a colour and dash a run.

    Runs are named where their lines end, or below if there are several panels.

    names: of curves; none: the mean and the groups of joints. out, width: as in `draw_bars`. UserError for a
    name that no run has a curve of, and if `out` cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    known = list(dict.fromkeys(name for each in scores for name in each.curves if name != "threshold"))
    for name in names:
        if name not in known:
            there = ", ".join(known)
            raise UserError(f"no run has a curve of {name!r}{suggest(name, known)}; there are {there}")
    wanted = names or [name for name in known if name.endswith("_mean") or name in scores[0].figures]
    across = min(len(wanted), max(1, int(width // 2.2)))
    down = -(-len(wanted) // across)
    with matplotlib.rc_context(STYLE):
        size = (width, down * 0.85 * width / max(across, 2) + 0.5)
        figure = Figure(figsize=size, dpi=200, layout="constrained")
        panels = list(figure.subplots(down, across, squeeze=False, sharey=True).flat)
        for panel, name in zip(panels, wanted, strict=False):
            for run, each in enumerate(scores):
                if name in each.curves:
                    panel.plot(each.curves["threshold"], each.curves[name], **look_of(run))
            panel.set_title(name.replace("_", " "))
            panel.set_ylim(0, 100)
            panel.set_xlim(left=0)
        for panel in panels[len(wanted) :]:
            panel.remove()
        for panel in panels[max(0, len(wanted) - across) : len(wanted)]:  # nothing is below
            panel.set_xlabel("threshold")
        for panel in panels[: len(wanted) : across]:
            panel.set_ylabel("correct, %")
        if len(wanted) == 1:
            figure.draw_without_rendering()  # labels need to know how high the panel is
            label_ends(panels[0], _ends(scores, wanted[0]))
        else:
            handles = [_line(run, each.label) for run, each in enumerate(scores)]
            columns = max(1, int(width // 3))
            take_literally(
                figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
            )
        save_figure(figure, out)


def _colour(run: int) -> str:
    return COLOURS[run % len(COLOURS)]


def _ends(scores: Sequence[Scores], name: str) -> list[End]:
    """Where the curves of a name end that have an end."""
    ends = []
    for run, each in enumerate(scores):
        if name in each.curves and not math.isnan(last := each.curves[name][-1]):
            ends.append(End(each.label, _colour(run), each.curves["threshold"][-1], last))
    return ends


def _line(run: int, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], **look_of(run), label=label)
