"""What may be wrong in the arrays of any reader, field by field; and names of pictures from everywhere.

Damage to bytes is for tests/bench/test_fuzz.py, what is particular to a release for the tests of its reader.
"""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
import scipy.io

from bench import fuzz
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
    make_penn,
    write_flic_examples,
    write_flic_h5,
    write_mpii_annot_h5,
    write_mpii_flagged_json,
    write_mpii_h5,
    write_mpii_pictures,
    write_mpii_split_json,
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


# ------------------------------------------------------------------- something else in the place of any value

Place = tuple[Any, ...]

JUNK: tuple[Any, ...] = (
    None, True, "text", "", -1, 0.5, 1e300, float("nan"), float("inf"), 2**70, [], {}, [[]], [1], [None],
)  # fmt: skip
JUNK_ARRAYS: tuple[Any, ...] = (
    np.array(1.0), np.array([1.0, np.nan]), np.array([[b"text"], [b"more"]]), np.zeros((3, 0)),
    np.zeros((0, 3)), np.array([[1 + 2j]]), np.array([[True]]), np.array([[np.inf]]), np.array([[-1.0]]),
    np.ones((2, 2, 3)),
)  # fmt: skip
ARRAYS = ("mpii h5", "mpii annot.h5", "lsp_mpii", "flic h5", "lsp", "lspet", "mpii truth", "penn")
STRUCTS = ("mpii official", "flic mat")
JSONS = ("mpii json", "mpii flagged json", "coco", "coco boxes", "coco test")


def assert_read_or_refused(target: fuzz.Target, folder: Path, what: str) -> None:
    end = fuzz.attempt(target, folder)
    assert end in fuzz.GOOD, f"{what}: {end}"


@pytest.mark.parametrize("name", ARRAYS)
def test_other_arrays(tmp_path: Path, name: str) -> None:
    target = fuzz.TARGETS[name]
    target.make(tmp_path)
    fields: Arrays = {}
    rewrite(tmp_path / target.file, lambda arrays: fields.update(arrays))
    for field, array in fields.items():
        for other in (*JUNK_ARRAYS, array[..., :0], array[None], array.T, array.astype("S")):
            rewrite(tmp_path / target.file, _replace(field, other))
            assert_read_or_refused(target, tmp_path, f"{field} = {other!r}")
            rewrite(tmp_path / target.file, _replace(field, array))


def _replace(field: str, array: np.ndarray) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.update({field: array})


@pytest.mark.parametrize("name", STRUCTS)
def test_other_values_in_structs(tmp_path: Path, name: str) -> None:
    target = fuzz.TARGETS[name]
    target.make(tmp_path)
    ((key, content),) = (
        item for item in scipy.io.loadmat(tmp_path / target.file).items() if item[0][0] != "_"
    )
    for place in struct_places(content):
        for junk in JUNK_ARRAYS:
            changed = copy.deepcopy(content)
            inner = changed
            for field in place[:-1]:
                inner = inner[field].flat[0]
            inner[place[-1]][0, 0] = junk
            scipy.io.savemat(tmp_path / target.file, {key: changed})
            assert_read_or_refused(target, tmp_path, f"{'.'.join(place)} = {junk!r}")


def struct_places(structs: np.ndarray) -> Iterator[Place]:
    """The fields of a MATLAB struct array, and those of the first structs within."""
    for field in structs.dtype.names or ():
        yield (field,)
        inner = structs[field].flat[0]
        if isinstance(inner, np.ndarray) and inner.size:
            yield from ((field, *place) for place in struct_places(inner))


@pytest.mark.parametrize("name", JSONS)
def test_other_values_in_json(tmp_path: Path, name: str) -> None:
    target = fuzz.TARGETS[name]
    target.make(tmp_path)
    content = json.loads((tmp_path / target.file).read_text())
    for place in json_places(content):
        for junk in JUNK:
            changed = copy.deepcopy(content)
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = junk
            (tmp_path / target.file).write_text(json.dumps(changed))
            assert_read_or_refused(target, tmp_path, f"{place} = {junk!r}")


def json_places(content: Any) -> Iterator[Place]:
    """Where values are in a JSON; of lists only the first and what is in it."""
    if not isinstance(content, dict | list):
        return
    for key in content if isinstance(content, dict) else range(min(1, len(content))):
        yield (key,)
        yield from ((key, *place) for place in json_places(content[key]))


def _first(field: str, value: float) -> Callable[[Path], None]:
    """A change of the first value of a field in a file of arrays."""

    def change(path: Path) -> None:
        def put(arrays: Arrays) -> None:
            arrays[field] = arrays[field].astype(float)
            arrays[field].flat[0] = value

        rewrite(path, put)

    return change


def _key(key: str, value: Any) -> Callable[[Path], None]:
    """A change of the first record of a JSON."""

    def change(path: Path) -> None:
        records = json.loads(path.read_text())
        records[0][key] = value
        path.write_text(json.dumps(records))

    return change


def _not_test(path: Path) -> None:
    content = scipy.io.loadmat(path)["examples"]
    content["istest"][0, 0] = np.array([[2.0]])
    scipy.io.savemat(path, {"examples": content})


STRANGE: dict[str, tuple[str, Callable[[Path], object], str, Callable[[Path], None], str]] = {
    "istrain": ("mpii", write_mpii_annot_h5, "annot.h5", _first("istrain", 3), "istrain is 3"),
    "no istrain": ("lsp_mpii", make_lsp_mpii, "lsp_mpii.h5", _first("istrain", np.nan), "istrain is nan"),
    "validation": (
        "mpii", write_mpii_flagged_json, "mpii_annotations.json", _key("isValidation", 2), "isValidation is 2"
    ),
    "no validation": (
        "mpii", write_mpii_flagged_json, "mpii_annotations.json", _key("isValidation", None), "not every"
    ),
    "no name": ("mpii", write_mpii_split_json, "annot/train.json", _key("image", None), "is no name"),
    "flags": (
        "mpii", write_mpii_split_json, "annot/train.json", _key("joints_vis", [None] * 16), "not every record"
    ),
    "test": ("flic", write_flic_examples, "FLIC/examples.mat", _not_test, "istest is 2"),
    "train": ("penn", make_penn, "Penn_Action/labels/0001.mat", _first("train", 0), "train is 0"),
    "shown": ("penn", make_penn, "Penn_Action/labels/0001.mat", _first("visibility", 2), "visibility is 2"),
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
def test_what_no_release_says_is_refused(tmp_path: Path, name: str) -> None:
    dataset, make, file, change, message = STRANGE[name]
    make(tmp_path)
    readers.read(dataset, tmp_path, "train")
    change(tmp_path / file)
    with pytest.raises(UserError, match=message):
        readers.read(dataset, tmp_path, "train")


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
