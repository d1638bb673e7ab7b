"""Hair, hats and faces."""

import numpy as np

from src.datasets.synth.body import BONE, SIDES, Build, Frames
from src.datasets.synth.clothes import Material, Outfit
from src.datasets.synth.rotation import blend, matrix
from src.datasets.synth.surface import HEAD, RING_SIN, Rings

_HEIGHT = -HEAD[:, 0]  # of the rings of the head over its origin, metres
_HAIR_THICKNESS = {  # over the radius of the head
    "short": 0.07, "crop": 0.02, "bald": 0.0, "long": 0.1, "tail": 0.05, "bun": 0.05, "afro": 0.42,
    "bob": 0.15,
}  # fmt: skip
_HAT_THICKNESS = {"cap": 0.08, "beanie": 0.09, "helmet": 0.2}
_BETWEEN = (RING_SIN + np.roll(RING_SIN, -1)) / 2  # how far to the front the quads of a ring are, -1 to 1


def _hairline(outfit: Outfit) -> np.ndarray:
    """The height from which on hair or a hat covers the head, at each vertex of a ring: (RING,) metres."""
    nape, ear, front = 0.0, 0.07, 0.152
    if outfit.hat == "helmet":
        nape, ear, front = 0.0, 0.03, 0.135
    elif outfit.hat in _HAT_THICKNESS:
        nape, ear, front = 0.03, 0.075, 0.132
    elif outfit.hair == "bald":
        nape, ear, front = 0.3, 0.3, 0.3
    elif outfit.hair in ("long", "bob", "afro"):
        nape, ear = -0.02, 0.03
    return np.interp(RING_SIN, (-1, -0.4, 0.1, 0.6, 1), (nape, nape, ear, front - 0.005, front))


def head_bulge(rng: np.random.Generator, outfit: Outfit) -> np.ndarray:
    """What hair or a hat adds to the head, as factors (n, RING) on its radius."""
    covered = _HEIGHT[:, None] > _hairline(outfit)
    thickness = _HAT_THICKNESS.get(outfit.hat, _HAIR_THICKNESS[outfit.hair])
    rough = 0.0 if outfit.hat in _HAT_THICKNESS else 0.35
    return 1 + thickness * covered * (1 + rough * rng.standard_normal(covered.shape))


def head_materials(outfit: Outfit) -> np.ndarray:
    """The material of each quad of the head: (n - 1, RING)."""
    height = (_HEIGHT[:-1, None] + _HEIGHT[1:, None]) / 2
    line = _hairline(outfit)
    above = height > (line + np.roll(line, -1)) / 2
    has_hat = outfit.hat in _HAT_THICKNESS
    materials = np.where(above, Material.HAT if has_hat else Material.HAIR, Material.SKIN)
    if has_hat and outfit.hair != "bald":
        materials[~above & (_BETWEEN < 0.0) & (height > 0.0)] = Material.HAIR
    if outfit.beard:
        materials[(np.abs(height + 0.005) < 0.04) & (_BETWEEN > -0.1)] = Material.HAIR
    if outfit.hat == "headband":
        materials[np.abs(height[:, 0] - 0.13) < 0.02] = Material.HAT
    return materials


# Rings of hair that leaves the head: height over the origin of the head, half width, half depth,
# place forward.
_LOOSE_HAIR = {
    "long": [(0.13, 0.055, 0.03, -0.055), (0.06, 0.082, 0.04, -0.06), (-0.02, 0.085, 0.042, -0.062),
             (-0.11, 0.078, 0.034, -0.07), (-0.2, 0.05, 0.016, -0.075)],
    "bob": [(0.13, 0.06, 0.04, -0.04), (0.06, 0.086, 0.055, -0.045), (0.0, 0.088, 0.055, -0.042),
            (-0.035, 0.07, 0.04, -0.04)],
    "tail": [(0.155, 0.015, 0.015, -0.09), (0.15, 0.026, 0.022, -0.118), (0.08, 0.032, 0.025, -0.135),
             (-0.06, 0.022, 0.018, -0.13), (-0.1, 0.004, 0.004, -0.125)],
    "bun": [(0.2, 0.004, 0.004, -0.1), (0.19, 0.032, 0.03, -0.1), (0.165, 0.04, 0.038, -0.105),
            (0.14, 0.032, 0.03, -0.1), (0.128, 0.004, 0.004, -0.1)],
}  # fmt: skip


def loose_hair(rng: np.random.Generator, build: Build, outfit: Outfit, frames: Frames) -> Rings | None:
    """Long hair, a tail, a bun; what is below the head hangs half from the chest. None for short hair."""
    if outfit.hair not in _LOOSE_HAIR:
        return None
    height, width, depth, forward = np.array(_LOOSE_HAIR[outfit.hair]).T * build.head * build.stature
    height = np.where(height < 0, height * rng.uniform(0.5, 1.4), height)
    hang = np.clip(-height / 0.2, 0, 1) * 0.7
    head, chest = frames.turns[BONE["head"]], frames.turns[BONE["chest"]]
    axes = matrix(blend(np.tile(head, (len(height), 1)), np.tile(chest, (len(height), 1)), hang))
    shift = np.stack([np.zeros(len(height)), height, forward], axis=1)
    center = frames.origins[BONE["head"]] + (axes @ shift[..., None])[..., 0]
    return Rings(center, axes[..., 0] * width[:, None], axes[..., 2] * depth[:, None])


# Parts of the face, (x, y, z) metres in the frame of the head; the left one, counter-clockwise seen
# from outside.
_PAIRS = {
    "eye white": [(0.016, 0.096, 0.102), (0.016, 0.083, 0.103), (0.047, 0.083, 0.088), (0.047, 0.096, 0.088)],
    "iris": [(0.024, 0.098, 0.101), (0.024, 0.082, 0.102), (0.038, 0.082, 0.094), (0.038, 0.098, 0.094)],
    "brow": [(0.011, 0.113, 0.105), (0.013, 0.103, 0.106), (0.051, 0.105, 0.088), (0.048, 0.115, 0.088)],
    "nose": [(0.0, 0.096, 0.104), (0.0, 0.050, 0.126), (0.018, 0.046, 0.102), (0.009, 0.088, 0.101)],
    "nostril": [(0.0, 0.050, 0.126), (0.0, 0.040, 0.106), (0.014, 0.040, 0.102), (0.018, 0.047, 0.102)],
    "ear front": [(0.072, 0.108, -0.004), (0.071, 0.045, 0.004), (0.080, 0.052, -0.010),
    (0.088, 0.104, -0.018)],
    "ear back": [(0.072, 0.108, -0.004), (0.088, 0.104, -0.018), (0.080, 0.052, -0.010),
    (0.071, 0.045, 0.004)],
}  # fmt: skip
_SINGLES = {
    "upper lip": [
        (-0.025, 0.019, 0.094),
        (0.025, 0.019, 0.094),
        (0.012, 0.027, 0.101),
        (-0.012, 0.027, 0.101),
    ],
    "lower lip": [
        (-0.025, 0.019, 0.094),
        (-0.012, 0.009, 0.098),
        (0.012, 0.009, 0.098),
        (0.025, 0.019, 0.094),
    ],
}
_BRIM = [(-0.066, 0.132, 0.072), (-0.05, 0.120, 0.165), (0.05, 0.120, 0.165), (0.066, 0.132, 0.072)]
_NAMES = [name for name in _PAIRS for _ in SIDES] + list(_SINGLES) + ["brim"]
_CORNERS = np.array(
    [corners for left in _PAIRS.values() for corners in (left, [(-x, y, z) for x, y, z in reversed(left)])]
    + [*_SINGLES.values(), _BRIM]
)
_PUPIL = np.array((38.0, 32.0, 30.0))
_EYE_WHITE = np.array((235.0, 232.0, 230.0))


def face(build: Build, outfit: Outfit, frames: Frames) -> tuple[np.ndarray, np.ndarray]:
    """Eyes, brows, nose, mouth and ears, painted on the head, and last the brim, which only a cap has.

    Returns corners (n, 4, 3) in metres and colours (n, 3).
    """
    skin, hair = outfit.palette[Material.SKIN], outfit.palette[Material.HAIR]
    colors = {
        "eye white": _PUPIL * 0.8 if outfit.glasses else 0.5 * skin + 0.45 * _EYE_WHITE,
        "iris": _PUPIL, "brow": 0.65 * hair + 0.2 * skin, "nose": skin * 1.02, "nostril": skin * 0.6,
        "upper lip": skin * (0.7, 0.48, 0.5), "lower lip": skin * (0.85, 0.6, 0.6),
        "ear front": skin * 0.93, "ear back": skin * 0.9, "brim": outfit.palette[Material.HAT] * 0.85,
    }  # fmt: skip
    names = _NAMES if outfit.hat == "cap" else _NAMES[:-1]
    place = BONE["head"]
    scaled = _CORNERS[: len(names)] * (build.head * build.stature)
    placed = frames.origins[place] + scaled @ frames.axes[place].T
    return placed, np.array([colors[name] for name in names])
