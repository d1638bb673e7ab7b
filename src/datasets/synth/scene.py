"""A scene: people, what is behind and what is before them; its picture and its labels."""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from src.datasets.affine import warp_rgb
from src.datasets.synth import background
from src.datasets.synth.body import BONE, LANDMARK_DEPTHS, LANDMARK_NAMES
from src.datasets.synth.bystanders import sample_bystander
from src.datasets.synth.camera import Camera, sample_camera
from src.datasets.synth.figure import Body, Quads, dress, sample_body
from src.datasets.synth.occluders import sample_occluder
from src.datasets.synth.parts import ALL_PARTS, Parts
from src.datasets.synth.photo import photograph
from src.datasets.synth.render import Layer, Light, draw, lay_over, multiplied
from src.datasets.synth.style import STYLES, Style

PICTURE_SIDE = 1.125  # over the resolution: crops that are turned or enlarged find content around
SMALLEST_CROP = 0.7  # the side of a crop around the person over that of the picture, at least
BOX_OVER_JOINTS = 1.375  # the side of a crop over the longest side of the box around the joints
OUTSIDE, HIDDEN, VISIBLE = 0, 1, 2
SCENERY, EXTRAS = 0, 255  # what a pixel shows; the numbers between are those of actors, from 1


class Labels(NamedTuple):
    """Labels of one person: points (K, 2) in pixels, a row a name of LANDMARK_NAMES; visible (K,) int8 (0
    outside the picture, 1 hidden, 2 visible); head_box: the diagonal of the box around the head, in pixels.
    """

    points: np.ndarray
    visible: np.ndarray
    head_box: float


@dataclass(frozen=True)
class Actor:
    """A person of a scene who gets labels, as their camera sees them."""

    body: Body
    quads: Quads
    camera: Camera


class Rendering(NamedTuple):
    """A picture (side, side, 3) uint8 RGB, the labels of each actor, and what each pixel shows, (side, side)
    uint8: SCENERY, EXTRAS (people without labels), or the number of an actor, from 1.
    """

    picture: np.ndarray
    labels: list[Labels]
    shown: np.ndarray


@dataclass(frozen=True)
class Scene:
    """Actors, nearest last, in a square picture of `side` pixels, with random states for all the rest: what
    stands before them, which labels depend on, and how things look.

    style: how it is lit and photographed. parts: what is drawn. What is left out is drawn all the same, where
    nobody sees it: all else stays.
    """

    actors: tuple[Actor, ...]
    side: int
    cover: np.random.Generator
    look: np.random.Generator
    style: Style = STYLES["all"]
    parts: Parts = ALL_PARTS

    def render(self) -> Rendering:
        """Draw the scene, once: that uses up the random states."""
        rng, first, parts = self.look, self.actors[0].camera, self.parts
        picture = _backdrop(rng, first, self.side, self.style)
        if not parts.background:
            picture[:] = picture.mean((0, 1))
        shown = np.full(picture.shape[:2], SCENERY, np.uint8)
        light = _sample_light(rng, self.style)
        if not parts.cloth:
            light = light._replace(crumple=None)
        if rng.random() < 0.3:
            layers = _people_behind(rng, first, self.side)
            for layer in layers if parts.bystanders else ():
                lay_over(picture, layer)
                layer.mark(shown, EXTRAS)
        for actor in self.actors:
            if rng.random() < 0.6:
                _cast_shadow(rng, picture if parts.shadows else picture.copy(), actor)
        labels: list[Labels] = []
        for number, actor in enumerate(self.actors, start=1):
            points, hidden, drawn = self._draw(actor, light)
            if drawn is not None:
                lay_over(picture, drawn)
                drawn.mark(shown, number)
                labels = [_hide(earlier, drawn) for earlier in labels]
            labels.append(_label(actor, points, hidden, self.side))
        for layer, kind in _foreground(self.cover, labels[-1], self.side, parts):
            lay_over(picture, layer)
            layer.mark(shown, kind)
            labels = [_hide(earlier, layer) for earlier in labels]
        if parts.photo:
            picture = photograph(rng, picture, self.style.contrasty)
        return Rendering(picture, labels, shown)

    def _draw(self, actor: Actor, light: Light) -> tuple[np.ndarray, np.ndarray, Layer | None]:
        camera, points = actor.camera, actor.body.points
        size = (self.side, self.side)
        drawing = draw(actor.quads, camera, light, size, points, LANDMARK_DEPTHS)
        projected = camera.project(camera.see(points))
        if drawing is None:
            return projected, np.zeros(len(points), bool), None
        return projected, drawing.hidden, drawing.layer


def picture_side(resolution: int) -> int:
    """The side of the picture of one person that crops of so many pixels are cut from."""
    return 2 * round(PICTURE_SIDE * resolution / 2)


def sample_scene(
    geometry: np.random.Generator,
    look: np.random.Generator,
    resolution: int,
    poses: str = "all",
    parts: Parts = ALL_PARTS,
) -> Scene:
    """A scene with one actor. All that joints depend on comes from `geometry`; `resolution` scales sizes.

    poses: the set that the pose is from, which has a style of its own. parts: what is drawn.
    """
    side = picture_side(resolution)
    body = sample_body(geometry, poses)
    points = body.points
    camera = sample_camera(geometry, (points.min(0) + points.max(0)) / 2, poses)
    style = STYLES[poses]
    camera = framed(geometry, camera, points, side, style)
    return Scene((Actor(body, dress(look, body, parts), camera),), side, geometry, look, style, parts)


def framed(rng: np.random.Generator, camera: Camera, points: np.ndarray, side: int, style: Style) -> Camera:
    """The camera with a focal length and a centre (pixels) that put a person's points into the picture."""
    flat = camera.project(camera.see(points))
    low, high = flat.min(0), flat.max(0)
    share = np.exp(rng.uniform(*np.log((SMALLEST_CROP, style.largest))))
    jitter = rng.uniform(-1, 1, 2)
    focal = share * side / (BOX_OVER_JOINTS * float((high - low).max()))
    middle = (low + high) / 2
    shift = jitter * (1 - share) / 2 * side  # the crop stays within the picture, or around it
    cut_draw, zoom = rng.random(), rng.uniform(1.3, 2.1)
    if cut_draw < style.cut_off:
        focal, middle, shift = focal * zoom, flat[LANDMARK_NAMES.index("thorax")], jitter * 0.22 * side
    return camera.framed(focal, side / 2 + shift - focal * middle)


# ------------------------------------------------------------------------------------------ surroundings


def _sample_light(rng: np.random.Generator, style: Style) -> Light:
    """Light from above, mostly from the side of the camera; harsh or dull, slightly coloured."""
    direction = rng.normal(0, 1, 3) * (0.9, 0.5, 0.6) + (0, -0.9, -0.6)
    gain = np.exp(rng.normal(0, 0.12))
    color = gain * np.exp(rng.normal(0, 0.04, 3))
    crumple = (int(rng.integers(512)), int(rng.integers(512)))
    ambient = rng.uniform(*style.ambient)
    return Light(direction / np.linalg.norm(direction), ambient, color, crumple, style.creases)


def _backdrop(rng: np.random.Generator, camera: Camera, side: int, style: Style) -> np.ndarray:
    """A part of a background, its horizon where the camera has it: (side, side, 3) uint8."""
    scene = background.scenery(int(rng.integers(style.backgrounds)))
    scale = side / (background.SIDE * np.exp(rng.uniform(np.log(0.42), np.log(0.95))))
    from_x, flip = rng.uniform(0.25, 0.75) * background.SIDE, rng.random() < 0.5
    from_y, to = rng.uniform(0.3, 0.7) * background.SIDE, np.full(2, side / 2)
    angle = np.radians(rng.normal(0, 3))
    if scene.horizon is not None and abs(camera.pitch) < 60:
        angle = np.radians(camera.roll)
        rise = camera.focal * np.tan(np.radians(camera.pitch))
        across, down = np.array((np.cos(angle), np.sin(angle))), np.array((-np.sin(angle), np.cos(angle)))
        level = camera.center - rise * down
        to = level + across * float((to - level) @ across)  # the point of the horizon nearest to the middle
        from_y = scene.horizon
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if flip:
        linear[:, 0] *= -1
    offset = to - linear @ (from_x, from_y)
    transform = np.concatenate([linear, offset[:, None]], axis=1)
    picture = warp_rgb(scene.picture, transform, side, border=cv2.BORDER_REFLECT_101)
    gain, lift = np.exp(rng.normal(*style.exposure)), rng.normal(0, 10)
    picture = cv2.convertScaleAbs(picture, alpha=gain, beta=max(lift, -4.0))
    return _grained(rng, picture, style.grain) if style.grain else picture


def _grained(rng: np.random.Generator, picture: np.ndarray, deviation: float) -> np.ndarray:
    """The picture (S, S, 3) with the grain of a surface, whose strength is a number of this deviation."""
    side = picture.shape[0]
    depth, surface = rng.normal(0, deviation), background.surface(int(rng.integers(background.SURFACES)))
    if side > background.SIDE:
        surface = cv2.resize(surface, (side, side), interpolation=cv2.INTER_NEAREST)
    y, x = rng.integers(0, len(surface) - side + 1, 2)
    return multiplied(picture, np.exp(np.clip(depth * surface[y : y + side, x : x + side], -0.6, 0.6)))


def _people_behind(rng: np.random.Generator, camera: Camera, side: int) -> list[Layer]:
    """A few others further away, on the same ground where the camera is level."""
    height = side * rng.uniform(0.12, 0.45)
    horizon = float(camera.center[1] - camera.focal * np.tan(np.radians(camera.pitch)))
    if not 0.1 * side < horizon < 0.8 * side:
        return []
    line = horizon + 0.15 * height
    layers = []
    for _ in range(int(rng.integers(1, 6))):
        own = height * np.exp(rng.normal(0, 0.12))
        foot = (rng.uniform(-0.05, 1.05) * side, line + own * rng.uniform(0.75, 0.95))
        layers.append(sample_bystander(rng, own, foot))
    return layers


_SHADOW_LIMBS = [
    (LANDMARK_NAMES.index(a), LANDMARK_NAMES.index(b), width)
    for side in ("left", "right")
    for a, b, width in (
        (f"{side} ankle", f"{side} knee", 0.1), (f"{side} knee", f"{side} hip", 0.14),
        (f"{side} hip", f"{side} shoulder", 0.2), (f"{side} shoulder", f"{side} elbow", 0.09),
        (f"{side} elbow", f"{side} wrist", 0.08),
    )
] + [(LANDMARK_NAMES.index("neck"), LANDMARK_NAMES.index("head top"), 0.17),
     (LANDMARK_NAMES.index("pelvis"), LANDMARK_NAMES.index("thorax"), 0.24)]  # fmt: skip
_SHADOW_GRAIN = 4  # a shadow is drawn this much coarser than the picture


def _cast_shadow(rng: np.random.Generator, picture: np.ndarray, actor: Actor) -> None:
    """Darkens the ground under a person, in place."""
    points, camera, side = actor.body.points, actor.camera, picture.shape[0]
    ground = actor.body.frames.origins[:, 1].min() - 0.09
    slant, strength = rng.normal(0, 0.55, 2), rng.uniform(0.35, 0.75)
    softness = rng.uniform(0.6, 2.5)
    fallen = points.copy()
    fallen[:, [0, 2]] += slant * (points[:, 1:2] - ground)
    fallen[:, 1] = ground
    seen = camera.see(fallen)
    if camera.pitch < -3 or seen[:, 2].min() < 0.5:
        return
    grain = _SHADOW_GRAIN
    flat = np.rint(np.clip(camera.project(seen) / grain, -4000, 4000)).astype(int).tolist()
    factors = np.ones((side // grain, side // grain), np.float32)
    thickness = camera.focal / float(seen[:, 2].mean()) / grain
    for a, b, width in _SHADOW_LIMBS:
        cv2.line(factors, flat[a], flat[b], 1 - strength, max(1, int(width * thickness)))
    factors = cv2.GaussianBlur(factors, (0, 0), softness)
    factors = cv2.resize(factors, (side, side), interpolation=cv2.INTER_LINEAR)
    picture[:] = multiplied(picture, factors)


def _foreground(rng: np.random.Generator, labels: Labels, side: int, parts: Parts) -> list[tuple[Layer, int]]:
    """Things and people before the actors, in one picture of five, each with what it shows."""
    kind = rng.random()
    left, top = labels.points.min(0)
    right, bottom = labels.points.max(0)
    if kind < 0.14 and parts.occluders:
        return [(sample_occluder(rng, (left, top, right, bottom), side), SCENERY)]
    if 0.14 <= kind < 0.2 and parts.bystanders:
        height = max(right - left, bottom - top) * rng.uniform(0.8, 1.3)
        beside = rng.choice((-1.0, 1.0)) * rng.uniform(0.3, 0.6) * height
        foot = ((left + right) / 2 + beside, bottom + rng.uniform(0, 0.3) * height)
        return [(sample_bystander(rng, height, foot), EXTRAS)]
    return []


# ------------------------------------------------------------------------------------------------ labels


def _label(actor: Actor, points: np.ndarray, hidden: np.ndarray, side: int) -> Labels:
    inside = ((points >= 0) & (points < side)).all(1)
    visible = np.where(inside, np.where(hidden, HIDDEN, VISIBLE), OUTSIDE).astype(np.int8)
    return Labels(points, visible, _head_box(actor))


def _hide(labels: Labels, layer: Layer) -> Labels:
    """The labels with what a layer covers marked as hidden."""
    covered = layer.covers(labels.points) & (labels.visible == VISIBLE)
    return labels._replace(visible=np.where(covered, HIDDEN, labels.visible).astype(np.int8))


_HEAD_EXTENT = np.array(
    [(x, y, z) for x in (-0.06, 0.06) for y in (-0.035, 0.21) for z in (-0.075, 0.085)]
)  # corners of a box in the frame of the head, metres


def _head_box(actor: Actor) -> float:
    """The diagonal of the box around the head in the picture (pixels)."""
    frames, build = actor.body.frames, actor.body.build
    place = BONE["head"]
    corners = frames.origins[place] + _HEAD_EXTENT * build.head * build.stature @ frames.axes[place].T
    flat = actor.camera.project(actor.camera.see(corners))
    return float(np.linalg.norm(flat.max(0) - flat.min(0)))
