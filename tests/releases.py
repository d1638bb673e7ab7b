"""Tiny releases in the layouts of the real ones, for tests: some people, and the files that describe them.

The numbers are drawn from a fixed seed; pictures are small JPEGs of noise. MPII's people contain what its
readers stumble over: hidden and unlabelled joints, joints beyond the edge, several people in a picture.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import scipy.io

from src.datasets.skeletons import COCO

WIDTH, HEIGHT = 96, 72
LSP_JOINTS, MPII_JOINTS = 14, 16
Arrays = dict[str, np.ndarray]

# COCO: the names of its joints as its files spell them.
COCO_NAMES = [
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee",
    "left_ankle", "right_ankle",
]  # fmt: skip

# MPII: which picture each person is in, and the split of that picture; the last two are test people.
MPII_PICTURES = ("000000001.jpg", "000000002.jpg", "000000003.jpg", "000000004.jpg")
MPII_INDEX = np.array([0, 0, 1, 2, 3, 3])
MPII_SPLITS = np.array(["train", "train", "train", "valid", "test", "test"])


def write_picture(path: Path, width: int = WIDTH, height: int = HEIGHT) -> None:
    """A JPEG of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    assert cv2.imwrite(str(path), cv2.resize(noise, (width, height)))


def make_lsp(folder: Path, count: int = 6) -> np.ndarray:
    """LSP in `folder`; its joints (3, 14, N): x, y (1-based), 1 where occluded."""
    rng = np.random.default_rng(1)
    joints = np.empty((3, LSP_JOINTS, count))
    joints[0] = rng.uniform(1, WIDTH, joints[0].shape)
    joints[1] = rng.uniform(1, HEIGHT, joints[1].shape)
    joints[2] = rng.random(joints[2].shape) < 0.2
    _write_leeds(folder, joints, count, "im{:04d}.jpg")
    return joints


def make_lspet(folder: Path, count: int = 10) -> np.ndarray:
    """LSPET in `folder`; its joints (14, 3, N): x, y, 1 where labelled; each person lacks one."""
    rng = np.random.default_rng(2)
    joints = np.empty((LSP_JOINTS, 3, count))
    joints[:, 0] = rng.uniform(1, WIDTH, joints[:, 0].shape)
    joints[:, 1] = rng.uniform(1, HEIGHT, joints[:, 1].shape)
    joints[:, 2] = 1
    unlabelled = rng.integers(0, LSP_JOINTS, count)
    joints[unlabelled, :, np.arange(count)] = np.stack(
        [np.zeros(count), -rng.uniform(1, 40, count), np.zeros(count)], 1
    )
    _write_leeds(folder, joints, count, "im{:05d}.jpg")
    return joints


def _write_leeds(folder: Path, joints: np.ndarray, count: int, name: str) -> None:
    for row in range(count):
        write_picture(folder / "images" / name.format(row + 1))
    scipy.io.savemat(folder / "joints.mat", {"joints": joints})


def mpii_people() -> Arrays:
    """The people of MPII, 1-based and as annotated.

    images (N,), joints (N, 16, 2), visible (N, 16) 0 unlabelled, 1 hidden, 2 visible, center (N, 2),
    scale (N,), head (N, 4) corners of the head box, index (N,), person (N,), split (N,). Test people have no
    joints.
    """
    rng = np.random.default_rng(3)
    count = len(MPII_INDEX)
    joints = rng.integers(2, HEIGHT - 1, (count, MPII_JOINTS, 2)).astype(float)
    visible = rng.choice([1, 2], (count, MPII_JOINTS), p=[0.2, 0.8])
    visible[:, 8:10] = 2
    visible[2] = 2
    visible[:4, 0] = 0
    joints[0, 9], visible[0, 9] = (30, -4), 2  # head tops beyond the edges of the picture
    joints[2, 9], visible[2, 9] = (0, 12), 2
    visible[MPII_SPLITS == "test"] = 0
    joints[visible == 0] = 0
    return {
        "images": np.array(MPII_PICTURES)[MPII_INDEX],
        "joints": joints,
        "visible": visible,
        "center": rng.integers(30, 60, (count, 2)).astype(float),
        "scale": rng.uniform(0.2, 0.35, count),
        "head": np.sort(rng.integers(5, 40, (count, 2, 2)), axis=1).reshape(count, 4)
        + np.array([0, 0, 3, 4]),
        "index": MPII_INDEX,
        "person": np.array([0, 1, 0, 0, 0, 1]),
        "split": MPII_SPLITS,
    }


def write_mpii_pictures(folder: Path) -> None:
    """images/ of MPII in `folder`."""
    for name in MPII_PICTURES:
        write_picture(folder / "images" / name)


def mpii_head_sizes(people: Arrays) -> np.ndarray:
    """0.6 times the diagonal of the head boxes (N,)."""
    x1, y1, x2, y2 = people["head"].T
    return 0.6 * np.hypot(x2 - x1, y2 - y1)


def mpii_h5_fields(people: Arrays) -> Arrays:
    """The people as the fields of annot.h5: annotated boxes, joints of test people -1."""
    test = people["split"] == "test"
    return {
        "imgname": np.array([[ord(c) for c in name.ljust(16, "\0")] for name in people["images"]], float),
        "part": np.where(test[:, None, None], -1, people["joints"]),
        "visible": (people["visible"] == 2).astype(float),
        "center": people["center"],
        "scale": people["scale"],
        "normalize": np.where(test, 1, mpii_head_sizes(people)),
        "index": people["index"].astype(float),
        "person": people["person"].astype(float),
        "istrain": (~test).astype(float),
    }


def write_h5(path: Path, fields: Arrays) -> None:
    """An HDF5 file of these arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, array in fields.items():
            file[key] = array


def write_mpii_h5(folder: Path, baked: bool) -> None:
    """annot/{train,valid,test}.h5, with enlarged ("baked") or annotated boxes and names as bytes."""
    people = mpii_people()
    fields = mpii_h5_fields(people)
    fields["imgname"] = people["images"].astype("S13")
    if baked:
        fields["center"] = fields["center"] + 15 * fields["scale"][:, None] * [0, 1]
        fields["scale"] = fields["scale"] * 1.25
    del fields["istrain"]
    for split in ("train", "valid", "test"):
        rows = people["split"] == split
        write_h5(folder / "annot" / f"{split}.h5", {key: field[rows] for key, field in fields.items()})


def write_mpii_annot_h5(folder: Path) -> None:
    """annot.h5, with everybody, and the list of validation pictures."""
    write_h5(folder / "annot.h5", mpii_h5_fields(mpii_people()))
    write_validation_list(folder)


def write_validation_list(folder: Path) -> None:
    """annot/valid_images.txt."""
    people = mpii_people()
    (folder / "annot").mkdir(parents=True, exist_ok=True)
    names = people["images"][people["split"] == "valid"]
    (folder / "annot" / "valid_images.txt").write_text("\n".join(names) + "\n")


def write_mpii_split_json(folder: Path) -> None:
    """annot/{train,valid,test}.json, in which joints_vis is 1 for labelled joints, and gt_valid.mat."""
    people = mpii_people()
    (folder / "annot").mkdir(parents=True, exist_ok=True)
    for split in ("train", "valid", "test"):
        records = []
        for row in np.flatnonzero(people["split"] == split):
            labelled = people["visible"][row] > 0
            record = {
                "image": people["images"][row],
                "center": people["center"][row].tolist(),
                "scale": people["scale"][row],
            }
            if split != "test":
                record["joints"] = np.where(labelled[:, None], people["joints"][row], -1).tolist()
                record["joints_vis"] = labelled.astype(int).tolist()
            records.append(record)
        (folder / "annot" / f"{split}.json").write_text(json.dumps(records))
    _write_truth(folder / "annot" / "gt_valid.mat", unlabelled=-1)


def write_mpii_flagged_json(folder: Path) -> None:
    """mpii_annotations.json with training and validation people, and detections_our_format.mat."""
    people = mpii_people()
    folder.mkdir(parents=True, exist_ok=True)
    records = [
        {
            "dataset": "MPI",
            "isValidation": float(people["split"][row] == "valid"),
            "img_paths": people["images"][row],
            "objpos": people["center"][row].tolist(),
            "scale_provided": people["scale"][row],
            "joint_self": np.c_[people["joints"][row], people["visible"][row] == 2].tolist(),
            "annolist_index": int(people["index"][row]) + 1,
            "people_index": int(people["person"][row]) + 1,
        }
        for row in np.flatnonzero(people["split"] != "test")
    ]
    (folder / "mpii_annotations.json").write_text(json.dumps(records))
    _write_truth(folder / "detections_our_format.mat", unlabelled=0)


def _write_truth(path: Path, unlabelled: float) -> None:
    """Positions and head boxes of the validation people."""
    people = mpii_people()
    rows = people["split"] == "valid"
    joints = np.where((people["visible"] > 0)[..., None], people["joints"], unlabelled)
    heads = people["head"][rows].reshape(-1, 2, 2).transpose(1, 2, 0).astype(float)
    truth = {"pos_gt_src": joints[rows].transpose(1, 2, 0), "headboxes_src": heads}
    scipy.io.savemat(path, truth)


def write_mpii_official(folder: Path) -> None:
    """mpii_human_pose_v1_u12_1.mat and the list of validation pictures.

    Beside the usual people it has a training person without joints, one without position, a picture with an
    empty annorect, and is_visible as number, as character, empty and absent.
    """
    people = mpii_people()
    folder.mkdir(parents=True, exist_ok=True)
    pictures: list[dict[str, Any]] = []
    for index, name in enumerate(MPII_PICTURES):
        rects = [_official_rect(people, int(row)) for row in np.flatnonzero(people["index"] == index)]
        if index == 1:  # after the usual person
            rects += [rects[0] | {"annopoints": []}, rects[0] | {"objpos": []}]
        pictures.append({"image": _structs([{"name": name}]), "annorect": _structs(rects)})
    pictures.append({"image": _structs([{"name": "unused.jpg"}]), "annorect": []})
    release = {"annolist": _structs(pictures), "img_train": np.array([[1, 1, 1, 0, 1]])}
    scipy.io.savemat(folder / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": _structs([release])})
    write_validation_list(folder)


def _official_rect(people: Arrays, row: int) -> dict[str, Any]:
    x1, y1, x2, y2 = (float(value) for value in people["head"][row])
    objpos = {"x": people["center"][row, 0], "y": people["center"][row, 1]}
    rect: dict[str, Any] = {"scale": people["scale"][row], "objpos": _structs([objpos])}
    if people["split"][row] == "test":
        return rect
    points = []
    for joint in np.flatnonzero(people["visible"][row]):
        shown = people["visible"][row, joint] == 2
        x, y = people["joints"][row, joint]
        # Both spellings occur; for neck and head top the field is empty, for some people it is missing.
        flag: Any = [] if joint in (8, 9) else (str(int(shown)) if joint % 2 else float(shown))
        point = {"x": x, "y": y, "id": float(joint)}
        points.append(point | {"is_visible": flag} if (people["visible"][row] == 1).any() else point)
    annopoints = _structs([{"point": _structs(points)}])
    return rect | {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "annopoints": annopoints}


def _structs(records: list[dict[str, Any]]) -> np.ndarray:
    """Dicts with the same keys as a MATLAB struct array (1, N)."""
    structs = np.empty((1, len(records)), dtype=[(key, object) for key in records[0]])
    for column, record in enumerate(records):
        for key, value in record.items():
            structs[key][0, column] = value
    return structs


def make_lsp_mpii(folder: Path, lsp_test: int = 2, mpii_test: int = 0, unusable: bool = False) -> Arrays:
    """lsp_mpii.h5 with the istrain codes given, and its pictures; the fields as written.

    Rows: 4 people of LSP (2 of them test), 2 of LSPET, 4 training and 2 test people of MPII; with `unusable`
    a training person of MPII without joints, istrain -1, follows.
    """
    people = mpii_people()
    fields = mpii_h5_fields(people)
    order = np.array(
        [0, 1, 2, 3, 4, 5, -1, -1, 12, 13, 6, 7, 8, 9, 10, 11]
    )  # of LSP's joints in MPII's places
    lsp = make_lsp(folder / "LSP", 4)[:2].transpose(2, 1, 0)
    lspet = make_lspet(folder / "LSP", 2)[:, :2].transpose(2, 0, 1)
    (folder / "LSP" / "joints.mat").unlink()
    write_mpii_pictures(folder / "mpii")
    leeds = np.concatenate([lsp, lspet])
    part = np.where((order >= 0)[:, None], leeds[:, order], 0)
    names = [f"LSP/images/im{row:04d}.jpg" for row in (1, 2, 3, 4)]
    names += [f"LSP/images/im{row:05d}.jpg" for row in (1, 2)]
    names += [f"mpii/images/{name}" for name in people["images"]]
    istrain = [1, 1, lsp_test, lsp_test, 1, 1, 1, 1, 1, 1, mpii_test, mpii_test]
    content = {
        "imgname": np.array([[ord(c) for c in name.ljust(50, "\0")] for name in names], np.uint8),
        "part": np.concatenate([part, fields["part"]]),
        "visible": np.concatenate([np.ones(part.shape[:2]), fields["visible"]]),
        "center": np.concatenate([np.tile([WIDTH / 2, HEIGHT / 2], (6, 1)), fields["center"]]),
        "scale": np.concatenate([np.full(6, 0.8 * WIDTH / 200), fields["scale"]]),
        "istrain": np.array(istrain, float),
    }
    if unusable:
        content = {key: np.concatenate([field, field[-1:]]) for key, field in content.items()}
        content["istrain"][-1] = -1
    write_h5(folder / "lsp_mpii.h5", content)
    return content


def coco_content(count: int = 4, first_id: int = 11, names: Sequence[str] = COCO_NAMES) -> dict[str, Any]:
    """A COCO JSON of `count` pictures in turn: two people, one of them hidden joints; a person without
    labelled joints and a crowd; nobody; one person.
    """
    rng = np.random.default_rng(5)
    images, annotations = [], list[dict[str, Any]]()
    for place in range(count):
        image = first_id + place
        images.append({"id": image, "file_name": f"{image:012}.jpg", "width": WIDTH, "height": HEIGHT})
        for labelled in ((2, 1), (0,), (), (2,))[place % 4]:
            x, y, width, height = box = [5 + 40 * (len(annotations) % 2), 6, 38, 60]
            points = np.zeros((len(names), 3), int)
            if labelled:
                points[:, :2] = rng.integers((x, y), (x + width, y + height), (len(names), 2))
                points[:, 2] = labelled
                points[-1] = 0
            annotations.append(
                {
                    "segmentation": [[x, y, x + width, y, x + width, y + height, x, y + height]],
                    "num_keypoints": int((points[:, 2] > 0).sum()),
                    "area": width * height / 2,
                    "iscrowd": 0,
                    "keypoints": points.ravel().tolist(),
                    "image_id": image,
                    "bbox": [float(side) for side in box],
                    "category_id": 1,
                    "id": 1000 + len(annotations),
                }
            )
        if place % 4 == 1:
            runs = {"counts": [HEIGHT * 50, HEIGHT * 20, HEIGHT * (WIDTH - 70)], "size": [HEIGHT, WIDTH]}
            crowd = {"segmentation": runs, "iscrowd": 1, "bbox": [50.0, 0.0, 20.0, float(HEIGHT)]}
            annotations.append(annotations[-1] | crowd | {"id": 1000 + len(annotations)})
    limbs = COCO.limbs if names == COCO_NAMES else ((1, 0), (2, 0))
    skeleton = [[a + 1, b + 1] for a, b in limbs]
    category = {"id": 1, "name": "person", "keypoints": list(names), "skeleton": skeleton}
    return {"images": images, "annotations": annotations, "categories": [category]}


def write_coco(folder: Path, content: dict[str, Any], name: str, images: str) -> Path:
    """annotations/NAME.json in `folder`, and its pictures in IMAGES; the path of the JSON."""
    path = folder / "annotations" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    for image in content["images"]:
        write_picture(folder / images / image["file_name"])
    return path


def make_coco(folder: Path, year: int = 2017) -> None:
    """COCO in `folder`: 8 training and 4 validation pictures."""
    for split, count, first_id in (("train", 8, 11), ("val", 4, 101)):
        content = coco_content(count, first_id)
        write_coco(folder, content, f"person_keypoints_{split}{year}", f"images/{split}{year}")


def make_coco_test(folder: Path) -> None:
    """COCO in `folder` with a test split of 4 pictures, and boxes.json, what a detector found in two."""
    make_coco(folder)
    content = coco_content(4, 201)
    annotations = folder / "annotations" / "image_info_test-dev2017.json"
    categories = [{"id": 1, "name": "person", "supercategory": "person"}]
    annotations.write_text(json.dumps({"images": content["images"], "categories": categories}))
    for image in content["images"]:
        write_picture(folder / "images" / "test2017" / image["file_name"])
    box = {"category_id": 1, "bbox": [3.5, 4, 20, 30], "score": 0.5}
    found = [box | {"image_id": number} for number in (201, 201, 203)]
    (folder / "boxes.json").write_text(json.dumps(found))


FLIC_JOINTS = 11
FLIC_PICTURES = ("12-oclock-high-special-edition-00006361.jpg", "amélie-00000042.jpg", "battle-00000007.jpg")
FLIC_INDEX = np.array([0, 0, 1, 2, 2])
FLIC_TEST = np.array([False, False, False, True, True])
FLIC_BEHIND = np.array([False, True, False, False, True])  # who is seen from behind
FLIC_MIRROR = [3, 4, 5, 0, 1, 2, 7, 6, 9, 8, 10]


def flic_joints() -> np.ndarray:
    """The joints (5, 11, 2) of FLIC's people, 1-based, with the sides of the person."""
    rng = np.random.default_rng(6)
    joints = rng.uniform(5, HEIGHT, (len(FLIC_INDEX), FLIC_JOINTS, 2))
    shoulders = np.sort(joints[:, [3, 0], 0], axis=1)  # right, left
    joints[:, [3, 0], 0] = np.where(FLIC_BEHIND[:, None], shoulders[:, ::-1], shoulders)
    return joints


def write_flic_h5(folder: Path) -> None:
    """annot/{train,valid}.h5 with the observer's sides, {train,valid}_personcentric.h5, and the pictures."""
    own = flic_joints()
    observed = np.where(FLIC_BEHIND[:, None, None], own[:, FLIC_MIRROR], own)
    for name, test in (("train", False), ("valid", True)):
        rows = np.flatnonzero(FLIC_TEST == test)
        fields = {
            "imgname": np.char.encode(np.array(FLIC_PICTURES))[FLIC_INDEX[rows]],
            "center": np.tile(np.array([50, 40], np.float32), (len(rows), 1)),
            "scale": np.full(len(rows), 0.4),
            "visible": np.ones((len(rows), FLIC_JOINTS)),
            "normalize": np.linalg.norm(own[rows, 3] - own[rows, 6], axis=1),
            "index": rows,
            "person": np.zeros(len(rows), int),
        }
        write_h5(folder / "annot" / f"{name}.h5", fields | {"part": observed[rows]})
        write_h5(folder / "annot" / f"{name}_personcentric.h5", fields | {"part": own[rows]})
    for picture in FLIC_PICTURES:
        write_picture(folder / "images" / picture)


def write_flic_examples(folder: Path, observed: bool = True) -> None:
    """FLIC/examples.mat, with the sides of the observer or of the person, and the pictures."""
    joints = flic_joints()
    if observed:
        joints = np.where(FLIC_BEHIND[:, None, None], joints[:, FLIC_MIRROR], joints)
    coords = np.full((len(joints), 2, 29), np.nan)
    coords[:, :, [0, 1, 2, 3, 4, 5, 6, 9, 12, 13, 16]] = joints.transpose(0, 2, 1)
    people = [
        {
            "filepath": FLIC_PICTURES[FLIC_INDEX[row]],
            "coords": coords[row],
            "torsobox": np.array([[40.0, 20.0, 60.0, 60.0]]),
            "istrain": float(not FLIC_TEST[row]),
            "istest": float(FLIC_TEST[row]),
        }
        for row in range(len(joints))
    ]
    (folder / "FLIC").mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(folder / "FLIC" / "examples.mat", {"examples": _structs(people)})
    for picture in FLIC_PICTURES:
        write_picture(folder / "FLIC" / "images" / picture)


PENN_JOINTS = 13
PENN_WIDTH, PENN_HEIGHT = 60, 48
PENN_ACTIONS = ("bowl", "squat")


def make_penn(folder: Path, per_action: int = 7, frames: int = 3) -> None:
    """Penn_Action in `folder`: frames/0001/000001.jpg … and labels/0001.mat …, action by action.

    Of each action the last clip is for test, the others for training. Types change from clip to clip. Clip 2
    lacks the last box; in its first frame, and in all of clip 3's, only head and shoulders are visible. In
    clip 4 the person has a box without extent once.
    """
    root = folder / "Penn_Action"
    number = 0
    for action in PENN_ACTIONS:
        for place in range(per_action):
            number += 1
            write_penn_clip(root, number, frames, action, training=place < per_action - 1)
            for frame in range(frames):
                _write_penn_frame(root / "frames" / f"{number:04}" / f"{frame + 1:06}.jpg")


def write_penn_clip(root: Path, number: int, frames: int, action: str, training: bool) -> None:
    """labels/NUMBER.mat."""
    path = root / "labels" / f"{number:04}.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, penn_fields(number, frames, action, training))


def penn_fields(number: int, frames: int, action: str, training: bool) -> dict[str, Any]:
    """The fields of a label file."""
    rng = np.random.default_rng((7, number))
    kind = (np.uint8, np.uint16, np.float64)[number % 3]
    low, high = np.array([8, 5]), np.array([48, 41])
    points = rng.uniform(low, high, (frames, PENN_JOINTS, 2))
    visibility = (rng.random((frames, PENN_JOINTS)) < 0.8).astype(np.uint8)
    visibility[:, 12] = 1
    box = np.tile([8.5, 5.0, 48.0, 41.5], (frames, 1)) + rng.uniform(0, 2, (frames, 1))
    if number == 2:
        visibility[0, 3:], box = 0, box[:-1]
    if number == 3:
        visibility[:, 3:] = 0
    if number == 4:
        box[1] = [20, 20, 20, 20]
    return {
        "action": action,
        "pose": "front",
        "x": points[..., 0].astype(kind),
        "y": points[..., 1].astype(kind),
        "visibility": visibility,
        "train": np.array([[1 if training else -1]], np.int32),
        "bbox": box.astype(kind),
        "dimensions": np.array([[PENN_HEIGHT, PENN_WIDTH, frames]], np.uint16),
        "nframes": np.uint8(frames),
    }


def _write_penn_frame(path: Path) -> None:
    """A frame whose pixels tell their place: red grows with x, green with y."""
    path.parent.mkdir(parents=True, exist_ok=True)
    x, y = np.meshgrid(np.arange(PENN_WIDTH), np.arange(PENN_HEIGHT))
    pixels = np.stack([np.full_like(x, 90), 5 * y, 4 * x], axis=2).astype(np.uint8)  # BGR
    assert cv2.imwrite(str(path), pixels)
