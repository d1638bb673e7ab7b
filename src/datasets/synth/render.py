"""Quads to pixels. Painter's order on a canvas of quad numbers, from which colour, light and depth are
looked up.
"""

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from src.datasets.synth.background import fractal_noise
from src.datasets.synth.camera import Camera
from src.datasets.synth.figure import Quads
from src.datasets.synth.style import Creases

SUPERSAMPLING = 2  # quads are filled on a canvas so much finer; averaging it smooths the outlines
_SHIFT = 4  # fractional bits of coordinates handed to OpenCV
_NEAREST = 0.25  # metres; quads nearer to the camera are left out
_SMOOTH_LIGHT = 0.035  # metres over which shading is smoothed: facets turn into curves
_OCCLUSION_REACH = 0.07  # metres over which a surface darkens what lies behind it
_OCCLUSION_DEPTH = 0.16  # metres behind its surroundings at which a surface is fully darkened
_OCCLUSION = 0.5
_CRUMPLE_SIDE, _CRUMPLE_SEED = 512, 65537
_LIGHT_UNIT = 150  # light of 1, as a byte
_QUARTERS = np.full(4, 0.25, np.float32)


class Light(NamedTuple):
    """Light on a person. direction (3,) towards the lamp in the axes of the camera; ambient its share that
    comes from everywhere; color (3,) multiplies RGB; crumple: which part (left, top) of the crumpled cloth
    to use, None for smooth surfaces; creases: those of that cloth.
    """

    direction: np.ndarray
    ambient: float
    color: np.ndarray
    crumple: tuple[int, int] | None
    creases: Creases = Creases()


class Layer(NamedTuple):
    """Something drawn, to be laid over a picture. color (h, w, 3) uint8, premultiplied with alpha (h, w)
    uint8; left, top: where its first pixel lies in the picture.
    """

    color: np.ndarray
    alpha: np.ndarray
    left: int
    top: int

    def covers(self, points: np.ndarray) -> np.ndarray:
        """Whether points (K, 2) of the picture lie under the opaque part: (K,) bool."""
        column = np.floor(points[:, 0]).astype(int) - self.left
        row = np.floor(points[:, 1]).astype(int) - self.top
        height, width = self.alpha.shape
        inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
        covered = np.zeros(len(points), bool)
        covered[inside] = self.alpha[row[inside], column[inside]] > 127
        return covered

    def mark(self, shown: np.ndarray, number: int) -> None:
        """Write a number into `shown` (H, W) where the opaque part covers the picture."""
        inside, part = _overlap(self, shown.shape)
        shown[inside][self.alpha[part] > 127] = number


def lay_over(picture: np.ndarray, layer: Layer) -> None:
    """Blends a layer into a picture (H, W, 3) uint8, in place; what lies outside the picture is cut off."""
    inside, part = _overlap(layer, picture.shape)
    region = picture[inside]
    if not region.size:
        return
    clear = cv2.merge([255 - layer.alpha[part]] * 3)
    cv2.add(cv2.multiply(region, clear, scale=1 / 255), layer.color[part], dst=region)


_Region = tuple[slice, slice]  # rows, columns


def _overlap(layer: Layer, shape: tuple[int, ...]) -> tuple[_Region, _Region]:
    """Where a layer and a picture of that shape overlap: in the picture, and in the layer; maybe nowhere."""
    height, width = layer.alpha.shape
    left, top = max(layer.left, 0), max(layer.top, 0)
    right, bottom = max(min(layer.left + width, shape[1]), left), max(min(layer.top + height, shape[0]), top)
    rows, columns = (top - layer.top, bottom - layer.top), (left - layer.left, right - layer.left)
    return (slice(top, bottom), slice(left, right)), (slice(*rows), slice(*columns))


class Drawing(NamedTuple):
    """A drawn person: the layer, and which of the points asked for their own body hides (K,) bool."""

    layer: Layer
    hidden: np.ndarray


def draw(
    quads: Quads, camera: Camera, light: Light, size: tuple[int, int], points: np.ndarray, depths: np.ndarray
) -> Drawing | None:
    """Draws a person into a picture of `size` (width, height); None if nothing of them is in it.

    points (K, 3) of the body; one is hidden where the surface drawn at its pixel is nearer to the camera by
    more than its depth (K,), in metres.
    """
    seen = camera.see(quads.vertices).astype(np.float32)
    flat = camera.project(seen).astype(np.float32)
    corners = flat[quads.corners]
    diagonal, other = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    turning = diagonal[:, 0] * other[:, 1] - diagonal[:, 1] * other[:, 0]
    shown = (turning < 0) | quads.two_sided
    if seen[:, 2].min() < _NEAREST:
        shown &= (seen[:, 2] > _NEAREST)[quads.corners].all(1)
    kept = np.flatnonzero(shown)
    depth = seen[:, 2][quads.corners[kept]] @ _QUARTERS
    order = np.argsort(quads.lift[kept] - depth, kind="stable")
    kept, depth = kept[order], depth[order]
    box = _box(flat, size)
    if box is None or not len(kept):
        return None
    left, top, right, bottom = box
    numbers = _fill(corners[kept] - (left, top), right - left, bottom - top)
    color, alpha = _colors(numbers, quads.color[kept] * light.color)
    pixels_per_metre = camera.focal / float(depth.mean())
    shade = _shade(numbers, _shading(seen[quads.corners[kept]], light), depth, pixels_per_metre)
    if light.crumple is not None:
        shade *= _crumpled(light.crumple, shade.shape, light.creases)
    layer = Layer(multiplied(color, shade), alpha, left, top)
    return Drawing(layer, _hidden(numbers, depth, camera, points, depths, (left, top)))


def _box(flat: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """The box (left, top, right, bottom) around points (V, 2), with a margin, within the picture."""
    x, y = flat.T
    left, top = max(int(x.min()) - 2, 0), max(int(y.min()) - 2, 0)
    right, bottom = min(int(x.max()) + 3, size[0]), min(int(y.max()) + 3, size[1])
    return (left, top, right, bottom) if right > left and bottom > top else None


def _fill(corners: np.ndarray, width: int, height: int) -> np.ndarray:
    """A canvas (2 height, 2 width) int32 with, at each pixel, 1 + the number of the quad seen there, or 0."""
    canvas = np.zeros((SUPERSAMPLING * height, SUPERSAMPLING * width), np.int32)
    # OpenCV's integers are the centres of pixels, ours their corners
    scaled = (corners * SUPERSAMPLING - 0.5) * (1 << _SHIFT)
    polygons = np.rint(np.clip(scaled, -(1 << 18), 1 << 18)).astype(np.int32)
    fill = cv2.fillConvexPoly
    for number, polygon in enumerate(polygons, start=1):
        fill(canvas, polygon, number, 8, _SHIFT)
    return canvas


def _shading(seen: np.ndarray, light: Light) -> np.ndarray:
    """How bright each quad is under the light: (Q,) around 1."""
    diagonal, other = seen[:, 2] - seen[:, 0], seen[:, 3] - seen[:, 1]
    normal = np.stack(
        [
            diagonal[:, 1] * other[:, 2] - diagonal[:, 2] * other[:, 1],
            diagonal[:, 2] * other[:, 0] - diagonal[:, 0] * other[:, 2],
            diagonal[:, 0] * other[:, 1] - diagonal[:, 1] * other[:, 0],
        ],
        axis=1,
    )
    normal /= np.sqrt((normal * normal).sum(1, keepdims=True)) + 1e-12
    facing = np.maximum((normal @ light.direction + 0.25) / 1.25, 0)
    grazing = 1 + np.minimum(normal[:, 2], 0)  # 0 where a surface looks into the camera, 1 at the outline
    return (light.ambient + (1.35 - light.ambient) * facing) * (1 - 0.25 * grazing * grazing)


def _look_up(table: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The rows of a table (Q + 1, 4) uint8 that numbers (h, w) ask for: (h, w, 4) uint8."""
    return table.view(np.uint32)[:, 0].take(numbers).view(np.uint8).reshape(*numbers.shape, 4)


def _colors(numbers: np.ndarray, color: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour (h, w, 3), premultiplied, and alpha (h, w), both uint8, averaged from the canvas of numbers."""
    table = np.zeros((len(color) + 1, 4), np.uint8)
    table[1:, :3] = np.clip(color, 0, 255)
    table[1:, 3] = 255
    height, width = numbers.shape
    size = (width // SUPERSAMPLING, height // SUPERSAMPLING)
    coarse = cv2.resize(_look_up(table, numbers), size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(coarse, cv2.COLOR_RGBA2RGB), np.ascontiguousarray(coarse[..., 3])


def _shade(numbers: np.ndarray, light: np.ndarray, depth: np.ndarray, pixels_per_metre: float) -> np.ndarray:
    """Light at each pixel, (h, w) float32: smoothed over facets, and less where something stands before."""
    nearest, reach = float(depth.min()), float(np.ptp(depth)) + 1e-6
    table = np.zeros((len(light) + 1, 4), np.uint8)
    table[1:, 0] = np.clip(light * _LIGHT_UNIT, 0, 255)
    table[1:, 1] = (depth - nearest) * (255 / reach)
    table[1:, 2] = 255
    sampled = _look_up(table, numbers[::SUPERSAMPLING, ::SUPERSAMPLING])
    near, wide = (
        cv2.split(cv2.blur(sampled, (_odd(metres * pixels_per_metre),) * 2))
        for metres in (_SMOOTH_LIGHT, 2 * _OCCLUSION_REACH)
    )
    shade = _mean(near[0], near[2], 255 / _LIGHT_UNIT)
    behind = _mean(near[1], near[2], reach) - _mean(wide[1], wide[2], reach)
    return shade * (1 - _OCCLUSION * np.clip(behind / _OCCLUSION_DEPTH, 0, 1))


def _mean(blurred: np.ndarray, mask: np.ndarray, unit: float) -> np.ndarray:
    """The mean over what is drawn of a value that was blurred together with its mask, float32."""
    return cv2.divide(blurred, np.maximum(mask, 1), scale=unit, dtype=cv2.CV_32F)


def multiplied(picture: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """A picture (h, w, 3) uint8 times factors (h, w) between 0 and 2, all in bytes."""
    factors = cv2.convertScaleAbs(factors, alpha=128)
    return cv2.multiply(picture, cv2.merge([factors] * 3), scale=1 / 128)


@lru_cache(maxsize=2)
def _crumple(creases: Creases) -> np.ndarray:
    """Factors (side, side) float32 around 1 that break up smooth shading, as creases of cloth and skin do."""
    rng = np.random.default_rng(_CRUMPLE_SEED)
    fine = fractal_noise(rng, _CRUMPLE_SIDE, creases.roughness)
    return np.exp(creases.depth * np.clip(fine, -2.5, 2.5))


def _crumpled(start: tuple[int, int], shape: tuple[int, ...], creases: Creases) -> np.ndarray:
    """A part (h, w) of the crumpled cloth."""
    cloth = _crumple(creases)
    if max(shape) > _CRUMPLE_SIDE:
        cloth = cv2.resize(cloth, (max(shape), max(shape)), interpolation=cv2.INTER_LINEAR)
    x, y = start[0] % (len(cloth) - shape[1] + 1), start[1] % (len(cloth) - shape[0] + 1)
    return cloth[y : y + shape[0], x : x + shape[1]]


def _odd(size: float) -> int:
    """The odd number of pixels nearest to a size, at least 3."""
    return max(2 * int(size / 2) + 1, 3)


def _hidden(
    numbers: np.ndarray,
    depth: np.ndarray,
    camera: Camera,
    points: np.ndarray,
    margins: np.ndarray,
    origin: tuple[int, int],
) -> np.ndarray:
    """Whether quads lie before points (K, 3) by more than their margins: (K,) bool."""
    seen = camera.see(points)
    place = np.floor((camera.project(seen) - origin) * SUPERSAMPLING).astype(int)
    height, width = numbers.shape
    inside = np.all((place >= 0) & (place < (width, height)), axis=1)
    column, row = np.where(inside[:, None], place, 0).T
    number = np.where(inside, numbers[row, column], 0)
    surface = np.concatenate([[np.inf], depth])[number]
    return surface < seen[:, 2] - margins
