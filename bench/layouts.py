"""Where the people of real pictures stand, and the maps that a network might give for them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.datasets.annotations import UNLABELLED
from src.datasets.coco import read_scenes
from src.datasets.files import load_json
from src.datasets.scene_annotations import SceneAnnotations
from src.datasets.skeletons import COCO
from src.errors import UserError

FILE = "layouts_val2017.json"
SIDE = 512  # pixels of the pictures' sides; the layouts do not tell
BODY = 0.53  # the share of a box that a person covers, about
SIGMA, RADIUS = 2.0, 6  # of a joint's Gaussian, in cells, and where it ends
GAP = (1.5, 4.0)  # between the tags of one person and the next
NOISE, TAG_NOISE, BACKGROUND = 0.02, 0.15, 1.0  # of heatmaps, of tags at joints, of tags elsewhere

Maps = tuple[np.ndarray, np.ndarray]


class Layout(NamedTuple):
    """A picture's people, in pixels: joints (n, J, 2), visible (n, J), box (n, 4) x, y, width, height."""

    joints: np.ndarray
    visible: np.ndarray
    box: np.ndarray


def read(folder: Path) -> list[Layout]:
    """The layouts in a folder of COCO: of FILE, if that is there, else of the validation split's annotations.

    FILE has for each picture `persons` with `keypoints` and `bbox` (centre, width, height), divided by the
    picture's sides. Raises UserError without either.
    """
    if (folder / FILE).exists():
        try:
            return [_of_json(picture["persons"]) for picture in load_json(folder / FILE)]
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{folder / FILE} holds no layouts of people") from None
    record = read_scenes(folder, "valid")
    return [_of_record(record, picture) for picture in np.flatnonzero(record.counts).tolist()]


def _of_json(persons: list[dict[str, list[float]]]) -> Layout:
    keypoints = np.array([person["keypoints"] for person in persons]).reshape(-1, COCO.num_joints, 3)
    center, size = np.split(np.array([person["bbox"] for person in persons]) * SIDE, 2, axis=1)
    box = np.concatenate([center - size / 2, size], axis=1)
    return Layout(keypoints[..., :2] * SIDE, keypoints[..., 2].astype(np.int8), box)


def _of_record(record: SceneAnnotations, picture: int) -> Layout:
    scene, scale = record.scene(picture), SIDE / record.size[picture]
    return Layout(scene.joints * scale, scene.visible, scene.box * np.tile(scale, 2))


def record_of(layouts: list[Layout]) -> SceneAnnotations:
    """The layouts as annotations of pictures of SIDE pixels."""
    people = [len(layout.box) for layout in layouts]
    box = np.concatenate([layout.box for layout in layouts])
    return SceneAnnotations(
        name="layouts",
        skeleton=COCO,
        root=Path(),
        category=1,
        images=np.array([b""] * len(layouts)),
        image_id=np.arange(len(layouts)),
        size=np.full((len(layouts), 2), SIDE),
        first=np.cumsum([0, *people]),
        joints=np.concatenate([layout.joints for layout in layouts]),
        visible=np.concatenate([layout.visible for layout in layouts]),
        area=BODY * box[:, 2] * box[:, 3],
        box=box,
        crowd=np.zeros(len(box), bool),
        person_id=np.arange(len(box)),
        outlines=np.zeros(0),
        outline_first=np.zeros(len(box) + 1),
    )


def perfect_maps(layout: Layout, size: int, random: np.random.Generator, dimensions: int = 1) -> Maps:
    """Heatmaps (J, size, size) as they are trained for, and tags (L, J, size, size), 0 but around joints.

    There they are those of the person, which differ by GAP, in an order that is drawn.
    """
    people, count = layout.visible.shape
    heatmaps = np.zeros((count, size, size), np.float32)
    tags = np.zeros((dimensions, count, size, size), np.float32)
    steps = random.uniform(*GAP, (dimensions, people)).cumsum(1)
    own = np.stack([random.permutation(row) for row in steps]).astype(np.float32)
    profile = np.exp(-(np.arange(-RADIUS, RADIUS + 1) ** 2) / (2 * SIGMA**2)).astype(np.float32)
    gaussian = np.outer(profile, profile)
    cells = np.floor(layout.joints * (size / SIDE)).astype(int)
    for person, joint in np.argwhere(layout.visible > UNLABELLED).tolist():
        x, y = cells[person, joint].tolist()
        rows, columns = (slice(max(0, at - RADIUS), at + RADIUS + 1) for at in (y, x))
        there = heatmaps[joint, rows, columns]
        part = gaussian[max(0, RADIUS - y) :, max(0, RADIUS - x) :][: there.shape[0], : there.shape[1]]
        nearer = part > there
        there[nearer] = part[nearer]
        tags[:, joint, rows, columns][:, nearer] = own[:, person, None]
    return heatmaps, tags


class Noise:
    """What a network leaves beside the truth; drawn once, and laid differently over each picture's maps."""

    def __init__(self, size: int, random: np.random.Generator, dimensions: int = 1) -> None:
        shape = (COCO.num_joints, size, size)
        self.random = random
        self.heatmaps = random.normal(0, NOISE, shape).astype(np.float32)
        self.tags = random.normal(0, 1, (dimensions, *shape)).astype(np.float32)

    def over(self, maps: Maps) -> Maps:
        """The maps with noise."""
        heatmaps, tags = maps
        shift = tuple(self.random.integers(0, heatmaps.shape[1], 2))
        strength = np.where(heatmaps > 0, np.float32(TAG_NOISE), np.float32(BACKGROUND))
        rolled, rolled_tags = (np.roll(noise, shift, (-2, -1)) for noise in (self.heatmaps, self.tags))
        return heatmaps + rolled, tags + strength * rolled_tags
