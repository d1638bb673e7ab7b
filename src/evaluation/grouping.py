"""From heatmaps and tags to people: the decoder of associative embedding (Newell, Huang and Deng, NIPS 2017).

A peak of a heatmap is a joint of somebody; its tag says whose. Joint after joint, those first that are found
most surely, peaks are assigned to the people found so far, whose tag is the mean of their joints' tags:

1. A peak is a cell above `threshold` that is the largest of a window around it; all members of a plateau are.
   The `max_people` highest of each joint stay; of equals those that come first in reading order.
2. The assignment has the least sum of 100 round(distance) - height over its pairs of peak and person. The
   distance is that of the tags, L2 over the tag's dimensions. Rounding, of halves to the even number, makes
   tags within 0.5 equal: among these the higher peaks are preferred.
3. A pair is accepted if its distance, not rounded, is below `tag_threshold`. Other peaks start a person, as
   long as there are fewer than `max_people`.
4. A person's score is the mean of the peaks' heights over all joints, 0 for those not found.
5. A joint not found is then looked for in all of its map: it is where height - round(distance) is largest, if
   the height there is positive.

Ties: rounded distances make several assignments equally good time and again. Joints with tags 10 and 20 go to
people with tags 0 and 10 either way for a sum of 20, but one way nothing is accepted. So min(distance,
tag_threshold) is added to each cost, times a factor below any difference of heights that matters: of equal
assignments the one is taken that accepts most, and the nearest. Where that is equal, too (tags that are the
very same), the order decides in which SciPy's linear_sum_assignment searches.

The compiled form (src.extensions.AE), where it is built, gives the same numbers as that in NumPy and SciPy.

J joints, L tag dimension, h x w map, n people found. Cell k covers [k, k + 1).
"""

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from src.datasets.skeletons import Skeleton
from src.errors import UserError
from src.evaluation.cells import heights, points
from src.extensions import AE

# The trunk and what is next to it before the limbs' ends: those are found less surely.
_PARTS = (
    "nose", "eye", "ear", "head", "neck", "thorax", "shoulder", "pelvis", "hip", "elbow", "wrist", "knee",
    "ankle",
)  # fmt: skip

MOST_PEOPLE = 1000  # an assignment of so many takes a second

ROUNDED = 100.0  # what a unit of the rounded distance costs, beside heights of at most about 1
NEARER = 2.0**-20  # what a unit of the distance itself costs: scores that differ by less are equal


class People(NamedTuple):
    """The people of one picture.

    joints (n, J, 2) float32, NaN for a joint that was not found; score (n, J) float32, the heatmap there, 0
    for a joint that was not found; person_score (n,) float32. `group` gives joints in cells of the maps,
    `src.evaluation.search.find_all` in pixels of the picture.
    """

    joints: np.ndarray
    score: np.ndarray
    person_score: np.ndarray


@dataclass(frozen=True)
class Grouping:
    """How people are put together.

    joint_order: all joints, in the order in which they are assigned; see `joint_order`.
    max_people: people in a picture, and peaks in a heatmap, at most.
    window: the odd number of cells of the side of the window whose largest cell a peak is.
    threshold: what a peak is higher than.
    tag_threshold: what the distance of a joint's tag to its person's is below.
    refine: whether joints without peak are looked for.

    Raises UserError for values that mean nothing.
    """

    joint_order: tuple[int, ...]
    max_people: int = 30
    window: int = 5
    threshold: float = 0.1
    tag_threshold: float = 1.0
    refine: bool = True

    def __post_init__(self) -> None:
        if sorted(self.joint_order) != list(range(len(self.joint_order))):
            raise UserError(f"the joint order {self.joint_order} does not name each joint once")
        if not 1 <= self.max_people <= MOST_PEOPLE:
            raise UserError(f"the most people in a picture are 1 to {MOST_PEOPLE}, not {self.max_people}")
        if self.window < 1 or self.window % 2 == 0:
            raise UserError(f"a window of {self.window} cells has no middle; its side is odd, such as 3 or 5")
        if not self.tag_threshold > 0 or not self.threshold >= 0:
            raise UserError("the threshold of peaks is at least 0, that of tags above 0")

    @classmethod
    def of(cls, skeleton: Skeleton, **settings: Any) -> "Grouping":
        """The settings for a skeleton: its joint order, and what else is given."""
        return cls(joint_order(skeleton), **settings)


def joint_order(skeleton: Skeleton) -> tuple[int, ...]:
    """The joints as they are assigned: head, shoulders, hips, elbows, wrists, knees, ankles, then others.

    For COCO that is the order of the authors' code.
    """

    def rank(joint: int) -> int:
        words = re.findall("[a-z]+", skeleton.joints[joint].lower())
        return next((place for place, part in enumerate(_PARTS) if part in words), len(_PARTS))

    return tuple(sorted(range(skeleton.num_joints), key=rank))


def group(heatmaps: np.ndarray, tags: np.ndarray, settings: Grouping) -> People:
    """The people in the maps of one picture, in the order in which they were started.

    heatmaps (J, h, w), tags (L, J, h, w), float32. Joints are in cells: the centre of a cell, moved a quarter
    towards the larger of two neighbours, as in `src.evaluation.decode`. A peak is finite, and so is its tag.
    POSE_AE_BACKEND chooses the form (src.extensions.AE); both give the same, unless something in the maps is
    not finite. Raises UserError for maps of other shapes.
    """
    heatmaps, tags = (np.ascontiguousarray(maps, np.float32) for maps in (heatmaps, tags))
    joints = len(settings.joint_order)
    if heatmaps.ndim != 3 or len(heatmaps) != joints or min(heatmaps.shape[1:]) < 3:
        raise UserError(f"heatmaps {heatmaps.shape} are not {joints} maps of at least 3 x 3 cells")
    if tags.ndim != 4 or tags.shape[1:] != heatmaps.shape or not len(tags):
        raise UserError(f"tags {tags.shape} are not (L, J, h, w) for heatmaps {heatmaps.shape}")
    module = AE.choose().module
    if module is None:
        return group_in_numpy(heatmaps, tags, settings)
    return group_in_c(module, heatmaps, tags, settings)


def group_in_c(module: Any, heatmaps: np.ndarray, tags: np.ndarray, settings: Grouping) -> People:
    """`group` by the extension, which lets go of the interpreter: several threads decode at once."""
    ffi, most, count = module.ffi, settings.max_people, len(heatmaps)
    order = np.array(settings.joint_order, np.int64)
    joints = np.empty((most, count, 2), np.float32)
    score, person_score = np.empty((most, count), np.float32), np.empty(most, np.float32)
    inputs = (ffi.from_buffer("float[]", array) for array in (heatmaps, tags))
    outputs = (ffi.from_buffer("float[]", array) for array in (joints, score, person_score))
    maps = ffi.new("ae_maps *", [len(tags), *heatmaps.shape, *inputs])
    rules = {
        "order": ffi.from_buffer("int64_t[]", order),
        "people": most,
        "reach": settings.window // 2,
        "threshold": settings.threshold,
        "tag_threshold": settings.tag_threshold,
        "refine": settings.refine,
        "rounded": ROUNDED,
        "nearer": NEARER,
    }
    found = module.lib.ae_group(maps, ffi.new("ae_rules *", rules), *outputs)
    if found < 0:
        raise MemoryError(f"no memory to group {most} people")
    return People(joints[:found].copy(), score[:found].copy(), person_score[:found].copy())


@np.errstate(over="ignore", invalid="ignore")  # what is too far away is infinitely far away
def group_in_numpy(heatmaps: np.ndarray, tags: np.ndarray, settings: Grouping) -> People:
    """`group` without the extension."""
    cells, tag = _assigned(_peaks(heatmaps, tags, settings), settings)
    score = heights(heatmaps, cells)
    person_score = score.cumsum(1, np.float64)[:, -1] / len(heatmaps)  # added in this order, as in C
    if settings.refine:
        for person, joint in np.argwhere(cells < 0).tolist():
            cells[person, joint] = _likeliest_cell(heatmaps[joint], tags[:, joint], tag[person])
        score = heights(heatmaps, cells)
    return People(points(heatmaps, cells), score, person_score.astype(np.float32))


class _Peaks(NamedTuple):
    """Peaks of one joint, the highest first: cell (k,) int64 of the flat map, score (k,), tag (L, k)."""

    cell: np.ndarray
    score: np.ndarray
    tag: np.ndarray


def _peaks(heatmaps: np.ndarray, tags: np.ndarray, settings: Grouping) -> list[_Peaks]:
    """The peaks of each joint; only cells above the threshold are looked at."""
    flat, size = heatmaps.ravel(), heatmaps[0].size
    at = np.flatnonzero(flat > settings.threshold)
    at = _largest_around(heatmaps, at, settings.window // 2)
    tag = tags.reshape(len(tags), -1)[:, at].astype(np.float64)
    usable = np.isfinite(tag).all(0) & np.isfinite(flat[at])
    at, tag = at[usable], tag[:, usable]
    joint, cell = np.divmod(at, size)
    best_first = np.lexsort((-flat[at], joint))  # stable: equals stay in reading order
    parts = np.split(best_first, np.searchsorted(joint, np.arange(1, len(heatmaps))))
    highest = [part[: settings.max_people] for part in parts]
    return [_Peaks(cell[rows], flat[at[rows]], tag[:, rows]) for rows in highest]


def _largest_around(heatmaps: np.ndarray, at: np.ndarray, reach: int) -> np.ndarray:
    """Those of the cells `at` (k,) of the flat maps that no cell within `reach` in both axes exceeds."""
    flat, (height, width) = heatmaps.ravel(), heatmaps.shape[1:]
    steps = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1) if dy or dx]
    y, x = at // width % height, at % width
    for dy, dx in sorted(steps, key=lambda step: abs(step[0]) + abs(step[1])):  # the next ones rule out most
        other = at
        if dy:
            other = other + width * np.clip(dy, -y, height - 1 - y)
        if dx:
            other = other + np.clip(dx, -x, width - 1 - x)
        kept = np.flatnonzero(flat[at] >= flat[other])
        at, y, x = at[kept], y[kept], x[kept]
    return at


def _assigned(peaks: list[_Peaks], settings: Grouping) -> tuple[np.ndarray, np.ndarray]:
    """The people: cells (n, J) int64 of their joints, -1 for none, and the means (n, L) of these' tags."""
    most = settings.max_people
    cells = np.full((most, len(peaks)), -1)
    total, count, people = np.zeros((most, len(peaks[0].tag))), np.zeros(most), 0
    for joint in settings.joint_order:
        cell, score, tag = peaks[joint]
        means = total[:people] / count[:people, None]
        for peak, person in enumerate(_assign(tag, means, score, settings.tag_threshold)):
            if person < 0:
                if people == most:
                    continue
                person, people = people, people + 1
            cells[person, joint] = cell[peak]
            total[person] += tag[:, peak]
            count[person] += 1
    return cells[:people], total[:people] / count[:people, None]


def _assign(tag: np.ndarray, means: np.ndarray, score: np.ndarray, threshold: float) -> list[int]:
    """For each of k peaks the person it goes to, or -1. tag (L, k), means (n, L), score (k,)."""
    from scipy.optimize import linear_sum_assignment  # late: that takes half a second

    distance = _lengths(tag[..., None] - means.T[:, None])
    cost = ROUNDED * np.rint(distance) - score[:, None] + NEARER * np.minimum(distance, threshold)
    persons = np.full(len(score), -1)
    rows, columns = linear_sum_assignment(cost)
    near = distance[rows, columns] < threshold
    persons[rows[near]] = columns[near]
    return persons.tolist()


def _likeliest_cell(heatmap: np.ndarray, tags: np.ndarray, own: np.ndarray) -> int:
    """The flat cell where height - round(distance) is largest, the first of equals; -1 without height there.

    heatmap (h, w), tags (L, h, w), own (L,): the person's tag.
    """
    distance = _lengths(tags - own.astype(np.float32)[:, None, None])
    np.rint(distance, out=distance)
    cell = int(np.subtract(heatmap, distance, out=distance).argmax())
    return cell if heatmap.flat[cell] > 0 else -1


def _lengths(offsets: np.ndarray) -> np.ndarray:
    """The lengths (...) of offsets (L, ...) between tags, which it overwrites."""
    offsets *= offsets
    for square in offsets[1:]:  # added in this order, as in C
        offsets[0] += square
    return np.sqrt(offsets[0], out=offsets[0])
