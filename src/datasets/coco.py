"""COCO keypoints of 2014 and 2017, and whatever else comes in their format: whole pictures, or person crops.

Lin et al., "Microsoft COCO: common objects in context", ECCV 2014.
"""

from pathlib import Path

import numpy as np

from src.datasets.affine import PERSON_PIXELS
from src.datasets.annotations import UNLABELLED, Annotations, Detections
from src.datasets.coco_json import load_boxes, load_coco_json, load_pictures, places_of
from src.datasets.files import load_lines
from src.datasets.own_skeleton import FILE, read_declared
from src.datasets.release import SPLITS, Release, torso_lengths
from src.datasets.scene_annotations import SceneAnnotations
from src.datasets.skeletons import COCO as SKELETON
from src.errors import UserError, suggest

ENLARGE = 1.25  # the box of a crop over the annotated box
YEARS = (2017, 2014)  # the newer one is preferred
_NAMES = {"train": ("train",), "valid": ("val", "valid")}  # of files and folders, by split
_TEST = ("image_info_test-dev", "image_info_test")  # files of pictures that a server knows the people of


def read_scenes(
    data_dir: Path,
    split: str,
    valid_share: float = 0.2,
    year: int | None = None,
    held_out: Path | None = None,
) -> SceneAnnotations:
    """The pictures of a split, and everybody in them; of "test", which nobody is annotated in, the pictures.

    year: of the release, where several lie in `data_dir`; None: the newest. held_out: a file with the ids of
    training pictures that are for validation, one a line, instead of the release's validation split.
    valid_share: what is held out of the only JSON in `annotations/`, if it is not one of COCO's, its last
    pictures. Raises UserError for what is missing, damaged or contradicts itself.
    """
    if split not in SPLITS:
        raise UserError(f"coco has no split {split!r}{suggest(split, SPLITS)}; it has {', '.join(SPLITS)}")
    if split == "test":
        return _to_submit(data_dir, year)
    path, folders, is_only_one = _find(data_dir, "train" if held_out else split, year)
    record = load_coco_json(path, folders, f"coco {split}", read_declared(data_dir), data_dir / FILE)
    if held_out:
        return record.select(_held_out(held_out, record, path) == (split == "valid"))
    if is_only_one:
        last = np.arange(len(record)) >= len(record) - round(valid_share * len(record))
        return record.select(last == (split == "valid"))
    return record


def read_people(
    data_dir: Path,
    split: str,
    valid_share: float = 0.2,
    year: int | None = None,
    held_out: Path | None = None,
    boxes: Path | None = None,
    least_score: float = 0.0,
) -> Annotations:
    """Those of a split who have a box and a labelled joint, for crops of one person.

    The box is the annotated one within the picture, made square by its longer side (Xiao et al., "Simple
    baselines for human pose estimation and tracking", ECCV 2018, with a square crop). boxes, least_score:
    a file of a detector's boxes to take instead, as `detected_people` does. The others are those of
    `read_scenes`.
    """
    scenes = read_scenes(data_dir, split, valid_share, year, held_out)
    if split == "test" and not boxes:
        raise UserError(f"{scenes.name}: nobody is annotated; --boxes FILE has whom a detector has found")
    return detected_people(scenes, boxes, least_score) if boxes else people_of(scenes)


def people_of(scenes: SceneAnnotations) -> Annotations:
    """The people of a multi-person record, one by one, as `read_people` says."""
    image_of = scenes.image_of
    center, side = _squares(scenes.box, scenes.size[image_of])
    rows = np.flatnonzero(scenes.labelled & (scenes.area > 0) & (side > 0))
    joints, visible = scenes.joints[rows], scenes.visible[rows]
    return Annotations(
        name=scenes.name,
        skeleton=scenes.skeleton,
        root=scenes.root,
        images=scenes.images[image_of[rows]],
        joints=joints,
        visible=visible,
        center=center[rows],
        scale=side[rows] / PERSON_PIXELS,
        enlarge=np.full(len(rows), ENLARGE),
        shift=np.zeros(len(rows)),
        norm=torso_lengths(joints, visible, scenes.skeleton),
        index=scenes.image_id[image_of[rows]],
        person_id=scenes.person_id[rows],
    )


def detected_people(scenes: SceneAnnotations, path: Path, least_score: float = 0.0) -> Detections:
    """The people whom a detector has found in the pictures of `scenes`, with boxes as in `read_people`.

    path: a JSON in COCO's format of results, a list of image_id, category_id, bbox and score. Left out are
    other categories, other pictures, scores below `least_score`, and boxes that show nothing of the picture;
    the name says how many. Raises UserError for a file that is damaged, or of which nothing is left.
    """
    found = load_boxes(path)
    image_of = places_of(found.image_id, scenes.image_id)
    wanted = (image_of >= 0) & (found.category == scenes.category) & (found.score >= least_score)
    rows = np.flatnonzero(wanted)
    center, side = _squares(found.box[rows], scenes.size[image_of[rows]])
    rows, center, side = rows[side > 0], center[side > 0], side[side > 0]
    name = f"{scenes.name} ({path.name}, {len(rows):,} of {len(wanted):,} boxes)"
    if not len(rows):
        raise UserError(
            f"{name}: no box is of a person in these pictures and has a score from {least_score:g}; is it the"
            " right file?"
        )
    num_joints = scenes.skeleton.num_joints
    return Detections(
        name=name,
        skeleton=scenes.skeleton,
        root=scenes.root,
        images=scenes.images[image_of[rows]],
        joints=np.zeros((len(rows), num_joints, 2)),
        visible=np.full((len(rows), num_joints), UNLABELLED),
        center=center,
        scale=side / PERSON_PIXELS,
        enlarge=np.full(len(rows), ENLARGE),
        shift=np.zeros(len(rows)),
        norm=np.full(len(rows), np.nan),
        index=scenes.image_id[image_of[rows]],
        person_id=rows,
        score=found.score[rows],
    )


def _squares(box: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre (N, 2) and longer side (N,) of boxes (N, 4) cut at the edges of pictures (N, 2): 0 if nothing is
    left.
    """
    low = np.clip(box[:, :2], 0, size)
    high = np.clip(box[:, :2] + box[:, 2:], 0, size)
    return (low + high) / 2, np.where((high > low).all(1), (high - low).max(1, initial=0), 0)


def _find(data_dir: Path, split: str, year: int | None) -> tuple[Path, list[Path], bool]:
    """The JSON of a split, where its pictures may lie, and whether it is the only one, for both splits."""
    annotations, images = data_dir / "annotations", data_dir / "images"
    for release in (year,) if year else YEARS:
        files = {name: f"annotations/person_keypoints_{name}{release}.json" for name in ("train", "val")}
        if year or any((data_dir / file).is_file() for file in files.values()):  # never a mixture of years
            name = _NAMES[split][0]
            folders = [images / f"{name}{release}", data_dir / f"{name}{release}"]
            return COCO.find(data_dir, [files[name]]), folders, False
    own = sorted(annotations.glob("*.json"))
    if len(own) == 1:
        return own[0], [images / own[0].stem, images], True
    candidates = [f"annotations/{name}.json" for name in _NAMES[split]]
    if not own:
        candidates.insert(0, f"annotations/person_keypoints_{_NAMES[split][0]}{YEARS[0]}.json")
    path = COCO.find(data_dir, candidates)
    return path, [images / path.stem, images], False


def _to_submit(data_dir: Path, year: int | None) -> SceneAnnotations:
    """The pictures of a test split."""
    names = [f"{name}{release}" for release in ((year,) if year else YEARS) for name in _TEST]
    path = COCO.find(data_dir, [f"annotations/{name}.json" for name in names])
    folder = f"test{path.stem[-4:]}"  # those of test-dev are among them
    return load_pictures(path, [data_dir / "images" / folder, data_dir / folder], "coco test", SKELETON)


def _held_out(list_path: Path, record: SceneAnnotations, path: Path) -> np.ndarray:
    """Which pictures (M,) of the record a list of ids names."""
    try:
        wanted = np.array([int(line) for line in load_lines(list_path)], np.int64)
    except (ValueError, OverflowError):
        raise UserError(f"{list_path} must hold one picture id, a whole number, a line") from None
    if not len(wanted):
        raise UserError(f"{list_path} is empty; it must hold the ids of pictures, one a line")
    unknown = wanted[~np.isin(wanted, record.image_id)]
    if len(unknown):
        raise UserError(
            f"{list_path} names pictures that {path} does not have: {len(unknown)} of {len(wanted)}, such as"
            f" {unknown[0]}"
        )
    return np.isin(record.image_id, wanted)


def _prepare(data_dir: Path) -> str:
    """Say that there is nothing to be done."""
    return f"the files in {data_dir} are read as they are"


COCO = Release(
    dataset="coco",
    source="the train and val images of 2017 (or 2014) and their annotations_trainval archive"
    " (https://cocodataset.org/#download)",
    layout="annotations/person_keypoints_{train,val}2017.json and images/{train,val}2017/, or keypoints of"
    " your own in COCO's format, annotations/{train,val}.json and images/",
    read=read_people,
    prepare=_prepare,
    splits=tuple(_NAMES),
    unannotated=("test",),
    scenes=read_scenes,
    origin=0.0,
)
