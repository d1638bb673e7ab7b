"""What people look like: colours of skin and hair, cuts, colours and patterns of clothes."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from src.datasets.synth.body import Build


class Material(IntEnum):
    """What a quad is made of; the row of its colour in a palette."""

    SKIN = 0
    TOP = 1
    BOTTOM = 2
    SHOE = 3
    SOLE = 4
    SOCK = 5
    HAIR = 6
    INNER = 7  # the shirt under an open jacket; trimmings
    GLOVE = 8
    HAT = 9


CLOTH = (Material.TOP, Material.BOTTOM, Material.INNER)

_SKIN_TONES = np.array(
    [
        (255, 226, 205), (241, 203, 174), (226, 182, 148), (198, 152, 114), (150, 104, 74), (108, 72, 52),
        (74, 50, 38),
    ],
    float,
)  # fmt: skip
_DARK_SKIN = 3.2  # from this tone on hair is black or dark brown
_HAIR_TONES = np.array(
    [
        (24, 21, 20), (58, 38, 26), (104, 72, 46), (160, 124, 78), (212, 182, 126), (150, 68, 40),
        (170, 168, 165),
    ],
    float,
)  # fmt: skip
_HAIR_SHARES = np.array((0.24, 0.26, 0.2, 0.11, 0.09, 0.06, 0.04))
_GREY_HAIR = np.array((200, 198, 196), float)
# Half of what people wear has hardly any colour: black, white, greys, navy and denim, khaki.
_QUIET_COLORS = np.array(
    [
        (26, 26, 28), (40, 42, 46), (238, 238, 236), (214, 212, 206), (128, 130, 132), (86, 90, 96),
        (30, 38, 66), (58, 78, 112), (92, 116, 150), (150, 136, 106), (98, 84, 62), (70, 76, 60),
    ],
    float,
)  # fmt: skip
_QUIET_SHARE = 0.52

NO_SLEEVE, WRIST, ANKLE = -1.0, 1.93, 1.92  # places along an arm and a leg where cloth ends
PATTERNS = ("stripes", "hoops", "checks", "print", "panel", "side stripe")
PATTERN_SHARE = 0.42


@dataclass(frozen=True)
class Garment:
    """One garment: how far it reaches (places along the chains), how wide it is, what is on it.

    end: where the sleeves or legs end; edge: where it ends on the trunk (hem of a top, waist of a bottom);
    ease: cloth over body, as a share of the radius; flare: more of it towards the end; pattern: one of
    PATTERNS or ""; folds: how deep.
    """

    end: float
    edge: float
    ease: float
    flare: float
    pattern: str
    folds: float


@dataclass(frozen=True)
class Outfit:
    """Everything somebody wears, and their colours. palette (10, 3) RGB, a row a Material; second (3,) that
    of patterns. skirt is the place along the leg where a skirt ends, or 0. sock and boot are places from
    which downwards they cover the leg. open_front: the jacket shows what is below it.
    """

    palette: np.ndarray
    second: np.ndarray
    top: Garment | None
    bottom: Garment
    collar: float
    open_front: bool
    skirt: float
    barefoot: bool
    sock: float
    boot: float
    hair: str
    hat: str
    beard: bool
    glasses: bool


HAIR_STYLES = ("short", "crop", "bald", "long", "tail", "bun", "afro", "bob")
_HAIR_MALE = np.array((0.55, 0.22, 0.1, 0.03, 0.02, 0.01, 0.05, 0.02))
_HAIR_FEMALE = np.array((0.12, 0.03, 0.0, 0.34, 0.22, 0.1, 0.06, 0.13))
_HATS = ("", "cap", "beanie", "helmet", "headband")
_HAT_SHARES = np.array((0.8, 0.08, 0.04, 0.05, 0.03))


def pick(rng: np.random.Generator, shares: np.ndarray) -> int:
    """A place in `shares` (which sum to 1), as likely as its share; quicker than `choice`."""
    return min(int(np.searchsorted(np.cumsum(shares), rng.random())), len(shares) - 1)


def cloth_colors(rng: np.random.Generator, count: int) -> np.ndarray:
    """Colours of cloth, half of them with hardly any hue: (count, 3) floats, RGB."""
    quiet = _QUIET_COLORS[rng.integers(len(_QUIET_COLORS), size=count)] + rng.normal(0, 8, (count, 3))
    hue, saturation, value = rng.uniform((0, 0.2, 50), (1, 0.85, 225), (count, 3)).T[..., None]
    wheel = np.abs((hue * 6 - (3.0, 2.0, 4.0)) % 6 - 3) - 1
    vivid = value * (1 - saturation * (1 - np.clip(wheel, 0, 1)))
    return np.clip(np.where(rng.random((count, 1)) < _QUIET_SHARE, quiet, vivid), 12, 246)


def sample_outfit(rng: np.random.Generator, build: Build) -> Outfit:
    """Clothes and colours at random; dresses and long hair are commoner on women."""
    feminine = rng.random() < 0.08 + 0.84 * build.female
    skirt = float(rng.choice((0.35, 0.55, 0.8, 1.3, 1.75))) if feminine and rng.random() < 0.28 else 0.0
    is_dress = skirt > 0 and rng.random() < 0.6
    palette, second = _palette(rng, build)
    if is_dress or rng.random() < 0.1:
        palette[Material.BOTTOM] = palette[Material.TOP]
    top = _top(rng, is_dress)
    if top is None and feminine:
        top = Garment(NO_SLEEVE, 2.05, 0.02, 0, "", 0.01)  # a sports bra or bikini
    bottom = _bottom(rng, bool(skirt), bare_top=top is None)
    neckline = rng.random()
    collar = 2.98 if top is None or neckline < 0.5 else (3.3 if top.end > 1.5 and neckline < 0.75 else 2.88)
    barefoot = rng.random() < (0.5 if bottom.end < 0.2 else 0.13)
    if barefoot:
        palette[[Material.SHOE, Material.SOLE, Material.SOCK]] = palette[Material.SKIN]
    hair = HAIR_STYLES[pick(rng, _HAIR_FEMALE if feminine else _HAIR_MALE)]
    return Outfit(
        palette=palette,
        second=second,
        top=top,
        bottom=bottom,
        collar=collar,
        open_front=top is not None and top.end > 1.5 and top.ease > 0.1 and rng.random() < 0.45,
        skirt=skirt,
        barefoot=barefoot,
        sock=rng.uniform(1.2, 1.9) if rng.random() < 0.45 else 1.97,
        boot=rng.uniform(1.4, 1.85) if not barefoot and rng.random() < 0.12 else 2.0,
        hair=hair,
        hat=_HATS[pick(rng, _HAT_SHARES)],
        beard=not feminine and build.child == 0 and rng.random() < 0.22,
        glasses=rng.random() < 0.12,
    )


def _palette(rng: np.random.Generator, build: Build) -> tuple[np.ndarray, np.ndarray]:
    """The colours of all materials, and the second colour of patterns."""
    palette = np.empty((len(Material), 3))
    cloth = cloth_colors(rng, len(Material) + 1)
    palette[:] = cloth[:-1]
    tone = rng.random() ** 1.2 * (len(_SKIN_TONES) - 1.001)
    lighter = int(tone)
    skin = _SKIN_TONES[lighter] + (tone - lighter) * (_SKIN_TONES[lighter + 1] - _SKIN_TONES[lighter])
    palette[Material.SKIN] = skin * np.exp(rng.normal(0, 0.04)) + rng.normal(0, 3, 3)
    dark = tone > _DARK_SKIN
    hair = _HAIR_TONES[rng.integers(2) if dark else pick(rng, _HAIR_SHARES)]
    grey = min(max((build.age - 0.7) * 3, 0), 1) * rng.random()
    palette[Material.HAIR] = (hair + grey * (_GREY_HAIR - hair)) * np.exp(rng.normal(0, 0.12))
    plain_shoe, plain_sock, bare_hand = rng.random(3)
    if plain_shoe < 0.4:
        palette[Material.SHOE] = 28 if plain_shoe < 0.2 else 236
    if plain_shoe < 0.7:
        palette[Material.SOLE] = (225, 223, 216)
    if plain_sock < 0.5:
        palette[Material.SOCK] = 238
    if bare_hand < 0.94:
        palette[Material.GLOVE] = palette[Material.SKIN]
    return np.clip(palette, 6, 250), cloth[-1]


def _pattern(rng: np.random.Generator) -> str:
    return PATTERNS[rng.integers(len(PATTERNS))] if rng.random() < PATTERN_SHARE else ""


_TOP_SHARES = np.array((0.09, 0.13, 0.4, 0.22, 0.16))  # bare, vest, t-shirt, long sleeves, jacket
_BOTTOM_SHARES = np.array((0.06, 0.3, 0.14, 0.36, 0.14))  # briefs, shorts, tights, trousers, wide ones
_BOTTOM_SHARES_BARE = np.array((0.3, 0.3, 0.1, 0.2, 0.1))  # the same below a bare chest


def _top(rng: np.random.Generator, is_dress: bool) -> Garment | None:
    """A vest, t-shirt, long-sleeved shirt, jacket, or nothing."""
    kind = pick(rng, _TOP_SHARES)
    hem = rng.uniform(0.2, 1.0)
    pattern, fold = _pattern(rng), rng.uniform(0.7, 1.5)
    if is_dress:
        return Garment(float(rng.choice((NO_SLEEVE, 0.3, 1.9))), 0.5, 0.025, 0, pattern, 0.012 * fold)
    if kind == 0:
        return None
    if kind == 1:
        return Garment(NO_SLEEVE, hem, rng.uniform(0.01, 0.08), 0, pattern, 0.012 * fold)
    if kind == 2:
        return Garment(rng.uniform(0.35, 0.85), hem, rng.uniform(0.04, 0.18), 0.5, pattern, 0.018 * fold)
    if kind == 3:
        end = WRIST if rng.random() < 0.8 else rng.uniform(1.1, 1.5)
        return Garment(end, hem, rng.uniform(0.02, 0.14), 0.1, pattern, 0.02 * fold)
    return Garment(WRIST, rng.uniform(-0.3, 0.5), rng.uniform(0.14, 0.28), 0.1, pattern, 0.028 * fold)


def _bottom(rng: np.random.Generator, has_skirt: bool, bare_top: bool) -> Garment:
    """Briefs, shorts, tights, trousers, jeans; under a skirt bare legs or tights."""
    waist = rng.uniform(0.75, 1.1)
    if has_skirt:
        end = ANKLE if rng.random() < 0.2 else 0.15
        return Garment(end, waist, 0.01, 0, "", 0.006)
    kind = pick(rng, _BOTTOM_SHARES_BARE if bare_top else _BOTTOM_SHARES)
    pattern, fold = _pattern(rng), rng.uniform(0.7, 1.5)
    if kind == 0:
        return Garment(rng.uniform(0.1, 0.2), waist, 0.015, 0, pattern, 0.006)
    if kind == 1:
        return Garment(rng.uniform(0.35, 0.95), waist, rng.uniform(0.06, 0.22), 0.6, pattern, 0.02 * fold)
    if kind == 2:
        end = ANKLE if rng.random() < 0.6 else rng.uniform(1.05, 1.5)
        return Garment(end, waist, 0.012, 0, pattern if rng.random() < 0.4 else "", 0.006)
    if kind == 3:
        pattern = pattern if rng.random() < 0.2 else ""
        return Garment(ANKLE, waist, rng.uniform(0.05, 0.14), rng.uniform(0, 0.25), pattern, 0.022 * fold)
    return Garment(ANKLE, waist, rng.uniform(0.12, 0.26), rng.uniform(0, 0.6), pattern, 0.03 * fold)
