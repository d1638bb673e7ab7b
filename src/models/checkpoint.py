"""Checkpoint files: dicts of tensors and plain values, written atomically, read without executing anything.

Every checkpoint has

    format      1
    arch        the network's name in a table of `src.models`
    config      its constructor's arguments, num_joints included
    skeleton    plain dict of the joints
    input_res   side of the square input in pixels
    model       state dict with unwrapped names

and may have

    target_mass    what scales the softmax of maps that are logits (`src.evaluation.decode.as_targets`)
    ema            state dict of averaged weights
    discriminator  that of the network that learnt beside it (`src.models.PARTNERS`)

and all that a training needs to go on.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import Any
from zipfile import BadZipFile

import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models import PARTNERS, archive
from src.models.layers import PoseNetwork
from src.utils.files import replacing

FORMAT = 1
REQUIRED = {"arch": str, "config": dict, "skeleton": dict, "input_res": int, "model": dict}
CONVERT = "checkpoints of other code are converted with `python tools/convert.py OLD --out NEW`"


def describe(
    network: PoseNetwork, skeleton: Mapping[str, Any], input_res: int, target_mass: float | None = None
) -> dict[str, Any]:
    """The entries that say what a network is that `src.models.build` made (unwrapped), and its weights."""
    return {
        "format": FORMAT,
        "arch": network.arch,
        "config": network.config,
        "skeleton": dict(skeleton),
        "input_res": input_res,
        "target_mass": target_mass,
        "model": network.state_dict(),
    }


def save_checkpoint(path: str | Path, state: dict[str, Any], kept: Path | None = None) -> None:
    """Write `state` to `path` such that at every moment `path` is the whole old file or the whole new one.

    kept: where the old file goes on, if there is one.

    Raises TypeError, naming the entry, for anything that `read_checkpoint` would refuse (a NumPy scalar, an
    options object); UserError if the file cannot be written.
    """
    _require_plain(state, "checkpoint")
    with replacing(Path(path), kept) as part, open(part, "wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # what stopped the writing is hidden behind what followed from it
            raise error.__context__ or error from None


class DamagedError(UserError):
    """A checkpoint that is not there, or not whole: an older one may serve."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint of ours, its tensors on the CPU.

    Raises UserError for a file that is missing or damaged (DamagedError), is no checkpoint or of other code,
    holds other things than tensors and plain values, or contradicts itself.
    """
    content = read_plain(path, hint=CONVERT)
    if not isinstance(content, dict) or "format" not in content:
        raise UserError(f"{path} is not a checkpoint of this project; {CONVERT}")
    if content["format"] != FORMAT:
        found = shorten(str(content["format"]), 20)
        raise UserError(f"{path} has checkpoint format {found}; this version reads {FORMAT}")
    missing = [key for key in REQUIRED if key not in content]
    if missing:
        raise UserError(f"{path} is an incomplete checkpoint: it lacks {', '.join(missing)}")
    contradiction = _contradiction(content)
    if contradiction:
        raise UserError(f"{path} is a damaged checkpoint: {contradiction}")
    return content


def _contradiction(content: Mapping[str, Any]) -> str:
    """What is wrong with the entries that every checkpoint has, "" if nothing is."""
    for key, kind in REQUIRED.items():
        if not isinstance(content[key], kind):
            return f"{key} is a {type(content[key]).__name__}"
    for key in ("model", "ema", *PARTNERS):
        if content.get(key) and not is_state_dict(content[key]):
            return f"{key} is no state dict"
    mass = content.get("target_mass")
    if mass is not None and not (type(mass) is float and 0 < mass < math.inf):
        return f"target_mass is {shorten(repr(mass), 20)}"
    joints, outputs = content["skeleton"].get("joints"), content["config"].get("num_joints")
    if isinstance(joints, list | tuple) and outputs not in (None, len(joints)):
        return f"its skeleton has {len(joints)} joints, its network {shorten(str(outputs), 20)}"
    return ""


def is_state_dict(content: Any) -> bool:
    """Whether it is tensors by their names."""
    if not isinstance(content, dict) or not content:
        return False
    return all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())


def read_plain(path: str | Path, hint: str = "") -> Any:
    """What `torch.save` wrote to `path`, if that is tensors and plain values only (see `src.models.archive`).

    hint: ends the message about a forbidden object.

    Raises UserError, DamagedError for a file that is missing or not whole. Nothing in it is executed.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            return archive.load(file)
    except FileNotFoundError:
        raise DamagedError(f"there is no checkpoint {path}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; give the checkpoint file in it") from None
    except PermissionError:
        raise UserError(f"{path} may not be read: permission denied") from None
    except MemoryError:
        raise UserError(f"{path} needs more memory than there is") from None
    except archive.ForbiddenError as error:
        name = shorten(str(error), 100)
        reason = f"{path} holds {name}, which is no tensor or plain value: refused, nothing was executed"
        raise UserError(f"{reason}; {hint}" if hint else reason) from None
    except Exception as error:  # a damaged file can raise nearly anything
        known = isinstance(error, OSError | ValueError | BadZipFile)
        cause = f" ({shorten(getattr(error, 'strerror', None) or str(error), 100)})" if known else ""
        if path.suffix.lower() == ".onnx":
            raise UserError(f"{path} is an exported file; what it was made of is wanted, a .pth") from None
        raise DamagedError(f"{path} is damaged, or is no PyTorch checkpoint{cause}") from error


def preferred_weights(checkpoint: Mapping[str, Any]) -> str:
    """The entry whose weights are for use: "ema" where there is one, else "model"."""
    return "ema" if checkpoint.get("ema") else "model"


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did, in names of tensors.

    loaded: taken from the checkpoint.
    remade: left as initialised, because they belong to other joints or maps.
    transferred: of these, those that have taken the rows of `kept`.
    missing: left as initialised, because the checkpoint lacks them.
    unused: in the checkpoint only.
    kept, fresh: joints whose rows were taken over, and those whose rows were not.
    """

    loaded: tuple[str, ...]
    remade: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    transferred: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()

    def __str__(self) -> str:
        layers = {_layer(name) for name in self.transferred}
        remade = tuple(name for name in self.remade if _layer(name) not in layers)
        parts = [
            f"{len(self.loaded)} tensors loaded",
            *_counted(self.transferred, "with the rows of the same joints"),
            *_counted(remade, "made anew for other joints"),
            *_counted(self.missing, "not in the checkpoint, made anew"),
            *_counted(self.unused, "of the checkpoint not used"),
        ]
        for joints, what in ((self.kept, "joints kept"), (self.fresh, "joints made anew")):
            if joints:
                parts.append(f"{what}: {', '.join(joints)}")
        return "; ".join(parts)

    @property
    def differences(self) -> str:
        """What keeps the checkpoint from being that of the network; "" if nothing does."""
        parts = [
            *_counted(self.remade, "for other joints"),
            *_counted(self.missing, "not in the checkpoint"),
            *_counted(self.unused, "of the checkpoint not used"),
        ]
        return "; ".join(parts)


def _counted(names: Sequence[str], what: str) -> list[str]:
    """One text of how many tensors there are and of which layers, or none for none."""
    return [f"{len(names)} {what} ({', '.join(_layers(names))})"] if names else []


def load_weights(
    network: PoseNetwork,
    checkpoint: Mapping[str, Any],
    strict: bool = False,
    entry: str | None = None,
    joints: Sequence[str] | None = None,
    transfer: bool = False,
) -> LoadReport:
    """Start `network` from the weights of `checkpoint` (see `read_checkpoint`), in place.

    A layer made for other joints keeps its fresh weights, and so does one that the checkpoint lacks; all
    other shapes must agree.

    strict: every tensor must be in both, of the same shape and for the same joints.
    entry: "model", "ema" or the name of a partner; by default the one that is for use (`preferred_weights`).
    joints: the names of the network's joints; without them other joints are known by their number alone.
    transfer: layers for other joints take the rows of those that have the same name.

    Raises UserError if the checkpoint is of another architecture or width, or does not pass `strict`; the
    network is then unchanged.
    """
    arch = entry if entry in PARTNERS else checkpoint["arch"]
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
    before = _joints_of(checkpoint)
    if joints is not None and before and before != list(joints):
        layers |= {_layer(name) for name in own if name.split(".")[0] in network.joint_layers}
    remade = tuple(name for name in own if _layer(name) in layers)
    missing = tuple(name for name in own if name not in stored and name not in remade)
    loaded = tuple(name for name in own if name in stored and name not in remade)
    report = LoadReport(loaded, remade, missing, tuple(name for name in stored if name not in own))
    if strict and report.differences:
        size = "" if report.remade else _differences(network, checkpoint)
        raise UserError(f"the checkpoint does not fit the network exactly{size}: {report.differences}")
    taken = {name: stored[name] for name in loaded}
    if transfer and remade and joints is not None:
        rows = _rows_kept(network, stored, remade, before, joints)
        kept = tuple(joint for joint in joints if rows and joint in before)
        fresh = tuple(joint for joint in joints if joint not in kept)
        report = replace(report, transferred=tuple(rows), kept=kept, fresh=fresh)
        taken |= rows
    network.load_state_dict(taken, strict=False)
    return report


def _joints_of(checkpoint: Mapping[str, Any]) -> list[Any]:
    """The names of its joints; none if it does not tell."""
    joints = checkpoint["skeleton"].get("joints")
    return list(joints) if isinstance(joints, list | tuple) else []


def _rows_kept(
    network: PoseNetwork,
    stored: Mapping[str, Tensor],
    names: Iterable[str],
    before: Sequence[str],
    joints: Sequence[str],
) -> dict[str, Tensor]:
    """Those of the tensors `names` of joint layers that have rows for the stored ones (see `_with_rows`)."""
    if not any(joint in before for joint in joints):
        return {}
    found = {
        name: _with_rows(network, name, stored[name], before, joints) for name in names if name in stored
    }
    return {name: value for name, value in found.items() if value is not None}


def _with_rows(
    network: PoseNetwork, name: str, old: Tensor, before: Sequence[str], joints: Sequence[str]
) -> Tensor | None:
    """The fresh tensor `name` of a joint layer with those rows of the stored one, `old`, that mean the same.

    None if there are none. before: the joints of the checkpoint.
    """
    new, layer = network.state_dict()[name], name.split(".")[0]
    axis = _axis_of_joints(network, name)
    if axis is None:  # behind the joints there is nothing of them
        return old if old.shape == new.shape else None
    if new.ndim == 0 or old.ndim != new.ndim:  # the first is a count of batches
        return None
    if any(old.shape[i] != new.shape[i] for i in range(new.ndim) if i != axis):
        return None
    was = network.meanings(layer, old.shape[axis], before)
    now = network.meanings(layer, new.shape[axis], joints)
    pairs = [(was.index(row), i) for i, row in enumerate(now) if row is not None and row in was]
    if not pairs:
        return None
    source, target = (torch.tensor(rows, device=new.device) for rows in zip(*pairs, strict=True))
    return new.index_copy(axis, target, old.to(new).index_select(axis, source))


def _axis_of_joints(network: PoseNetwork, name: str) -> int | None:
    """The axis of a tensor of a joint layer along which it has the joints; None for a bias behind them."""
    sees_joints = name.split(".")[0] in network.sees_joints
    if not name.endswith("weight"):
        return None if sees_joints else 0
    turned = isinstance(network.get_submodule(_layer(name)), nn.ConvTranspose2d)
    return int(sees_joints != turned)


def _layer(name: str) -> str:
    """The layer that a tensor belongs to: "heads.0.bias" -> "heads.0"."""
    return name.rpartition(".")[0]


def _layers(names: Iterable[str], most: int = 6) -> list[str]:
    """The layers of some tensors, in order, cut short after `most`."""
    layers = list(dict.fromkeys(_layer(name) for name in names))
    return layers if len(layers) <= most else [*layers[:most], f"{len(layers) - most} more layers"]


def _differences(network: PoseNetwork, checkpoint: Mapping[str, Any]) -> str:
    """The constructor's arguments that differ, which the user can change: " (feats 64, here 256)".

    Those of a partner are not stored beside a network.
    """
    if checkpoint["arch"] != network.arch:
        return ""
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
