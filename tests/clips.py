"""Pictures and videos with a bright spot at a known place, and a network that finds it."""

import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from src import pose
from src.datasets.skeletons import COCO, Skeleton

RATE = 10.0
DARK, BRIGHT, RADIUS = 60, 255, 12


def spot(x: float, y: float, width: int = 320, height: int = 240) -> np.ndarray:
    """A dark picture (H, W, 3) with a bright disc around a place."""
    image = np.full((height, width, 3), DARK, np.uint8)
    cv2.circle(image, (round(x - 0.5), round(y - 0.5)), RADIUS, (BRIGHT,) * 3, cv2.FILLED)
    return image


def write_clip(path: Path, images: Sequence[np.ndarray], rate: float = RATE) -> Path:
    """A video of the pictures, MPEG-4 in .mp4, JPEGs in .avi."""
    height, width = images[0].shape[:2]
    codec = cv2.VideoWriter.fourcc(*("mp4v" if path.suffix == ".mp4" else "MJPG"))
    writer = cv2.VideoWriter(str(path), codec, rate, (width, height))
    assert writer.isOpened()
    for image in images:
        writer.write(image)
    writer.release()
    return path


def moving(count: int) -> list[np.ndarray]:
    """A spot that goes to the right, 10 pixels a frame, from (40, 100)."""
    return [spot(40 + 10 * number, 100) for number in range(count)]


def turn(path: Path, height: int) -> None:
    """Have an .mp4, so high as it is stored, say that it is to be turned clockwise by a quarter."""
    data = bytearray(path.read_bytes())
    one = 1 << 16
    matrix = struct.pack(">9i", 0, one, 0, -one, 0, 0, height * one, 0, 1 << 30)
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + len(matrix)] = matrix
    path.write_bytes(data)


def set_times(path: Path, steps: Sequence[int]) -> None:
    """Give the frames of an .mp4 of this module durations, in those that they had."""
    data = path.read_bytes().replace(b"edts", b"free")  # which says how long all is
    at = data.index(b"stts") - 4
    size, _, _, _, delta = struct.unpack(">I4sIII", data[at : at + 16] + data[at + 20 : at + 24])
    entries = b"".join(struct.pack(">II", 1, step * delta) for step in steps)
    table = struct.pack(">I4sII", 16 + len(entries), b"stts", 0, len(steps)) + entries
    data = data[:at] + table + data[at + size :]
    for box in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):  # they hold it, after all pictures
        place = data.index(box) - 4
        (before,) = struct.unpack(">I", data[place : place + 4])
        data = data[:place] + struct.pack(">I", before + len(table) - size) + data[place + 4 :]
    path.write_bytes(data)


class SpotFinder:
    """A runner (src.inference.runner) that takes the middle of what is bright for every joint."""

    input_res, has_maps = 128, True

    def __init__(
        self, skeleton: Skeleton = COCO, multi_person: bool = False, jitter: float = 0.0, calls: int = 1
    ) -> None:
        self.skeleton, self.multi_person, self.jitter, self.calls = skeleton, multi_person, jitter, calls
        self.random, self.batches = np.random.default_rng(0), list[int]()

    def share(self, calls: int) -> None:
        pass

    def joints(self, images: np.ndarray, flip_test: bool) -> tuple[np.ndarray, np.ndarray]:
        self.batches.append(len(images))
        light = np.clip(images.mean(3) - 128, 0, None)
        light[:, 0, 0] += 1e-6  # of a dark picture: the corner
        along = np.arange(images.shape[1]) + 0.5
        total = light.sum((1, 2))
        middle = np.stack([(light.sum(1) @ along) / total, (light.sum(2) @ along) / total], axis=1)
        middle += self.random.normal(0, self.jitter, middle.shape)
        points = middle[:, None] + 20 * np.eye(self.skeleton.num_joints, 2)  # a person has an extent
        return points.astype(np.float32), np.full(points.shape[:2], 0.9, np.float32)

    def maps(self, images: np.ndarray, flip_test: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """A peak in the brightest cell of 32, with one tag for all joints."""
        small = np.stack([cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA) for image in images])
        heat = np.clip(small.mean(3) - 100, 0, None) / 155
        heatmaps = np.repeat(heat[:, None], self.skeleton.num_joints, 1).astype(np.float32)
        return heatmaps, np.ones_like(heatmaps)[:, None] if self.multi_person else None


def model(**options: object) -> pose.Model:
    return pose.Model(SpotFinder(**options))  # type: ignore[arg-type]
