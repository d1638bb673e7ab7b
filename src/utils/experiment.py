"""The folder of an experiment: options, logs, checkpoints, and what --continue and --branch take up."""

import csv
import glob
import importlib.metadata
import io
import os
import platform
import shlex
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

from src.errors import UserError
from src.models.checkpoint import DamagedError, read_checkpoint, save_checkpoint
from src.utils.command import note, reason
from src.utils.files import flush_folder, unfinished, writable_folder, write_json, write_text
from src.utils.lock import HeldError, check_free, hold
from src.utils.options import BEST, NEWEST, OPTIONS_FILE, ROOT
from src.utils.processes import is_main

Row = dict[str, Any]
PREVIOUS = "previous.pth"
LOCK = "lock"


class Experiment:
    """`<exp-dir>/<task>/<name>/` with options.json, log.csv, steps.csv, events, checkpoints and predictions.

    Making one writes nothing but the lock of --continue: `open` does, once data and network are known to be
    good. Whenever a run is killed, its folder either does not exist yet or has all that --continue needs.

    state: what --continue or --branch starts from, else None.
    Of several processes (src/utils/processes.py) only the main one writes; with the others it does nothing.

    Raises UserError for an experiment that exists already, or that another process works on.
    """

    def __init__(self, options: Namespace, task: str) -> None:
        self.options, self.task, self.writes = options, task, is_main()
        self.folder = Path(options.exp_dir) / task / options.exp
        self.state: dict[str, Any] | None = None
        self._fell_back = False
        self._lock: FileIO | None = None
        self._epochs: list[Row] = []
        self._events: Any = None
        if options.resume:
            if self.writes:
                with self._alone():
                    self._lock = hold(self.folder / LOCK)
            self.state, self._fell_back = newest_state(self.folder)
        elif self.writes and self.folder.exists():
            self._refuse()
        elif options.branch:
            self.state, _ = newest_state(self.folder.parent / options.branch)

    def _refuse(self) -> None:
        with self._alone():
            check_free(self.folder / LOCK)
        raise UserError(
            f"experiment {self.options.exp!r} exists already in {self.folder.parent}:"
            " --continue goes on with it, --branch starts another one from it"
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            yield
        except HeldError as error:
            raise UserError(
                f"experiment {self.options.exp!r} is in the hands of {error}: wait for its end, or stop it"
            ) from None

    @contextmanager
    def _mendable(self) -> Iterator[None]:
        """Tell with what went wrong in writing that the run is not lost."""
        try:
            yield
        except (OSError, UserError) as error:
            advice = f"once that is mended, -c {self.options.exp} goes on from the last checkpoint"
            raise UserError(f"{reason(error) or error}; {advice}") from None

    def open(self, step: int, device: str, state: dict[str, Any]) -> None:
        """Make the folder, with options.json and the first checkpoint, `state`.

        For --continue: write options.json anew, and cut the logs of an interrupted run back to `step`.
        """
        if not self.writes:
            return
        content = described(self.options, self.task, device)
        if self.options.resume:
            with self._mendable():
                self._reopen(content, step)
        else:
            self._create(content, state)
        from src.utils.events import Events  # slow to import, and only a run that trains writes events

        text = "\n".join(f"    {key}: {value}" for key, value in plain_options(self.options).items())
        with self._mendable():
            self._events = Events(self.folder / "tensorboard", step)
            self._events.add_text("options", text, step)

    def _create(self, content: dict[str, Any], state: dict[str, Any]) -> None:
        """The folder is made beside its place and appears there with all that it begins with."""
        writable_folder(self.folder.parent)
        _remove_leftovers(self.folder.parent, self.folder.name)
        part = unfinished(self.folder)
        try:
            part.mkdir()
            self._lock = hold(part / LOCK)
            write_json(part / OPTIONS_FILE, content)
            save_checkpoint(part / NEWEST, state)
            part.rename(self.folder)
            flush_folder(self.folder.parent)
        except OSError as error:
            if self.folder.exists():  # of two starts at the same moment this one is the second
                self._refuse()
            raise UserError(f"folder {self.folder} cannot be made: {error.strerror}") from None
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _reopen(self, content: dict[str, Any], step: int) -> None:
        for folder in (self.folder, self.folder / "snapshots"):
            _remove_leftovers(folder)
        if self._fell_back:  # else the next checkpoint would make the damaged one the previous
            os.replace(self.folder / PREVIOUS, self.folder / NEWEST)
        write_json(self.folder / OPTIONS_FILE, content)
        self._epochs, steps = (
            [row for row in read_rows(self.folder / name) if int(row["step"]) <= step]
            for name in ("log.csv", "steps.csv")
        )
        if steps:  # written anew even if no row is left out: its last line may have been half-written
            write_rows(self.folder / "steps.csv", steps)
        else:
            (self.folder / "steps.csv").unlink(missing_ok=True)

    def log_epoch(self, row: Row) -> None:
        """A row of log.csv; the file is replaced as a whole, so it is never half-written.

        It takes the place of one of the same iteration: of a run killed before the checkpoint that follows.
        """
        if not self.writes:
            return
        self._epochs = [before for before in self._epochs if int(before["step"]) < row["step"]] + [row]
        with self._mendable():
            write_rows(self.folder / "log.csv", self._epochs)
            self._scalars(row, "epoch")

    def last_epoch(self) -> dict[str, float | None]:
        """The newest row of log.csv as numbers, None for what was not measured; {} before the first."""
        rows = read_rows(self.folder / "log.csv")
        return {key: float(value) if value else None for key, value in rows[-1].items()} if rows else {}

    def log_step(self, row: Row) -> None:
        """A row of steps.csv, appended; one with further columns has the file written anew."""
        if not self.writes:
            return
        path = self.folder / "steps.csv"
        with self._mendable():
            columns = _columns(path)
            if set(row) <= set(columns):
                with open(path, "a", encoding="utf-8", newline="") as file:
                    csv.DictWriter(file, columns, lineterminator="\n").writerow(_rounded(row))
            else:
                write_rows(path, [*read_rows(path), row])
            self._scalars(row, "step")

    def add_picture(self, name: str, image: Any, step: int) -> None:
        """A picture (H, W, 3) uint8 for TensorBoard."""
        if self.writes:
            with self._mendable():
                self._events.add_picture(name, image, step)

    def save(self, name: str, state: dict[str, Any]) -> None:
        """A checkpoint under `name` in the folder, replaced atomically; the newest but one is kept, too."""
        if not self.writes:
            return
        path = self.folder / name
        with self._mendable():
            if path.parent != self.folder:  # the folder itself is there, or its disk has gone
                path.parent.mkdir(exist_ok=True)
            save_checkpoint(path, state, self.folder / PREVIOUS if name == NEWEST else None)

    def _scalars(self, row: Row, group: str) -> None:
        measured = {key: value for key, value in row.items() if value == value}  # NaN is not
        values = {key: value for key, value in measured.items() if isinstance(value, int | float)}
        scalars = {f"{group}/{key}": value for key, value in values.items() if key not in ("epoch", "step")}
        self._events.add_scalars(scalars, row["step"])


def newest_state(folder: Path) -> tuple[dict[str, Any], bool]:
    """The newest whole checkpoint of the experiment in `folder`, and whether that is only the newest but one.

    Raises UserError, and says in one line where it falls back.
    """
    try:
        return read_checkpoint(folder / NEWEST), False
    except DamagedError as error:
        damage = error
    try:
        state = read_checkpoint(folder / PREVIOUS)
    except DamagedError as error:
        raise UserError(
            f"{damage}; {error}: start a new run, perhaps from the weights in {BEST} (--load-model)"
        ) from None
    position = state.get("position", {})
    where = f"iteration {position.get('step')} (epoch {position.get('epoch')})"
    note(f"{damage}: going on from {PREVIOUS}, after {where}")
    return state, True


def _remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes left half-made, of a name or all, but for what a live one has in hand."""
    for part in folder.glob(f".{'*' if name is None else glob.escape(name)}.*.part"):
        with suppress(OSError, HeldError):
            check_free(part / LOCK)
            shutil.rmtree(part) if part.is_dir() else part.unlink()


def described(options: Namespace, task: str, device: str) -> dict[str, Any]:
    """What options.json holds: the options as run, and what ran them."""
    packages = ("torch", "torchvision", "numpy", "opencv-python", "opencv-python-headless")
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "task": task,
        "command": shlex.join(["python", *sys.argv]),
        "options": plain_options(options),
        "versions": versions,
        "commit": _commit(),
        "device": device,
    }


def plain_options(options: Namespace) -> dict[str, Any]:
    """The options by the names that are typed, with plain values, as JSON and checkpoints hold them."""
    names = {"resume": "continue"}
    plain = {names.get(key, key.replace("_", "-")): _plain(value) for key, value in vars(options).items()}
    return dict(sorted(plain.items()))


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _commit() -> str | None:
    """The commit of the code, with a + if files differ from it; None outside a git checkout."""
    try:
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def read_rows(path: Path) -> list[Row]:
    """The rows of a log; none if there is no such file. A half-written last row is left out, and said.

    Raises UserError for a file that is no log.
    """
    if not path.exists():
        return []
    try:
        lines, _, rest = path.read_text(encoding="utf-8").rpartition("\n")
        rows = list(csv.DictReader(io.StringIO(lines)))
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}); move it away to go on without it") from None
    whole = [row for row in rows if (row.get("step") or "").isdecimal() and None not in row.values()]
    torn = len(rows) - len(whole) + bool(rest)
    if torn:
        note(f"{path}: {torn} half-written row(s) left out")
    return [dict(row) for row in whole]


def _columns(path: Path) -> list[str]:
    """The columns of a log; none if there is no such file."""
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return next(csv.reader(file), [])


def write_rows(path: Path, rows: list[Row]) -> None:
    """Write a log, replaced as a whole; its columns are those of any row."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rounded(row) for row in rows)
    write_text(path, text.getvalue())


def _rounded(row: Row) -> Row:
    """Floats with seven digits; NaN, which means not measured, as an empty cell."""
    return {k: ("" if v != v else f"{v:.7g}") if isinstance(v, float) else v for k, v in row.items()}
