"""Files appear whole or not at all, and the one that is replaced can stay."""

import errno
import json
import os
from pathlib import Path

import pytest

from src.errors import UserError
from src.utils.files import replacing, write_json, write_text


def write(path: Path, text: str, kept: Path | None = None) -> None:
    with replacing(path, kept) as part:
        part.write_text(text)


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("links", [True, False])
def test_the_replaced_file_stays_under_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")  # what FAT and some network disks answer

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    path, kept = tmp_path / "new", tmp_path / "old"
    for text in ("1", "2", "3"):
        write(path, text, kept)
    assert texts(tmp_path) == {"new": "3", "old": "2"}


def test_two_names_of_one_file_leave_nothing_behind(tmp_path: Path) -> None:
    """As after a kill between the two renames."""
    write_text(tmp_path / "new", "1")
    os.link(tmp_path / "new", tmp_path / "old")
    write(tmp_path / "new", "2", tmp_path / "old")
    assert texts(tmp_path) == {"new": "2", "old": "1"}


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127])
def test_a_name_may_be_as_long_as_names_can_be(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "1")
    assert texts(tmp_path) == {name: "1"}


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    """Such as that of a home folder, which options.json and a report hold."""
    folder = os.fsdecode(b"/home/jos\xe9")
    write_json(tmp_path / "a.json", {"folder": folder})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"folder": folder}


def test_what_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path, kept = tmp_path / "new", tmp_path / "old"
    write(path, "1", kept)
    write(path, "2", kept)
    with pytest.raises(ValueError, match="other"), replacing(path, kept) as part:
        part.write_text("3")
        raise ValueError("other")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="new cannot be written: No space left on device"):
        write(path, "3", kept)
    assert texts(tmp_path) == {"new": "2", "old": "1"}


def test_content_reaches_the_disk_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power cut could leave the new name on an empty file."""
    calls: list[str] = []
    for name in ("fsync", "replace", "link"):
        function = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, f=function: (calls.append(n), f(*a)))
    write(tmp_path / "new", "1")
    write(tmp_path / "new", "2", tmp_path / "old")
    assert calls == ["fsync", "replace", "fsync", "fsync", "link", "replace", "replace", "fsync"]
