"""A training sample, from the file to network input and target: decode, crop, augment, draw the Gaussians.

Plain pipelines do all of that in the worker, person by person. Here the worker gives bytes and joints, and
what the device makes of a batch of them is counted in. One process on one core, as a worker has it.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from bench import pictures, plain_sample
from bench.harness import Case, Item, Measure, Options, Skipped, Work, summarise
from bench.plain_sample import RADIUS, RES, SIGMA
from src import models
from src.datasets.annotations import Annotations
from src.datasets.augmentation import Augmentation, Draw
from src.datasets.crops import Batch, Key, PersonCrops, Stream, collate, load, readable
from src.datasets.targets import gaussian_heatmaps, target_cells, to_images
from src.losses.heatmap import heatmap_mse

BATCH = 16
AUGMENTATION = Augmentation()


def cases(options: Options) -> Iterator[Item]:
    """Pictures of both sizes against both pipelines and against decoding; loading beside a training."""
    with tempfile.TemporaryDirectory() as folder, one_core():
        small = pictures.small(options.lspet, Path(folder))
        large = pictures.large(options.coco, Path(folder))
        yield from _compared(f"sample, LSPET's size ({small.name})", small, few=BATCH, goals=(12, 1.5))
        yield from _compared(f"sample, MPII's size ({large.name})", large, few=2, goals=(10, 1.7))
        name = f"sample, MPII's size ({large.name})"
        yield Case(name, "decoding alone", prepare(large), decode(large), goal=0.85)
    with tempfile.TemporaryDirectory() as folder:
        people = pictures.small(options.lspet, Path(folder))
        yield _two_workers(people, pairs=2 if options.quick else 5)


def _compared(name: str, people: Annotations, few: int, goals: tuple[float, float]) -> Iterator[Item]:
    """Against scikit-image in batches of `few`, for it takes its time, and against OpenCV."""
    plain = "scikit-image, float"
    try:
        import skimage  # noqa: F401
    except ModuleNotFoundError:
        yield Skipped(name, f"{plain}: the package is not there; pip install '.[bench]' brings it")
    else:
        yield Case(name, plain, prepare(people, few), prepare_plainly("with_skimage", people, few), goals[0])
    yield Case(name, "OpenCV, float", prepare(people), prepare_plainly("with_opencv", people), goals[1])


def prepare(people: Annotations, size: int = BATCH) -> Work:
    """The next batch of `size` people as this project prepares it: pictures and heatmaps."""
    crops, batches = PersonCrops(people, RES, AUGMENTATION), iter(Stream(len(people), size, seed=0))

    def work() -> tuple[Tensor, Tensor]:
        return on_device(collate(crops.__getitems__(next(batches))))

    return work


def on_device(batch: Batch, res: int = RES) -> tuple[Tensor, Tensor]:
    """Network input and target of a batch."""
    cells, has_target = target_cells(batch["joints"], batch["visible"], res, res // 4)
    target = gaussian_heatmaps(cells, has_target, res // 4, SIGMA, RADIUS)
    return to_images(batch["image"], batch["color"]), target


def prepare_plainly(pipeline: str, people: Annotations, size: int = BATCH) -> Work:
    """The same batch as one of the plain pipelines makes it."""
    sample, batches = getattr(plain_sample, pipeline), iter(Stream(len(people), size, seed=0))

    def work() -> list[Tensor]:
        return default_collate([sample(people, key[1], draw(key)) for key in next(batches)])

    return work


def draw(key: Key) -> Draw:
    """The factors that PersonCrops takes for this key."""
    return AUGMENTATION.draw(np.random.default_rng((0, *key)))


def decode(people: Annotations) -> Work:
    """Nothing but decoding of the same pictures, in full."""
    batches = iter(Stream(len(people), BATCH, seed=0))

    def work() -> object:
        return [cv2.imread(str(people.path(row))) for _, row in next(batches)]

    return work


def _two_workers(people: Annotations, pairs: int) -> Measure:
    """Iterations of a small training on all cores, its samples from two workers or from the same process."""
    train = Training(people)
    name = f"training at {Training.RES} px, 2 workers ({people.name})"
    case = Case(name, "no workers", lambda: train.seconds(2), lambda: train.seconds(0), goal=0.9)
    return summarise(case, [(train.seconds(2), train.seconds(0)) for _ in range(pairs)])


class Training:
    """The network of demo.yaml, which leaves no core free."""

    RES, WARM, STEPS = 96, 3, 10

    def __init__(self, people: Annotations) -> None:
        joints = people.skeleton.num_joints
        self.crops = PersonCrops(people, self.RES, AUGMENTATION)
        self.network = models.build("hg", joints, stacks=1, feats=64, depth=3)
        self.optimizer = torch.optim.Adam(self.network.parameters())

    def seconds(self, workers: int) -> float:
        """Seconds of an iteration, once the queues of the workers are filled."""
        stream = Stream(len(self.crops), BATCH, seed=0)
        batches = readable(load(self.crops, stream, workers, torch.device("cpu")), lambda: False, [])
        for _ in range(self.WARM):
            self.step(next(batches))
        start = time.perf_counter()
        for _ in range(self.STEPS):
            self.step(next(batches))
        return (time.perf_counter() - start) / self.STEPS

    def step(self, batch: Batch) -> None:
        images, target = on_device(batch, self.RES)
        self.optimizer.zero_grad()
        heatmap_mse(self.network(images), target).backward()
        self.optimizer.step()


@contextmanager
def one_core() -> Iterator[None]:
    """Threads as they are set in a worker."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
