"""Synthetic people, drawn on the fly: one articulated 3-D body, dressed, posed, photographed, labelled.

A bank (src/datasets/synth/bank.py) keeps what was drawn.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from src.datasets.annotations import Person
from src.datasets.images import Picture
from src.datasets.outlines import bounds
from src.datasets.scene_annotations import Scene, SceneAnnotations, record_scenes
from src.datasets.skeletons import Skeleton
from src.datasets.synth.bank import Bank
from src.datasets.synth.body import LANDMARK_NAMES
from src.datasets.synth.group import MOST, sample_count, sample_group
from src.datasets.synth.parts import ALL_PARTS, Parts
from src.datasets.synth.poses import POSES
from src.datasets.synth.scene import EXTRAS, OUTSIDE, VISIBLE, Rendering, picture_side, sample_scene
from src.datasets.synth.scene import Scene as Drawn
from src.errors import UserError, suggest

SPLITS = ("train", "valid", "test")
ENLARGE = 1.25  # the box of a crop over the reference box
JOINT_BOX = 1.1  # the reference box over the longest side of the box around the labelled joints
HEAD_SIZE = 0.6  # of the diagonal of the head box: the length that PCKh divides by
SMALLEST = 0.0015  # share of a picture below which what is seen of a person is hardly anything
_PERSON_PIXELS = 200.0
_SEED = 20111


class _Synth(ABC):
    """`size` samples of a split; no files but those of a bank, and nothing to download."""

    kind: ClassVar[str]
    most: ClassVar[int]  # people in a picture
    keeps_shown: ClassVar[bool]  # whether samples need what each pixel shows

    def __init__(
        self,
        split: str,
        size: int,
        skeleton: Skeleton,
        resolution: int = 256,
        poses: str | Sequence[str] = "all",
        bank: Path | None = None,
        parts: Parts = ALL_PARTS,
    ) -> None:
        if split not in SPLITS:
            raise UserError(
                f"synth has no split {split!r}{suggest(split, SPLITS)}; it has {', '.join(SPLITS)}"
            )
        poses = (poses,) if isinstance(poses, str) else tuple(poses)
        for each in poses:
            if each not in POSES:
                raise UserError(
                    f"synth has no poses {each!r}{suggest(each, POSES)}; it has {', '.join(POSES)}"
                )
        missing = [joint for joint in skeleton.joints if joint not in LANDMARK_NAMES]
        if missing:
            raise UserError(
                f"synth does not know the joints {', '.join(missing)} of skeleton {skeleton.name}"
            )
        self.name = f"synth {split}"
        self.skeleton = skeleton
        self.resolution = resolution
        self.parts = parts
        self._poses = poses
        self._size = size
        self._split = SPLITS.index(split)
        self._joints = [LANDMARK_NAMES.index(joint) for joint in skeleton.joints]
        name = "-".join([self.kind, split, "+".join(poses), *str(parts).split()])
        self._bank = None if bank is None else Bank(bank, name, size, self.side, self.most, self.keeps_shown)

    def __len__(self) -> int:
        return self._size

    @property
    @abstractmethod
    def side(self) -> int:
        """Of the pictures, in pixels."""

    @abstractmethod
    def _drawn(self, index: int) -> Drawn:
        """The scene of a sample, still to be rendered."""

    def _rendering(self, index: int) -> Rendering:
        """Sample `index` as it is drawn, now or earlier. Raises IndexError outside 0 … len - 1."""
        if not 0 <= index < self._size:
            raise IndexError(f"{self.name} has {self._size} samples; there is no number {index}")
        if self._bank is None:
            return self._drawn(index).render()
        return self._bank.rendering(index, lambda: self._drawn(index).render())

    def _poses_of(self, index: int) -> str:
        """The set that the poses of a sample are from."""
        return self._poses[index % len(self._poses)]

    def _random(self, index: int, stream: int) -> np.random.Generator:
        """The random state of a sample for one purpose."""
        return np.random.default_rng((_SEED, self._split, index, stream))


class SynthPeople(_Synth):
    """`size` people of a split, each in a picture of their own.

    Person i depends on (split, i, resolution, poses) alone: on every machine the same joints, and with the
    same versions of the libraries the same pixels. resolution: of the crops they are meant for; pictures are
    an eighth larger. poses: a set of src/datasets/synth/poses.py, or several that take turns; upright people
    are seen whole and from the front, and learnt sooner. All skeletons are read off the same bodies. norm is
    that of PCKh for MPII's joints, else NaN. bank: a folder where drawings are kept, each when it is drawn
    first. parts: what is drawn.
    """

    kind, most, keeps_shown = "people", 1, False

    @property
    def side(self) -> int:
        return picture_side(self.resolution)

    def _drawn(self, index: int) -> Drawn:
        geometry, look = self._random(index, 0), self._random(index, 1)
        return sample_scene(geometry, look, self.resolution, self._poses_of(index), self.parts)

    def person(self, index: int) -> Person:
        """Person `index`. Raises IndexError outside 0 … len - 1."""
        picture, (labels,), _ = self._rendering(index)
        points, visible = labels.points[self._joints], labels.visible[self._joints]
        labelled = points[visible > OUTSIDE]
        low, high = labelled.min(0), labelled.max(0)
        return Person(
            read=lambda _: Picture(picture),
            joints=points.astype(np.float32),
            visible=visible,
            center=((low + high) / 2).astype(np.float32),
            scale=JOINT_BOX * float((high - low).max()) / _PERSON_PIXELS,
            enlarge=ENLARGE,
            shift=0.0,
            norm=HEAD_SIZE * labels.head_box if self.skeleton.name == "mpii" else float("nan"),
        )


class SynthScenes(_Synth):
    """`size` square pictures of a split, of `resolution` pixels a side, with one to MOST people each.

    Scene i depends on (split, i, resolution, poses) alone, as SynthPeople's people do. A joint is 0 where it
    is outside the picture, 1 where somebody or something hides it, 2 where it is seen; area and box are of
    what is seen of a person. Who is hardly seen, and the small people who fill scenes, are ignored.
    """

    kind, most, keeps_shown = "scenes", MOST, True

    _last_truth: tuple[list[int], SceneAnnotations] | None = None

    @property
    def side(self) -> int:
        return self.resolution

    def _drawn(self, index: int) -> Drawn:
        geometry, look = self._random(index, 2), self._random(index, 3)
        return sample_group(geometry, look, self.side, self._poses_of(index), self.parts)

    def scene(self, index: int) -> Scene:
        """Scene `index`. Raises IndexError outside 0 … len - 1."""
        side = self.side
        picture, labels, shown = self._rendering(index)
        joints = np.stack([person.points[self._joints] for person in labels])
        visible = np.stack([person.visible[self._joints] for person in labels])
        areas = np.bincount(shown.ravel(), minlength=EXTRAS + 1)
        area = areas[1 : len(labels) + 1]
        seen = (visible == VISIBLE).any(1) & (area >= SMALLEST * side**2)
        hardly = [EXTRAS, *(np.flatnonzero(~seen) + 1)]
        return Scene(
            read=lambda _: Picture(picture),
            width=side,
            height=side,
            joints=joints[seen].astype(np.float32),
            visible=visible[seen],
            area=area[seen].astype(np.float64),
            box=np.array([bounds(shown == number + 1) for number in np.flatnonzero(seen)]).reshape(-1, 4),
            ignored=np.isin(shown, hardly) if areas[hardly].any() else None,
        )

    def beyond(self, limit: int) -> int:
        """How many people there are beyond `limit` in their picture, at most: some may be hardly seen."""
        if limit >= MOST:
            return 0
        counts = (sample_count(self._random(index, 2)) for index in range(self._size))
        return sum(max(count - limit, 0) for count in counts)

    def truth(self, rows: np.ndarray) -> SceneAnnotations:
        """The annotations of the scenes at `rows`; who is ignored is one crowd.

        They are drawn for it. The last answer is kept: validation asks for the same time and again.
        """
        wanted = rows.tolist()
        if self._last_truth is None or self._last_truth[0] != wanted:
            scenes = (self.scene(row) for row in wanted)
            self._last_truth = wanted, record_scenes(self.name, self.skeleton, rows, scenes)
        return self._last_truth[1]
