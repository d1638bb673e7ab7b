"""A lock that one process at a time holds, and that is free as soon as that process ends, however it ends."""

import os
import socket
import time
from contextlib import suppress
from io import FileIO
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class HeldError(Exception):
    """Another process holds the lock; the text says which."""


def hold(path: Path) -> FileIO | None:
    """Hold the lock `path`, a file made if needed, until the result is closed or this process ends.

    It is a record lock of POSIX, since forked children do not inherit these: loader workers outlive for
    seconds a process that was killed. None where there are no such locks (Windows, some network disks), or
    where nothing can be written. A process can hold it twice, and closing either file then frees it.

    Raises HeldError.
    """
    file = _locked(path, "a+")
    if file is not None:
        with suppress(OSError):  # on a full disk it holds without saying who does
            file.truncate(0)
            since = time.strftime("%Y-%m-%d %H:%M")
            file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}\n".encode())
    return file


def check_free(path: Path) -> None:
    """Raise HeldError if another process holds the lock `path`; nothing is made or written."""
    file = _locked(path, "r+")
    if file is not None:
        file.close()


def _locked(path: Path, mode: str) -> FileIO | None:
    try:
        file = FileIO(path, mode)
    except OSError:
        return None
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.seek(0)
        with file:
            raise HeldError(file.read().decode().strip() or "another process") from None
    except (OSError, AttributeError):  # AttributeError: there is no fcntl
        file.close()
        return None
    return file
