"""The annotation record: one split of one release as a few flat arrays, whatever file it came from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from src.datasets.images import Picture, picture_path, read_reduced
from src.datasets.shared import SharedRecord
from src.datasets.skeletons import Skeleton, joint_map
from src.errors import UserError

UNLABELLED, HIDDEN, VISIBLE = 0, 1, 2
MASKED = -1  # visibility of a joint that counts for nothing, such as one that the data set does not know


class Person(NamedTuple):
    """One person and the way to the picture that shows them; the arguments of a crop come with it.

    read(shrink) is the picture, which may be reduced if it will be shrunk by that factor anyway; it raises
    BadImage. joints (J, 2) float32 in pixels of the whole picture; visible (J,) int8 (0 unlabelled, 1 hidden,
    2 visible); center (2,) float32; the reference box has a side of 200 scale pixels before `enlarge`
    multiplies it and `shift` scale pixels are added to the centre's y; norm is the length by which the
    metric of the data set divides, NaN where it has none.
    """

    read: Callable[[float], Picture]
    joints: np.ndarray
    visible: np.ndarray
    center: np.ndarray
    scale: float
    enlarge: float
    shift: float
    norm: float


class People(Protocol):
    """What crops are cut from: annotations of a release, or people drawn on the fly."""

    @property
    def name(self) -> str: ...

    @property
    def skeleton(self) -> Skeleton: ...

    def __len__(self) -> int: ...

    def person(self, index: int) -> Person: ...


@dataclass(frozen=True)
class Annotations(SharedRecord):
    """One split of one release. N people; no Python object per person.

    name: for messages, e.g. "mpii valid". root: the folder that `images` (N,) bytes are relative to.
    joints (N, J, 2) float32, 0-based pixels; visible (N, J) int8. center (N, 2), scale (N,) float32, raw;
    enlarge, shift (N,) float32: the crop rule of the release (see Person). norm (N,) float32.
    index, person (N,) int64: which picture of the release, and which person in it.
    """

    DTYPES: ClassVar[Mapping[str, Any]] = {
        "images": None,
        "joints": np.float32,
        "visible": np.int8,
        "center": np.float32,
        "scale": np.float32,
        "enlarge": np.float32,
        "shift": np.float32,
        "norm": np.float32,
        "index": np.int64,
        "person_id": np.int64,
    }

    name: str
    skeleton: Skeleton
    root: Path
    images: np.ndarray
    joints: np.ndarray
    visible: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    enlarge: np.ndarray
    shift: np.ndarray
    norm: np.ndarray
    index: np.ndarray
    person_id: np.ndarray

    def _check(self) -> None:
        count, joints = len(self.images), self.skeleton.num_joints
        for field in self.DTYPES:
            shape = {"joints": (count, joints, 2), "visible": (count, joints), "center": (count, 2)}
            expected = shape.get(field, (count,))
            found = getattr(self, field).shape
            if found != expected:
                raise UserError(f"{self.name}: {field} has shape {found}, expected {expected}")
        labelled = self.visible > UNLABELLED
        broken = ~np.isfinite(self.joints).all(2) & labelled
        refuse_people(broken, self.name, self.images, "a joint that is not a finite number")
        broken = ~np.isfinite(self.center).all(1)
        refuse_people(broken, self.name, self.images, "a centre that is not a finite number")
        broken = ~((self.scale > 0) & (self.scale < np.inf))
        refuse_people(broken, self.name, self.images, "a scale that is not positive, or not finite")
        refuse_people(np.isinf(self.norm), self.name, self.images, "an infinite length of the metric")

    def __len__(self) -> int:
        return len(self.images)

    def path(self, index: int) -> Path:
        """Where the picture of person `index` lies."""
        return picture_path(self.root, self.images[index])

    def person(self, index: int) -> Person:
        """Person `index`. The picture is not read yet."""
        return Person(
            partial(read_reduced, self.path(index)),
            self.joints[index],
            self.visible[index],
            self.center[index],
            float(self.scale[index]),
            float(self.enlarge[index]),
            float(self.shift[index]),
            float(self.norm[index]),
        )

    def require_joints(self) -> None:
        """UserError if somebody has no labelled joint, and so nothing to be trained or scored on."""
        refuse_people((self.visible == UNLABELLED).all(1), self.name, self.images, "no labelled joint")

    def select(self, rows: np.ndarray, name: str | None = None) -> "Annotations":
        """The people at `rows` (indices or a mask), in that order."""
        chosen: dict[str, Any] = {field: getattr(self, field)[rows] for field in self.DTYPES}
        return replace(self, name=name or self.name, **chosen)

    def with_skeleton(self, target: Skeleton) -> "Annotations":
        """The same people in another skeleton's joints, matched by name; those missing are unlabelled."""
        if target == self.skeleton:
            return self
        source = joint_map(self.skeleton, target)
        known = source >= 0
        if not known.any():
            raise UserError(f"{self.name}: skeleton {target.name} shares no joint with {self.skeleton.name}")
        joints = np.where(known[:, None], self.joints[:, source], 0)
        visible = np.where(known, self.visible[:, source], UNLABELLED)
        return replace(self, skeleton=target, joints=joints, visible=visible)


@dataclass(frozen=True)
class Detections(Annotations):
    """People as a detector has found them: boxes without joints, to test networks on.

    score (N,) float32: how sure the detector is of each. person_id: the place in its file, from 0.
    """

    DTYPES: ClassVar[Mapping[str, Any]] = {**Annotations.DTYPES, "score": np.float32}

    score: np.ndarray

    def require_joints(self) -> None:
        """Nobody has any; they are compared with whom the pictures show."""


def refuse_people(bad: Any, name: str, images: np.ndarray, what: str) -> None:
    """UserError that names the first of the people (N,) or joints (N, J) that are `bad`, if any is."""
    rows = np.unique(np.argwhere(bad)[:, 0])
    if rows.size:
        first = f"person {rows[0]} ({images[rows[0]].decode(errors='replace')})"
        raise UserError(f"{name}: {first} has {what} ({rows.size} of {len(images)} people)")
