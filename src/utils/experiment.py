"""The folder of an experiment: options, logs, checkpoints, and what --continue and --branch take up."""

import csv
import importlib.metadata
import io
import platform
import subprocess
from argparse import Namespace
from pathlib import Path
from typing import Any

from src.errors import UserError
from src.models.checkpoint import read_checkpoint, save_checkpoint
from src.utils.command import note
from src.utils.files import writable_folder, write_json, write_text
from src.utils.options import OPTIONS_FILE, ROOT

Row = dict[str, Any]
NEWEST, BEST = "checkpoint.pth", "best.pth"


class Experiment:
    """`<exp-dir>/<task>/<name>/` with options.json, log.csv, steps.csv, events, checkpoints and predictions.

    Making one writes nothing: `open` does, once data and network are known to be good. `state` is what
    --continue or --branch starts from, else None. Raises UserError for an experiment that exists already.
    """

    def __init__(self, options: Namespace, task: str) -> None:
        self.options, self.task = options, task
        self.folder = Path(options.exp_dir) / task / options.exp
        self.state: dict[str, Any] | None = None
        if options.resume:
            self.state = read_checkpoint(self.folder / NEWEST)
        elif self.folder.exists():
            raise UserError(
                f"experiment {options.exp!r} exists already in {self.folder.parent}:"
                " --continue goes on with it, --branch starts another one from it"
            )
        elif options.branch:
            self.state = read_checkpoint(self.folder.parent / options.branch / NEWEST)
        self._epochs: list[Row] = []
        self._writer: Any = None

    def open(self, step: int, device: str) -> None:
        """Make the folder, write options.json, and cut logs of an interrupted run back to `step`."""
        writable_folder(self.folder)
        write_json(self.folder / OPTIONS_FILE, described(self.options, self.task, device))
        self._epochs, steps = (
            [row for row in read_rows(self.folder / name) if int(row["step"]) <= step]
            for name in ("log.csv", "steps.csv")
        )
        if steps:  # written anew even if no row is left out: its last line may have been half-written
            _write_rows(self.folder / "steps.csv", steps)
        else:
            (self.folder / "steps.csv").unlink(missing_ok=True)
        from tensorboardX import SummaryWriter  # slow to import, and only a run that trains writes events

        self._writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=step)
        text = "\n".join(f"    {key}: {value}" for key, value in plain_options(self.options).items())
        self._writer.add_text("options", text, step)

    def log_epoch(self, row: Row) -> None:
        """A row of log.csv; the file is replaced as a whole, so it is never half-written."""
        self._epochs.append(row)
        _write_rows(self.folder / "log.csv", self._epochs)
        self._scalars(row, "epoch")

    def last_epoch(self) -> dict[str, float | None]:
        """The newest row of log.csv as numbers, None for what was not measured; {} before the first."""
        rows = read_rows(self.folder / "log.csv")
        return {key: float(value) if value else None for key, value in rows[-1].items()} if rows else {}

    def log_step(self, row: Row) -> None:
        """A row of steps.csv, appended."""
        path = self.folder / "steps.csv"
        new = not path.exists()
        with open(path, "a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(_rounded(row))
        self._scalars(row, "step")

    def add_picture(self, name: str, image: Any, step: int) -> None:
        """A picture (H, W, 3) uint8 for TensorBoard."""
        self._writer.add_image(name, image, step, dataformats="HWC")

    def save(self, name: str, state: dict[str, Any]) -> None:
        """A checkpoint under `name` in the folder, replaced atomically."""
        path = self.folder / name
        writable_folder(path.parent)
        save_checkpoint(path, state)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _scalars(self, row: Row, group: str) -> None:
        for key, value in row.items():
            if key not in ("epoch", "step") and isinstance(value, int | float):
                self._writer.add_scalar(f"{group}/{key}", value, row["step"])


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
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}); move it away to go on without it") from None
    whole = [row for row in rows if (row.get("step") or "").isdecimal() and None not in row.values()]
    if len(whole) < len(rows):
        note(f"{path}: {len(rows) - len(whole)} half-written row(s) left out")
    return [dict(row) for row in whole]


def _write_rows(path: Path, rows: list[Row]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rounded(row) for row in rows)
    write_text(path, text.getvalue())


def _rounded(row: Row) -> Row:
    """Floats with seven digits; NaN, which means not measured, as an empty cell."""
    return {k: ("" if v != v else f"{v:.7g}") if isinstance(v, float) else v for k, v in row.items()}
