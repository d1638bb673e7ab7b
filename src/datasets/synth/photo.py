"""What a camera and a file do to a picture: blur, noise, light, colour casts, compression."""

from functools import lru_cache

import cv2
import numpy as np

from src.datasets.synth.background import fractal_noise
from src.datasets.synth.render import multiplied

_GRAINS = 8
_GRAIN_SIDE = 640
_MIDDLE = 0.42  # the grey that more contrast leaves as it is


@lru_cache(maxsize=_GRAINS)
def _grain(number: int) -> np.ndarray:
    """Noise around 128 (side, side, 3) uint8: independent per channel, or grey."""
    rng = np.random.default_rng((104729, number))
    channels = 3 if number % 2 else 1
    noise = 128 + 32 * rng.standard_normal((_GRAIN_SIDE, _GRAIN_SIDE, channels), np.float32)
    return np.broadcast_to(np.clip(noise, 0, 255).astype(np.uint8), (_GRAIN_SIDE, _GRAIN_SIDE, 3)).copy()


@lru_cache(maxsize=_GRAINS)
def _dapple(number: int) -> np.ndarray:
    """Light that falls unevenly: factors (128, 128) float32 around 1."""
    rng = np.random.default_rng((15485863, number))
    return np.exp(rng.uniform(0.05, 0.25) * fractal_noise(rng, 128, rng.uniform(0.3, 0.6)))


def photograph(rng: np.random.Generator, picture: np.ndarray, contrasty: bool = False) -> np.ndarray:
    """The picture (S, S, 3) uint8 as a photograph of unknown quality shows it; same shape.

    contrasty: with the contrast and the sharpness that cameras add, and colours between full and faded.
    """
    side = picture.shape[0]
    uneven, vignette, blurred, noisy, compressed, grey = rng.random(6)
    if uneven < 0.4:
        picture = _light_unevenly(rng, picture, vignette < 0.4)
    if blurred < 0.25:
        picture = _blur(rng, picture, side / 288)
    picture = _harden(rng, picture, side / 144) if contrasty else _grade(rng, picture)
    if noisy < 0.45:
        strength = rng.uniform(0.03, 0.22)
        grain = _grain(int(rng.integers(_GRAINS)))
        if side > _GRAIN_SIDE:
            grain = cv2.resize(grain, (side, side), interpolation=cv2.INTER_NEAREST)
        y, x = rng.integers(0, len(grain) - side + 1, 2)
        picture = cv2.addWeighted(picture, 1, grain[y : y + side, x : x + side], strength, -128 * strength)
    if compressed < 0.25:
        encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 85))])[1]
        picture = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
    if grey < 0.05:
        picture = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return picture


def _light_unevenly(rng: np.random.Generator, picture: np.ndarray, vignette: bool) -> np.ndarray:
    side = picture.shape[0]
    field = _dapple(int(rng.integers(_GRAINS)))
    if vignette:
        across = np.linspace(-1, 1, field.shape[0], dtype=np.float32) ** 2
        field = field * (1 - rng.uniform(0.1, 0.3) * (across[:, None] + across[None]))
    field = cv2.resize(field.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    return multiplied(picture, field)


def _blur(rng: np.random.Generator, picture: np.ndarray, scale: float) -> np.ndarray:
    """Out of focus, moved, or enlarged from a small picture."""
    kind = rng.random()
    if kind < 0.6:
        return cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.5) * scale)
    if kind < 0.8:
        length = max(3, int(rng.uniform(3, 9) * scale))
        kernel = np.zeros((length, length), np.float32)
        angle, middle = rng.uniform(0, np.pi), (length - 1) / 2
        step = np.array((np.cos(angle), np.sin(angle))) * middle
        ends = np.rint([(middle - step), (middle + step)]).astype(int).tolist()
        cv2.line(kernel, ends[0], ends[1], 1.0)
        return cv2.filter2D(picture, -1, kernel / kernel.sum())
    side = picture.shape[0]
    small = int(side * rng.uniform(0.4, 0.75))
    shrunk = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (side, side), interpolation=cv2.INTER_LINEAR)


def _grade(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Gamma, contrast, brightness and a colour cast in one table."""
    level = np.arange(256)[:, None] / 255
    return _exposed(rng, picture, level ** np.exp(rng.normal(0, 0.16)), 0.05, 0.08)


def _harden(rng: np.random.Generator, picture: np.ndarray, scale: float) -> np.ndarray:
    """As `_grade`, with more contrast; then less colour, and sharpened."""
    level = np.arange(256)[:, None] / 255
    curve = level ** np.exp(rng.normal(0.02, 0.2))
    curve = _MIDDLE + (curve - _MIDDLE) * np.exp(rng.normal(0.15, 0.18))
    picture = _exposed(rng, picture, curve, 0.06, 0.1)
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    color, sharpened, amount, reach = rng.uniform((0.45, 0, 0.3, 0.5), (1, 1, 1.6, 1.1))
    picture = cv2.addWeighted(picture, color, grey, 1 - color, 0)
    if sharpened > 0.6:
        return picture
    soft = cv2.GaussianBlur(picture, (0, 0), reach * scale)
    return cv2.addWeighted(picture, 1 + amount, soft, -amount, 0)


def _exposed(
    rng: np.random.Generator, picture: np.ndarray, curve: np.ndarray, cast: float, exposure: float
) -> np.ndarray:
    """The picture with its levels on a curve (256, 1), brighter or darker, in a tint.

    cast, exposure: the deviations of the logarithms of what channels and the whole are multiplied by.
    """
    gain = np.exp(rng.normal(0, cast, 3)) * np.exp(rng.normal(0, exposure))
    table = np.clip(curve * gain * 255 + rng.normal(0, 6), 0, 255).astype(np.uint8)
    return cv2.LUT(picture, table.reshape(1, 256, 3))
