"""The processes that prepare data: how many, how they take signals, and which sample each of them is at."""

import atexit
import multiprocessing
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawArray, RawValue
from typing import Any

import cv2
from torch.utils.data import DataLoader

from src.errors import UserError
from src.utils.device import keep_memory

# What a terminal or a batch system sends to every process of a run, though it is for the main one to act.
_FOR_MAIN = {getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)}

DEATH_SECONDS = 1.0  # a queue can break this long before the process that broke it is gone

_post: Any = None  # in a worker: two numbers in shared memory, its process and the row it is at

_leaving = RawValue("b", 0)  # whether the main process is about to end; workers share its memory


@atexit.register
def _leave() -> None:
    if _post is None:
        _leaving.value = 1


class Workers:
    """The `worker_init_fn` of a loader, from which the main process learns where each worker is."""

    def __init__(self, count: int) -> None:
        self._posts = [RawArray("q", [0, -1]) for _ in range(count)]
        self._leaving = _leaving

    def __call__(self, number: int) -> None:
        global _post, _leaving
        _post, _leaving = self._posts[number], self._leaving
        _post[0] = os.getpid()
        cv2.setNumThreads(0)  # the workers are the threads
        keep_memory()  # beside a GPU, too, where the main process has no use for it
        for each in _FOR_MAIN:
            signal.signal(each, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _end_with_the_main_process)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _FOR_MAIN)

    def row_of(self, process: BaseProcess) -> int:
        """The row that a worker is or was at, -1 if none."""
        return next((row for number, row in self._posts if number == process.pid), -1)


def cores() -> int:
    """How many processors this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def at_row(row: int) -> None:
    """Let the main process know which sample is prepared now, in case this process dies of it."""
    if _post is not None:
        _post[1] = row


def served(loader: DataLoader) -> Iterator[Any]:
    """The batches of a loader whose `worker_init_fn` is Workers.

    Raises UserError when one of them dies; the dataset tells by `where(row)` what that one was at.
    """
    others = set(multiprocessing.active_children())
    with _signals_held():
        batches = iter(loader)
    started = set(multiprocessing.active_children()) - others
    try:
        yield from batches
    except (RuntimeError, ConnectionError, EOFError):
        dead = _dead(started)
        if dead is None:
            raise
        row = loader.worker_init_fn.row_of(dead)  # type: ignore[union-attr]
        where = loader.dataset.where(row) if row >= 0 else "data"  # type: ignore[attr-defined]
        raise UserError(f"the process that prepared {where} has died ({_cause(dead)})") from None


def _dead(processes: Iterable[BaseProcess]) -> BaseProcess | None:
    """One that has failed or was killed, if there is one."""
    end = time.monotonic() + DEATH_SECONDS
    while True:
        dead = next((process for process in processes if process.exitcode), None)
        if dead or time.monotonic() > end:
            return dead
        time.sleep(0.02)


def _cause(process: BaseProcess) -> str:
    """Of what a process has died, and what may help."""
    status = process.exitcode or 0
    if status > 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name
    if name == "SIGBUS":
        return f"{name}: perhaps shared memory is full, /dev/shm; for docker it is set by --shm-size"
    if name == "SIGKILL":
        return f"{name}: perhaps for lack of memory, of which fewer --workers take less"
    return name


@contextmanager
def _signals_held() -> Iterator[None]:
    """Within it signals wait, also in processes that begin in it, until these are ready to take them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_MAIN)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_the_main_process(*_: object) -> None:
    """A signal to all processes is for the main one to heed, which in the end sends it to its workers."""
    if _leaving.value:
        os._exit(0)
