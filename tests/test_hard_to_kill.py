"""What a run survives: kills, signals, torn checkpoints, full and lost disks, a second run of its name."""

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src.datasets.workers import cores
from src.utils import events, experiment, single_person
from src.utils.experiment import Experiment
from src.utils.lock import check_free
from tests.task_runner import ROOT, TINY, main_of

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
posix = pytest.mark.skipif(os.name != "posix", reason="signals and locks of POSIX")


def train(exp_dir: Path, *argv: object) -> None:
    main_of("hgpose/train.py")(["--exp-dir", str(exp_dir), *map(str, argv)])


def mistake(capsys: pytest.CaptureFixture[str], exp_dir: Path, *argv: object) -> str:
    """The one line that training ends with; status 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        train(exp_dir, *argv)
    assert end.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def state(folder: Path, name: str = "checkpoint.pth") -> dict[str, Any]:
    return torch.load(folder / name, weights_only=True)


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "log.csv", newline="") as file:
        return [row | {"seconds": ""} for row in csv.DictReader(file)]


def assert_same(one: Path, other: Path) -> None:
    """Weights bit by bit, and the log but for the seconds."""
    weights = state(one)["model"]
    assert all(torch.equal(value, weights[name]) for name, value in state(other)["model"].items())
    assert rows(one) == rows(other)


@pytest.fixture(scope="module")
def peaceful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny run of 3 epochs that nothing has happened to."""
    folder = tmp_path_factory.mktemp("peaceful")
    train(folder, "--exp", "x", *TINY, "--epochs", 3)
    return folder / "hgpose" / "x"


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first two epochs of it, alone in its folder of experiments."""
    folder = tmp_path_factory.mktemp("begun")
    train(folder, "--exp", "x", *TINY, "--epochs", 2)
    return folder


@pytest.fixture
def two_epochs(begun: Path, tmp_path: Path) -> Path:
    """The folder of a run after 2 epochs: its newest checkpoint is of iteration 6, the one before of 3."""
    return shutil.copytree(begun, tmp_path, dirs_exist_ok=True) / "hgpose" / "x"


def contents(folder: Path) -> dict[Path, bytes]:
    """All files but the lock."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


# Torn checkpoints.


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def flip(path: Path) -> None:
    """One bit of the largest tensor."""
    with zipfile.ZipFile(path) as archive:
        start = max(archive.infolist(), key=lambda entry: entry.file_size).header_offset
    data = bytearray(path.read_bytes())
    name, extra = (int.from_bytes(data[start + i : start + i + 2], "little") for i in (26, 28))
    data[start + 30 + name + extra + 100] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_the_newest_but_one_serves_when_the_newest_is_torn(
    two_epochs: Path, peaceful: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    damage(two_epochs / "checkpoint.pth")
    capsys.readouterr()
    train(two_epochs.parents[1], "-c", "x", "--epochs", 3)
    said = capsys.readouterr().err
    assert "going on from previous.pth, after iteration 3 (epoch 1)" in said.splitlines()[0]
    assert_same(two_epochs, peaceful)
    assert state(two_epochs, "previous.pth")["position"]["step"] == 6


def test_a_torn_checkpoint_never_takes_the_place_of_a_whole_one(
    two_epochs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even when the run that fell back is killed before it saves."""
    cut(two_epochs / "checkpoint.pth")
    with monkeypatch.context() as patch:
        patch.setattr(Experiment, "log_step", lambda *_: full())
        mistake(capsys, two_epochs.parents[1], "-c", "x", "--epochs", 3)
    assert state(two_epochs)["position"]["step"] == 3


def test_when_both_are_torn_it_is_said(two_epochs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("checkpoint.pth", "previous.pth"):
        cut(two_epochs / name)
    before = contents(two_epochs)
    said = mistake(capsys, two_epochs.parents[1], "-c", "x", "--epochs", 3)
    assert "checkpoint.pth is damaged" in said and "previous.pth is damaged" in said
    assert "--load-model" in said
    assert contents(two_epochs) == before


def test_a_branch_falls_back_and_leaves_its_parent_alone(
    two_epochs: Path, peaceful: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(two_epochs / "checkpoint.pth")
    before = contents(two_epochs)
    train(two_epochs.parents[1], "--exp", "y", "--branch", "x", "--epochs", 3)
    assert "going on from previous.pth" in capsys.readouterr().err
    assert contents(two_epochs) == before
    assert rows(two_epochs.parent / "y")[1:] == rows(peaceful)[2:]


# Disks.


def full(*_: object, number: int = errno.ENOSPC, **__: object) -> None:
    raise OSError(number, os.strerror(number))


FAILURES = {
    "checkpoint": (torch, "save", errno.ENOSPC),
    "any file": (os, "replace", errno.EROFS),
    "steps.csv": (experiment, "open", errno.EIO),
    "events": (events, "open", errno.ENOSPC),
}
SMALL = [each for each in FAILURES if each != "checkpoint"]


@pytest.mark.parametrize(
    "what", ["checkpoint", *(pytest.param(each, marks=pytest.mark.slow) for each in SMALL)]
)
def test_what_cannot_be_written_ends_the_run_in_a_line_and_nothing_is_lost(
    tmp_path: Path,
    peaceful: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    what: str,
) -> None:
    owner, name, number = FAILURES[what]
    opened = Experiment.open
    with monkeypatch.context() as patch:

        def open_then_fail(*args: Any) -> None:
            opened(*args)
            patch.setattr(owner, name, partial(full, number=number), raising=False)

        patch.setattr(Experiment, "open", open_then_fail)
        said = mistake(capsys, tmp_path, "--exp", "x", *TINY, "--epochs", 3)
    assert os.strerror(number) in said and said.endswith("-c x goes on from the last checkpoint")
    folder = tmp_path / "hgpose" / "x"
    saved = 3 if what == "steps.csv" else 0  # which is opened to be appended to from its second row on
    assert state(folder)["position"]["step"] == saved and not list(folder.rglob("*.part"))
    train(tmp_path, "-c", "x")
    assert_same(folder, peaceful)


def test_a_disk_that_goes_away_is_not_replaced_by_a_folder_of_its_name(
    tmp_path: Path, peaceful: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    validate = single_person.validate_heatmaps

    def vanish(*args: Any) -> Any:
        if args[-1].position.epoch == 1:
            (tmp_path / "disk").rename(tmp_path / "elsewhere")
        return validate(*args)

    with monkeypatch.context() as patch:
        patch.setattr(single_person, "validate_heatmaps", vanish)
        said = mistake(capsys, tmp_path / "disk", "--exp", "x", *TINY, "--epochs", 3)
    assert "No such file or directory" in said and not (tmp_path / "disk").exists()
    (tmp_path / "elsewhere").rename(tmp_path / "disk")
    train(tmp_path / "disk", "-c", "x")
    assert_same(tmp_path / "disk" / "hgpose" / "x", peaceful)


def test_the_start_on_a_full_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        assert "No space left on device" in mistake(capsys, tmp_path, "--exp", "x", *TINY, "--epochs", 1)
    assert list((tmp_path / "hgpose").iterdir()) == []
    train(tmp_path, "--exp", "x", *TINY, "--epochs", 0)


def test_what_killed_runs_left_half_made_is_removed(two_epochs: Path) -> None:
    leftovers = [
        two_epochs / ".checkpoint.pth.0123abcd.part",
        two_epochs / "snapshots" / ".epoch_0001.pth.0123abcd.part",
        two_epochs.parent / ".y.0123abcd.part" / "options.json",
    ]
    for leftover in leftovers:
        leftover.parent.mkdir(exist_ok=True)
        leftover.write_text("{")
    train(two_epochs.parents[1], "-c", "x", "--epochs", 3)
    train(two_epochs.parents[1], "--exp", "y", *TINY, "--epochs", 0)
    assert not list(two_epochs.parent.rglob("*.part"))


# Ends and interruptions.


def test_what_was_learnt_up_to_max_iters_is_validated_although_that_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    validate = single_person.validate_heatmaps

    def interrupted(*args: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return validate(*args)

    with monkeypatch.context() as patch:
        patch.setattr(single_person, "validate_heatmaps", interrupted)
        with pytest.raises(SystemExit) as end:
            train(tmp_path, "--exp", "x", *TINY, "--epochs", 3, "--max-iters", 2)
    assert end.value.code == 130
    folder = tmp_path / "hgpose" / "x"
    assert not (folder / "log.csv").exists()
    train(tmp_path, "-c", "x")
    assert [row["step"] for row in rows(folder)] == ["2"] and (folder / "best.pth").exists()
    capsys.readouterr()
    train(tmp_path, "-c", "x")
    assert "is finished (--max-iters 2)" in capsys.readouterr().err


# Processes of their own: each takes seconds to start.


def attentive() -> None:
    """Have a process get signals that this one ignores, as one does in the background of a shell."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def running(exp_dir: Path, *argv: object, **how: Any) -> Iterator[subprocess.Popen[str]]:
    """Training in a process, and a group, of its own; killed at the end if it still runs."""
    command = [sys.executable, "train.py", "--exp-dir", str(exp_dir), *map(str, argv)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if os.name == "posix":
        how.setdefault("preexec_fn", attentive)
    with subprocess.Popen(
        command, cwd=ROOT / "hgpose", env=environment, stderr=subprocess.PIPE, text=True,
        start_new_session=True, **how,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def wait_for(path: Path, process: subprocess.Popen[str] | None = None, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end and (process is None or process.poll() is None), f"no {path.name}"
        time.sleep(0.01)


def read_until(text: str, process: subprocess.Popen[str]) -> None:
    """Wait for a line on stderr."""
    assert process.stderr is not None
    while text not in (line := process.stderr.readline()):
        assert line, f"it ended, and had not said {text!r}"


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Status and what was said on stderr."""
    said = process.communicate(timeout=600)[1]
    return process.returncode, said


ENDLESS = (*TINY, "--iters", "100000", "--epochs", "1", "--log-every", "1")


@posix
@pytest.mark.slow
def test_one_of_two_runs_of_a_name_wins_and_is_alone_until_it_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "hgpose" / "x"
    argv = ("--exp", "x", *ENDLESS, "--workers", 2)
    with running(tmp_path, *argv) as one, running(tmp_path, *argv) as other:
        wait_for(folder / "steps.csv")
        while one.poll() is None and other.poll() is None:
            time.sleep(0.01)
        loser, winner = (one, other) if one.poll() is not None else (other, one)
        refusal = f"experiment 'x' is in the hands of process {winner.pid} on {os.uname().nodename}"
        status, said = ended(loser)
        assert status == 2 and refusal in said.splitlines()[-1] and said.count("error: ") == 1
        assert refusal in mistake(capsys, tmp_path, "-c", "x")
        assert refusal in mistake(capsys, tmp_path, "--exp", "x", *TINY)
        assert winner.poll() is None

        workers = children(winner.pid)
        assert len(workers) == min(2, cores())
        winner.kill()
        winner.wait()
        check_free(folder / "lock")
        assert all(map(alive, workers))  # they have not noticed yet, and do not hold it
    train(tmp_path, "-c", "x", "--workers", 0, "--max-iters", 1)


@linux
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_all_processes_saves_and_ends(tmp_path: Path, number: signal.Signals) -> None:
    """As a terminal, `timeout` and batch systems send it: to the workers, too, and sometimes twice."""
    with running(tmp_path, "--exp", "x", *ENDLESS, "--workers", 2) as process:
        wait_for(tmp_path / "hgpose" / "x" / "steps.csv", process)
        workers = children(process.pid)
        os.killpg(process.pid, number)
        if number == signal.SIGTERM:
            os.killpg(process.pid, number)
        status, said = ended(process)
    assert status == 128 + number
    step = state(tmp_path / "hgpose" / "x")["position"]["step"]
    assert said.splitlines()[-1] == f"{number.name}: stopped after iteration {step}, saved; -c x goes on"
    assert step > 0 and not_an_error(said) and gone(workers)


@linux
@pytest.mark.slow
def test_a_signal_while_validating_saves_and_ends(tmp_path: Path) -> None:
    options = (*TINY, "--iters", 1, "--epochs", 1, "--log-every", 1, "--workers", 2)
    endless = ("--synth-size", 24, 100000, "--valid-iters", 0)
    with running(tmp_path, "--exp", "x", *options, *endless) as process:
        wait_for(tmp_path / "hgpose" / "x" / "steps.csv", process)  # the last of what training does
        time.sleep(2)
        os.killpg(process.pid, signal.SIGINT)
        status, said = ended(process)
    assert status == 130 and "SIGINT: stopped after iteration 1, saved" in said and not_an_error(said)
    assert not (tmp_path / "hgpose" / "x" / "log.csv").exists()


@linux
@pytest.mark.slow
def test_ctrl_c_while_starting_leaves_nothing(tmp_path: Path) -> None:
    with running(tmp_path, "--exp", "x", *ENDLESS) as process:
        maps = Path(f"/proc/{process.pid}/maps")
        while "libtorch" not in maps.read_text():  # it is in the middle of its imports
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        status, said = ended(process)
    assert (status, said) == (130, "interrupted\n")
    assert not (tmp_path / "hgpose").exists()


@posix
@pytest.mark.slow
def test_a_second_ctrl_c_ends_in_the_middle_of_a_step(tmp_path: Path) -> None:
    step_of_a_minute = ("--stacks", 4, "--feats", 128, "--input-res", 256, "--batch-size", 24, "--workers", 2)
    with running(tmp_path, "--exp", "x", "--epochs", 1, *step_of_a_minute) as process:
        read_until("speed: ", process)  # which is said when training begins
        time.sleep(10)  # the first batch is there, and is being learnt; if it is not, it will be
        os.killpg(process.pid, signal.SIGINT)
        read_until("Ctrl-C again", process)
        os.killpg(process.pid, signal.SIGINT)
        status, said = ended(process)
    assert status == -signal.SIGINT and not_an_error(said)
    assert state(tmp_path / "hgpose" / "x")["position"]["step"] == 0


@contextmanager
def mounted(folder: Path, *argv: str) -> Iterator[Path]:
    """A file system at `folder`; the test is skipped where mounting is not allowed."""
    folder.mkdir()
    done = subprocess.run(["mount", *argv, str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting is not possible here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True)


@linux
@pytest.mark.slow
def test_a_disk_that_becomes_full(tmp_path: Path) -> None:
    """Somebody else fills it while the run goes on; only what was learnt since the last save is lost."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=20m", "none") as disk:
        folder, filler = disk / "hgpose" / "x", disk / "filler"
        with running(disk, "--exp", "x", *ENDLESS, "--save-every", 1, "--workers", 2) as process:
            wait_for(folder / "previous.pth", process)
            with suppress(OSError), open(filler, "wb", buffering=0) as file:
                while True:
                    file.write(bytes(2**12))
            status, said = ended(process)
        (error,) = (line for line in said.splitlines() if "error" in line)
        assert status == 2 and "No space left on device; once that is mended, -c x goes on" in error
        assert not_an_error(said.replace(error, "")) and not list(disk.rglob("*.part"))
        kept = state(folder)["position"]["step"]
        assert kept > 0
        filler.unlink()
        train(disk, "-c", "x", "--workers", 0, "--max-iters", kept + 1)
        assert state(folder)["position"]["step"] == kept + 1


@linux
@pytest.mark.slow
def test_a_mount_that_goes_away(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    with mounted(tmp_path / "disk", "--bind", str(store)) as disk:
        with running(disk, "--exp", "x", *ENDLESS, "--save-every", 1, "--workers", 2) as process:
            wait_for(disk / "hgpose" / "x" / "previous.pth", process)
            subprocess.run(["umount", "-l", str(disk)], check=True)
            status, said = ended(process)
    (error,) = (line for line in said.splitlines() if "error" in line)
    assert status == 2 and "No such file or directory; once that is mended, -c x goes on" in error
    assert not_an_error(said.replace(error, "")) and not list((tmp_path / "disk").iterdir())
    kept = state(store / "hgpose" / "x")["position"]["step"]
    train(store, "-c", "x", "--workers", 0, "--max-iters", kept + 1)
    assert state(store / "hgpose" / "x")["position"]["step"] == kept + 1


@posix
@pytest.mark.slow
def test_a_limit_to_the_size_of_files(tmp_path: Path) -> None:
    """What a quota or an old file system does, without the rights that a mount takes."""
    import resource

    train(tmp_path, "--exp", "x", *TINY, "--epochs", 1)
    folder = tmp_path / "hgpose" / "x"
    before, limit = state(folder), (folder / "checkpoint.pth").stat().st_size // 2

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    with running(tmp_path, "-c", "x", "--epochs", 2, preexec_fn=limited) as process:
        status, said = ended(process)
    assert status == 2 and "File too large; once that is mended" in said.splitlines()[-1]
    assert "Traceback" not in said and not list(folder.rglob("*.part"))
    assert state(folder)["position"] == before["position"]


@linux
@pytest.mark.slow
def test_memory_does_not_grow_over_epochs(tmp_path: Path) -> None:
    """Of the main process and of its workers, each epoch's new ones included, between epochs 5 and 30."""
    script = tmp_path / "measure.py"
    script.write_text(MEASURE)
    argv = ["--exp-dir", tmp_path, "--exp", "x", *TINY, "--epochs", 30, "--workers", 2]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), *map(str, argv)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    sizes = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(sizes) == 30
    early, late = (np.median(sizes[first : first + 5], axis=0) for first in (4, 25))
    assert (late - early < 8).all(), (early, late)  # in MB; measured: 3 and 0, and no more after 120 epochs


# Prints after each epoch, in MB, the memory of the main process and that of its largest worker.
MEASURE = """
import json, os, sys
from pathlib import Path
from src.utils import training
from tests.task_runner import main_of

def megabytes(process):
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

summary = training._summary

def measured(*args):
    own = os.getpid()
    workers = Path(f"/proc/{own}/task/{own}/children").read_text().split()
    print(json.dumps([megabytes(own), max(map(megabytes, workers))]), flush=True)
    return summary(*args)

training._summary = measured
main_of("hgpose/train.py")(sys.argv[1:])
"""


@posix
@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [["--kills", "6", "--seed", "1"], ["--every-write", "4"]], ids=["random", "writes"]
)
def test_killed_runs_end_like_those_left_in_peace(tmp_path: Path, options: list[str]) -> None:
    command = [sys.executable, "bench/kill.py", *options, "--json", str(tmp_path / "kill.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "kill.json").read_text())
    assert found["differences"] == [] and sum(found["phases"].values()) >= 6
    assert "bit by bit those of the run in peace" in done.stdout


def not_an_error(said: str) -> bool:
    return not any(word in said for word in ("Traceback", "Exception", "Error", "error:", "Warning"))


def gone(processes: list[int], seconds: float = 120) -> bool:
    end = time.monotonic() + seconds
    while any(map(alive, processes)) and time.monotonic() < end:
        time.sleep(0.1)
    return not any(map(alive, processes))


def children(process: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
