"""MATLAB files whose parts do not fit are refused before SciPy reads them, which some of them would crash."""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from src.datasets.files import load_mat
from src.datasets.mat import HEADER, check_mat
from src.errors import UserError

STRUCTS = np.array([[(1.0, "one"), (2.0, "two")]], dtype=[("number", object), ("name", object)])
CONTENT = {
    "joints": np.arange(12.0).reshape(3, 4),
    "small": np.uint8(3),
    "complex": np.array([1 + 2j, 3]),
    "text": "ankle",
    "names": np.array(["a", "bc"], object),
    "people": STRUCTS,
    "nothing": np.zeros((0, 3)),
}


def written(content: dict[str, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, content, **options)
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"do_compression": True}, {"format": "4"}])
def test_whole_files_pass(tmp_path: Path, options: dict[str, Any]) -> None:
    content = {"joints": CONTENT["joints"]} if options.get("format") == "4" else CONTENT
    data = written(content, **options)
    check_mat(data, list(content))
    (tmp_path / "x.mat").write_bytes(data)
    found = load_mat(tmp_path / "x.mat", list(content))
    np.testing.assert_array_equal(found["joints"], content["joints"])
    assert set(found) == set(content)


def _put(at: int, value: int) -> Callable[[bytearray], None]:
    return lambda data: struct.pack_into("<I", data, at, value)


def _cut(data: bytearray) -> None:
    del data[-8:]


@pytest.mark.parametrize(
    "change, message",
    [
        (_put(HEADER, 9), "a variable is no matrix"),
        (_put(HEADER + 4, 1 << 30), "it ends too early"),
        (_put(HEADER + 8 + 4, 4), "the flags of a matrix are too short"),
        (_put(HEADER + 8 + 8, 77), "a matrix has class 77"),
        (_put(HEADER + 24, 11), "an element has type 11"),
        (_put(HEADER + 24 + 4, 4), r"a matrix has the shape \[3\]"),
        (_put(HEADER + 24 + 8, 0xFFFFFFFF), r"a matrix has the shape \[-1, 4\]"),
        # the type of the values, behind a name of 8 bytes: SciPy has no such type, and crashes
        (_put(HEADER + 56, 0), "an element has type 0 and 96 bytes"),
        (_put(HEADER + 56 + 4, 95), "an element has type 9 and 95 bytes"),
        (_put(HEADER + 56 + 4, 1 << 20), "it ends too early"),
        (_cut, "it ends too early"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    tmp_path: Path, change: Callable[[bytearray], None], message: str
) -> None:
    data = bytearray(written({"joints": CONTENT["joints"]}))
    change(data)
    (tmp_path / "x.mat").write_bytes(data)
    with pytest.raises(UserError, match=rf"x\.mat is damaged or no MATLAB file \({message}"):
        load_mat(tmp_path / "x.mat", ["joints"])


def test_what_is_not_wanted_is_not_looked_into() -> None:
    data = bytearray(written({"joints": CONTENT["joints"]}))
    _put(HEADER + 56, 0)(data)
    check_mat(bytes(data), ["other"])


def test_structs_cannot_claim_more_than_the_file_holds(tmp_path: Path) -> None:
    data = bytearray(written({"people": STRUCTS}))
    lengths = data.index(struct.pack("<II", 1, 2))  # the shape of the struct array
    struct.pack_into("<II", data, lengths, 1 << 30, 1 << 30)
    with pytest.raises(ValueError, match="it ends too early"):
        check_mat(bytes(data), ["people"])


def test_matrices_within_matrices_have_an_end() -> None:
    nested: Any = 1.0
    for _ in range(40):
        nested = np.array([nested, None], object)[:1]
    with pytest.raises(ValueError, match="within each other more than 32 times"):
        check_mat(written({"x": nested}), ["x"])
