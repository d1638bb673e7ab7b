"""Which device, which precision, which memory layout: what the options ask for, as torch wants it."""

import ctypes
import sys
import textwrap
from argparse import Namespace
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import UserError
from src.utils.processes import local_rank, processes
from src.utils.words import counted

Network = TypeVar("Network", bound=nn.Module)

AMP_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """The device that `--device` names; auto takes CUDA, then Apple's GPU, then the CPU.

    Of several processes on a machine each has a GPU of its own.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if processes() > 1:
        name = _own_device(name)
    try:
        device = torch.device(name)
        torch.zeros((), device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = textwrap.shorten(str(error), 120, placeholder=" …")
        raise UserError(f"device {name!r} cannot be used here ({reason}); try --device auto or cpu") from None
    if device.type == "cpu":
        keep_memory()
    return device


def _own_device(name: str) -> str:
    """What `name` is for this one of several processes."""
    if name not in ("cuda", "cpu"):
        raise UserError(f"of several processes each has its own device: --device cuda or cpu, not {name}")
    if name == "cpu":
        return name
    if local_rank() >= (count := torch.cuda.device_count()):
        raise UserError(f"{count} GPUs are not enough for the processes here: --nproc-per-node {count}")
    return f"cuda:{local_rank()}"


def keep_memory() -> None:
    """Have glibc keep freed memory for the next step, instead of giving it back and taking it again.

    That costs training on a CPU, which needs the same large blocks in every step, a third of its time, and a
    process that prepares data, which needs them for every picture, a tenth. Threads share the memory: what
    they have of their own, such as one that runs a network beside a program, is given back all the same.
    Elsewhere than on Linux it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        trim_threshold, mmap_threshold, arena_max, never = -1, -3, -8, 2**30
        mallopt(mmap_threshold, never)
        mallopt(trim_threshold, never)
        mallopt(arena_max, 1)


def autocast(device: torch.device, amp: str) -> AbstractContextManager[Any]:
    """The context in which a network computes; without `amp` one that changes nothing."""
    return torch.autocast(device.type, dtype=AMP_TYPES.get(amp), enabled=amp != "none")


def place(network: Network, device: torch.device, channels_last: str) -> Network:
    """The network on its device; channels_last "always" lays its weights out for (B, H, W, C) in memory."""
    if channels_last == "always":
        network = network.to(memory_format=torch.channels_last)
    return network.to(device)


class _Pointwise(nn.Conv2d):
    """A convolution of size 1 that oneDNN computes in float32, also in a thread that has one processor.

    For such a thread, as several calls at once have, PyTorch takes a product of matrices of its own, which is
    up to 2.4 times as slow, unless the convolution is dilated. That changes nothing where there is one tap.
    """

    LARGE = 20480  # values given; with fewer the product is faster, and oneDNN is not asked for one image

    def forward(self, x: Tensor) -> Tensor:
        dilation = 2 if x.dtype == torch.float32 and x.numel() > self.LARGE else 1
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, dilation, self.groups)


def favour_onednn(network: Network) -> Network:
    """The network, with convolutions of size 1 that oneDNN computes on a CPU, where PyTorch has it.

    Not for a network that is exported: other programs take such a convolution for what it seems to be.
    """
    if next(network.parameters()).device.type == "cpu" and torch.backends.mkldnn.is_available():
        for module in network.modules():
            if type(module) is nn.Conv2d and module.kernel_size == (1, 1):
                module.__class__ = _Pointwise
    return network


def compiled(function: Callable[..., Any], options: Namespace) -> Callable[..., Any]:
    """The function as one compiled graph, if `--compile` asks for that."""
    if options.compile != "default":
        return function
    if options.grad_checkpoint == "always":  # a graph with repeated parts is not cut for several processes
        torch._dynamo.config.optimize_ddp = False
    return torch.compile(function, fullgraph=True)


def to_device(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The batch with its tensors on the device. No float64 on mps.

    To a GPU copies from pinned memory go on a stream of their own, beside the steps that it still computes.
    """
    if device.type != "cuda":
        return {key: _move(value, device) for key, value in batch.items()}
    copies, steps = _copy_stream(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(copies):
        batch = {key: _move(value, device) for key, value in batch.items()}
    steps.wait_stream(copies)
    for value in batch.values():
        if isinstance(value, Tensor):
            value.record_stream(steps)  # its memory is not used again before the steps are done with it
    return batch


@cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def _move(value: Any, device: torch.device) -> Any:
    if not isinstance(value, Tensor):
        return value
    if device.type == "mps" and value.dtype == torch.float64:
        value = value.float()
    return value.to(device, non_blocking=True)


def describe(device: torch.device) -> str:
    """The device in words, for options.json and the first line of a run."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} ({device})"
    if device.type == "cpu":
        return f"CPU, {counted(torch.get_num_threads(), 'thread', 'threads')}"
    return str(device)
