"""Lists and tables are whole after every write, on a full disk, too; videos show each frame at its time."""

import csv
import errno
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from src.errors import UserError
from src.utils import growing
from src.utils.growing import CsvTable, JsonList, VideoFile


def test_a_list_is_whole_after_every_write(tmp_path: Path) -> None:
    rows = JsonList(tmp_path / "a.json")
    content: list[dict[str, Any]] = []
    for new in ([], [{"a": 1}], [{"a": "ä"}, {"b": [1.5]}], []):
        rows.extend(new)
        content += new
        assert json.loads((tmp_path / "a.json").read_text("utf-8")) == content
    rows.close()
    assert (tmp_path / "a.json").read_text("utf-8").splitlines()[1] == '{"a": 1},'


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    """Such as those of files from old archives."""
    name = os.fsdecode(b"caf\xe9.jpg")
    rows, table = JsonList(tmp_path / "a.json"), CsvTable(tmp_path / "a.csv", ["name"])
    rows.extend([{"name": name}])
    table.extend([[name]])
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == [{"name": name}]
    assert (tmp_path / "a.csv").read_text("utf-8") == "name\ncaf\\udce9.jpg\n"


def test_numbers_that_json_has_not_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        JsonList(tmp_path / "a.json").extend([{"a": float("nan")}])


def test_a_table_has_a_line_of_names_and_empty_cells(tmp_path: Path) -> None:
    table = CsvTable(tmp_path / "a.csv", ["name", "x"])
    table.extend([["a, b", 1.5], ["c", None]])
    with open(tmp_path / "a.csv", newline="") as file:
        assert list(csv.reader(file)) == [["name", "x"], ["a, b", "1.5"], ["c", ""]]


class FullDisk:
    """A file for which there is room for so many bytes; what is written over others needs none."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, data: memoryview) -> int:
        fits = min(len(data), self.room - self.file.tell())
        if fits <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data[:fits])


@pytest.mark.parametrize("more", range(0, 60, 7))
def test_on_a_full_disk_what_was_written_stays_whole(tmp_path: Path, more: int) -> None:
    rows, table = JsonList(tmp_path / "a.json"), CsvTable(tmp_path / "a.csv", ["n"])
    rows.extend([{"n": 0}])
    table.extend([[0]])
    for growing_file, items in ((rows, [{"n": n} for n in range(9)]), (table, [[n] for n in range(99)])):
        room = growing_file.path.stat().st_size + more
        growing_file._file = FullDisk(growing_file._file, room)  # type: ignore[assignment]
        with pytest.raises(UserError, match="cannot be written: No space left on device"):
            growing_file.extend(items)  # type: ignore[arg-type]
    assert json.loads((tmp_path / "a.json").read_text()) == [{"n": 0}]
    assert (tmp_path / "a.csv").read_text() == "n\n0\n"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        JsonList(tmp_path / "missing" / "a.json")
    with pytest.raises(UserError, match="cannot be written"):
        VideoFile(tmp_path / "missing" / "a.mp4", 10, 32, 32)


def levels(path: Path) -> list[int]:
    """The grey of each frame in tens."""
    capture, found = cv2.VideoCapture(str(path)), []
    while True:
        there, frame = capture.read()
        if not there:
            return found
        found.append(round(frame.mean() / 10))


def grey(level: int, height: int = 32, width: int = 48) -> np.ndarray:
    return np.full((height, width, 3), 10 * level, np.uint8)


def test_frames_are_shown_at_their_times(tmp_path: Path) -> None:
    """At 10 a second: one that lasts for three, two that are too near to each other, a little jitter."""
    video = VideoFile(tmp_path / "a.mp4", 10.0, 48, 32)
    for level, seconds in ((3, 0.0), (6, 0.104), (9, 0.4), (12, 0.42), (15, 0.5), (18, 0.596)):
        video.show(grey(level), seconds)
    video.close()
    assert levels(tmp_path / "a.mp4") == [3, 6, 6, 6, 9, 15, 18]


@pytest.mark.parametrize("rate", [0.301, 23.976, 65.533, 65.537, 119.963, 239.987, 700.123, 7000.3])
def test_any_rate_is_written(tmp_path: Path, rate: float) -> None:
    """That of a telephone's slow motion is no round number."""
    video = VideoFile(tmp_path / "a.mp4", rate, 48, 32)
    for number in range(6):
        video.show(grey(3 + number), number / rate)
    video.close()
    assert levels(tmp_path / "a.mp4") == [3, 4, 5, 6, 7, 8]
    assert cv2.VideoCapture(str(tmp_path / "a.mp4")).get(cv2.CAP_PROP_FPS) == pytest.approx(rate, rel=1e-4)


def test_odd_sides_lose_a_row(tmp_path: Path) -> None:
    video = VideoFile(tmp_path / "a.mp4", 10.0, 49, 33)
    video.show(grey(9, 33, 49), 0.0)
    video.close()
    assert levels(tmp_path / "a.mp4") == [9]


def test_frames_that_were_not_written_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV says nothing when a write fails."""
    video = VideoFile(tmp_path / "a.mp4", 10.0, 48, 32)
    for number in range(4):
        video.show(grey(number + 5), number / 10)
    video._frames = 9
    with pytest.raises(UserError, match="4 of 9 frames"):
        video.close()
    assert len(levels(tmp_path / "a.mp4")) == 4
    assert not list(tmp_path.glob(".*"))


def test_a_folder_in_the_place_of_a_video_is_one_line(tmp_path: Path) -> None:
    video = VideoFile(tmp_path / "a.mp4", 10.0, 48, 32)
    video.show(grey(5), 0.0)
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(UserError, match=r"a\.mp4 cannot be written: Is a directory"):
        video.close()
    assert not list(tmp_path.glob(".*"))


def test_nothing_is_begun_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "SPARE", 1 << 62)
    with pytest.raises(UserError, match="the disk is full"):
        VideoFile(tmp_path / "a.mp4", 10.0, 48, 32)
    assert not list(tmp_path.iterdir())
