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
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from src.errors import UserError, suggest

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from src.models.layers import PoseNetwork


def _least(**_: Any) -> int:
    return 16  # a map of 4 cells, of which 2 have neighbours on both sides


class Architecture(NamedTuple):
    """A row of the table of networks.

    module, class_name: where it is defined.
    input_multiple: the number that its input side is a multiple of, given its config.
    paper: where it was published.
    preset: arguments of the class that make this network of it, where those left out would make another.
    num_joints, input_res: what it was published for, beside the defaults of the other arguments.
    least: the smallest side of its input, given its config, if that is not the multiple.
    """

    module: str
    class_name: str
    input_multiple: Callable[..., int]
    paper: str = ""
    preset: Mapping[str, Any] = MappingProxyType({})
    num_joints: int = 16
    input_res: int = 256
    least: Callable[..., int] = _least


def _hourglass_multiple(depth: int = 4, **_: Any) -> int:
    return 4 * 2**depth  # the stem divides by 4, each level of an hourglass by 2


def _resnet_multiple(**_: Any) -> int:
    return 32


def _any_size(**_: Any) -> int:
    return 1


def least_side(backbone: str = "", **_: Any) -> int:
    """The smallest side in pixels of the pictures for a classification network (`src.models.backbones`)."""
    return 75 if backbone == "inception_v3" else 64  # whose smallest maps then still have several cells


NEWELL = "Newell, Yang and Deng, ECCV 2016"
CHAO = "Chao, Yang, Price, Cohen and Deng, CVPR 2017"
SINGLE = "src.models.hourglass_single"

ARCHITECTURES: dict[str, Architecture] = {
    "hg": Architecture("src.models.hourglass", "StackedHourglass", _hourglass_multiple, NEWELL),
    "hg-ae": Architecture(
        "src.models.hourglass_ae", "AEHourglass", _hourglass_multiple, "Newell, Huang and Deng, NIPS 2017",
        num_joints=17, input_res=512,
    ),
    "hg-topdown": Architecture(
        "src.models.hourglass_topdown", "TopDownHourglass", _hourglass_multiple,
        "C. Rockwell, pytorch_stacked_hourglass_attention",
    ),
    "hg-256": Architecture(SINGLE, "SingleHourglass", _hourglass_multiple, CHAO),
    "hg-256-no-skip": Architecture(SINGLE, "SingleHourglass", _hourglass_multiple, CHAO, {"skip": False}),
    "hg-512": Architecture(SINGLE, "SingleHourglass", _hourglass_multiple, CHAO, {"feats": 512}),
    "hg-generic": Architecture(SINGLE, "SingleHourglass", _hourglass_multiple, NEWELL, {"stacks": 8}),
    "hg-single": Architecture(SINGLE, "WideHourglass", _hourglass_multiple, CHAO),
    "hg-single-no-skip": Architecture(SINGLE, "WideHourglass", _hourglass_multiple, CHAO, {"skip": False}),
    "hg-single-no-skip-clstm": Architecture(
        SINGLE, "WideHourglass", _hourglass_multiple, CHAO, {"skip": False, "lstm": True}
    ),
    "hg-stacked": Architecture(SINGLE, "WideHourglass", _hourglass_multiple, NEWELL, {"stacks": 2}),
    "pyranet": Architecture(
        "src.models.pyranet", "PyraNet", _hourglass_multiple,
        "Yang, Li, Ouyang, Li and Wang, ICCV 2017",
    ),
    "pose-attention": Architecture(
        "src.models.pose_attention", "PoseAttention", _hourglass_multiple,
        "Chu, Yang, Ouyang, Ma, Yuille and Wang, CVPR 2017",
    ),
    "dlcm": Architecture("src.models.dlcm", "DLCM", _hourglass_multiple, "Tang, Yu and Wu, ECCV 2018"),
    "simple": Architecture(
        "src.models.simple", "SimpleBaseline", _resnet_multiple, "Xiao, Wu and Wei, ECCV 2018"
    ),
    "chained": Architecture(
        "src.models.chained", "ChainedPredictions", _resnet_multiple,
        "Gkioxari, Toshev and Jaitly, ECCV 2016",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class LoadedModel:
    """What a checkpoint holds for use: the network in eval mode, and what it is and expects.

    arch, config: `build(arch, **config)` makes the network again, without its weights.
    skeleton: plain dict of the joints, `src.datasets.skeletons.Skeleton.from_dict` reads it.
    input_res: side of the square input in pixels.
    weights: "ema" for the running average of the weights, which is preferred, or "model".
    target_mass: for maps of logits, what scales their softmax (`src.evaluation.decode.as_targets`).
    """

    network: PoseNetwork
    arch: str
    config: dict[str, Any]
    skeleton: dict[str, Any]
    input_res: int
    weights: str
    target_mass: float | None = None


# Those that find one person at a time, and those that predict tags, which say whose a joint is.
TAGGED = ("hg-ae", "hg")
SINGLE_PERSON = tuple(name for name in ARCHITECTURES if name != "hg-ae")

# Those that give coordinates, (B, J, 2) in units of the crop, and no heatmaps.
REGRESSION: dict[str, Architecture] = {
    "deeppose": Architecture(
        "src.models.deeppose", "DeepPose", _any_size, "Toshev and Szegedy, CVPR 2014", least=least_side
    ),
    "ief": Architecture(
        "src.models.ief", "IterativeErrorFeedback", _any_size,
        "Carreira, Agrawal, Fragkiadaki and Malik, CVPR 2016", input_res=224, least=least_side,
    ),
}  # fmt: skip

# All that find a pose.
KNOWN = ARCHITECTURES | REGRESSION

# What learns beside a network of the table: no pose comes out of it.
PARTNERS: dict[str, Architecture] = {
    "discriminator": Architecture(
        "src.models.discriminator", "Discriminator", lambda depth=4, **_: 2**depth,
        "Chou, Chien and Chen, 2017", input_res=64,
    ),
}  # fmt: skip


def architecture(arch: str) -> Architecture:
    """The row of the tables for `arch`; UserError, with the nearest name, if there is none."""
    row = KNOWN.get(arch) or PARTNERS.get(arch)
    if row is None:
        raise UserError(f"there is no architecture {arch!r}{suggest(arch, KNOWN)}; known: {', '.join(KNOWN)}")
    return row


def smallest_input(arch: str, **config: Any) -> int:
    """The smallest side in pixels of the square images that a network takes."""
    row = architecture(arch)
    return max(row.input_multiple(**config), row.least(**config))


def check_input(arch: str, input_res: int, **config: Any) -> None:
    """UserError unless the network `arch`, built with `config`, takes images of `input_res` pixels a side."""
    multiple, least = architecture(arch).input_multiple(**config), smallest_input(arch, **config)
    if input_res < least or input_res % multiple:
        nearest = max(least, round(input_res / multiple) * multiple)
        rule = f"a multiple of {multiple}, the nearest is {nearest}" if multiple > 1 else f"at least {least}"
        raise UserError(f"an input of {input_res} px does not suit {arch}: the side must be {rule}")


def build(arch: str, num_joints: int, **config: Any) -> PoseNetwork:
    """A network with fresh weights.

    arch: a name in KNOWN or PARTNERS.
    num_joints: J.
    config: the other arguments of its class; those left out take its defaults.

    Raises UserError for an unknown architecture or argument, or one that cannot be.
    """
    row = architecture(arch)
    known = arguments(arch)
    for name, value in config.items():
        if name not in known:
            raise UserError(
                f"{arch} has no argument {name!r}{suggest(name, known)}; known: {', '.join(known)}"
            )
        kind = type(known[name])
        if kind in (bool, int, str) and type(value) is not kind:
            raise UserError(f"{arch}: {name} is {_KINDS[kind]}, not {shorten(repr(value), 40)}")
    # all stored with the weights: a later change of a default changes no checkpoint
    config = {**known, "num_joints": num_joints, **config}
    network: PoseNetwork = getattr(import_module(row.module), row.class_name)(**config)
    network.arch, network.config = arch, at_rest(config)
    return network


_KINDS = {bool: "true or false", int: "a whole number", str: "a word"}


def arguments(arch: str) -> dict[str, Any]:
    """The arguments of the class of a network with their defaults; that of num_joints is None."""
    row = architecture(arch)
    parameters = inspect.signature(getattr(import_module(row.module), row.class_name)).parameters
    defaults = {
        name: None if parameter.default is parameter.empty else parameter.default
        for name, parameter in parameters.items()
    }
    return {**defaults, **row.preset}


def at_rest(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` for a network whose weights are at hand: nothing is to be fetched when it is built again."""
    return {**config, "pretrained": "none"} if "pretrained" in config else dict(config)


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
            return build(arch, **at_rest(config)).state_dict()
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
    arch, config, stored = checkpoint["arch"], at_rest(checkpoint["config"]), checkpoint[weights]
    if arch in PARTNERS:
        raise UserError(f"{path} is a {arch}, which finds no pose: --load-{arch} starts a training from it")
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
        target_mass=checkpoint.get("target_mass"),
    )


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in weights.items()}
