"""Images a second of every network of its published size: what `auto` chooses against plain PyTorch.

Plain is eager float32 with (B, C, H, W) in memory. Both run in processes of their own and take turns. A
network that regresses coordinates learns them, all others maps; the loss is the mean squared error. Where a
process ends by an error, or for want of memory, its row says so, and the other networks are measured. All of
them take ten minutes and more; `--arch` names some.

In float32 only the layout in memory differs, and in inference that normalisations are folded: on a processor
with AVX-512 alone a training step of an hourglass gains 1.15 to 1.2 times, inference 1.4 to 2.

On one with avx512_bf16 (Zen 5) training gains 1.6 to 2.9 times and inference 1.6 to 4. Least gains
`chained`, 1.35 times in training. Its convolutions of small maps gain 1.6, of the 2 that instructions for
bf16 allow; all else, a good quarter of the plain step, gains nothing: the update of 33 million weights, which
are cast to bf16 and their gradients back, and the normalisations of many small maps. The update and the
casting take as long for one picture as for many: with four in a batch the step gains 1.7 times.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from bench.harness import Case, Item, Options, Skipped, Work, compare
from bench.step import LONG_RUN, PLAIN, fast_step, in_process, plain_step, wait
from src.datasets.skeletons import COCO, MPII
from src.errors import UserError
from src.inference.checkpoint import Checkpoint
from src.models import KNOWN, REGRESSION, LoadedModel, build
from src.models.ief import IterativeErrorFeedback
from src.models.layers import PoseNetwork
from src.utils.device import choose_device, place
from src.utils.speed import best_amp, best_channels_last

SECONDS, PAIRS = 2.0, 3  # of a row, and its runs at least: some take ten seconds
GOAL = 1.5  # on a processor that computes in bf16


def cases(options: Options) -> Iterator[Item]:
    """A training step, then inference, of each network."""
    device = choose_device(options.device)
    batch = 16 if device.type == "cuda" else 1
    amp = best_amp(device)[0]
    goal = GOAL if amp == "bf16" and device.type == "cpu" else None
    steps = 1 if options.quick else LONG_RUN  # which leaves compiling out
    for arch in options.archs or KNOWN:
        for what, build_work in (("training", partial(_train, steps=steps)), ("inference", _infer)):
            name = f"{arch}, {what}, {batch} x {KNOWN[arch].input_res}²"
            work = partial(build_work, device.type, arch, batch, amp)
            try:
                with in_process(partial(work, True)) as ours, in_process(partial(work, False)) as theirs:
                    row = compare(Case(name, PLAIN, ours, theirs, goal), min(options.seconds, SECONDS), PAIRS)
            except UserError as error:  # the other networks go on
                yield Skipped(name, str(error))
                continue
            assert row.theirs is not None
            yield replace(row, unit="/s", ours=batch / row.ours, theirs=batch / row.theirs)


def _network(arch: str) -> PoseNetwork:
    torch.manual_seed(0)
    return build(arch, KNOWN[arch].num_joints)


def _images(arch: str, batch: int, device: torch.device) -> Tensor:
    side = KNOWN[arch].input_res
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)


def _train(device_name: str, arch: str, batch: int, amp: str, ours: bool, steps: int) -> Work:
    """A step on random pictures: forward, loss, backward, RMSprop."""
    network = _network(arch)
    device = choose_device(device_name) if ours else torch.device(device_name)
    images = _images(arch, batch, device)
    target = torch.rand(batch, KNOWN[arch].num_joints, 2, device=device)

    def evaluate(images: Tensor) -> Tensor:
        if isinstance(network, IterativeErrorFeedback):  # a step of its path at a time
            return _squares([network.along_path(images, target, target[..., 0] >= 0)[0] - target])
        outputs = network(images)
        return _squares([output - target for output in outputs] if arch in REGRESSION else outputs)

    if ours:
        return fast_step(network, evaluate, images, device, amp, steps=steps)
    return plain_step(network, lambda: evaluate(images), device)


def _squares(differences: Sequence[Tensor]) -> Tensor:
    """Of maps, which here are to be empty, or of what is between coordinates."""
    return torch.stack([difference.float().square().mean() for difference in differences]).sum()


def _infer(device_name: str, arch: str, batch: int, amp: str, ours: bool) -> Work:
    """What the network makes of random pictures."""
    device = choose_device(device_name) if ours else torch.device(device_name)
    network, images = _network(arch).to(device).eval(), _images(arch, batch, device)
    if ours:
        place(network, device, best_channels_last(device)[0])
        skeleton = (MPII if network.config["num_joints"] == MPII.num_joints else COCO).to_dict()
        side = images.shape[3]
        loaded = LoadedModel(network, arch, network.config, skeleton, side, weights="model")
        return _call(Checkpoint(loaded, device, amp), images.contiguous(memory_format=torch.channels_last))
    return _call(network, images)


def _call(network: nn.Module, images: Tensor) -> Work:
    def infer() -> None:
        with torch.inference_mode():
            network(images)[-1]
        wait(images.device)

    return infer
