"""Files that appear whole or not at all, and the folders they go to."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from src.errors import UserError

_BEGINNING = 50  # letters of a name, of 4 bytes at most; file systems take 255 bytes


def writable_folder(path: Path) -> Path:
    """`path`, made if needed; UserError if that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"folder {path} cannot be made: {error.strerror}") from None
    return path


def require_free(path: Path, overwrite: bool) -> None:
    """UserError if a file is there that `--out` names, and `--overwrite` does not let go."""
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists already; --overwrite replaces it, another --out keeps it")


def is_utf8(path: Path | str) -> bool:
    """Whether a path is UTF-8: OpenCV ends the whole program where that of a video is not."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def require_utf8(path: Path | str) -> None:
    """UserError for the path of a video that is not UTF-8."""
    if not is_utf8(path):
        raise UserError(f"{path} has a name that is not UTF-8, with which OpenCV opens no video")


def unfinished(path: Path) -> Path:
    """A new path beside `path`, for what takes its place when it is whole.

    Of a long name it has the beginning, so that it may be as long as the file system allows.
    """
    return path.with_name(f".{path.name[:_BEGINNING]}.{uuid.uuid4().hex[:8]}.part")


@contextmanager
def replacing(path: Path, kept: Path | None = None) -> Iterator[Path]:
    """A path to write to; it replaces `path` when that has succeeded, and is removed when it has not.

    After a power cut, too, `path` is the whole old file or the whole new one.
    kept: where the old file goes on, if there is one; it is not copied.

    UserError if the file system refuses.
    """
    part = unfinished(path)
    try:
        yield part
        with open(part, "r+b") as file:
            os.fsync(file.fileno())
        if kept is not None:
            _keep(path, kept)
        os.replace(part, path)
        flush_folder(path.parent)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):  # it is not there, or what stood in the way of writing stands here, too
            part.unlink()


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """A new folder to write to; it becomes `target` when that has succeeded, and is removed if it has not."""
    part = unfinished(target)
    part.mkdir()
    try:
        yield part
        os.replace(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _keep(path: Path, kept: Path) -> None:
    """Give a file, if there is one, a second name; where the disk knows no links, rename it."""
    if not path.exists():
        return
    link = unfinished(kept)
    try:
        os.link(path, link)
        os.replace(link, kept)
    except OSError:
        os.replace(path, kept)
    finally:
        with suppress(OSError):  # it stays when both were names of one file already
            link.unlink()


def flush_folder(folder: Path) -> None:
    """Have the disk hold the names in a folder, where the system can do that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text such that at every moment `path` is the whole old file or the whole new one.

    What names of files have that is no UTF-8 is written as JSON does it: \\udcff.
    """
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON atomically, into a folder made if needed; a float that is not finite becomes null."""
    writable_folder(path.parent)
    write_text(path, json.dumps(_finite(content), indent=2, ensure_ascii=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value


def from_here(path: Path) -> Path:
    """The path as one would type it in the present folder; whole from another drive."""
    try:
        return Path(os.path.relpath(path))
    except ValueError:
        return path
