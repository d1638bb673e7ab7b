"""How every training begins: the process and its device, and a network that is ready to learn there."""

import math
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import torch

from src import models
from src.datasets.skeletons import Skeleton
from src.losses.heatmap import over_stages
from src.models.checkpoint import load_weights, read_checkpoint
from src.models.layers import PoseNetwork
from src.utils import distributed
from src.utils.command import note
from src.utils.device import choose_device, place
from src.utils.experiment import Experiment
from src.utils.processes import join, own_share
from src.utils.speed import settle
from src.utils.training import iterations


def begin(options: Namespace, task: str) -> tuple[Experiment, torch.device]:
    """Meet the other processes, take the experiment, set the seed. Raises UserError if that cannot be."""
    device = choose_device(options.device)
    join(device)
    experiment = Experiment(options, task)
    torch.manual_seed(options.seed)
    return experiment, device


def build(options: Namespace, skeleton: Skeleton, config: dict[str, Any]) -> PoseNetwork:
    """The network of `--arch` for a skeleton, of which some want to know more than how many joints it has.

    config: the arguments of its class that the options give. Raises UserError for wrong ones.
    """
    known = models.arguments(options.arch)
    of_skeleton = {"order": skeleton.order_of_ease, "bones": skeleton.bones, "parts": skeleton.parts}
    if config.keys() & {"bones", "parts"}:  # parts are of bones: whoever gives some gives all
        of_skeleton = {}
    asked = {name: value for name, value in of_skeleton.items() if name in known}
    return models.build(options.arch, skeleton.num_joints, **asked | config)


def ready(network: PoseNetwork, options: Namespace, device: torch.device, samples: int) -> str:
    """Start from `--load-model`, if given, settle what makes the network fast here, and put it on the device.

    samples: of an epoch that goes once through the data. Returns the line that says what was settled and why.
    """
    if options.load_model:
        note(f"{options.load_model}: {load_weights(network, read_checkpoint(options.load_model))}")
    if options.stage_weights:
        _check_stages(network, options.stage_weights)
    if options.sync_batchnorm:
        distributed.synchronise(network, device)
    at_once = math.ceil(own_share(options.batch_size) / options.accumulate)
    speed = settle(options, network, device, at_once, options.epochs * iterations(options, samples))
    network.grad_checkpoint = options.grad_checkpoint == "always"
    place(network, device, options.channels_last)
    return speed


def _check_stages(network: PoseNetwork, weights: Sequence[float]) -> None:
    """UserError unless there are as many weights as stages: now, and not within a graph that is compiled."""
    side = models.smallest_input(network.arch, **network.config)
    with torch.inference_mode():
        outputs = network.eval()(torch.zeros(1, 3, side, side))
    network.train()
    over_stages(outputs, weights)
