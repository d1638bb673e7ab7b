"""How every training begins: the process and its device, and a network that is ready to learn there."""

import math
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from src import models
from src.datasets.crops import Samples
from src.datasets.skeletons import Skeleton
from src.errors import UserError
from src.losses.heatmap import over_stages
from src.models.checkpoint import load_weights, read_checkpoint
from src.models.layers import PoseNetwork
from src.utils import distributed
from src.utils.command import note
from src.utils.device import choose_device, favour_onednn, place
from src.utils.experiment import Experiment
from src.utils.processes import join, own_share
from src.utils.speed import settle
from src.utils.training import iterations


def begin(options: Namespace, task: str) -> tuple[Experiment, torch.device]:
    """Meet the other processes, take the experiment, set the seed. Raises UserError if that cannot be."""
    device = choose_device(options.device)
    join(device)
    experiment = Experiment(options, task)
    if options.more_epochs is not None:
        behind = experiment.state["position"]["epoch"] if experiment.state else 0
        options.epochs, options.more_epochs = behind + options.more_epochs, None
    torch.manual_seed(options.seed)
    return experiment, device


def build(options: Namespace, skeleton: Skeleton, config: dict[str, Any]) -> PoseNetwork:
    """The network of `--arch` for a skeleton, of which some want to know more than how many joints it has.

    config: the arguments of its class that the options give. A run that goes on has weights of its own: none
    are fetched for it. Raises UserError for wrong arguments.
    """
    if options.resume or options.branch:
        config = models.at_rest(config)
    known = models.arguments(options.arch)
    of_skeleton = {"order": skeleton.order_of_ease, "bones": skeleton.bones, "parts": skeleton.parts}
    if config.keys() & {"bones", "parts"}:  # parts are of bones: whoever gives some gives all
        of_skeleton = {}
    asked = {name: value for name, value in of_skeleton.items() if name in known}
    return models.build(options.arch, skeleton.num_joints, **asked | config)


def ready(network: PoseNetwork, options: Namespace, device: torch.device, samples: Samples) -> str:
    """Start from `--load-model`, if given, settle what makes the network fast here, and put it on the device.

    samples: what it learns from. Returns the line that says what was settled and why.
    """
    if options.load_model:
        _start_from(options.load_model, network, options, samples.people.skeleton)
    if options.stage_weights:
        _check_stages(network, options.stage_weights)
    if options.sync_batchnorm:
        distributed.synchronise(network, device)
    at_once = math.ceil(own_share(options.batch_size) / options.accumulate)
    speed = settle(options, network, device, at_once, options.epochs * iterations(options, samples.drawn))
    network.grad_checkpoint = options.grad_checkpoint == "always"
    favour_onednn(place(network, device, options.channels_last))
    return speed


def _start_from(file: Path, network: PoseNetwork, options: Namespace, skeleton: Skeleton) -> None:
    """Take the weights of a checkpoint, and say what of them. UserError if they do not fit."""
    checkpoint = read_checkpoint(file)
    try:
        report = load_weights(
            network,
            checkpoint,
            strict=options.strict,
            joints=skeleton.joints,
            transfer=options.transfer_head,
        )
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    note(f"{file}: {report}")


def _check_stages(network: PoseNetwork, weights: Sequence[float]) -> None:
    """UserError unless there are as many weights as stages: now, and not within a graph that is compiled."""
    side = models.smallest_input(network.arch, **network.config)
    with torch.inference_mode():
        outputs = network.eval()(torch.zeros(1, 3, side, side))
    network.train()
    over_stages(outputs, weights)
