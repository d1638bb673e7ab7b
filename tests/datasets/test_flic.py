"""FLIC: both files give the same people, with the observer's sides or the person's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from numpy.lib.recfunctions import repack_fields

from src.datasets import readers
from src.datasets.annotations import UNLABELLED
from src.datasets.flic import SIDES
from src.datasets.skeletons import FLIC
from src.errors import UserError
from tests.releases import FLIC_BEHIND, FLIC_TEST, flic_joints, write_flic_examples, write_flic_h5

CLOSE = 1e-4  # pixels; coordinates of some 100 px in float32


@pytest.mark.parametrize("split, test", [("train", False), ("valid", True), ("test", True)])
def test_sides_of_observer_and_person(tmp_path: Path, split: str, test: bool) -> None:
    write_flic_h5(tmp_path)
    rows = np.flatnonzero(FLIC_TEST == test)
    own = readers.read("flic", tmp_path, split, sides="person")
    observed = readers.read("flic", tmp_path, split)
    np.testing.assert_allclose(own.joints, flic_joints()[rows] - 1, atol=CLOSE)
    assert (observed.joints[:, 0, 0] >= observed.joints[:, 3, 0]).all()
    behind = FLIC_BEHIND[rows]
    np.testing.assert_array_equal(observed.joints[~behind], own.joints[~behind])
    np.testing.assert_array_equal(observed.joints[behind], own.joints[behind][:, FLIC.flip_order])
    np.testing.assert_array_equal(observed.norm, own.norm)
    np.testing.assert_allclose(
        own.norm, np.linalg.norm(own.joints[:, 3] - own.joints[:, 6], axis=1), atol=CLOSE
    )
    assert own.index.tolist() == rows.tolist() and own.skeleton is FLIC
    assert own.center.tolist() == [[49, 39]] * len(rows) and (own.enlarge == 1).all() and not own.shift.any()
    assert own.person(0).read(1).pixels.size


@pytest.mark.parametrize("observed", [True, False])
def test_examples_mat_gives_the_same_people(tmp_path: Path, observed: bool) -> None:
    write_flic_h5(tmp_path / "h5")
    write_flic_examples(tmp_path, observed)
    for sides in SIDES[: 1 if observed else 2]:
        for split in ("train", "test"):
            found = readers.read("flic", tmp_path, split, sides=sides)
            expected = readers.read("flic", tmp_path / "h5", split, sides=sides)
            np.testing.assert_allclose(found.joints, expected.joints, atol=CLOSE)
            assert found.images.tolist() == expected.images.tolist()
            assert found.index.tolist() == expected.index.tolist()
            assert found.center.tolist() == [[49, 239]] * len(found)  # y is 240 for everybody
            assert np.allclose(found.scale, 2.2)
            assert found.person(0).read(1).pixels.size
            if not observed:
                np.testing.assert_allclose(found.norm, expected.norm, atol=CLOSE)


def test_who_has_the_observers_sides_alone_is_told(tmp_path: Path) -> None:
    write_flic_examples(tmp_path)
    with pytest.raises(UserError, match=r"observer's sides; for the person's put train_personcentric\.h5"):
        readers.read("flic", tmp_path, "train", sides="person")
    with pytest.raises(UserError, match=r"no sides 'persn' .did you mean 'person'"):
        readers.read("flic", tmp_path, "train", sides="persn")


def test_joints_without_a_place_are_unlabelled(tmp_path: Path) -> None:
    write_flic_examples(tmp_path)
    path = tmp_path / "FLIC" / "examples.mat"
    examples = scipy.io.loadmat(path)["examples"]
    examples["coords"][0, 0][:, 1] = np.nan
    scipy.io.savemat(path, {"examples": examples})
    people = readers.read("flic", tmp_path, "train")
    assert people.visible[0, 1] == UNLABELLED and (people.visible == UNLABELLED).sum() == 1


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("part", None, "valid.h5 has no part"),
        ("center", None, "valid.h5 has no center"),
        ("scale", None, "valid.h5 has no scale"),
        ("imgname", None, "valid.h5 has no imgname"),
        ("part", np.zeros((2, 16, 2)), r"part is float64 of shape \(2, 16, 2\), expected"),
        ("part", np.full((2, 11, 2), np.nan), "person 0 .* has a joint that is not a finite number"),
        ("center", np.zeros((3, 2)), "center is"),
        ("center", np.full((2, 2), np.inf), "a centre that is not a finite number"),
        ("scale", np.zeros(2), "a scale that is not positive"),
        ("scale", np.array([b"x", b"y"]), "scale is"),
        ("imgname", np.array([b"a.jpg"]), "2 people, but 1 picture names"),
        ("imgname", np.zeros((2, 3, 4)), "imgname is float64"),
        ("index", np.zeros((2, 2)), "index is"),
    ],
)
def test_wrong_h5_fields_are_refused(tmp_path: Path, key: str, value: Any, message: str) -> None:
    write_flic_h5(tmp_path)
    with h5py.File(tmp_path / "annot" / "valid.h5", "r+") as file:
        del file[key]
        if value is not None:
            file[key] = value
    with pytest.raises(UserError, match=message):
        readers.read("flic", tmp_path, "valid")


@pytest.mark.parametrize("field", ["coords", "torsobox", "filepath", "istest"])
def test_wrong_examples_are_refused(tmp_path: Path, field: str) -> None:
    write_flic_examples(tmp_path)
    path = tmp_path / "FLIC" / "examples.mat"
    examples = scipy.io.loadmat(path)["examples"]
    kept = [name for name in examples.dtype.names if name != field]
    scipy.io.savemat(path, {"examples": repack_fields(examples[kept])})
    with pytest.raises(UserError, match=r"examples is not as in the release .*no attribute"):
        readers.read("flic", tmp_path, "train")


@pytest.mark.parametrize("content", [{"examples": 3}, {"examples": np.zeros((0, 0))}, {"other": 1}])
def test_another_mat_file_is_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    (tmp_path / "examples.mat").touch()
    scipy.io.savemat(tmp_path / "examples.mat", content)
    with pytest.raises(UserError, match=r"examples\.mat|flic train"):
        readers.read("flic", tmp_path, "train")


def test_real_annotations(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("flic")
    for split, count, pictures, behind in (("train", 3_987, 3_628, 199), ("valid", 1_016, 926, 48)):
        own = readers.read("flic", folder, split, sides="person")
        observed = readers.read("flic", folder, split)
        assert len(observed) == count and len(np.unique(observed.images)) == pictures
        turned = (own.joints != observed.joints).any((1, 2))
        assert turned.sum() == behind and (turned == (own.joints[:, 0, 0] < own.joints[:, 3, 0])).all()
        torso = np.linalg.norm(own.joints[:, 3] - own.joints[:, 6], axis=1)
        np.testing.assert_allclose(observed.norm, torso, atol=1e-3)
