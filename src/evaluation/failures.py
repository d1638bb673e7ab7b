"""What is the matter with joints that are not right: near, of the other side, of somebody else, or lost.

The taxonomy of Ronchi and Perona, "Benchmarking and error diagnosis in multi-instance pose estimation" (ICCV
2017, section 4). With the similarity exp(-d² / 2 s²) of a predicted joint and a true one, where s is the
joint's constant of object keypoint similarity times the size of the person, a joint is

right      0.85 or more with its truth (theirs: good)
near       0.5 or more with it (jitter)
inverted   else 0.5 or more with the truth of the other side's joint: left and right are exchanged (inversion)
swapped    else 0.5 or more with that joint, or its mirror, of another person in the picture (swap)
missed     none of these (miss)

Where a joint is right within some other length, the threshold of PCK for one, near reaches REACH times as
far: the distances of the similarities 0.5 and 0.85 have this ratio.

N people, J joints.
"""

import math
from collections.abc import Sequence

import numpy as np

from src.datasets.annotations import UNLABELLED
from src.evaluation.pck import distances, within

KINDS = {
    "right": "within the threshold of its true place",
    "near": "up to about twice as far off (jitter)",
    "inverted": "at the same person's other side: left for right",
    "swapped": "at the joint of another person in the picture",
    "missed": "at none of these places",
}
NOT_COUNTED = -1
GOOD, CLOSE = 0.85, 0.5  # similarities
REACH = math.sqrt(math.log(CLOSE) / math.log(GOOD))  # 2.07
LEAST_OKS = 0.1  # of a person found and one annotated who may be the same, as in section 3 there


def failures(
    predicted: np.ndarray,
    truth: np.ndarray,
    labelled: np.ndarray,
    length: np.ndarray,
    threshold: float,
    mirror: Sequence[int],
    picture: np.ndarray | None = None,
) -> np.ndarray:
    """The kind of each joint: its place in KINDS, or NOT_COUNTED where there is nothing to compare, (N, J).

    predicted, truth (N, J, 2) in the same pixels; a prediction that is not a number is missed. labelled
    (N, J) bool. length (N,), or (N, J): a joint is right within `threshold` of it, by the arithmetic of PCK;
    without a positive one it does not count. mirror: `flip_order` of the skeleton. picture (N,): a number for
    each picture, whose people may be taken for each other; None: everybody is alone.
    """
    own = distances(predicted, truth, length, labelled)
    other_side = distances(predicted, truth[:, mirror], length, labelled[:, mirror])
    others = _to_others(predicted, truth, labelled, length, mirror, picture)
    near = REACH * threshold
    places = [within(own, threshold), *(within(each, near) for each in (own, other_side, others))]
    return np.where(np.isnan(own), NOT_COUNTED, np.select(places, [0, 1, 2, 3], 4))


def _to_others(
    predicted: np.ndarray,
    truth: np.ndarray,
    labelled: np.ndarray,
    length: np.ndarray,
    mirror: Sequence[int],
    picture: np.ndarray | None,
) -> np.ndarray:
    """How far each joint is from the nearest such joint, left or right, of others in the picture: (N, J).

    In units of the length; infinite where there is none.
    """
    nearest = np.full(labelled.shape, np.inf)
    if picture is None:
        return nearest
    order = np.argsort(picture, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(picture[order])) + 1):
        if len(rows) < 2:
            continue
        others = ~np.eye(len(rows), dtype=bool)[..., None]
        for joints in (list(range(len(mirror))), list(mirror)):
            apart = distances(
                predicted[rows, None],
                truth[rows][None][:, :, joints],
                length[rows, None],
                labelled[rows][None][:, :, joints] & others,
            )  # (n, n, J)
            nearest[rows] = np.fmin(nearest[rows], np.fmin.reduce(apart, axis=1))
    return nearest


def oks_limits(area: np.ndarray, sigmas: Sequence[float]) -> np.ndarray:
    """The distances (N, J) at which joints of people of such areas (N,) have the similarity GOOD."""
    return 2 * np.sqrt(np.maximum(area, 0))[:, None] * np.array(sigmas) * math.sqrt(-2 * math.log(GOOD))


def matched(
    joints: np.ndarray,
    score: np.ndarray,
    truth: np.ndarray,
    visible: np.ndarray,
    area: np.ndarray,
    sigmas: Sequence[float],
) -> tuple[np.ndarray, np.ndarray]:
    """Who of the people found in a picture is who of those annotated, as COCO decides: the surest first.

    joints (n, J, 2), score (n,) of those found; truth (N, J, 2), visible (N, J), area (N,) of those
    annotated. Returns the place (N,) of each among those found, -1 for none, and their similarity (N,), 0
    for none. It is at least LEAST_OKS.
    """
    place, similarity = np.full(len(truth), -1), np.zeros(len(truth))
    if not len(joints) or not len(truth):
        return place, similarity
    labelled = visible > UNLABELLED
    spread = 2 * np.sqrt(np.maximum(area, 1e-9))[:, None] * np.array(sigmas)  # (N, J)
    apart = np.linalg.norm(joints[:, None] - truth, axis=3)  # (n, N, J), NaN for joints that were not found
    alike = np.nan_to_num(np.exp(-((apart / spread) ** 2) / 2))
    oks = (alike * labelled).sum(2) / np.maximum(labelled.sum(1), 1)
    for person in np.argsort(-score, kind="stable").tolist():
        free = np.where(place < 0, oks[person], 0)
        nearest = int(free.argmax())
        if free[nearest] >= LEAST_OKS:
            place[nearest], similarity[nearest] = person, free[nearest]
    return place, similarity
