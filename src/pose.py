"""The plain Python use: open a checkpoint, find the joints in a picture.

from src import pose
model = pose.load("exp/hgpose/demo/best.pth")
(person,) = pose.predict(model, "picture.jpg")
print(person.joints, person.score)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from src import models
from src.datasets import affine
from src.datasets.images import read_image
from src.datasets.skeletons import Skeleton
from src.datasets.targets import to_images
from src.errors import UserError
from src.evaluation.predict import located
from src.evaluation.search import Search, find_people
from src.models.layers import PoseNetwork
from src.utils.device import autocast, choose_device
from src.utils.speed import precision

Box = tuple[float, float, float, float]

BOX_MARGIN = 1.25  # the crop is this much larger than the box around a person


class Model(NamedTuple):
    """A network in eval mode on its device, its joints, the side of its input in pixels, its precision."""

    network: PoseNetwork
    skeleton: Skeleton
    input_res: int
    device: torch.device
    amp: str


class Pose(NamedTuple):
    """One person: joints (J, 2) float32 in pixels of the picture, 0-based; score (J,) float32 of each.

    Networks that give coordinates know no score: it is 1.
    """

    joints: np.ndarray
    score: np.ndarray


def load(path: str | Path, device: str = "auto", amp: str = "none") -> Model:
    """Open a checkpoint. Raises UserError if it is missing, damaged, or not one of this project.

    amp: none, bf16, fp16, or auto for what is fastest on the device; scores change in their third digit.
    """
    chosen = choose_device(device)
    loaded = models.load(path, chosen)
    skeleton = Skeleton.from_dict(loaded.skeleton)
    return Model(loaded.network, skeleton, loaded.input_res, chosen, precision(amp, chosen))


@torch.inference_mode()
def predict(
    model: Model, image: str | Path | np.ndarray, boxes: Sequence[Box] | None = None, flip_test: bool = True
) -> list[Pose]:
    """Find the joints of each person in a picture, a file or (H, W, 3) uint8 RGB.

    boxes: (x, y, width, height) in pixels around each person; without them the whole picture is taken for one
    person. A network of associative embedding finds everybody, and takes no boxes; joints that it did not
    find are NaN. flip_test: average with the mirrored picture.

    Raises UserError for a picture that cannot be read, a wrong shape, or a box without area.
    """
    pixels = image if isinstance(image, np.ndarray) else read_image(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise UserError(f"a picture is (H, W, 3) uint8 RGB, not {pixels.shape} {pixels.dtype}")
    if model.network.config.get("tag_dim"):
        if boxes is not None:
            raise UserError("a network that finds all people of a picture takes no boxes")
        return _everybody(model, pixels, flip_test)
    height, width = pixels.shape[:2]
    whole = [(0.0, 0.0, float(width), float(height))]
    margin = BOX_MARGIN if boxes is not None else 1.0
    matrices = [_crop_matrix(box, margin, model.input_res) for box in (whole if boxes is None else boxes)]
    if not matrices:
        return []
    crops = np.stack([affine.warp(pixels, matrix, model.input_res) for matrix in matrices])
    images = to_images(torch.from_numpy(crops).to(model.device))
    with autocast(model.device, model.amp):
        order = model.skeleton.flip_order if flip_test else None
        points, scores, stride = located(model.network, images, order)
    in_crop = points.cpu().numpy() * stride
    joints = affine.apply(affine.invert(np.stack(matrices)), in_crop).astype(np.float32)
    return [Pose(*person) for person in zip(joints, scores.cpu().numpy(), strict=True)]


def _everybody(model: Model, pixels: np.ndarray, flip_test: bool) -> list[Pose]:
    """The people that a network of associative embedding finds, the surest first."""
    multiple = models.architecture(model.network.arch).input_multiple(**model.network.config)
    search = Search.of(model.skeleton, model.input_res, multiple, flip_test=flip_test, amp=model.amp)
    people = find_people(model.network, pixels, search, model.device)
    order = np.argsort(-people.person_score, kind="stable")
    return [Pose(people.joints[person], people.score[person]) for person in order]


def _crop_matrix(box: Box, margin: float, size: int) -> np.ndarray:
    """The affine of a square crop around a box, `margin` times its longer side."""
    x, y, width, height = box
    if not (width > 0 and height > 0 and np.isfinite(box).all()):
        raise UserError(f"box {tuple(box)} has no area; a box is (x, y, width, height) in pixels")
    center = np.array([x + width / 2, y + height / 2])
    return affine.crop_matrix(center, margin * max(width, height) / affine.PERSON_PIXELS, size)
