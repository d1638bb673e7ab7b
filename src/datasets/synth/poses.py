"""Poses at random: variations of some sixty base poses, and a share of anything that joints allow.

There are three sets of them: "all", of all but the poses that acrobats alone take; "upright", who stand, walk
or run; and "acrobatic", in which people jump, crouch, tumble, lie, and stand on their hands as often as in
pictures of sports and parkour.
"""

from typing import NamedTuple

import numpy as np

from src.datasets.synth.body import (
    BONE,
    LIMB_ANGLES,
    LIMB_LIMITS,
    TRUNK_ANGLES,
    Build,
    Frames,
    Pose,
    pose_frames,
)

ANY_POSE = 0.1  # share of poses drawn uniformly within the limits
FREE_ARM = 0.2  # share of poses with one arm anywhere
CANDIDATES = 6  # poses drawn at once, of which the first without limbs inside the body is taken


class BasePose(NamedTuple):
    """What poses vary around: weight, angles, and how far they vary (a factor, and degrees of the root)."""

    weight: float
    trunk: np.ndarray
    limbs: np.ndarray
    spread: float
    root_spread: tuple[float, float]


_STANDING_LIMB = {
    "raise": 10, "swing": 15, "arm twist": 0, "elbow": 18, "pronation": 80, "wrist": 5,
    "flex": 3, "spread": 4, "thigh twist": 3, "knee": 6, "point": 2, "toe out": 9,
}  # fmt: skip
_LIMB_DEVIATION = np.array([11, 24, 18, 17, 28, 16, 9, 5, 7, 10, 9, 6], float)
_TRUNK_DEVIATION = np.array([0, 0, 8, 6, 10, 11, 7, 22], float)
_TRUNK_DEVIATION_OF_ACROBATS = np.array([0, 0, 8, 6, 10, 20, 9, 22], float)


def limb(**angles: float) -> np.ndarray:
    """Angles of one side, (12,): those of standing but for the given ones (`lift` for "raise")."""
    named = {name.replace("_", " "): value for name, value in angles.items()}
    if "lift" in named:
        named["raise"] = named.pop("lift")
    return np.array([named.get(name, _STANDING_LIMB[name]) for name in LIMB_ANGLES], float)


def base(
    weight: float,
    left: np.ndarray,
    right: np.ndarray | None = None,
    *,
    spread: float = 1.0,
    root_spread: tuple[float, float] = (6, 5),
    **trunk: float,
) -> BasePose:
    """A base pose from the angles of its sides (the right as the left if not given) and of the trunk."""
    angles = np.array([trunk.get(name, 3.0 if name in ("bend", "nod") else 0.0) for name in TRUNK_ANGLES])
    return BasePose(weight, angles, np.stack([left, left if right is None else right]), spread, root_spread)


_UPSIDE = (22, 22)  # how far the root of people in the air or on their hands varies
_ANYHOW = (180, 45)

_UPRIGHT = (
    # standing
    base(9, limb()),
    base(3, limb(lift=40, swing=-15, arm_twist=-65, elbow=95, pronation=40)),
    base(3, limb(lift=40, swing=-15, arm_twist=-65, elbow=95), limb()),
    base(3, limb(lift=35, swing=80, arm_twist=-50, elbow=110)),
    base(3, limb(lift=150, swing=30, elbow=30), limb(lift=15)),
    base(2, limb(lift=160, swing=30, elbow=18)),
    base(2, limb(lift=88, swing=10, elbow=8)),
    base(2, limb(lift=75, swing=85, elbow=15), limb()),
    base(2, limb(lift=70, swing=70, arm_twist=-20, elbow=125), limb()),
    base(2, limb(lift=140, swing=20, arm_twist=-20, elbow=115)),
    base(2, limb(flex=18, knee=35, spread=10), limb(flex=-4, knee=4, spread=6), lean=6),
    # walking and running
    base(6, limb(lift=25, swing=-65, elbow=22, flex=24, knee=10),
         limb(lift=25, swing=85, elbow=25, flex=-17, knee=16, point=10), spread=0.7),
    base(8, limb(lift=45, swing=-70, elbow=85, flex=62, knee=85),
         limb(lift=45, swing=82, elbow=90, flex=-15, knee=35, point=28), pitch=9),
    base(4, limb(lift=45, swing=-70, elbow=85, flex=20, knee=15),
         limb(lift=45, swing=82, elbow=90, flex=-5, knee=100, point=25), pitch=12),
)  # fmt: skip
_SEATED = (  # or on their knees
    base(5, limb(lift=25, swing=65, elbow=60, flex=86, knee=85, spread=8)),
    base(2, limb(lift=25, swing=60, elbow=70, flex=86, knee=30, spread=10)),
    base(2, limb(lift=40, swing=65, elbow=60, flex=100, spread=35, knee=125, thigh_twist=-20)),
    base(3, limb(lift=55, swing=35, elbow=60, flex=2, knee=102),
         limb(lift=35, swing=45, elbow=60, flex=86, knee=90)),
)  # fmt: skip
_BENT = (  # crouching, bending, lunging
    base(5, limb(lift=50, swing=80, elbow=50, flex=108, knee=118, spread=15), pitch=22, bend=32),
    base(3, limb(lift=45, swing=80, elbow=55, flex=70, knee=70, spread=15), pitch=26, bend=20),
    base(4, limb(lift=80, swing=85, elbow=15, flex=78, knee=15), pitch=55, bend=42),
    base(4, limb(lift=75, swing=70, elbow=40, flex=85, knee=82, spread=10),
         limb(lift=55, swing=-15, elbow=40, flex=-18, knee=22, point=20)),
)  # fmt: skip
_JUMPING = (
    base(4, limb(lift=140, swing=40, elbow=25, flex=55, knee=85, spread=12, point=25),
         root_spread=(15, 12)),
    base(3, limb(lift=138, swing=20, elbow=20, flex=10, knee=35, spread=22, point=30),
         limb(lift=130, swing=20, elbow=20, flex=35, knee=55, spread=22, point=30),
         spread=1.3, root_spread=(15, 15)),
    base(3, limb(lift=105, swing=15, elbow=14, flex=78, spread=20, knee=12, point=35),
         limb(lift=105, swing=10, elbow=14, flex=-24, spread=8, knee=18, point=35),
         spread=1.2, root_spread=(12, 12)),
)  # fmt: skip
_PLAYING = (  # kicks, throws, strokes, a punch
    base(3, limb(lift=50, swing=40, elbow=70, flex=88, knee=25, spread=12, point=30),
         limb(lift=50, swing=20, elbow=75, flex=0, knee=14), pitch=-10, spread=1.2),
    base(3, limb(lift=60, swing=20, elbow=70, flex=30, knee=25, spread=68),
         limb(lift=50, swing=20, elbow=80, flex=0, knee=10), roll=-20, spread=1.2),
    base(4, limb(lift=98, swing=-20, arm_twist=-70, elbow=85, flex=28, knee=30, spread=8),
         limb(lift=78, swing=85, elbow=35, flex=-8, knee=20), pitch=6, bend=4, twist=24, spread=1.2),
    base(3, limb(lift=68, swing=85, elbow=55, flex=28, knee=34, spread=14),
         limb(lift=72, swing=98, elbow=75, flex=15, knee=30, spread=18), pitch=14, bend=14, twist=25),
    base(3, limb(lift=68, swing=82, arm_twist=-10, elbow=100, flex=20, knee=22, spread=12),
         limb(lift=60, swing=75, arm_twist=-10, elbow=112, flex=5, knee=20, spread=8)),
    base(3, limb(lift=145, swing=15, elbow=40, flex=20, knee=30),
         limb(lift=60, swing=60, elbow=45, flex=-5, knee=20), lean=10, twist=-15),
    base(3, limb(lift=150, swing=40, elbow=40, flex=66, knee=85, spread=32, thigh_twist=-20),
         limb(lift=140, swing=40, elbow=55, flex=20, knee=30, spread=22), spread=1.2),
)  # fmt: skip
_LYING = (  # or on all fours
    base(3, limb(lift=55, swing=30, elbow=40, flex=12, knee=20), pitch=-88, root_spread=(14, 24),
         spread=1.6),
    base(3, limb(lift=85, swing=30, elbow=60, flex=12, knee=22), pitch=88, nod=-20, root_spread=(14, 24),
         spread=1.5),
    base(3, limb(lift=83, swing=88, elbow=10, flex=5, knee=5, point=-10), pitch=74, nod=-12, spread=0.8),
    base(2, limb(lift=83, swing=88, elbow=25, flex=88, knee=88), pitch=80, nod=-15, spread=0.8),
    base(2, limb(lift=160, swing=60, elbow=12, flex=-22, knee=65),
         pitch=-98, bend=-38, nod=-28, spread=0.8),
)  # fmt: skip
_INVERTED = (  # hand-stands, cartwheels, somersaults
    base(5, limb(lift=168, swing=40, elbow=10, flex=6, knee=12, spread=8, point=35),
         pitch=180, bend=-8, nod=-25, root_spread=_UPSIDE, spread=1.2),
    base(3, limb(lift=164, swing=30, elbow=10, flex=58, knee=22, spread=18, point=30),
         limb(lift=164, swing=30, elbow=10, flex=-20, knee=35, spread=15, point=30),
         pitch=180, bend=-8, nod=-22, root_spread=_UPSIDE, spread=1.3),
    base(3, limb(lift=158, swing=10, elbow=10, flex=10, spread=48, knee=8, point=30),
         roll=100, root_spread=(12, 55),
         spread=1.2),
    base(4, limb(lift=65, swing=75, elbow=65, flex=108, knee=116, spread=12, point=25),
         bend=38, nod=15, root_spread=_ANYHOW, spread=1.3),
    base(3, limb(lift=110, swing=55, elbow=25, flex=30, knee=30, spread=14, point=25),
         root_spread=_ANYHOW, spread=1.7),
)  # fmt: skip
_COMPACT = (  # folded up: vaults, hanging, squatting, climbing, falling forwards
    base(3, limb(lift=80, swing=82, elbow=12, flex=100, knee=105, spread=10, point=20),
         pitch=48, bend=25, nod=-12, root_spread=(18, 12), spread=1.2),
    base(2, limb(lift=60, swing=40, elbow=12, flex=85, knee=85, spread=15, point=20),
         limb(lift=95, swing=30, elbow=50, flex=65, knee=70, spread=10, point=20),
         roll=50, bend=18, root_spread=(25, 20), spread=1.3),
    base(2, limb(lift=165, swing=35, elbow=25, flex=55, knee=80, spread=10, point=25),
         bend=8, nod=10, root_spread=(20, 12), spread=1.3),
    base(7, limb(lift=45, swing=70, elbow=70, flex=112, knee=130, spread=32, thigh_twist=-15),
         pitch=18, bend=30, nod=8, root_spread=(14, 12)),
    base(2, limb(lift=30, swing=50, elbow=50, flex=65, knee=140, spread=12, point=45),
         pitch=5, bend=10, root_spread=(16, 8), spread=1.2),
    base(3, limb(lift=40, swing=70, elbow=60, flex=112, knee=105, spread=18, thigh_twist=-8),
         pitch=-15, bend=32, nod=12, root_spread=(14, 10), spread=1.2),
    base(3, limb(lift=130, swing=55, elbow=60, flex=100, knee=115, spread=18, point=10),
         limb(lift=100, swing=60, elbow=80, flex=60, knee=75, spread=10, point=10),
         pitch=10, root_spread=(20, 18), spread=1.3),
    base(4, limb(lift=50, swing=50, elbow=50, flex=100, knee=100, spread=12),
         limb(lift=50, swing=50, elbow=50, flex=10, knee=80, spread=8, point=30),
         pitch=25, bend=22, nod=5, root_spread=(16, 12), spread=1.3),
    base(6, limb(lift=25, swing=60, elbow=45, flex=12, knee=20, spread=8),
         pitch=12, bend=22, nod=15, root_spread=(14, 10), spread=1.3),
)  # fmt: skip
_TUMBLING = (  # arched, tucked, piked or in the splits, any way up; head down, spinning or rolling
    base(7, limb(lift=125, swing=40, elbow=25, flex=-20, knee=75, spread=15, point=35),
         bend=-32, nod=-35, root_spread=_ANYHOW, spread=1.2),
    base(5, limb(lift=50, swing=78, elbow=75, flex=122, knee=128, spread=10, point=25),
         bend=48, nod=30, root_spread=_ANYHOW),
    base(3, limb(lift=75, swing=88, elbow=12, flex=115, knee=10, spread=10, point=35),
         bend=40, nod=15, root_spread=_ANYHOW, spread=1.2),
    base(4, limb(lift=70, swing=70, elbow=15, flex=95, knee=8, spread=45, point=35),
         bend=25, nod=8, root_spread=(70, 30), spread=1.2),
    base(3, limb(lift=60, swing=50, elbow=50, flex=95, knee=105, spread=15, point=25),
         bend=25, nod=15, root_spread=(60, 35), spread=1.4),
    base(8, limb(lift=105, swing=60, elbow=85, flex=60, knee=70, spread=18, point=25),
         pitch=165, bend=15, nod=25, root_spread=(30, 25), spread=1.5),
    base(3, limb(lift=75, swing=60, elbow=95, flex=35, knee=60, spread=45, point=20),
         limb(lift=75, swing=60, elbow=95, flex=75, knee=90, spread=25, point=20),
         pitch=175, nod=20, root_spread=(30, 30), spread=1.5),
)  # fmt: skip
_KINDS = (_UPRIGHT, _SEATED, _BENT, _JUMPING, _PLAYING, _LYING, _INVERTED, _COMPACT, _TUMBLING)
BASES = tuple(basis for kind in _KINDS for basis in kind)
_FACTORS: dict[str, tuple[float, ...]] = {  # of the weights of each kind
    "all": (1, 1, 1, 1, 1, 1, 1, 0, 0),
    "upright": (1, 0, 0, 0, 0, 0, 0, 0, 0),
    "acrobatic": (0.25, 1, 2.5, 3, 0.75, 1.5, 3.5, 2, 2),
}
POSES = tuple(_FACTORS)
_CUMULATIVE = {
    name: np.cumsum(
        [factor * basis.weight for factor, kind in zip(factors, _KINDS, strict=True) for basis in kind]
    )
    for name, factors in _FACTORS.items()
}


def sample_pose(rng: np.random.Generator, build: Build, among: str = "all") -> Frames:
    """The frames of the bones in a pose at random among POSES, limbs kept out of the body where easy."""
    chosen, anything, free_arm, mirror = rng.random(4)
    cumulative = _CUMULATIVE[among]
    basis = BASES[int(np.searchsorted(cumulative, chosen * cumulative[-1]))]
    deviation = _TRUNK_DEVIATION_OF_ACROBATS if among == "acrobatic" else _TRUNK_DEVIATION
    any_pose = anything < ANY_POSE and among != "upright"
    poses = _any_pose(rng, deviation) if any_pose else _vary(rng, basis, deviation)
    if free_arm < FREE_ARM:
        _free_an_arm(rng, poses)
    poses = poses.within_limits()
    if mirror < 0.5:
        poses = poses.mirrored()
    frames = pose_frames(poses, build)
    best = int(np.argmin(_overlap(frames, build)))  # the first of those without any
    return Frames(*(field[best] for field in frames))


def _vary(rng: np.random.Generator, basis: BasePose, deviation: np.ndarray) -> Pose:
    noise = np.clip(rng.normal(size=(CANDIDATES, 2, len(LIMB_ANGLES))), -2.5, 2.5)
    limbs = basis.limbs + basis.spread * _LIMB_DEVIATION * noise
    trunk = basis.trunk + min(basis.spread, 1.3) * deviation * rng.normal(size=(CANDIDATES, 8))
    trunk[:, :2] += rng.normal(size=2) * basis.root_spread
    return Pose(trunk, limbs)


def _any_pose(rng: np.random.Generator, deviation: np.ndarray) -> Pose:
    low, high = LIMB_LIMITS.T
    limbs = low + (high - low) * rng.beta(1.4, 1.7, (CANDIDATES, 2, len(LIMB_ANGLES)))
    trunk = 1.5 * deviation * rng.normal(size=(CANDIDATES, 8))
    trunk[:, :2] += rng.normal(size=2) * (30, 25)
    return Pose(trunk, limbs)


def _free_an_arm(rng: np.random.Generator, poses: Pose) -> None:
    """Puts one arm anywhere, in place."""
    low, high = LIMB_LIMITS[:6].T
    poses.limbs[:, rng.integers(2), :6] = low + (high - low) * rng.random((CANDIDATES, 6))


_ARM_POINTS = np.array([0.5, 1.0, 1.6])  # along the forearm: its middle, the wrist, the finger tips
_TRUNK_RADIUS, _LEG_RADIUS, _HEAD_RADIUS = 0.15, 0.11, 0.13  # metres that limbs keep from axes
_FOREARMS = [BONE["left forearm"], BONE["right forearm"]]
_LEFT_LEG = [BONE["left shank"], BONE["left foot"]]
_RIGHT_LEG = [BONE["right shank"], BONE["right foot"]]


def _overlap(frames: Frames, build: Build) -> np.ndarray:
    """How deep arms lie in trunk and head, and legs in each other, in metres; 0 for a pose in the clear:
    (K,).
    """
    origins, size = frames.origins, build.stature
    along = -size * build.forearm * _ARM_POINTS[:, None]
    arms = origins[:, _FOREARMS, None] + frames.axes[:, _FOREARMS][:, :, None, :, 1] * along
    low, high = origins[:, None, None, BONE["pelvis"]], origins[:, None, None, BONE["neck"]]
    axis = high - low
    share = np.clip(((arms - low) * axis).sum(-1) / (axis * axis).sum(-1), 0, 1)
    from_trunk = _length(arms - low - share[..., None] * axis)
    from_head = _length(arms - origins[:, None, None, BONE["head"]])
    legs_apart = _length(origins[:, _LEFT_LEG] - origins[:, _RIGHT_LEG])
    return (
        np.maximum(_TRUNK_RADIUS * size - from_trunk, 0).sum((1, 2))
        + np.maximum(_HEAD_RADIUS * size - from_head, 0).sum((1, 2))
        + np.maximum(_LEG_RADIUS * size - legs_apart, 0).sum(1)
    )


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt((vectors * vectors).sum(-1))
