"""What pays on a device: the `auto` of `--amp`, `--compile`, `--channels-last` and `--grad-checkpoint`."""

import importlib.util
import os
from argparse import Namespace

import torch
from torch import Tensor, UntypedStorage, nn

from src import models
from src.errors import UserError, suggest
from src.models.layers import PoseNetwork
from src.utils.device import AMP_TYPES

COMPILE_STEPS = 2000  # compiling takes a minute or two: shorter runs do not win that back
ROOM = 0.6  # share of the memory that activations may fill; weights, gradients and buffers need the rest
NOT_MEASURED = "not known to pay on Apple's GPU"

Choice = tuple[str, str]  # a value of an option, and why


def settle(options: Namespace, network: PoseNetwork, device: torch.device, people: int, steps: int) -> str:
    """Replace every `auto` of the speed options by what pays here; returns one line that says what and why.

    people: in a batch, or in the part of it that is learnt at once. steps: iterations of the run in all.
    """
    chosen = {}
    if options.amp == "auto":
        chosen["amp"] = best_amp(device)
        options.amp = chosen["amp"][0]  # the memory that is needed depends on it
    if options.compile == "auto":
        chosen["compile"] = _best_compile(network, device, steps)
    elif options.compile == "default" and _synchronises(network):
        raise UserError("--sync-batchnorm waits in every layer, which does not compile: --compile none")
    if options.channels_last == "auto":
        chosen["channels_last"] = best_channels_last(device)
    if options.grad_checkpoint == "auto":
        chosen["grad_checkpoint"] = _best_grad_checkpoint(options, network, device, people)
    for name, (value, _) in chosen.items():
        setattr(options, name, value)
    names = ("amp", "compile", "channels_last", "grad_checkpoint")
    words = [f"{name.replace('_', '-')} {getattr(options, name)}" for name in names]
    reasons = [chosen[name][1] if name in chosen else "as set" for name in names]
    return "speed: " + ", ".join(f"{word} ({reason})" for word, reason in zip(words, reasons, strict=True))


def precision(amp: str, device: torch.device) -> str:
    """`amp` itself, or for auto the best one. UserError for an unknown one."""
    known = ("auto", "none", *AMP_TYPES)
    if amp not in known:
        raise UserError(f"amp {amp!r} is not known{suggest(str(amp), known)}; known: {', '.join(known)}")
    return best_amp(device)[0] if amp == "auto" else amp


def best_amp(device: torch.device) -> Choice:
    """The precision in which the device is fastest without harm to training."""
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        version = "capability {}.{}".format(*capability)
        if capability >= (8, 0):
            return "bf16", version
        if capability >= (7, 0):
            return "fp16", f"{version}, too old for bf16"
        return "none", f"{version}, no tensor cores"
    if device.type == "cpu":
        if torch.cpu._is_amx_tile_supported():
            return "bf16", "AMX"
        if torch.cpu._is_avx512_bf16_supported():
            return "bf16", "avx512_bf16"
        return "none", "a CPU without avx512_bf16 or AMX"
    return "none", NOT_MEASURED


def best_channels_last(device: torch.device) -> Choice:
    """Whether convolutions are faster on (B, H, W, C) in memory."""
    if device.type in ("cpu", "cuda"):
        return "always", "faster convolutions"
    return "none", NOT_MEASURED


def _best_compile(network: PoseNetwork, device: torch.device, steps: int) -> Choice:
    if device.type != "cuda":
        return "none", "gains nothing on a CPU" if device.type == "cpu" else NOT_MEASURED
    if torch.cuda.get_device_capability(device) < (7, 0) or not _has_triton():
        return "none", "it needs Triton and capability 7.0"
    if steps < COMPILE_STEPS:
        return "none", f"{steps:,} iterations do not win back the time it takes"
    if _synchronises(network):
        return "none", "--sync-batchnorm waits in every layer"
    return "default", "Triton"


def _synchronises(network: PoseNetwork) -> bool:
    return any(isinstance(module, nn.SyncBatchNorm) for module in network.modules())


def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _best_grad_checkpoint(
    options: Namespace, network: PoseNetwork, device: torch.device, people: int
) -> Choice:
    memory = _memory(device)
    if memory is None:
        return "none", "the size of the memory is not known"
    needed = activation_bytes(network, people, options.input_res) / (1 if options.amp == "none" else 2)
    reason = f"activations of {needed / 1e9:.2f} GB, memory of {memory / 1e9:.0f} GB"
    return "always" if needed > ROOM * memory else "none", reason


def activation_bytes(network: PoseNetwork, people: int, input_res: int) -> float:
    """Bytes that a float32 forward pass of `people` images keeps for the backward pass.

    Counted for one image of the smallest side and scaled up, which takes no time; the network stays as it is.
    """
    kept: dict[int, UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    side = models.smallest_input(network.arch, **network.config)
    training = network.training
    network.eval()  # the statistics of normalisations do not move
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(torch.zeros(1, 3, side, side, device=next(network.parameters()).device))
    network.train(training)
    own = {tensor.untyped_storage()._cdata for tensor in [*network.parameters(), *network.buffers()]}
    counted = sum(storage.nbytes() for key, storage in kept.items() if key not in own)
    return counted * people * (input_res / side) ** 2


def _memory(device: torch.device) -> int | None:
    """Bytes of memory that the device has in all; None where that cannot be asked."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if device.type == "cpu" and hasattr(os, "sysconf"):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None
