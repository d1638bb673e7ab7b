"""Pictures of LSPET's and of MPII's size, each with a person: real ones if there are any, else drawn."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from src.datasets import readers
from src.datasets.affine import PERSON_PIXELS
from src.datasets.annotations import Annotations
from src.datasets.images import read_image
from src.datasets.skeletons import COCO, LSP, Skeleton
from src.datasets.synth import ENLARGE, SynthPeople

COUNT = 64
SMALLEST = 1.4  # 95 % of MPII's people have a larger scale
LONG_SIDE = 1280  # pixels, of most of MPII's pictures
QUALITY = 90  # of JPEGs


class Shown(NamedTuple):
    """A picture (H, W, 3) uint8 RGB, joints (J, 2), visible (J,), centre (2,) and scale of a box in it."""

    picture: np.ndarray
    joints: np.ndarray
    visible: np.ndarray
    center: np.ndarray
    scale: float


def small(lspet: Path, folder: Path) -> Annotations:
    """LSPET if it is there, else people drawn into pictures of 240 pixels, written to the folder."""
    if (lspet / "joints.mat").exists():
        people = readers.read("lspet", lspet, "train")
        rows = np.linspace(0, len(people) - 1, COUNT).astype(int)
        return people.select(rows, "LSPET")
    return _written(folder / "small", "drawn", LSP, _drawn(resolution=213, width=240))


def large(coco: Path, folder: Path) -> Annotations:
    """COCO's pictures enlarged to 1280 pixels if they are there, else drawn ones of 1280 x 960.

    People are about as large as in MPII, where the median of their scales is 3.4.
    """
    annotations = coco / "annotations" / "person_keypoints_train2017.json"
    if annotations.exists():
        shown = islice(_enlarged(annotations, coco / "images"), COUNT)
        return _written(folder / "large", "COCO enlarged", COCO, shown)
    return _written(folder / "large", "drawn", LSP, _drawn(resolution=853, width=LONG_SIDE))


def _drawn(resolution: int, width: int) -> Iterator[Shown]:
    """People in squares an eighth larger than `resolution`, which are mirrored at the sides up to `width`."""
    people = SynthPeople("train", COUNT, LSP, resolution)
    for person in map(people.person, range(COUNT)):
        picture = person.read(1).pixels
        side = (width - picture.shape[1]) // 2
        picture = cv2.copyMakeBorder(picture, 0, 0, side, side, cv2.BORDER_REFLECT_101)
        moved = np.array([side, 0])
        yield Shown(picture, person.joints + moved, person.visible, person.center + moved, person.scale)


def _enlarged(annotations: Path, images: Path) -> Iterator[Shown]:
    """The largest person of each of COCO's pictures in which one with joints is large enough."""
    release = json.loads(annotations.read_text())
    largest: dict[int, dict] = {}
    for person in sorted(release["annotations"], key=lambda person: person["area"]):
        if person["num_keypoints"]:
            largest[person["image_id"]] = person
    pictures = {image["id"]: image for image in release["images"]}
    for number, person in sorted(largest.items()):
        factor = LONG_SIDE / max(pictures[number]["width"], pictures[number]["height"])
        x, y, width, height = factor * np.array(person["bbox"])
        center, scale = np.array([x + width / 2, y + height / 2]), max(width, height) / PERSON_PIXELS
        if scale > SMALLEST:
            picture = read_image(images / "train2017" / pictures[number]["file_name"])
            picture = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
            keypoints = np.array(person["keypoints"], np.float64).reshape(-1, 3)
            yield Shown(picture, factor * keypoints[:, :2], keypoints[:, 2], center, scale)


def _written(folder: Path, name: str, skeleton: Skeleton, shown: Iterable[Shown]) -> Annotations:
    """The pictures as JPEGs in a folder, which must not exist, and their people."""
    folder.mkdir()
    people = []
    for number, person in enumerate(shown):
        pixels = cv2.cvtColor(person.picture, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f"{number}.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        people.append(person[1:])  # without the picture
    joints, visible, center, scale = (np.array(column) for column in zip(*people, strict=True))
    count = len(people)
    return Annotations(
        name=name,
        skeleton=skeleton,
        root=folder,
        images=np.array([f"{number}.jpg".encode() for number in range(count)]),
        joints=joints,
        visible=visible,
        center=center,
        scale=scale,
        enlarge=np.full(count, ENLARGE),
        shift=np.zeros(count),
        norm=np.full(count, np.nan),
        index=np.arange(count),
        person_id=np.zeros(count),
    )
