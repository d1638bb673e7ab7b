"""How the people of a set of poses are framed, lit and photographed."""

from typing import NamedTuple

from src.datasets.synth.background import FEW, POOL


class Creases(NamedTuple):
    """How creases of cloth and skin change the light: by how much (a logarithm), and how fine they are."""

    depth: float = 0.075
    roughness: float = 0.75


class Style(NamedTuple):
    """Ranges of what is drawn at random.

    largest: the side of a crop around a person over that of the picture, at most; a crop beyond 1 has black
    borders. cut_off: the share of people whom the edge of the picture cuts off. Both are of people who are
    alone: groups have ranges of their own. ambient: how much light comes from everywhere, from and to.
    backgrounds: how many there are. exposure: the logarithm of how bright they are, its mean and deviation.
    grain: the deviation of the strength of the grain of their surfaces. creases: those of cloth and skin.
    contrasty: whether the camera hardens contrast, sharpens, and lets colours fade.
    """

    largest: float = 0.92
    cut_off: float = 0.1
    ambient: tuple[float, float] = (0.28, 0.75)
    backgrounds: int = FEW
    exposure: tuple[float, float] = (0.0, 0.15)
    grain: float = 0.0
    creases: Creases = Creases()
    contrasty: bool = False


WHOLE = Style(cut_off=0.0)

# "acrobatic" is as 2,000 pictures of sports have it (LSPET): people fill them, every eighth joint is not
# labelled, a sixth of the pixels of crops is nearly black, half of that beyond the edge, and details of one
# and two pixels are twice as strong as in "all".
STYLES = {
    "all": Style(),
    "upright": WHOLE,
    "acrobatic": Style(
        largest=1.15,
        cut_off=0.16,
        ambient=(0.22, 0.7),
        backgrounds=POOL,
        exposure=(-0.08, 0.33),
        grain=0.1,
        creases=Creases(0.12, 1.0),
        contrasty=True,
    ),
}
