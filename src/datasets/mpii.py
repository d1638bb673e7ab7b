"""MPII Human Pose in the forms in which people have it: the official .mat, h5 files and JSON files.

Andriluka et al., "2D human pose estimation: new benchmark and state of the art analysis", CVPR 2014. The
validation people are those of Tompson et al. (CVPR 2015).

All forms are 1-based. They differ in how a joint is marked as unlabelled or hidden, and in whether the box of
a person is the one that was annotated or the enlarged one of a crop ("baked": moved down by 15 scale pixels,
1.25 times as large). Each is turned into columns, a dict of arrays named as in Annotations and still 1-based,
with the annotated box; `_record` makes Annotations of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from src.datasets.annotations import HIDDEN, UNLABELLED, VISIBLE, Annotations
from src.datasets.files import (
    check_codes,
    check_names,
    check_shape,
    decode_names,
    encode_names,
    load_h5,
    load_json,
    load_lines,
    load_mat,
    save_h5,
)
from src.datasets.release import Release, number_pictures
from src.datasets.skeletons import MPII as SKELETON
from src.errors import UserError
from src.utils.progress import Progress

ENLARGE, SHIFT = 1.25, 15.0  # the crop of a person over the annotated box
ISTRAIN = (-1, 0, 1, 2)  # 1 training, 0 test; the others are of training pictures, but without annotation
HEAD_SHARE = 0.6  # of the head box's diagonal is the head size of PCKh (SC_BIAS in the official evaluation)

OFFICIAL = (
    "mpii_human_pose_v1_u12_1.mat",
    "annot/mpii_human_pose_v1_u12_1.mat",
    "mpii_human_pose_v1_u12_2/mpii_human_pose_v1_u12_1.mat",
)
_VALIDATION = ("annot/valid.h5", "valid.h5", "pureannot/val.h5", "annot/valid_images.txt", "valid_images.txt")

_J = SKELETON.num_joints
Columns = dict[str, np.ndarray]


def read_mpii(data_dir: Path, split: str, valid_share: float = 0.0) -> Annotations:
    """One split of MPII, from the first form found in `data_dir`; the name says which one it was.

    norm is 0.6 times the diagonal of the head box (PCKh), NaN where the form lacks it. Test people have no
    labelled joints. Training people without annotation, and anybody without a box, are left out.
    """
    sources = [source for source in _SOURCES if split in source.splits]
    for source in sources:
        for candidate in source.paths(split):
            if (data_dir / candidate).is_file():
                columns, note = source.read(data_dir / candidate, data_dir, split)
                return _record(f"mpii {split} ({candidate}, {note})", data_dir, columns)
    raise MPII.missing(data_dir, [source.paths(split)[0] for source in sources])


def read_official(path: Path) -> Columns:
    """The people of the official .mat, with `istrain` (N,) 1 in training pictures, 0 in test pictures.

    Left out are training people without joints and anybody without position or scale. Takes about a quarter
    of a minute for the whole release.
    """
    release = load_mat(path, ["RELEASE"], squeeze_me=True, struct_as_record=False)["RELEASE"]
    if not hasattr(release, "annolist") or not hasattr(release, "img_train"):
        raise UserError(f"{path}: RELEASE has no annolist or no img_train; is it the right file?")
    pictures, training = np.atleast_1d(release.annolist), np.atleast_1d(release.img_train)
    if len(pictures) != len(training):
        raise UserError(f"{path}: {len(pictures)} pictures in annolist, but {len(training)} in img_train")
    check_shape(training, (None,), "img_train", path)
    check_codes(training, (0, 1), "img_train", path)
    people = []
    with Progress("annotated pictures", len(pictures)) as progress:
        for index, (picture, train) in enumerate(zip(pictures, training, strict=True)):
            try:
                people += _official_people(picture, bool(train), index)
            except (ArithmeticError, AttributeError, IndexError, TypeError, ValueError) as error:
                raise UserError(f"{path}: annolist({index + 1}) is not as in the release ({error})") from None
            progress.advance(str)
    if not people:
        raise UserError(f"{path}: nobody in it is annotated; is it the right file?")
    columns = {key: np.array([person[key] for person in people]) for key in people[0]}
    return columns | {"images": encode_names(columns["images"].tolist())}


def convert_official(data_dir: Path) -> str:
    """Write annot.h5 from the official .mat, which takes long to read, if that is there; says so in a line.

    The layout is that of the stacked hourglass' annot.h5: annotated boxes, 1-based, unlabelled joints (0, 0),
    joints of test people (-1, -1). Neck and head top keep their fractions.
    """
    target = data_dir / "annot.h5"
    if target.is_file():
        return f"{target} is there already"
    found = [data_dir / candidate for candidate in OFFICIAL if (data_dir / candidate).is_file()]
    if not found:
        return f"there is no {OFFICIAL[0]} to convert; annotations in h5 or JSON files are read as they are"
    columns = read_official(found[0])
    content = {
        "imgname": columns["images"],
        "part": columns["joints"],
        "visible": (columns["visible"] == VISIBLE).astype(np.float64),
        "center": columns["center"],
        "scale": columns["scale"],
        "normalize": np.where(columns["istrain"] == 1, columns["norm"], 1.0),
        "index": columns["index"],
        "person": columns["person_id"],
        "istrain": columns["istrain"],
    }
    save_h5(target, content)
    return f"{target} written: {len(columns['istrain'])} people of {found[0].name}"


def _of_tompson(columns: Columns, data_dir: Path, split: str, path: Path) -> Columns:
    """Of the training people, those of the validation pictures (split "valid") or the others ("train")."""
    listed = _validation_images(data_dir)
    held_out = np.isin(columns["images"], listed)
    if split == "valid" and held_out.sum() != len(listed):
        raise UserError(
            f"mpii: the validation list names {len(listed)} people, and {path} has {held_out.sum()} in their"
            f" pictures; put valid.h5, which tells them apart, into {data_dir / 'annot'} ({_LIST_SOURCE})"
        )
    return _choose(columns, held_out == (split == "valid"))


def _choose(columns: Columns, rows: np.ndarray) -> Columns:
    """The columns of these rows."""
    return {key: column[rows] for key, column in columns.items()}


def mark_joints(part: np.ndarray, visible: np.ndarray | None) -> np.ndarray:
    """UNLABELLED, HIDDEN or VISIBLE for joints (N, J, 2) of h5 files, where `visible` (N, J) is 1 or 0.

    A joint is unlabelled if both coordinates are 0, or both -1. One negative coordinate, or one that is 0,
    is that of a joint beyond the edge of the picture.
    """
    labelled = ~((part == 0).all(2) | (part == -1).all(2))
    shown = VISIBLE if visible is None else np.where(visible > 0, VISIBLE, HIDDEN)
    return np.where(labelled, shown, UNLABELLED)


_LIST_SOURCE = "it is in data/mpii/annot of https://github.com/princeton-vl/pose-hg-train"


def _record(name: str, root: Path, columns: Columns) -> Annotations:
    boxed = ~(columns["scale"] <= 0)  # what is no number is refused, not left out
    if not boxed.all():
        name += f", {(~boxed).sum()} without a box left out"
        columns = _choose(columns, boxed)
    count = len(columns["scale"])
    return Annotations(
        name=name,
        skeleton=SKELETON,
        root=root,
        images=np.char.add(b"images/", columns["images"]),
        joints=columns["joints"] - MPII.origin,
        visible=columns["visible"],
        center=columns["center"] - MPII.origin,
        scale=columns["scale"],
        enlarge=np.full(count, ENLARGE),
        shift=np.full(count, SHIFT),
        norm=columns["norm"],
        index=columns["index"],
        person_id=columns["person_id"],
    )


# The h5 files of the stacked hourglass' authors: one a split, or annot.h5 with all people.


def _read_split_h5(path: Path, data_dir: Path, split: str) -> tuple[Columns, str]:
    columns, note = _read_h5(path)
    exact = _ground_truth(path.parent, columns["joints"])
    if exact is None:
        return columns, note
    # The h5 has neck and head top cut to whole pixels, and 13 joints that differ by more: published figures
    # were scored with the exact positions.
    labelled = (columns["visible"] > UNLABELLED)[..., None]
    joints = np.where(labelled, exact.positions, columns["joints"])
    return columns | {"joints": joints}, f"{note}, joints of {exact.name}"


def _read_annot_h5(path: Path, data_dir: Path, split: str) -> tuple[Columns, str]:
    columns, note = _read_h5(path)
    if "istrain" not in columns:
        raise UserError(f"{path} has no istrain; a file of one split must be named {split}.h5")
    return _of_split(columns, path, data_dir, split), note


def _read_h5(path: Path) -> tuple[Columns, str]:
    found = load_h5(
        path,
        ["part", "center", "scale"],
        ["imgname", "visible", "normalize", "index", "person", "istrain"],
    )
    part, scale = found["part"], found["scale"]
    check_shape(part, (None, _J, 2), "part", path)
    shapes = {"center": (len(part), 2), "visible": (len(part), _J)}
    for key in found.keys() - {"part", "imgname"}:
        check_shape(found[key], shapes.get(key, (len(part),)), key, path)
    names = decode_names(found["imgname"], path) if "imgname" in found else _listed_images(path)
    if len(names) != len(part):
        raise UserError(f"{path}: {len(part)} people, but {len(names)} picture names")
    visible = mark_joints(part, found.get("visible"))
    center, scale, baked = undo_baked(found["center"].astype(np.float64), scale.astype(np.float64))
    index, person = number_pictures(names)
    norm = found.get("normalize", np.full(len(part), np.nan))
    columns = {
        "images": names,
        "joints": part,
        "visible": visible,
        "center": center,
        "scale": scale,
        "norm": np.where((norm > 0) & (visible > UNLABELLED).any(1), norm, np.nan),
        "index": found.get("index", index),
        "person_id": found.get("person", person),
    }
    if "istrain" in found:
        columns["istrain"] = found["istrain"]
    return columns, "baked boxes undone" if baked else "raw boxes"


def undo_baked(center: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """The annotated boxes, and whether the given ones were baked: centre (N, 2), scale (N,), bool.

    Centres were annotated as whole pixels, so the form in which more of them are whole is the annotated one.
    """
    raw_scale = scale / ENLARGE
    raw_center = center - np.array([0, SHIFT]) * raw_scale[:, None]
    if _whole(raw_center).sum() > _whole(center).sum():
        return raw_center, raw_scale, True
    return center, scale, False


def _whole(center: np.ndarray) -> np.ndarray:
    """Which centres (N, 2) have a whole y; the margin is for files in float32."""
    return np.abs(center[:, 1] - np.round(center[:, 1])) < 1e-3


def _listed_images(path: Path) -> np.ndarray:
    """The picture of each person, from the text file beside an h5 file that does not name them."""
    beside = path.with_name(f"{path.stem}_images.txt")
    if not beside.is_file():
        raise UserError(f"{path} has no imgname; put {beside.name}, which names the pictures, beside it")
    return encode_names(load_lines(beside))


def _of_split(columns: Columns, path: Path, data_dir: Path, split: str) -> Columns:
    """The people of one split, from columns with `istrain`; they are left without it."""
    training = columns.pop("istrain")
    check_codes(training, ISTRAIN, "istrain", path)
    if split == "test":
        return _choose(columns, training == 0)
    return _of_tompson(_choose(columns, training == 1), data_dir, split, path)


def _validation_images(data_dir: Path) -> np.ndarray:
    """The pictures of the validation people, one for each person."""
    for candidate in _VALIDATION:
        path = data_dir / candidate
        if path.is_file():
            if path.suffix == ".txt":
                return encode_names(load_lines(path))
            return decode_names(load_h5(path, ["imgname"])["imgname"], path)
    raise UserError(
        "mpii: the release does not say which of its training people are for validation; put valid.h5 (or"
        f" valid_images.txt) into {data_dir / 'annot'}; {_LIST_SOURCE}"
    )


# JSON: one file a split with joints_vis = labelled, or one file with the flag isValidation.


def _read_split_json(path: Path, data_dir: Path, split: str) -> tuple[Columns, str]:
    records = _records(path)
    labelled = np.zeros((len(records), _J), bool)
    joints = np.full((len(records), _J, 2), -1.0)
    if split != "test":
        joints = _column(records, "joints", (_J, 2), path)
        labelled = _column(records, "joints_vis", (_J,), path) > 0
    visible = np.where(labelled, mark_joints(joints, None), UNLABELLED)
    columns = _json_columns(records, "image", "center", "scale", joints, visible, path)
    return columns | {"norm": _head_sizes(path.parent, joints)}, "raw boxes"


def _read_flagged_json(path: Path, data_dir: Path, split: str) -> tuple[Columns, str]:
    everybody = _records(path)
    flags = _column(everybody, "isValidation", (), path)
    check_codes(flags, (0, 1), "isValidation", path)
    records = [record for record, flag in zip(everybody, flags, strict=True) if flag == (split == "valid")]
    if not records:
        raise UserError(f"{path} has nobody in its {split} part (isValidation)")
    joints = _column(records, "joint_self", (_J, 3), path)
    visible = mark_joints(joints[..., :2], joints[..., 2])
    columns = _json_columns(records, "img_paths", "objpos", "scale_provided", joints[..., :2], visible, path)
    numbers = {
        "index": _column(records, "annolist_index", (), path) - 1,
        "person_id": _column(records, "people_index", (), path) - 1,
        "norm": _head_sizes(path.parent, joints[..., :2]),
    }
    return columns | numbers, "raw boxes"


def _json_columns(
    records: list[dict[str, Any]],
    image: str,
    center: str,
    scale: str,
    joints: np.ndarray,
    visible: np.ndarray,
    path: Path,
) -> Columns:
    """The columns that both JSON forms have, from the keys under which they have them."""
    images = encode_names(check_names([record.get(image) for record in records], image, path))
    index, person = number_pictures(images)
    return {
        "images": images,
        "joints": joints,
        "visible": visible,
        "center": _column(records, center, (2,), path),
        "scale": _column(records, scale, (), path),
        "index": index,
        "person_id": person,
    }


def _records(path: Path) -> list[dict[str, Any]]:
    records = load_json(path)
    if not (isinstance(records, list) and records and all(isinstance(record, dict) for record in records)):
        raise UserError(f"{path} is not a list of people; is it the right file?")
    return records


def _column(records: list[dict[str, Any]], key: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    """The values under one key of all records, (N, *shape) float64, all finite."""
    try:
        column = np.array([record[key] for record in records], np.float64)
    except (KeyError, OverflowError, TypeError, ValueError):
        column = np.array(np.nan)
    if not np.isfinite(column).all():
        raise UserError(f"{path}: not every record has finite numbers of shape {shape} under {key!r}")
    check_shape(column, (None, *shape), key, path)
    return column


class _GroundTruth(NamedTuple):
    """What the evaluation in MATLAB compares with: positions (N, J, 2) 1-based, head sizes (N,), the file."""

    positions: np.ndarray
    head_sizes: np.ndarray
    name: str


def _ground_truth(folder: Path, joints: np.ndarray) -> _GroundTruth | None:
    """The ground truth of the official evaluation beside other files, if it is of the same people."""
    for name in ("gt_valid.mat", "detections_our_format.mat", "detections.mat"):
        if (folder / name).is_file():
            truth = load_mat(folder / name, ["pos_gt_src", "headboxes_src"])
            check_shape(truth["pos_gt_src"], (_J, 2, None), "pos_gt_src", folder / name)
            positions = truth["pos_gt_src"].transpose(2, 0, 1).astype(np.float64)
            check_shape(truth["headboxes_src"], (2, 2, len(positions)), "headboxes_src", folder / name)
            if positions.shape == joints.shape and np.median(np.abs(positions - joints)) < 1:
                return _GroundTruth(positions, head_sizes(truth["headboxes_src"]), name)
    return None


def _head_sizes(folder: Path, joints: np.ndarray) -> np.ndarray:
    """Head sizes (N,) from the ground truth beside the JSON files, NaN where there is none."""
    exact = _ground_truth(folder, joints)
    return np.full(len(joints), np.nan) if exact is None else exact.head_sizes


def head_sizes(boxes: np.ndarray) -> np.ndarray:
    """The lengths (N,) of PCKh from head boxes (2 corners, 2 axes, N)."""
    return HEAD_SHARE * np.linalg.norm(boxes[1] - boxes[0], axis=0)


# The official .mat. What a person lacks is missing, or empty, in one person or in all people of a picture.


def _read_official(path: Path, data_dir: Path, split: str) -> tuple[Columns, str]:
    return _of_split(read_official(path), path, data_dir, split), "raw boxes"


def _official_people(picture: Any, training: bool, index: int) -> list[dict[str, Any]]:
    """The usable people of one entry of annolist, each as values of the columns."""
    if not isinstance(picture.image.name, str):
        raise TypeError("image.name is no text")
    numbers = {"index": index, "istrain": int(training), "images": picture.image.name}
    rects = np.atleast_1d(getattr(picture, "annorect", ()))
    people = [(number, _official_person(rect, training)) for number, rect in enumerate(rects)]
    return [person | numbers | {"person_id": number} for number, person in people if person is not None]


def _official_person(rect: Any, training: bool) -> dict[str, Any] | None:
    """One entry of annorect as values of the columns, or None if it is of no use."""
    position = getattr(rect, "objpos", None)
    center, scale = (_number(position, "x"), _number(position, "y")), _number(rect, "scale")
    joints, visible = _official_joints(rect)
    usable = not np.isnan((*center, scale)).any() and (visible.any() or not training)
    if not usable:
        return None
    if not training:
        joints, visible = np.full_like(joints, -1), np.zeros_like(visible)
    corners = np.array([_number(rect, key) for key in ("x1", "y1", "x2", "y2")])
    norm = HEAD_SHARE * np.hypot(corners[2] - corners[0], corners[3] - corners[1]) if training else np.nan
    return {"joints": joints, "visible": visible, "center": center, "scale": scale, "norm": norm}


def _official_joints(rect: Any) -> tuple[np.ndarray, np.ndarray]:
    """Joints (J, 2), zeros where unlabelled, and their visibility (J,)."""
    joints, visible = np.zeros((_J, 2)), np.full(_J, UNLABELLED)
    points = getattr(getattr(rect, "annopoints", None), "point", ())
    for point in np.atleast_1d(points):
        joint = int(_number(point, "id"))
        if joint < 0:
            raise ValueError(f"there is no joint {joint}")
        joints[joint] = _number(point, "x"), _number(point, "y")
        # Neck and head top have no is_visible, other visible joints may have an empty one.
        visible[joint] = HIDDEN if _number(point, "is_visible") == 0 else VISIBLE
    return joints, visible


def _number(struct: Any, field: str) -> float:
    """A number, possibly written as a character, or NaN where it is missing or empty."""
    values = np.atleast_1d(getattr(struct, field, ())).reshape(-1)
    if np.iscomplexobj(values):
        raise TypeError(f"{field} is complex")
    return float(values[0]) if values.size else np.nan


@dataclass(frozen=True)
class _Source:
    """One form of the annotations: where it may lie, which splits it can have, and its reader."""

    candidates: tuple[str, ...]
    read: Callable[[Path, Path, str], tuple[Columns, str]]
    splits: tuple[str, ...] = ("train", "valid", "test")

    def paths(self, split: str) -> list[str]:
        short = "val" if split == "valid" else split
        return [candidate.format(split=split, short=short) for candidate in self.candidates]


_SOURCES = (
    _Source(("annot/{split}.h5", "{split}.h5", "pureannot/{short}.h5"), _read_split_h5),
    _Source(("annot.h5", "annot/annot.h5"), _read_annot_h5),
    _Source(("annot/{split}.json", "{split}.json"), _read_split_json),
    _Source(("mpii_annotations.json", "annot/mpii_annotations.json"), _read_flagged_json, ("train", "valid")),
    _Source(OFFICIAL, _read_official),
)


MPII = Release(
    dataset="mpii",
    source="the images and annotations of the MPII Human Pose data set (http://human-pose.mpi-inf.mpg.de)",
    layout="images/ and the annotations, mpii_human_pose_v1_u12_1.mat or annot/*.h5",
    read=read_mpii,
    prepare=convert_official,
)
