"""Crops of single persons: what workers hand to the training loop, as bytes and coordinates.

The device makes floats, colours and targets of them (src/datasets/targets.py).
"""

import itertools
import signal
import threading
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from src.datasets import affine
from src.datasets.annotations import People, Person
from src.datasets.augmentation import Augmentation, Draw
from src.datasets.images import BadImage
from src.errors import UserError

Batch = dict[str, Any]
Key = tuple[int, int]  # (which time through the data, which person)


class PersonCrops(Dataset):
    """One person a sample, cropped to a square of `input_res` pixels.

    A sample is a dict: image (R, R, 3) uint8 RGB; joints (J, 2) float32 in crop pixels; visible (J,) int8;
    color (3,) float32; inverse (2, 3) float64 from crop to picture; and, for metrics, truth (J, 2) float32 in
    picture pixels, norm and scale float32, row int64. It depends on (seed, pass, row) alone: not on the
    workers, nor on where a run was resumed. A picture that cannot be read becomes its message (a str).
    """

    def __init__(
        self, people: People, input_res: int, augmentation: Augmentation | None = None, seed: int = 0
    ) -> None:
        self.people = people
        self.input_res = input_res
        self.augmentation = augmentation
        self.seed = seed
        self.flip_order = np.array(people.skeleton.flip_order)

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, key: Key) -> Batch | str:
        times, row = key
        try:
            person = self.people.person(row)
        except BadImage as error:
            return str(error)
        draw = Draw()
        if self.augmentation:
            draw = self.augmentation.draw(np.random.default_rng((self.seed, times, row)))
        return self.crop(person, draw) | {"row": np.int64(row)}

    def crop(self, person: Person, draw: Draw) -> Batch:
        """The sample of one person under the given factors."""
        center = person.center + np.array([0, person.shift * person.scale])
        scale = person.scale * person.enlarge * draw.scale
        matrix = affine.crop_matrix(center, scale, self.input_res, draw.rotation, draw.flip)
        order = self.flip_order if draw.flip else slice(None)
        return {
            "image": affine.warp(person.image, matrix, self.input_res),
            "joints": affine.apply(matrix, person.joints)[order].astype(np.float32),
            "visible": person.visible[order],
            "color": np.array(draw.color, np.float32),
            "inverse": affine.invert(matrix),
            "truth": person.joints[order],
            "norm": np.float32(person.norm),
            "scale": np.float32(person.scale),
        }


class Stream(Sampler[list[Key]]):
    """Batches of keys for training, without end: the people in random order, pass after pass.

    start: people already seen. The order of a pass depends on (seed, pass) alone, so a run that was
    interrupted sees what it would have seen. Batches run over the border of two passes.
    """

    def __init__(self, people: int, batch_size: int, seed: int, start: int = 0) -> None:
        self.people, self.batch_size, self.seed, self.start = people, batch_size, seed, start

    def __iter__(self) -> Iterator[list[Key]]:
        keys = self._keys()
        while True:
            yield list(itertools.islice(keys, self.batch_size))

    def _keys(self) -> Iterator[Key]:
        times, done = divmod(self.start, self.people)
        while True:
            order = np.random.default_rng((self.seed, times)).permutation(self.people)
            yield from ((times, int(row)) for row in order[done:])
            times, done = times + 1, 0


def in_order(people: int, batch_size: int, batches: int = 0) -> list[list[Key]]:
    """Batches of keys for validation: all people in order, or `batches` batches spread evenly over them."""
    rows = np.arange(people)
    if batches:
        rows = np.unique(np.linspace(0, people - 1, min(people, batches * batch_size)).round().astype(int))
    keys = [(0, int(row)) for row in rows]
    return [keys[first : first + batch_size] for first in range(0, len(keys), batch_size)]


def load(crops: PersonCrops, batches: Any, workers: int, device: torch.device) -> DataLoader:
    """A loader of `batches` (lists of keys) with that many worker processes."""
    return DataLoader(
        crops,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_start_worker,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # a worker's seed is not used; the global state stays untouched
    )


def collate(samples: list[Batch | str]) -> Batch:
    """One batch of tensors. "bad" holds the messages of the pictures left out; a batch may hold only that."""
    good = [sample for sample in samples if not isinstance(sample, str)]
    bad = [sample for sample in samples if isinstance(sample, str)]
    return (default_collate(good) if good else {}) | {"bad": bad}


def readable(loader: DataLoader, skip_bad_images: bool, left_out: list[str]) -> Iterator[Batch]:
    """The batches of a loader without those that hold no picture.

    The message of each picture that cannot be read is added to `left_out`. Raises UserError with the first
    one unless `skip_bad_images`, and if none can be read in a whole pass.
    """
    found, in_vain = False, 0
    for batch in _start(loader):
        if batch["bad"] and not skip_bad_images:
            raise UserError(f"{batch['bad'][0]}; --skip-bad-images leaves such pictures out")
        left_out += batch["bad"]
        if "image" in batch:
            found, in_vain = True, 0
            yield batch
        else:
            in_vain += len(batch["bad"])
            if in_vain >= len(loader.dataset):  # type: ignore[arg-type]
                break
    if in_vain and (not found or in_vain >= len(loader.dataset)):  # type: ignore[arg-type]
        raise UserError(f"none of the pictures can be read: {left_out[-1]}")


def _start(loader: DataLoader) -> Iterator[Batch]:
    """Start the workers of a loader. Ctrl-C is for the main process, which ends them, and not for them.

    Processes begin with the signals ignored that are ignored here, so it does not stop them while they start.
    """
    if loader.num_workers == 0 or threading.current_thread() is not threading.main_thread():
        return iter(loader)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return iter(loader)
    finally:
        signal.signal(signal.SIGINT, before)


def _start_worker(_: int) -> None:
    cv2.setNumThreads(0)  # the workers are the threads
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Windows it is not handed down
