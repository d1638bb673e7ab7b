"""A bank of drawings: the same as without it, drawn once, whatever happens to its file."""

import errno
import multiprocessing
import os
import pickle
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from src.datasets.skeletons import COCO, LSP, MPII
from src.datasets.synth import SynthPeople, SynthScenes, bank
from src.datasets.synth.parts import Parts
from src.errors import UserError
from src.utils.experiment import read_rows
from tests.task_runner import TINY, main_of

RES, COUNT = 64, 4
Drawings = SynthPeople | SynthScenes


def people(folder: Path | None, size: int = COUNT, **others: object) -> SynthPeople:
    return SynthPeople("train", size, MPII, RES, bank=folder, **others)  # type: ignore[arg-type]


def scenes(folder: Path | None, size: int = COUNT) -> SynthScenes:
    return SynthScenes("train", size, COCO, 128, bank=folder)


def content(drawings: Drawings, index: int) -> list[np.ndarray]:
    """All that a sample says, as arrays."""
    sample = drawings.person(index) if isinstance(drawings, SynthPeople) else drawings.scene(index)
    return [np.asarray(field) for field in (sample.read(1).pixels, *sample[1:])]


def assert_same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def file_of(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


@pytest.fixture
def never_draws(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """After a call of this nothing can be drawn any more."""

    def refuse(*_: object) -> None:
        raise AssertionError("it was drawn again")

    def forbid() -> None:
        for kind in (SynthPeople, SynthScenes):
            monkeypatch.setattr(kind, "_drawn", refuse)

    return forbid


@pytest.mark.parametrize("kind", [people, scenes])
def test_what_is_kept_is_what_was_drawn(kind, tmp_path, never_draws):
    plain, first = kind(None), kind(tmp_path)
    expected = [content(plain, index) for index in range(COUNT)]
    for index in range(COUNT):
        assert_same(content(first, index), expected[index])
    never_draws()
    for index in range(COUNT):  # by the same, by another run, by a worker that was spawned
        for later in (first, kind(tmp_path), pickle.loads(pickle.dumps(first))):
            assert_same(content(later, index), expected[index])


def test_skeletons_and_numbers_of_samples_share_a_file(tmp_path, never_draws):
    content(people(tmp_path), 1)
    never_draws()
    found = SynthPeople("train", 100, LSP, RES, bank=tmp_path)
    assert found.person(1).joints.shape == (14, 2)
    with pytest.raises(IndexError, match="has 4 samples; there is no number 4"):
        people(tmp_path).person(4)


def test_other_drawings_have_files_of_their_own(tmp_path, monkeypatch):
    people(tmp_path)
    SynthPeople("valid", COUNT, MPII, RES, bank=tmp_path)
    SynthPeople("train", COUNT, MPII, 2 * RES, bank=tmp_path)
    people(tmp_path, poses="upright")
    people(tmp_path, parts=Parts(head=False))
    scenes(tmp_path)
    assert len(list(tmp_path.iterdir())) == 6
    monkeypatch.setattr(bank, "version", lambda: "another")
    people(tmp_path)
    assert len(list(tmp_path.iterdir())) == 7


def test_the_version_is_that_of_the_drawing_code(monkeypatch):
    bank.version.cache_clear()
    before = bank.version()
    read = Path.read_bytes
    for module, changes in (("poses.py", True), ("affine.py", True), ("clips.py", False)):
        bank.version.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", lambda p, m=module: read(p) + b"#" * (p.name == m))
            assert (bank.version() != before) == changes
    bank.version.cache_clear()


@pytest.mark.parametrize("harm", ["cut", "changed", "lost its head", "holds another record"])
def test_what_is_damaged_is_drawn_again(harm, tmp_path):
    kept = people(tmp_path)
    expected = [content(kept, index) for index in range(COUNT)]
    file = file_of(tmp_path)
    whole = file.read_bytes()
    record = (len(whole) - bank._HEAD) // COUNT
    changed = bytearray(whole)
    if harm == "cut":  # within the last record
        del changed[-100:]
    elif harm == "changed":
        changed[-100] ^= 1
    elif harm == "lost its head":  # what a power cut leaves of what was not yet on the disk
        changed[: bank._HEAD + 10] = bytes(bank._HEAD + 10)
    else:
        changed[-record:] = changed[-2 * record : -record]
    file.write_bytes(changed)
    again = people(tmp_path)
    for index in range(COUNT):
        assert_same(content(again, index), expected[index])
    assert file.read_bytes() == whole  # and it is mended


def _draw_all(folder: Path) -> None:
    drawings = people(folder)
    for index in range(COUNT):
        drawings.person(index)


def test_processes_that_draw_the_same_leave_one_whole_file(tmp_path, never_draws):
    processes = [multiprocessing.Process(target=_draw_all, args=(tmp_path / "shared",)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 3
    _draw_all(tmp_path / "alone")
    assert file_of(tmp_path / "shared").read_bytes() == file_of(tmp_path / "alone").read_bytes()


def test_a_file_of_something_else_is_refused(tmp_path):
    people(tmp_path)
    file_of(tmp_path).write_text("notes")
    with pytest.raises(UserError, match=r"\.bank is damaged, or no bank of drawings: delete it$"):
        people(tmp_path)


def test_a_bank_without_room_is_refused(tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(bank.shutil, "disk_usage", lambda _: usage(10**6))
    with pytest.raises(
        UserError, match=r"may grow to 1\.6 GB, and there is room for 1\.0 MB: .*--synth-size"
    ):
        people(tmp_path, size=100_000)
    people(tmp_path)  # this many do fit


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be made"):
        people(tmp_path / "file")


def test_on_a_full_disk_drawing_goes_on(tmp_path, monkeypatch, capsys):
    drawings, plain = people(tmp_path), people(None)
    opened = open

    def full(path: Path, mode: str, buffering: int = -1) -> object:
        if "+" in mode:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opened(path, mode, buffering=buffering)

    monkeypatch.setattr(bank, "open", full, raising=False)
    capsys.readouterr()
    for index in range(2):
        assert_same(content(drawings, index), content(plain, index))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("cannot be written (No space left on device): what it lacks is drawn each time")


def test_a_bank_that_cannot_be_written_is_read(tmp_path, monkeypatch, capsys, never_draws):
    expected = content(people(tmp_path), 0)
    monkeypatch.setattr(bank.os, "access", lambda *_: False)  # root may write anything
    before = file_of(tmp_path).read_bytes()
    drawings = people(tmp_path)
    assert "it cannot be written, so what it lacks is drawn each time" in capsys.readouterr().err
    content(drawings, 1)
    assert file_of(tmp_path).read_bytes() == before
    never_draws()
    assert_same(content(drawings, 0), expected)


def test_a_bank_that_is_deleted_on_the_way_is_done_without(tmp_path):
    drawings = people(tmp_path)
    expected = content(drawings, 0)
    file_of(tmp_path).unlink()
    assert_same(content(drawings, 0), expected)


def test_it_takes_space_as_it_fills(tmp_path):
    drawings = people(tmp_path, size=1000)
    drawings.person(999)
    status = file_of(tmp_path).stat()
    assert status.st_size > 900 * 64 * 64 * 3
    if hasattr(status, "st_blocks"):
        assert 512 * status.st_blocks < 0.1 * status.st_size


@pytest.mark.slow
@pytest.mark.parametrize("task", ["hgpose", "hgpose-ae"])
def test_a_run_learns_the_same_with_a_bank(task, tmp_path, never_draws):
    def logged(name: str, *words: str) -> list[str]:
        main_of(f"{task}/train.py")(
            ["--exp", name, "--exp-dir", str(tmp_path), "--epochs", "1", *words, *TINY]
        )
        rows = read_rows(tmp_path / task / name / "log.csv")
        return [row[f"{split}_loss"] for row in rows for split in ("train", "valid")]

    own = ("--synth-bank", str(tmp_path / "bank"))
    expected = logged("plain")
    assert logged("first", *own) == expected
    never_draws()
    assert logged("second", *own) == expected
    assert len(list((tmp_path / "bank").iterdir())) == 2  # of both splits
