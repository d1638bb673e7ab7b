"""Leeds Sports Pose (LSP) and its extended training set (LSPET): one person a picture, `joints.mat`.

Johnson and Everingham, "Clustered pose and nonlinear appearance models for human pose estimation", BMVC 2010,
and "Learning effective human pose estimation from inaccurate annotation", CVPR 2011.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from src.datasets.affine import PERSON_PIXELS
from src.datasets.annotations import HIDDEN, UNLABELLED, VISIBLE, Annotations, refuse_people
from src.datasets.files import check_shape, load_mat
from src.datasets.release import Release, torso_lengths, unpack
from src.datasets.skeletons import LSP as SKELETON
from src.errors import UserError

ENLARGE = 1.25  # the box of a crop over the reference box
LSPET_BOX = 1.1  # the reference box over the longest side of the box around the joints
LSP_BOX = 0.8  # the reference box over the longest side of the picture: 1.25 times it is the whole picture

_J = SKELETON.num_joints


@dataclass(frozen=True)
class _Layout:
    """Where a release keeps its joints, in which axes, and how its pictures are named.

    archive: what is downloaded, without .zip; it is unpacked into a folder of that name.
    candidates: where the joints may lie, the more telling names first; the folder images is beside them.
    shape: that of `joints`, None being the people; axes: how it is transposed to (people, joints, 3).
    """

    archive: str
    candidates: tuple[str, ...]
    shape: tuple[int | None, ...]
    axes: tuple[int, int, int]
    image: str


_LSP = _Layout(
    archive="lsp_dataset",
    candidates=("lsp_dataset/joints.mat", "joints.mat", "LSP/joints.mat"),
    shape=(3, _J, None),
    axes=(2, 1, 0),
    image="images/im{:04d}.jpg",
)
_LSPET = _Layout(
    archive="lspet_dataset",
    candidates=("lspet_dataset/joints.mat", "lspet_joints.mat", "joints.mat", "LSP/lspet_joints.mat"),
    shape=(_J, 3, None),
    axes=(2, 0, 1),
    image="images/im{:05d}.jpg",
)


def read_lsp(data_dir: Path, split: str, valid_share: float = 0.0) -> Annotations:
    """LSP: the first half of its 2,000 people is for training, the second is test and validation.

    The box is the picture (the pictures are tight crops). The third value of a joint is 1 where it is
    occluded; all joints have coordinates. `valid_share` is not used.
    """
    path, joints, occluded = _load(data_dir, LSP, _LSP)
    half = len(joints) // 2
    rows = np.arange(half) if split == "train" else np.arange(half, len(joints))
    images = _images(_LSP, rows)
    sizes = np.array([_picture_size(path.parent / name.decode()) for name in images]).reshape(-1, 2)
    known = ~np.isnan(sizes).any(1)
    center, side = _joint_boxes(joints[rows], np.ones((len(rows), _J), bool))
    return _record(
        f"lsp {split}",
        path.parent,
        rows,
        images,
        joints[rows],
        np.where(occluded[rows], HIDDEN, VISIBLE),
        np.where(known[:, None], sizes / 2, center),
        np.where(known, LSP_BOX * sizes.max(1), LSPET_BOX * side) / PERSON_PIXELS,
    )


def read_lspet(data_dir: Path, split: str, valid_share: float = 0.2) -> Annotations:
    """LSPET, which has no validation split: the last `valid_share` of its people are held out for it.

    The box is the one around the labelled joints, a little larger. The third value of a joint is 1 where it
    is labelled. Raises UserError for a person without any labelled joint, for whom there is no box.
    """
    path, joints, labelled = _load(data_dir, LSPET, _LSPET)
    images = _images(_LSPET, np.arange(len(joints)))
    refuse_people((~labelled).all(1), "lspet", images, "no labelled joint")
    first_valid = len(joints) - round(valid_share * len(joints))
    rows = np.arange(first_valid) if split == "train" else np.arange(first_valid, len(joints))
    center, side = _joint_boxes(joints[rows], labelled[rows])
    return _record(
        f"lspet {split}",
        path.parent,
        rows,
        images[rows],
        joints[rows],
        np.where(labelled[rows], VISIBLE, UNLABELLED),
        center,
        LSPET_BOX * side / PERSON_PIXELS,
    )


def _load(data_dir: Path, release: Release, layout: _Layout) -> tuple[Path, np.ndarray, np.ndarray]:
    """The path of joints.mat, its joints (N, J, 2), 0-based, and its flags (N, J) bool."""
    path = release.find(data_dir, layout.candidates)
    joints = load_mat(path, ["joints"])["joints"]
    other, shape = (LSPET, _LSPET.shape) if release is LSP else (LSP, _LSP.shape)
    if joints.ndim == 3 and joints.shape[:2] == shape[:2]:
        raise UserError(f"{path} is that of {other.dataset}, not of {release.dataset}")
    check_shape(joints, layout.shape, "joints", path)
    joints = joints.transpose(layout.axes)
    flags = joints[..., 2]
    if not np.isin(flags, (0, 1)).all():
        raise UserError(f"{path}: the third value of a joint is neither 0 nor 1; is it the right file?")
    return path, joints[..., :2] - release.origin, flags == 1


def _record(
    name: str,
    root: Path,
    rows: np.ndarray,
    images: np.ndarray,
    joints: np.ndarray,
    visible: np.ndarray,
    center: np.ndarray,
    scale: np.ndarray,
) -> Annotations:
    count = len(rows)
    return Annotations(
        name=name,
        skeleton=SKELETON,
        root=root,
        images=images,
        joints=joints,
        visible=visible,
        center=center,
        scale=scale,
        enlarge=np.full(count, ENLARGE),
        shift=np.zeros(count),
        norm=torso_lengths(joints, visible, SKELETON),
        index=rows,
        person_id=np.zeros(count),
    )


def _images(layout: _Layout, rows: np.ndarray) -> np.ndarray:
    """Names of the pictures of these rows; the release counts from 1."""
    return np.array([layout.image.format(row + 1) for row in rows], dtype=np.bytes_)


def _joint_boxes(joints: np.ndarray, labelled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre (N, 2) and longest side (N,) of the boxes around the labelled joints; each must have some."""
    low = np.where(labelled[..., None], joints, np.inf).min(1)
    high = np.where(labelled[..., None], joints, -np.inf).max(1)
    return (low + high) / 2, (high - low).max(1)


def _picture_size(path: Path) -> tuple[float, float]:
    """Width and height from the header of a picture; NaN where that fails.

    Joints can be scored without pictures; whoever needs this picture is told when reading it.
    """
    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return np.nan, np.nan


LSP = Release(
    dataset="lsp",
    source="lsp_dataset.zip of the Leeds Sports Pose data set (https://sam.johnson.io/research/lsp.html)",
    layout="joints.mat and images/im0001.jpg … im2000.jpg",
    read=read_lsp,
    prepare=partial(unpack, archive=_LSP.archive, candidates=_LSP.candidates),
)
LSPET = Release(
    dataset="lspet",
    source="lspet_dataset.zip of the Leeds Sports Pose Extended Training set"
    " (https://sam.johnson.io/research/lspet.html)",
    layout="joints.mat and images/im00001.jpg … im10000.jpg",
    read=read_lspet,
    prepare=partial(unpack, archive=_LSPET.archive, candidates=_LSPET.candidates),
    splits=("train", "valid"),
    # They do not count from 1, though older code reads them so: the labels of 2,500 people reach 1.2 px
    # above the picture and to 1.3 px from its left edge, but not nearer than 2.7 px to the right and lower
    # ones; and networks that have learnt from drawn people, whose joints are exact, find joints in the mean
    # within half a pixel of the labels, whichever way up people are. Labels moved by 1 would be 1 px and 1.5
    # px off.
    origin=0.0,
)
