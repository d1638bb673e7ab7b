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
        scale, rotation = np.clip(rng.standard_normal(2), -2, 2)
        rotates, flips = rng.random(2) < (self.rotate_prob, self.flip_prob)
        red, green, blue = 1 + self.color * rng.uniform(-1, 1, 3)
        return Draw(
            scale=float(2 ** (self.scale * scale)),
            rotation=float(self.rotation * rotation) if rotates else 0.0,
            flip=bool(flips),
            color=(float(red), float(green), float(blue)),
        )
