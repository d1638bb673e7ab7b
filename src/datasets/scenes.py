"""Whole pictures with everybody in them: what workers hand to the training loop, as bytes and coordinates.

The counterpart of PersonCrops (src/datasets/crops.py, which has the loader) for networks that find all people
at once. The device makes floats, colours and targets of it (src/datasets/targets.py).
"""

import cv2
import numpy as np

from src.datasets import affine
from src.datasets.annotations import UNLABELLED
from src.datasets.augmentation import SceneAugmentation, SceneDraw
from src.datasets.crops import Batch, Key, Samples
from src.datasets.images import BadImage
from src.datasets.scene_annotations import Scene, ScenePeople
from src.datasets.workers import at_row

MAX_PEOPLE = 30


class Scenes(Samples):
    """One picture a sample, whole in a square of `input_res` pixels unless the augmentation moves it.

    A sample is a dict: image (R, R, 3) uint8 RGB; joints (P, J, 2) float32 in its pixels; visible (P, J)
    int8, the people first, then empty slots, all 0; mask (R / stride, R / stride) uint8, 0 where nothing is
    to be learnt: outside the picture, and where people are whose joints nobody has labelled; color (3,)
    float32; inverse (2, 3) float64 from the square to the picture; row int64.

    Of more than P = `max_people` people the largest are kept; the others are masked, too. A sample depends
    on (seed, pass, row) alone. A picture that cannot be read becomes its message (a str).
    """

    units = ("picture", "pictures")

    def __init__(
        self,
        people: ScenePeople,
        input_res: int,
        augmentation: SceneAugmentation | None = None,
        seed: int = 0,
        max_people: int = MAX_PEOPLE,
        stride: int = 4,
    ) -> None:
        self.people = people
        self.input_res = input_res
        self.augmentation = augmentation
        self.seed = seed
        self.max_people = max_people
        self.stride = stride
        self.flip_order = np.array(people.skeleton.flip_order)

    def __getitem__(self, key: Key) -> Batch | str:
        times, row = key
        at_row(row)
        draw = SceneDraw()
        if self.augmentation:
            draw = self.augmentation.draw(np.random.default_rng((self.seed, times, row)))
        try:
            return self.sample(self.people.scene(row), draw) | {"row": np.int64(row)}
        except BadImage as error:
            return str(error)

    def sample(self, scene: Scene, draw: SceneDraw) -> Batch:
        """The sample of a scene under the given factors. Raises BadImage."""
        matrix = letterbox(scene.width, scene.height, self.input_res, draw)
        pixels, reduction = scene.read(affine.shrinkage(matrix))
        by_size = np.argsort(-scene.area, kind="stable")
        kept, dropped = np.sort(by_size[: self.max_people]), by_size[self.max_people :]
        order = self.flip_order if draw.flip else slice(None)
        num_joints = len(self.flip_order)
        joints = np.zeros((self.max_people, num_joints, 2), np.float32)
        visible = np.full((self.max_people, num_joints), UNLABELLED, np.int8)
        joints[: len(kept)] = affine.apply(matrix, scene.joints[kept])[:, order]
        visible[: len(kept)] = scene.visible[kept][:, order]
        return {
            "image": affine.warp(pixels, affine.from_reduced(matrix, reduction), self.input_res),
            "joints": joints,
            "visible": visible,
            "mask": self._mask(scene, matrix, scene.box[dropped]),
            "color": np.array(draw.color, np.float32),
            "inverse": affine.invert(matrix),
        }

    def _mask(self, scene: Scene, matrix: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """1 in the cells whose middle shows a part of the picture that is to be learnt, 0 in the others.

        boxes (K, 4): of people who are ignored beside those that the scene ignores.
        """
        usable = np.full((scene.height, scene.width), 255, np.uint8)
        if scene.ignored is not None:
            usable[scene.ignored] = 0
        for x, y, width, height in boxes.round().astype(int).tolist():
            usable[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] = 0
        size = self.input_res // self.stride
        cells = affine.between_centers(matrix / self.stride)
        return (cv2.warpAffine(usable, cells, (size, size), flags=cv2.INTER_LINEAR) > 127).view(np.uint8)


def letterbox(width: int, height: int, input_res: int, draw: SceneDraw | None = None) -> np.ndarray:
    """The matrix (2, 3) from a picture to the square of `input_res` pixels whose side its longer one fills.

    draw: factors by which the square of the picture that is shown is changed.
    """
    draw = draw or SceneDraw()
    side = max(width, height) * draw.scale
    center = np.array([width, height]) / 2 + side * np.array(draw.shift)
    return affine.crop_matrix(center, side / affine.PERSON_PIXELS, input_res, draw.rotation, draw.flip)
