"""The camera: where it stands, how it is turned, and what part of its view becomes the picture."""

from dataclasses import dataclass, replace

import numpy as np

from src.datasets.synth.rotation import IDENTITY, X, Y, Z, matrix, spin

FACING = np.diag(
    [1.0, -1.0, -1.0]
)  # from the body's axes to a camera in front of it: x right, y down, z away


@dataclass(frozen=True)
class Camera:
    """A perspective camera. A point p of the body's axes is at turn @ p + offset before it (metres), and at
    focal * (x, y) / z + center in the picture (pixels). yaw, pitch, roll are what turn was made of (degrees).
    """

    turn: np.ndarray
    offset: np.ndarray
    focal: float
    center: np.ndarray
    pitch: float
    roll: float

    def see(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) of the body in the axes of the camera."""
        return (points.reshape(-1, 3) @ self.turn.T + self.offset).reshape(points.shape)

    def project(self, seen: np.ndarray) -> np.ndarray:
        """Points (..., 3) in the axes of the camera in the picture: (..., 2) pixels."""
        return seen[..., :2] * (self.focal / np.maximum(seen[..., 2:], 0.05)) + self.center

    def framed(self, focal: float, center: np.ndarray) -> "Camera":
        """The same view, with another part of it in the picture."""
        return replace(self, focal=focal, center=center)


def sample_camera(rng: np.random.Generator, target: np.ndarray, poses: str = "all") -> Camera:
    """A camera at random that looks at `target` (3,) from any side; the focal length is 1, the centre 0.

    Mostly level, from the height of the chest or the eyes; a fifth from far above or below; some rolled. All
    cameras of upright people are level and stand before them, up to 60 degrees to the side; most of those of
    acrobats stand before them, too.
    """
    upright = poses == "upright"
    yaw, high_draw, roll_draw = rng.uniform(0, 360), rng.random(), rng.random()
    level, steep, distance = rng.normal(6, 13), rng.uniform(-35, 65), rng.uniform(2.6, 8)
    slight, tilted = rng.normal(0, 4), rng.uniform(-35, 35)
    pitch = level if upright or high_draw < 0.82 else steep
    roll = slight + (tilted if not upright and roll_draw < 0.25 else 0.0)
    if upright:
        yaw = (yaw - 180) / 3
    elif poses == "acrobatic":
        yaw = 180 * np.sign(yaw - 180) * abs(yaw / 180 - 1) ** 3
    turned = matrix(spin(IDENTITY, Z, roll)) @ FACING @ matrix(spin(spin(IDENTITY, X, pitch), Y, yaw))
    offset = np.array([0, 0, distance]) - turned @ target
    return Camera(turned, offset, 1.0, np.zeros(2), float(pitch), float(roll))
