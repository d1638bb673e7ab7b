"""From a batch to gradients, and to the figures of validation: what tasks share around their networks.

B samples, h x w maps.
"""

from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
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


class Objective(Protocol):
    """What a task has its network learn: targets, made of a batch on the device, and the loss beside them."""

    def supervised(self, batch: Batch) -> Batch:
        """The batch with "cells" of joints, which of them count ("has_target"), and "weight".

        A loss is a sum over the batch, divided by the sum of the weights.
        """
        ...

    def truth(self, batch: Batch) -> tuple[Tensor, ...]:
        """What the loss takes of a supervised batch or a part of it.

        First the target heatmaps (B, J, h, w), or coordinates (B, J, 2), which are 0 where nothing is known.
        """
        ...

    @property
    def losses(self) -> Callable[..., Losses]:
        """losses(outputs, *truth, total=total): those of all stages, `total` being the sum of weights."""
        ...


class MapObjective(Objective, Protocol):
    """An objective whose truth is heatmaps of `size` cells a side, at which a discriminator can look."""

    size: int

    def heatmaps(self, maps: Tensor, batch: Batch) -> Tensor:
        """The heatmaps (B, J, h, w) in the maps of a network, such that they may be like those of the truth.

        They are 0 where the truth of a supervised batch says nothing.
        """
        ...


class Supervision:
    """A network under its objective.

    evaluate(network, images, total, *truth): maps of the last stage (B, …, h, w), and the losses; network and
    loss are compiled together, if the options ask for that. learner: the same for the training step, or what
    `learning` makes of these arguments, if the network learns in another way than it is used.
    """

    def __init__(
        self,
        network: PoseNetwork,
        objective: Objective,
        options: Namespace,
        device: torch.device,
        learning: Model | None = None,
    ) -> None:
        def evaluate(
            model: nn.Module, images: Tensor, total: Tensor, *truth: Tensor
        ) -> tuple[Tensor, Losses]:
            outputs = model(images)
            return outputs[-1], objective.losses(outputs, *truth, total=total)

        self.objective, self.device, self.options = objective, device, options
        self.evaluate = compiled(evaluate, options)
        learning = compiled(learning, options) if learning else self.evaluate
        self.learner: Model = distributed.parallel(network, learning)

    def rendered(self, batch: Batch) -> Batch:
        """A supervised batch, or a part of it, with "images" (B, 3, H, W), and the "truth" of the targets."""
        images = to_images(batch["image"], batch["color"])
        return batch | {"images": images, "truth": self.objective.truth(batch)}

    def forward(
        self, model: Model, batch: Batch, total: Tensor, accuracy: HeatmapAccuracy
    ) -> tuple[Tensor, Losses]:
        """Maps and losses of a rendered batch, divided by `total`; the joints found go into `accuracy`.

        model: `learner`, or `evaluate` of a network.
        """
        with autocast(self.device, self.options.amp):
            maps, losses = model(batch["images"], total, *batch["truth"])
        accuracy.update(maps.detach(), batch["cells"], batch["has_target"])
        return maps, losses

    def learn(self, batch: Batch, rate: float, update: Update, accuracy: HeatmapAccuracy) -> Losses:
        """One iteration on a batch on the device, in `--accumulate` parts; returns its losses."""
        update.begin(rate)
        batch = self.objective.supervised(batch)
        total = distributed.mean(batch["weight"].sum())
        losses = []
        for part in parts_of(batch, self.options.accumulate, self.learner):
            _, loss = self.forward(self.learner, self.rendered(part), total, accuracy)
            update.backward(loss["loss"])
            losses.append(loss)
        update.apply()
        return summed(losses)


def summed(losses: Sequence[Losses]) -> Losses:
    """The sum of each loss over the parts of a batch, outside of the graph."""
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
    for number, batch in enumerate(readable(loader, run.skips_bad_images, left_out)):
        if run.stop.came:
            break
        batch = supervision.rendered(supervision.objective.supervised(to_device(batch, run.device)))
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
    samples: Samples,
    options: Namespace,
    device: torch.device,
    batches: int | None = None,
    skip_bad_images: bool | None = None,
) -> Iterator[Batch]:
    """The batches of a split in order, or `--valid-iters` of them spread over it; whole, for one process.

    skip_bad_images: whether pictures that cannot be read are left out; None: as the options say. Says at the
    end how many pictures were left out; UserError if that were all.
    """
    wanted = options.valid_iters if batches is None else batches
    loader = load(samples, in_order(len(samples), options.batch_size, wanted), options.workers, device)
    left_out, found = list[str](), False
    skip = bool(options.skip_bad_images) if skip_bad_images is None else skip_bad_images
    for batch in readable(loader, lambda: skip, left_out):
        found = True
        yield batch
    if left_out and not found:
        raise nothing_readable(left_out)
    report_left_out(samples, left_out)
