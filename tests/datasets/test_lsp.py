"""LSP and LSPET: axes, flags and splits are those of the releases; boxes and torso follow their rules."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from src.datasets import readers
from src.datasets.annotations import HIDDEN, UNLABELLED, VISIBLE
from src.datasets.images import read_image
from src.datasets.skeletons import LSP, MPII
from src.errors import UserError
from tests.releases import HEIGHT, WIDTH, make_lsp, make_lspet

CLOSE = 1e-4  # pixels; coordinates of some 100 px in float32


def test_lsp_train_is_the_first_half(tmp_path: Path) -> None:
    joints = make_lsp(tmp_path, 6)
    train, valid, test = (readers.read("lsp", tmp_path, split) for split in ("train", "valid", "test"))
    assert train.images.tolist() == [b"images/im0001.jpg", b"images/im0002.jpg", b"images/im0003.jpg"]
    assert (
        valid.images.tolist() == test.images.tolist() == [f"images/im{n:04}.jpg".encode() for n in (4, 5, 6)]
    )
    assert train.index.tolist() == [0, 1, 2] and valid.index.tolist() == [3, 4, 5]
    np.testing.assert_allclose(train.joints[1, 5], joints[:2, 5, 1] - 1, atol=CLOSE)
    np.testing.assert_allclose(valid.joints[2, 13], joints[:2, 13, 5] - 1, atol=CLOSE)


def test_lsp_flag_means_occluded(tmp_path: Path) -> None:
    joints = make_lsp(tmp_path, 6)
    train = readers.read("lsp", tmp_path, "train")
    assert (train.visible == np.where(joints[2, :, :3].T == 1, HIDDEN, VISIBLE)).all()
    assert {HIDDEN, VISIBLE} == set(np.unique(train.visible))


def test_lsp_box_is_the_picture(tmp_path: Path) -> None:
    make_lsp(tmp_path)
    train = readers.read("lsp", tmp_path, "train")
    np.testing.assert_allclose(train.center, [[WIDTH / 2, HEIGHT / 2]] * 3)
    np.testing.assert_allclose(200 * train.scale * train.enlarge, max(WIDTH, HEIGHT), rtol=1e-6)
    assert (train.shift == 0).all()


def test_lsp_is_read_without_pictures(tmp_path: Path) -> None:
    """Stored predictions can be scored without them; only cropping asks for the picture."""
    make_lsp(tmp_path)
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    train = readers.read("lsp", tmp_path, "train")
    assert np.isfinite(train.norm).all()
    with pytest.raises(UserError, match=r"im0001\.jpg is missing"):
        train.person(0).read(1)


def test_lspet_flag_means_labelled(tmp_path: Path) -> None:
    joints = make_lspet(tmp_path)
    train = readers.read("lspet", tmp_path, "train")
    assert train.images[0] == b"images/im00001.jpg"
    assert (train.visible == np.where(joints[:, 2, :8].T == 1, VISIBLE, UNLABELLED)).all()
    # as they are: LSPET's do not count from 1 (LSPET.origin)
    np.testing.assert_allclose(train.joints[3, 7], joints[7, :2, 3], atol=CLOSE)


def test_lspet_labels_reach_above_the_picture(tmp_path: Path) -> None:
    """Three of the first 2,500 people's do: the flag alone tells what is labelled."""
    joints = make_lspet(tmp_path)
    joints[13, :, 0], joints[12, :, 0] = (20, -1.2, 1), (30, 0, 1)
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    train = readers.read("lspet", tmp_path, "train")
    np.testing.assert_allclose(train.joints[0, [13, 12]], [(20, -1.2), (30, 0)], atol=CLOSE)
    assert (train.visible[0, [13, 12]] == VISIBLE).all()


@pytest.mark.parametrize(("share", "train", "valid"), [(0.2, 8, 2), (0.3, 7, 3), (0.5, 5, 5)])
def test_lspet_holds_out_its_last_rows(tmp_path: Path, share: float, train: int, valid: int) -> None:
    make_lspet(tmp_path, 10)
    first = readers.read("lspet", tmp_path, "train", valid_share=share)
    last = readers.read("lspet", tmp_path, "valid", valid_share=share)
    assert first.index.tolist() == list(range(train)) and last.index.tolist() == list(range(train, 10))
    assert len(last) == valid


def test_lspet_box_is_around_the_labelled_joints(tmp_path: Path) -> None:
    joints = make_lspet(tmp_path)
    train = readers.read("lspet", tmp_path, "train")
    labelled = joints[joints[:, 2, 0] == 1, :2, 0]
    low, high = labelled.min(0), labelled.max(0)
    np.testing.assert_allclose(train.center[0], (low + high) / 2, atol=CLOSE)
    np.testing.assert_allclose(200 * train.scale[0], 1.1 * (high - low).max(), rtol=1e-6)
    assert (train.enlarge == 1.25).all() and (train.shift == 0).all()


def test_torso_is_left_shoulder_to_right_hip(tmp_path: Path) -> None:
    joints = make_lspet(tmp_path, 10)
    joints[LSP.index("right hip"), 2, 4] = 0
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    train = readers.read("lspet", tmp_path, "train")
    ends = joints[LSP.index("left shoulder")], joints[LSP.index("right hip")]
    for person in range(len(train)):
        if all(end[2, person] == 1 for end in ends):
            torso = np.hypot(*(ends[0][:2, person] - ends[1][:2, person]))
            assert train.norm[person] == pytest.approx(torso, rel=1e-5)
        else:
            assert np.isnan(train.norm[person])
    assert np.isnan(train.norm[4])


def test_lspet_in_the_joints_of_mpii(tmp_path: Path) -> None:
    make_lspet(tmp_path)
    own = readers.read("lspet", tmp_path, "train")
    people = readers.read("lspet", tmp_path, "train", skeleton=MPII)
    order = [0, 1, 2, 3, 4, 5, 12, 13, 6, 7, 8, 9, 10, 11]  # LSP's joints in the places of MPII's
    places = [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15]
    assert (people.joints[:, places] == own.joints[:, order]).all()
    assert (people.visible[:, places] == own.visible[:, order]).all()
    assert (people.visible[:, [6, 7]] == UNLABELLED).all()
    assert ((people.norm == own.norm) | np.isnan(own.norm)).all()


def test_both_releases_in_one_folder(tmp_path: Path) -> None:
    make_lsp(tmp_path / "lsp_dataset")
    make_lspet(tmp_path / "lspet_dataset")
    assert readers.read("lsp", tmp_path, "train").root == tmp_path / "lsp_dataset"
    assert readers.read("lspet", tmp_path, "train").root == tmp_path / "lspet_dataset"


def test_pictures_of_both_releases_in_one_folder(tmp_path: Path) -> None:
    make_lspet(tmp_path / "LSP")
    (tmp_path / "LSP" / "joints.mat").rename(tmp_path / "LSP" / "lspet_joints.mat")
    make_lsp(tmp_path / "LSP")
    for dataset in ("lsp", "lspet"):
        assert readers.read(dataset, tmp_path, "train").person(0).read(1).pixels.shape == (HEIGHT, WIDTH, 3)


def test_the_other_release_is_recognised(tmp_path: Path) -> None:
    make_lsp(tmp_path)
    with pytest.raises(UserError, match=r"joints\.mat is that of lsp, not of lspet"):
        readers.read("lspet", tmp_path, "train")


def test_a_person_without_labelled_joint_is_named(tmp_path: Path) -> None:
    joints = make_lspet(tmp_path)
    joints[:, 2, 6] = 0
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    with pytest.raises(UserError, match=r"person 6 \(images/im00007.jpg\) has no labelled joint"):
        readers.read("lspet", tmp_path, "train")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((14, 2, 5), r"shape \(14, 2, 5\), expected numbers of shape \(14, 3, N\)"),
        ((14, 3), r"\(14, 3\), expected"),
    ],
)
def test_wrong_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...], message: str) -> None:
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": np.zeros(shape)})
    with pytest.raises(UserError, match=message):
        readers.read("lspet", tmp_path, "train")


@pytest.mark.parametrize(("value", "row", "message"), [
    (np.nan, 0, r"person 2 \(images/im00003.jpg\) has a joint that is not a finite number"),
    (0.5, 2, "the third value of a joint is neither 0 nor 1"),
])  # fmt: skip
def test_wrong_values_are_refused(tmp_path: Path, value: float, row: int, message: str) -> None:
    joints = make_lspet(tmp_path)
    joints[np.argmax(joints[:, 2, 2]), row, 2] = value
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    with pytest.raises(UserError, match=message):
        readers.read("lspet", tmp_path, "train")


def test_real_sample(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("lspet")
    train, valid = (readers.read("lspet", folder, split) for split in ("train", "valid"))
    assert (len(train), len(valid)) == (2000, 500)
    assert valid.images[0] == b"images/im02001.jpg" and valid.index[-1] == 2499
    labelled = np.concatenate([train.visible, valid.visible]) > 0
    assert labelled.sum(1).min() >= 4 and 0.86 < labelled.mean() < 0.90
    # Of those with both torso ends labelled, the torso is a good part of the box.
    known = ~np.isnan(valid.norm)
    assert 0.6 < known.mean() < 0.9
    share = np.median(valid.norm[known] / (200 * valid.scale[known]))
    assert 0.2 < share < 0.6


def test_real_pictures_decode(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("lspet")
    for split in ("train", "valid"):
        people = readers.read("lspet", folder, split)
        for row in range(len(people)):
            height, width = read_image(people.path(row)).shape[:2]
            labelled = people.joints[row][people.visible[row] > 0]
            # Some annotators clicked beside the picture, never far.
            assert (labelled >= -3).all() and (labelled <= [width + 3, height + 3]).all()
