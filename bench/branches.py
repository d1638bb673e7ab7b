"""Parts of networks that branch, computed together, against a loop over the modules of the branches.

They are the pyramids of PyraNet and the attention of each joint, at the sizes of the published networks. A
pyramid gains less with the backward pass: about half of its time goes into convolutions, which are the same
in both but for the layout in memory. Where a branch has 14 features, fewer than the 16 that a vector
holds, pooling and enlarging of maps with channels last gain least: they work at one number at a time. To
carry 16 costs as much as it saves. Enlarging by products of matrices takes three to five times as long; and
maxima of shifted maps are ten times as fast as pooling, but their backward pass takes three times as long.
Milliseconds of a core (Zen 5) for 4 branches and 4 pictures, forward and backward, plain and ours:

    features, cells   convolutions   pooling   enlarging   all
    28, 64²                13, 11     14, 4      11, 3     39, 17
    14, 128²               19, 13     26, 9      15, 8     63, 31

On an older Xeon with AVX-512 these convolutions are slower beside the rest, and 128² gains 1.8 to 1.9 times.
"""

import copy
from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.harness import Case, Item, Options, Work
from src.models.pose_attention import Gates, PartAttention
from src.models.pyranet import KINDS, Pyramid
from src.utils.device import choose_device, place
from src.utils.speed import best_channels_last

GOAL = 2.0
PLAIN = "a loop over modules, (B, C, H, W) in memory"
PYRAMIDS = ((28, 4, 64), (14, 4, 128), (42, 30, 64))  # features, branches, cells of a side
JOINTS, FEATS, KERNEL, SIDE = 16, 256, 11, 64


def cases(options: Options) -> Iterator[Item]:
    """Forward and with backward: pyramids of few and many branches, attention of all joints."""
    device, batch = choose_device(options.device), 1 if options.quick else 4
    layout = best_channels_last(device)[0]
    for width, branches, side in PYRAMIDS[: 2 if options.quick else 3]:
        pyramid = Pyramid(width, branches, KINDS["B"])
        plain = PlainPyramid(pyramid, side).to(device)
        x = torch.rand(batch, width, side, side, device=device)
        name = f"pyramid of {branches} branches, {batch} x {width} x {side}²"
        yield from _both(name, place(pyramid, device, layout), plain, x)
    attention = PartAttention(FEATS, JOINTS, KERNEL)
    x = torch.rand(batch, FEATS, SIDE, SIDE, device=device)
    plain_attention = PlainAttention(attention).to(device)
    name = f"attention of {JOINTS} joints, {batch} x {FEATS} x {SIDE}²"
    yield from _both(name, place(attention, device, layout), plain_attention, x)


def _both(name: str, ours: nn.Module, plain: nn.Module, x: Tensor) -> Iterator[Case]:
    """The cases of inference and of a training step, after a look whether inference is equal."""
    ours.eval(), plain.eval()
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), plain(x), rtol=1e-4, atol=1e-5)
    laid_out = x.contiguous(memory_format=torch.channels_last)
    yield Case(f"{name}, forward", PLAIN, partial(_infer, ours, laid_out), partial(_infer, plain, x), GOAL)
    ours.train(), plain.train()
    yield Case(f"{name}, and backward", PLAIN, _learning(ours, laid_out), _learning(plain, x), GOAL)


def _infer(module: nn.Module, x: Tensor) -> None:
    with torch.inference_mode():
        module(x)
    _wait(x)


def _learning(module: nn.Module, x: Tensor) -> Work:
    """Forward and backward, with the gradients of input and parameters."""
    x = x.detach().requires_grad_()
    inputs = [x, *module.parameters()]
    gradient = torch.rand_like(module(x))  # in the same memory layout

    def learn() -> None:
        torch.autograd.grad(module(x), inputs, gradient)
        _wait(x)

    return learn


def _wait(x: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)


class PlainPyramid(nn.Module):
    """A pyramid of kind B as a loop: pool, convolve, enlarge; with the same weights."""

    def __init__(self, pyramid: Pyramid, side: int) -> None:
        super().__init__()
        count = pyramid.cardinality
        self.sizes = [int(side * 2 ** (-branch / count) + 1e-6) for branch in range(1, count + 1)]
        self.convs = copy.deepcopy(pyramid.convs)
        self.grow = nn.Upsample((side, side), mode="bilinear", align_corners=True)

    def forward(self, x: Tensor) -> Tensor:
        samples = None if self.training else x.new_full((*x.shape[:2], 2), 0.5)  # None: drawn, as ours
        levels = [
            self.grow(conv(F.fractional_max_pool2d(x, 2, size, _random_samples=samples)))
            for size, conv in zip(self.sizes, self.convs, strict=True)
        ]
        return sum(levels[1:], levels[0])


class PlainAttention(nn.ModuleList):
    """Attention of joints as a loop over one module for each, with the same weights."""

    def __init__(self, attention: PartAttention) -> None:
        super().__init__(_AttentionOfOne(attention, joint) for joint in range(len(attention.bias)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([one(x) for one in self], dim=1)


class _AttentionOfOne(nn.Module):
    """The map of one joint, from features that its gate multiplies."""

    def __init__(self, attention: PartAttention, joint: int) -> None:
        super().__init__()
        feats, kernel = attention.score.in_channels, attention.gates.message.kernel_size[0]
        own, gates = slice(joint, joint + 1), attention.gates
        self.gates = Gates(feats, 1, kernel)
        self.gates.load_state_dict({name: value[own] for name, value in gates.state_dict().items()})
        self.score = nn.Conv2d(feats, 1, 1)
        weights = {"weight": attention.score.weight[own], "bias": attention.bias[own].flatten()}
        self.score.load_state_dict(weights)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x * self.gates(x))
