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
from typing import TYPE_CHECKING, Any

from src.errors import UserError, suggest
from src.utils.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".pdf", ".svg")
AXES = {"epoch": ("epoch", 1.0), "step": ("step", 1.0), "hour": ("seconds", 3600.0)}  # column, its unit

# Okabe and Ito's colours, which stay apart with any colour vision; wine for the yellow that white swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#661100")
MARKERS = "os^DvPX"  # seven, so that colour and marker together repeat after 56 runs
CHARACTER = 0.075  # inches; a generous mean width in a legend

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
    "snapshot-every", "log-every",
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
    differing = _differing(runs)
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


def _differing(runs: Sequence[Run]) -> list[str]:
    """The options that all runs with stored options have, and not with the same value."""
    stored = [run.options for run in runs if run.options]
    if not stored:
        return []
    shared = [key for key in stored[0] if all(key in options for options in stored)]
    return [key for key in shared if any(options[key] != stored[0][key] for options in stored)]


def table(rows: Sequence[Summary], metric: str) -> str:
    """The rows as text in columns, numbers to the right."""
    kind = "valid " if any(row.metric == f"valid_{metric}" for row in rows) else ""
    names = ["run", "epoch", f"best {kind}{_title(metric)}", "at epoch", "last", "hours", *rows[0].options]
    cells = [
        [
            row.run,
            f"{row.epoch:g}",
            shown(metric, row.best),
            "–" if row.best_epoch is None else f"{row.best_epoch:g}",
            shown(metric, row.last),
            "–" if row.hours is None else f"{row.hours:.2f}",
            *(_word(value) for value in row.options.values()),
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


def _word(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(_word(item) for item in value)
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


# What the logs of self-adversarial training call shortly.
_TITLES = {"kt": "$k_t$", "measure": "convergence measure"}


def _title(metric: str) -> str:
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
) -> None:
    """Write one figure with a panel a metric: validation solid, training dashed, a colour and marker a run.

    Where nothing of what is drawn was measured in validation, such as k_t, training is solid.

    The marker sits at a run's best value. out: .png, .pdf or .svg, replaced as a whole. by: a key of AXES.
    smooth: how many measured values each point is the mean of. width: inches; panels of a narrow figure
    stand one above the other. UserError if `out` cannot be written or a run lacks the column for `by`.
    """
    import matplotlib
    from matplotlib.figure import Figure

    side_by_side = width >= 3 * len(metrics)
    rows, columns = (1, len(metrics)) if side_by_side else (len(metrics), 1)
    labels = [_legend_label(run, metrics[0]) for run in runs]
    both = any(run.solid(metric) in run.log for run in runs for metric in metrics)
    entry = 0.7 + CHARACTER * max(len(label) for label in [*labels, "validation"])
    across = max(1, min(len(labels) + 2, int(width / entry)))
    height = rows * max(2.4, 0.62 * width / columns) + 0.22 * -(-(len(labels) + 2) // across)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), dpi=200, layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).flat
        for panel, metric in zip(panels, metrics, strict=True):
            _draw_panel(panel, runs, metric, by, smooth, both)
        handles = [*_run_handles(labels), *(_style_handles() if both else [])]
        legend = figure.legend(handles=handles, loc="outside lower center", ncols=across, frameon=False)
        take_literally(legend)
        save_figure(figure, out)


def _legend_label(run: Run, metric: str) -> str:
    values = run.curve(run.solid(metric))[1]
    best = best_index(metric, values)
    return run.label if best is None else f"{run.label}  {shown(metric, values[best])}"


def _look(index: int) -> dict[str, Any]:
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def _run_handles(labels: Sequence[str]) -> list[Any]:
    from matplotlib.lines import Line2D

    return [Line2D([], [], **_look(i), label=label, markersize=5) for i, label in enumerate(labels)]


def _style_handles() -> list[Any]:
    from matplotlib.lines import Line2D

    solid = Line2D([], [], color="#606060", label="validation")
    return [solid, Line2D([], [], color="#606060", linestyle="--", linewidth=1, label="training")]


def _draw_panel(panel: "Axes", runs: Sequence[Run], metric: str, by: str, smooth: int, both: bool) -> None:
    factor = 100 if is_accuracy(metric) else 1
    drawn: list[float] = []
    for i, run in enumerate(runs):
        look = _look(i)
        solid = {"color": look["color"], "linewidth": 1.7, "zorder": 3}
        dashed = {**solid, "linestyle": "--", "linewidth": 1, "alpha": 0.75, "zorder": 2} if both else solid
        for column, line in ((f"train_{metric}", dashed), (run.solid(metric), solid)):
            x, values = run.curve(column, by)
            y = [factor * value for value in smoothed(values, smooth)]
            panel.plot(x, y, **line, marker="." if len(x) == 1 else None)  # a line needs two points
            drawn += y
            best = best_index(metric, values) if column == run.solid(metric) else None
            if best is not None:
                panel.plot(x[best], y[best], **look, markersize=6, markeredgecolor="white", zorder=4)
    panel.set_title(_TITLES.get(metric, _title(metric)) + (", %" if is_accuracy(metric) else ""))
    panel.set_xlabel({"hour": "hours of training"}.get(by, by))
    _scale_axes(panel, drawn, by, share=is_accuracy(metric))


def _scale_axes(panel: "Axes", values: list[float], by: str, share: bool) -> None:
    """Few clear ticks; a logarithmic y axis where positive values span more than a factor of five.

    So it is on both sides of 0 where values of either sign are far larger than most, as balance is at first.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    if by != "hour":
        panel.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    if by == "step":
        panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1000:g}k" if x else "0"))
    if share:
        panel.set_ylim(bottom=max(0.0, panel.get_ylim()[0]))
    elif values and min(values) > 0 and max(values) > 5 * min(values):
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
