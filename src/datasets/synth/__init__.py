"""Synthetic people, drawn on the fly: one articulated 3-D body, dressed, posed, photographed, labelled."""

import numpy as np

from src.datasets.annotations import Person
from src.datasets.skeletons import Skeleton
from src.datasets.synth.body import LANDMARK_NAMES
from src.datasets.synth.scene import OUTSIDE, sample_scene
from src.errors import UserError, suggest

SPLITS = ("train", "valid", "test")
POSES = ("all", "upright")
ENLARGE = 1.25  # the box of a crop over the reference box
JOINT_BOX = 1.1  # the reference box over the longest side of the box around the labelled joints
HEAD_SIZE = 0.6  # of the diagonal of the head box: the length that PCKh divides by
_PERSON_PIXELS = 200.0
_SEED = 20111


class SynthPeople:
    """`size` people of a split, each in a picture of their own; no files, and nothing to download.

    Person i depends on (split, i, resolution, poses) alone: on every machine the same joints, and with the
    same versions of the libraries the same pixels. resolution: of the crops they are meant for; pictures are
    an eighth larger. poses: "upright" for people who stand, walk or run, seen whole and from the front, which
    is learnt sooner. All skeletons are read off the same bodies. norm is that of PCKh for MPII's joints, else
    NaN.
    """

    def __init__(
        self, split: str, size: int, skeleton: Skeleton, resolution: int = 256, poses: str = "all"
    ) -> None:
        if split not in SPLITS:
            raise UserError(
                f"synth has no split {split!r}{suggest(split, SPLITS)}; it has {', '.join(SPLITS)}"
            )
        if poses not in POSES:
            raise UserError(f"synth has no poses {poses!r}{suggest(poses, POSES)}; it has {', '.join(POSES)}")
        missing = [joint for joint in skeleton.joints if joint not in LANDMARK_NAMES]
        if missing:
            raise UserError(
                f"synth does not know the joints {', '.join(missing)} of skeleton {skeleton.name}"
            )
        self.name = f"synth {split}"
        self.skeleton = skeleton
        self.resolution = resolution
        self._upright = poses == "upright"
        self._size = size
        self._split = SPLITS.index(split)
        self._joints = [LANDMARK_NAMES.index(joint) for joint in skeleton.joints]

    def __len__(self) -> int:
        return self._size

    def person(self, index: int) -> Person:
        """Person `index`, drawn anew each time. Raises IndexError outside 0 … len - 1."""
        if not 0 <= index < self._size:
            raise IndexError(f"{self.name} has {self._size} people; there is no number {index}")
        geometry, look = (np.random.default_rng((_SEED, self._split, index, stream)) for stream in (0, 1))
        picture, labels = sample_scene(geometry, look, self.resolution, self._upright).render()
        points, visible = labels[0].points[self._joints], labels[0].visible[self._joints]
        labelled = points[visible > OUTSIDE]
        low, high = labelled.min(0), labelled.max(0)
        return Person(
            image=picture,
            joints=points.astype(np.float32),
            visible=visible,
            center=((low + high) / 2).astype(np.float32),
            scale=JOINT_BOX * float((high - low).max()) / _PERSON_PIXELS,
            enlarge=ENLARGE,
            shift=0.0,
            norm=HEAD_SIZE * labels[0].head_box if self.skeleton.name == "mpii" else float("nan"),
        )
