"""Networks: the table of their names, how to build one, and the one way to open a checkpoint.

Importing this module is quick, since torch and the networks are imported on use; options are checked with it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, NamedTuple

from src.errors import UserError, suggest

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from src.models.layers import PoseNetwork


class Architecture(NamedTuple):
    """Where a network is defined, and the number that its input side is a multiple of, given its config."""

    module: str
    class_name: str
    input_multiple: Callable[..., int]


def _hourglass_multiple(depth: int = 4, **_: Any) -> int:
    return 4 * 2**depth  # the stem divides by 4, each level of an hourglass by 2


ARCHITECTURES: dict[str, Architecture] = {
    "hg": Architecture("src.models.hourglass", "StackedHourglass", _hourglass_multiple),
    "hg-ae": Architecture("src.models.hourglass_ae", "AEHourglass", _hourglass_multiple),
}


@dataclass(frozen=True)
class LoadedModel:
    """What a checkpoint holds for use: the network in eval mode, and what it is and expects.

    arch, config: `build(arch, **config)` makes the network again, without its weights.
    skeleton: plain dict of the joints, `src.datasets.skeletons.Skeleton.from_dict` reads it.
    input_res: side of the square input in pixels.
    weights: "ema" for the running average of the weights, which is preferred, or "model".
    """

    network: PoseNetwork
    arch: str
    config: dict[str, Any]
    skeleton: dict[str, Any]
    input_res: int
    weights: str


def architecture(arch: str) -> Architecture:
    """The table's row for `arch`; UserError, with the nearest name, if there is none."""
    if arch not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise UserError(f"there is no architecture {arch!r}{suggest(arch, ARCHITECTURES)}; known: {known}")
    return ARCHITECTURES[arch]


def smallest_input(arch: str, **config: Any) -> int:
    """The smallest side in pixels of the square images that a network takes."""
    multiple = architecture(arch).input_multiple(**config)
    return max(multiple, 16)  # a map of 4 cells, of which 2 have neighbours on both sides


def check_input(arch: str, input_res: int, **config: Any) -> None:
    """UserError unless the network `arch`, built with `config`, takes images of `input_res` pixels a side."""
    multiple, least = architecture(arch).input_multiple(**config), smallest_input(arch, **config)
    if input_res < least or input_res % multiple:
        nearest = max(least, round(input_res / multiple) * multiple)
        raise UserError(
            f"an input of {input_res} px does not suit {arch}: "
            f"the side must be a multiple of {multiple}, the nearest is {nearest}"
        )


def build(arch: str, num_joints: int, **config: Any) -> PoseNetwork:
    """A network with fresh weights.

    arch: a name in ARCHITECTURES.
    num_joints: J.
    config: the other arguments of its class; those left out take its defaults.

    Raises UserError for an unknown architecture or argument.
    """
    row = architecture(arch)
    network_class = getattr(import_module(row.module), row.class_name)
    signature = inspect.signature(network_class)
    for name in config:
        if name not in signature.parameters:
            known = ", ".join(signature.parameters)
            raise UserError(
                f"{arch} has no argument {name!r}{suggest(name, signature.parameters)}; known: {known}"
            )
    arguments = signature.bind(num_joints=num_joints, **config)
    arguments.apply_defaults()  # stored with the weights: a later change of a default changes no checkpoint
    network: PoseNetwork = network_class(**arguments.arguments)
    network.arch, network.config = arch, dict(arguments.arguments)
    return network


def outline(arch: str, config: Mapping[str, Any], most: int) -> dict[str, Tensor]:
    """The state dict of `build(arch, **config)` on the meta device: names and shapes, and no memory.

    For a config out of a file, which is not to be believed. Raises UserError when building comes to more
    than `most` parameters, and whatever a wrong config makes it raise.
    """
    import torch
    from torch.nn.modules.module import register_module_parameter_registration_hook

    numbers = iter(range(most))

    def count(*_: Any) -> None:
        if next(numbers, None) is None:
            raise UserError(f"{arch} of the size that is stored has more than {most} parameters")

    hook = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"):
            return build(arch, **config).state_dict()
    finally:
        hook.remove()


def load(path: str | Path, device: str | torch.device = "cpu") -> LoadedModel:
    """Open a checkpoint of ours: the network on `device`, in eval mode, and what belongs to it.

    Raises UserError for a file that is missing, damaged, not a checkpoint of ours, or unsafe (see
    `src.models.checkpoint.read_checkpoint`), or whose weights do not fit its architecture.
    """
    import torch

    from src.models.checkpoint import preferred_weights, read_checkpoint
    from src.utils.device import place
    from src.utils.speed import best_channels_last

    checkpoint = read_checkpoint(path)
    weights = preferred_weights(checkpoint)
    arch, config, stored = checkpoint["arch"], checkpoint["config"], checkpoint[weights]
    try:
        fits = _shapes(outline(arch, config, len(stored))) == _shapes(stored)
        check_input(arch, checkpoint["input_res"], **config)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (RuntimeError, TypeError, ValueError, ArithmeticError):
        fits = False
    if not fits:
        sizes = shorten(", ".join(f"{name} {value}" for name, value in config.items()), 200)
        raise UserError(f"{path}: its weights do not fit {arch} with {sizes}")
    network = build(arch, **config)
    network.load_state_dict(stored)
    device = torch.device(device)
    return LoadedModel(
        network=place(network, device, best_channels_last(device)[0]).eval(),
        arch=network.arch,
        config=network.config,
        skeleton=checkpoint["skeleton"],
        input_res=checkpoint["input_res"],
        weights=weights,
    )


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in weights.items()}
