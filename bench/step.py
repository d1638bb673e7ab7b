"""A step of training, inference, the memory that training takes: what `auto` chooses against plain PyTorch.

Plain is what a first script does: float32, eager, (B, C, H, W) in memory, the allocator as it comes. Both run
in processes of their own, since the allocator's settings are those of a process, and take turns.
"""

import multiprocessing
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench.harness import Case, Item, Measure, Options, Skipped, Work, beside
from src import models
from src.losses.heatmap import heatmap_mse
from src.utils.device import autocast, choose_device, compiled, place
from src.utils.optimization import Update, build_optimizer
from src.utils.speed import best_amp, best_channels_last, settle

JOINTS, LONG_RUN = 16, 100_000
PLAIN, REDUCED = "eager float32", "bf16"
ONLY_LINUX = "only Linux tells the peak of a process"


class Size(NamedTuple):
    """A stacked hourglass and what it is given."""

    stacks: int
    batch: int
    feats: int = 256
    side: int = 256

    def __str__(self) -> str:
        return f"{self.stacks} stacks of {self.feats}, batch {self.batch}"


def cases(options: Options) -> Iterator[Item]:
    """Steps and inference in turn, then peaks of memory."""
    device = choose_device(options.device)
    amp, _ = best_amp(device)
    on_gpu = device.type == "cuda"
    size = Size(8, 32) if on_gpu else Size(2, 1, 64) if options.quick else Size(2, 4)
    goals = {"none": 1.3, "bf16": 4.0 if on_gpu else 2.2, "fp16": None}
    for precision in dict.fromkeys(("none", amp)):
        name = f"training step, {size}, {_word(precision)}"
        yield from _in_turn(name, _train, (device.type, size, precision), goals[precision])
    for batch, goal in ((1, 2.3), (4, 3.3)):
        size = size._replace(stacks=2, batch=batch)
        name, known = f"inference, {size}, {_word(amp)}", amp == "bf16" and not on_gpu
        yield from _in_turn(name, _infer, (device.type, size, amp), goal if known else None)
    yield from _memory(device.type, options.quick)


def _word(amp: str) -> str:
    return "float32" if amp == "none" else amp


def _memory(device: str, quick: bool) -> Iterator[Item]:
    """What training takes: the goal's network, and on a GPU a table by stacks and batch."""
    size = Size(8, 32) if device == "cuda" else Size(8, 1, 64) if quick else Size(8, 2)
    name = "memory of training, {}, " + REDUCED + ", grad-checkpoint"
    if not tells_peak(device):
        yield Skipped(name.format(size), ONLY_LINUX)
        return
    yield _compared(name, device, size, goal=0.55)
    if device == "cuda" and not quick:
        for size in (Size(stacks, batch) for stacks in (1, 2, 4, 8) for batch in (4, 16, 32)):
            yield _compared(name, device, size)


def _compared(name: str, device: str, size: Size, goal: float | None = None) -> Measure:
    ours, plain = (_peak(device, size, mine) for mine in (True, False))
    return beside(name.format(size), PLAIN, ours, plain, "B", goal, at_most=True)


Build = Callable[..., Work]


def _in_turn(name: str, build: Build, arguments: tuple[object, ...], goal: float | None) -> Iterator[Case]:
    """The case of the two forms of a piece of work, each in a process of its own."""
    with (
        in_process(partial(build, *arguments, True)) as ours,
        in_process(partial(build, *arguments, False)) as theirs,
    ):
        yield Case(name, PLAIN, ours, theirs, goal)


@contextmanager
def in_process(build: Callable[[], Work]) -> Iterator[Work]:
    """A function that has a new process do the work that `build` gives there, and returns what it returns."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, build), daemon=True)
    process.start()
    there.close()  # so that a process that ends is noticed here

    def work() -> object:
        here.send(True)
        return here.recv()

    try:
        yield work
    finally:
        here.close()
        process.join()


def _serve(connection: Connection, build: Callable[[], Work]) -> None:
    work = build()
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        connection.send(work())


def _train(device_name: str, size: Size, amp: str, ours: bool, checkpointing: str = "none") -> Work:
    """A step on random pictures: forward, loss, backward, RMSprop."""
    torch.manual_seed(0)
    network = models.build("hg", JOINTS, stacks=size.stacks, feats=size.feats)
    if not ours:
        return _plain_step(network, torch.device(device_name), size)
    device = choose_device(device_name)
    options = Namespace(
        amp=amp, compile="auto", channels_last="auto", grad_checkpoint=checkpointing, input_res=size.side,
        optimizer="rmsprop", lr=2.5e-4, weight_decay=0.0, alpha=0.99, eps=1e-8,
        momentum=0.0, clip=0.0, ema=0.0,
    )  # fmt: skip
    settle(options, network, device, size.batch, LONG_RUN)
    network.grad_checkpoint = options.grad_checkpoint == "always"
    place(network, device, options.channels_last)
    update = Update(network, build_optimizer(network.parameters(), options), options)
    images, target = _inputs(device, size)
    images = images.contiguous(memory_format=torch.channels_last)  # as to_images gives them
    evaluate = compiled(lambda images, target: heatmap_mse(network(images), target), options)
    network.train()

    def step() -> None:
        with autocast(device, options.amp):
            loss = evaluate(images, target)
        update.backward(loss)
        update.apply()
        wait(device)

    return step


def _plain_step(network: nn.Module, device: torch.device, size: Size) -> Work:
    network.to(device).train()
    optimizer = torch.optim.RMSprop(network.parameters(), lr=2.5e-4)
    images, target = _inputs(device, size)

    def step() -> None:
        optimizer.zero_grad()
        loss = sum(((heatmaps - target) ** 2).mean() for heatmaps in network(images))
        loss.backward()
        optimizer.step()
        wait(device)

    return step


def _infer(device_name: str, size: Size, amp: str, ours: bool) -> Work:
    """The heatmaps of random pictures."""
    network = models.build("hg", JOINTS, stacks=size.stacks, feats=size.feats).eval()
    device = choose_device(device_name) if ours else torch.device(device_name)
    images, _ = _inputs(device, size)
    if not ours:
        network.to(device)

        def plain() -> None:
            with torch.no_grad():
                network(images)[-1]
            wait(device)

        return plain

    place(network, device, best_channels_last(device)[0])
    images = images.contiguous(memory_format=torch.channels_last)

    def infer() -> None:
        with torch.inference_mode(), autocast(device, amp):
            network(images)[-1]
        wait(device)

    return infer


def _inputs(device: torch.device, size: Size) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(size.batch, 3, size.side, size.side, generator=generator)
    target = torch.rand(size.batch, JOINTS, size.side // 4, size.side // 4, generator=generator)
    return images.to(device), target.to(device)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak(device: str, size: Size, ours: bool) -> float:
    """Bytes that training takes at most."""
    settings = (REDUCED, True, "always") if ours else ("none", False, "none")
    return memory_peak(device, partial(_train, device, size, *settings))


def tells_peak(device: str) -> bool:
    """Whether `memory_peak` can be known here."""
    return device == "cuda" or Path("/proc/self/status").exists()


def memory_peak(device: str, build: Callable[[], Work]) -> float:
    """Bytes that a work takes at most the first two times, beyond what the imported program takes."""
    with in_process(partial(_peaking, device, build)) as work:
        return float(work())  # type: ignore[arg-type]


def _peaking(device_name: str, build: Callable[[], Work]) -> Work:
    device = torch.device(device_name)

    def peak() -> float:
        before = 0.0 if device.type == "cuda" else _status("VmRSS")
        work = build()
        work()
        work()
        reached = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _status("VmHWM")
        return reached - before

    return peak


def _status(entry: str) -> float:
    """An entry of the process' memory in bytes, as Linux counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith(entry))
