"""Kill a short run at random moments, resume it, and compare its end with that of a run left in peace.

python bench/kill.py                      100 kills: a few minutes
python bench/kill.py --kills 20 --seed 7 --workers 2
python bench/kill.py --every-write        one kill before each time that something reaches the disk
python bench/kill.py --every-write 4      before every fourth time

The run is small, validates, averages its weights and saves often. When it has come to its end another one is
begun, until the kills are used up. A process that has imported everything forks most of what is killed, so
that the kills fall into the run and not into Python's start; every tenth is started as users do. POSIX only.
"""

import argparse
import csv
import itertools
import json
import math
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial, wraps
from importlib import import_module
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TRAIN = ROOT / "hgpose" / "train.py"
RUN = """--stacks 1 --feats 8 --depth 1 --input-res 32 --synth-size 32 6 --device cpu
         --epochs 4 --iters 6 --batch-size 2 --valid-iters 2 --snapshot-every 2 --save-every 2 --log-every 1
         --optimizer adam --schedule cosine --ema 0.9""".split()
SHORT = "--epochs 1 --iters 2 --save-every 1 --snapshot-every 1 --valid-iters 1".split()

SHARE = 0.4  # of the time that a whole run takes: after that a piece of one is killed at the latest
FROM_SHELL = 10  # one of so many pieces is started from the shell

# What a process is doing, by the function that does it; in none of them it is starting, or ending.
PHASES = {
    "opening": "src.utils.experiment:Experiment.open",
    "training": "src.utils.training:_train_epoch",
    "validating": "src.utils.single_person:validate_heatmaps",
    "saving": "src.utils.experiment:Experiment.save",
    "logging": "src.utils.experiment:Experiment.log_epoch",
}
OTHERWISE = "starting or ending"

# Beside the modules of these functions, what training imports late, if at all.
LATE = (
    "src.models.hourglass",
    "src.losses.heatmap",
    "src.datasets.synth",
    "src.utils.events",
    "torch._dynamo",
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare data")
    parser.add_argument(
        "--every-write", type=int, nargs="?", const=1, metavar="N", help="kill before every Nth write instead"
    )
    parser.add_argument("--json", type=Path, default=ROOT / "exp" / "kill.json", metavar="OUT")
    args = parser.parse_args(argv)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(Path(folder), args.workers)
        step = args.every_write
        found = kill_at_writes(runs, step) if step else kill_anywhere(runs, args.kills, args.seed)
    found["seconds"] = round(time.monotonic() - begun, 1)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(vars(args) | found, indent=2, default=str) + "\n")
    print(summary(found))
    return 1 if found["differences"] else 0


def kill_anywhere(runs: "Runs", kills: int, seed: int) -> dict[str, Any]:
    """Kill that often. Returns the kills by phase, the number of runs, and in what these differ."""
    moments, begun = random.Random(seed), time.monotonic()
    runs.advance("peace")
    whole = time.monotonic() - begun
    runs.advance("shell", from_shell=True)
    start = max(time.monotonic() - begun - 2 * whole, 0)  # of Python and PyTorch
    differences = list(runs.differences("shell", "peace"))

    phases, names = Counter[str](), (f"killed{number}" for number in itertools.count())
    while phases.total() < kills:
        name, ended = next(names), False
        while not ended:
            from_shell = phases.total() % FROM_SHELL == FROM_SHELL - 1
            latest = SHARE * whole + start * from_shell
            patience = moments.uniform(0, latest) if phases.total() < kills else math.inf
            ended = runs.advance(name, from_shell, patience)
            if not ended:
                phases["started from the shell" if from_shell else runs.phase.value.decode()] += 1
        differences += runs.differences(name, "peace")
    return {"phases": dict(phases), "runs": int(next(names)[6:]), "differences": differences}


def kill_at_writes(runs: "Runs", step: int) -> dict[str, Any]:
    """Kill a short run before its first write, one like it `step` writes later, and so on."""
    runs.options += SHORT
    runs.advance("peace")
    phases, differences = Counter[str](), list[str]()
    for write in itertools.count(step=step):
        name = f"killed{write}"
        if runs.advance(name, before_write=write):
            break
        phases[runs.phase.value.decode()] += 1
        runs.advance(name)
        differences += runs.differences(name, "peace")
    return {"phases": dict(phases), "runs": phases.total(), "differences": differences}


def summary(found: dict[str, Any]) -> str:
    """The line that is printed."""
    where = ", ".join(f"{count} {phase}" for phase, count in found["phases"].items())
    kills = sum(found["phases"].values())
    head = f"{kills} kills ({where}), {found['runs']} runs, {found['seconds']} s: "
    if found["differences"]:
        return head + "NOT what the run in peace leaves: " + "; ".join(found["differences"][:5])
    return head + "weights, average, optimizer, log and files are bit by bit those of the run in peace"


class Runs:
    """Runs of the same options and different names in one folder.

    phase: what the newest process was doing when it ended, if it was forked.
    """

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder, self.options = folder, [*RUN, "--workers", str(workers)]
        self.phase = RawArray("c", 40)
        self._main = import_all()
        for phase, place in PHASES.items():
            watch(place, phase, self.phase)

    def advance(
        self, name: str, from_shell: bool = False, patience: float = math.inf, before_write: int | None = None
    ) -> bool:
        """Begin or resume a run; whether it has come to its end.

        It is killed after so many seconds (`patience`), or before its nth write, counted from 0. SystemExit,
        with what the run has said, if it fails.
        """
        self.phase.value = OTHERWISE.encode()
        known = (self.folder / "hgpose" / name).exists()
        argv = ["--exp-dir", str(self.folder), *(["-c", name] if known else ["--exp", name, *self.options])]
        log = self.folder / f"{name}.txt"
        end = time.monotonic() + patience
        process = spawn(argv, log) if from_shell else fork(partial(self._live, before_write), argv, log)
        while (state := os.waitpid(process, os.WNOHANG))[0] == 0:
            if time.monotonic() > end:
                os.kill(process, signal.SIGKILL)
                end = math.inf
            time.sleep(0.0005)
        if state[1] not in (0, signal.SIGKILL):
            raise SystemExit(f"{name} has failed ({' '.join(argv)}):\n{log.read_text()}")
        return state[1] == 0

    def _live(self, before_write: int | None, argv: list[str]) -> None:
        if before_write is not None:
            die_before(before_write)
        self._main(argv)

    def differences(self, name: str, other: str) -> Iterator[str]:
        """In what two runs that have come to their end differ, but for the time that they took."""
        from src.models.checkpoint import read_checkpoint

        one, two = (self.folder / "hgpose" / each for each in (name, other))
        if files(one) != files(two):
            yield f"{name} has the files {files(one)}, not {files(two)}"
            return
        if without_seconds(one / "log.csv") != without_seconds(two / "log.csv"):
            yield f"{name}/log.csv"
        for file in files(two):
            if file.endswith(".pth") and file != "previous.pth":  # which depends on when the kills were
                yield from unequal(f"{name}/{file}", read_checkpoint(one / file), read_checkpoint(two / file))


def files(folder: Path) -> list[str]:
    """All files of a run, but for events, of which every piece writes its own."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in paths if path.parts[0] != "tensorboard")


def without_seconds(log: Path) -> list[dict[str, str]]:
    with open(log, newline="") as file:
        return [row | {"seconds": ""} for row in csv.DictReader(file)]


def unequal(where: str, one: Any, other: Any) -> Iterator[str]:
    """The places in which two contents of checkpoints differ, but for the seconds that a run took.

    The optimizer's rate is left out, too: it is set anew in every iteration, and a run that was resumed for
    its last validation has none.
    """
    import torch

    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one.keys() - {"seconds", "lr"}:
            yield from unequal(f"{where}/{key}", one[key], other[key])
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        for i, (item, its) in enumerate(zip(one, other, strict=True)):
            yield from unequal(f"{where}/{i}", item, its)
    elif isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if one.dtype != other.dtype or not torch.equal(one, other):
            yield where
    elif one != other:
        yield where


def import_all() -> Callable[[list[str]], None]:
    """Import what training imports, so that forks have it, and return the task's main."""
    sys.path[:0] = [str(ROOT), str(TRAIN.parent)]
    for module in (*LATE, *(place.partition(":")[0] for place in PHASES.values())):
        import_module(module)
    import torch

    torch.set_num_threads(1)  # threads do not survive a fork
    os.environ["OMP_NUM_THREADS"] = "1"  # the same for what is started from the shell
    return import_module("train").main


def watch(place: str, phase: str, current: Any) -> None:
    """Have the function at "module:name" or "module:Class.name" say in shared memory while it runs."""
    module, _, names = place.partition(":")
    owner = import_module(module)
    *classes, name = names.split(".")
    for each in classes:
        owner = getattr(owner, each)
    function = getattr(owner, name)

    @wraps(function)
    def watched(*args: Any, **options: Any) -> Any:
        before, current.value = current.value, phase.encode()
        try:
            return function(*args, **options)
        finally:
            current.value = before

    setattr(owner, name, watched)


def die_before(write: int) -> None:
    """Have this process killed instead of its nth change of the disk, counted from 0."""
    numbers = itertools.count()

    def deadly(function: Callable[..., Any]) -> Callable[..., Any]:
        def act(*args: Any, **options: Any) -> Any:
            if next(numbers) == write:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **options)

        return act

    for name in ("mkdir", "rename", "replace", "link", "unlink", "fsync"):
        setattr(os, name, deadly(getattr(os, name)))


def fork(main: Callable[[list[str]], None], argv: list[str], log: Path) -> int:
    """Run `main(argv)` in a fork of this process; returns its number."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        sys.stdout = sys.stderr = open(log, "a")
        main(argv)
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def spawn(argv: list[str], log: Path) -> int:
    """Start training as users do; returns the number of the process."""
    output = (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    command = [sys.executable, str(TRAIN), *argv]
    return os.posix_spawn(command[0], command, os.environ, file_actions=[output, (os.POSIX_SPAWN_DUP2, 1, 2)])


if __name__ == "__main__":
    sys.exit(main())
