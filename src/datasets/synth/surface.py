"""The skin: elliptical rings threaded on the bones, of which neighbours are joined to bands of quads.

Every tube runs "down" its bone (-y: from the crown to the crotch, from the shoulder to the finger tips,
from the heel to the toes), so that one winding holds for all: seen from outside, corners go round counter-
clockwise.
"""

from bisect import bisect
from typing import NamedTuple

import numpy as np

from src.datasets.synth.body import BONE, Build, Frames, sided
from src.datasets.synth.rotation import blend, matrix

RING = 12  # vertices of a ring; number 3 is at the front, 9 at the back, 0 at the left
_ANGLES = np.arange(RING) * (2 * np.pi / RING)
RING_COS, RING_SIN = np.cos(_ANGLES), np.sin(_ANGLES)


class Segment(NamedTuple):
    """A bone that a tube runs along, and its neighbours in the tube. reach: over what share of the bone, at
    its beginning and at its end, rings turn from one bone's frame into the other's.
    """

    bone: str
    before: str
    after: str
    reach: tuple[float, float]


# A place u along a chain is (number of the segment) + (share of its length).
CHAINS = {
    "trunk": (
        Segment("pelvis", "pelvis", "abdomen", (0.1, 0.5)),
        Segment("abdomen", "pelvis", "chest", (0.5, 0.5)),
        Segment("chest", "abdomen", "neck", (0.5, 0.14)),
        Segment("neck", "chest", "head", (0.14, 0.5)),
    ),
    "arm": (
        Segment("upper arm", "chest", "forearm", (0.35, 0.16)),
        Segment("forearm", "upper arm", "hand", (0.16, 0.5)),
    ),
    "leg": (
        Segment("thigh", "pelvis", "shank", (0.22, 0.18)),
        Segment("shank", "thigh", "foot", (0.18, 0.12)),
    ),
}
_TUBES = ("trunk", "left arm", "right arm", "left leg", "right leg")
_TUBE_SEGMENTS = [(tube, segment) for tube in _TUBES for segment in CHAINS[tube.split()[-1]]]
_FIRST_SEGMENT = {tube: [name for name, _ in _TUBE_SEGMENTS].index(tube) for tube in _TUBES}


def _bone_numbers(column: int) -> np.ndarray:
    """The bone, or its neighbour before or after, of every segment of every tube."""
    return np.array([BONE[sided(tube.split()[0], segment[:3][column])] for tube, segment in _TUBE_SEGMENTS])


_OWN, _BEFORE, _AFTER = (_bone_numbers(column) for column in range(3))
_REACH_BEFORE, _REACH_AFTER = np.array([segment.reach for _, segment in _TUBE_SEGMENTS]).T
_OUTWARD = np.array([-1.0 if tube.startswith("right") else 1.0 for tube, _ in _TUBE_SEGMENTS])


def _segment_lengths(build: Build) -> np.ndarray:
    """Metres along +y of each segment's bone; those of the limbs run along -y."""
    arm, leg = (-build.upper_arm, -build.forearm), (-build.thigh, -build.shank)
    trunk = (0.1 * build.trunk, 0.14 * build.trunk, 0.255 * build.trunk, 0.07 * build.trunk)
    return np.array([*trunk, *arm, *arm, *leg, *leg])


def _profile(*rows: tuple[float, ...]) -> np.ndarray:
    """What a tube looks like before anybody wears it: (n, 9), a row a ring, lengths in metres.

    place: u along the chain. rise: against the run of the tube, in the blended frame (round ends). width and
    depth are half axes; forward and outward shift the centre. fat, muscle (logarithmic) and female (relative)
    say how the half axes follow the build.
    """
    return np.array(rows, np.float64)


PLACE, RISE, WIDTH = 0, 1, 2  # columns of a profile
_HEM = 0.004  # half of what lies between the two rings at a hem


#    place rise  width  depth  forward outward fat muscle female
TRUNK = _profile(
    (3.95, 0, 0.050, 0.054, 0.004, 0, 0.5, 0.5, -0.12),
    (3.50, 0, 0.051, 0.055, 0.002, 0, 0.5, 0.6, -0.12),
    (3.05, 0, 0.058, 0.058, -0.004, 0, 0.5, 0.7, -0.10),
    (2.94, 0, 0.084, 0.066, -0.010, 0, 0.5, 0.9, -0.08),
    (2.88, 0, 0.134, 0.074, -0.010, 0, 0.5, 0.7, -0.05),
    (2.80, 0, 0.170, 0.090, -0.006, 0, 0.5, 0.5, -0.03),
    (2.67, 0, 0.164, 0.103, 0.000, 0, 0.6, 0.5, -0.05),
    (2.48, 0, 0.159, 0.115, 0.006, 0, 0.7, 0.5, -0.05),
    (2.28, 0, 0.155, 0.114, 0.006, 0, 0.8, 0.4, -0.07),
    (2.08, 0, 0.146, 0.108, 0.004, 0, 1.1, 0.3, -0.09),
    (1.75, 0, 0.138, 0.101, 0.004, 0, 1.5, 0.1, -0.11),
    (1.40, 0, 0.134, 0.097, 0.004, 0, 1.7, 0.0, -0.11),
    (1.02, 0, 0.141, 0.100, 0.000, 0, 1.5, 0.0, -0.06),
    (0.60, 0, 0.156, 0.108, -0.006, 0, 1.2, 0.0, 0.02),
    (0.15, 0, 0.166, 0.112, -0.012, 0, 1.0, 0.1, 0.06),
    (-0.30, 0, 0.162, 0.108, -0.014, 0, 0.9, 0.1, 0.06),
    (-0.65, 0, 0.130, 0.090, -0.008, 0, 0.8, 0.1, 0.04),
    (-0.95, 0, 0.045, 0.045, 0.000, 0, 0.5, 0.0, 0.00),
)
ARM = _profile(
    (0.00, 0.050, 0.010, 0.010, 0.000, -0.010, 0.0, 0.5, -0.06),
    (0.00, 0.037, 0.037, 0.040, 0.000, -0.008, 0.3, 0.8, -0.08),
    (0.00, 0.012, 0.048, 0.053, 0.000, -0.004, 0.5, 1.0, -0.10),
    (0.06, 0, 0.053, 0.058, 0.000, -0.002, 0.6, 1.1, -0.12),
    (0.20, 0, 0.054, 0.058, 0.000, 0.001, 0.7, 1.1, -0.12),
    (0.36, 0, 0.049, 0.053, 0.002, 0.000, 0.8, 1.1, -0.12),
    (0.55, 0, 0.045, 0.050, 0.004, 0.000, 0.8, 1.1, -0.11),
    (0.75, 0, 0.041, 0.044, 0.002, 0.000, 0.7, 0.9, -0.10),
    (0.92, 0, 0.038, 0.039, -0.001, 0.000, 0.5, 0.6, -0.09),
    (1.00, 0, 0.038, 0.038, -0.003, 0.000, 0.5, 0.6, -0.09),
    (1.10, 0, 0.041, 0.039, 0.000, 0.002, 0.5, 0.8, -0.10),
    (1.26, 0, 0.042, 0.038, 0.002, 0.002, 0.5, 0.9, -0.11),
    (1.50, 0, 0.037, 0.033, 0.002, 0.000, 0.5, 0.8, -0.11),
    (1.75, 0, 0.030, 0.026, 0.000, 0.000, 0.4, 0.6, -0.10),
    (2.03, 0, 0.026, 0.019, 0.000, 0.000, 0.3, 0.4, -0.10),
)
LEG = _profile(
    (0.00, 0.058, 0.060, 0.072, -0.018, -0.010, 0.6, 0.3, 0.03),
    (0.00, 0.020, 0.084, 0.099, -0.021, -0.004, 0.9, 0.5, 0.05),
    (0.08, 0, 0.088, 0.105, -0.021, 0.000, 1.0, 0.6, 0.06),
    (0.20, 0, 0.087, 0.097, -0.010, 0.000, 1.0, 0.7, 0.06),
    (0.38, 0, 0.081, 0.087, 0.003, 0.000, 1.0, 0.8, 0.04),
    (0.58, 0, 0.070, 0.075, 0.007, 0.000, 0.9, 0.8, 0.02),
    (0.78, 0, 0.059, 0.064, 0.005, 0.000, 0.7, 0.7, 0.00),
    (0.93, 0, 0.053, 0.058, 0.004, 0.000, 0.5, 0.4, -0.02),
    (1.00, 0, 0.052, 0.058, 0.006, 0.000, 0.5, 0.3, -0.03),
    (1.10, 0, 0.050, 0.055, -0.002, 0.000, 0.5, 0.4, -0.03),
    (1.26, 0, 0.054, 0.061, -0.013, 0.002, 0.6, 0.8, -0.02),
    (1.42, 0, 0.053, 0.059, -0.015, 0.002, 0.6, 0.8, -0.03),
    (1.62, 0, 0.044, 0.048, -0.010, 0.000, 0.5, 0.6, -0.05),
    (1.82, 0, 0.036, 0.039, -0.004, 0.000, 0.4, 0.3, -0.07),
    (1.95, 0, 0.034, 0.040, 0.000, 0.000, 0.3, 0.2, -0.07),
    (2.05, 0, 0.033, 0.043, 0.002, 0.000, 0.3, 0.2, -0.07),
)

# Tubes on one bone: metres down the bone, half width, half depth, shift forward, shift outward.
HEAD = np.array(
    [
        (-0.216, 0.004, 0.004, -0.010, 0), (-0.206, 0.034, 0.045, -0.008, 0),
        (-0.181, 0.057, 0.076, -0.006, 0), (-0.146, 0.070, 0.093, -0.003, 0),
        (-0.112, 0.074, 0.099, 0.000, 0), (-0.080, 0.072, 0.096, 0.003, 0),
        (-0.046, 0.067, 0.089, 0.010, 0), (-0.015, 0.059, 0.078, 0.019, 0),
        (0.011, 0.049, 0.062, 0.029, 0), (0.029, 0.035, 0.042, 0.041, 0), (0.040, 0.012, 0.014, 0.050, 0),
    ]
)  # fmt: skip
HAND = np.array(
    [
        (0.000, 0.026, 0.019, 0, 0), (0.050, 0.040, 0.018, 0.001, 0), (0.090, 0.041, 0.015, 0.001, 0),
        (0.135, 0.036, 0.012, 0.001, -0.001), (0.168, 0.025, 0.010, 0, -0.003),
        (0.184, 0.002, 0.002, 0, -0.004),
    ]
)  # fmt: skip
THUMB = np.array(
    [(0.018, 0.013, 0.013, 0.004, 0.024), (0.060, 0.014, 0.012, 0.008, 0.046),
     (0.092, 0.002, 0.002, 0.010, 0.054)]
)  # fmt: skip
FOOT = np.array(
    [
        (-0.076, 0.003, 0.004, -0.050, 0), (-0.062, 0.028, 0.032, -0.047, 0),
        (-0.022, 0.034, 0.044, -0.036, 0), (0.030, 0.038, 0.038, -0.042, 0),
        (0.075, 0.043, 0.029, -0.050, 0), (0.120, 0.046, 0.022, -0.057, 0),
    ]
)  # fmt: skip
TOES = np.array(
    [(0.040, 0.042, 0.018, -0.005, 0), (0.068, 0.028, 0.013, -0.009, 0), (0.080, 0.003, 0.003, -0.012, 0)]
)


class Rings(NamedTuple):
    """Rings in the axes of the body: centres (n, 3), half axes to the left and forward (n, 3) each."""

    center: np.ndarray
    across: np.ndarray
    ahead: np.ndarray

    def vertices(self, bulge: np.ndarray) -> np.ndarray:
        """(n, RING, 3) metres; bulge (n, RING) are factors on the half axes at each vertex."""
        across = self.across[:, None] * (RING_COS * bulge)[..., None]
        ahead = self.ahead[:, None] * (RING_SIN * bulge)[..., None]
        return self.center[:, None] + across + ahead


def join(parts: list[Rings]) -> Rings:
    """The rings of several tubes in one."""
    return Rings(*(np.concatenate(field) for field in zip(*parts, strict=True)))


def cut(profile: np.ndarray, at: float) -> np.ndarray:
    """The same shape with two of its rings moved to the place of a hem, where cloth can end.

    Places rise or fall monotonically, and still do; round ends, with a rise, keep their rings.
    """
    way = 1.0 if profile[-1, PLACE] > profile[0, PLACE] else -1.0
    along = (way * profile[:, PLACE]).tolist()
    first = int(np.count_nonzero(profile[:, RISE])) + 1
    result = profile.copy()
    before = min(max(bisect(along, way * at), first), len(along) - 1) - 1
    for ring, place in ((before, way * at - _HEM), (before + 1, way * at + _HEM)):
        lower = min(max(bisect(along, place), first), len(along) - 1)
        share = (place - along[lower - 1]) / (along[lower] - along[lower - 1])
        result[ring] = profile[lower - 1] + share * (profile[lower] - profile[lower - 1])
    return result


class Tube(NamedTuple):
    """A tube along a chain: its name (of _TUBES), profile (n, 9), and ease (n,), what cloth adds to the
    half axes as a share of them.
    """

    name: str
    profile: np.ndarray
    ease: np.ndarray


def thread(tubes: list[Tube], frames: Frames, build: Build) -> Rings:
    """The rings of tubes on the bones of a body."""
    rows = np.concatenate([tube.profile for tube in tubes])
    ease = np.concatenate([tube.ease for tube in tubes])
    place, rise, width, depth, forward, outward, fat, muscle, female = rows.T
    counts = [len(tube.ease) for tube in tubes]
    first = np.repeat([_FIRST_SEGMENT[tube.name] for tube in tubes], counts)
    last = np.repeat([len(CHAINS[tube.name.split()[-1]]) - 1 for tube in tubes], counts)
    number = np.clip(np.floor(place).astype(int), 0, last)
    share = place - number
    segment = first + number

    to_before = 0.5 * (1 - share / _REACH_BEFORE[segment])
    to_after = 0.5 * (1 - (1 - share) / _REACH_AFTER[segment])
    other = np.where(to_after > to_before, _AFTER[segment], _BEFORE[segment])
    mixed = np.clip(np.maximum(to_before, to_after), 0, 1)
    bone = _OWN[segment]
    own, neighbour = frames.turns[bone], frames.turns[other]
    axes = matrix(blend(own, neighbour, mixed))

    size = build.stature
    grow = size * np.exp(fat * build.fat + muscle * build.muscle) * (1 + female * build.female) * (1 + ease)
    half_bend = np.abs((own * neighbour).sum(-1))  # cosine of half the angle between the bones
    stretch = 1 / np.maximum(1 - 4 * mixed * (1 - mixed) * (1 - half_bend), 0.62)
    along = (share * _segment_lengths(build)[segment] * size)[:, None] * frames.axes[bone, :, 1]
    shift = np.stack([_OUTWARD[segment] * outward, rise, forward], axis=-1) * size
    center = frames.origins[bone] + along + (axes @ shift[..., None])[..., 0]
    return Rings(
        center, axes[..., 0] * (width * grow)[:, None], axes[..., 2] * (depth * grow * stretch)[:, None]
    )


def on_bones(bones: list[str], rows: list[np.ndarray], sizes: list[float], frames: Frames) -> Rings:
    """Tubes on one bone each, from rows such as those of HEAD times a size."""
    counts = [len(part) for part in rows]
    place = np.repeat([BONE[bone] for bone in bones], counts)
    outwards = np.repeat([-1.0 if bone.startswith("right") else 1.0 for bone in bones], counts)
    down, width, depth, forward, outward = (np.concatenate(rows) * np.repeat(sizes, counts)[:, None]).T
    axes = frames.axes[place]
    shift = np.stack([outwards * outward, -down, forward], axis=-1)
    center = frames.origins[place] + (axes @ shift[..., None])[..., 0]
    return Rings(center, axes[..., 0] * width[:, None], axes[..., 2] * depth[:, None])
