"""Inference as `src.pose` runs it, and exported files, against plain PyTorch.

Plain is what a first script does: float32, eager, (B, C, H, W) in memory. Ours is that with normalisations
folded, channels last, in what `auto` takes for the precision. The goals are for CPUs with avx512_bf16 or AMX.

Whether joints stay where they are is asked of the network that ships, on drawn people it was not shown: one
with random weights is sure of nothing, and its peaks jump at any rounding. All joints count. bf16 has 8 bits:
joints move by a fraction of a cell, but any distance where a map has two peaks about as high. The last rows
tell these apart: a joint is clear whose map has no second peak of half the height of the first.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from bench.harness import Case, Item, Measure, Options, Skipped, Work
from bench.step import PLAIN, in_process, in_turn, wait, word
from src import models
from src.datasets.augmentation import Draw
from src.datasets.crops import PersonCrops
from src.datasets.skeletons import COCO, MPII, Skeleton
from src.datasets.synth import SynthPeople
from src.datasets.targets import to_images
from src.errors import UserError
from src.evaluation.predict import located
from src.inference.checkpoint import Checkpoint
from src.inference.runner import SMOOTHING
from src.pretrained import shipped
from src.utils.device import choose_device, place
from src.utils.speed import best_amp, best_channels_last

PEAK = 3  # cells to either side of the highest one that are of the same peak
GOALS = {1: (2.3, 1.4), 4: (3.3, 2.1)}  # by images at once: ours, the exported file


class Seen(NamedTuple):
    """A network, and the images that it is given."""

    arch: str
    stacks: int
    batch: int
    feats: int = 256
    side: int = 256

    def __str__(self) -> str:
        return f"{self.arch} {self.stacks} stacks of {self.feats}, {self.side} px, batch {self.batch}"


def cases(options: Options) -> Iterator[Item]:
    """Ours, the flip test, and exported files, each beside the plain network or what it adds to."""
    device = choose_device(options.device)
    amp, _ = best_amp(device)
    known = device.type == "cpu" and amp == "bf16"
    feats = 64 if options.quick else 256
    single = [Seen("hg", 2, batch, feats) for batch in GOALS]
    together = Seen("hg-ae", 1, 1, feats, 256 if options.quick else 512)
    for seen in (*single, together):
        goal = GOALS[seen.batch][0] if known and seen.arch == "hg" else None
        yield from in_turn(f"inference, {seen}, {word(amp)}", PLAIN, ours, plain, (device.type, seen), goal)
    for seen in (single[0], together):
        name = f"flip test, {seen}, {word(amp)}"
        yield from in_turn(name, "without", flipped, straight, (device.type, seen), None, at_most=True)
    yield from _displaced(device, 20 if options.quick else 100, 0.5 if amp == "bf16" else None)
    import onnx  # noqa: F401  (without it the rest is skipped)
    import onnxruntime  # noqa: F401

    for seen in (*single, together):
        goal = GOALS[seen.batch][1] if known and seen.arch == "hg" else None
        with in_process(partial(plain, "cpu", seen)) as theirs, in_process(partial(exported, seen)) as mine:
            yield Case(f"ONNX in onnxruntime, {seen}", f"{PLAIN}, CPU", mine, theirs, goal)


def _displaced(device: torch.device, count: int, goal: float | None) -> Iterator[Item]:
    """How far joints of drawn people lie from those of plain PyTorch, in pixels of what the network sees.

    goal: for 99 % of the joints in bf16; None where bf16 is not what `auto` takes.
    """
    try:
        path = shipped()
    except UserError as error:
        yield Skipped("joints as in plain PyTorch", str(error))
        return
    loaded = models.load(path, device)
    skeleton, side = Skeleton.from_dict(loaded.skeleton), loaded.input_res
    people = PersonCrops(SynthPeople("valid", count, skeleton, side), side)
    crops = np.stack([people.crop(people.people.person(row), Draw())["image"] for row in range(count)])
    images = to_images(torch.from_numpy(crops).to(device))
    with torch.inference_mode():
        points, _, cell = located(loaded.network, images, None, loaded.target_mass, SMOOTHING)
    expected = (cell * points).cpu().numpy()

    exact, low = (Checkpoint(models.load(path, device), device, amp) for amp in ("none", "bf16"))
    of_exact, of_low = (
        np.linalg.norm(network.joints(crops, flip_test=False)[0] - expected, axis=2)
        for network in (exact, low)
    )
    name = f"joints of {count} drawn people, "
    far = float(of_exact.max())
    yield Measure(f"{name}{word('none')}: the farthest off", PLAIN, far, "px", 0.1, at_most=True)
    name += f"{word('bf16')}: "
    far = float(np.quantile(of_low, 0.99))
    yield Measure(name + "99th percentile", PLAIN, far, "px", goal, at_most=True)
    clear = _clear(exact.maps(crops, flip_test=False)[0])
    if clear.any():
        far, share = float(np.quantile(of_low[clear], 0.99)), f"{clear.mean():.0%}"
        yield Measure(f"{name}99th percentile of the clear ones ({share})", PLAIN, far, "px")
    jumped = 100 * float((of_low > cell).mean())
    yield Measure(name + "moved by more than a cell", PLAIN, jumped, "%")


def _clear(maps: np.ndarray) -> np.ndarray:
    """Which maps (B, J, h, w) have no second peak of half the height of the first: (B, J) bool."""
    height, width = maps.shape[2:]
    y, x = np.divmod(maps.reshape(*maps.shape[:2], -1).argmax(2), width)
    rows, columns = np.arange(height)[:, None], np.arange(width)
    around = (abs(rows - y[..., None, None]) <= PEAK) & (abs(columns - x[..., None, None]) <= PEAK)
    return np.where(around, 0, maps).max((2, 3)) < maps.max((2, 3)) / 2


def _loaded(seen: Seen, device: torch.device) -> models.LoadedModel:
    """A network with weights of its own, as `src.models.load` gives one."""
    torch.manual_seed(0)
    skeleton = COCO if seen.arch == "hg-ae" else MPII
    network = models.build(seen.arch, skeleton.num_joints, stacks=seen.stacks, feats=seen.feats)
    place(network, device, best_channels_last(device)[0]).eval()
    return models.LoadedModel(
        network, seen.arch, network.config, skeleton.to_dict(), seen.side, weights="model"
    )


def _images(seen: Seen) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(seen.batch, 3, seen.side, seen.side, generator=generator)


def ours(device_name: str, seen: Seen) -> Work:
    """The outputs for random images, as `src.pose` computes them."""
    device = choose_device(device_name)
    network = Checkpoint(_loaded(seen, device), device, best_amp(device)[0])
    images = _images(seen).to(device).contiguous(memory_format=torch.channels_last)  # as to_images gives them

    def infer() -> None:
        with torch.inference_mode():
            network(images)[-1]
        wait(device)

    return infer


def plain(device_name: str, seen: Seen) -> Work:
    """The outputs for the same images of a network as it is built."""
    device = torch.device(device_name)
    loaded = _loaded(seen, torch.device("cpu"))
    network = loaded.network.to(memory_format=torch.contiguous_format).to(device)
    images = _images(seen).to(device)

    def infer() -> None:
        with torch.no_grad():
            network(images)[-1]
        wait(device)

    return infer


def flipped(device_name: str, seen: Seen) -> Work:
    """The answers for random pictures with the flip test."""
    return _answers(device_name, seen, flip_test=True)


def straight(device_name: str, seen: Seen) -> Work:
    """The same without."""
    return _answers(device_name, seen, flip_test=False)


def _answers(device_name: str, seen: Seen, flip_test: bool) -> Work:
    """Joints, or maps of several people, of random pictures."""
    device = choose_device(device_name)
    network = Checkpoint(_loaded(seen, device), device, best_amp(device)[0])
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (seen.batch, seen.side, seen.side, 3), np.uint8)
    answer = network.maps if network.multi_person else network.joints
    return lambda: answer(pictures, flip_test)


def exported(seen: Seen) -> Work:
    """The outputs for the same images of the network's exported file."""
    from src.inference.exported import open_session
    from src.inference.exporting import DEFAULT_OPSET, to_onnx

    cpu = torch.device("cpu")
    session = open_session(to_onnx(_loaded(seen, cpu), False, False, DEFAULT_OPSET), str(seen))
    images = _images(seen).numpy()
    return lambda: session.run(None, {"images": images}) and None
