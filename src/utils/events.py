"""The events of a run for TensorBoard, each appended to the file by the run itself.

tensorboardX hands them to a thread instead: on a full disk that thread ends with a traceback, and the run
then waits for it for ever.
"""

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c


class Events:
    """A new file of events in `folder`; what older files say of iterations after `step` is void."""

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(exist_ok=True)
        self._path = folder / f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._append(Event(file_version="brain.Event:2"))
        self._append(Event(step=step, session_log=SessionLog(status=SessionLog.START)))

    def add_scalars(self, values: Mapping[str, float], step: int) -> None:
        self._append(*(Event(step=step, summary=summary.scalar(*item)) for item in values.items()))

    def add_picture(self, name: str, image: Any, step: int) -> None:
        """A picture (H, W, 3) uint8."""
        self._append(Event(step=step, summary=summary.image(name, image, dataformats="HWC")))

    def add_text(self, name: str, text: str, step: int) -> None:
        self._append(Event(step=step, summary=summary.text(name, text)))

    def _append(self, *events: Event) -> None:
        now = time.time()
        for event in events:
            event.wall_time = now
        with open(self._path, "ab", buffering=0) as file:  # what cannot be written is not kept to fail later
            file.write(b"".join(_record(event.SerializeToString()) for event in events))


def _record(data: bytes) -> bytes:
    """A record of TensorFlow's format: length and data, each with its checksum."""
    length = struct.pack("<Q", len(data))
    sums = (struct.pack("<I", masked_crc32c(part)) for part in (length, data))
    return length + next(sums) + data + next(sums)
