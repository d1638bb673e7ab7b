"""The other side of self-adversarial training: the discriminator, its optimizer, the controller, the step."""

from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src import models
from src.errors import UserError
from src.evaluation.accuracy import HeatmapAccuracy
from src.losses.adversarial import Equilibrium, energy
from src.models.checkpoint import load_weights, read_checkpoint
from src.models.layers import PoseNetwork, statistics_kept
from src.utils import distributed
from src.utils.command import note
from src.utils.device import autocast, compiled, favour_onednn, place
from src.utils.optimization import Update, build_optimizer, parts_of
from src.utils.supervision import Batch, Losses, MapObjective, Supervision, summed
from src.utils.training import Run, Stateful

# Heatmaps lie between 0 and 1. A discriminator whose error is 10 in the mean reconstructs nothing any more.
HOPELESS = 10.0**2
COLLAPSED = "the discriminator has collapsed, and cannot reconstruct real heatmaps any more,"

Judge = Callable[[Tensor, Tensor], Tensor]  # small images, heatmaps -> energies (B,)
Look = tuple[Batch, Tensor, Losses]  # a rendered part of a batch, the predicted heatmaps, the losses of these


class Adversary:
    """A discriminator that learns beside a pose network, and tells it how real its heatmaps look.

    supervision, network, objective: of the pose network. The options are those of
    `src.utils.options.add_adversarial_options`.

    Raises UserError for a size of the discriminator that does not suit the heatmaps.
    """

    def __init__(
        self, supervision: Supervision, network: PoseNetwork, objective: MapObjective, options: Namespace
    ) -> None:
        self.supervision, self.objective = supervision, objective
        self.pose_network, self.options, self.device = network, options, supervision.device
        size = objective.size
        if size % 2**options.d_depth:
            raise UserError(
                f"heatmaps of {size} cells cannot be halved {options.d_depth} times: lower --d-depth"
            )
        num_joints = network.config["num_joints"]
        self.network = _discriminator(num_joints, options, self.device)
        self.equilibrium = Equilibrium(
            options.gamma,
            options.lambda_kt,
            options.kt_init,
            unit=1.0 if options.energy == "mean" else float(num_joints * size**2),
        ).to(self.device, dtype=torch.float32 if self.device.type == "mps" else None)
        self.judge = compiled(_judged, options)
        self.learner = distributed.parallel(self.network, self.judge)
        adam = {"optimizer": "adam", "eps": 1e-8, "momentum": 0.0, "weight_decay": 0.0}
        own = Namespace(**{**vars(options), **adam, "lr": options.lr_d, "ema": 0.0})
        self.update = Update(self.network, build_optimizer(self.network.parameters(), own), own)

    def learn(self, batch: Batch, rate: float, update: Update, accuracy: HeatmapAccuracy, run: Run) -> Losses:
        """One iteration on a batch on the device, in the order of the paper.

        The discriminator learns to reconstruct real heatmaps, and not to reconstruct predicted ones; then the
        pose network learns from the truth, and to be reconstructed by what the discriminator has become; then
        the controller moves. Until `--adversarial-after` iterations the pose network learns alone.

        update: of the pose network. Returns its loss and the two parts of that, the discriminator's energies
        of real and predicted heatmaps, and what the controller says (`Equilibrium.update`).
        """
        supervision, options = self.supervision, self.options
        if run.position.step < options.adversarial_after:
            return self._alone(supervision.learn(batch, rate, update, accuracy))
        update.begin(rate)
        self.update.begin(rate * options.lr_d / options.lr if options.lr else options.lr_d)
        batch = self.objective.supervised(batch)
        total = distributed.mean(batch["weight"].sum())
        samples = distributed.mean(_counts(batch).sum())
        # a batch in one part goes through the pose network once, for both networks' sake
        once = list(self._looks(batch, total, accuracy)) if options.accumulate == 1 else None

        for _ in range(options.d_updates):
            seen = once or self._foreseen(batch, total)
            energies = [self._confront(part, fake.detach(), samples) for part, fake, _ in seen]
            self.update.apply()

        with _frozen(self.network):
            looks = once or self._looks(batch, total, accuracy)
            losses = [self._persuade(*look, samples, update) for look in looks]
        update.apply()

        found = distributed.means(summed(energies))
        run.totals.flag(COLLAPSED, found["real"] > HOPELESS, run.position.step + 1, "a lower --lr-d")
        return {**summed(losses), **found, **self.equilibrium.update(found["real"], found["fake"])}

    def _alone(self, losses: Losses) -> Losses:
        """The losses of an iteration without the discriminator, with the names of one with it."""
        zero, k = torch.zeros((), device=self.device), self.equilibrium.k.clone()
        idle = {"adversarial": zero, "real": zero, "fake": zero, "kt": k, "balance": zero, "measure": zero}
        return {**losses, "content": losses["loss"], **idle}

    def _looks(self, batch: Batch, total: Tensor, accuracy: HeatmapAccuracy) -> Iterator[Look]:
        """What the pose network predicts for each part of a supervised batch, with its graph."""
        supervision = self.supervision
        for part in parts_of(batch, self.options.accumulate, supervision.learner):
            part = supervision.rendered(part)
            maps, losses = supervision.forward(supervision.learner, part, total, accuracy)
            yield part, self.objective.heatmaps(maps, part), losses

    def _foreseen(self, batch: Batch, total: Tensor) -> Iterator[Look]:
        """What the pose network is going to predict for each part, without its graph."""
        supervision = self.supervision
        for part in parts_of(batch, self.options.accumulate, self.learner):
            part = supervision.rendered(part)
            with torch.no_grad(), statistics_kept(self.pose_network), autocast(self.device, self.options.amp):
                maps, losses = supervision.evaluate(self.pose_network, part["images"], total, *part["truth"])
            yield part, self.objective.heatmaps(maps, part), losses

    def _confront(self, part: Batch, fake: Tensor, samples: Tensor) -> Losses:
        """The discriminator's energies of real and predicted heatmaps, from which it learns.

        They are sums over those of the part who count, divided by `samples`. Each has its own backward pass,
        so that one graph is kept at a time; processes exchange gradients with the second.
        """
        with distributed.local(self.learner):
            real = self._energy(self.learner, part, part["truth"][0], samples)
            self.update.backward(real)
        wrong = self._energy(self.learner, part, fake, samples)
        self.update.backward(-self.equilibrium.k * wrong)
        return {"real": real, "fake": wrong}

    def _persuade(
        self, part: Batch, fake: Tensor, content: Losses, samples: Tensor, update: Update
    ) -> Losses:
        """The losses of the pose network, which learns from them; the discriminator is frozen."""
        adversarial = self._energy(partial(self.judge, self.network), part, fake, samples)
        loss = content["loss"] + self.options.lambda_g * adversarial
        update.backward(loss)
        return {**content, "loss": loss, "content": content["loss"], "adversarial": adversarial}

    def _energy(self, judge: Judge, part: Batch, heatmaps: Tensor, samples: Tensor) -> Tensor:
        """The sum of the energies of those in a part who count, over `samples`; 0 where that is 0."""
        with autocast(self.device, self.options.amp):
            energies = judge(_small(part["images"], heatmaps), heatmaps)
        return (energies * _counts(part)).sum() / torch.where(samples > 0, samples, 1)

    def state_dict(self) -> dict[str, Any]:
        return {"update": self.update.state_dict(), "equilibrium": self.equilibrium.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.options.load_discriminator:
            raise UserError("--load-discriminator starts from another one than the run has: leave it out")
        self.update.load_state_dict(state["update"])
        self.equilibrium.load_state_dict(state["equilibrium"])


def taking_part(
    update: Update, adversary: Adversary | None
) -> tuple[dict[str, nn.Module], dict[str, Stateful]]:
    """The weights and the other parts that a checkpoint holds, as `src.utils.training.Run` takes them."""
    if adversary is None:
        return update.weights, {"update": update}
    weights = {**update.weights, "discriminator": adversary.network}
    return weights, {"update": update, "adversary": adversary}


def _discriminator(num_joints: int, options: Namespace, device: torch.device) -> PoseNetwork:
    sizes = {name: getattr(options, f"d_{name}") for name in ("stacks", "feats", "modules", "depth")}
    network = models.build("discriminator", num_joints, **sizes)
    if options.load_discriminator:
        checkpoint = read_checkpoint(options.load_discriminator)
        entry = "discriminator" if "discriminator" in checkpoint else "model"
        note(f"{options.load_discriminator}: {load_weights(network, checkpoint, entry=entry)}")
    if options.sync_batchnorm:
        distributed.synchronise(network, device)
    network.grad_checkpoint = options.grad_checkpoint == "always"
    return favour_onednn(place(network, device, options.channels_last))


def _judged(network: nn.Module, images: Tensor, heatmaps: Tensor) -> Tensor:
    """The energies (B,) of heatmaps, of which the discriminator sees the small images too."""
    return energy(network(images, heatmaps), heatmaps)


def _counts(batch: Batch) -> Tensor:
    """Who counts in a supervised batch (B,): not those without anything to learn, nor fillers."""
    return (batch["weight"] > 0).reshape(len(batch["weight"]), -1).any(1)


def _small(images: Tensor, heatmaps: Tensor) -> Tensor:
    """Images (B, 3, H, W) as large as the heatmaps."""
    return F.avg_pool2d(images, images.shape[3] // heatmaps.shape[3])


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Within it gradients go through the network and not into it, and its statistics stay as they are.

    Backward passes belong within it, too: they may repeat parts of the forward pass (`--grad-checkpoint`).
    """
    network.requires_grad_(False)
    try:
        with statistics_kept(network):
            yield
    finally:
        network.requires_grad_(True)
