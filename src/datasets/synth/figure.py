"""One dressed person as coloured quads: body, clothes, hair and face put together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from src.datasets.synth.body import BONE, SIDES, Build, Frames, landmarks, sample_build
from src.datasets.synth.clothes import CLOTH, Garment, Material, Outfit, sample_outfit
from src.datasets.synth.head import face, head_bulge, head_materials, loose_hair
from src.datasets.synth.parts import ALL_PARTS, Parts
from src.datasets.synth.poses import sample_pose
from src.datasets.synth.surface import (
    ARM,
    FOOT,
    HAND,
    HEAD,
    LEG,
    PLACE,
    RING,
    THUMB,
    TOES,
    TRUNK,
    WIDTH,
    Rings,
    Tube,
    cut,
    join,
    on_bones,
    thread,
)


class Quads(NamedTuple):
    """The surface of a person. vertices (V, 3) metres, in the axes of the body; corners (Q, 4) are numbers of
    vertices, counter-clockwise seen from outside; color (Q, 3) RGB 0…255; lift (Q,) metres by which a quad
    counts as nearer to the camera than it is; two_sided (Q,) bool.
    """

    vertices: np.ndarray
    corners: np.ndarray
    color: np.ndarray
    lift: np.ndarray
    two_sided: np.ndarray


@dataclass(frozen=True)
class Body:
    """A build in a pose: all that joints depend on."""

    build: Build
    frames: Frames

    @property
    def points(self) -> np.ndarray:
        """The points that labels name, (K, 3) metres; a row a name of LANDMARK_NAMES."""
        return landmarks(self.frames, self.build)


def sample_body(rng: np.random.Generator, poses: str = "all") -> Body:
    """A body at random in a pose at random, or in one of standing, walking and running people."""
    build = sample_build(rng)
    return Body(build, sample_pose(rng, build, poses))


class _Part(NamedTuple):
    """Rings of some tubes: the material below each ring, and how many rings each tube has."""

    rings: Rings
    material: Sequence[int] | np.ndarray
    lengths: list[int]


def dress(rng: np.random.Generator, body: Body, drawn: Parts = ALL_PARTS) -> Quads:
    """A body with a skin and clothes at random; drawn: with or without a face, hair, and texture of cloth."""
    build, frames = body.build, body.frames
    outfit = sample_outfit(rng, build)
    parts = [_chains(build, outfit, frames), _ends(rng, build, outfit, frames)]
    hair = loose_hair(rng, build, outfit, frames)
    if hair is not None:
        parts.append(_Part(hair, [Material.HAIR] * len(hair.center), [len(hair.center)]))
    if outfit.skirt:
        skirt = _skirt(rng, build, outfit, frames)
        parts.append(_Part(skirt, [Material.BOTTOM] * _SKIRT_RINGS, [_SKIRT_RINGS]))
    return _quads(rng, body, outfit, parts, drawn)


# --------------------------------------------------------------------------------------- trunk and limbs


def _chains(build: Build, outfit: Outfit, frames: Frames) -> _Part:
    """Trunk, arms and legs, in the clothes that cover them."""
    trunk, arm, leg = _trunk(build, outfit), _limb(ARM, outfit.top, Material.TOP), _leg(outfit)
    tubes = [("trunk", *trunk)] + [
        (f"{side} {name}", *limb) for name, limb in (("arm", arm), ("leg", leg)) for side in SIDES
    ]
    rings = thread([Tube(name, profile, ease) for name, profile, ease, _ in tubes], frames, build)
    materials = [material for *_, material in tubes]
    return _Part(rings, np.concatenate(materials), [len(material) for material in materials])


_Dressed = tuple[np.ndarray, np.ndarray, np.ndarray]  # profile, ease, material: a row or number for each ring


def _trunk(build: Build, outfit: Outfit) -> _Dressed:
    top, waist = outfit.top, outfit.bottom.edge
    profile = cut(TRUNK, waist if top is None else top.edge)
    if top and outfit.collar < 3.2:
        profile = cut(profile, outfit.collar)
    place = profile[:, PLACE]
    below = place < waist
    material = np.where(below, Material.BOTTOM, Material.SKIN)
    ease = np.where(below & (not outfit.skirt), 0.6 * outfit.bottom.ease, 0.0)
    if top:
        covered = (place > top.edge) & (place < outfit.collar)
        width = top.ease * np.interp(place, (0, 1.2, 2.4, 2.9), (1.1, 1.2, 0.7, 0.2))
        ease = np.where(covered, np.maximum(width, np.where(below, ease + 0.03, 0)), ease)
        material = np.where(covered, Material.TOP, material)
    profile[:, WIDTH] *= np.interp(place, (0.5, 2.3), (build.hip / 0.094, build.shoulder / 0.185))
    return profile, ease, material


def _limb(skin: np.ndarray, garment: Garment | None, cloth: Material) -> _Dressed:
    """An arm or a leg cut at the hem: cloth above it, skin below."""
    if garment is None or garment.end <= 0:
        return skin, np.zeros(len(skin)), np.full(len(skin), Material.SKIN)
    profile = cut(skin, garment.end)
    place = profile[:, PLACE]
    covered = place < garment.end
    towards_end = np.clip(place / garment.end, 0, 1)
    width = 0.02 + 1.4 * garment.ease * (0.6 + 0.4 * towards_end + garment.flare * towards_end**2)
    near_body = np.clip(0.3 + 2.5 * place, 0, 1)
    return profile, np.where(covered, width * near_body, 0), np.where(covered, cloth, Material.SKIN)


def _leg(outfit: Outfit) -> _Dressed:
    profile, ease, material = _limb(LEG, outfit.bottom, Material.BOTTOM)
    place = profile[:, PLACE]
    material = np.where((material == Material.SKIN) & (place >= outfit.sock), Material.SOCK, material)
    booted = place >= outfit.boot
    ease = np.where(booted, np.minimum(ease, 0.04) + 0.08, ease)
    return profile, ease, np.where(booted, Material.SHOE, material)


# ------------------------------------------------------------------------------ head, hands, feet, skirt


def _ends(rng: np.random.Generator, build: Build, outfit: Outfit, frames: Frames) -> _Part:
    """Head, hands and feet; the first rings are those of the head."""
    hands = [_curled(curl) for curl in rng.random(2) ** 1.5]
    thick = np.array((1, 1, 1, 1, 1) if outfit.barefoot else (1, 1.1, 1.14, 1, 1))
    head, hand, foot = (size * build.stature for size in (build.head, build.hand, build.foot))
    bones, rows, sizes, materials = ["head"], [HEAD], [head], [Material.SKIN] * len(HEAD)
    lengths = [len(HEAD)]
    for side, palm in zip(SIDES, hands, strict=True):
        bones += [f"{side} hand"] * 2 + [f"{side} foot", f"{side} toes"]
        rows += [palm, THUMB, FOOT * thick, TOES * thick]
        sizes += [hand, hand, foot, foot]
        materials += [Material.GLOVE] * (len(palm) + len(THUMB)) + [Material.SHOE] * (len(FOOT) + len(TOES))
        lengths += [len(palm), len(THUMB), len(FOOT) + len(TOES)]
    return _Part(on_bones(bones, rows, sizes, frames), materials, lengths)


def _curled(curl: float) -> np.ndarray:
    """The rows of a hand whose fingers are curled, from 0 (flat) to 1 (a fist)."""
    rows = HAND.copy()
    beyond = np.maximum(rows[:, 0] - 0.09, 0)
    rows[:, 0] -= 0.6 * curl * beyond
    rows[:, 2] += 0.13 * curl * beyond
    rows[:, 3] += 0.3 * curl * beyond
    return rows


_SKIRT_RINGS = 6
_SKIRT_LIFT = 0.04
_LEG_BONES = [[BONE[f"{side} {bone}"] for bone in ("thigh", "shank", "foot")] for side in SIDES]


def _skirt(rng: np.random.Generator, build: Build, outfit: Outfit, frames: Frames) -> Rings:
    """A tube around both legs: elliptical rings, as wide as the legs are apart."""
    place = np.linspace(0.0, outfit.skirt, _SKIRT_RINGS - 1)
    left, right = (_along(frames.origins[bones], place) for bones in _LEG_BONES)
    pelvis = frames.axes[BONE["pelvis"]]
    waist = 0.085 * build.trunk * build.stature * pelvis[:, 1]
    middle = np.concatenate([waist[None], (left + right) / 2])
    apart = np.concatenate([[build.hip * build.stature * pelvis[:, 0]], (left - right) / 2])
    leftwards = _unit(apart + 0.04 * pelvis[:, 0])
    ahead = _unit(np.cross(np.gradient(middle, axis=0), leftwards))
    grow = build.stature * np.exp(build.fat)
    flare = 1 + np.linspace(0, rng.uniform(0.05, 0.9), _SKIRT_RINGS) * min(outfit.skirt, 1)
    width = np.linalg.norm(apart, axis=1) + 0.95 * grow * flare * (0.075, 0.09, 0.1, 0.1, 0.1, 0.1)
    depth = grow * flare * (0.112, 0.128, 0.13, 0.12, 0.115, 0.11)
    return Rings(middle - 0.008 * ahead, leftwards * width[:, None], ahead * depth[:, None])


def _along(points: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Points (n, 3) at places along a line through three points."""
    return np.stack([np.interp(place, (0.0, 1.0, 2.0), points[:, axis]) for axis in range(3)], axis=1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


# -------------------------------------------------------------------------------------- quads and colour


_FACE_LIFT = 0.012
_TRUNK_RINGS = slice(0, len(TRUNK))  # the trunk comes first
_TRUNK_BANDS = slice(0, len(TRUNK) - 1)
_AT_THE_SIDES = np.isin(np.arange(RING), (0, 5, 6, 11))
_SHOULDERS = (TRUNK[:-1, PLACE] > 2.6)[:, None] & _AT_THE_SIDES  # of the bands of the trunk
_HERE, _NEXT = np.arange(RING), (np.arange(RING) + 1) % RING
_BAND = np.stack([_HERE, _NEXT, _NEXT + RING, _HERE + RING], axis=-1)  # corners of the quads below a ring


def _quads(rng: np.random.Generator, body: Body, outfit: Outfit, parts: list[_Part], drawn: Parts) -> Quads:
    """The bands between neighbouring rings, and the face; what is not drawn has its random numbers, too."""
    rings = join([part.rings for part in parts])
    ring_material = np.concatenate([part.material for part in parts])
    lengths = [length for part in parts for length in part.lengths]
    first_of_head = len(parts[0].material)
    head = slice(first_of_head, first_of_head + len(HEAD))
    folds, hairdo = _folds(rng, outfit, ring_material), head_bulge(rng, outfit)
    bulge = 1 + drawn.cloth * folds
    bulge[_TRUNK_RINGS] *= _trunk_relief(body.build)
    bulge[head] *= hairdo if drawn.head else 1
    above = np.delete(np.arange(len(ring_material)), np.cumsum(lengths) - 1)  # rings with another one below
    material = _materials(outfit, ring_material, above, head)
    if not drawn.head:
        material[(above >= head.start) & (above < head.stop)] = Material.SKIN
    bands = (above[:, None, None] * RING + _BAND).reshape(-1, 4)
    color = _colors(rng, outfit, material, above)
    if not drawn.cloth:
        color = outfit.palette[material].reshape(-1, 3)

    face_corners, face_color = face(body.build, outfit, body.frames)
    face_numbers = len(ring_material) * RING + np.arange(4 * len(face_corners)).reshape(-1, 4)
    lift = np.repeat((0.0, _FACE_LIFT), (len(bands), len(face_corners)))
    two_sided = np.zeros(len(lift), bool)
    two_sided[-1] = outfit.hat == "cap"  # its brim
    if outfit.skirt:  # the last bands
        skirt = slice(len(bands) - (_SKIRT_RINGS - 1) * RING, len(bands))
        lift[skirt], two_sided[skirt] = _SKIRT_LIFT, True
    quads = Quads(
        np.concatenate([rings.vertices(bulge).reshape(-1, 3), face_corners.reshape(-1, 3)]),
        np.concatenate([bands, face_numbers]),
        np.concatenate([color, face_color]),
        lift,
        two_sided,
    )
    if drawn.head:
        return quads
    bald = np.append(
        np.repeat(ring_material[above] != Material.HAIR, RING), np.zeros(len(face_corners), bool)
    )
    return Quads(quads.vertices, *(field[bald] for field in quads[1:]))


def _materials(outfit: Outfit, ring_material: np.ndarray, above: np.ndarray, head: slice) -> np.ndarray:
    """The material of each quad, (bands, RING): that of the ring above it but for some parts."""
    material = np.repeat(ring_material[above, None], RING, axis=1)
    material[(above >= head.start) & (above < head.stop)] = head_materials(outfit)
    shoes = (ring_material[above] == Material.SHOE) & (above >= head.stop)
    material[shoes, 8:10] = Material.SOLE
    trunk = material[_TRUNK_BANDS]
    if outfit.open_front:
        front = trunk[:, 2:4]
        front[front == Material.TOP] = Material.INNER
    elif outfit.top and outfit.top.end <= 0:  # no sleeves
        trunk[_SHOULDERS] = Material.SKIN
    return material


def _folds(rng: np.random.Generator, outfit: Outfit, material: np.ndarray) -> np.ndarray:
    """How folds of cloth and strands of hair lift the surface, as a share of the radius: (n, RING)."""
    depth = np.zeros(len(Material))
    depth[Material.BOTTOM] = 0.03 if outfit.skirt else outfit.bottom.folds
    depth[Material.TOP] = outfit.top.folds if outfit.top else 0.0
    depth[Material.HAIR] = 0.04
    noise = rng.standard_normal((len(material), RING), np.float32)
    noise[1:] += 0.6 * noise[:-1]  # drawn out along the tube
    return np.clip(depth[material][:, None] * noise, -0.08, 0.1)


def _trunk_relief(build: Build) -> np.ndarray:
    """Chest or breasts, belly, spine and buttocks as factors on the radius of the trunk: (n, RING)."""
    place = TRUNK[:, PLACE]
    relief = np.ones((len(place), RING))

    def hill(at: float, width: float) -> np.ndarray:
        return np.exp(-(((place - at) / width) ** 2))

    full = (0.035 + 0.13 * build.female * np.exp(build.fat)) * hill(2.36, 0.26)
    relief[:, [2, 4]] += full[:, None]
    relief[:, [1, 5]] += 0.35 * full[:, None]
    relief[:, 3] -= 0.25 * full
    relief[:, 2:5] += max(1.6 * build.fat, 0.0) * hill(1.3, 0.7)[:, None]
    relief[:, 9] -= 0.05 * hill(1.6, 0.9) + 0.05 * hill(-0.4, 0.4)
    relief[:, [8, 10]] += 0.09 * hill(-0.2, 0.45)[:, None]
    return relief


def _colors(rng: np.random.Generator, outfit: Outfit, material: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """Colours (Q, 3) of quads from materials (bands, RING), with patterns and a little noise."""
    color = outfit.palette[material]
    for garment, cloth in ((outfit.top, Material.TOP), (outfit.bottom, Material.BOTTOM)):
        if garment and garment.pattern:
            on_it = (material == cloth) & _pattern(rng, garment.pattern, ring)
            color[on_it] = outfit.second
    roughness = np.full(len(Material), 0.012)
    roughness[list(CLOTH)] = 0.03
    roughness[Material.HAIR] = 0.1
    noise = rng.standard_normal(material.shape, np.float32)
    return (color * (1 + roughness[material] * noise)[..., None]).reshape(-1, 3)


def _pattern(rng: np.random.Generator, pattern: str, ring: np.ndarray) -> np.ndarray:
    """Which quads (bands, RING) of a garment have the second colour."""
    side, row = np.arange(RING)[None, :], ring[:, None]
    period = int(rng.integers(2, 4))
    if pattern == "hoops":
        return np.broadcast_to(row % period == 0, (len(ring), RING))
    if pattern == "stripes":
        return np.broadcast_to(side % 2 == 0, (len(ring), RING))
    if pattern == "checks":
        return (row + side) % 2 == 0
    if pattern == "print":
        return rng.random((len(ring), RING)) < rng.uniform(0.15, 0.45)
    mask = np.zeros((len(ring), RING), bool)
    if pattern == "panel":
        mask[_TRUNK_BANDS, 2:4] = True
    else:
        mask[:, _AT_THE_SIDES] = True
    return mask
