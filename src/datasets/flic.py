"""Frames Labelled in Cinema (FLIC): upper bodies in films, as the h5 files of the stacked hourglass' authors
or as the release's examples.mat.

Sapp and Taskar, "MODEC: multimodal decomposable models for human pose estimation", CVPR 2013.

Sides are the observer's, by which results are reported: the left shoulder is the one further right in the
picture, as of somebody who faces the camera. The person's own sides are known, too; they are the other way
round for people who are seen from behind. Both kinds share the torso that PCK divides by, from the person's
own right shoulder to the left hip.
"""

from functools import partial
from pathlib import Path

import numpy as np

from src.datasets.annotations import UNLABELLED, VISIBLE, Annotations
from src.datasets.files import (
    check_codes,
    check_names,
    check_shape,
    decode_names,
    encode_names,
    load_h5,
    load_mat,
)
from src.datasets.release import Release, torso_lengths, unpack
from src.datasets.skeletons import FLIC as SKELETON
from src.errors import UserError, suggest

SIDES = ("observer", "person")
SCALE, CENTER_Y = 2.2, 240.0  # of every box; its x is the middle of the torso's box

_J = SKELETON.num_joints
_NAMES = {"train": "train", "valid": "valid", "test": "valid"}  # of the h5 files, by split
_EXAMPLES = ("FLIC/examples.mat", "examples.mat")
_COORDS = 29  # joints in examples.mat, of which these are annotated, in the order of the skeleton
_ANNOTATED = [0, 1, 2, 3, 4, 5, 6, 9, 12, 13, 16]

Columns = dict[str, np.ndarray]


def read_flic(data_dir: Path, split: str, valid_share: float = 0.0, sides: str = "observer") -> Annotations:
    """3,987 people for training; 1,016 for test, who are the validation people, too.

    sides: "observer" or "person", whose left and right the joints have. All joints are annotated, and taken
    for visible. The box is 440 pixels for everybody. `valid_share` is not used.
    """
    if sides not in SIDES:
        raise UserError(f"flic has no sides {sides!r}{suggest(sides, SIDES)}; it has {', '.join(SIDES)}")
    name = _NAMES[split] + ("_personcentric" if sides == "person" else "")
    path = FLIC.find(data_dir, [f"annot/{name}.h5", f"{name}.h5", *_EXAMPLES])
    columns = _read_h5(path) if path.suffix == ".h5" else _read_examples(path, split, sides)
    folders = [folder / "images" for folder in (data_dir, data_dir / "FLIC")]
    count = len(columns["images"])
    return Annotations(
        name=f"flic {split} ({path.name}, sides of the {sides})",
        skeleton=SKELETON,
        root=next((folder for folder in folders if folder.is_dir()), folders[0]),
        scale=columns.pop("scale", np.full(count, SCALE)),
        enlarge=np.ones(count),
        shift=np.zeros(count),
        person_id=np.zeros(count),
        **columns,
    )


def _read_h5(path: Path) -> Columns:
    found = load_h5(path, ["imgname", "part", "center", "scale"], ["normalize", "index"])
    check_shape(found["part"], (None, _J, 2), "part", path)
    part = found["part"] - 1.0
    shapes = {"center": (len(part), 2)}
    for key in found.keys() - {"part", "imgname"}:
        check_shape(found[key], shapes.get(key, (len(part),)), key, path)
    images = decode_names(found["imgname"], path)
    if len(images) != len(part):
        raise UserError(f"{path}: {len(part)} people, but {len(images)} picture names")
    visible = np.full(part.shape[:2], VISIBLE)
    return {
        "images": images,
        "joints": part,
        "visible": visible,
        "center": found["center"] - 1.0,
        "scale": found["scale"],
        "norm": found.get("normalize", torso_lengths(part, visible, SKELETON)),
        "index": found.get("index", np.arange(len(part))),
    }


def _read_examples(path: Path, split: str, sides: str) -> Columns:
    """The people of a split in examples.mat, a struct array with a person an entry."""
    examples = load_mat(path, ["examples"], squeeze_me=True, struct_as_record=False)["examples"]
    try:
        people = list(np.atleast_1d(examples))
        test = np.array([float(example.istest) for example in people])
        check_codes(test, (0, 1), "istest", path)
        rows = np.flatnonzero(test == (split != "train"))
        chosen = [people[row] for row in rows]
        coords = np.array([example.coords for example in chosen], np.float64).reshape(-1, 2, _COORDS)
        torso = np.array([example.torsobox for example in chosen], np.float64).reshape(-1, 4)
        names = check_names([example.filepath for example in chosen], "filepath", path)
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise UserError(f"{path}: examples is not as in the release ({error})") from None
    joints = coords[:, :, _ANNOTATED].transpose(0, 2, 1) - 1
    labelled = np.isfinite(joints).all(2)
    visible = np.where(labelled, VISIBLE, UNLABELLED)
    norm = torso_lengths(joints, visible, SKELETON)
    backwards = _backwards(joints)
    if sides == "person" and not backwards.any():
        raise UserError(
            f"{path} has the observer's sides; for the person's put train_personcentric.h5 and"
            f" valid_personcentric.h5 into annot/ ({_H5_SOURCE})"
        )
    if sides == "observer":
        order = np.array(SKELETON.flip_order)
        joints[backwards], visible[backwards] = joints[backwards][:, order], visible[backwards][:, order]
    return {
        "images": encode_names(names),
        "joints": np.where(visible[..., None] > UNLABELLED, joints, 0),
        "visible": visible,
        "center": np.stack([(torso[:, 0] + torso[:, 2]) / 2, np.full(len(torso), CENTER_Y)], axis=1) - 1,
        "norm": norm,
        "index": rows,
    }


def _backwards(joints: np.ndarray) -> np.ndarray:
    """Who (N,) is seen from behind, by the person's own sides: the left shoulder is further left."""
    left, right = SKELETON.index("left shoulder"), SKELETON.index("right shoulder")
    return joints[:, left, 0] < joints[:, right, 0]


_H5_SOURCE = "they are in data/flic/annot of https://github.com/princeton-vl/pose-hg-train"

FLIC = Release(
    dataset="flic",
    source="FLIC.zip of the FLIC data set (https://bensapp.github.io/flic-dataset.html)",
    layout="FLIC/examples.mat and FLIC/images/, or images/ and the h5 files of pose-hg-train's"
    " data/flic/annot in annot/",
    read=read_flic,
    twice=("collateral-disc1-00080111.jpg", "funny-girl-dvd-video-00184641.jpg"),
    prepare=partial(unpack, archive="FLIC", candidates=["annot/train.h5", "train.h5", *_EXAMPLES]),
)
