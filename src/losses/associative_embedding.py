"""The loss of associative embedding (Newell, Huang and Deng, NIPS 2017): tags that say whose a joint is.

Two forms that agree: plain vectorised PyTorch for every device, which neither copies to the host nor waits
for it, and the compiled extension for the CPU, as an operator of PyTorch, so that a network compiles into one
graph with it. POSE_AE_BACKEND chooses (src/extensions/AE).

Shapes: B images, P slots for people, J joints, L tag dimension, h x w maps.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from src.errors import UserError
from src.extensions import AE
from src.utils.command import note


def associative_embedding(tags: Tensor, cells: Tensor, labelled: Tensor) -> tuple[Tensor, Tensor]:
    """How far the tags of each person are from their mean, and how near the means of people are.

    tags: (B, L, J, h, w), of any strides; computed in float32 at least, sums in float64.
    cells: (B, P, J, 2) int64, x and y; where labelled they lie inside the map, elsewhere they are not read.
    labelled: (B, P, J) bool. A person without labelled joints is an empty slot.

    Returns pull and push, (B,) each, in the form of the authors' code: pull is the mean over people of the
    mean over joints and dimensions of the squared distance from the person's mean tag; push half of the mean
    over pairs of people of exp(-squared distance of their means). They are 0 without people and without
    pairs, in the graph all the same, as DistributedDataParallel needs it.

    Raises TypeError for other types, ValueError for other shapes, UserError where POSE_AE_BACKEND asks for
    what there is not. Of labelled cells outside, the extension raises IndexError; elsewhere there is no time
    to look.
    """
    _validate(tags, cells, labelled)
    if _compiled_for(tags.device.type):
        pull, push, _ = _fused(tags.to(_at_least_float32(tags)), cells, labelled)
        return pull, push
    return vectorised(tags, cells, labelled)


def vectorised(tags: Tensor, cells: Tensor, labelled: Tensor) -> tuple[Tensor, Tensor]:
    """The plain form of `associative_embedding`: no value is waited for, nothing copied to the host."""
    size, width = tags.shape[1], tags.shape[4]
    cell = torch.where(labelled, cells[..., 1] * width + cells[..., 0], 0)  # (B, P, J)
    index = cell.transpose(1, 2)[:, None].expand(-1, size, -1, -1)
    # a few hundred numbers, so precision is free; Apple's GPU has no float64
    exact = torch.float32 if tags.device.type == "mps" else torch.float64
    found = tags.flatten(3).gather(3, index).transpose(2, 3).to(exact)
    found = torch.where(labelled[:, None], found, 0)  # (B, L, P, J)

    counts = labelled.to(exact)
    share = counts / counts.sum(2, keepdim=True).clamp(min=1)  # of a joint in its person's mean
    present = labelled.any(2)  # (B, P)
    people = present.sum(1)  # (B,)
    mean = (found * share[:, None]).sum(3)  # (B, L, P)
    spread = (found - mean[..., None]).square() * share[:, None]
    pull = spread.sum((1, 2, 3)) / (people * size).clamp(min=1)

    distance = (mean[..., :, None] - mean[..., None, :]).square().sum(1)  # (B, P, P)
    pairs = (present[:, :, None] & present[:, None, :]).triu(1)
    push = (torch.exp(-distance) * pairs).sum((1, 2)) / (people * (people - 1)).clamp(min=1)
    return pull.to(_at_least_float32(tags)), push.to(_at_least_float32(tags))


@torch.library.custom_op("pose::associative_embedding", mutates_args=(), device_types="cpu")
def _fused(tags: Tensor, cells: Tensor, labelled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`associative_embedding` by the extension, of tags in float32 or float64.

    The third result is computed in the same pass: slopes, (B, P, J, L, 2) float64, by how much pull and push
    change with the tags of each joint, 0 without a label.
    """
    pull, push = (torch.empty(len(tags), dtype=torch.float64) for _ in range(2))
    slopes = torch.empty(*labelled.shape, tags.shape[1], 2, dtype=torch.float64)
    _call("ae_loss", tags, cells, labelled, pull, push, slopes)
    return pull.to(tags.dtype), push.to(tags.dtype), slopes


@_fused.register_fake
def _(tags: Tensor, cells: Tensor, labelled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    slopes = tags.new_empty(*labelled.shape, tags.shape[1], 2, dtype=torch.float64)
    return tags.new_empty(len(tags)), tags.new_empty(len(tags)), slopes


@torch.library.custom_op("pose::associative_embedding_backward", mutates_args=(), device_types="cpu")
def _gradient(
    tags: Tensor, cells: Tensor, labelled: Tensor, pull: Tensor, push: Tensor, slopes: Tensor
) -> Tensor:
    """The gradient by `tags`, whose values are not read, from those by pull and push, (B,) each."""
    gradient = torch.zeros_like(tags)  # in the order of memory that the tags have
    _call("ae_gradient", gradient, cells, labelled, pull.double(), push.double(), slopes)
    return gradient


@_gradient.register_fake
def _(tags: Tensor, cells: Tensor, labelled: Tensor, pull: Tensor, push: Tensor, slopes: Tensor) -> Tensor:
    return torch.empty_like(tags)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    slopes = output[2]
    ctx.save_for_backward(*inputs, slopes)
    ctx.mark_non_differentiable(slopes)


def _backward(ctx: Any, pull: Tensor, push: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
    *inputs, slopes = ctx.saved_tensors
    return _gradient(*inputs, pull, push, slopes), None, None


_fused.register_autograd(_backward, setup_context=_keep)
_fused.register_autocast("cpu", torch.float32)


def _call(
    function: str, maps: Tensor, cells: Tensor, labelled: Tensor, pull: Tensor, push: Tensor, slopes: Tensor
) -> None:
    """Call a function of the extension; pull, push and slopes are float64. It runs without Python's lock."""
    _validate(maps, cells, labelled)
    if maps.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"the extension takes tags in float32 or float64, not {maps.dtype}")
    compiled, _, why = AE.choose()
    if compiled is None:
        raise RuntimeError(f"this operator is that of the extension: {why}")
    ffi, lib = compiled.ffi, compiled.lib

    images, dimensions, joints, height, width = maps.shape
    whole = [tensor.contiguous() for tensor in (cells, labelled, pull, push, slopes)]
    pointers = [ffi.cast("void *", tensor.data_ptr()) for tensor in (maps, *whole)]
    batch = ffi.new(
        "ae_batch *",
        {
            "images": images,
            "dimensions": dimensions,
            "joints": joints,
            "height": height,
            "width": width,
            "people": labelled.shape[1],
            "strides": maps.stride(),
            "is_double": maps.dtype == torch.float64,
            "cells": pointers[1],
            "labelled": pointers[2],
        },
    )
    status = getattr(lib, function)(batch, pointers[0], *pointers[3:])
    if status == lib.AE_OUTSIDE:
        raise IndexError(f"a labelled joint lies outside of its {height} x {width} map")
    if status == lib.AE_NO_MEMORY:
        raise MemoryError


def _validate(tags: Tensor, cells: Tensor, labelled: Tensor) -> None:
    if cells.dtype != torch.int64 or labelled.dtype != torch.bool or not tags.is_floating_point():
        types = f"{tags.dtype}, {cells.dtype} and {labelled.dtype}"
        raise TypeError(f"tags, cells and labelled are floating, int64 and bool, not {types}")
    if not (
        tags.ndim == 5
        and labelled.ndim == 3
        and cells.shape == (*labelled.shape, 2)
        and (tags.shape[0], tags.shape[2]) == (labelled.shape[0], labelled.shape[2])
    ):
        shapes = f"{tuple(tags.shape)}, {tuple(cells.shape)} and {tuple(labelled.shape)}"
        raise ValueError(f"tags (B, L, J, h, w), cells (B, P, J, 2), labelled (B, P, J) do not fit: {shapes}")


def _at_least_float32(tags: Tensor) -> torch.dtype:
    return torch.float64 if tags.dtype == torch.float64 else torch.float32


@torch.compiler.assume_constant_result
def _compiled_for(device: str) -> bool:
    """Whether the extension computes what is on this type of device; decided outside of a traced graph."""
    module, wanted, why = AE.choose()
    if device != "cpu" and wanted == "extension":
        raise UserError(f"{AE.VARIABLE} is extension, which computes on the CPU, not on {device}")
    if device != "cpu":
        module, why = None, f"on {device}"
    _say_once(f"associative embedding: {'compiled extension' if module else 'plain PyTorch'} ({why})")
    return module is not None


_say_once = cache(note)
