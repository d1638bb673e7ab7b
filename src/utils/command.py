"""How every command line ends: 0, or one line and status 2 for what the user can mend."""

import argparse
import functools
import io
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from src.errors import UserError
from src.utils.processes import end_all, is_main, leave

Main = Callable[[Sequence[str] | None], None]


class CommandParser(argparse.ArgumentParser):
    """The parser of a small program, with its description as it is written; a mistake is a UserError."""

    def __init__(self, description: str | None) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(description=description, formatter_class=formatter, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UserError(message)


_OUT_OF_MEMORY = r"out of memory|can't allocate memory"
_WORKER_DIED = (
    "a process that prepares data has died, perhaps for lack of memory, of which fewer --workers take less;"
    " the newest checkpoint is whole"
)

# Errors of PyTorch that have their cause outside the code, by their text, and what helps.
_MENDABLE = {
    r"DataLoader worker \(pid": _WORKER_DIED,
    _OUT_OF_MEMORY: "out of memory, of which a smaller --batch-size or --input-res takes"
    " less, and so does --accumulate",
    r"gloo.*(Connection|Broken pipe)|ncclRemoteError|NCCL.* abort": "another process of this run has ended"
    " without a word, perhaps killed for lack of memory; the newest checkpoint is whole",
    r"more than 1 value per channel": "batch normalisation cannot learn from a single person at this size;"
    " raise --batch-size or --input-res, or lower --accumulate",
}


def command(main: Main) -> Callable[..., None]:
    """Wrap `main(argv)`: what a user can mend becomes `error: …` on stderr and status 2, Ctrl-C status 130.

    That is a UserError, an error of the operating system (a full disk, a file that may not be written), and
    what PyTorch says when memory or its workers fail. Any other error is one of the code, and is raised.
    Of several processes that learn together all end with the one that fails.
    """

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
            # names of files may have what it cannot show
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            main(argv)
            leave()
            if sys.stdout is not None:  # else it was closed before
                sys.stdout.flush()  # here a closed pipe can still be caught
        except KeyboardInterrupt:
            _fail(130, "interrupted")
        except BrokenPipeError:  # e.g. `… | head`: what is still to be flushed goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1) from None
        except Exception as error:
            line = reason(error)
            if line is None:
                end_all(1, traceback.format_exc())
                raise
            _fail(2, f"error: {line}")

    return wrapped


def _fail(status: int, text: str) -> NoReturn:
    end_all(status, text)
    note(text)
    raise SystemExit(status) from None


_END_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Have SIGTERM and SIGHUP raise SystemExit, as Ctrl-C raises KeyboardInterrupt: files are finished then.

    Further ones are ignored: a terminal that is closed sends two. A signal that is ignored before, as after
    nohup, stays so. Elsewhere than in the main thread nothing is changed.
    """
    numbers = _END_SIGNALS if threading.current_thread() is threading.main_thread() else []
    before = {number: signal.getsignal(number) for number in numbers}
    wanted = [number for number, handler in before.items() if handler == signal.SIG_DFL]
    for number in wanted:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in wanted:
            signal.signal(number, before[number])


def _end(number: int, _: FrameType | None) -> NoReturn:
    for each in _END_SIGNALS:
        if signal.getsignal(each) is _end:
            signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


def reason(error: Exception) -> str | None:
    """What the user is told of an error, None if it is one of the code."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError):
        return _MENDABLE[_OUT_OF_MEMORY]
    if isinstance(error, ConnectionError | EOFError):  # nothing else here talks to other processes
        return _WORKER_DIED
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, RuntimeError | ValueError):
        return next((hint for pattern, hint in _MENDABLE.items() if re.search(pattern, str(error))), None)
    return None


def note(text: str) -> None:
    """Tell the user something that is no result: one line on stderr, from the main process.

    Where that cannot be written (its terminal is closed, its disk is full), a run goes on without.
    """
    if is_main() and sys.stderr is not None:  # None: it was closed before
        with suppress(OSError):
            print(text, file=sys.stderr, flush=True)
