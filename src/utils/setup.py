"""How every training begins: the process and its device, and a network that is ready to learn there."""

import math
from argparse import Namespace

import torch

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


def ready(network: PoseNetwork, options: Namespace, device: torch.device, samples: int) -> str:
    """Start from `--load-model`, if given, settle what makes the network fast here, and put it on the device.

    samples: of an epoch that goes once through the data. Returns the line that says what was settled and why.
    """
    if options.load_model:
        note(f"{options.load_model}: {load_weights(network, read_checkpoint(options.load_model))}")
    if options.sync_batchnorm:
        distributed.synchronise(network, device)
    at_once = math.ceil(own_share(options.batch_size) / options.accumulate)
    speed = settle(options, network, device, at_once, options.epochs * iterations(options, samples))
    network.grad_checkpoint = options.grad_checkpoint == "always"
    place(network, device, options.channels_last)
    return speed
