"""A fixed pool of small people who fill scenes: drawn once, without labels, then pasted at any size."""

from functools import lru_cache

import cv2
import numpy as np

from src.datasets.synth.camera import FACING, Camera
from src.datasets.synth.figure import dress, sample_body
from src.datasets.synth.render import Layer, Light, draw
from src.datasets.synth.rotation import IDENTITY, X, Y, matrix, spin

POOL = 48
HEIGHT = 170  # pixels from the lowest to the highest point
_SEED = 6700417
_NO_POINTS = (np.zeros((0, 3)), np.zeros(0))


@lru_cache(maxsize=POOL)
def _bystander(number: int) -> Layer:
    """Person `number` of the pool; depends on nothing but the number."""
    rng = np.random.default_rng((_SEED, number))
    body = sample_body(rng, "upright" if number % 6 else "all")
    quads = dress(rng, body)
    view = matrix(spin(spin(IDENTITY, X, rng.normal(4, 4)), Y, rng.uniform(0, 360)))
    turned = FACING @ view
    offset = np.array([0, 0, 6.0]) - turned @ body.points.mean(0)
    camera = Camera(turned, offset, 1.0, np.zeros(2), 0.0, 0.0)
    flat = camera.project(camera.see(quads.vertices))
    low, high = flat.min(0), flat.max(0)
    focal = HEIGHT / float(high[1] - low[1])
    size = (int((high[0] - low[0]) * focal) + 8, HEIGHT + 8)
    camera = camera.framed(focal, 4 - low * focal)
    light = Light(np.array([rng.normal(0, 0.5), -0.7, -0.5]), rng.uniform(0.35, 0.7), np.ones(3), (0, 0))
    drawing = draw(quads, camera, light, size, *_NO_POINTS)
    assert drawing is not None
    return drawing.layer


def sample_bystander(rng: np.random.Generator, height: float, foot: tuple[float, float]) -> Layer:
    """Somebody of the pool, `height` pixels tall, whose lowest point is at `foot` (x, y) of the picture."""
    person = _bystander(int(rng.integers(POOL)))
    factor = height / HEIGHT
    size = (max(2, round(person.alpha.shape[1] * factor)), max(2, round(person.alpha.shape[0] * factor)))
    shrink = cv2.INTER_AREA if factor < 0.7 else cv2.INTER_LINEAR
    color, alpha = (cv2.resize(part, size, interpolation=shrink) for part in (person.color, person.alpha))
    if rng.random() < 0.5:
        color, alpha = color[:, ::-1], alpha[:, ::-1]
    return Layer(color, np.ascontiguousarray(alpha), int(foot[0] - size[0] / 2), int(foot[1] - size[1]))
