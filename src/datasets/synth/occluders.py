"""Things that stand before people: poles, boards, branches, blobs."""

import cv2
import numpy as np

from src.datasets.synth.background import FEW, SIDE, natural_color, scenery
from src.datasets.synth.render import Layer

_BAR = 9  # half the length of a bar, over what it stands before: it leaves the picture


def sample_occluder(rng: np.random.Generator, box: tuple[float, float, float, float], side: int) -> Layer:
    """A layer over a picture of `side` pixels that hides a part of `box` (left, top, right, bottom)."""
    left, top, right, bottom = box
    reach = max(right - left, bottom - top)
    center = np.array((rng.uniform(left, right), rng.uniform(top, bottom)))
    outline = _outline(rng, center, reach)
    low = np.clip(np.floor(outline.min(0)).astype(int), 0, side - 1)
    high = np.clip(np.ceil(outline.max(0)).astype(int) + 1, low + 1, side)
    width, height = (high - low).tolist()
    alpha = np.zeros((height, width), np.uint8)
    corners = np.rint((outline - low - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(alpha, [corners], 255, cv2.LINE_AA, 4)
    picture = _surface(rng, width, height)
    covered = cv2.multiply(picture, cv2.merge([alpha] * 3), scale=1 / 255)
    return Layer(covered, alpha, int(low[0]), int(low[1]))


def _surface(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """What a thing is made of, (height, width, 3) uint8: plain and shaded, or a piece of some background."""
    color = natural_color(rng)
    if rng.random() < 0.5:
        texture = scenery(int(rng.integers(FEW))).picture
        x, y = rng.integers(0, SIDE - 64, 2).tolist()
        piece = cv2.resize(texture[y : y + 64, x : x + 64], (width, height), interpolation=cv2.INTER_LINEAR)
        return cv2.cvtColor(piece, cv2.COLOR_RGBA2RGB)
    end = color * np.exp(rng.normal(0, 0.3))
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    shaded = np.clip(color + (end - color) * ramp, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(shaded[:, None], (height, width, 3)))


def _outline(rng: np.random.Generator, center: np.ndarray, reach: float) -> np.ndarray:
    """Corners (n, 2) of a post or bar, a board, or a blob."""
    kind = rng.random()
    if kind < 0.4:
        angle = rng.normal(np.pi / 2, 0.08) if rng.random() < 0.6 else rng.uniform(0, np.pi)
        along = np.array((np.cos(angle), np.sin(angle)))
        across = np.array((-along[1], along[0])) * rng.uniform(0.01, 0.06) * reach
        ends = [center - _BAR * reach * along, center + _BAR * reach * along]
        return np.stack([ends[0] - across, ends[1] - across, ends[1] + across, ends[0] + across])
    if kind < 0.7:
        size = rng.uniform(0.12, 0.55, 2) * reach
        return cv2.boxPoints((center.tolist(), size.tolist(), float(rng.normal(0, 12))))
    angles = np.arange(14) * (2 * np.pi / 14)
    radius = rng.uniform(0.08, 0.24) * reach * np.exp(0.15 * rng.standard_normal(14))
    return center + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, None]
