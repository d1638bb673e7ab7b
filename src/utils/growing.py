"""Files that grow as a long run goes on, and that can be used whenever it ends: a list, a table, a video."""

import csv
import io
import json
import math
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from src.errors import UserError
from src.utils.files import require_utf8, unfinished

SPARE = 8 << 20  # bytes that a video leaves on the disk: its end, without which it cannot be read, needs some


class _Growing:
    """A file of bytes; what is appended goes before the end that it always has.

    UserError if it cannot be written. What was appended before stays, and the file whole.
    """

    END = b""

    def __init__(self, path: Path, head: bytes = b"") -> None:
        self.path, self._size = path, 0
        try:
            self._file = open(path, "wb", buffering=0)
        except OSError as error:
            raise self._refusal(error) from None
        self._append(head)

    def _append(self, data: bytes) -> None:
        try:
            self._write(data + self.END)
        except OSError as error:
            with suppress(OSError):  # the end was there before, and needs no more room
                self._write(self.END)
                self._file.truncate()
            raise self._refusal(error) from None
        self._size += len(data)

    def _write(self, data: bytes) -> None:
        self._file.seek(self._size)
        rest = memoryview(data)
        while rest:  # a disk that is nearly full takes a part
            rest = rest[self._file.write(rest) :]

    def _refusal(self, error: OSError) -> UserError:
        return UserError(f"{self.path} cannot be written: {error.strerror}")

    def close(self) -> None:
        self._file.close()


class JsonList(_Growing):
    """A JSON file with a list, an item a line."""

    END = b"\n]\n"

    def __init__(self, path: Path) -> None:
        super().__init__(path, b"[")
        self._separator = "\n"

    def extend(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Append items of plain values, none of which may be infinite or NaN."""
        lines = [json.dumps(item, ensure_ascii=False, allow_nan=False) for item in items]
        if lines:
            self._append(_bytes(self._separator + ",\n".join(lines)))
            self._separator = ",\n"


class CsvTable(_Growing):
    """A CSV file with a line of names."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        super().__init__(path, _csv([names]))

    def extend(self, rows: Iterable[Sequence[object]]) -> None:
        """Append rows; None is left empty."""
        if data := _csv(rows):
            self._append(data)


def _csv(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return _bytes(text.getvalue())


def _bytes(text: str) -> bytes:
    """UTF-8; what names of files have that is none is written as JSON does it: \\udcff."""
    return text.encode(errors="backslashreplace")


class VideoFile:
    """A video of equally distant frames that shows each at its time: some several times, others not at all.

    The file appears when it is closed. Its sides are even: an odd last row or column is left out.
    UserError if the disk fills, or if OpenCV cannot write such a file; frames written before then are kept.
    """

    CODEC = "mp4v"
    MOST = 65_535  # parts of a second that MPEG-4 counts: the higher a rate, the fewer decimals it can have

    def __init__(self, path: Path, rate: float, width: int, height: int) -> None:
        require_utf8(path)
        rate = round(rate, max(0, int(math.log10(self.MOST / rate))))
        self.path, self._rate, self._frames = path, rate, 0
        self._part = unfinished(path).with_suffix(path.suffix)  # by which OpenCV knows the format
        self._require_room()
        codec = cv2.VideoWriter.fourcc(*self.CODEC)
        self._writer = cv2.VideoWriter(str(self._part), codec, rate, (width, height))
        if not self._writer.isOpened():
            self._part.unlink(missing_ok=True)
            raise UserError(
                f"{path} cannot be written: OpenCV makes no {width} x {height} {path.suffix} video"
            )
        self._newest: np.ndarray | None = None

    def show(self, image: np.ndarray, seconds: float) -> None:
        """Show a picture (H, W, 3) uint8 RGB from a time on, which comes after those given before."""
        self._require_room()
        place = round(seconds * self._rate)
        while self._newest is not None and self._frames < place:
            self._write(self._newest)
        self._newest = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        if self._frames <= place:
            self._write(self._newest)

    def _write(self, image: np.ndarray) -> None:
        self._writer.write(image)
        self._frames += 1

    def _require_room(self) -> None:
        try:
            free = shutil.disk_usage(self.path.parent).free
        except OSError as error:
            raise UserError(f"{self.path} cannot be written: {error.strerror}") from None
        if free < SPARE:
            raise UserError(f"{self.path} cannot go on: the disk is full but for {free >> 20} MB")

    def close(self) -> None:
        """Finish the file, and look whether all of it is there: OpenCV keeps silent when writing fails."""
        self._writer.release()
        reader = cv2.VideoCapture(str(self._part))
        there = reader.get(cv2.CAP_PROP_FRAME_COUNT) if reader.isOpened() else 0
        reader.release()
        try:
            if there:
                os.replace(self._part, self.path)
        except OSError as error:
            raise UserError(f"{self.path} cannot be written: {error.strerror}") from None
        finally:
            self._part.unlink(missing_ok=True)
        if there < self._frames:
            raise UserError(
                f"{self.path} has {there:.0f} of {self._frames} frames: the rest could not be written"
            )
