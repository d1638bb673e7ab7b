"""What the readers of releases share: finding their files, and a few columns that releases leave out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.datasets.annotations import UNLABELLED, Annotations
from src.datasets.files import unpack_zip
from src.datasets.scene_annotations import SceneAnnotations
from src.datasets.skeletons import Skeleton
from src.errors import UserError
from src.utils.files import from_here
from src.utils.options import ROOT

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Release:
    """One release as its authors distribute it, and what to do with it.

    dataset: the name on command lines. source: what to download, and where from. layout: what must then lie
    in the data folder. read(data_dir, split, valid_share): the annotations of one of the `splits`; arguments
    of its own have defaults.
    prepare(data_dir): makes the files that the reader wants of those that were downloaded, unless they are
    there; returns a line that says what it did. scenes(data_dir, split, valid_share): the whole pictures of a
    split with everybody in them, for releases that annotate several people a picture. unannotated: splits of
    pictures alone, of which nothing is prepared or checked. twice: names of the pictures that the release
    itself has in two splits. origin: where the first pixel begins in its coordinates.
    """

    dataset: str
    source: str
    layout: str
    read: Callable[..., Annotations]
    prepare: Callable[[Path], str]
    splits: tuple[str, ...] = SPLITS
    unannotated: tuple[str, ...] = ()
    scenes: Callable[[Path, str, float], SceneAnnotations] | None = None
    twice: tuple[str, ...] = ()
    origin: float = 1.0

    def find(self, data_dir: Path, candidates: Iterable[str]) -> Path:
        """The first of the candidates, paths relative to `data_dir`, that exists.

        Raises UserError, which says what to download and where it goes, if there is none.
        """
        candidates = list(candidates)
        for candidate in candidates:
            if (data_dir / candidate).exists():
                return data_dir / candidate
        raise self.missing(data_dir, candidates)

    def missing(self, data_dir: Path, candidates: Iterable[str]) -> UserError:
        """The error that none of the candidates is in `data_dir`: what to download, and where it goes."""
        what = f"{data_dir} holds no {' or '.join(candidates)}"
        if not data_dir.is_dir():
            what = f"{data_dir} is no folder" if data_dir.exists() else f"folder {data_dir} does not exist"
        script = from_here(ROOT / "data" / "prepare.py")
        check = f"python {script} {self.dataset} --data-dir {data_dir} --check"
        return UserError(f"{self.dataset}: {what}; {self.how_to_get(data_dir)}; `{check}` checks it")

    def how_to_get(self, data_dir: Path) -> str:
        """What to download, and where it goes."""
        return f"get {self.source}, so that {data_dir} holds {self.layout}"


def unpack(data_dir: Path, archive: str, candidates: Iterable[str]) -> str:
    """Unpack `archive`.zip in `data_dir` as the folder `archive`, unless one of the candidates, paths of what
    a reader wants, is there; says which in a line.
    """
    source, target = data_dir / f"{archive}.zip", data_dir / archive
    found = [data_dir / candidate for candidate in candidates if (data_dir / candidate).is_file()]
    if found:
        return f"{found[0]} is there already"
    if not source.is_file():
        return f"there is no {source} to unpack"
    unpack_zip(source, target)
    return f"{source} unpacked into {target}"


def distances(joints: np.ndarray, visible: np.ndarray, ends: tuple[int, int]) -> np.ndarray:
    """The distance (N,) between two joints of each person, NaN where one of them is unlabelled.

    joints (N, J, 2), visible (N, J), ends: the two joints.
    """
    first, second = ends
    labelled = (visible[:, first] > UNLABELLED) & (visible[:, second] > UNLABELLED)
    return np.where(labelled, np.linalg.norm(joints[:, first] - joints[:, second], axis=1), np.nan)


def torso_lengths(joints: np.ndarray, visible: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """The torso (N,) that PCK divides by, from left shoulder to right hip; NaN where an end is unlabelled."""
    return distances(joints, visible, skeleton.torso)


def number_pictures(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For releases that number nothing: which picture each of (N,) names is, and which person in it.

    Pictures count from 0 in order of first appearance, people within their picture. Returns (N,), (N,) int64.
    """
    _, first, inverse = np.unique(images, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    index = rank[inverse]
    order = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[order], np.arange(len(first)))
    person = np.empty(len(images), np.int64)
    person[order] = np.arange(len(images)) - starts[index[order]]
    return index, person
