"""From a batch to gradients, and to the figures of validation: what tasks share around their networks.

B samples, h x w maps.
"""

from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from src.datasets.crops import Batch, Samples, in_order, load, nothing_readable, readable
from src.datasets.targets import to_images
from src.evaluation.accuracy import HeatmapAccuracy
from src.models.layers import PoseNetwork
from src.utils import distributed
from src.utils.device import autocast, compiled, to_device
from src.utils.optimization import Update, parts_of
from src.utils.training import Row, Run, Totals, accuracy_row, report_left_out

Losses = dict[str, Tensor]  # scalars; "loss" is what is minimised, others are shown beside it
Model = Callable[..., tuple[Tensor, Losses]]


class Targets(Protocol):
    """How a task makes of a batch on the device what its loss compares the network with."""

    def supervised(self, batch: Batch) -> Batch:
        """The batch with "cells" of joints, which of them count ("has_target"), and "weight".

        A loss is a sum over the batch, divided by the sum of the weights.
        """
        ...

    def truth(self, batch: Batch) -> tuple[Tensor, ...]:
        """The tensors that the loss takes, of a supervised batch or of a part of it."""
        ...


class Supervision:
    """A network under its loss.

    evaluate(network, images, *truth, total): maps of the last stage (B, …, h, w), and the losses with `total`
    in the place of the sum of weights; network and loss are compiled together, if the options ask for that.
    """

    def __init__(
        self,
        network: PoseNetwork,
        evaluate: Callable[..., tuple[Tensor, Losses]],
        targets: Targets,
        options: Namespace,
        device: torch.device,
    ) -> None:
        self.targets, self.device, self.options = targets, device, options
        self.evaluate = compiled(evaluate, options)
        self.learner: Model = distributed.parallel(network, self.evaluate)

    def forward(
        self, model: Model, batch: Batch, total: Tensor, accuracy: HeatmapAccuracy
    ) -> tuple[Tensor, Losses]:
        """Maps and losses of a supervised batch, divided by `total`; the joints found go into `accuracy`.

        model: `learner`, or `evaluate` of a network.
        """
        truth = self.targets.truth(batch)
        with autocast(self.device, self.options.amp):
            maps, losses = model(to_images(batch["image"], batch["color"]), *truth, total)
        accuracy.update(maps.detach(), batch["cells"], batch["has_target"])
        return maps, losses

    def backward(self, batch: Batch, update: Update, accuracy: HeatmapAccuracy) -> Losses:
        """Add the gradients of a batch, in `--accumulate` parts, to those of `update`; returns its losses."""
        batch = self.targets.supervised(batch)
        total = distributed.mean(batch["weight"].sum())
        losses = []
        for part in parts_of(batch, self.options.accumulate, self.learner):
            _, loss = self.forward(self.learner, part, total, accuracy)
            update.backward(loss["loss"])
            losses.append(loss)
        return {name: torch.stack([loss[name].detach() for loss in losses]).sum() for name in losses[0]}


Look = Callable[[int, Batch, Tensor], None]


@torch.inference_mode()
def validated(
    supervision: Supervision,
    network: nn.Module,
    samples: Samples,
    accuracy: HeatmapAccuracy,
    run: Run,
    look: Look,
) -> Row:
    """Losses and accuracy over the validation split, without flip, for log.csv.

    Of several processes each takes its share of every batch, of which the last one may leave some of them
    nothing. A loss is the mean over all that counts, however it is shared.

    look(number, batch, maps): what else is to be done with each batch on the device.

    Breaks off after a signal.
    """
    network.eval()
    distributed.share_buffers(network)
    options, totals, left_out = run.options, Totals(run.device), list[str]()
    one = torch.ones((), device=run.device)
    keys = in_order(len(samples), options.batch_size, options.valid_iters)
    loader = load(samples, distributed.Shares(keys, options.batch_size), options.workers, run.device)
    for number, batch in enumerate(readable(loader, options.skip_bad_images, left_out)):
        if run.stop.came:
            break
        batch = supervision.targets.supervised(to_device(batch, run.device))
        maps, losses = supervision.forward(partial(supervision.evaluate, network), batch, one, accuracy)
        totals.add({**losses, "weight": batch["weight"].sum()}, run.position.step)
        look(number, batch, maps)
    totals.check()
    sums = _joined(totals)
    left_out = distributed.joined(left_out)
    if left_out and not sums:
        raise nothing_readable(left_out)
    report_left_out(samples, left_out)
    weight = max(sums.pop("weight", 0.0), 1.0)
    means = {f"valid_{name}": value / weight for name, value in sums.items()}
    return means | accuracy_row("valid", accuracy.joined(), samples.people.skeleton.joints)


def _joined(totals: Totals) -> dict[str, float]:
    """The sums of all processes, some of which may have had nothing to add."""
    own: dict[str, Any] = {name: float(value) for name, value in totals.sums.items()}
    shares = [share for share in distributed.joined([own]) if share]
    return {name: sum(share[name] for share in shares) for name in (shares[0] if shares else ())}


def validation_batches(
    samples: Samples, options: Namespace, device: torch.device, batches: int | None = None
) -> Iterator[Batch]:
    """The batches of a split in order, or `--valid-iters` of them spread over it; whole, for one process.

    Says at the end how many pictures were left out; UserError if that were all.
    """
    wanted = options.valid_iters if batches is None else batches
    loader = load(samples, in_order(len(samples), options.batch_size, wanted), options.workers, device)
    left_out, found = list[str](), False
    for batch in readable(loader, options.skip_bad_images, left_out):
        found = True
        yield batch
    if left_out and not found:
        raise nothing_readable(left_out)
    report_left_out(samples, left_out)
