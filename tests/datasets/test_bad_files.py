"""What may be wrong in the arrays of any reader, field by field; and names of pictures from everywhere.

Damage to bytes is for tests/bench/test_fuzz.py, what is particular to a release for the tests of its reader.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
import scipy.io

from src.datasets import readers
from src.datasets.annotations import Annotations
from src.datasets.images import BadImage
from src.errors import UserError
from tests.releases import (
    WIDTH,
    make_coco,
    make_lsp,
    make_lsp_mpii,
    make_lspet,
    write_flic_h5,
    write_mpii_h5,
    write_mpii_pictures,
    write_picture,
)

Arrays = dict[str, np.ndarray]


class Form(NamedTuple):
    """A file of arrays: how it is made, where it lies, which fields must be there, and which may be NaN."""

    dataset: str
    make: Callable[[Path], object]
    file: str
    required: tuple[str, ...]
    ignored: tuple[str, ...] = ()

    def read(self, folder: Path) -> Annotations:
        return readers.read(self.dataset, folder, "train")


def _mpii(folder: Path) -> None:
    write_mpii_h5(folder, baked=False)
    write_mpii_pictures(folder)


FORMS = {
    "lsp": Form("lsp", make_lsp, "joints.mat", ("joints",)),
    "lspet": Form("lspet", make_lspet, "joints.mat", ("joints",)),
    "mpii": Form(
        "mpii", _mpii, "annot/train.h5", ("part", "center", "scale"), ("visible", "normalize", "imgname")
    ),
    "lsp_mpii": Form(
        "lsp_mpii",
        make_lsp_mpii,
        "lsp_mpii.h5",
        ("imgname", "part", "center", "scale", "visible", "istrain"),
        ("visible", "imgname"),
    ),
    "flic": Form(
        "flic",
        write_flic_h5,
        "annot/train.h5",
        ("imgname", "part", "center", "scale"),
        ("visible", "person", "normalize", "imgname"),
    ),
}
FIELDS = [(name, field) for name, form in FORMS.items() for field in form.required]
NUMBERS = [(name, field) for name, field in FIELDS if field not in FORMS[name].ignored]


def rewrite(path: Path, change: Callable[[Arrays], None]) -> None:
    """Change the arrays of a .mat or .h5 file."""
    if path.suffix == ".mat":
        arrays = {key: value for key, value in scipy.io.loadmat(path).items() if not key.startswith("_")}
        change(arrays)
        scipy.io.savemat(path, arrays)
        return
    with h5py.File(path) as file:
        arrays = {key: file[key][()] for key in file}
    change(arrays)
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file[key] = array


def refusal(form: Form, folder: Path, change: Callable[[Arrays], None]) -> str:
    """What is said of a file after a change: one line."""
    form.make(folder)
    rewrite(folder / form.file, change)
    with pytest.raises(UserError) as error:
        form.read(folder)
    message = str(error.value)
    assert "\n" not in message and (form.dataset in message or form.file in message)
    return message


@pytest.mark.parametrize("name, field", FIELDS)
def test_a_missing_field_is_named(tmp_path: Path, name: str, field: str) -> None:
    def rename(arrays: Arrays) -> None:
        arrays["other"] = arrays.pop(field)

    assert f"{FORMS[name].file} has no {field}" in refusal(FORMS[name], tmp_path, rename)


@pytest.mark.parametrize("name, field", FIELDS)
def test_text_for_numbers_is_refused(tmp_path: Path, name: str, field: str) -> None:
    texts = np.full((3, 2), b"text")
    message = refusal(FORMS[name], tmp_path, lambda arrays: arrays.update({field: texts}))
    assert f"{field} is " in message or "damaged" in message


@pytest.mark.parametrize("name, field", FIELDS)
def test_a_wrong_length_is_refused(tmp_path: Path, name: str, field: str) -> None:
    def shorten(arrays: Arrays) -> None:
        arrays[field] = arrays[field][:-1] if arrays[field].ndim < 3 else arrays[field][:, :-1]

    refusal(FORMS[name], tmp_path, shorten)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e300])
@pytest.mark.parametrize("name, field", NUMBERS)
def test_what_is_no_number_is_refused(tmp_path: Path, name: str, field: str, value: float) -> None:
    def put(arrays: Arrays) -> None:
        arrays[field] = arrays[field].astype(float)
        arrays[field][...] = value

    refusal(FORMS[name], tmp_path, put)


@pytest.mark.parametrize("name", FORMS)
def test_nobody_is_refused(tmp_path: Path, name: str) -> None:
    def empty(arrays: Arrays) -> None:
        for field, array in arrays.items():
            arrays[field] = array[..., :0] if FORMS[name].file == "joints.mat" else array[:0]

    assert "has no people" in refusal(FORMS[name], tmp_path, empty)


# ------------------------------------------------------------------------------------------ names of pictures


def _rename_h5(file: str, name: str) -> Callable[[Path], None]:
    def rename(folder: Path) -> None:
        def change(arrays: Arrays) -> None:
            names = arrays["imgname"].astype(object)
            names[0] = name.encode()
            arrays["imgname"] = names.astype("S")

        rewrite(folder / file, change)

    return rename


def _rename_coco(name: str) -> Callable[[Path], None]:
    def rename(folder: Path) -> None:
        path = folder / "annotations" / "person_keypoints_train2017.json"
        content: dict[str, Any] = json.loads(path.read_text())
        content["images"][0]["file_name"] = name
        path.write_text(json.dumps(content))

    return rename


NAMED = {
    "mpii": (_mpii, lambda name: _rename_h5("annot/train.h5", name), "images"),
    "flic": (write_flic_h5, lambda name: _rename_h5("annot/train.h5", name), "images"),
    "coco": (make_coco, _rename_coco, "images/train2017"),
}


@pytest.mark.parametrize("dataset", NAMED)
@pytest.mark.parametrize("name, place", [("été 雪.jpg", "été 雪.jpg"), ("sub\\x.jpg", "sub/x.jpg")])
def test_names_from_everywhere(tmp_path: Path, dataset: str, name: str, place: str) -> None:
    make, rename, folder = NAMED[dataset]
    make(tmp_path)
    rename(name)(tmp_path)
    write_picture(tmp_path / folder / "sub" / "anything.jpg")
    write_picture(tmp_path / "elsewhere.jpg", WIDTH + 8)
    (tmp_path / "elsewhere.jpg").rename(tmp_path / folder / place)
    people = readers.read(dataset, tmp_path, "train")
    assert people.person(0).read(1).pixels.shape[1] == WIDTH + 8


@pytest.mark.parametrize("dataset", NAMED)
@pytest.mark.parametrize("name", ["../nothing.jpg", "C:\\data\\x.jpg", "a\0b.jpg", "x" * 300 + ".jpg"])
def test_names_without_a_picture(tmp_path: Path, dataset: str, name: str) -> None:
    make, rename, _ = NAMED[dataset]
    make(tmp_path)
    rename(name)(tmp_path)
    people = readers.read(dataset, tmp_path, "train")
    with pytest.raises(BadImage, match=r"is missing|cannot be read|no name that a file can have"):
        people.person(0).read(1)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    _mpii(tmp_path)
    rewrite(
        tmp_path / "annot/train.h5", lambda arrays: arrays.update(imgname=np.array([b"\xff\xfe.jpg"] * 3))
    )
    with pytest.raises(BadImage, match="is missing"):
        readers.read("mpii", tmp_path, "train").person(0).read(1)
