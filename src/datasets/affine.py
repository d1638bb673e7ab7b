"""The one affine between a picture and a crop of it.

Coordinates are continuous (x, y) in pixels: pixel k covers [k, k + 1), so a mirrored x is W - x. A matrix
is (2, 3) float64 and maps picture to crop; joints go through it, predictions through its inverse.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np

PERSON_PIXELS = 200.0  # the side of a reference box is 200 scale pixels (MPII's unit)


def crop_matrix(
    center: Sequence[float] | np.ndarray, scale: float, size: int, rotation: float = 0.0, flip: bool = False
) -> np.ndarray:
    """Matrix from a picture to the square crop of `size` pixels around a box of side 200 scale.

    center (2,) in picture pixels; rotation in degrees turns the content counter-clockwise on the screen;
    flip mirrors the crop (after rotating it). Returns (2, 3) float64.
    """
    x, y = map(float, center)
    factor, angle = size / (PERSON_PIXELS * float(scale)), math.radians(rotation)
    cos, sin, half = factor * math.cos(angle), factor * math.sin(angle), size / 2
    across = (cos, sin, half - cos * x - sin * y)
    down = (-sin, cos, half + sin * x - cos * y)
    if flip:
        across = (-cos, -sin, size - across[2])
    return np.array((across, down))


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., 2) through matrices (..., 2, 3) that broadcast against them, one matrix for all joints.

    (2, 3) with (J, 2), or (B, 2, 3) with (B, J, 2). Returns float64.
    """
    linear, offset = matrix[..., :2], matrix[..., 2]
    return np.asarray(points, np.float64) @ np.swapaxes(linear, -1, -2) + offset[..., None, :]


def invert(matrix: np.ndarray) -> np.ndarray:
    """The inverse of one matrix (2, 3) or of several (B, 2, 3), of the same shape."""
    inverse = np.empty_like(matrix, dtype=np.float64)
    inverse[..., :2] = np.linalg.inv(matrix[..., :2])
    inverse[..., 2] = -(inverse[..., :2] @ matrix[..., 2, None])[..., 0]
    return inverse


def between_centers(matrix: np.ndarray) -> np.ndarray:
    """The same map for coordinates that count pixel centres (OpenCV's), half a pixel from ours."""
    (xx, xy, x), (yx, yy, y) = matrix.tolist()
    return np.array(((xx, xy, x + (xx + xy - 1) / 2), (yx, yy, y + (yx + yy - 1) / 2)))


def shrinkage(matrix: np.ndarray) -> float:
    """How many pixels of the picture fall, along a side, on one of the crop."""
    return 1 / math.sqrt(abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]))


def from_reduced(matrix: np.ndarray, reduction: int) -> np.ndarray:
    """The matrix to the same crop from the picture whose pixel k covers [k r, (k + 1) r), r = `reduction`."""
    return matrix if reduction == 1 else matrix * (reduction, reduction, 1)


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """The crop (size, size, 3) of a picture (H, W, 3) uint8; what lies outside the picture is black.

    Bilinear. A picture that shrinks to half or less is first averaged over squares of whole pixels, a power
    of two wide: otherwise bilinear sampling would skip pixels.
    """
    step = 2 ** int(math.log2(max(1.0, shrinkage(matrix))))
    image, matrix = _visible_part(image, matrix, size, step)
    if not image.size:
        return np.zeros((size, size, 3), np.uint8)
    if step > 1:
        image, matrix = _shrink(image, matrix, step)
    return warp_rgb(image, between_centers(matrix), size)


def warp_rgb(
    image: np.ndarray, matrix: np.ndarray, size: int, border: int = cv2.BORDER_CONSTANT
) -> np.ndarray:
    """cv2.warpAffine of a picture (H, W, 3) uint8 with a matrix between pixel centres, to (size, size, 3).

    OpenCV 5 warps four channels much faster than three, to the same values.
    """
    four = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    crop = cv2.warpAffine(four, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)
    return cv2.cvtColor(crop, cv2.COLOR_RGBA2RGB)


def _visible_part(
    image: np.ndarray, matrix: np.ndarray, size: int, step: int
) -> tuple[np.ndarray, np.ndarray]:
    """The part of the picture that the crop shows, and its matrix.

    It has a margin for bilinear sampling after shrinking by `step`, and begins at multiples of that.
    """
    (xx, xy, x_offset), (yx, yy, y_offset) = matrix.tolist()
    half, area = size / 2, xx * yy - xy * yx
    x, y = half - x_offset, half - y_offset  # the middle of the crop, and then its place in the picture
    x, y = (yy * x - xy * y) / area, (xx * y - yx * x) / area
    height, width = image.shape[:2]
    left, right = _limits(x, half * (abs(yy) + abs(xy)) / abs(area), width, step)
    top, bottom = _limits(y, half * (abs(xx) + abs(yx)) / abs(area), height, step)
    moved = (xx, xy, x_offset + xx * left + xy * top), (yx, yy, y_offset + yx * left + yy * top)
    return image[top:bottom, left:right], np.array(moved)


def _limits(middle: float, reach: float, side: int, step: int) -> tuple[int, int]:
    """First and last pixel, the latter not included, of what shows [middle - reach, middle + reach]."""
    first = (math.floor((middle - reach) / step) - 2) * step
    last = (math.ceil((middle + reach) / step) + 2) * step
    return min(max(first, 0), side), min(max(last, 0), side)


def _shrink(image: np.ndarray, matrix: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture averaged over squares of `step` pixels, and the matrix from that one.

    At an edge where no whole square is left, all squares are a little larger or smaller.
    """
    height, width = image.shape[:2]
    new_width, new_height = math.ceil(width / step), math.ceil(height / step)
    small = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_AREA)
    return small, matrix * (width / new_width, height / new_height, 1)
