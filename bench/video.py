"""A video from file to file, read, predicted, drawn and written, against the network alone on its crops.

The network takes all processors, so what is done beside it takes from it: the last rows are the time that
processors spend on a frame in each part, beside what they spend in the network. Alone it is called for one
batch after the other, and its threads wait for each other in every layer; a video has as many calls at once
as there are threads, each with one of them. So the first row may be above 1. The second compares with such
calls alone, whose rate cannot be reached. The clip is long enough for what happens once in any video to be a
hundredth of it: at the end one of the calls goes on alone, for the time of up to four frames.
"""

import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from bench.harness import FEWEST, Case, Item, Measure, Options, Work, beside
from src import models, pose
from src.datasets import affine
from src.datasets.skeletons import MPII
from src.datasets.synth.clips import render_clip
from src.evaluation.grouping import People
from src.models.checkpoint import describe, save_checkpoint
from src.utils.ahead import side_by_side
from src.utils.device import choose_device
from src.utils.growing import VideoFile
from src.utils.pictures import draw_people
from src.utils.prediction import Plan, predict_all
from src.utils.sources import Video

RATE, WIDTH, HEIGHT, SIDE = 30.0, 640, 480, 256
PLAIN = "the network alone, on crops in memory"
AT_ONCE = "the same, as many calls at once"
GOAL = 0.9  # share of the network's rate; none for a GPU or a small network, which outrun any decoder


def cases(options: Options) -> Iterator[Item]:
    """The rate of a video from end to end."""
    stacks, feats, count = (2, 64, 8) if options.quick else (2, 256, 256)
    with TemporaryDirectory() as name:
        folder = Path(name)
        source = write_video(folder / "people.mp4", count)
        model = open_network(folder / "network.pth", stacks, feats, options.device)
        (found := folder / "found").mkdir()  # beside it: there the source would be written over
        plan = Plan([Video(source)], found, flip_test=False)
        batch = plan.batch_size
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
        goal = GOAL if on_cpu and not options.quick else None
        yield Case(name, PLAIN, end_to_end, alone, goal)
        if on_cpu:
            yield Case(name, AT_ONCE, end_to_end, partial(_at_once, model, crops, batch))
            yield from _parts(Video(source), frames, alone)


def _at_once(model: pose.Model, crops: np.ndarray, batch: int) -> None:
    """The joints in crops as a video has them seen: a batch divided among calls at once."""
    runner = model.runner
    calls = min(runner.calls, batch)
    size = -(-batch // calls)
    parts = np.split(crops, range(size, len(crops), size))
    look = partial(runner.joints, flip_test=False)
    deque(side_by_side(look, parts, calls, partial(runner.share, calls)), maxlen=0)
    runner.share(1)


def _parts(video: Video, frames: Sequence[np.ndarray], alone: Work) -> Iterator[Measure]:
    """What processors spend on a frame outside of the network."""
    low, high = (0.35 * WIDTH, 0.1 * HEIGHT), (0.65 * WIDTH, 0.9 * HEIGHT)
    joints = np.random.default_rng(0).uniform(low, high, (1, MPII.num_joints, 2))
    sure = np.ones((1, MPII.num_joints), np.float32)
    people = People(joints.astype(np.float32), sure, sure[:, 0])

    def draw() -> None:
        for frame in frames:
            draw_people(frame, people, MPII, fade=True)

    def write() -> None:
        path = Path(video.name).with_name("written.mp4")
        with closing(VideoFile(path, RATE, WIDTH, HEIGHT)) as written:
            for number, frame in enumerate(frames):
                written.show(frame, number / RATE)

    parts: dict[str, Work] = {
        "reading": lambda: list(video.frames()),
        "cutting": lambda: [crop(frame) for frame in frames],
        "drawing": draw,
        "writing": write,
    }
    network = _spent(alone) / len(frames)
    for name, work in parts.items():
        spent = _spent(work) / len(frames)
        yield beside(f"{name} a frame of it", "the network", spent, network, "s", None, at_most=True)


def _spent(work: Work) -> float:
    """The median of the seconds that processors spend on a work."""
    work()
    times = []
    for _ in range(FEWEST):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def open_network(path: Path, stacks: int, feats: int, device: str) -> pose.Model:
    """An hourglass with random weights, as a user opens one."""
    network = models.build("hg", MPII.num_joints, stacks=stacks, feats=feats)
    save_checkpoint(path, describe(network, MPII.to_dict(), SIDE))
    return pose.load(path, device, amp="auto")


def write_video(path: Path, count: int) -> Path:
    """A synthetic person who moves before a camera that stands still: of frames that have nothing to do with
    each other a codec would have more work than of any video.
    """
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), RATE, (WIDTH, HEIGHT))
    for picture, _ in render_clip(1, count, HEIGHT, "all"):
        frame = cv2.resize(picture, (WIDTH, HEIGHT))
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def crop(frame: np.ndarray) -> np.ndarray:
    """The square (R, R, 3) that the network sees of a frame."""
    centre = np.array([WIDTH / 2, HEIGHT / 2])
    return affine.warp(frame, affine.crop_matrix(centre, WIDTH / affine.PERSON_PIXELS, SIDE), SIDE)
