"""The articulated body: bones, proportions, joint limits, forward kinematics, points that labels name.

Lengths are metres, angles degrees. A body stands in axes of its own: x to its left, y up, z forward, the
origin between the hip joints. Bones of the trunk point along +y of their frames, bones of the limbs along
-y; the -y of a foot runs to the toes.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from src.datasets.synth.rotation import IDENTITY, X, Y, Z, matrix, spin

SIDES = ("left", "right")
SIGN = np.array([1.0, -1.0])  # of x on the left and on the right
TRUNK_BONES = ("pelvis", "abdomen", "chest", "neck", "head")
LIMB_BONES = ("clavicle", "upper arm", "forearm", "hand", "thigh", "shank", "foot", "toes")
BONES = TRUNK_BONES + tuple(f"{side} {bone}" for bone in LIMB_BONES for side in SIDES)
BONE = {name: place for place, name in enumerate(BONES)}

TRUNK_ANGLES = ("pitch", "roll", "bend", "lean", "twist", "nod", "tilt", "turn")
LIMB_ANGLES = (
    "raise", "swing", "arm twist", "elbow", "pronation", "wrist",
    "flex", "spread", "thigh twist", "knee", "point", "toe out",
)  # fmt: skip

# What joints allow. "raise" lifts the arm from hanging to overhead in the plane that "swing" turns from the
# side (0) to the front (90) or back; "flex" lifts the thigh forward; "point" stretches the foot.
LIMB_LIMITS = np.array(
    [
        (0, 178), (-75, 135), (-90, 80), (0, 148), (0, 165), (-50, 65),
        (-30, 130), (-18, 75), (-40, 45), (0, 148), (-22, 55), (-8, 35),
    ],
    float,
)  # fmt: skip
SPINE_LIMITS = np.array([(-40, 70), (-32, 32), (-48, 48), (-45, 45), (-28, 28), (-68, 68)], float)


class Pose(NamedTuple):
    """Angles in degrees: trunk (..., 8) as TRUNK_ANGLES, limbs (..., 2, 12) left and right as LIMB_ANGLES."""

    trunk: np.ndarray
    limbs: np.ndarray

    def within_limits(self) -> "Pose":
        """The nearest pose that joints allow; how the body lies in space (pitch, roll) is free."""
        trunk = self.trunk.copy()
        trunk[..., 2:] = np.clip(trunk[..., 2:], SPINE_LIMITS[:, 0], SPINE_LIMITS[:, 1])
        return Pose(trunk, np.clip(self.limbs, LIMB_LIMITS[:, 0], LIMB_LIMITS[:, 1]))

    def mirrored(self) -> "Pose":
        """The pose in a mirror: left and right change places."""
        return Pose(self.trunk * (1, -1, 1, -1, -1, 1, -1, -1), self.limbs[..., ::-1, :])


@dataclass(frozen=True)
class Build:
    """Proportions of one body. Lengths in metres; fat and muscle are logarithms around 0, female and child
    run from 0 to 1; stature multiplies everything.
    """

    thigh: float
    shank: float
    upper_arm: float
    forearm: float
    trunk: float
    shoulder: float
    hip: float
    head: float
    hand: float
    foot: float
    fat: float
    muscle: float
    female: float
    child: float
    age: float
    stature: float


def sample_build(rng: np.random.Generator) -> Build:
    """A body at random: one in six a child; lengths vary by 4 to 6 % around the adult's, lognormally."""
    vary = np.exp(0.045 * rng.normal(size=10))
    fat, muscle = rng.normal(size=2)
    gender, child_draw, child_age, age = rng.random(4)
    child = 0.25 + 0.75 * child_age if child_draw < 1 / 6 else 0.0
    female = min(max((gender - 0.5) * 4 + 0.5, 0.0), 1.0) * (1 - child)
    narrow = 1 - 0.06 * child
    return Build(
        thigh=0.428 * vary[0] * (1 - 0.16 * child),
        shank=0.418 * vary[0] * vary[1] ** 0.5 * (1 - 0.14 * child),
        upper_arm=0.298 * vary[2] * (1 - 0.13 * child),
        forearm=0.262 * vary[2] * vary[3] ** 0.5 * (1 - 0.12 * child),
        trunk=vary[4] * (1 - 0.03 * child),
        shoulder=(0.185 - 0.019 * female) * vary[5] * (1 - 0.16 * child),
        hip=(0.094 + 0.008 * female) * vary[6] * narrow,
        head=(1 - 0.03 * female) * (1 + 0.18 * child) * (1 + 0.5 * (vary[7] - 1)),
        hand=(1 - 0.06 * female) * vary[8] * (1 - 0.1 * child),
        foot=(1 - 0.06 * female) * vary[9] * (1 - 0.08 * child),
        fat=0.13 * fat + 0.05 * age - 0.02,
        muscle=0.09 * muscle - 0.06 * child - 0.05 * female,
        female=female,
        child=child,
        age=age * (1 - child),
        stature=(1 - 0.07 * female) * (1 - 0.4 * child),
    )


class Frames(NamedTuple):
    """Where bones begin, origins (..., B, 3) in metres, and how they lie, as quaternions (..., B, 4) and as
    matrices with the axes of each bone in their columns (..., B, 3, 3).
    """

    origins: np.ndarray
    turns: np.ndarray
    axes: np.ndarray


NECK_LEAN = 12.0  # the neck leans forward by this, and the head makes up for it
CLAVICLE_LIFT = 24.0  # the collar-bone of an arm that points straight up
RAISE_WITHOUT_CLAVICLE = 50.0

_PARENTS = {
    "pelvis": "pelvis", "abdomen": "pelvis", "chest": "abdomen", "neck": "chest", "head": "neck",
    "clavicle": "chest", "upper arm": "clavicle", "forearm": "upper arm", "hand": "forearm",
    "thigh": "pelvis", "shank": "thigh", "foot": "shank", "toes": "foot",
}  # fmt: skip


def sided(side: str, bone: str) -> str:
    """The full name of a bone on a side; bones of the trunk have none."""
    return bone if bone in TRUNK_BONES else f"{side} {bone}"


_PARENT = np.array(
    [BONE[_PARENTS[bone]] for bone in TRUNK_BONES]
    + [BONE[sided(side, _PARENTS[bone])] for bone in LIMB_BONES for side in SIDES]
)


def pose_frames(pose: Pose, build: Build) -> Frames:
    """Forward kinematics: the frames of all bones for a pose or a batch of poses (...)."""
    turns = np.concatenate([_trunk_turns(pose.trunk), np.empty((*pose.trunk.shape[:-1], 16, 4))], axis=-2)
    _turn_limbs(pose.limbs, turns)
    return turned_frames(turns, build)


def turned_frames(turns: np.ndarray, build: Build) -> Frames:
    """The frames of all bones that lie as turns (..., B, 4) say, each where its parent ends."""
    axes = matrix(turns)
    steps = (axes[..., _PARENT, :, :] @ _offsets(build)[:, :, None])[..., 0]
    origins = np.zeros_like(steps)
    for bone in range(1, len(BONES)):
        origins[..., bone, :] = origins[..., _PARENT[bone], :] + steps[..., bone, :]
    return Frames(origins, turns, axes)


def _trunk_turns(angles: np.ndarray) -> np.ndarray:
    """The turns of TRUNK_BONES, (..., 5, 4)."""
    pitch, roll, bend, lean, twist, nod, tilt, look = np.moveaxis(angles, -1, 0)
    pelvis = spin(spin(IDENTITY, X, pitch), Z, roll)
    abdomen = spin(spin(spin(pelvis, X, bend / 2), Z, lean / 2), Y, twist / 2)
    chest = spin(spin(spin(abdomen, X, bend / 2), Z, lean / 2), Y, twist / 2)
    neck = spin(spin(spin(chest, X, nod / 2 + NECK_LEAN), Z, tilt / 2), Y, 0.4 * look)
    head = spin(spin(spin(neck, X, nod / 2 - NECK_LEAN), Z, tilt / 2), Y, 0.6 * look)
    return np.stack([pelvis, abdomen, chest, neck, head], axis=-2)


def _turn_limbs(limbs: np.ndarray, turns: np.ndarray) -> None:
    """Writes the turns of LIMB_BONES on both sides into turns (..., B, 4), behind those of the trunk."""
    angle = dict(zip(LIMB_ANGLES, np.moveaxis(limbs, -1, 0), strict=True))
    pelvis, chest = turns[..., BONE["pelvis"], None, :], turns[..., BONE["chest"], None, :]
    lift = np.maximum(angle["raise"] - RAISE_WITHOUT_CLAVICLE, 0) / (180 - RAISE_WITHOUT_CLAVICLE)
    swing = SIGN * angle["swing"]
    upper_arm = spin(spin(chest, Y, -swing), Z, SIGN * angle["raise"])
    upper_arm = spin(upper_arm, Y, swing + SIGN * angle["arm twist"])
    forearm = spin(upper_arm, X, -angle["elbow"])
    thigh = spin(spin(pelvis, X, -angle["flex"]), Z, SIGN * angle["spread"])
    thigh = spin(thigh, Y, SIGN * angle["thigh twist"])
    shank = spin(thigh, X, angle["knee"])
    foot = spin(spin(shank, Y, SIGN * angle["toe out"]), X, angle["point"] - 90)
    of_bone = {
        "clavicle": spin(chest, Z, SIGN * CLAVICLE_LIFT * lift),
        "upper arm": upper_arm,
        "forearm": forearm,
        "hand": spin(spin(forearm, Y, -SIGN * angle["pronation"]), X, -angle["wrist"]),
        "thigh": thigh,
        "shank": shank,
        "foot": foot,
        "toes": spin(foot, X, -0.7 * np.maximum(angle["point"] - 15, 0)),
    }
    for name, turn in of_bone.items():
        first = BONE[f"left {name}"]
        turns[..., first : first + 2, :] = turn


def _offsets(build: Build) -> np.ndarray:
    """Where each bone begins in the frame of its parent: (B, 3) metres."""
    offsets = np.zeros((len(BONES), 3))
    trunk = build.trunk
    offsets[1:5] = trunk * _SPINE_STEPS
    for name, outward, along, forward in (
        ("clavicle", 0.02, 0.215 * trunk, 0.0),
        ("upper arm", build.shoulder - 0.02, -0.012, -0.004),
        ("forearm", 0.0, -build.upper_arm, 0.0),
        ("hand", 0.0, -build.forearm, 0.0),
        ("thigh", build.hip, 0.0, 0.0),
        ("shank", 0.0, -build.thigh, 0.0),
        ("foot", 0.0, -build.shank, 0.0),
        ("toes", 0.0, -0.12 * build.foot, -0.055 * build.foot),
    ):
        left = BONE[f"left {name}"]
        offsets[left] = (outward, along, forward)
        offsets[left + 1] = (-outward, along, forward)
    return offsets * build.stature


_SPINE_STEPS = np.array([(0, 0.1, 0), (0, 0.14, 0), (0, 0.255, -0.012), (0, 0.07, 0.006)])


class Landmark(NamedTuple):
    """A point that a label names: an offset in the frame of a bone, in metres; x outwards on sided points.

    depth: a surface that is nearer to the camera than the point by more than this, in metres, hides it.
    """

    bone: str
    offset: tuple[float, float, float]
    depth: float


# The conventions are those of LSP and MPII: hips are labelled outside the joint, wrists a little into the
# hand, and the neck above the line of the shoulders.
_SIDED_LANDMARKS = {
    "ankle": Landmark("foot", (0, 0, 0), 0.085),
    "knee": Landmark("shank", (0, 0, 0.008), 0.105),
    "hip": Landmark("pelvis", (0.122, 0.004, 0.0), 0.17),
    "wrist": Landmark("hand", (0, -0.015, 0), 0.075),
    "elbow": Landmark("forearm", (0, 0, 0), 0.085),
    "shoulder": Landmark("upper arm", (0, 0, 0), 0.12),
    "eye": Landmark("head", (0.032, 0.092, 0.088), 0.035),
    "ear": Landmark("head", (0.077, 0.078, -0.004), 0.03),
}
LANDMARKS = {
    "pelvis": Landmark("pelvis", (0, 0, 0), 0.2),
    "thorax": Landmark("chest", (0, 0.215, 0.0), 0.15),
    "neck": Landmark("neck", (0, 0.03, 0.008), 0.12),
    "head": Landmark("head", (0, 0.09, 0.02), 0.16),
    "head top": Landmark("head", (0, 0.215, -0.004), 0.12),
    "nose": Landmark("head", (0, 0.052, 0.118), 0.03),
} | {
    f"{side} {name}": point._replace(
        bone=sided(side, point.bone),
        offset=(sign * point.offset[0], point.offset[1], point.offset[2]),
    )
    for side, sign in zip(SIDES, (1, -1), strict=True)
    for name, point in _SIDED_LANDMARKS.items()
}
LANDMARK_NAMES = tuple(LANDMARKS)
LANDMARK_DEPTHS = np.array([point.depth for point in LANDMARKS.values()])
_LANDMARK_BONES = np.array([BONE[point.bone] for point in LANDMARKS.values()])
_LANDMARK_OFFSETS = np.array([point.offset for point in LANDMARKS.values()])
_ON_HEAD = _LANDMARK_BONES == BONE["head"]


def landmarks(frames: Frames, build: Build) -> np.ndarray:
    """The points of LANDMARK_NAMES in the axes of the body: (..., K, 3) metres."""
    size = np.where(_ON_HEAD, build.head, 1.0)[:, None] * build.stature
    offsets = frames.axes[..., _LANDMARK_BONES, :, :] @ (_LANDMARK_OFFSETS * size)[:, :, None]
    return frames.origins[..., _LANDMARK_BONES, :] + offsets[..., 0]
