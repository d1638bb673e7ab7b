"""Optimizers, the course of the learning rate, and one update of the weights, from the options."""

import math
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from src.utils import distributed
from src.utils.command import note
from src.utils.options import OPTIMIZERS


def build_optimizer(parameters: Iterable[nn.Parameter], options: Namespace) -> torch.optim.Optimizer:
    """The optimizer that the options name, with the settings that apply to it."""
    common = {"lr": options.lr, "weight_decay": options.weight_decay}
    rmsprop = {"alpha": options.alpha, "eps": options.eps, "momentum": options.momentum}
    builders = {
        "rmsprop": (torch.optim.RMSprop, rmsprop),
        "adam": (torch.optim.Adam, {"eps": options.eps}),
        "adamw": (torch.optim.AdamW, {"eps": options.eps}),
        "sgd": (torch.optim.SGD, {"momentum": options.momentum}),
        "nag": (torch.optim.SGD, {"momentum": options.momentum or 0.9, "nesterov": True}),
        "adadelta": (torch.optim.Adadelta, {"eps": options.eps}),
        "adagrad": (torch.optim.Adagrad, {"eps": options.eps}),
    }
    assert set(builders) == set(OPTIMIZERS)
    kind, settings = builders[options.optimizer]
    return kind(parameters, **common, **settings)


def learning_rate(options: Namespace, epoch: float, step: int) -> float:
    """The rate of iteration `step` (from 0), which begins when `epoch` epochs, a fraction, are done.

    A function of the position and the options alone: a resumed run takes up the course where it was, and a
    typed --lr, --schedule or --epochs changes it from then on.
    """
    factor = {
        "constant": lambda: 1.0,
        "step": lambda: options.lr_gamma ** math.floor(epoch / options.lr_step),
        "multistep": lambda: options.lr_gamma ** sum(epoch >= milestone for milestone in options.milestones),
        "cosine": lambda: 0.5 * (1 + math.cos(math.pi * min(1.0, epoch / max(options.epochs, 1)))),
        "inverse": lambda: 1 / (1 + options.lr_decay * step),
    }[options.schedule]()
    warmup = min(1.0, (step + 1) / options.warmup) if options.warmup else 1.0
    return options.lr * factor * warmup


class Update:
    """One update of a network's weights: scaled backward passes, the gradient's limit, the step, the average.

    Without `--amp fp16` the scaler does nothing; without `--ema` there is no average (`ema` is None).
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer, options: Namespace) -> None:
        device = next(network.parameters()).device.type
        self.network, self.optimizer, self.clip = network, optimizer, options.clip
        has_momentum = options.momentum and "momentum" in optimizer.defaults  # of others it is no setting
        self.kind = options.optimizer + (" with momentum" if has_momentum else "")
        self.scaler = torch.amp.GradScaler(device, enabled=options.amp == "fp16")
        self.decay = options.ema
        self.ema = (
            AveragedModel(network, multi_avg_fn=self._average, use_buffers=True) if options.ema else None
        )

    def begin(self, rate: float) -> None:
        """Go into training mode, with this learning rate."""
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to those already there."""
        self.scaler.scale(loss).backward()

    def apply(self) -> None:
        """Change the weights by the gradients gathered, and forget these."""
        if self.clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema:
            self.ema.update_parameters(self.network)

    def _average(self, *tensors: Any) -> None:
        """Move averages towards weights, at first faster, so that they do not lag behind in a short run.

        After n steps the decay is (1 + n) / (10 + n), up to that of `--ema`. The first two of `tensors` are
        lists of averages and weights, the third is n, possibly on a GPU.
        """
        assert self.ema is not None
        count = int(self.ema.n_averaged)
        get_ema_multi_avg_fn(min(self.decay, (1 + count) / (10 + count)))(*tensors)

    @property
    def weights(self) -> dict[str, nn.Module]:
        """The modules whose weights a checkpoint holds, by their names there."""
        return {"model": self.network} | ({"ema": self.ema.module} if self.ema else {})

    @property
    def best_network(self) -> nn.Module:
        """The network to validate and predict with: the average, if there is one."""
        return self.ema.module if self.ema else self.network

    def state_dict(self) -> dict[str, Any]:
        averaged = int(self.ema.n_averaged) if self.ema else 0
        return {
            "kind": self.kind,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "averaged": averaged,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the memory of an optimizer of the same kind; its settings stay those of the options."""
        kind = state.get("kind", self.kind)
        if kind == self.kind:
            settings = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": state["optimizer"]["state"], "param_groups": settings})
        else:
            note(f"the checkpoint is of {kind}: {self.kind} starts without memory of past gradients")
        if state["scaler"] and self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        if self.ema:
            self.ema.n_averaged.fill_(state["averaged"])


def parts_of(batch: dict[str, Any], count: int, *learners: Callable[..., Any]) -> Iterator[dict[str, Any]]:
    """The batch in at most `count` parts of its people, for gradient accumulation.

    learners: what `src.utils.distributed.parallel` made; processes exchange gradients with the last part.
    """
    tensors = {key: value for key, value in batch.items() if isinstance(value, Tensor)}
    total = len(next(iter(tensors.values())))
    size = math.ceil(total / count)
    *others, last = (
        {key: value[first : first + size] for key, value in tensors.items()}
        for first in range(0, total, size)
    )
    for part in others:
        with distributed.local(*learners):
            yield part
    yield last
