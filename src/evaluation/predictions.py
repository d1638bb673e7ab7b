"""Files of predictions: those written here, and those of others, for people of one split.

Ours are .h5 and .mat files. N people, J joints:

    preds (N, J, 5)   x and y in the picture, x and y in the heatmap, confidence
    idxs (N,)         the person's place in the split, from 0
    index, person     (N,) which picture of the release, and which person in it
    imgname (N,)      the picture's file
    skeleton          whose joints they are
    origin            0: the first pixel covers [0, 1)

and a .h5 file may have what test.py was asked to keep:

    heatmaps (N, J, h, w)  float16, of the last stage, averaged as they were decoded
    input (N, R, R, 3)     uint8 RGB, what the network saw

Others may have `preds` (N, J, 2), no idxs (the order of the split), and no origin: coordinates are then those
of the release, which for most releases count pixels from 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from src.datasets import readers
from src.datasets.annotations import Annotations, People
from src.datasets.files import check_shape, h5_file, load_h5, load_json, load_mat, read_h5, save_mat
from src.datasets.skeletons import SKELETONS, Skeleton
from src.datasets.skeletons import skeleton as skeleton_named
from src.errors import UserError
from src.evaluation.predict import Found


@dataclass(frozen=True)
class Predictions:
    """Joints found for N people of one split, and who these are.

    coords (N, J, 2) picture pixels, 0-based; heatmap (N, J, 2) cells; score (N, J). row (N,): the person's
    place in the split; index, person_id (N,), images (N,) bytes: as in Annotations. skeleton: its name.
    """

    coords: np.ndarray
    heatmap: np.ndarray
    score: np.ndarray
    row: np.ndarray
    index: np.ndarray
    person_id: np.ndarray
    images: np.ndarray
    skeleton: str

    @classmethod
    def of(cls, found: Found, people: People) -> "Predictions":
        """What a network found for `people`; who are drawn has a number, and no picture's file."""
        row = found.row
        who = (row, np.zeros_like(row))
        if isinstance(people, Annotations):
            who = people.index[row], people.person_id[row]
        names = picture_names(people, row)
        return cls(found.coords, found.heatmap, found.score, row, *who, names, people.skeleton.name)


def picture_names(people: People, row: np.ndarray) -> np.ndarray:
    """What files call the pictures of the people at `row` (N,): their files, or what was drawn; bytes."""
    if isinstance(people, Annotations):
        return people.images[row]
    return np.array([f"{people.name} {i}" for i in row], np.bytes_)


def write_h5(path: Path, predictions: Predictions) -> None:
    """Write a .h5 file: wholly, or not at all. UserError if the folder cannot be written."""
    with h5_file(path) as file:
        add_to_h5(file, predictions)


def add_to_h5(file: Any, predictions: Predictions) -> None:
    """Write the fields into an open HDF5 file, which may hold pictures and maps of the same people."""
    file.update(_fields(predictions) | {"skeleton": np.bytes_(predictions.skeleton)})


def write_mat(path: Path, predictions: Predictions) -> None:
    """Write the same fields as a .mat file (imgname is a cell array). UserError as for `write_h5`."""
    fields = _fields(predictions)
    save_mat(path, fields | {"imgname": fields["imgname"].astype(str).astype(object)})


def _fields(predictions: Predictions) -> dict[str, Any]:
    columns = [predictions.coords, predictions.heatmap, predictions.score[..., None]]
    return {
        "preds": np.concatenate(columns, axis=2),
        "idxs": predictions.row,
        "index": predictions.index,
        "person": predictions.person_id,
        "imgname": predictions.images,
        "skeleton": predictions.skeleton,
        "origin": 0,
    }


def release_origin(dataset: str) -> int:
    """The coordinate of the first pixel in a release, and so in files of predictions that do not name it."""
    return 0 if dataset == "synth" else int(readers.release(dataset).origin)


class Stored(NamedTuple):
    """What a file has, in the order of the split.

    coords (N, J, 2) picture pixels, 0-based; skeleton: whose joints they are; score (N, J): the network's
    confidence, 1 where the file has none.
    """

    coords: np.ndarray
    skeleton: Skeleton
    score: np.ndarray


def read_predictions(
    path: Path, count: int, skeleton: Skeleton, default_origin: int, by_mean: bool = False
) -> Stored:
    """The predictions in a file.

    Reads .h5, .mat, .npz and .json files with `preds` as this module describes them; a `pos_pred_src`
    (J, 2, N), as in the MPII evaluation in MATLAB, does as well. idxs may count from 1.

    count: N, the people of the split. skeleton: that of the split, which is the file's if it names none and
    has as many joints; else it is the known one that has as many. default_origin: `release_origin`, for
    files without origin. by_mean: scores are the means of the heatmaps, which the file must have. Raises
    UserError for a file that is damaged or not about these people.
    """
    content = _load(path)
    points, score = _points(content, path)
    if by_mean:
        score = mean_activations(path)
        check_shape(score, points.shape[:2], "heatmaps", path)
    if len(points) != count:
        raise UserError(f"{path} has predictions for {len(points)} people, but the split has {count}")
    bad = ~np.isfinite(points).all((1, 2))
    if bad.any():
        raise UserError(f"{path}: preds are not all finite in row {np.argmax(bad)} ({bad.sum()} such rows)")
    if "idxs" in content:
        order = np.argsort(_places(content["idxs"], count, path))
        points, score = points[order], score[order]
    origin = _origin(content, default_origin, path)
    return Stored(points - origin, _skeleton(content, points.shape[1], skeleton, path), score)


def mean_activations(path: Path) -> np.ndarray:
    """The mean (N, J) of each heatmap in a file. UserError for one without, or that is damaged."""
    lacking = UserError(f"{path} has no heatmaps; test.py --save-heatmaps writes such a preds.h5")
    if path.suffix != ".h5":
        raise lacking
    with read_h5(path) as file:
        if "heatmaps" not in file:
            raise lacking
        return np.stack([maps.mean((1, 2), dtype=np.float64) for maps in file["heatmaps"]])


_FIELDS = ("preds", "pos_pred_src", "idxs", "origin", "skeleton")


def _load_npz(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in _FIELDS if key in file}
    except Exception as error:  # zipfile, zlib and NumPy raise errors of many types on a damaged file
        raise UserError(f"{path} is damaged or no .npz file of arrays ({error}); write it again") from None


def _load_json(path: Path) -> dict[str, Any]:
    content = load_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} is no JSON object with preds; is it the right file?")
    try:
        return {key: np.array(content[key]) for key in _FIELDS if key in content}
    except ValueError:
        raise UserError(f"{path}: its rows differ in length; is it the right file?") from None


_LOADERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".h5": lambda path: load_h5(path, [], _FIELDS),
    ".mat": lambda path: load_mat(path, [], _FIELDS),
    ".npz": _load_npz,
    ".json": _load_json,
}


def _load(path: Path) -> dict[str, Any]:
    if path.suffix not in _LOADERS:
        raise UserError(f"{path}: predictions are read from {', '.join(_LOADERS)} files")
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    return _LOADERS[path.suffix](path)


def _points(content: dict[str, Any], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The joints (N, J, 2) float64 and their confidence (N, J), in the file's own order and origin."""
    if "preds" in content:
        preds = np.asarray(content["preds"])
        values = 5 if preds.shape[-1:] == (5,) else 2
        check_shape(preds, (None, None, values), "preds", path)
        score = preds[..., 4] if values == 5 else np.ones(preds.shape[:2])
        return preds[..., :2].astype(np.float64), score.astype(np.float64)
    if "pos_pred_src" in content:
        preds = np.asarray(content["pos_pred_src"])
        check_shape(preds, (None, 2, None), "pos_pred_src", path)
        return preds.transpose(2, 0, 1).astype(np.float64), np.ones((preds.shape[2], preds.shape[0]))
    raise UserError(f"{path} has no preds; is it a file of predictions?")


def _places(idxs: np.ndarray, count: int, path: Path) -> np.ndarray:
    """idxs as places (N,) from 0, each of which occurs once."""
    idxs = np.ravel(idxs)
    check_shape(idxs, (count,), "idxs", path)
    first = 1 if idxs.min() == 1 else 0
    expected = np.arange(first, first + count)
    missing = np.setdiff1d(expected, idxs)
    if missing.size:
        raise UserError(f"{path}: idxs must name each person of the split once, but lacks {missing[0]}")
    return idxs.astype(np.int64) - first


def _origin(content: dict[str, Any], default: int, path: Path) -> int:
    if "origin" not in content:
        return default
    origin = np.ravel(content["origin"])
    if origin.size != 1 or origin[0] not in (0, 1):
        raise UserError(f"{path}: origin is {content['origin']}; it is the first pixel's coordinate, 0 or 1")
    return int(origin[0])


def _skeleton(content: dict[str, Any], joints: int, split: Skeleton, path: Path) -> Skeleton:
    candidates = [split, *SKELETONS.values()]
    if "skeleton" in content:
        name = next(iter(np.ravel(content["skeleton"])), "")
        candidates = [skeleton_named(name.decode(errors="replace") if isinstance(name, bytes) else str(name))]
    for candidate in candidates:
        if candidate.num_joints == joints:
            return candidate
    expected = f"{candidates[0].num_joints} ({candidates[0].name})"
    raise UserError(f"{path}: preds have {joints} joints, expected {expected}")
