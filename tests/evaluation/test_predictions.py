"""Files of predictions: ours come back as they were, those of others in the order and origin of the split."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
import scipy.io

from src.datasets.annotations import Annotations
from src.datasets.skeletons import LSP, MPII, Skeleton
from src.errors import UserError
from src.evaluation.predict import Found
from src.evaluation.predictions import Predictions, read_predictions, release_origin, write_h5, write_mat

N = 6
COORDS = np.random.default_rng(0).uniform(0, 300, (N, MPII.num_joints, 2)).astype(np.float32)
ORDER = np.array([4, 0, 5, 1, 3, 2])


def annotations() -> Annotations:
    ones, joints = np.ones(N), np.zeros((N, MPII.num_joints, 2))
    images = np.array([f"images/{i}.jpg" for i in range(N)], np.bytes_)
    return Annotations(
        name="mpii valid", skeleton=MPII, root=Path("data"), images=images, joints=joints,
        visible=joints[..., 0] + 2, center=joints[:, 0], scale=ones, enlarge=ones, shift=ones, norm=ones,
        index=np.arange(N) + 100, person_id=np.arange(N) % 2,
    )  # fmt: skip


def found(order: np.ndarray = ORDER) -> Found:
    """What a network found for the people in this order; the truth beside it does not matter here."""
    coords = COORDS[order]
    score = coords[..., 0] / 300
    return Found(coords, coords / 8, coords / 8, score, order, coords, score, score[:, 0], score[:, 0])


def save(path: Path, content: dict[str, Any]) -> Path:
    """A file of predictions as others may write it."""
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for key, value in content.items():
                file[key] = value
    elif path.suffix == ".mat":
        scipy.io.savemat(path, content)
    elif path.suffix == ".npz":
        np.savez(path, **content)
    else:
        path.write_text(json.dumps({key: np.asarray(value).tolist() for key, value in content.items()}))
    return path


SUFFIXES = pytest.mark.parametrize("suffix", [".h5", ".mat", ".npz", ".json"])


def read(path: Path, skeleton: Skeleton = MPII, origin: int = 1) -> np.ndarray:
    return read_predictions(path, N, skeleton, origin).coords


@pytest.mark.parametrize(("write", "name"), [(write_h5, "preds.h5"), (write_mat, "preds.mat")])
def test_what_is_written_comes_back_in_order(tmp_path: Path, write: Callable, name: str) -> None:
    write(tmp_path / name, Predictions.of(found(), annotations()))
    # the file knows better than to be LSP's
    coords, skeleton, score = read_predictions(tmp_path / name, N, LSP, 1)
    np.testing.assert_array_equal(coords, COORDS)
    np.testing.assert_array_equal(score, COORDS[..., 0] / 300)
    assert skeleton is MPII
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_fields_of_h5(tmp_path: Path) -> None:
    write_h5(tmp_path / "preds.h5", Predictions.of(found(), annotations()))
    with h5py.File(tmp_path / "preds.h5") as file:
        fields = {key: file[key][()] for key in file}
    np.testing.assert_array_equal(fields["preds"][..., :2], COORDS[ORDER])
    np.testing.assert_array_equal(fields["preds"][..., 2:4], COORDS[ORDER] / 8)
    np.testing.assert_array_equal(fields["preds"][..., 4], COORDS[ORDER][..., 0] / 300)
    np.testing.assert_array_equal(fields["idxs"], ORDER)
    np.testing.assert_array_equal(fields["index"], ORDER + 100)
    np.testing.assert_array_equal(fields["person"], ORDER % 2)
    assert fields["imgname"].tolist() == [f"images/{i}.jpg".encode() for i in ORDER]
    assert fields["skeleton"] == b"mpii"
    assert fields["origin"] == 0


def test_fields_of_mat(tmp_path: Path) -> None:
    write_mat(tmp_path / "preds.mat", Predictions.of(found(), annotations()))
    fields = scipy.io.loadmat(tmp_path / "preds.mat", squeeze_me=True)
    np.testing.assert_array_equal(fields["preds"][..., :2], COORDS[ORDER])
    np.testing.assert_array_equal(fields["idxs"], ORDER)
    assert fields["imgname"].tolist() == [f"images/{i}.jpg" for i in ORDER]
    assert (fields["skeleton"], fields["origin"]) == ("mpii", 0)


def test_people_drawn_on_the_fly_are_named_by_number(tmp_path: Path) -> None:
    class Drawn(NamedTuple):
        name: str = "synth valid"
        skeleton: Skeleton = MPII

    predictions = Predictions.of(found(), Drawn())  # type: ignore[arg-type]
    assert predictions.images[0] == b"synth valid 4"
    write_mat(tmp_path / "preds.mat", predictions)
    np.testing.assert_array_equal(read(tmp_path / "preds.mat"), COORDS)


@SUFFIXES
def test_files_of_others_have_the_order_and_origin_of_the_split(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"preds{suffix}", {"preds": COORDS + 1})
    np.testing.assert_allclose(read(path, origin=1), COORDS, atol=1e-4)  # COORDS + 1 is rounded to float32
    assert (read_predictions(path, N, MPII, 1).score == 1).all(), "they name no confidence"
    np.testing.assert_allclose(read(path, origin=0), COORDS + 1, atol=1e-4)


@SUFFIXES
@pytest.mark.parametrize("first", [0, 1])
def test_idxs_say_whose_a_row_is(tmp_path: Path, suffix: str, first: int) -> None:
    five = np.concatenate([COORDS, COORDS / 8, COORDS[..., :1]], axis=2)
    path = save(tmp_path / f"p{suffix}", {"preds": five[ORDER], "idxs": ORDER + first, "origin": 0})
    np.testing.assert_array_equal(read(path), COORDS)


def test_the_layout_of_the_matlab_evaluation(tmp_path: Path) -> None:
    path = save(tmp_path / "detections.mat", {"pos_pred_src": COORDS.transpose(1, 2, 0).astype(np.float64)})
    np.testing.assert_array_equal(read(path, origin=0), COORDS)


def test_an_unnamed_skeleton_is_told_by_its_joints(tmp_path: Path) -> None:
    path = save(tmp_path / "p.npz", {"preds": COORDS})
    assert read_predictions(path, N, LSP, 1).skeleton is MPII
    path = save(tmp_path / "q.npz", {"preds": COORDS[:, :14]})
    assert read_predictions(path, N, LSP, 1).skeleton is LSP


@pytest.mark.parametrize(
    ("dataset", "origin"), [("mpii", 1), ("lsp", 1), ("lsp_mpii", 1), ("lspet", 0), ("coco", 0), ("synth", 0)]
)
def test_release_origin(dataset: str, origin: int) -> None:
    assert release_origin(dataset) == origin


def with_nan() -> np.ndarray:
    preds = COORDS.copy()
    preds[3, 2, 1] = np.nan
    return preds


@SUFFIXES
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"wrong": COORDS}, "no preds"),
        ({"preds": COORDS[..., 0]}, "expected numbers of shape"),
        ({"preds": COORDS[..., :1]}, "expected numbers of shape"),
        ({"preds": COORDS[:5]}, "5 people, but the split has 6"),
        ({"preds": COORDS[:, :12]}, r"12 joints, expected 16 \(mpii\)"),
        ({"preds": with_nan()}, "not all finite in row 3"),
        ({"preds": COORDS, "idxs": [0, 1, 2, 3, 4, 4]}, "lacks 5"),
        ({"preds": COORDS, "idxs": [1, 2, 3, 5, 6, 7]}, "lacks 4"),
        ({"preds": COORDS, "idxs": [0, 1, 2]}, "idxs is"),
        ({"preds": COORDS, "origin": 7}, "origin is 7|origin is .*7"),
        ({"preds": COORDS, "skeleton": "lsp"}, r"16 joints, expected 14 \(lsp\)"),
        ({"preds": COORDS, "skeleton": "mpi"}, "did you mean 'mpii'"),
    ],
)  # fmt: skip
def test_wrong_content_is_one_line(tmp_path: Path, suffix: str, content: dict, message: str) -> None:
    path = save(tmp_path / f"preds{suffix}", content)
    with pytest.raises(UserError, match=message) as error:
        read(path)
    assert "\n" not in str(error.value)


@SUFFIXES
def test_a_truncated_file_is_one_line(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"preds{suffix}", {"preds": COORDS})
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(UserError, match="damaged") as error:
        read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["[[1, 2]]", '{"preds": [[[1, 2]], [[1], [2]]]}', '{"preds": [["a"]]}'])
def test_wrong_json_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "preds.json"
    path.write_text(text)
    with pytest.raises(UserError, match="right file"):
        read(path)


@pytest.mark.parametrize(("name", "message"), [("none.h5", "does not exist"), ("preds.csv", "are read from")])
def test_no_such_file(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path / name)


def test_objects_in_npz_are_not_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "preds.npz", preds=np.array([{}], dtype=object))
    with pytest.raises(UserError, match="damaged"):
        read(tmp_path / "preds.npz")


@pytest.mark.parametrize("write", [write_h5, write_mat])
def test_a_folder_that_is_not_there(tmp_path: Path, write: Callable) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        write(tmp_path / "none" / "preds", Predictions.of(found(), annotations()))
