"""A training sample as first scripts make it: floats and Gaussians in the worker, person by person.

Each function gives the picture (3, R, R) float32 RGB in [0, 1] and the heatmaps (J, R/4, R/4) float32 of
person `row`, under the factors that were drawn.
"""

import cv2
import numpy as np
import torch
from torch import Tensor

from src.datasets.annotations import Annotations
from src.datasets.augmentation import Draw

RES, STRIDE = 256, 4  # pixels of the crop, pixels to a cell
SIGMA, RADIUS = 1.0, 3  # of a Gaussian, in cells


def with_opencv(people: Annotations, row: int, draw: Draw, res: int = RES) -> tuple[Tensor, Tensor]:
    """The whole picture in one warp, then as floats; a small Gaussian copied to each joint."""
    image = cv2.imread(str(people.path(row)))
    assert image is not None
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    center, side = _box(people, row, draw)
    matrix = np.asarray(cv2.getRotationMatrix2D(center.tolist(), draw.rotation, res / side), float)
    matrix[:, 2] += res / 2 - center
    image = cv2.warpAffine(image, matrix, (res, res)).astype(np.float32) / 255
    joints = people.joints[row] @ matrix[:, :2].T + matrix[:, 2]
    if draw.flip:
        image, joints = image[:, ::-1], _mirrored(joints, people, res)
    image = np.clip(image * np.array(draw.color, np.float32), 0, 1)

    steps = np.arange(-RADIUS, RADIUS + 1)
    gaussian = np.exp(-(steps**2 + steps[:, None] ** 2) / (2 * SIGMA**2))
    size = res // STRIDE
    heatmaps = np.zeros((len(joints), size, size), np.float32)
    for heatmap, cell, labelled in zip(heatmaps, _cells(joints), _visible(people, row, draw), strict=True):
        x, y = cell
        if labelled and 0 <= x < size and 0 <= y < size:
            left, right = max(x - RADIUS, 0), min(x + RADIUS + 1, size)
            top, bottom = max(y - RADIUS, 0), min(y + RADIUS + 1, size)
            part = gaussian[top - y + RADIUS : bottom - y + RADIUS, left - x + RADIUS : right - x + RADIUS]
            heatmap[top:bottom, left:right] = part
    return torch.from_numpy(image.transpose(2, 0, 1).copy()), torch.from_numpy(heatmaps)


def with_skimage(people: Annotations, row: int, draw: Draw, res: int = RES) -> tuple[Tensor, Tensor]:
    """The picture rotated, cropped and resized; each Gaussian computed on the whole map."""
    from skimage import color, io, transform

    image = io.imread(people.path(row))
    if image.ndim == 2:
        image = color.gray2rgb(image)
    center, side = _box(people, row, draw)
    if draw.rotation:
        image = transform.rotate(image, draw.rotation, center=center)
    left, top = np.round(center - side / 2).astype(int)
    right, bottom = left + round(side), top + round(side)
    height, width = image.shape[:2]
    image = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    outside = (max(-top, 0), max(bottom - height, 0)), (max(-left, 0), max(right - width, 0)), (0, 0)
    image = transform.resize(np.pad(image, outside), (res, res), anti_aliasing=True)
    angle = np.radians(draw.rotation)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    joints = (people.joints[row] - center) @ turn.T * res / side + res / 2
    if draw.flip:
        image, joints = image[:, ::-1], _mirrored(joints, people, res)
    image = np.clip(image * np.array(draw.color, np.float32), 0, 1)

    size = res // STRIDE
    x, y = np.arange(size), np.arange(size)[:, None]
    heatmaps = np.zeros((len(joints), size, size), np.float32)
    for heatmap, cell, labelled in zip(heatmaps, _cells(joints), _visible(people, row, draw), strict=True):
        if labelled and (cell >= 0).all() and (cell < size).all():
            heatmap[:] = np.exp(-((x - cell[0]) ** 2 + (y - cell[1]) ** 2) / (2 * SIGMA**2))
            heatmap[np.maximum(abs(x - cell[0]), abs(y - cell[1])) > RADIUS] = 0
    return torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32)), torch.from_numpy(heatmaps)


def _box(people: Annotations, row: int, draw: Draw) -> tuple[np.ndarray, float]:
    """Centre (2,) and side of what a crop shows, in pixels."""
    center = people.center[row] + np.array([0, people.shift[row] * people.scale[row]])
    return center, float(200 * people.scale[row] * people.enlarge[row] * draw.scale)


def _mirrored(joints: np.ndarray, people: Annotations, res: int) -> np.ndarray:
    return np.stack([res - joints[:, 0], joints[:, 1]], 1)[people.skeleton.flip_order]


def _visible(people: Annotations, row: int, draw: Draw) -> np.ndarray:
    visible = people.visible[row] > 0
    return visible[people.skeleton.flip_order] if draw.flip else visible


def _cells(joints: np.ndarray) -> np.ndarray:
    return np.floor(joints / STRIDE).astype(int)
