"""Limbs for the percentage of correct parts (PCP): their ends, and how far off predicted ones are.

Ferrari, Marín-Jiménez and Zisserman, CVPR 2008. Three readings are in use; a limb is right if
strict   both ends are within half of its length,
loose    the mean of the errors of its ends is,
PCPm     both ends are within half of the mean length of such limbs, left and right, of all people
         (Andriluka et al., CVPR 2014).

N people, L limbs, J joints.
"""

from collections.abc import Iterator

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

Ends = tuple[tuple[str, ...], tuple[str, ...]]


def limbs_of(skeleton: Skeleton) -> tuple[dict[str, Ends], dict[str, tuple[int, ...]]]:
    """The limbs whose joints a skeleton has, by name, and for each group the places of its limbs."""
    limbs: dict[str, Ends] = {}
    groups: dict[str, tuple[int, ...]] = {}
    for group, name, ends in _all_limbs():
        if all(joint in skeleton.joints for end in ends for joint in end):
            groups[group] = (*groups.get(group, ()), len(limbs))
            limbs[name] = ends
    return limbs, groups


def _all_limbs() -> Iterator[tuple[str, str, Ends]]:
    """Group, name and ends of each limb."""
    for group, ends in _TRUNK.items():
        yield group, group.lower(), ends
    for group, (first, second) in _LIMBS.items():
        for side in _SIDES:
            yield group, side.format(group.lower()), ((side.format(first),), (side.format(second),))


def limb_distances(
    predictions: np.ndarray,
    joints: np.ndarray,
    counted: np.ndarray,
    skeleton: Skeleton,
) -> np.ndarray:
    """Errors in lengths of the limb as each of READINGS takes them: (3, N, L) float32, NaN what counts not.

    predictions, joints (N, J, 2), counted (N, J) bool: a limb counts if all joints of its ends do, and if it
    has a length. A prediction that is not a number is infinitely far off.
    """
    limbs, groups = limbs_of(skeleton)
    places = [[[skeleton.index(joint) for joint in end] for end in ends] for ends in limbs.values()]
    true, found = (
        np.stack([[points[:, end].mean(1) for end in ends] for ends in places])
        for points in (joints.astype(np.float64), predictions.astype(np.float64))
    )  # (L, 2, N, 2)
    error = np.linalg.norm(found - true, axis=3)  # (L, 2, N)
    error[np.isnan(error)] = np.inf
    length = np.linalg.norm(true[:, 0] - true[:, 1], axis=2)  # (L, N)
    known = np.stack([counted[:, ends[0] + ends[1]].all(1) for ends in places]) & (length > 0)
    length[~known] = np.nan
    mean = np.empty_like(length)
    for members in map(list, groups.values()):
        mean[members] = length[members][known[members]].mean() if known[members].any() else np.nan
    mean[~known] = np.nan
    both, half = error.max(1), error.mean(1)
    return np.stack([both / length, half / length, both / mean]).swapaxes(1, 2).astype(np.float32)
