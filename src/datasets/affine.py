"""The one affine between a picture and a crop of it.

Coordinates are continuous (x, y) in pixels: pixel k covers [k, k + 1), so a mirrored x is W - x. A matrix
is (2, 3) float64 and maps picture to crop; joints go through it, predictions through its inverse.
"""

import cv2
import numpy as np

PERSON_PIXELS = 200.0  # the side of a reference box is 200 scale pixels (MPII's unit)


def crop_matrix(
    center: np.ndarray, scale: float, size: int, rotation: float = 0.0, flip: bool = False
) -> np.ndarray:
    """Matrix from a picture to the square crop of `size` pixels around a box of side 200 scale.

    center (2,) in picture pixels; rotation in degrees turns the content counter-clockwise on the screen;
    flip mirrors the crop (after rotating it). Returns (2, 3) float64.
    """
    factor = size / (PERSON_PIXELS * scale)
    cos, sin = factor * np.cos(np.radians(rotation)), factor * np.sin(np.radians(rotation))
    linear = np.array([[cos, sin], [-sin, cos]])
    matrix = np.empty((2, 3))
    matrix[:, :2] = linear
    matrix[:, 2] = size / 2 - linear @ np.asarray(center, np.float64)
    if flip:
        matrix[0] = -matrix[0]
        matrix[0, 2] += size
    return matrix


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
    shifted = matrix.copy()
    shifted[:, 2] += 0.5 * matrix[:, :2].sum(1) - 0.5
    return shifted


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """The crop (size, size, 3) of a picture (H, W, 3) uint8; what lies outside the picture is black.

    Bilinear. A picture that shrinks to half or less is first averaged over whole pixels, by area:
    otherwise bilinear sampling would skip pixels.
    """
    matrix = np.asarray(matrix, np.float64)
    shrink = 1 / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if shrink >= 2:
        image, matrix = _shrink_first(image, matrix, int(shrink))
    image, matrix = _visible_part(image, matrix, size)
    if not image.size:
        return np.zeros((size, size, 3), np.uint8)
    return warp_rgb(image, between_centers(matrix), size)


def warp_rgb(
    image: np.ndarray, matrix: np.ndarray, size: int, border: int = cv2.BORDER_CONSTANT
) -> np.ndarray:
    """cv2.warpAffine of a picture (H, W, 3) uint8 with a matrix between pixel centres, to (size, size, 3).

    OpenCV warps four channels several times faster than three, to the same values.
    """
    four = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    crop = cv2.warpAffine(four, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)
    return cv2.cvtColor(crop, cv2.COLOR_RGBA2RGB)


def _visible_part(image: np.ndarray, matrix: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of the picture that the crop shows, with a margin for bilinear sampling, and its matrix."""
    corners = apply(invert(matrix), np.array([[0, 0], [size, 0], [0, size], [size, size]]))
    limits = np.array([image.shape[1], image.shape[0]])
    low = np.clip(np.floor(corners.min(0)).astype(int) - 2, 0, limits)
    high = np.clip(np.ceil(corners.max(0)).astype(int) + 2, 0, limits)
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ low
    return image[low[1] : high[1], low[0] : high[0]], moved


def _shrink_first(image: np.ndarray, matrix: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture smaller by about `factor`, averaged by area, and the matrix from the smaller one."""
    height, width = image.shape[:2]
    new_width, new_height = max(1, width // factor), max(1, height // factor)
    small = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_AREA)
    grown = matrix.copy()
    grown[:, 0] *= width / new_width
    grown[:, 1] *= height / new_height
    return small, grown
