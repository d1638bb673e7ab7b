"""A step of training and the memory that it takes: what `auto` chooses against plain PyTorch.

Plain is what a first script does: float32, eager, (B, C, H, W) in memory, the allocator as it comes. Both run
in processes of their own, since the allocator's settings are those of a process, and take turns.
"""

import multiprocessing
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from bench.harness import Case, Item, Measure, Options, Skipped, Work, beside
from src import models
from src.errors import UserError
from src.losses.heatmap import heatmap_mse
from src.models.layers import PoseNetwork
from src.utils.device import autocast, choose_device, compiled, favour_onednn, place
from src.utils.optimization import Update, build_optimizer
from src.utils.speed import best_amp, settle

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
    """Steps in turn, then peaks of memory."""
    device = choose_device(options.device)
    amp, _ = best_amp(device)
    on_gpu = device.type == "cuda"
    size = Size(8, 32) if on_gpu else Size(2, 1, 64) if options.quick else Size(2, 4)
    goals = {"none": 1.3, "bf16": 4.0 if on_gpu else 2.2, "fp16": None}
    for precision in dict.fromkeys(("none", amp)):
        name, arguments = f"training step, {size}, {word(precision)}", (device.type, size, precision)
        yield from in_turn(name, PLAIN, _train, _plain_train, arguments, goals[precision])
    yield from _memory(device.type, options.quick)


def word(amp: str) -> str:
    """A precision as tables name it."""
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


def in_turn(
    name: str, plain: str, ours: Build, theirs: Build, arguments: tuple[object, ...],
    goal: float | None, at_most: bool = False,
) -> Iterator[Case]:  # fmt: skip
    """The case of two forms of a piece of work, each in a process of its own."""
    with (
        in_process(partial(ours, *arguments)) as our_work,
        in_process(partial(theirs, *arguments)) as their_work,
    ):
        yield Case(name, plain, our_work, their_work, goal, at_most)


@contextmanager
def in_process(build: Callable[[], Work]) -> Iterator[Work]:
    """A function that has a new process do the work that `build` gives there, and returns what it returns.

    UserError if the process has ended, by an error that it printed, or for want of memory.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, build), daemon=True)
    process.start()
    there.close()  # so that a process that ends is noticed here

    def work() -> object:
        try:
            here.send(True)
            return here.recv()
        except (EOFError, ConnectionError):
            process.join()
            raise UserError(f"its process ended with exit code {process.exitcode}") from None

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


def _train(device_name: str, size: Size, amp: str, checkpointing: str = "none") -> Work:
    """A step on random pictures: forward, loss, backward, RMSprop."""
    device, network = choose_device(device_name), _network(size)
    images, target = _inputs(device, size)
    return fast_step(
        network, lambda images: heatmap_mse(network(images), target), images, device, amp, checkpointing
    )


def _plain_train(device_name: str, size: Size) -> Work:
    """The same as a first script does it."""
    device, network = torch.device(device_name), _network(size)
    images, target = _inputs(device, size)
    return plain_step(network, lambda: _plain_mse(network(images), target), device)


def _network(size: Size) -> PoseNetwork:
    torch.manual_seed(0)
    return models.build("hg", JOINTS, stacks=size.stacks, feats=size.feats)


def _plain_mse(outputs: Sequence[Tensor], target: Tensor) -> Tensor:
    return torch.stack([((heatmaps - target) ** 2).mean() for heatmaps in outputs]).sum()


def fast_step(
    network: PoseNetwork,
    evaluate: Callable[[Tensor], Tensor],
    images: Tensor,
    device: torch.device,
    amp: str,
    checkpointing: str = "none",
    steps: int = LONG_RUN,
) -> Work:
    """A step as trainings take it, with what `auto` chooses for a run of so many of them.

    evaluate: the loss of images (B, 3, H, W), out of the network.
    """
    options = Namespace(
        amp=amp, compile="auto", channels_last="auto", grad_checkpoint=checkpointing,
        input_res=images.shape[3], optimizer="rmsprop", lr=2.5e-4, weight_decay=0.0, alpha=0.99, eps=1e-8,
        momentum=0.0, clip=0.0, ema=0.0,
    )  # fmt: skip
    settle(options, network, device, len(images), steps)
    network.grad_checkpoint = options.grad_checkpoint == "always"
    favour_onednn(place(network, device, options.channels_last))
    update = Update(network, build_optimizer(network.parameters(), options), options)
    images = images.contiguous(memory_format=torch.channels_last)  # as to_images gives them
    evaluate = compiled(evaluate, options)
    network.train()

    def step() -> None:
        with autocast(device, options.amp):
            loss = evaluate(images)
        update.backward(loss)
        update.apply()
        wait(device)

    return step


def plain_step(network: PoseNetwork, evaluate: Callable[[], Tensor], device: torch.device) -> Work:
    """A step as a first script takes it."""
    network.to(device).train()
    optimizer = torch.optim.RMSprop(network.parameters(), lr=2.5e-4)

    def step() -> None:
        optimizer.zero_grad()
        evaluate().backward()
        optimizer.step()
        wait(device)

    return step


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
    build = partial(_train, device, size, REDUCED, "always") if ours else partial(_plain_train, device, size)
    return memory_peak(device, build)


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
