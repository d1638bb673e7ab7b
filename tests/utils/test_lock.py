"""A lock is one process's alone, says whose, and is free when that process is gone, however it went."""

import os
import signal
import time
from pathlib import Path

import pytest

from src.utils.lock import HeldError, check_free, hold

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")


def held_by_fork(path: Path) -> int:
    """A process that holds the lock, as has a child of its own, until it is killed; returns its number."""
    ready, done = os.pipe()
    process = os.fork()
    if process == 0:
        lock = hold(path)
        if os.fork() == 0:  # like a loader's worker, it has the file, too, and lives longer
            time.sleep(5)
            os._exit(0)
        os.write(done, b"x" if lock else b"-")
        time.sleep(60)
        os._exit(0)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    os.close(done)
    return process


def test_a_lock_that_another_process_holds(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    process = held_by_fork(path)
    try:
        before = path.read_bytes()
        for ask in (hold, check_free):
            with pytest.raises(HeldError, match=f"process {process} on {os.uname().nodename} since 20"):
                ask(path)
        assert path.read_bytes() == before
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    check_free(path)  # though the child of that process lives
    assert path.read_bytes() == before
    own = hold(path)
    assert own is not None and path.read_text().startswith(f"process {os.getpid()} ")


def test_what_cannot_be_locked_is_not_held(tmp_path: Path) -> None:
    check_free(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert hold(tmp_path / "no folder" / "lock") is None
    assert hold(tmp_path) is None
