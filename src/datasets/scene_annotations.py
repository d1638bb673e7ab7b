"""The multi-person record: pictures and everybody in them, of one split, as a few flat arrays."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from src.datasets.annotations import UNLABELLED
from src.datasets.images import BadImage, Picture, picture_path, read_reduced
from src.datasets.outlines import bounds, outline_of, union
from src.datasets.shared import SharedRecord
from src.datasets.skeletons import Skeleton
from src.errors import UserError

MOST_PIXELS = 1 << 30  # of a picture: OpenCV reads no larger ones


class Scene(NamedTuple):
    """A picture, the people in it who have a labelled joint, and where others are.

    read(shrink) is the picture, which may be reduced if it will be shrunk by that factor anyway; it raises
    BadImage. width, height: of the whole picture. joints (n, J, 2) float32 in pixels; visible (n, J) int8 (0
    unlabelled, 1 hidden, 2 visible); area (n,) in square pixels; box (n, 4): x, y, width, height. ignored
    (height, width) bool: where people are whose joints nobody has labelled; None: nowhere.
    """

    read: Callable[[float], Picture]
    width: int
    height: int
    joints: np.ndarray
    visible: np.ndarray
    area: np.ndarray
    box: np.ndarray
    ignored: np.ndarray | None


class ScenePeople(Protocol):
    """What scenes are made of: annotations of a release, or scenes drawn on the fly."""

    @property
    def name(self) -> str: ...

    @property
    def skeleton(self) -> Skeleton: ...

    def __len__(self) -> int: ...

    def scene(self, index: int) -> Scene: ...

    def beyond(self, limit: int) -> int:
        """How many people with a labelled joint there are beyond `limit` in their picture."""
        ...

    def truth(self, rows: np.ndarray) -> "SceneAnnotations":
        """The annotations of the pictures at `rows` (K,), in that order."""
        ...


@dataclass(frozen=True)
class SceneAnnotations(SharedRecord):
    """One split of one release. M pictures, N people in the order of their pictures, J joints.

    name: for messages. root: the folder that `images` (M,) bytes are relative to; image_id (M,) int64, size
    (M, 2) int32 (width, height). The people of picture m are those from first[m] to first[m + 1], (M + 1,).

    joints (N, J, 2) float32, 0-based pixels; visible (N, J) int8; area (N,) and box (N, 4) float64 (x, y,
    width, height); person_id (N,) int64. crowd (N,) bool: not one person but a group, whose joints are
    unlabelled; other people may lack labelled joints, too. The outlines of crowds and of such people are
    JSON texts, one after the other in `outlines` (T,) uint8; outline_first (N + 1,) says where each begins.

    category: the number by which results call what is annotated. mask_people: people without labelled joints
    are ignored like crowds; else they are background.
    """

    DTYPES: ClassVar[Mapping[str, Any]] = {
        "images": None,
        "image_id": np.int64,
        "size": np.int32,
        "first": np.int64,
        "joints": np.float32,
        "visible": np.int8,
        "area": np.float64,
        "box": np.float64,
        "crowd": bool,
        "person_id": np.int64,
        "outlines": np.uint8,
        "outline_first": np.int64,
    }

    name: str
    skeleton: Skeleton
    root: Path
    category: int
    images: np.ndarray
    image_id: np.ndarray
    size: np.ndarray
    first: np.ndarray
    joints: np.ndarray
    visible: np.ndarray
    area: np.ndarray
    box: np.ndarray
    crowd: np.ndarray
    person_id: np.ndarray
    outlines: np.ndarray
    outline_first: np.ndarray
    mask_people: bool = False

    def _check(self) -> None:
        pictures, people, joints = len(self.images), len(self.person_id), self.skeleton.num_joints
        shapes = {
            "size": (pictures, 2),
            "first": (pictures + 1,),
            "joints": (people, joints, 2),
            "visible": (people, joints),
            "box": (people, 4),
            "outlines": (int(self.outline_first[-1]),),
            "outline_first": (people + 1,),
        }
        for field in self.DTYPES:
            expected = shapes.get(field, (pictures if field in ("images", "image_id") else people,))
            found = getattr(self, field).shape
            if found != expected:
                raise UserError(f"{self.name}: {field} has shape {found}, expected {expected}")
        strange = (self.size < 1).any(1) | (self.size.prod(1, dtype=np.int64) > MOST_PIXELS)
        if strange.any():
            row = int(strange.argmax())
            raise UserError(
                f"{self.name}: picture {self.images[row].decode(errors='replace')} is annotated as"
                f" {self.size[row, 0]} x {self.size[row, 1]} pixels large, which none can be"
                f" ({strange.sum()} such pictures)"
            )
        broken = (~np.isfinite(self.joints).all(2) & (self.visible > UNLABELLED)).any(1)
        self._refuse(broken, "a joint that is not a finite number")
        self._refuse(~np.isfinite(self.box).all(1), "a box that is not of finite numbers")
        self._refuse(~np.isfinite(self.area), "an area that is not a finite number")

    def _refuse(self, bad: np.ndarray, what: str) -> None:
        """UserError that names the first of the `bad` (N,) people, if any is."""
        if bad.any():
            row = int(bad.argmax())
            picture = self.images[self.image_of[row]].decode(errors="replace")
            raise UserError(
                f"{self.name}: person {self.person_id[row]} ({picture}) has {what}"
                f" ({bad.sum()} of {len(bad)} people)"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_of(self) -> np.ndarray:
        """Which picture each person is in: (N,) int64."""
        return np.repeat(np.arange(len(self)), np.diff(self.first))

    @property
    def labelled(self) -> np.ndarray:
        """Which people have a labelled joint: (N,) bool."""
        return np.any(self.visible > UNLABELLED, axis=1)

    @property
    def counts(self) -> np.ndarray:
        """How many people with a labelled joint each picture has: (M,) int64."""
        return np.bincount(self.image_of[self.labelled], minlength=len(self))

    def path(self, index: int) -> Path:
        """Where picture `index` lies."""
        return picture_path(self.root, self.images[index])

    def scene(self, index: int) -> Scene:
        """Picture `index`, which is not read yet, and who is in it."""
        everybody = slice(self.first[index], self.first[index + 1])
        people = np.flatnonzero((self.visible[everybody] > UNLABELLED).any(1)) + everybody.start
        width, height = self.size[index].tolist()
        return Scene(
            lambda shrink: self._read(index, shrink),
            width,
            height,
            self.joints[people],
            self.visible[people],
            self.area[people],
            self.box[people],
            self._ignored(everybody, width, height),
        )

    def _read(self, index: int, shrink: float) -> Picture:
        """Picture `index`. Raises BadImage, also for a size that is not that of the annotations."""
        picture = read_reduced(self.path(index), shrink)
        height, width = picture.pixels.shape[:2]
        expected = -(-self.size[index] // picture.reduction)
        if (width, height) != tuple(expected):
            raise BadImage(
                f"picture {self.path(index)} is about {width * picture.reduction} x"
                f" {height * picture.reduction} pixels large, but annotated as {self.size[index, 0]} x"
                f" {self.size[index, 1]}"
            )
        return picture

    def _ignored(self, everybody: slice, width: int, height: int) -> np.ndarray | None:
        unlabelled = self.crowd[everybody]
        if self.mask_people:
            unlabelled = (self.visible[everybody] == UNLABELLED).all(1)
        if not unlabelled.any():
            return None
        rows = np.flatnonzero(unlabelled) + everybody.start
        return union(((self.outline(row), self.box[row]) for row in rows), width, height)

    def outline(self, row: int) -> bytes:
        """The outline of a crowd, or of a person without labelled joints, as JSON; b"" if none is known."""
        return self.outlines[self.outline_first[row] : self.outline_first[row + 1]].tobytes()

    def beyond(self, limit: int) -> int:
        """How many people with a labelled joint there are beyond `limit` in their picture."""
        return int(np.maximum(self.counts - limit, 0).sum())

    def truth(self, rows: np.ndarray) -> "SceneAnnotations":
        """The annotations of the pictures at `rows`, in that order."""
        return self.select(rows)

    def select(self, rows: np.ndarray, name: str | None = None) -> "SceneAnnotations":
        """The pictures at `rows` (indices or a mask), in that order, with everybody in them."""
        rows = np.arange(len(self))[rows]
        people, first = _of_groups(self.first, rows)
        lengths = np.diff(self.outline_first)[people]
        texts = b"".join(self.outline(row) for row in people[lengths > 0])
        of_pictures = {field: getattr(self, field)[rows] for field in ("images", "image_id", "size")}
        of_people = {
            field: getattr(self, field)[people]
            for field in ("joints", "visible", "area", "box", "crowd", "person_id")
        }
        return replace(
            self,
            name=name or self.name,
            first=first,
            outlines=np.frombuffer(texts, np.uint8),
            outline_first=np.concatenate([[0], np.cumsum(lengths)]),
            **of_pictures,
            **of_people,
        )

    def for_training(self, empty_share: float = 0.0) -> "SceneAnnotations":
        """The pictures to learn from: those of people with a labelled joint, and a share of the empty ones.

        In an empty picture nobody is annotated. What shows only people without labelled joints is left out:
        it would teach that they are background. Raises UserError if there is nobody to learn from.
        """
        chosen = self.counts > 0
        if not chosen.any():
            raise UserError(f"{self.name} has no people with a labelled joint")
        empty = np.flatnonzero(np.diff(self.first) == 0)
        spread = np.linspace(0, len(empty), round(empty_share * len(empty)), endpoint=False).astype(np.int64)
        chosen[empty[spread]] = True
        return self if chosen.all() else self.select(chosen)


def _of_groups(first: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of rows that lie in groups, group g from first[g] to first[g + 1]: the rows of `groups` (K,), in their
    order, and where each group then begins, (K + 1,).
    """
    counts = first[groups + 1] - first[groups]
    begins = np.concatenate([[0], np.cumsum(counts)])
    return np.arange(begins[-1]) + np.repeat(first[groups] - begins[:-1], counts), begins


def record_scenes(
    name: str, skeleton: Skeleton, numbers: np.ndarray, scenes: Iterable[Scene]
) -> SceneAnnotations:
    """The record of scenes at hand, without their pictures; what each ignores becomes one crowd.

    numbers (M,): the ids of the pictures.
    """
    num_joints = skeleton.num_joints
    joints: list[Any] = [np.zeros((0, num_joints, 2))]
    visible: list[Any] = [np.zeros((0, num_joints))]
    area: list[Any] = [[]]
    box: list[Any] = [np.zeros((0, 4))]
    sizes, counts, crowd, outlines = [], [], [], []
    for scene in scenes:
        people, ignored = len(scene.area), scene.ignored
        joints.append(scene.joints)
        visible.append(scene.visible)
        area.append(scene.area)
        box.append(scene.box)
        crowd += [False] * people
        outlines += [b""] * people
        if ignored is not None:
            joints.append(np.zeros((1, num_joints, 2)))
            visible.append(np.full((1, num_joints), UNLABELLED))
            area.append([ignored.sum()])
            box.append([bounds(ignored)])
            crowd.append(True)
            outlines.append(outline_of(ignored))
        sizes.append((scene.width, scene.height))
        counts.append(people + (ignored is not None))
    return SceneAnnotations(
        name=name,
        skeleton=skeleton,
        root=Path(),
        category=1,
        images=np.array([f"{number}" for number in numbers], np.bytes_),
        image_id=numbers,
        size=np.array(sizes).reshape(-1, 2),
        first=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
        joints=np.concatenate(joints),
        visible=np.concatenate(visible),
        area=np.concatenate(area),
        box=np.concatenate(box),
        crowd=np.array(crowd, bool),
        person_id=np.arange(1, len(crowd) + 1),  # to pycocotools 0 is nobody
        outlines=np.frombuffer(b"".join(outlines), np.uint8),
        outline_first=np.concatenate([[0], np.cumsum([len(text) for text in outlines], dtype=np.int64)]),
    )
