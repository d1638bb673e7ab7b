"""A bank of drawings: each is kept in a file when it is drawn first, and read from there ever after.

A file holds the drawings of one kind, split, set of poses and size, made by one version of the drawing code
and of the libraries: its name says which, and others get a file of their own. Record i lies at a fixed place,
so the file is sparse: it takes space as it fills, and may be shared by any number of processes and runs.

A record begins with a checksum of its number and its bytes. What was never written, what a kill or a power
cut has cut short, and what is being written at this moment has another one, and is drawn again. Two who draw
the same write the same bytes. The file is read and not mapped into memory: there a full disk, or somebody who
cuts the file, would end the process, and here drawing goes on.
"""

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from src.datasets.synth.body import LANDMARK_NAMES
from src.datasets.synth.scene import Labels, Rendering
from src.errors import UserError
from src.utils.command import note
from src.utils.files import writable_folder

_HEAD = 4096  # bytes before the first record: what is in the file, as JSON
_NO_DRAWING = ("__main__.py", "bank.py", "clips.py")  # modules of this folder that no picture depends on
_LAYOUT = 1  # of the records below


@lru_cache(maxsize=1)
def version() -> str:
    """A name for what pixels depend on beside the arguments: the drawing code and the libraries."""
    folder = Path(__file__).parent
    modules = [module for module in sorted(folder.glob("*.py")) if module.name not in _NO_DRAWING]
    digest = hashlib.sha256(f"{_LAYOUT} {np.__version__} {cv2.__version__}".encode())
    for module in (*modules, folder.parent / "affine.py"):
        digest.update(module.read_bytes())
    return digest.hexdigest()[:12]


class Bank:
    """The drawings (side, side) that `name` says, of up to `actors` people each, in a file of `folder`.

    size: how many there may be; another run may ask for more. shown: whether what each pixel shows is kept,
    too. Raises UserError if there is no room for all of them, or no file can be made.
    """

    def __init__(self, folder: Path, name: str, size: int, side: int, actors: int, shown: bool) -> None:
        points = len(LANDMARK_NAMES)
        self._record = np.dtype(
            [
                ("checksum", np.uint32),
                ("actors", np.uint32),
                ("points", np.float64, (actors, points, 2)),
                ("head_box", np.float64, (actors,)),
                ("visible", np.int8, (actors, points)),
                ("picture", np.uint8, (side, side, 3)),
                ("shown", np.uint8, (side, side) if shown else (0,)),
            ]
        )
        self.path = writable_folder(folder) / f"{name}-{side}px-{version()}.bank"
        self._keeps = self._begin(_HEAD + size * self._record.itemsize)

    def rendering(self, index: int, draw: Callable[[], Rendering]) -> Rendering:
        """Drawing `index`: as it is kept, or else as `draw` makes it, which is then kept."""
        kept = self._read(index)
        if kept is not None:
            return kept
        drawn = draw()
        if self._keeps:
            self._write(index, drawn)
        return drawn

    # ------------------------------------------------------------------------------------------- the file

    def _begin(self, most: int) -> bool:
        """Make the file or look whether it is the right one, and say how large it may become, in bytes.

        Returns whether it can be written.
        """
        content = {"bank": self.path.stem, "record": self._record.itemsize}
        expected = json.dumps(content).encode().ljust(_HEAD)
        taken, free = _taken(self.path), shutil.disk_usage(self.path.parent).free
        writable = not self.path.exists() or os.access(self.path, os.W_OK)
        if writable and most - taken > free:
            raise UserError(
                f"{self.path} may grow to {_size(most)}, and there is room for {_size(taken + free)}: ask for"
                " fewer drawings (--synth-size), or name another folder"
            )
        try:
            if writable:
                self.path.touch()
            with open(self.path, "r+b" if writable else "rb", buffering=0) as file:
                head = file.read(_HEAD)
                if writable and not head.strip(b"\0"):  # it is new, or lost what was written first
                    file.seek(0)
                    head = expected[: file.write(expected)]
        except OSError as error:
            raise UserError(f"{self.path} cannot be opened: {error.strerror}") from None
        if head != expected:
            raise UserError(f"{self.path} is damaged, or no bank of drawings: delete it")
        line = f"{self.path}: {_size(min(taken, most))} of drawings, at most {_size(most)}"
        note(line if writable else f"{line}; it cannot be written, so what it lacks is drawn each time")
        return writable

    def _place(self, index: int) -> int:
        return _HEAD + index * self._record.itemsize

    def _read(self, index: int) -> Rendering | None:
        """Record `index`, None if there is no whole one."""
        content = np.empty(self._record.itemsize, np.uint8)
        try:
            with open(self.path, "rb", buffering=0) as file:
                file.seek(self._place(index))
                if file.readinto(content) < len(content):  # type: ignore[arg-type]
                    return None
        except OSError:  # it was deleted, or the disk fails: all can be drawn
            return None
        record = content.view(self._record)[0]
        if not record["actors"] or record["checksum"] != _checksum(content, index):
            return None
        labels = [
            Labels(record["points"][actor], record["visible"][actor], float(record["head_box"][actor]))
            for actor in range(record["actors"])
        ]
        return Rendering(record["picture"], labels, record["shown"])

    def _write(self, index: int, drawn: Rendering) -> None:
        content = np.zeros(self._record.itemsize, np.uint8)
        record = content.view(self._record)[0]
        record["actors"], record["picture"] = len(drawn.labels), drawn.picture
        if record["shown"].size:
            record["shown"] = drawn.shown
        for actor, labels in enumerate(drawn.labels):
            for field, value in zip(("points", "visible", "head_box"), labels, strict=True):
                record[field][actor] = value
        record["checksum"] = _checksum(content, index)
        try:
            with open(self.path, "r+b", buffering=0) as file:
                file.seek(self._place(index))
                if file.write(content) < len(content):  # type: ignore[arg-type]
                    raise OSError(0, "the disk is full")
        except OSError as error:
            self._keeps = False
            note(f"{self.path} cannot be written ({error.strerror}): what it lacks is drawn each time")


def _taken(path: Path) -> int:
    """The bytes that a file takes on the disk, 0 if there is none; less than its length, as it has holes."""
    if not path.exists():
        return 0
    status = path.stat()
    return 512 * status.st_blocks if hasattr(status, "st_blocks") else status.st_size


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _checksum(content: np.ndarray, index: int) -> int:
    """That of the bytes of record `index` behind the place of the checksum itself."""
    return zlib.crc32(content[4:], index + 1)  # type: ignore[arg-type]
