"""Scenes of several people: who stands where, on one ground before one camera."""

from dataclasses import replace

import numpy as np

from src.datasets.synth.camera import Camera, sample_camera
from src.datasets.synth.figure import Body, dress, sample_body
from src.datasets.synth.parts import ALL_PARTS, Parts
from src.datasets.synth.rotation import IDENTITY, Y, matrix, spin
from src.datasets.synth.scene import Actor, Scene
from src.datasets.synth.style import STYLES

SHARES = (0.27, 0.23, 0.18, 0.14, 0.1, 0.08)  # of scenes with one person, two, three …
MOST = len(SHARES)
APART = 0.6  # metres between the middles of two people
_ROOM = (0.45, 1.3)  # radius of the ground of a group, over the square root of how many they are, in metres
_FRAME_SHARES = (0.45, 1.15)  # of the side of the picture that the box around everybody's joints takes
_TRIALS = 30


def sample_count(geometry: np.random.Generator) -> int:
    """How many people a scene has: the first that is drawn of it."""
    return int(np.searchsorted(np.cumsum(SHARES[:-1]), geometry.random(), side="right")) + 1


def sample_group(
    geometry: np.random.Generator,
    look: np.random.Generator,
    side: int,
    poses: str = "all",
    parts: Parts = ALL_PARTS,
) -> Scene:
    """A scene of one to MOST people. All that joints depend on comes from `geometry`; `side`: pixels.

    poses: the set that poses are from, which has a style of its own; upright people face the camera. parts:
    what is drawn.
    """
    bodies = [sample_body(geometry, poses) for _ in range(sample_count(geometry))]
    places = _places(geometry, len(bodies))
    sides = (-25, 25) if poses == "upright" else (0, 360)
    turns = geometry.uniform(*sides, len(bodies))
    target = np.array([0.0, np.mean([body.points[:, 1].mean() - _ground(body) for body in bodies]), 0.0])
    camera = sample_camera(geometry, target, poses)
    back = np.array(
        [0.0, 0.0, np.linalg.norm(places, axis=1).max()]
    )  # nobody comes nearer than one would alone
    camera = replace(camera, offset=camera.offset + back)
    views = [_standing(camera, body, *each) for body, *each in zip(bodies, places, turns, strict=True)]
    focal, center = _frame(geometry, views, bodies, side)
    actors = [
        Actor(body, dress(look, body, parts), view.framed(focal, center))
        for body, view in zip(bodies, views, strict=True)
    ]
    actors.sort(key=lambda actor: -float(actor.camera.see(actor.body.points)[:, 2].mean()))
    return Scene(tuple(actors), side, geometry, look, STYLES[poses], parts)


def _ground(body: Body) -> float:
    """The height of what a body stands on, in its own axes."""
    return float(body.frames.origins[:, 1].min())


def _places(rng: np.random.Generator, count: int) -> np.ndarray:
    """Where people stand on the ground, (count, 2) metres, around (0, 0): apart, as far as there is room."""
    radius = rng.uniform(*_ROOM) * np.sqrt(count)
    places = np.zeros((count, 2))
    for person in range(count):
        angle, share = rng.uniform(0, 2 * np.pi, _TRIALS), rng.random(_TRIALS)
        trials = radius * np.sqrt(share)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        gaps = np.linalg.norm(trials[:, None] - places[:person], axis=2).min(1, initial=np.inf)
        free = np.flatnonzero(gaps >= APART)
        places[person] = trials[free[0] if len(free) else gaps.argmax()]
    return places


def _standing(camera: Camera, body: Body, place: np.ndarray, turn: float) -> Camera:
    """The camera as somebody sees it who stands at a place of the ground and is turned (degrees)."""
    position = np.array([place[0], -_ground(body), place[1]])
    return replace(
        camera,
        turn=camera.turn @ matrix(spin(IDENTITY, Y, turn)),
        offset=camera.offset + camera.turn @ position,
    )


def _frame(
    rng: np.random.Generator, views: list[Camera], bodies: list[Body], side: int
) -> tuple[float, np.ndarray]:
    """A focal length and a centre (pixels) that put the group, or most of it, into the picture."""
    flat = [view.project(view.see(body.points)) for view, body in zip(views, bodies, strict=True)]
    low, high = np.min([points.min(0) for points in flat], axis=0), np.max([p.max(0) for p in flat], axis=0)
    share = np.exp(rng.uniform(*np.log(_FRAME_SHARES)))
    focal = share * side / float((high - low).max())
    # where the group leaves room, it is anywhere in it; where it has none, either of its ends is cut off
    slack = (side - focal * (high - low)) / 2
    return focal, side / 2 + rng.uniform(-1, 1, 2) * slack - focal * (low + high) / 2
