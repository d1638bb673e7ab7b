"""Keypoints in COCO's JSON, of COCO or of anybody: read into the flat record, and written for pycocotools.

Lin et al., "Microsoft COCO: common objects in context", ECCV 2014; the format is that of cocodataset.org.
Coordinates count from 0.
"""

import json
import os
import reprlib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from src.datasets.annotations import UNLABELLED, VISIBLE
from src.datasets.files import encode_names, load_json
from src.datasets.images import picture_path
from src.datasets.own_skeleton import build_skeleton
from src.datasets.scene_annotations import SceneAnnotations
from src.datasets.skeletons import Skeleton
from src.errors import UserError
from src.utils.garbage import no_collection

BOX_OVER_JOINTS = 1.1  # of people without a box: its sides over those of the box around their joints

Rows = list[dict[str, Any]]


def load_coco_json(
    path: Path, folders: Sequence[Path], name: str, declared: dict[str, Any], declared_in: Path
) -> SceneAnnotations:
    """Everybody of a category with keypoints in a COCO JSON, and all pictures.

    folders: where the pictures may lie. name: for messages. declared, declared_in: what skeleton.yaml says,
    and where it lies. Left out may be `iscrowd`, `segmentation`, `area` (then that of the box) and `bbox`
    (then the box around the labelled joints, a tenth larger). Raises UserError for a file that is damaged,
    holds no keypoints, or contradicts itself.
    """
    # collection would look at millions of numbers again and again, and find none
    with no_collection():
        category, skeleton, arrays = _read(path, declared, declared_in)
    root = _root(folders, arrays["images"])
    return SceneAnnotations(name, skeleton, root, category, **arrays)


def load_pictures(path: Path, folders: Sequence[Path], name: str, skeleton: Skeleton) -> SceneAnnotations:
    """The pictures of a JSON without annotations, such as that of COCO's test split: nobody is in them.

    The others are those of `load_coco_json`. Raises UserError for a file that is damaged or no such list.
    """
    content = load_json(path)
    pictures = _pictures(_rows(content if isinstance(content, dict) else {}, "images", path), path)
    arrays: dict[str, Any] = pictures | _people([], pictures["image_id"], skeleton, path)
    return SceneAnnotations(name, skeleton, _root(folders, arrays["images"]), 1, **arrays)


class Boxes(NamedTuple):
    """What a detector has found: picture and category (N,) int64, box (N, 4) float64, score (N,) float64."""

    image_id: np.ndarray
    category: np.ndarray
    box: np.ndarray
    score: np.ndarray


def load_boxes(path: Path) -> Boxes:
    """The boxes x, y, width, height of a JSON in COCO's format of results; other fields are left unread.

    Raises UserError for a file that is damaged, is not of boxes, or holds what is no number.
    """
    with no_collection():
        rows = load_json(path)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise UserError(f"{path} is no list of detections; is it in COCO's format of results?")
        image_id = _ids(rows, "image_id", "detection", path)
        category = _ids(rows, "category_id", "detection", path)
        places = np.arange(len(rows))
        box = _boxes(rows, places, "detection", path)
        score = _numbers(_column(rows, "score", "detection", path), "score", places, "detection", path)
    broken = ~(np.isfinite(box).all(1) & np.isfinite(score))
    if broken.any():
        raise UserError(
            f"{path}: detection number {broken.argmax()} (from 0) has a box or a score that is not of finite"
            f" numbers ({broken.sum()} such detections)"
        )
    return Boxes(image_id, category, box, score)


def places_of(wanted: np.ndarray, image_id: np.ndarray) -> np.ndarray:
    """The places of the ids `wanted` (N,) among `image_id` (M,), -1 for those that are not among them."""
    places = {number: place for place, number in enumerate(image_id.tolist())}
    return np.array([places.get(number, -1) for number in wanted.tolist()], np.int64)


def to_coco(record: SceneAnnotations) -> dict[str, Any]:
    """The record as the content of a COCO JSON, such as pycocotools takes for ground truth; no outlines."""
    image_of, num_keypoints = record.image_of, (record.visible > UNLABELLED).sum(1)
    keypoints = np.concatenate([record.joints, record.visible[..., None]], axis=2)
    keypoints[record.visible == UNLABELLED] = 0
    skeleton = record.skeleton
    return {
        "info": {"description": record.name},
        "images": [
            {"id": number, "file_name": name.decode(errors="replace"), "width": width, "height": height}
            for number, name, (width, height) in zip(
                record.image_id.tolist(), record.images, record.size.tolist(), strict=True
            )
        ],
        "annotations": [
            {
                "id": int(record.person_id[row]),
                "image_id": int(record.image_id[image_of[row]]),
                "category_id": record.category,
                "keypoints": keypoints[row].ravel().tolist(),
                "num_keypoints": int(num_keypoints[row]),
                "area": float(record.area[row]),
                "bbox": record.box[row].tolist(),
                "iscrowd": int(record.crowd[row]),
            }
            for row in range(len(record.person_id))
        ],
        "categories": [
            {
                "id": record.category,
                "name": "person",
                "keypoints": list(skeleton.joints),
                "skeleton": [[a + 1, b + 1] for a, b in skeleton.limbs],
            }
        ],
    }


_LISTS = ("images", "annotations", "categories")


# ------------------------------------------------------------------------------------------------ the text

_OUTLINE = b'"segmentation":'


def _read(path: Path, declared: dict[str, Any], declared_in: Path) -> tuple[int, Skeleton, dict[str, Any]]:
    """The category, the skeleton and the arrays of the record; the content itself is large, and dropped."""
    content = load_json(path, edit=_fold_outlines)
    if not isinstance(content, dict) or not any(key in content for key in _LISTS):
        raise UserError(f"{path} is no COCO keypoint file: it must hold {', '.join(_LISTS)}")
    images, annotations, categories = (_rows(content, key, path) for key in _LISTS)
    chosen, skeleton = _category(categories, declared, path, declared_in)
    if chosen:
        kinds = _ids(annotations, "category_id", "annotation", path).tolist()
        annotations = [row for row, kind in zip(annotations, kinds, strict=True) if kind in chosen]
    pictures = _pictures(images, path)
    people = _people(annotations, pictures["image_id"], skeleton, path)
    return min(chosen, default=1), skeleton, pictures | people


def _fold_outlines(text: bytearray) -> None:
    """Turn each list of polygons in the text into a string, in place, by its outer brackets.

    Polygons are most of COCO's files, and most of them are never needed: as strings they cost little time and
    memory. What looks unusual is left as it is.
    """
    at = text.find(_OUTLINE)
    while at >= 0:
        value, following = at + len(_OUTLINE), text.find(_OUTLINE, at + 1)
        start = text.find(b"[", value, value + 3)
        if start >= 0 and not text[value:start].strip():
            quote = text.find(b'"', start)
            end = text.find(b"}", start, quote)
            stop = text.rfind(b"]", start, end if end >= 0 else quote)
            if stop >= 0:
                text[start] = text[stop] = ord('"')
        at = following


def _outline(value: Any) -> bytes:
    """A segmentation as JSON text, b"" if there is none."""
    if isinstance(value, str):  # folded
        return f"[{value}]".encode() if value else b""
    return json.dumps(value).encode() if value else b""


# ----------------------------------------------------------------------------------------------- its parts


def _rows(content: dict[str, Any], key: str, path: Path) -> Rows:
    rows = content.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path} has no list of {key}; is it a COCO keypoint file?")
    return rows


def _category(
    categories: Rows, declared: dict[str, Any], path: Path, declared_in: Path
) -> tuple[set[int], Skeleton]:
    """The ids of the categories that have keypoints, and their skeleton; no ids: all that is annotated."""
    named = [row for row in categories if row.get("keypoints")]
    if not named and "joints" not in declared:
        raise UserError(
            f"{path}: no category names keypoints; is it a keypoint file? {declared_in} could name the joints"
        )
    if any(row["keypoints"] != named[0]["keypoints"] for row in named):
        names = ", ".join(str(row.get("name")) for row in named)
        raise UserError(f"{path}: the categories {names} have different keypoints; keep one of them")
    category: dict[str, Any] = named[0] if named else {}
    limbs = _limbs(category, path)
    source = declared_in if declared else path
    name, joints = str(category.get("name", "person")), category.get("keypoints", [])
    chosen = set(_ids(named, "id", "category", path).tolist())
    return chosen, build_skeleton(name, joints, limbs, declared, source)


def _limbs(category: dict[str, Any], path: Path) -> list[tuple[int, int]]:
    """The pairs of joints, from 0, that a category's skeleton connects."""
    joints = category.get("keypoints")
    if not isinstance(joints, list):
        return []  # the names are refused then
    most = len(joints)
    try:
        limbs = [(int(a), int(b)) for a, b in category.get("skeleton") or ()]
        wrong = next((pair for pair in limbs if not 1 <= min(pair) <= max(pair) <= most), None)
    except (OverflowError, TypeError, ValueError):
        limbs, wrong = [], category["skeleton"]
    if wrong is not None:
        raise UserError(
            f"{path}: the skeleton of a category must be pairs of numbers from 1 to {most}, the joints', not"
            f" {reprlib.repr(wrong)}"
        )
    return [(a - 1, b - 1) for a, b in limbs]


def _pictures(rows: Rows, path: Path) -> dict[str, np.ndarray]:
    """The arrays of the record that are of pictures."""
    numbers = _ids(rows, "id", "image", path)
    _refuse_twice(numbers, "image", path)
    names = _column(rows, "file_name", "image", path)
    if not all(isinstance(name, str) and name for name in names):
        raise UserError(f"{path}: the file_name of an image is no text")
    size = [
        _numbers(_column(rows, key, "image", path), key, numbers, "image", path)
        for key in ("width", "height")
    ]
    return {
        "images": encode_names(names),
        "image_id": numbers,
        "size": np.stack(size, 1) if rows else np.zeros((0, 2)),
    }


def _people(rows: Rows, image_id: np.ndarray, skeleton: Skeleton, path: Path) -> dict[str, np.ndarray]:
    """The arrays of the record that are of people, in the order of their pictures."""
    numbers = _ids(rows, "id", "annotation", path)
    _refuse_twice(numbers, "annotation", path)
    image_of = _image_of(_ids(rows, "image_id", "annotation", path), numbers, image_id, path)
    order = np.argsort(image_of, kind="stable")
    rows, numbers, image_of = [rows[row] for row in order], numbers[order], image_of[order]

    crowd = _numbers([row.get("iscrowd") or 0 for row in rows], "iscrowd", numbers, "annotation", path) != 0
    joints, visible = _keypoints(rows, numbers, skeleton, path)
    visible[crowd] = UNLABELLED
    labelled = np.any(visible > UNLABELLED, axis=1)
    box = _boxes(rows, numbers, "annotation", path)
    without = np.isnan(box[:, 0])
    box[without] = _joint_boxes(joints[without], visible[without])
    area = _numbers([row.get("area", np.nan) for row in rows], "area", numbers, "annotation", path)
    texts = [
        b"" if known else _outline(row.get("segmentation")) for row, known in zip(rows, labelled, strict=True)
    ]
    return {
        "first": np.searchsorted(image_of, np.arange(len(image_id) + 1)),
        "joints": joints,
        "visible": visible,
        "area": np.where(np.isnan(area), box[:, 2] * box[:, 3], area),
        "box": box,
        "crowd": crowd,
        "person_id": numbers,
        "outlines": np.frombuffer(b"".join(texts), np.uint8),
        "outline_first": np.concatenate([[0], np.cumsum([len(text) for text in texts], dtype=np.int64)]),
    }


def _image_of(wanted: np.ndarray, numbers: np.ndarray, image_id: np.ndarray, path: Path) -> np.ndarray:
    """The places of image ids `wanted` (N,) among `image_id` (M,)."""
    found = places_of(wanted, image_id)
    unknown = found < 0
    if unknown.any():
        row = int(unknown.argmax())
        raise UserError(
            f"{path}: annotation {numbers[row]} is of image {wanted[row]}, which is not among the images"
            f" ({unknown.sum()} such annotations)"
        )
    return found


def _keypoints(
    rows: Rows, numbers: np.ndarray, skeleton: Skeleton, path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Joints (N, J, 2) and visibility (N, J); of people without keypoints, zeros."""
    length = 3 * skeleton.num_joints
    nothing = [0] * length
    lists = [row.get("keypoints") or nothing for row in rows]
    wrong = _of_other_length(lists, length)
    if wrong is not None:
        one = lists[wrong]
        found = f"{len(one)} numbers" if isinstance(one, list) else repr(one)
        raise UserError(
            f"{path}: keypoints of annotation {numbers[wrong]} are {found}, but {skeleton.num_joints} joints"
            f" want {length} (x, y, v each)"
        )
    try:
        flat = np.fromiter(chain.from_iterable(lists), np.float32, length * len(rows))
    except (OverflowError, TypeError, ValueError):
        wrong = next(row for row, one in enumerate(lists) if not all(map(_is_number, one)))
        raise UserError(f"{path}: keypoints of annotation {numbers[wrong]} hold what is no number") from None
    points = flat.reshape(-1, skeleton.num_joints, 3)
    flags = points[..., 2]
    strange = ~np.isin(flags, range(VISIBLE + 1)).all(1)
    if strange.any():
        row = int(strange.argmax())
        raise UserError(
            f"{path}: a keypoint of annotation {numbers[row]} has a visibility other than 0, 1 and 2"
            f" ({strange.sum()} such annotations)"
        )
    return points[..., :2], flags.astype(np.int8)


def _of_other_length(lists: list[Any], length: int) -> int | None:
    """The first place where there is no list of that length, None if there is none."""
    try:
        if set(map(len, lists)) <= {length}:
            return None
    except TypeError:  # what is no list may have no length
        pass
    return next(at for at, one in enumerate(lists) if not isinstance(one, list) or len(one) != length)


def _boxes(rows: Rows, numbers: np.ndarray, what: str, path: Path) -> np.ndarray:
    """Boxes (N, 4), NaN where there is none."""
    nothing = [np.nan] * 4
    lists = [row.get("bbox") or nothing for row in rows]
    wrong = _of_other_length(lists, 4)
    if wrong is not None:
        raise UserError(
            f"{path}: bbox of {what} {numbers[wrong]} is {lists[wrong]!r}, not [x, y, width, height]"
        )
    flat = list(chain.from_iterable(lists))
    return _numbers(flat, "bbox", np.repeat(numbers, 4), what, path).reshape(-1, 4)


def _joint_boxes(joints: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) around the labelled joints, a little larger; zeros where there are none."""
    labelled = (visible > UNLABELLED)[..., None]
    low = np.where(labelled, joints, np.inf).min(1, initial=np.inf)
    high = np.where(labelled, joints, -np.inf).max(1, initial=-np.inf)
    low, high = np.where(low <= high, low, 0), np.where(low <= high, high, 0)
    sides = (high - low) * BOX_OVER_JOINTS
    return np.concatenate([(low + high - sides) / 2, sides], axis=1)


def _root(folders: Sequence[Path], images: np.ndarray) -> Path:
    """The folder of those that the pictures lie in; the first one if they lie in none."""
    there = [folder for folder in folders if len(images) and os.path.exists(picture_path(folder, images[0]))]
    existing = [folder for folder in folders if folder.is_dir()]
    return next(iter(there + existing), folders[0])


# -------------------------------------------------------------------------------------------------- columns


def _column(rows: Rows, key: str, what: str, path: Path) -> list[Any]:
    try:
        return [row[key] for row in rows]
    except KeyError:
        place = next(place for place, row in enumerate(rows) if key not in row)
        raise UserError(f"{path}: {what} number {place} (from 0) has no {key}") from None


def _numbers(values: list[Any], key: str, numbers: np.ndarray, what: str, path: Path) -> np.ndarray:
    """The values (N,) as float64, NaN for null; numbers (N,): whose each is."""
    try:
        return np.array(values, np.float64)
    except (OverflowError, TypeError, ValueError):
        wrong = next(place for place, value in enumerate(values) if not _is_number(value))
        raise UserError(
            f"{path}: {key} of {what} {numbers[wrong]} is no number, but {reprlib.repr(values[wrong])}"
        ) from None


def _is_number(value: Any) -> bool:
    """Whether NumPy takes it for one, such as null for NaN."""
    try:
        return np.array(value, np.float64).ndim == 0
    except (OverflowError, TypeError, ValueError):
        return False


def _ids(rows: Rows, key: str, what: str, path: Path) -> np.ndarray:
    values = _column(rows, key, what, path)
    try:
        numbers = np.array(values)
    except ValueError:  # some are lists
        numbers = np.array([None])
    if rows and (numbers.ndim != 1 or numbers.dtype.kind not in "iu"):
        most = np.iinfo(np.int64).max
        fits = (isinstance(value, int) and abs(value) <= most for value in values)
        wrong = next((place for place, fit in enumerate(fits) if not fit), 0)
        raise UserError(
            f"{path}: {key} of {what} number {wrong} (from 0) is no whole number, but"
            f" {reprlib.repr(values[wrong])}"
        )
    return numbers.astype(np.int64)


def _refuse_twice(numbers: np.ndarray, what: str, path: Path) -> None:
    distinct, counts = np.unique(numbers, return_counts=True)
    if (counts > 1).any():
        raise UserError(
            f"{path}: the {what} id {distinct[counts > 1][0]} occurs {counts.max()} times"
            f" ({(counts > 1).sum()} ids occur twice or more)"
        )
