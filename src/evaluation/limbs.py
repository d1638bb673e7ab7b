"""Limbs for the percentage of correct parts (PCP): their ends, and how far off predicted ones are.

Ferrari, Marín-Jiménez and Zisserman, CVPR 2008. Three readings are in use; a limb is right if
strict   both ends are within half of its length,
loose    the mean of the errors of its ends is,
PCPm     both ends are within half of the mean length of such limbs, left and right, of all people
         (Andriluka et al., CVPR 2014).

N people, L limbs, J joints.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from src.datasets.skeletons import Skeleton

READINGS = ("strict", "loose", "PCPm")

# By group: the names of the joints at either end; an end of two joints is their middle.
_SIDES = ("right {}", "left {}")
_LIMBS = {
    "Upper leg": ("hip", "knee"),
    "Lower leg": ("knee", "ankle"),
    "Upper arm": ("shoulder", "elbow"),
    "Lower arm": ("elbow", "wrist"),
}
_TRUNK = {
    "Torso": (("right shoulder", "left shoulder"), ("right hip", "left hip")),
    "Head": (("neck",), ("head top",)),
}


class Limbs(NamedTuple):
    """The limbs whose joints a skeleton has.

    names (L,). ends: of each limb two, and of each end the numbers of its joints. groups: by name the numbers
    of the limbs in it, left and right.
    """

    names: tuple[str, ...]
    ends: tuple[tuple[list[int], list[int]], ...]
    groups: dict[str, list[int]]

    def middles(self, points: np.ndarray) -> np.ndarray:
        """The ends (L, 2, N, 2) of the limbs of people, from their joints (N, J, 2)."""
        return np.stack([[points[:, end].mean(1) for end in ends] for ends in self.ends])

    def whole(self, joints: np.ndarray) -> np.ndarray:
        """Which limbs (N, L) have all of their joints, of those given (N, J) bool."""
        return np.stack([joints[:, one + other].all(1) for one, other in self.ends], axis=1)


def limbs_of(skeleton: Skeleton) -> Limbs:
    """The limbs of PCP that a skeleton has."""
    known = [
        limb for limb in _all_limbs() if all(name in skeleton.joints for end in limb.ends for name in end)
    ]
    ends = tuple(
        ([*map(skeleton.index, first)], [*map(skeleton.index, second)]) for _, _, (first, second) in known
    )
    groups: dict[str, list[int]] = {}
    for number, limb in enumerate(known):
        groups.setdefault(limb.group, []).append(number)
    return Limbs(tuple(limb.name for limb in known), ends, groups)


class _Limb(NamedTuple):
    """A limb by names: its group, its own, and those of the joints at either end."""

    group: str
    name: str
    ends: tuple[tuple[str, ...], tuple[str, ...]]


def _all_limbs() -> Iterator[_Limb]:
    for group, ends in _TRUNK.items():
        yield _Limb(group, group.lower(), ends)
    for group, (first, second) in _LIMBS.items():
        for side in _SIDES:
            yield _Limb(group, side.format(group.lower()), ((side.format(first),), (side.format(second),)))


def limb_distances(
    predictions: np.ndarray, joints: np.ndarray, counted: np.ndarray, limbs: Limbs
) -> np.ndarray:
    """Errors in lengths of the limb as each of READINGS takes them: (3, N, L) float32, NaN what counts not.

    predictions, joints (N, J, 2), counted (N, J) bool: a limb counts if all joints of its ends do, and if it
    has a length. A prediction that is not a number is infinitely far off.
    """
    true, found = (limbs.middles(points.astype(np.float64)) for points in (joints, predictions))
    error = np.linalg.norm(found - true, axis=3)  # (L, 2, N)
    error[np.isnan(error)] = np.inf
    length = np.linalg.norm(true[:, 0] - true[:, 1], axis=2)  # (L, N)
    known = limbs.whole(counted).T & (length > 0)
    length[~known] = np.nan
    mean = np.empty_like(length)
    for members in limbs.groups.values():
        mean[members] = length[members][known[members]].mean() if known[members].any() else np.nan
    mean[~known] = np.nan
    both, half = error.max(1), error.mean(1)
    return np.stack([both / length, half / length, both / mean]).swapaxes(1, 2).astype(np.float32)
