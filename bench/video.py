"""A video from file to file, read, predicted, drawn and written, against the network alone on its crops."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from bench.harness import Case, Item, Options
from src import models, pose
from src.datasets import affine
from src.datasets.skeletons import MPII
from src.datasets.synth import SynthPeople
from src.models.checkpoint import describe, save_checkpoint
from src.utils.device import choose_device
from src.utils.prediction import Plan, predict_all
from src.utils.sources import Video

RATE, WIDTH, HEIGHT, SIDE = 30.0, 640, 480, 256
PLAIN = "the network alone, on crops in memory"
GOAL = 0.9  # share of the network's rate; no goal on a GPU, which is faster than any decoder


def cases(options: Options) -> Iterator[Item]:
    """The rate of a video from end to end."""
    stacks, feats, count, batch = (2, 64, 8, 4) if options.quick else (2, 256, 16, 4)
    with TemporaryDirectory() as name:
        folder = Path(name)
        source = write_video(folder / "people.mp4", count)
        model = open_network(folder / "network.pth", stacks, feats, options.device)
        plan = Plan([Video(source)], folder, batch_size=batch, flip_test=False)
        frames = [frame.pixels for frame in Video(source).frames()]
        assert len(frames) == count
        crops = np.stack([crop(frame) for frame in frames])

        def end_to_end() -> None:
            assert predict_all(model, plan).frames == count

        def alone() -> None:
            for first in range(0, count, batch):
                model.runner.joints(crops[first : first + batch], flip_test=False)

        on_cpu = choose_device(options.device).type == "cpu"
        name = f"video of {WIDTH} x {HEIGHT}, {stacks} stacks of {feats}, batch {batch}"
        yield Case(name, PLAIN, end_to_end, alone, GOAL if on_cpu else None)


def open_network(path: Path, stacks: int, feats: int, device: str) -> pose.Model:
    """An hourglass with random weights, as a user opens one."""
    network = models.build("hg", MPII.num_joints, stacks=stacks, feats=feats)
    save_checkpoint(path, describe(network, MPII.to_dict(), SIDE))
    return pose.load(path, device, amp="auto")


def write_video(path: Path, count: int) -> Path:
    """Synthetic people, one a frame."""
    people = SynthPeople("valid", count, MPII, resolution=HEIGHT)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), RATE, (WIDTH, HEIGHT))
    for number in range(count):
        picture = cv2.resize(people.person(number).read(1).pixels, (WIDTH, HEIGHT))
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def crop(frame: np.ndarray) -> np.ndarray:
    """The square (R, R, 3) that the network sees of a frame."""
    centre = np.array([WIDTH / 2, HEIGHT / 2])
    return affine.warp(frame, affine.crop_matrix(centre, WIDTH / affine.PERSON_PIXELS, SIDE), SIDE)
