"""Logs of runs: found, read, and summed up in a table.

A run is a folder with log.csv, a row an epoch, and options.json (see src.utils.experiment). A metric M stands
for the columns train_M and valid_M, or for a plain column M.
"""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.errors import UserError, suggest

AXES = {  # column, its unit
    "epoch": ("epoch", 1.0),
    "step": ("step", 1.0),
    "minute": ("seconds", 60.0),
    "hour": ("seconds", 3600.0),
}

# Options that name a run, or that change how it goes but not what comes out.
_SAME_RESULT = {
    "exp", "exp-dir", "continue", "config", "json", "final-predictions", "workers", "save-every",
    "snapshot-every", "log-every", "report", "synth-bank",
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


def label_of(folder: Path) -> str:
    """What a run is called where nobody says: task/name, in letters that can be drawn."""
    return "/".join(folder.resolve().parts[-2:]).encode(errors="backslashreplace").decode()


def read_run(folder: Path, label: str) -> Run:
    """The log and the options of a run as they stand now; no rows and no options where files are missing."""
    return Run(label, folder, _read_log(folder / "log.csv"), _read_options(folder / "options.json"))


def _read_log(path: Path) -> dict[str, list[float]]:
    """Columns of a log. A last row without its end of line or with too few cells is still being written."""
    try:
        text = path.read_text(encoding="utf-8")
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
        options = json.loads(path.read_text(encoding="utf-8"))["options"]
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


def title_of(metric: str) -> str:
    """What a metric is called in figures and tables, such as "accuracy, left knee" for acc_left_knee."""
    joint = metric.removeprefix("acc_")
    return metric if joint == metric else f"accuracy, {joint.replace('_', ' ')}"
