"""Training and validation curves of any runs, of any tasks, on one figure.

    python tools/compare.py hgpose/a hgpose/b --out figure.png
    python tools/compare.py hgpose/a advpose/c --out figure.svg --by hour --watch
    python tools/compare.py mine.json published.json --out bars.png
    python tools/compare.py a.json b.json --out pck.pdf --metric pckh_mean Wrist Ankle --table tex

Prints a table of best values, and of the options in which the runs differ. JSON files of scores, which
test.py writes with --json, become a table (as text, Markdown or LaTeX) and a figure: bars side by side of
average precision, and of PCK and its kin curves over the threshold.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.errors import UserError
from src.utils.command import command, note
from src.utils.curves import SUFFIXES, draw
from src.utils.files import writable_folder, write_json
from src.utils.options import ROOT, Parser, one_of, positive, positive_real
from src.utils.runs import AXES, Run, check_metrics, find_run, label_of, read_run, summarise, table

if TYPE_CHECKING:
    from src.utils.bars import Scores


@command
def main(argv: Sequence[str] | None = None) -> None:
    options = get_options(sys.argv[1:] if argv is None else argv)
    if all(_is_json(name) for name in options.runs):
        show_scores(options)
        return
    folders = [find_run(name, options.exp_dir) for name in options.runs]
    labels = options.labels or [label_of(folder) for folder in folders]
    writable_folder(options.out.parent)
    if options.watch is None:
        runs = _read(folders, labels)
        for run in runs:
            if not run.started:
                raise UserError(f"{run.folder / 'log.csv'} has no row yet; --watch waits for the first epoch")
        check_metrics(options.metric, runs)
        show(runs, options)
    else:
        watch(folders, labels, options)


def get_options(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser("Draw training and validation curves of runs, and print their best values.")
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="TASK/NAME",
        help="runs, or paths of their folders; or JSON files of scores",
    )
    parser.add_argument("--out", type=Path, required=True, help="figure to write: " + ", ".join(SUFFIXES))
    parser.add_argument("--exp-dir", type=Path, default=ROOT / "exp", metavar="DIR", help="where runs lie")
    parser.add_argument("--by", type=one_of(list(AXES)), default="epoch", help=", ".join(AXES))
    parser.add_argument(
        "--metric", nargs="+", metavar="NAME",
        help="a panel for each: accuracy, loss, lr, acc_left_knee or another column of log.csv, without"
        " train_ or valid_; the table is about the first. Of JSON files a curve:"
        " pckh_mean, Wrist, left wrist. None: accuracy and loss, or the mean and all groups of joints",
    )  # fmt: skip
    parser.add_argument(
        "--smooth", type=positive, default=1, metavar="N",
        help="draw means over N measured values around each; the table keeps the single ones",
    )  # fmt: skip
    parser.add_argument("--labels", nargs="+", metavar="TEXT", help="names to show, one a run")
    parser.add_argument(
        "--training", action=argparse.BooleanOptionalAction, default=True, help="draw it beside validation"
    )
    parser.add_argument("--width", type=positive_real, default=9.0, help="of the figure in inches")
    parser.add_argument(
        "--watch", type=positive_real, nargs="?", const=10.0, metavar="SECONDS",
        help="follow running ones: look every SECONDS (10), draw anew when a log has grown, until Ctrl-C",
    )  # fmt: skip
    parser.add_argument(
        "--protocol", metavar="NAME", help="of JSON files with several; none: the first that all have"
    )
    parser.add_argument(
        "--table", choices=("text", "md", "tex"), default="text", help="form of the table of JSON files"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the table as JSON too")
    options = parser.parse_strictly(argv)
    if options.out.suffix.lower() not in SUFFIXES:
        raise UserError(f"--out {options.out} must end in one of {', '.join(SUFFIXES)}")
    files = [name for name in options.runs if _is_json(name)]
    if files and (len(files) < len(options.runs) or options.watch):
        raise UserError(f"{files[0]} holds scores: these are drawn alone, without runs and without --watch")
    if not files and (options.protocol or options.table != "text"):
        raise UserError("--protocol and --table are for JSON files of scores, which test.py --json writes")
    if not files:
        options.metric = options.metric or ["accuracy", "loss"]
    if options.labels and len(options.labels) != len(options.runs):
        raise UserError(f"--labels names {len(options.labels)} runs, but there are {len(options.runs)}")
    return options


def _is_json(name: str) -> bool:
    return name.lower().endswith(".json")


def show_scores(options: argparse.Namespace) -> None:
    """Draw the scores in JSON files, as curves if they have them, else as bars, and print them."""
    from src.utils.bars import TABLES, draw_bars, draw_curves, read_all

    scores = read_all([Path(name) for name in options.runs], options.labels, options.protocol)
    writable_folder(options.out.parent)
    if all(each.curves for each in scores):
        draw_curves(scores, options.metric or [], options.out, options.width)
    elif options.metric:
        raise UserError("--metric: these files have no curves")
    else:
        draw_bars(scores, options.out, options.width)
    if options.json:
        write_json(options.json, {"scores": [_content(each) for each in scores]})
    print(TABLES[options.table](scores), flush=True)
    note(f"wrote {options.out}")


def _content(scores: "Scores") -> dict[str, Any]:
    intervals = {"intervals": scores.intervals} if scores.intervals else {}
    return {"label": scores.label, "figures": scores.figures} | intervals


def _read(folders: Sequence[Path], labels: Sequence[str]) -> list[Run]:
    return [read_run(folder, label) for folder, label in zip(folders, labels, strict=True)]


def show(runs: Sequence[Run], options: argparse.Namespace) -> None:
    """Draw the figure and print the table."""
    rows = summarise(runs, options.metric[0])
    draw(runs, options.metric, options.out, options.by, options.smooth, options.width, options.training)
    if options.json:
        write_json(options.json, {"runs": [asdict(row) for row in rows]})
    print(table(rows, options.metric[0]), flush=True)
    note(f"wrote {options.out}")


def watch(folders: Sequence[Path], labels: Sequence[str], options: argparse.Namespace) -> None:
    """Show the runs that have rows, again whenever a log has changed, until Ctrl-C."""
    seen = None
    try:
        while True:
            stamps = [_stamp(folder / "log.csv") for folder in folders]
            if stamps != seen:
                seen = stamps
                _show_started(_read(folders, labels), options)
            time.sleep(options.watch)
    except KeyboardInterrupt:
        note("stopped watching")


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes when a file does; None while there is none."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_mtime_ns, state.st_size


def _show_started(runs: Sequence[Run], options: argparse.Namespace) -> None:
    started = [run for run in runs if run.started]
    if len(started) == len(runs):
        check_metrics(options.metric, runs)  # before, a metric may be one of those who are to come
    else:
        waiting = ", ".join(run.label for run in runs if not run.started)
        note(f"waiting for the first epoch of {waiting}")
    if started:
        show(started, options)


if __name__ == "__main__":
    main()
