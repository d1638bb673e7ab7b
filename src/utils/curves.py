"""Logs of runs: found, read, summed up in a table, and drawn on one figure.

A run is a folder with log.csv, a row an epoch, and options.json (see src.utils.experiment). A metric M stands
for the columns train_M and valid_M, or for a plain column M. Matplotlib is imported on use: it is slow.
"""

import csv
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from src.errors import UserError, suggest
from src.utils.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".pdf", ".svg")
AXES = {  # column, its unit
    "epoch": ("epoch", 1.0),
    "step": ("step", 1.0),
    "minute": ("seconds", 60.0),
    "hour": ("seconds", 3600.0),
}

# Okabe and Ito's colours, which stay apart with any colour vision; wine for the yellow that white swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#661100")
MARKERS = "os^DvPX"  # seven, so that colour and marker together repeat after 56 runs
# Lines of five kinds tell runs apart in grey, too.
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.6, 1.2, 1.6)), (0, (2.6, 1.4)))
LABEL = 8.0  # points; the size of a label where a line ends
_LINE = 1.25 * LABEL  # from one such label to the next

STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.edgecolor": "#808080",
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "svg.hashsalt": "curves",  # the same data give the same file
    "pdf.fonttype": 42,
}

# Options that name a run, or that change how it goes but not what comes out.
_SAME_RESULT = {
    "exp", "exp-dir", "continue", "config", "json", "final-predictions", "workers", "save-every",
    "snapshot-every", "log-every", "report",
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What one run logged: `log` maps a column to a number an epoch, NaN where nothing was measured."""

    label: str
    folder: Path
    log: dict[str, list[float]]
    options: dict[str, Any]

    @property
    def started(self) -> bool:
        """Whether there is a row."""
        return any(self.log.values())

    def curve(self, column: str, by: str = "epoch") -> tuple[list[float], list[float]]:
        """x and y of the epochs where `column` was measured; empty without such a column."""
        source, unit = AXES[by]
        if source not in self.log:
            raise UserError(f"{self.folder / 'log.csv'} has no column {source!r}, which --by {by} needs")
        measured = [
            (x / unit, y)
            for x, y in zip(self.log[source], self.log.get(column, []), strict=False)
            if math.isfinite(x) and math.isfinite(y)
        ]
        return [x for x, _ in measured], [y for _, y in measured]

    def solid(self, metric: str) -> str:
        """The column that a run is judged by: valid_M, or a plain M."""
        return f"valid_{metric}" if f"valid_{metric}" in self.log else metric


@dataclass(frozen=True)
class Summary:
    """A row of the table: `metric` is the column that best, at best_epoch, and last are of.

    They are None where it was not measured, and best and best_epoch for a metric that is no accuracy or loss.
    """

    run: str
    folder: str
    epoch: float
    metric: str
    best: float | None
    best_epoch: float | None
    last: float | None
    hours: float | None
    options: dict[str, Any]


def find_run(name: str, exp_dir: Path) -> Path:
    """The folder of a run given as `task/name` in `exp_dir`, or as a path.

    UserError, with the nearest run there is, if there is none.
    """
    for folder in (exp_dir / name, Path(name)):
        if _is_run(folder):
            return folder
    if Path(name).is_absolute():
        raise UserError(f"{name} is no run: it has neither options.json nor log.csv")
    known = sorted(path.relative_to(exp_dir).as_posix() for path in exp_dir.glob("*/*") if _is_run(path))
    namesakes = [run for run in known if run.endswith(f"/{name}")]
    near = suggest(namesakes[0] if namesakes else name, known)
    there = f"; there are {', '.join(known[:8])}{' …' * (len(known) > 8)}" if known else ", which has no runs"
    raise UserError(f"there is no run {name!r} in {exp_dir}{near or there}")


def _is_run(folder: Path) -> bool:
    return (folder / "options.json").is_file() or (folder / "log.csv").is_file()


def read_run(folder: Path, label: str) -> Run:
    """The log and the options of a run as they stand now; no rows and no options where files are missing."""
    return Run(label, folder, _read_log(folder / "log.csv"), _read_options(folder / "options.json"))


def _read_log(path: Path) -> dict[str, list[float]]:
    """Columns of a log. A last row without its end of line or with too few cells is still being written."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    whole = text[: text.rfind("\n") + 1]
    rows = [row for row in csv.reader(whole.splitlines()) if row]
    if not rows:
        return {}
    header, *rows = rows
    if "epoch" not in header:
        raise UserError(f"{path} is no log of a run: its first line names no column 'epoch'")
    if rows and len(rows[-1]) < len(header):
        rows.pop()
    columns: dict[str, list[float]] = {column: [] for column in header}
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise UserError(f"{path}: row {number} has {len(row)} cells, the header {len(header)}")
        for column, cell in zip(header, row, strict=True):
            try:
                columns[column].append(float(cell) if cell else math.nan)
            except ValueError:
                raise UserError(f"{path}: row {number}, {column}: {cell!r} is no number") from None
    return columns


def _read_options(path: Path) -> dict[str, Any]:
    try:
        options = json.loads(path.read_text())["options"]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path} is damaged: it must be JSON with the run's options in it") from None
    return {key: value for key, value in options.items() if key not in _SAME_RESULT}


def metrics_of(runs: Sequence[Run]) -> list[str]:
    """The metrics that some run logs, in the order of its columns."""
    columns = [column for run in runs for column in run.log]
    bases = [column.removeprefix("train_").removeprefix("valid_") for column in columns]
    return list(dict.fromkeys([*bases, *columns]))


def check_metrics(metrics: Sequence[str], runs: Sequence[Run]) -> None:
    """UserError, with the nearest one there is, for a metric that no run logs."""
    known = metrics_of(runs)
    for metric in metrics:
        if metric not in known:
            there = ", ".join(name for name in known if not name.startswith(("train_", "valid_", "acc_")))
            raise UserError(f"no run logs a column {metric!r}{suggest(metric, known)}; there are {there}")


def is_accuracy(metric: str) -> bool:
    """Whether a metric is a share, to be shown in percent, of which more is better."""
    name = metric.removeprefix("train_").removeprefix("valid_")
    return name.startswith("acc") or name in ("ap", "ap50", "ar")


def best_index(metric: str, values: Sequence[float]) -> int | None:
    """Where the highest accuracy or the lowest loss is; None for other metrics and for no values."""
    if not values or not (is_accuracy(metric) or "loss" in metric):
        return None
    return values.index(max(values) if is_accuracy(metric) else min(values))


def summarise(runs: Sequence[Run], metric: str) -> list[Summary]:
    """A row of the table for each run, with the options in which the runs differ."""
    differing = differing_options(runs)
    rows = []
    for run in runs:
        epochs, values = run.curve(run.solid(metric))
        best = best_index(metric, values)
        _, hours = run.curve("seconds")
        rows.append(
            Summary(
                run=run.label,
                folder=str(run.folder),
                epoch=run.log["epoch"][-1],
                metric=run.solid(metric),
                best=None if best is None else values[best],
                best_epoch=None if best is None else epochs[best],
                last=values[-1] if values else None,
                hours=hours[-1] / 3600 if hours else None,
                options={key: run.options.get(key) for key in differing},
            )
        )
    return rows


def differing_options(runs: Sequence[Run]) -> list[str]:
    """The options that all runs with stored options have, and not with the same value."""
    stored = [run.options for run in runs if run.options]
    if not stored:
        return []
    shared = [key for key in stored[0] if all(key in options for options in stored)]
    return [key for key in shared if any(options[key] != stored[0][key] for options in stored)]


def table(rows: Sequence[Summary], metric: str) -> str:
    """The rows as text in columns, numbers to the right."""
    kind = "valid " if any(row.metric == f"valid_{metric}" for row in rows) else ""
    names = ["run", "epoch", f"best {kind}{title_of(metric)}", "at epoch", "last", "hours", *rows[0].options]
    cells = [
        [
            row.run,
            f"{row.epoch:g}",
            shown(metric, row.best),
            "–" if row.best_epoch is None else f"{row.best_epoch:g}",
            shown(metric, row.last),
            "–" if row.hours is None else f"{row.hours:.2f}",
            *(word(value) for value in row.options.values()),
        ]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in [names, *cells]
    ]
    return "\n".join(lines)


def shown(metric: str, value: float | None) -> str:
    """A value of a metric as people read it."""
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if is_accuracy(metric) else f"{value:.4g}"


def word(value: Any) -> str:
    """The value of an option as people read it."""
    if isinstance(value, list):
        return ",".join(word(item) for item in value)
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


# What logs call shortly.
_TITLES = {
    "kt": "$k_t$", "measure": "convergence measure", "lr": "learning rate",
    "ap": "AP", "ap50": "AP at OKS 0.5", "ar": "AR",
}  # fmt: skip


def title_of(metric: str) -> str:
    joint = metric.removeprefix("acc_")
    return metric if joint == metric else f"accuracy, {joint.replace('_', ' ')}"


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """The mean over `window` values around each, over fewer at the ends (as many on either side)."""
    means = []
    for i in range(len(values)):
        reach = min(window // 2, i, len(values) - 1 - i)
        near = values[i - reach : i + reach + 1]
        means.append(sum(near) / len(near))
    return means


def draw(
    runs: Sequence[Run],
    metrics: Sequence[str],
    out: Path,
    by: str = "epoch",
    smooth: int = 1,
    width: float = 9.0,
    training: bool = True,
) -> None:
    """Write one figure with a panel a metric: validation wide, training thin, a colour and dash a run.

    Where nothing of what is drawn was measured in validation, such as k_t, training is wide. training: False
    leaves it out where there is validation.

    A run's name stands where its line ends, a marker at its best value. out: .png, .pdf or .svg, replaced as
    a whole. by: a key of AXES. smooth: how many measured values each point is the mean of. width: inches;
    panels of a narrow figure stand one above the other. UserError if `out` cannot be written or a run lacks
    the column for `by`.
    """
    import matplotlib
    from matplotlib.figure import Figure

    side_by_side = width >= 3 * len(metrics)
    rows, columns = (1, len(metrics)) if side_by_side else (len(metrics), 1)
    both = training and any(run.solid(metric) in run.log for run in runs for metric in metrics)
    height = max(2.1, 0.56 * width / columns, (len(runs) * _LINE + 50) / 72)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, rows * height + 0.22), dpi=200, layout="constrained")
        panels = list(figure.subplots(rows, columns, squeeze=False).flat)
        ends = [
            _draw_panel(panel, runs, metric, by, smooth, both, training)
            for panel, metric in zip(panels, metrics, strict=True)
        ]
        handles = _style_handles(both, any(best_index(metric, [0]) is not None for metric in metrics))
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
        figure.draw_without_rendering()  # how high panels are is known when they are laid out
        for panel, lines in zip(panels, ends, strict=True):
            label_ends(panel, lines)
        save_figure(figure, out)


def look_of(index: int) -> dict[str, Any]:
    """The colour and the dashes of a run's line."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index % len(DASHES)]}


def _marker_of(index: int) -> dict[str, Any]:
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def _style_handles(both: bool, marked: bool) -> list[Any]:
    """What the legend says of all runs."""
    from matplotlib.lines import Line2D

    grey = "#606060"
    widths = [
        Line2D([], [], color=grey, linewidth=1.8, label="validation"),
        Line2D([], [], color=grey, linewidth=0.8, alpha=0.75, label="training"),
    ]
    best = [Line2D([], [], color=grey, linestyle="", marker=MARKERS[0], markersize=5, label="best")]
    return widths * both + best * marked


class End(NamedTuple):
    """Where a line ends, in data of its panel, and what it is called."""

    label: str
    colour: str
    x: float
    y: float


def label_ends(panel: "Axes", ends: Sequence[End]) -> None:
    """Write names to the right of a panel that is laid out: near the ends of lines, none over another."""
    from matplotlib.lines import Line2D

    if not ends:
        return
    to_panel = panel.transScale + panel.transLimits
    points = [to_panel.transform((end.x, end.y)).tolist() for end in ends]
    figure = panel.get_figure(root=True)
    assert figure is not None
    height = panel.get_window_extent().height * 72 / figure.dpi  # in points
    places = apart([y for _, y in points], _LINE / height)
    for end, (x, y), place in zip(ends, points, places, strict=True):
        lead: Any = {"color": end.colour, "linewidth": 0.6, "alpha": 0.6, "zorder": 1, "clip_on": False}
        panel.add_artist(Line2D([x, 1.0, 1.015], [y, place, place], transform=panel.transAxes, **lead))
        panel.text(
            1.025, place, end.label, transform=panel.transAxes, color=end.colour, fontsize=LABEL,
            verticalalignment="center_baseline", parse_math=False,
        )  # fmt: skip


def apart(places: Sequence[float], gap: float, low: float = 0.0, high: float = 1.0) -> list[float]:
    """Places moved as little as can be to be `gap` apart, in their order, from `low` to `high`.

    The least sum of squared moves: isotonic regression by pooling neighbours. Too many go beyond `high`.
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    pools: list[tuple[float, int]] = []  # the mean of places less the gaps before them, and of how many
    for rank, index in enumerate(order):
        pools.append((places[index] - rank * gap, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (upper, more), (lower, some) = pools.pop(), pools.pop()
            pools.append(((lower * some + upper * more) / (some + more), some + more))
    means = [mean for mean, count in pools for _ in range(count)]
    highest = max(low, high - (len(places) - 1) * gap)
    moved = {index: min(max(means[rank], low), highest) + rank * gap for rank, index in enumerate(order)}
    return [moved[index] for index in range(len(places))]


def _draw_panel(
    panel: "Axes", runs: Sequence[Run], metric: str, by: str, smooth: int, both: bool, training: bool
) -> list[End]:
    """Draw the lines of a metric; returns where the wide ones end."""
    factor = 100 if is_accuracy(metric) else 1
    drawn, ends = list[float](), dict[int, End]()
    for i, run in enumerate(runs):
        look = look_of(i)
        wide = {**look, "linewidth": 1.8, "zorder": 3}
        thin = {**look, "linewidth": 0.8, "alpha": 0.75, "zorder": 2} if both else wide
        lines = ((f"train_{metric}", thin), (run.solid(metric), wide))
        for column, line in lines if training or run.solid(metric) not in run.log else lines[1:]:
            x, values = run.curve(column, by)
            y = [factor * value for value in smoothed(values, smooth)]
            panel.plot(x, y, **line, marker="." if len(x) == 1 else None)  # a line needs two points
            drawn += y
            best = best_index(metric, values) if column == run.solid(metric) else None
            if best is not None:
                marker: dict[str, Any] = {"markersize": 6, "markeredgecolor": "white", "zorder": 4}
                panel.plot(x[best], y[best], **_marker_of(i), **marker)
            if x and line is wide:
                ends[i] = End(run.label, look["color"], x[-1], y[-1])
    panel.set_title(_TITLES.get(metric, title_of(metric)) + (", %" if is_accuracy(metric) else ""))
    panel.set_xlabel(f"{by}s of training" if by in ("minute", "hour") else by)
    panel.margins(x=0.02)
    _scale_axes(panel, drawn, by, share=is_accuracy(metric))
    return list(ends.values())


def _scale_axes(panel: "Axes", values: list[float], by: str, share: bool) -> None:
    """Few clear ticks; a logarithmic y axis where positive values span more than a factor of five.

    So it is on both sides of 0 where values of either sign are far larger than most, as balance is at first.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    if by not in ("minute", "hour"):
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if by == "step":
        panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1000:g}k" if x else "0"))
    if share:
        panel.set_ylim(bottom=max(0.0, panel.get_ylim()[0]))
    elif spans_decades(values):
        decades = math.log10(max(values) / min(values))
        panel.set_yscale("log")
        steps = (1, 1.5, 2, 3, 5, 7) if decades < 1 else (1, 2, 5) if decades < 3 else (1,)
        panel.yaxis.set_major_locator(LogLocator(subs=steps))
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    elif values and 0 < (usual := 10 * statistics.median(map(abs, values))) < max(map(abs, values)):
        panel.set_yscale("symlog", linthresh=10 ** math.ceil(math.log10(usual)))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    else:
        panel.ticklabel_format(axis="y", scilimits=(-2, 4), useMathText=True)


def spans_decades(values: Sequence[float]) -> bool:
    """Whether a logarithmic axis suits values: they are positive and span more than a factor of five.

    Beyond five decades it does not: a rate that falls to nearly nothing would hide all that came before.
    """
    return bool(values) and min(values) > 0 and 5 * min(values) < max(values) < 1e5 * min(values)


def take_literally(legend: Any) -> None:
    """A $ in a name is a $, and no formula."""
    for text in legend.get_texts():
        text.set_parse_math(False)


def save_figure(figure: Any, out: Path) -> None:
    """Write the figure by the suffix of `out`, without a date, in one piece."""
    kind = out.suffix.lower().removeprefix(".")
    undated = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[kind]
    with replacing(out) as part:
        figure.savefig(part, format=kind, metadata=undated)
