"""Reading what torch.save wrote: equal to what was saved, and every damage noticed."""

import io
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src.models import archive
from src.models.checkpoint import DamagedError, read_plain
from tests.models import hostile

DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
    torch.int8, torch.uint8, torch.bool, torch.complex64, torch.uint16, torch.uint32,
]  # fmt: skip


def again(content: Any, **how: Any) -> Any:
    """What comes back of `content` after torch.save."""
    file = io.BytesIO()
    torch.save(content, file, **how)
    file.seek(0)
    return archive.load(file)


def load(content: bytes) -> Any:
    return archive.load(io.BytesIO(content))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_was_saved_comes_back(zipped: bool, protocol: int) -> None:
    plain = {
        "none": None, "bools": [True, False], "ints": (0, 255, 65536, -1, 2**40, 2**100), "float": 0.1,
        "texts": ["", "é", "x" * 300], "bytes": b"\x00\xff", "nested": {1: {"a": ({},)}},
        "shape": torch.Size([2]), "ordered": OrderedDict(a=1), "counts": Counter("aab"), "dtype": torch.half,
    }  # fmt: skip
    assert again(plain, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol) == plain


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_keep_type_shape_layout_and_what_they_share(zipped: bool) -> None:
    base = torch.arange(24.0).reshape(2, 3, 4)
    saved: dict[str, torch.Tensor] = {str(dtype): torch.arange(3).to(dtype) for dtype in DTYPES}
    saved |= {
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "turned": base.permute(2, 0, 1),
        "part": base[1, 1:, ::2],
        "images": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "learnt": torch.nn.Parameter(torch.ones(2)),
    }
    loaded = again(saved, _use_new_zipfile_serialization=zipped)
    for name, value in saved.items():
        assert torch.equal(loaded[name], value), name
        assert (loaded[name].dtype, loaded[name].stride()) == (value.dtype, value.stride()), name
    loaded["turned"].zero_()
    assert not loaded["part"].any()  # they had one memory, and have it again
    assert loaded["images"].is_contiguous(memory_format=torch.channels_last)


def test_state_dicts_come_back() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.rand(2, 3, 5, 5)).sum().backward()
    optimizer.step()
    loaded = again({"model": network.state_dict(), "optimizer": optimizer.state_dict()})
    network.load_state_dict(loaded["model"])
    optimizer.load_state_dict(loaded["optimizer"])
    assert list(loaded["model"]) == list(network.state_dict())


def test_numbers_of_numpy_become_plain() -> None:
    numbers = [np.float64(0.87), np.float32(0.5), np.int64(-7), np.uint8(200), np.bool_(True)]
    loaded = again(numbers)
    assert loaded == [0.87, 0.5, -7, 200, True] and {type(number) for number in loaded} == {float, int, bool}
    old = hostile.call(
        "numpy.dtype", hostile.word("f8"), b"K\x00", b"K\x01"
    )  # as NumPy 1 in Python 2 wrote it
    value = b"U\x08" + np.float64(0.25).tobytes()
    program = b"\x80\x02" + hostile.call("numpy.core.multiarray.scalar", old, value) + b"."
    assert load(hostile.zipped(program)) == 0.25


def test_every_record_is_held_against_its_checksum() -> None:
    """A changed byte anywhere in a record, or in what says where records are, is noticed."""
    file = io.BytesIO()
    torch.save({"a": torch.rand(70), "b": torch.rand(5), "c": "text"}, file)
    whole = file.getvalue()
    with zipfile.ZipFile(file) as zipped:
        places = [(entry.header_offset, entry.file_size) for entry in zipped.infolist()]
    assert len(places) >= 5
    for start, size in places:
        name, extra = (int.from_bytes(whole[start + i : start + i + 2], "little") for i in (26, 28))
        first = start + 30 + name + extra
        for place in {first, first + size // 2, first + size - 1}:
            damaged = bytearray(whole)
            damaged[place] ^= 1
            with pytest.raises(zipfile.BadZipFile, match="Bad CRC-32"):
                load(bytes(damaged))


@pytest.mark.parametrize("zipped", [True, False])
def test_no_torn_file_passes_for_a_whole_one(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "a.pth"
    torch.save({"a": torch.rand(7), "b": 1}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    read_plain(path)
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError, match="is damaged"):
            read_plain(path)


@pytest.mark.parametrize("name, content", hostile.lies().items(), ids=hostile.lies())
def test_lies_are_refused_or_harmless(name: str, content: bytes) -> None:
    """Those that are well-formed are refused by what opens a checkpoint (test_hostile.py)."""
    try:
        found = load(content)
    except Exception as error:
        assert not isinstance(error, MemoryError | RecursionError)
    else:
        assert isinstance(found, dict | list)


def test_a_description_of_endless_length_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_INSTRUCTIONS", 1000)
    assert len(load(hostile.zipped(b"\x80\x02(" + b"}" * 900 + b"t."))) == 900
    with pytest.raises(ValueError, match="too long"):
        load(hostile.zipped(b"\x80\x02(" + b"}" * 1100 + b"t."))


@pytest.mark.parametrize(
    "make, name",
    [
        (lambda: np.zeros(3), f"{np.zeros(3).__reduce__()[0].__module__}._reconstruct"),
        (lambda: {1, 2}, "__builtin__.set"),
        (lambda: np.datetime64("2020"), "a NumPy number of type 'M8'"),
        (lambda: torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        (lambda: print, "__builtin__.print"),
    ],
)
def test_other_objects_are_named(make: Callable[[], Any], name: str) -> None:
    with pytest.raises(archive.ForbiddenError) as refusal:
        again(make())
    assert str(refusal.value) == name
