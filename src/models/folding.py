"""Batch normalisation folded into the convolution before it: the same answers in fewer steps."""

from collections import Counter
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from src import models
from src.models.layers import PoseNetwork


def fold(network: PoseNetwork) -> PoseNetwork:
    """The network, in eval mode, with every normalisation folded that only scales what a convolution gives.

    It is changed in place: its weights are no longer those of its checkpoint. Answers differ by rounding.
    What is followed by what is seen in a run with an image of the smallest side.
    """
    side = models.smallest_input(network.arch, **network.config)
    watch = _Watch()
    with torch.inference_mode(), watch:
        network(torch.zeros(1, 3, side, side, device=next(network.parameters()).device))
    modules = dict(network.named_modules())
    names = {id(module.weight): name for name, module in modules.items() if isinstance(module, _FOLDED)}
    for weight, norm_weight in watch.pairs():
        if weight in names and norm_weight in names:
            convolution, norm = (modules[names[each]] for each in (weight, norm_weight))
            if _suits(convolution, norm):
                _fold(convolution, norm)
                parent, _, own = names[norm_weight].rpartition(".")
                setattr(network.get_submodule(parent), own, nn.Identity())
    return network


_FOLDED = (nn.Conv2d, nn.ConvTranspose2d, _BatchNorm)
_CONVOLUTIONS = (torch.conv2d, torch.conv_transpose2d)


class _Call(NamedTuple):
    """A convolution or normalisation: its weight and what it was given, as ids, and its answer."""

    weight: int
    given: int
    answer: Tensor


class _Watch(TorchFunctionMode):
    """Sees which tensors go where; their ids stay theirs, since none is let go before the watch is over."""

    def __init__(self) -> None:
        super().__init__()
        self.uses: Counter[int] = Counter()
        self.convolutions: list[_Call] = []
        self.norms: list[_Call] = []
        self._kept: list[Any] = []

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        answer = function(*args, **named)
        if not _tensors([answer]):  # e.g. a shape
            return answer
        for given in _tensors([*args, *named.values()]):
            self.uses[id(given)] += 1
            self._kept.append(given)
        if function in _CONVOLUTIONS:
            self.convolutions.append(_Call(id(args[1]), id(args[0]), answer))
        elif function is F.batch_norm:
            self.norms.append(_Call(id(named["weight"]), id(args[0]), answer))
        return answer

    def pairs(self) -> list[tuple[int, int]]:
        """Ids of the weights of a convolution and of the normalisation that alone sees what it gives.

        Layers may be used several times, if they are together each time.
        """
        made_by = {id(call.answer): call.weight for call in self.convolutions}
        pairs = Counter(
            (made_by[norm.given], norm.weight)
            for norm in self.norms
            if norm.given in made_by and self.uses[norm.given] == 1
        )
        return [pair for pair, times in pairs.items() if all(self.uses[weight] == times for weight in pair)]


def _tensors(values: list[Any]) -> list[Tensor]:
    """The tensors in arguments, those in lists among them included."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(list(value))
    return found


def _suits(convolution: nn.Module, norm: nn.Module) -> bool:
    if isinstance(convolution, nn.ConvTranspose2d) and convolution.groups > 1:
        return False
    return isinstance(norm, _BatchNorm) and norm.running_mean is not None and not norm.training


@torch.no_grad()
def _fold(convolution: Any, norm: Any) -> None:
    """Scale the convolution's weight and move its bias, computed in float64, as `norm` does its answer."""
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    bias = 0 if convolution.bias is None else convolution.bias.double()
    outputs_last = isinstance(convolution, nn.ConvTranspose2d)  # (inputs, outputs, k, k)
    shape = (1, -1, 1, 1) if outputs_last else (-1, 1, 1, 1)
    weight = convolution.weight
    weight.copy_(weight.double() * scale.view(shape))
    moved = (bias - norm.running_mean.double()) * scale + norm.bias.double()
    convolution.bias = nn.Parameter(moved.to(weight.dtype))
