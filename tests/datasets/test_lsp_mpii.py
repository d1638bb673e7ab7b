"""lsp_mpii.h5: both codings of its splits read alike, and the builder writes what the reader reads."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from src.datasets import readers
from src.datasets.annotations import HIDDEN, UNLABELLED, VISIBLE
from src.datasets.lsp_mpii import build_lsp_mpii
from src.datasets.skeletons import MPII
from src.errors import UserError
from tests.releases import (
    make_lsp,
    make_lsp_mpii,
    make_lspet,
    mpii_people,
    write_h5,
    write_mpii_h5,
    write_mpii_pictures,
)

OF_LSPET = (4, 5)  # rows whose coordinates do not count from 1
CODINGS = {"2 is LSP": (2, 0), "0 is LSP": (0, 2)}
CLOSE = 1e-4  # pixels; coordinates of some 100 px in float32


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("unusable", [False, True])
def test_splits_do_not_depend_on_the_coding(tmp_path: Path, coding: str, unusable: bool) -> None:
    lsp_test, mpii_test = CODINGS[coding]
    written = make_lsp_mpii(tmp_path, lsp_test, mpii_test, unusable)
    rows = {"train": [0, 1, 4, 5, 6, 7, 8, 9], "valid": [2, 3], "test": [10, 11]}
    for split, expected in rows.items():
        people = readers.read("lsp_mpii", tmp_path, split)
        origin = np.where(np.isin(expected, OF_LSPET), 0, 1)[:, None]
        np.testing.assert_allclose(people.center, written["center"][expected] - origin, atol=CLOSE)
        names = [bytes(name).rstrip(b"\0") for name in written["imgname"][expected]]
        assert people.images.tolist() == names
        of_lsp = np.array([name.startswith(b"LSP") for name in names])
        assert (people.shift == np.where(of_lsp, 0, 15)).all() and (people.enlarge == 1.25).all()


def test_which_joints_are_labelled(tmp_path: Path) -> None:
    written = make_lsp_mpii(tmp_path)
    train = readers.read("lsp_mpii", tmp_path, "train")
    of_lsp = np.char.startswith(train.images, b"LSP")
    rows = [0, 1, 4, 5, 6, 7, 8, 9]
    part = written["part"][rows]
    assert (train.visible[of_lsp][:, [6, 7]] == UNLABELLED).all()
    assert ((train.visible[of_lsp] == UNLABELLED) == (part[of_lsp] <= 0).all(2)).all()
    assert HIDDEN not in train.visible[of_lsp]
    assert (train.visible[~of_lsp] == mpii_people()["visible"][:4]).all()
    labelled = train.visible > UNLABELLED
    expected = part - np.where(np.isin(rows, OF_LSPET), 0, 1)[:, None, None]
    np.testing.assert_allclose(train.joints[labelled], expected[labelled], atol=CLOSE)
    assert (readers.read("lsp_mpii", tmp_path, "test").visible == UNLABELLED).all()


def test_torso_for_lsp_alone(tmp_path: Path) -> None:
    make_lsp_mpii(tmp_path)
    valid, train = (readers.read("lsp_mpii", tmp_path, split) for split in ("valid", "train"))
    torso = valid.joints[:, MPII.index("left shoulder")] - valid.joints[:, MPII.index("right hip")]
    np.testing.assert_allclose(valid.norm, np.hypot(*torso.T), rtol=1e-6)
    assert np.isnan(train.norm[np.char.startswith(train.images, b"mpii")]).all()


def test_pictures_are_found(tmp_path: Path) -> None:
    make_lsp_mpii(tmp_path)
    for split in ("train", "valid", "test"):
        people = readers.read("lsp_mpii", tmp_path, split)
        for row in range(len(people)):
            assert people.person(row).read(1).pixels.ndim == 3


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("istrain", 1.0, "row 10 has istrain 1, which does not fit its joints"),
        ("imgname", np.uint8(ord("x")), "begins with neither LSP/ nor mpii/"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, key: str, value: float, message: str) -> None:
    written = make_lsp_mpii(tmp_path)
    written[key][10] = value
    write_h5(tmp_path / "lsp_mpii.h5", written)
    with pytest.raises(UserError, match=message):
        readers.read("lsp_mpii", tmp_path, "train")


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    written = make_lsp_mpii(tmp_path)
    del written["istrain"]
    write_h5(tmp_path / "lsp_mpii.h5", written)
    with pytest.raises(UserError, match="has no istrain"):
        readers.read("lsp_mpii", tmp_path, "train")


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    make_lsp(tmp_path / "LSP" / "lsp_dataset", 6)
    make_lspet(tmp_path / "LSP" / "lspet_dataset", 5)
    write_mpii_h5(tmp_path / "mpii", baked=True)
    write_mpii_pictures(tmp_path / "mpii")
    return tmp_path


def test_built_file_holds_the_releases(releases: Path) -> None:
    assert "17 people" in build_lsp_mpii(releases)
    train, valid, test = (readers.read("lsp_mpii", releases, split) for split in ("train", "valid", "test"))
    lsp, lspet = (readers.read(name, releases / "LSP", "train", valid_share=0) for name in ("lsp", "lspet"))
    assert (len(train), len(valid), len(test)) == (3 + 5 + 4, 3, 2)

    sources = [lsp, lspet, *(readers.read("mpii", releases / "mpii", split) for split in ("train", "valid"))]
    visible = np.concatenate([source.with_skeleton(MPII).visible for source in sources])
    joints = np.concatenate([source.with_skeleton(MPII).joints for source in sources])
    assert (train.visible == visible).all()
    np.testing.assert_allclose(train.joints[visible > 0], joints[visible > 0], atol=CLOSE)
    for field in ("center", "scale", "enlarge", "shift"):
        expected = np.concatenate([getattr(source, field) for source in sources])
        np.testing.assert_allclose(getattr(train, field), expected, rtol=1e-5)
    assert train.path(0) == releases / "LSP/lsp_dataset/images/im0001.jpg" and train.path(0).is_file()
    assert VISIBLE in valid.visible and HIDDEN in valid.visible and (test.visible == UNLABELLED).all()


def test_built_file_keeps_the_coordinates_of_each_release(releases: Path) -> None:
    """Those of MPII and LSP count from 1, those of LSPET do not; labels beyond the top edge stay labels."""
    folder = releases / "LSP" / "lspet_dataset"
    lspet = scipy.io.loadmat(folder / "joints.mat")["joints"]
    lspet[13, :, 0] = 20, -1.2, 1
    scipy.io.savemat(folder / "joints.mat", {"joints": lspet})
    lsp = scipy.io.loadmat(releases / "LSP" / "lsp_dataset" / "joints.mat")["joints"]
    build_lsp_mpii(releases)
    with h5py.File(releases / "lsp_mpii.h5") as file:
        part = file["part"][()]
    knee = MPII.index("right knee")
    np.testing.assert_allclose(part[:3, knee], lsp[:2, 1, :3].T, atol=CLOSE)
    labelled = lspet[1, 2] == 1
    np.testing.assert_allclose(part[3:8, knee][labelled], lspet[1, :2].T[labelled], atol=CLOSE)
    train = readers.read("lsp_mpii", releases, "train")
    head = MPII.index("head top")
    np.testing.assert_allclose(train.joints[3, head], (20, -1.2), atol=CLOSE)
    assert train.visible[3, head] == VISIBLE


def test_built_file_has_the_six_fields(releases: Path) -> None:
    build_lsp_mpii(releases)
    with h5py.File(releases / "lsp_mpii.h5") as file:
        shapes = {key: file[key].shape for key in file}
        codes = file["istrain"][()]
    assert shapes == {
        "imgname": (17, 50), "part": (17, 16, 2), "center": (17, 2), "scale": (17,),
        "visible": (17, 16), "istrain": (17,),
    }  # fmt: skip
    assert np.bincount(codes.astype(int)).tolist() == [2, 12, 3]


def test_building_twice_changes_nothing(releases: Path) -> None:
    build_lsp_mpii(releases)
    before = (releases / "lsp_mpii.h5").stat()
    assert "is there already" in build_lsp_mpii(releases)
    assert (releases / "lsp_mpii.h5").stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("LSP/lspet_dataset", "lspet: .*get lspet_dataset.zip"),
        ("mpii", "mpii: .*get the images and annotations"),
        ("LSP/lsp_dataset/images", "im0001.jpg is missing"),
    ],
)
def test_nothing_is_written_of_half_the_releases(releases: Path, gone: str, message: str) -> None:
    shutil.rmtree(releases / gone)
    with pytest.raises(UserError, match=message):
        build_lsp_mpii(releases)
    assert not list(releases.glob("*lsp_mpii*"))
