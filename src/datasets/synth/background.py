"""Backgrounds: a fixed pool of landscapes, rooms and clutter, of which every sample gets a part."""

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

FEW, POOL = 96, 240  # pictures: some styles use the first FEW only; each takes 0.6 MB of a process
SIDE = 384  # pixels of the pictures in the pool
SURFACES = 16
_SEED = 7919


class Scenery(NamedTuple):
    """A picture (SIDE, SIDE, 4) uint8 RGBA (OpenCV warps four channels faster than three), and the row of
    its horizon, or None if it has none.
    """

    picture: np.ndarray
    horizon: float | None


_NATURAL = np.array(
    [
        (124, 124, 122), (154, 150, 146), (100, 96, 90), (70, 66, 62), (206, 204, 198), (232, 230, 226),
        (150, 112, 74), (120, 88, 60), (184, 150, 112), (206, 180, 140), (76, 96, 48), (60, 76, 42),
        (112, 122, 62), (104, 112, 84), (112, 142, 172), (130, 170, 202), (66, 84, 118), (152, 62, 48),
        (36, 34, 32),
    ],
    float,
)  # fmt: skip
_GROUNDS = np.array(
    [
        (84, 108, 50), (104, 124, 66), (206, 184, 142), (140, 132, 122), (112, 108, 106), (150, 100, 76),
        (170, 140, 104), (232, 234, 240), (70, 110, 130),
    ],
    float,
)  # fmt: skip
_WHITE_PAINT, _DAYLIGHT = (235.0, 235.0, 230.0), (215.0, 225.0, 235.0)
_GLASS, _RUBBER = (50.0, 60.0, 70.0), (25.0, 25.0, 25.0)


def natural_color(rng: np.random.Generator) -> np.ndarray:
    """A colour as things around people have: (3,) floats, RGB."""
    color = _NATURAL[rng.integers(len(_NATURAL))] * np.exp(rng.normal(0, 0.25)) + rng.normal(0, 9, 3)
    return np.clip(color, 5, 250)


@lru_cache(maxsize=POOL)
def scenery(number: int) -> Scenery:
    """Picture `number` of the pool; depends on nothing but the number."""
    rng = np.random.default_rng((_SEED, number))
    makers = (_landscape, _landscape, _room, _wall, _street, _clutter)
    picture, horizon = makers[number % len(makers)](rng)
    return Scenery(_photographed(rng, picture), horizon)


@lru_cache(maxsize=SURFACES)
def surface(number: int) -> np.ndarray:
    """The grain of a surface, details of one pixel and more: (SIDE, SIDE) float32 around 0."""
    rng = np.random.default_rng((_SEED, 1, number))
    across, down = np.exp(rng.uniform(-0.9, 0.9, 2))
    noise = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE), np.float32), (0, 0), across, None, down)
    return noise / float(noise.std()) + 0.7 * fractal_noise(rng, SIDE, 1.0)


def fractal_noise(rng: np.random.Generator, side: int, roughness: float, stretch: float = 1.0) -> np.ndarray:
    """Noise (side, side) float32 of mean 0 and deviation 1. Finer cells weigh `roughness` times the coarser;
    stretch draws it out sideways. It is made at half the size: details of single pixels are left out.
    """
    half = (side + 1) // 2
    total = np.zeros((half, half), np.float32)
    cells, weight = 3, 1.0
    while cells <= half:
        cell = rng.standard_normal((cells, max(2, int(cells / stretch))), np.float32)
        total += weight * cv2.resize(cell, (half, half), interpolation=cv2.INTER_LINEAR)
        cells, weight = cells * 3, weight * roughness
    total = (total - total.mean()) / (total.std() + 1e-6)
    return cv2.resize(total, (side, side), interpolation=cv2.INTER_LINEAR)


# What follows draws into pictures (SIDE, SIDE, 3) float32, RGB 0…255, in place unless it returns one.
_Painted = tuple[np.ndarray, float | None]  # a picture and its horizon


def _photographed(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Light that varies over the picture, grain of surfaces, and the blur of what is out of focus."""
    light = rng.uniform(0.03, 0.15) * fractal_noise(rng, SIDE, 0.4)
    grain = rng.uniform(0.02, 0.08) * fractal_noise(rng, SIDE, 1.0)
    lit = np.clip(picture * np.exp(light + grain)[..., None], 0, 255).astype(np.uint8)
    return cv2.cvtColor(cv2.GaussianBlur(lit, (0, 0), 0.3 + rng.exponential(0.7)), cv2.COLOR_RGB2RGBA)


def _tone(color: np.ndarray) -> list[float]:
    return np.clip(color, 0, 255).tolist()


def _box(picture: np.ndarray, x: int, y: int, width: int, height: int, color: np.ndarray) -> None:
    cv2.rectangle(picture, (x, y), (x + width, y + height), _tone(color), cv2.FILLED)


def _disc(
    picture: np.ndarray, x: float, y: float, axes: tuple[float, float], color: np.ndarray, angle: float = 0
) -> None:
    half_axes = (int(axes[0]) + 1, int(axes[1]) + 1)
    cv2.ellipse(picture, (int(x), int(y)), half_axes, angle, 0, 360, _tone(color), cv2.FILLED)


def _plain(
    rng: np.random.Generator, color: np.ndarray, contrast: float, roughness: float, stretch: float = 1.0
) -> np.ndarray:
    """A surface of one colour, mottled."""
    noise = fractal_noise(rng, SIDE, roughness, stretch) * contrast
    return color.astype(np.float32) * np.exp(noise)[..., None]


def _sky(rng: np.random.Generator) -> np.ndarray:
    blue, overcast = rng.uniform((70, 130, 190), (170, 190, 240)), np.full(3, rng.uniform(150, 225))
    top = overcast if rng.random() < 0.35 else blue
    low = np.full(3, rng.uniform(200, 250))
    ramp = np.linspace(0, 1, SIDE, dtype=np.float32)[:, None, None]
    clouds = np.clip(fractal_noise(rng, SIDE, 0.6, 2.5) - rng.uniform(-0.3, 1.2), 0, 1)[..., None]
    sky = top + (low - top) * ramp
    return (sky + (248 - sky) * clouds * rng.uniform(0.3, 0.9)).astype(np.float32)


def _ground(rng: np.random.Generator, horizon: int) -> np.ndarray:
    """A plain that runs to the horizon: grain gets finer and lines run together towards it."""
    color = _GROUNDS[rng.integers(len(_GROUNDS))] * np.exp(rng.normal(0, 0.15))
    ground = _plain(rng, color, rng.uniform(0.04, 0.18), rng.uniform(0.5, 0.95), 0.5)
    if rng.random() < 0.35:
        _court_lines(rng, ground)
    if rng.random() < 0.25:  # mown in stripes
        period = int(rng.uniform(30, 70))
        ground[:, (np.arange(SIDE) // period) % 2 == 0] *= rng.uniform(0.86, 0.95)
    return _lay_down(ground, horizon)


def _court_lines(rng: np.random.Generator, ground: np.ndarray) -> None:
    color = np.array(_WHITE_PAINT) if rng.random() < 0.7 else natural_color(rng)
    for _ in range(rng.integers(1, 5)):
        at, width = int(rng.uniform(0, SIDE)), int(rng.integers(2, 6))
        if rng.random() < 0.6:
            _box(ground, at, 0, width, SIDE, color)
        else:
            _box(ground, 0, at, SIDE, width, color)


def _lay_down(texture: np.ndarray, horizon: int) -> np.ndarray:
    """A texture seen as a plain under a horizon (row): rows far away are squeezed. It repeats, mirrored."""
    rows = np.arange(SIDE, dtype=np.float32)[:, None]
    columns = np.arange(SIDE, dtype=np.float32)[None, :] - SIDE / 2
    distance = 0.35 * SIDE / np.maximum(rows - horizon + 3, 3)
    from_row = np.broadcast_to(220 * distance, (SIDE, SIDE))
    from_column = columns * np.minimum(1.2 * distance, 6) + SIDE / 2
    return cv2.remap(texture, _folded(from_column), _folded(from_row), cv2.INTER_LINEAR)


def _folded(places: np.ndarray) -> np.ndarray:
    """Places on an endless line, folded to and fro into a picture."""
    last = SIDE - 1
    return np.abs((places + last) % (2 * last) - last).astype(np.float32)


def _foliage(rng: np.random.Generator, picture: np.ndarray, low: int, height: int) -> None:
    """A row of trees or bushes that stands at row `low`."""
    color = rng.uniform((40, 62, 28), (95, 115, 60))
    for _ in range(int(rng.integers(140, 320))):
        x, up = rng.uniform(-10, SIDE + 10), rng.beta(1.1, 1.6)
        radius = rng.uniform(0.05, 0.2) * min(height, 120) + 2
        shade = color * np.exp(rng.normal(0, 0.25)) * (0.75 + 0.5 * up)
        axes = (radius, radius * rng.uniform(0.5, 1))
        _disc(picture, x, low - up * height, axes, shade, rng.uniform(0, 180))


def _hills(rng: np.random.Generator, picture: np.ndarray, horizon: int) -> None:
    for depth in range(int(rng.integers(1, 3))):
        steps = np.cumsum(rng.normal(0, 6, 24))
        line = np.interp(np.linspace(0, 23, SIDE), np.arange(24), steps)
        top = horizon - rng.uniform(8, 40) + line - line.mean()
        ridge = np.stack([np.arange(SIDE), np.minimum(top, horizon)], axis=1)
        outline = np.concatenate([ridge, [(SIDE, horizon), (0, horizon)]]).astype(np.int32)
        haze = np.array((150, 165, 180)) * (0.65 + 0.15 * depth) + rng.normal(0, 15, 3)
        cv2.fillPoly(picture, [outline], _tone(haze))


def _houses(
    rng: np.random.Generator, picture: np.ndarray, low: int, lowest: int, highest: int, gap: int
) -> None:
    """A row of houses that stand at row `low`, between `lowest` and `highest` pixels high."""
    left = -20
    while left < SIDE:
        width = int(rng.uniform(50, 160))
        _house(rng, picture, left, width, low, int(rng.uniform(lowest, highest)))
        left += width + int(rng.uniform(0, gap))


def _house(
    rng: np.random.Generator, picture: np.ndarray, left: int, width: int, low: int, height: int
) -> None:
    color, step = natural_color(rng), int(rng.uniform(12, 34))
    window = color * rng.uniform(0.25, 0.7) if rng.random() < 0.7 else np.array((170.0, 190, 210))
    _box(picture, left, low - height, width, height, color)
    for y in range(low - height + step // 2, low - step, step):
        for x in range(left + step // 3, left + width - step // 2, step):
            _box(picture, x, y, step // 2, int(step * 0.6), window * np.exp(rng.normal(0, 0.2)))


def _crowd(rng: np.random.Generator, picture: np.ndarray, low: int, height: int) -> None:
    """Rows of spectators: heads over shoulders."""
    size = rng.uniform(4, 11)
    for row in np.arange(low - height, low, size * 1.8):
        for column in np.arange(-size, SIDE + size, size * 2.3):
            x, y = column + rng.normal(0, 0.4 * size), row + rng.normal(0, 0.3 * size)
            skin = np.array((205, 160, 130)) * rng.uniform(0.4, 1.1)
            _disc(picture, x, y + 1.9 * size, (size, 1.5 * size), natural_color(rng))
            _disc(picture, x, y, (0.55 * size, 0.55 * size), skin)


def _poles(rng: np.random.Generator, picture: np.ndarray, horizon: int) -> None:
    """Masts, and perhaps rails between them."""
    color = natural_color(rng)
    for _ in range(rng.integers(1, 6)):
        height, width = horizon + int(rng.uniform(5, 60)), int(rng.integers(1, 8))
        _box(picture, int(rng.uniform(0, SIDE)), 0, width, height, color)
    if rng.random() < 0.5:
        for y in np.linspace(horizon - 40, horizon + 10, rng.integers(2, 6)):
            _box(picture, 0, int(y), SIDE, 1, color)


def _car(rng: np.random.Generator, picture: np.ndarray, low: int) -> None:
    length, x = int(rng.uniform(40, 90)), int(rng.uniform(-20, SIDE))
    height = length // 4
    _disc(picture, x + length / 2, low - height, (length / 3, height / 2 + 2), np.array(_GLASS))
    _box(picture, x, low - height, length, height - 4, natural_color(rng))
    for wheel in (0.2, 0.8):
        _disc(picture, x + wheel * length, low - 4, (length / 10, length / 10), np.array(_RUBBER))


def _landscape(rng: np.random.Generator) -> _Painted:
    """Ground under a sky, with hills, trees, houses or a crowd between them."""
    horizon = int(rng.uniform(0.25, 0.6) * SIDE)
    picture = _sky(rng)
    if rng.random() < 0.4:
        _hills(rng, picture, horizon)
    kind = rng.random()
    if kind < 0.4:
        _foliage(rng, picture, horizon + 4, int(rng.uniform(25, 150)))
    elif kind < 0.6:
        _houses(rng, picture, horizon, 30, horizon + 1, gap=30)
    elif kind < 0.75:
        _crowd(rng, picture, horizon, int(rng.uniform(40, 120)))
    picture[horizon:] = _ground(rng, horizon)[horizon:]
    if rng.random() < 0.4:
        _poles(rng, picture, horizon)
    return picture, float(horizon)


def _street(rng: np.random.Generator) -> _Painted:
    """High houses over a street or a square, with cars and poles."""
    horizon = int(rng.uniform(0.35, 0.55) * SIDE)
    curb = horizon + 8
    picture = _sky(rng)
    _houses(rng, picture, curb, curb // 2, curb + 30, gap=1)
    picture[curb:] = _ground(rng, horizon)[curb:]
    for _ in range(rng.integers(0, 4)):
        _car(rng, picture, curb + int(rng.uniform(0, 32)))
    if rng.random() < 0.5:
        _poles(rng, picture, horizon)
    return picture, float(horizon)


def _room(rng: np.random.Generator) -> _Painted:
    """Walls and a floor, with windows, pictures and furniture."""
    horizon = int(rng.uniform(0.3, 0.5) * SIDE)
    floor_line = horizon + int(rng.uniform(0.12, 0.28) * SIDE)
    wall = 0.5 * natural_color(rng) + 110 * rng.uniform(0.4, 1)
    picture = _plain(rng, wall, 0.03, 0.6)
    picture *= np.linspace(rng.uniform(0.8, 1.2), 1, SIDE, dtype=np.float32)[None, :, None]
    if rng.random() < 0.5:  # another wall, in the shade
        picture[:, : int(rng.uniform(0.15, 0.85) * SIDE)] *= rng.uniform(0.72, 0.92)
    for _ in range(rng.integers(1, 5)):
        _window(rng, picture, floor_line)
    floor = _plain(rng, natural_color(rng), 0.06, 0.6, 3.0)
    if rng.random() < 0.6:
        _boards(rng, floor)
    picture[floor_line:] = _lay_down(floor, horizon)[floor_line:]
    _box(picture, 0, floor_line - 3, SIDE, int(rng.integers(1, 6)), 0.6 * wall)
    for _ in range(rng.integers(0, 4)):
        _furniture(rng, picture, floor_line)
    return picture, float(horizon)


def _window(rng: np.random.Generator, picture: np.ndarray, floor_line: int) -> None:
    """A window or a picture on the wall, in a frame."""
    width, height = rng.uniform(30, 120, 2).astype(int).tolist()
    x, y = int(rng.uniform(-20, SIDE - 20)), int(rng.uniform(0, floor_line - height * 0.8))
    inside = np.array(_DAYLIGHT) if rng.random() < 0.4 else natural_color(rng)
    _box(picture, x - 4, y - 4, width + 8, height + 8, natural_color(rng))
    _box(picture, x, y, width, height, inside)
    if rng.random() < 0.5:
        _box(picture, x + width // 2, y, 2, height, np.array(_GLASS))


def _boards(rng: np.random.Generator, floor: np.ndarray) -> None:
    """The joints of floor boards or of tiles."""
    period, tiles, shade = int(rng.uniform(12, 48)), rng.random() < 0.5, rng.uniform(0.6, 0.85)
    floor[:, np.arange(SIDE) % period < 2] *= shade
    if tiles:
        floor[::period] *= shade


def _furniture(rng: np.random.Generator, picture: np.ndarray, floor_line: int) -> None:
    width, height = int(rng.uniform(30, 130)), int(rng.uniform(25, 120))
    x, low = int(rng.uniform(-30, SIDE)), int(floor_line + rng.uniform(2, 45))
    color = natural_color(rng)
    _box(picture, x, low - height, width, height, color)
    _box(picture, x, low - height, width, 6, 1.2 * color)
    for _ in range(rng.integers(0, 4)):
        _box(picture, x, low - int(rng.uniform(0.1, 0.9) * height), width, 1, 0.6 * color)


def _wall(rng: np.random.Generator) -> _Painted:
    """A wall seen at an angle, of bricks, plaster, planks or leaves; perhaps with ground before it."""
    kind = rng.random()
    if kind < 0.4:
        picture = _bricks(rng)
    elif kind < 0.7:
        contrast, roughness, stretch = rng.uniform(0.05, 0.3), rng.uniform(0.5, 1.0), rng.choice((0.3, 1, 4))
        picture = _plain(rng, natural_color(rng), contrast, roughness, float(stretch))
    else:
        picture = _plain(rng, natural_color(rng), 0.05, 0.6)
        for _ in range(3):
            _foliage(rng, picture, SIDE, SIDE)
    square = np.array([(0, 0), (SIDE, 0), (SIDE, SIDE), (0, SIDE)], np.float32)
    moved = square + rng.normal(0, 0.12 * SIDE, (4, 2)).astype(np.float32)
    turned = cv2.getPerspectiveTransform(square, moved)
    picture = cv2.warpPerspective(picture, turned, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
    if rng.random() < 0.4:
        return picture, None
    horizon = int(rng.uniform(0.3, 0.5) * SIDE)
    line = horizon + int(rng.uniform(0.1, 0.3) * SIDE)
    picture[line:] = _ground(rng, horizon)[line:]
    return picture, float(horizon)


def _bricks(rng: np.random.Generator) -> np.ndarray:
    width, height = int(rng.uniform(18, 80)), int(rng.uniform(9, 40))
    gap, shifted = int(rng.integers(1, 4)), rng.random() < 0.7
    color = natural_color(rng)
    picture = np.broadcast_to(natural_color(rng).astype(np.float32), (SIDE, SIDE, 3)).copy()
    for row, y in enumerate(range(0, SIDE, height)):
        for x in range(-(width // 2) * (row % 2) * shifted, SIDE, width):
            _box(picture, x, y, width - gap, height - gap, color * np.exp(rng.normal(0, 0.1)))
    return picture


def _clutter(rng: np.random.Generator) -> _Painted:
    """Shapes of all kinds over a texture: what no other kind has."""
    picture = _plain(rng, natural_color(rng), rng.uniform(0.05, 0.3), rng.uniform(0.5, 0.95))
    for _ in range(int(rng.integers(8, 40))):
        (x, y), size = rng.random(2) * SIDE, 0.45 * SIDE * rng.random() ** 2 + 5
        color, kind, angle = natural_color(rng), rng.random(), rng.uniform(0, 180)
        if kind < 0.25:
            _disc(picture, x, y, (0.5 * size, rng.uniform(0.15, 0.5) * size), color, angle)
            continue
        board, bar = size * rng.uniform(0.2, 1.2, 2), (SIDE * rng.uniform(0.2, 1.6), rng.uniform(2, 18))
        corners = cv2.boxPoints(((x, y), tuple(board) if kind < 0.6 else bar, angle))
        cv2.fillPoly(picture, [corners.astype(np.int32)], _tone(color), cv2.LINE_AA)
    return picture, None
