"""An adversarial step against the sum of its parts, and its memory against that of keeping every graph.

The parts are what such a step cannot do without: the pose network forward and backward, and the discriminator
three times forward, twice backward to its weights, once backward to its input.
"""

from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.harness import Case, Item, Options, Skipped, Work, beside
from bench.step import JOINTS, ONLY_LINUX, memory_peak, tells_peak, wait
from src import models
from src.datasets.skeletons import MPII
from src.evaluation.accuracy import HeatmapAccuracy
from src.losses.adversarial import energy
from src.losses.heatmap import heatmap_mse
from src.models.layers import PoseNetwork
from src.utils import options as groups
from src.utils.adversary import Adversary
from src.utils.device import autocast, choose_device, place
from src.utils.optimization import Update, build_optimizer
from src.utils.single_person import HeatmapObjective
from src.utils.speed import best_amp, best_channels_last
from src.utils.supervision import Supervision
from src.utils.training import Totals

# the recipe for laptops, and that of the paper
SMALL = """--stacks 2 --modules 1 --feats 64 --input-res 128 --batch-size 8
           --d-stacks 1 --d-modules 1 --d-feats 64 --d-depth 3"""
LARGE = "--stacks 4 --modules 2 --feats 256 --input-res 256 --batch-size 16"


def cases(options: Options) -> Iterator[Item]:
    """Time, then peaks of memory."""
    device = choose_device(options.device)
    words = LARGE if device.type == "cuda" else SMALL
    settings = settings_of([*words.split(), *(["--batch-size", "2"] if options.quick else [])], device)
    size = (
        f"{settings.stacks} and {settings.d_stacks} stacks of {settings.feats}, batch {settings.batch_size}"
    )
    ours, parts = (build(settings, device) for build in (step, sum_of_parts))
    yield Case(f"adversarial step, {size}", "the sum of its parts", ours, parts, 1.1, at_most=True)
    name = f"memory of an adversarial step, {size}"
    if not tells_peak(device.type):
        yield Skipped(name, ONLY_LINUX)
        return
    kept, plain = (memory_peak(device.type, partial(build, settings, device)) for build in (step, plain_step))
    yield beside(name, "every graph kept", kept, plain, "B", goal=None, at_most=True)


def settings_of(words: list[str], device: torch.device) -> Namespace:
    """The options of advpose with these typed, and what is fast on the device."""
    parser = groups.Parser("a step")
    groups.add_network_options(parser, list(models.ARCHITECTURES), "hg")
    groups.add_heatmap_loss_options(parser)
    groups.add_adversarial_options(parser)
    groups.add_crop_options(parser)
    groups.add_length_options(parser, epochs=1, batch_size=4)
    groups.add_optimizer_options(parser, optimizer="rmsprop", lr=2.5e-4)
    groups.add_speed_options(parser)
    parser.set_defaults(sync_batchnorm=False)
    speed = ["--amp", best_amp(device)[0], "--channels-last", best_channels_last(device)[0]]
    return parser.parse_strictly([*words, *speed, "--compile", "none", "--grad-checkpoint", "none"])


def step(settings: Namespace, device: torch.device) -> Work:
    """The iteration of advpose on random pictures."""
    network = pose_network(settings, device)
    objective = HeatmapObjective(settings, network.stride)
    supervision = Supervision(network, objective, settings, device)
    update = Update(network, build_optimizer(network.parameters(), settings), settings)
    adversary = Adversary(supervision, network, objective, settings)
    accuracy = HeatmapAccuracy(MPII, device)
    run: Any = Namespace(position=Namespace(step=0), totals=Totals(device))
    count, side = settings.batch_size, settings.input_res
    batch = {
        "image": torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, device=device),
        "color": torch.ones(count, 3, device=device),
        "joints": side * torch.rand(count, JOINTS, 2, device=device),
        "visible": torch.ones(count, JOINTS, dtype=torch.int8, device=device),
    }

    def work() -> None:
        adversary.learn(batch, settings.lr, update, accuracy, run)
        wait(device)

    return work


def sum_of_parts(settings: Namespace, device: torch.device) -> Work:
    """What the networks do in that iteration, one after the other, on random maps."""
    network, partner = pose_network(settings, device), discriminator(settings, device)
    images, small, target = inputs(settings, device)
    predicted = torch.rand_like(target)
    amp = settings.amp

    def backward(loss: Callable[[], Tensor]) -> None:
        with autocast(device, amp):
            value = loss()
        value.backward()

    def judged(heatmaps: Tensor) -> Tensor:
        return energy(partner(small, heatmaps), heatmaps).mean()

    def work() -> None:
        backward(lambda: heatmap_mse(network(images), target))
        backward(lambda: judged(target))
        backward(lambda: judged(predicted))
        partner.requires_grad_(False)
        backward(lambda: judged(predicted.clone().requires_grad_()))
        partner.requires_grad_(True)
        for each in (network, partner):
            each.zero_grad()
        wait(device)

    return work


def plain_step(settings: Namespace, device: torch.device) -> Work:
    """The iteration with one pass of the discriminator over predicted heatmaps, whose graph serves both."""
    network, partner = pose_network(settings, device), discriminator(settings, device)
    optimizers = [
        torch.optim.RMSprop(network.parameters(), lr=settings.lr),
        torch.optim.Adam(partner.parameters(), lr=settings.lr_d),
    ]
    images, small, target = inputs(settings, device)

    def work() -> None:
        with autocast(device, settings.amp):
            outputs = network(images)
            content = heatmap_mse(outputs, target)
            real = energy(partner(small, target), target).mean()
            fake = energy(partner(small, outputs[-1]), outputs[-1]).mean()
        (real - 0.5 * fake).backward(retain_graph=True, inputs=list(partner.parameters()))
        (content + settings.lambda_g * fake).backward(inputs=list(network.parameters()))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        wait(device)

    return work


def pose_network(settings: Namespace, device: torch.device) -> PoseNetwork:
    network = models.build(settings.arch, JOINTS, **groups.network_config(settings)).train()
    return place(network, device, settings.channels_last)


def discriminator(settings: Namespace, device: torch.device) -> PoseNetwork:
    sizes = {name: getattr(settings, f"d_{name}") for name in ("stacks", "feats", "modules", "depth")}
    return place(models.build("discriminator", JOINTS, **sizes).train(), device, settings.channels_last)


def inputs(settings: Namespace, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Images, the same as small as heatmaps, and heatmaps."""
    side = settings.input_res
    images = torch.rand(settings.batch_size, 3, side, side, device=device)
    images = images.contiguous(memory_format=torch.channels_last)  # as to_images gives them
    small = F.avg_pool2d(images, 4)
    return images, small, torch.rand(settings.batch_size, JOINTS, *small.shape[2:], device=device)
