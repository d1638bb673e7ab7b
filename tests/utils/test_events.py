"""TensorBoard's events: whole records, each on the disk at once."""

import struct
from pathlib import Path

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from src.utils.events import Events


def read(folder: Path) -> list[Event]:
    """The events in the only file of a folder, their checksums tested."""
    (path,) = folder.iterdir()
    data, events = path.read_bytes(), []
    while data:
        length, sum_of_length = struct.unpack("<QI", data[:12])
        record, (sum_of_record,) = (
            data[12 : 12 + length],
            struct.unpack("<I", data[12 + length : 16 + length]),
        )
        assert masked_crc32c(data[:8]) == sum_of_length and masked_crc32c(record) == sum_of_record
        events.append(Event.FromString(record))
        data = data[16 + length :]
    return events


def test_events_are_on_the_disk_at_once(tmp_path: Path) -> None:
    events = Events(tmp_path / "tensorboard", 7)
    version, start = read(tmp_path / "tensorboard")
    assert version.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (7, SessionLog.START)
    events.add_scalars({"epoch/loss": 0.25, "epoch/accuracy": 1}, 8)
    events.add_picture("validation", np.zeros((4, 6, 3), np.uint8), 9)
    events.add_text("options", "lr: 1", 9)
    *scalars, picture, text = read(tmp_path / "tensorboard")[2:]
    assert [(e.step, e.summary.value[0].tag, e.summary.value[0].simple_value) for e in scalars] == [
        (8, "epoch/loss", 0.25), (8, "epoch/accuracy", 1.0),
    ]  # fmt: skip
    assert (picture.summary.value[0].image.height, picture.summary.value[0].image.width) == (4, 6)
    assert text.summary.value[0].tensor.string_val == [b"lr: 1"]


def test_each_start_has_a_file_of_its_own(tmp_path: Path) -> None:
    for step in (0, 5):
        Events(tmp_path / "tensorboard", step)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2


def test_what_cannot_be_written_raises_and_is_forgotten(tmp_path: Path) -> None:
    events = Events(tmp_path / "tensorboard", 0)
    (tmp_path / "tensorboard").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        events.add_scalars({"a": 1}, 1)
    (tmp_path / "elsewhere").rename(tmp_path / "tensorboard")
    events.add_scalars({"b": 1}, 2)
    assert [event.step for event in read(tmp_path / "tensorboard")] == [0, 0, 2]
