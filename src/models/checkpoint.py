"""Checkpoint files: dicts of tensors and plain values, written atomically, read without executing anything.

Every checkpoint has

    format      1
    arch        the network's name in `src.models.ARCHITECTURES`
    config      its constructor's arguments, num_joints included
    skeleton    plain dict of the joints
    input_res   side of the square input in pixels
    model       state dict with unwrapped names

and may have `ema`, a state dict of averaged weights, and all that a training needs to go on.
"""

import os
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src.errors import UserError
from src.models.layers import PoseNetwork
from src.utils.files import replacing

FORMAT = 1
REQUIRED = {"arch": str, "config": dict, "skeleton": dict, "input_res": int, "model": dict}
CONVERT = "checkpoints of other code are converted with `python tools/convert.py OLD --out NEW`"


def describe(network: PoseNetwork, skeleton: Mapping[str, Any], input_res: int) -> dict[str, Any]:
    """The entries that every checkpoint has, for a network that `src.models.build` made (unwrapped)."""
    return {
        "format": FORMAT,
        "arch": network.arch,
        "config": network.config,
        "skeleton": dict(skeleton),
        "input_res": input_res,
        "model": network.state_dict(),
    }


def save_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    """Write `state` to `path` such that at every moment `path` is the whole old file or the whole new one.

    Raises TypeError, naming the entry, for anything that `read_checkpoint` would refuse (a NumPy scalar, an
    options object); UserError if the file cannot be written.
    """
    path = Path(path)
    _require_plain(state, "checkpoint")
    with replacing(path) as part, open(part, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())  # else a power cut could leave the new name on an empty file


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint of ours, its tensors on the CPU.

    Raises UserError for a file that is missing, damaged, no checkpoint, of other code, or that holds other
    things than tensors and plain values.
    """
    content = read_plain(path, hint=CONVERT)
    if not isinstance(content, dict) or "format" not in content:
        raise UserError(f"{path} is not a checkpoint of this project; {CONVERT}")
    if content["format"] != FORMAT:
        raise UserError(f"{path} has checkpoint format {content['format']}; this version reads {FORMAT}")
    missing = [key for key in REQUIRED if key not in content]
    if missing:
        raise UserError(f"{path} is an incomplete checkpoint: it lacks {', '.join(missing)}")
    for key, kind in REQUIRED.items():
        if not isinstance(content[key], kind):
            raise UserError(f"{path} is a damaged checkpoint: {key} is a {type(content[key]).__name__}")
    return content


def read_plain(path: str | Path, allowed: Iterable[Any] = (), hint: str = "") -> Any:
    """What `torch.save` wrote to `path`, if that is tensors, plain values and the `allowed` globals only.

    allowed: as `torch.serialization.safe_globals` takes them.
    hint: ends the message about a forbidden object.

    Raises UserError. Nothing in the file is executed.
    """
    path = Path(path)
    try:
        with (
            open(path, "rb") as file,
            torch.serialization.safe_globals(list(allowed)),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # they are about formats that are refused anyway
            return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; give the checkpoint file in it") from None
    except PermissionError:
        raise UserError(f"{path} may not be read: permission denied") from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        forbidden = _forbidden_object(str(error))
        if forbidden is None:
            raise UserError(f"{path} is damaged, or is no PyTorch checkpoint") from error
        reason = f"{path} holds {forbidden}, which is no tensor or plain value: refused, nothing was executed"
        raise UserError(f"{reason}; {hint}" if hint else reason) from error


def preferred_weights(checkpoint: Mapping[str, Any]) -> str:
    """The entry whose weights are for use: "ema" where there is one, else "model"."""
    return "ema" if checkpoint.get("ema") else "model"


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did, in names of tensors.

    loaded: taken from the checkpoint.
    remade: left as initialised, because they belong to another number of joints.
    missing: left as initialised, because the checkpoint lacks them.
    unused: in the checkpoint only.
    """

    loaded: tuple[str, ...]
    remade: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} tensors loaded"]
        for names, what in (
            (self.remade, "made anew for another number of joints"),
            (self.missing, "not in the checkpoint, made anew"),
            (self.unused, "of the checkpoint not used"),
        ):
            if names:
                parts.append(f"{len(names)} {what} ({', '.join(_layers(names))})")
        return "; ".join(parts)


def load_weights(
    network: PoseNetwork, checkpoint: Mapping[str, Any], strict: bool = False, entry: str | None = None
) -> LoadReport:
    """Start `network` from the weights of `checkpoint` (see `read_checkpoint`), in place.

    A layer made for another number of joints keeps its fresh weights, and so does one that the checkpoint
    lacks; all other shapes must agree.

    strict: every tensor must be in both and of the same shape.
    entry: "model" or "ema"; by default the one that is for use (`preferred_weights`).

    Raises UserError if the checkpoint is of another architecture or width, or does not pass `strict`; the
    network is then unchanged.
    """
    arch = checkpoint["arch"]
    if arch != network.arch:
        raise UserError(f"the checkpoint is of architecture {arch}, the network is {network.arch}")
    stored: dict[str, Tensor] = checkpoint[entry or preferred_weights(checkpoint)]
    own = network.state_dict()
    differ = [name for name in own if name in stored and stored[name].shape != own[name].shape]
    for name in differ:
        if name.split(".")[0] not in network.joint_layers:
            shapes = f"{name} is {tuple(stored[name].shape)} there and {tuple(own[name].shape)} here"
            raise UserError(f"the checkpoint is of another size{_differences(network, checkpoint)}: {shapes}")

    layers = {_layer(name) for name in differ}  # weight and bias of a layer stay together
    remade = tuple(name for name in own if _layer(name) in layers)
    missing = tuple(name for name in own if name not in stored and name not in remade)
    loaded = tuple(name for name in own if name in stored and name not in remade)
    report = LoadReport(loaded, remade, missing, tuple(name for name in stored if name not in own))
    if strict and (report.remade or report.missing or report.unused):
        raise UserError(f"the checkpoint does not fit the network exactly: {report}")
    network.load_state_dict({name: stored[name] for name in loaded}, strict=False)
    return report


def _layer(name: str) -> str:
    """The layer that a tensor belongs to: "heads.0.bias" -> "heads.0"."""
    return name.rpartition(".")[0]


def _layers(names: Iterable[str], most: int = 6) -> list[str]:
    """The layers of some tensors, in order, cut short after `most`."""
    layers = list(dict.fromkeys(_layer(name) for name in names))
    return layers if len(layers) <= most else [*layers[:most], f"{len(layers) - most} more layers"]


def _differences(network: PoseNetwork, checkpoint: Mapping[str, Any]) -> str:
    """The constructor's arguments that differ, which the user can change: " (feats 64, here 256)"."""
    stored, own = checkpoint["config"], network.config
    differ = [f"{key} {stored.get(key)}, here {own[key]}" for key in own if stored.get(key) != own[key]]
    return f" ({'; '.join(differ)})" if differ else ""


_PLAIN = (type(None), bool, int, float, str, bytes)


def _require_plain(value: Any, where: str) -> None:
    """TypeError unless a weights-only reader accepts `value` and all in it."""
    kind = type(value)  # exactly: a NumPy float is an instance of float, and is not accepted
    if kind in (dict, OrderedDict):
        for key, item in value.items():
            _require_plain(key, f"a key of {where}")
            _require_plain(item, f"{where}[{key!r}]")
    elif kind in (list, tuple):
        for i, item in enumerate(value):
            _require_plain(item, f"{where}[{i}]")
    elif kind not in _PLAIN and not isinstance(value, Tensor):
        name = f"{kind.__module__}.{kind.__qualname__}"
        raise TypeError(f"{where} is a {name}; checkpoints hold only tensors and plain values")


def _forbidden_object(message: str) -> str | None:
    """The name of the object that torch's weights-only reader refused, from its message, if it was that."""
    found = re.search(r"GLOBAL (\S+)|got <class '([^']+)'>", message)
    return next(name for name in found.groups() if name) if found else None
