"""The plain Python use: open a network, find the joints in pictures.

    from src import pose
    model = pose.load("exp/hgpose/demo/best.pth")
    (person,) = pose.predict(model, "picture.jpg")  # or model("picture.jpg")
    print(person.joints, person.score)

Without a name `load` opens the network that ships, in hgpose/pretrained. A file that `tools/export.py`
wrote does as well as a checkpoint, and needs no PyTorch: that is imported for checkpoints only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.datasets import affine
from src.datasets.images import read_upright
from src.datasets.skeletons import Skeleton
from src.errors import UserError
from src.evaluation.grouping import Grouping, group
from src.inference.runner import Runner
from src.pretrained import shipped

Box = tuple[float, float, float, float]

BOX_MARGIN = 1.25  # the crop is this much larger than the box around a person
EXPORTED = ".onnx"  # how the names of exported files end
_ANY_SIZE = 1 << 30  # pixels: OpenCV reads no larger pictures
_SMALLEST, _FARTHEST = 1e-3, 1e9  # pixels; boxes are not smaller, and nothing of them is farther from 0


class Pose(NamedTuple):
    """One person: joints (J, 2) float32 in pixels of the picture, 0-based; score (J,) float32 of each.

    A score is the height of the joint's peak, about 1 where the network is sure. Networks that give
    coordinates know none: it is 1.
    """

    joints: np.ndarray
    score: np.ndarray


class Maps(NamedTuple):
    """What a network sees in a picture: maps of h x w cells, cell k covering [k, k + 1).

    heatmaps (J, h, w) float32. tags (J, h, w) float32, or (J, h, w, L) where a tag has L > 1 dimensions; None
    for a network without. matrix (2, 3) float64: from coordinates in the maps to pixels of the picture.
    """

    heatmaps: np.ndarray
    tags: np.ndarray | None
    matrix: np.ndarray


@dataclass(frozen=True)
class Model:
    """A network that is ready to run. `model(image)` is `predict(model, image)`."""

    runner: Runner

    @property
    def skeleton(self) -> Skeleton:
        """The joints it finds."""
        return self.runner.skeleton

    @property
    def input_res(self) -> int:
        """The side in pixels of the square that it sees."""
        return self.runner.input_res

    @property
    def multi_person(self) -> bool:
        """Whether it finds everybody in a picture by itself, without boxes."""
        return self.runner.multi_person

    def __call__(
        self,
        image: str | Path | np.ndarray,
        boxes: Sequence[Box] | None = None,
        flip_test: bool = True,
    ) -> list[Pose]:
        return predict(self, image, boxes, flip_test)


def load(path: str | Path | None = None, device: str = "auto", amp: str = "none") -> Model:
    """Open a checkpoint of any task, or what `tools/export.py` made of one (.onnx).

    path: None for the network in hgpose/pretrained (`src.pretrained.shipped`). device: auto, cpu, cuda,
    cuda:1, mps … amp: none, bf16, fp16, or auto for what is fastest on the device without harm; scores change
    in their third digit. An exported file has its own precision: none or auto.

    Raises UserError if the file is missing, damaged, or not one of this project, if the device is not there,
    or if what runs the file is not installed.
    """
    path = shipped() if path is None else path
    if Path(path).suffix.lower() == EXPORTED:
        from src.inference.exported import Exported

        return Model(Exported(path, device, amp))
    from src.inference.checkpoint import open_checkpoint

    return Model(open_checkpoint(path, device, amp))


def predict(
    model: Model, image: str | Path | np.ndarray, boxes: Sequence[Box] | None = None, flip_test: bool = True
) -> list[Pose]:
    """Find the joints of each person in a picture, a file or (H, W, 3) uint8 RGB.

    A file is turned as its orientation tag says: joints and boxes are in pixels of the upright picture.
    boxes: (x, y, width, height) in pixels around each person; without them the whole picture is taken for one
    person, whose joints are where Gaussians through the heatmaps have their peaks (DARK, Zhang et al., CVPR
    2020). A network of associative embedding finds everybody, and takes no boxes; joints that it did not
    find are NaN, and the surest person comes first. flip_test: average with the mirrored picture.

    Raises UserError for a picture that cannot be read, a wrong shape, or a box without area.
    """
    pixels = image if isinstance(image, np.ndarray) else read_upright(image, _ANY_SIZE).pixels
    (people,) = predict_many(model, [pixels], None if boxes is None else [boxes], flip_test)
    return people


def predict_many(
    model: Model,
    images: Sequence[np.ndarray],
    boxes: Sequence[Sequence[Box] | None] | None = None,
    flip_test: bool = True,
    batch_size: int = 16,
) -> list[list[Pose]]:
    """`predict` for several pictures (H, W, 3) uint8 RGB of any sizes; a list of people for each.

    boxes: for each picture, or None. batch_size: how many crops, of one or several pictures, the network sees
    at once.
    """
    own_boxes = [None] * len(images) if boxes is None else boxes
    if len(own_boxes) != len(images):
        raise UserError(f"{len(own_boxes)} lists of boxes are not one for each of {len(images)} pictures")
    views = [
        (picture, matrix)
        for picture, (pixels, own) in enumerate(zip(images, own_boxes, strict=True))
        for matrix in _views(model, pixels, own)
    ]
    found: list[list[Pose]] = [[] for _ in images]
    for first in range(0, len(views), batch_size):
        batch = views[first : first + batch_size]
        crops = np.stack([affine.warp(images[picture], to, model.input_res) for picture, to in batch])
        for (picture, matrix), people in zip(batch, _people(model, crops, flip_test), strict=True):
            inverse = affine.invert(matrix)
            found[picture] += [
                Pose(affine.apply(inverse, joints).astype(np.float32), score) for joints, score in people
            ]
    return found


def maps(model: Model, image: np.ndarray, box: Box | None = None) -> Maps:
    """The heatmaps of a picture (H, W, 3) uint8 RGB, or of the part of it around a box, and the tags.

    Raises UserError as `predict`, and for a network that gives coordinates.
    """
    (matrix,) = _views(model, image, None if box is None else [box])
    crop = affine.warp(image, matrix, model.input_res)
    heatmaps, tags = model.runner.maps(crop[None], flip_test=False)
    cell = model.input_res / heatmaps.shape[-1]
    if tags is not None:
        tags = np.moveaxis(tags[0], 0, -1)
        tags = tags[..., 0] if tags.shape[-1] == 1 else tags
    return Maps(heatmaps[0], tags, affine.invert(matrix) * (cell, cell, 1))


def _people(model: Model, crops: np.ndarray, flip_test: bool) -> Iterator[list[Pose]]:
    """The people in each of the crops (B, R, R, 3), joints in its pixels."""
    if not model.multi_person:
        yield from ([Pose(*person)] for person in zip(*model.runner.joints(crops, flip_test), strict=True))
        return
    heatmaps, tags = model.runner.maps(crops, flip_test)
    assert tags is not None
    cell, settings = np.float32(model.input_res / heatmaps.shape[-1]), Grouping.of(model.skeleton)
    for each in zip(heatmaps, tags, strict=True):
        people = group(*each, settings)
        surest_first = np.argsort(-people.person_score, kind="stable")
        yield [Pose(cell * people.joints[person], people.score[person]) for person in surest_first]


def _views(model: Model, pixels: np.ndarray, boxes: Sequence[Box] | None) -> list[np.ndarray]:
    """The matrices (2, 3) from a picture to what the network sees: around each box, or of all of it."""
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise UserError(f"a picture is (H, W, 3) uint8 RGB, not {pixels.shape} {pixels.dtype}")
    if boxes is None:
        height, width = pixels.shape[:2]
        return [_crop_matrix((0.0, 0.0, float(width), float(height)), 1.0, model.input_res)]
    if model.multi_person:
        raise UserError("a network that finds all people of a picture takes no boxes")
    return [_crop_matrix(box, BOX_MARGIN, model.input_res) for box in boxes]


def _crop_matrix(box: Box, margin: float, size: int) -> np.ndarray:
    """The affine of a square crop around a box, `margin` times its longer side."""
    if np.shape(box) != (4,):
        raise UserError(f"a box is (x, y, width, height) in pixels, and not {box}")
    x, y, width, height = box
    if not (width > 0 and height > 0 and max(width, height) >= _SMALLEST and np.isfinite(box).all()):
        raise UserError(f"box {tuple(box)} has no area; a box is (x, y, width, height) in pixels")
    if np.abs(box).max() > _FARTHEST:
        raise UserError(f"box {tuple(box)} is farther away or larger than pictures are")
    center = np.array([x + width / 2, y + height / 2])
    return affine.crop_matrix(center, margin * max(width, height) / affine.PERSON_PIXELS, size)
