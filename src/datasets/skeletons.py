"""The skeletons of the data sets, as data: joints, their mirror, their limbs, and what metrics ask of them.

Left and right are the person's own, except in FLIC, whose annotations are the observer's.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from src.errors import UserError, suggest

# Parts of a body from the one that networks find best to the one that they find worst.
EASE = (
    "head", "nose", "eye", "ear", "neck", "thorax", "shoulder", "pelvis", "hip",
    "elbow", "wrist", "knee", "ankle",
)  # fmt: skip


@dataclass(frozen=True)
class Skeleton:
    """The joints of one data set.

    joints: names, in the order of the data set; the index of a joint everywhere else is its place here.
    flip_pairs: joints that change places in a mirrored picture.
    limbs: pairs of joints that drawings connect.
    groups: rows of result tables, e.g. "Knee" -> both knees; a joint in no group still counts in a mean.
    accuracy_joints: joints whose mean is the accuracy shown in training.
    mean_joints: joints in the "Mean" of PCK and PCKh tables.
    sigmas: constants of object keypoint similarity (COCO), one a joint; the k of the formula is 2 sigma.
    torso: the two joints whose distance PCK is normalised with.
    """

    name: str
    joints: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    limbs: tuple[tuple[int, int], ...]
    groups: dict[str, tuple[int, ...]]
    accuracy_joints: tuple[int, ...]
    mean_joints: tuple[int, ...]
    sigmas: tuple[float, ...]
    torso: tuple[int, int]

    def __post_init__(self) -> None:
        for what, used in self._references():
            if any(not 0 <= joint < self.num_joints for joint in used):
                raise UserError(f"skeleton {self.name}: {what} names a joint outside 0…{self.num_joints - 1}")
        if len(set(self.joints)) != self.num_joints:
            raise UserError(f"skeleton {self.name}: a joint name occurs twice")
        mirrored = [joint for pair in self.flip_pairs for joint in pair]
        if len(set(mirrored)) != len(mirrored):
            raise UserError(f"skeleton {self.name}: a joint is in two flip pairs")
        if len(self.sigmas) != self.num_joints:
            raise UserError(f"skeleton {self.name}: {len(self.sigmas)} sigmas for {self.num_joints} joints")

    def _references(self) -> list[tuple[str, list[int]]]:
        return [
            ("flip_pairs", [joint for pair in self.flip_pairs for joint in pair]),
            ("limbs", [joint for limb in self.limbs for joint in limb]),
            ("groups", [joint for group in self.groups.values() for joint in group]),
            ("accuracy_joints", list(self.accuracy_joints)),
            ("mean_joints", list(self.mean_joints)),
            ("torso", list(self.torso)),
        ]

    @property
    def num_joints(self) -> int:
        return len(self.joints)

    @property
    def flip_order(self) -> list[int]:
        """Permutation that gives a mirrored picture's joints their names back; its own inverse."""
        order = list(range(self.num_joints))
        for a, b in self.flip_pairs:
            order[a], order[b] = b, a
        return order

    @property
    def order_of_ease(self) -> list[int]:
        """All joints, those that are found easily first (see EASE); joints of other parts of a body last."""

        def rank(joint: int) -> int:
            words = self.joints[joint].split()
            return next((i for i, part in enumerate(EASE) if part in words), len(EASE))

        return sorted(range(self.num_joints), key=rank)

    @property
    def bones(self) -> list[tuple[int, int]]:
        """Joints with a rigid part of the body between them, in pairs: the limbs, unless BONES has others."""
        return list(BONES.get(self.name, self.limbs))

    @property
    def parts(self) -> list[list[int]]:
        """Every bone with the next one that meets it at a joint, if there is one left: places in `bones`.

        For MPII and LSP they are those of the compositional model (Tang et al., ECCV 2018): legs, arms, head.
        """
        left, parts = list(range(len(self.bones))), []
        while left:
            first = left.pop(0)
            ends = set(self.bones[first])
            beside = [bone for bone in left if ends & set(self.bones[bone])][:1]
            left = [bone for bone in left if bone not in beside]
            parts.append([first, *beside])
        return parts

    def index(self, joint: str) -> int:
        """The place of a joint by name; UserError if the skeleton lacks it."""
        if joint not in self.joints:
            raise UserError(f"skeleton {self.name} has no joint {joint!r}{suggest(joint, self.joints)}")
        return self.joints.index(joint)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, strings and numbers, as stored in a checkpoint or in JSON."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Skeleton":
        """The skeleton that `to_dict` stored."""
        missing = [field.name for field in fields(cls) if field.name not in stored]
        if missing:
            raise UserError(f"a stored skeleton lacks {', '.join(missing)}")
        groups = {name: tuple(joints) for name, joints in stored["groups"].items()}
        return cls(
            name=stored["name"],
            joints=tuple(stored["joints"]),
            flip_pairs=tuple((int(a), int(b)) for a, b in stored["flip_pairs"]),
            limbs=tuple((int(a), int(b)) for a, b in stored["limbs"]),
            groups=groups,
            accuracy_joints=tuple(stored["accuracy_joints"]),
            mean_joints=tuple(stored["mean_joints"]),
            sigmas=tuple(stored["sigmas"]),
            torso=(int(stored["torso"][0]), int(stored["torso"][1])),
        )


def joint_map(source: Skeleton, target: Skeleton) -> np.ndarray:
    """For each joint of `target` its place in `source` by name, or -1: (target joints,) int64."""
    return np.array([source.joints.index(j) if j in source.joints else -1 for j in target.joints], np.int64)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


# OKS constants are COCO's; joints that COCO lacks take the constant of the nearest joint that it has.
_HEAD, _SHOULDER, _ELBOW, _WRIST, _HIP, _KNEE, _ANKLE = 0.035, 0.079, 0.072, 0.062, 0.107, 0.087, 0.089

MPII = Skeleton(
    name="mpii",
    joints=(
        "right ankle", "right knee", "right hip", "left hip", "left knee", "left ankle",
        "pelvis", "thorax", "neck", "head top",
        "right wrist", "right elbow", "right shoulder", "left shoulder", "left elbow", "left wrist",
    ),
    flip_pairs=((0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)),
    limbs=(
        (0, 1), (1, 2), (2, 6), (3, 6), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9),
        (7, 12), (10, 11), (11, 12), (7, 13), (13, 14), (14, 15),
    ),
    groups={
        "Head": (9,), "Shoulder": (12, 13), "Elbow": (11, 14), "Wrist": (10, 15),
        "Hip": (2, 3), "Knee": (1, 4), "Ankle": (0, 5),
    },
    accuracy_joints=(0, 1, 2, 3, 4, 5, 10, 11, 14, 15),
    mean_joints=(0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15),
    sigmas=(
        _ANKLE, _KNEE, _HIP, _HIP, _KNEE, _ANKLE, _HIP, _SHOULDER, _SHOULDER, _HEAD,
        _WRIST, _ELBOW, _SHOULDER, _SHOULDER, _ELBOW, _WRIST,
    ),
    torso=(13, 2),
)  # fmt: skip

LSP = Skeleton(
    name="lsp",
    joints=(
        "right ankle", "right knee", "right hip", "left hip", "left knee", "left ankle",
        "right wrist", "right elbow", "right shoulder", "left shoulder", "left elbow", "left wrist",
        "neck", "head top",
    ),
    flip_pairs=((0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9)),
    limbs=(
        (0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 12), (9, 12), (9, 10), (10, 11),
        (12, 13), (2, 8), (3, 9),
    ),
    groups={
        "Head": (12, 13), "Shoulder": (8, 9), "Elbow": (7, 10), "Wrist": (6, 11),
        "Hip": (2, 3), "Knee": (1, 4), "Ankle": (0, 5),
    },
    accuracy_joints=(0, 1, 2, 3, 4, 5, 6, 7, 10, 11),
    mean_joints=tuple(range(14)),
    sigmas=(
        _ANKLE, _KNEE, _HIP, _HIP, _KNEE, _ANKLE, _WRIST, _ELBOW, _SHOULDER, _SHOULDER, _ELBOW, _WRIST,
        _SHOULDER, _HEAD,
    ),
    torso=(9, 2),
)  # fmt: skip

COCO = Skeleton(
    name="coco",
    joints=(
        "nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder",
        "left elbow", "right elbow", "left wrist", "right wrist", "left hip", "right hip",
        "left knee", "right knee", "left ankle", "right ankle",
    ),
    flip_pairs=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
    limbs=(
        (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8),
        (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
    ),
    groups={
        "Head": (0, 1, 2, 3, 4), "Shoulder": (5, 6), "Elbow": (7, 8), "Wrist": (9, 10),
        "Hip": (11, 12), "Knee": (13, 14), "Ankle": (15, 16),
    },
    accuracy_joints=(7, 8, 9, 10, 11, 12, 13, 14, 15, 16),
    mean_joints=tuple(range(17)),
    sigmas=(
        0.026, 0.025, 0.025, 0.035, 0.035, _SHOULDER, _SHOULDER, _ELBOW, _ELBOW, _WRIST, _WRIST,
        _HIP, _HIP, _KNEE, _KNEE, _ANKLE, _ANKLE,
    ),
    torso=(5, 12),
)  # fmt: skip

FLIC = Skeleton(
    name="flic",
    joints=(
        "left shoulder", "left elbow", "left wrist", "right shoulder", "right elbow", "right wrist",
        "left hip", "right hip", "left eye", "right eye", "nose",
    ),
    flip_pairs=((0, 3), (1, 4), (2, 5), (6, 7), (8, 9)),
    limbs=((0, 1), (1, 2), (3, 4), (4, 5), (0, 3), (0, 6), (3, 7), (6, 7), (8, 10), (9, 10)),
    groups={
        "Head": (8, 9, 10), "Shoulder": (0, 3), "Elbow": (1, 4), "Wrist": (2, 5), "Hip": (6, 7),
    },
    accuracy_joints=(1, 2, 4, 5, 6, 7),
    mean_joints=tuple(range(11)),
    sigmas=(_SHOULDER, _ELBOW, _WRIST, _SHOULDER, _ELBOW, _WRIST, _HIP, _HIP, 0.025, 0.025, 0.026),
    torso=(3, 6),
)  # fmt: skip

PENN = Skeleton(
    name="penn",
    joints=(
        "head", "right shoulder", "left shoulder", "right elbow", "left elbow", "right wrist", "left wrist",
        "right hip", "left hip", "right knee", "left knee", "right ankle", "left ankle",
    ),
    flip_pairs=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12)),
    limbs=(
        (0, 1), (0, 2), (1, 2), (1, 3), (3, 5), (2, 4), (4, 6), (1, 7), (2, 8), (7, 8),
        (7, 9), (9, 11), (8, 10), (10, 12),
    ),
    groups={
        "Head": (0,), "Shoulder": (1, 2), "Elbow": (3, 4), "Wrist": (5, 6),
        "Hip": (7, 8), "Knee": (9, 10), "Ankle": (11, 12),
    },
    accuracy_joints=(3, 4, 5, 6, 7, 8, 9, 10, 11, 12),
    mean_joints=tuple(range(13)),
    sigmas=(
        _HEAD, _SHOULDER, _SHOULDER, _ELBOW, _ELBOW, _WRIST, _WRIST,
        _HIP, _HIP, _KNEE, _KNEE, _ANKLE, _ANKLE,
    ),
    torso=(2, 7),
)  # fmt: skip

# The bones of the compositional model: limbs without those that cross the trunk, where nothing is rigid.
BONES: dict[str, tuple[tuple[int, int], ...]] = {
    "mpii": (
        (0, 1), (1, 2), (3, 4), (4, 5), (2, 6), (3, 6), (7, 8), (8, 9),
        (10, 11), (11, 12), (13, 14), (14, 15),
    ),
    "lsp": ((0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (7, 8), (9, 10), (10, 11), (12, 13)),
}  # fmt: skip

SKELETONS: dict[str, Skeleton] = {s.name: s for s in (MPII, LSP, COCO, FLIC, PENN)}


def skeleton(name: str) -> Skeleton:
    """A skeleton by name; UserError, with the nearest name, if there is none."""
    if name not in SKELETONS:
        known = ", ".join(SKELETONS)
        raise UserError(f"there is no skeleton {name!r}{suggest(name, SKELETONS)}; known: {known}")
    return SKELETONS[name]
