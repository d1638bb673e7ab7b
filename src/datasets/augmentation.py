"""What is drawn at random for a training sample: scale, rotation, mirror and colour.

The defaults are those of the stacked hourglass (Newell et al., ECCV 2016, section 3.1, and its code).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Draw:
    """The factors of one sample. color (3,) multiplies the RGB channels."""

    scale: float = 1.0
    rotation: float = 0.0
    flip: bool = False
    color: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Augmentation:
    """The ranges that factors are drawn from.

    scale: the box is scaled by 2^x, x normal with this deviation and at most two of it.
    rotation: degrees, normal with this deviation and at most two of it, for a share `rotate_prob` of samples.
    flip_prob: share of mirrored samples. color: channels are multiplied by 1 ± this, uniformly.
    """

    scale: float = 0.25
    rotation: float = 30.0
    rotate_prob: float = 0.4
    flip_prob: float = 0.5
    color: float = 0.4

    def draw(self, rng: np.random.Generator) -> Draw:
        """The factors of one sample; always as many random numbers, whatever the ranges."""
        scale, rotation = (min(max(x, -2.0), 2.0) for x in rng.standard_normal(2).tolist())
        rotates, flips, *rgb = rng.random(5).tolist()
        red, green, blue = (1 + self.color * (2 * x - 1) for x in rgb)
        return Draw(
            scale=2 ** (self.scale * scale),
            rotation=self.rotation * rotation if rotates < self.rotate_prob else 0.0,
            flip=flips < self.flip_prob,
            color=(red, green, blue),
        )


@dataclass(frozen=True)
class SceneDraw(Draw):
    """The factors of a whole picture. shift: by which shares (x, y) of its side the box is moved."""

    shift: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class SceneAugmentation:
    """The ranges for whole pictures, all uniform; the defaults are those of associative embedding.

    Newell et al., "Associative embedding", NIPS 2017, and its code. scale: the box, whose side is the longer
    one of the picture, is scaled by 1 ± this. rotation: degrees, at most this to either side. shift: the box
    is moved by at most this share of its side. flip_prob, color: as in Augmentation.
    """

    scale: float = 0.25
    rotation: float = 30.0
    shift: float = 0.2
    flip_prob: float = 0.5
    color: float = 0.4

    def draw(self, rng: np.random.Generator) -> SceneDraw:
        """The factors of one sample; always as many random numbers, whatever the ranges."""
        flips = rng.random() < self.flip_prob
        scale, rotation, right, down, *rgb = rng.uniform(-1, 1, 7).tolist()
        red, green, blue = (1 + self.color * x for x in rgb)
        return SceneDraw(
            scale=1 + self.scale * scale,
            rotation=self.rotation * rotation,
            flip=flips,
            color=(red, green, blue),
            shift=(self.shift * right, self.shift * down),
        )
