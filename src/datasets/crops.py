"""Crops of single persons: what workers hand to the training loop, as bytes and coordinates.

The device makes floats, colours and targets of them (src/datasets/targets.py).
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from src.datasets import affine
from src.datasets.annotations import MASKED, People, Person
from src.datasets.augmentation import Augmentation, Draw
from src.datasets.images import BadImage
from src.datasets.joined import JoinedPeople
from src.datasets.workers import Workers, at_row, cores, served
from src.errors import UserError

Batch = dict[str, Any]
Key = tuple[int, int]  # (which time through the data, which person)


class Samples(Dataset):
    """What a network learns from, one dict a sample, out of `people`: an annotated record or drawn ones.

    units: what the samples are, one and several.
    """

    units: ClassVar[tuple[str, str]]
    people: Any

    def __len__(self) -> int:
        return len(self.people)

    def where(self, row: int) -> str:
        """Sample `row` in words."""
        people, row = self.people.locate(row) if isinstance(self.people, JoinedPeople) else (self.people, row)
        images = getattr(people, "images", None)  # what is drawn has none
        picture = "" if images is None else f" ({images[row].decode(errors='replace')})"
        return f"{self.units[0]} {row} of {people.name}{picture}"

    def stream(self, batch_size: int, seed: int, start: int = 0) -> "Stream":
        """The keys of batches to learn from, without end; joined sets come by their weights."""
        return Stream(len(self), batch_size, seed, start, getattr(self.people, "weights", None))

    @property
    def drawn(self) -> int:
        """How many samples a pass through the data has in training."""
        return self.stream(batch_size=1, seed=0).drawn


class PersonCrops(Samples):
    """One person a sample, cropped to a square of `input_res` pixels.

    A sample is a dict: image (R, R, 3) uint8 RGB; joints (J, 2) float32 in crop pixels; visible (J,) int8;
    color (3,) float32; matrix (2, 3) float64 from picture to crop; and, for metrics, truth (J, 2) float32 in
    picture pixels, norm and scale float32, row int64. It depends on (seed, pass, row) alone: not on the
    workers, nor on where a run was resumed. A picture that cannot be read becomes its message (a str).
    """

    units = ("person", "people")

    def __init__(
        self, people: People, input_res: int, augmentation: Augmentation | None = None, seed: int = 0
    ) -> None:
        self.people = people
        self.input_res = input_res
        self.augmentation = augmentation
        self.seed = seed
        self.flip_order = np.array(people.skeleton.flip_order)

    def __getitem__(self, key: Key) -> Batch | str:
        (sample,) = self.__getitems__([key])
        return sample

    def __getitems__(self, keys: list[Key]) -> list[Batch | str]:
        """The samples of a batch: first all that needs no picture, and then the pictures.

        Each picture goes through all of the processor's cache, and what comes between two takes several times
        as long as elsewhere.
        """
        placed = [self._place_row(key) for key in keys]
        return [self._completed(person, sample) for person, sample in placed]

    def crop(self, person: Person, draw: Draw) -> Batch:
        """The sample of one person under the given factors. Raises BadImage."""
        sample = self._place(person, draw)
        return sample | {"image": self._cut(person, sample["matrix"])}

    def pose(self, key: Key) -> Batch:
        """A sample without its picture, which is not read."""
        return self._place_row(key)[1]

    def _place_row(self, key: Key) -> tuple[Person, Batch]:
        """A person, and their sample without the picture."""
        _, row = key
        at_row(row)
        person, draw = self.people.person(row), Draw()
        if self.augmentation:
            draw = self.augmentation.draw(np.random.default_rng((self.seed, *key)))
        return person, self._place(person, draw) | {"row": np.int64(row)}

    def _completed(self, person: Person, sample: Batch) -> Batch | str:
        """The sample with the picture, or why there is none."""
        at_row(int(sample["row"]))
        try:
            return sample | {"image": self._cut(person, sample["matrix"])}
        except BadImage as error:
            return str(error)

    def _place(self, person: Person, draw: Draw) -> Batch:
        x, y = person.center.tolist()
        center = x, y + person.shift * person.scale
        scale = person.scale * person.enlarge * draw.scale
        matrix = affine.crop_matrix(center, scale, self.input_res, draw.rotation, draw.flip)
        order = self.flip_order if draw.flip else slice(None)
        return {
            "joints": affine.apply(matrix, person.joints)[order].astype(np.float32),
            "visible": person.visible[order],
            "color": np.array(draw.color, np.float32),
            "matrix": matrix,
            "truth": person.joints[order],
            "norm": np.float32(person.norm),
            "scale": np.float32(person.scale),
        }

    def _cut(self, person: Person, matrix: np.ndarray) -> Any:
        pixels, reduction = person.read(affine.shrinkage(matrix))
        return affine.warp(pixels, affine.from_reduced(matrix, reduction), self.input_res)


class PersonViews(PersonCrops):
    """The same crop in several sizes, for a test at several scales.

    A sample is that of PersonCrops for the first of `sides`, which fall, but for image: a list with
    (R, R, 3) uint8 RGB for each of them.
    """

    def __init__(self, people: People, sides: Sequence[int]) -> None:
        super().__init__(people, sides[0])
        self.sides = sides

    def _cut(self, person: Person, matrix: np.ndarray) -> list[np.ndarray]:
        pixels, reduction = person.read(affine.shrinkage(matrix))
        reduced = affine.from_reduced(matrix, reduction)
        return [affine.warp(pixels, side / self.sides[0] * reduced, side) for side in self.sides]


class Stream(Sampler[list[Key]]):
    """Batches of keys for training, without end: the people in random order, pass after pass.

    start: people already seen. weights (N,): how often each is drawn in a pass, on average; `drawn` are then
    their sum. The order of a pass depends on (seed, pass) alone, so a run that was interrupted sees what it
    would have seen. Batches run over the border of two passes.
    """

    def __init__(
        self, people: int, batch_size: int, seed: int, start: int = 0, weights: np.ndarray | None = None
    ) -> None:
        self.people, self.batch_size, self.seed, self.start = people, batch_size, seed, start
        self.weights = weights
        self.drawn = people if weights is None else max(1, round(float(weights.sum())))

    def __iter__(self) -> Iterator[list[Key]]:
        keys = self._keys()
        while True:
            yield list(itertools.islice(keys, self.batch_size))

    def _keys(self) -> Iterator[Key]:
        times, done = divmod(self.start, self.drawn)
        while True:
            yield from self._pass(times)[done:]
            times, done = times + 1, 0

    def _pass(self, times: int) -> list[Key]:
        """The keys of a pass in their order: `drawn` of them.

        With weights, systematic sampling from a random order: people come as often as their weight says, or
        a part of once more or less. Who comes again does so with another key, and so in another crop.
        """
        rng = np.random.default_rng((self.seed, times))
        order = rng.permutation(self.people)
        if self.weights is None:
            return [(times, row) for row in order.tolist()]
        ends = np.cumsum(self.weights[order])
        ends *= self.drawn / ends[-1]
        ends[-1] = self.drawn  # whatever was lost to rounding
        counts: np.ndarray = np.diff(np.floor(ends + rng.random()).astype(np.int64), prepend=0)
        again = np.arange(self.drawn) - np.repeat(np.cumsum(counts) - counts, counts)
        most = math.ceil(self.weights.max()) + 1
        keys = np.stack([times * most + again, np.repeat(order, counts)], axis=1)
        return [(number, row) for number, row in rng.permutation(keys).tolist()]


def in_order(people: int, batch_size: int, batches: int = 0) -> list[list[Key]]:
    """Batches of keys for validation: all people in order, or `batches` batches spread evenly over them."""
    rows = np.arange(people)
    if batches:
        rows = np.unique(np.linspace(0, people - 1, min(people, batches * batch_size)).round().astype(int))
    keys = [(0, int(row)) for row in rows]
    return [keys[first : first + batch_size] for first in range(0, len(keys), batch_size)]


def load(crops: Dataset, batches: Any, workers: int, device: torch.device) -> DataLoader:
    """A loader of `batches` (lists of keys) with that many worker processes, one for each core at most.

    More would only wait for each other, and PyTorch warns of them.
    """
    workers = min(workers, cores())
    return DataLoader(
        crops,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=Workers(workers),
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # a worker's seed is not used; the global state stays untouched
    )


def collate(samples: list[Batch | str]) -> Batch:
    """One batch of tensors, from samples and the messages of pictures that cannot be read.

    "taken" is the number of both, "bad" holds the messages; a batch may have nothing else.
    """
    good = [sample for sample in samples if not isinstance(sample, str)]
    batch = _Parcel(bad=[sample for sample in samples if isinstance(sample, str)], taken=len(samples))
    for key in good[0] if good else ():
        values = [sample[key] for sample in good]
        # torch's own lays them into shared memory at once, if this is a worker; it is slow for what is small
        batch[key] = default_collate(values) if key == "image" else torch.from_numpy(np.stack(values))
    return batch


class _Parcel(dict[str, Any]):
    """A batch that comes out of a worker with its pictures in shared memory and all else by value.

    To hand over shared memory takes as long as to prepare a picture, whatever is in it.
    """

    def __reduce__(self) -> Any:
        tensors = {key: value for key, value in self.items() if torch.is_tensor(value) and key != "image"}
        return _unpack, (dict(self) | {key: value.numpy() for key, value in tensors.items()},)


def _unpack(parcel: Batch) -> Batch:
    return {key: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for key, v in parcel.items()}


def readable(loader: DataLoader, skip_bad_images: Callable[[], bool], left_out: list[str]) -> Iterator[Batch]:
    """The batches of a loader without those that hold no picture, whose people the next one takes over.

    The message of each picture that cannot be read is added to `left_out`. Raises UserError with the first
    one unless `skip_bad_images`, which is asked each time, and if none can be read in a whole pass.
    """
    taken = 0
    for batch in served(loader):
        if batch["bad"] and not skip_bad_images():
            raise UserError(f"{batch['bad'][0]}; --skip-bad-images leaves such pictures out")
        left_out += batch["bad"]
        taken += batch["taken"]
        if "image" in batch:
            yield batch | {"taken": taken}
            taken = 0
        elif taken >= len(loader.dataset):  # type: ignore[arg-type]
            raise nothing_readable(left_out)


def nothing_readable(left_out: list[str]) -> UserError:
    """What to raise where all pictures were left out."""
    return UserError(f"none of the pictures can be read: {left_out[-1]}")


def in_step(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Batches of `readable` with a filler for each that it has left out, so that all take `size` people.

    Of processes that learn together each so has a batch for every step. A filler is a copy of one in which
    nobody counts: all joints have the visibility MASKED.
    """
    for batch in batches:
        nobody = torch.full_like(batch["visible"], MASKED)
        for _ in range(batch["taken"] // size - 1):
            yield batch | {"visible": nobody, "taken": size}
        yield batch | {"taken": size}
