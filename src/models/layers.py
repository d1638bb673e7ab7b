"""The blocks that the hourglass family is built of, and what every network has beside its layers.

Shapes: B batch, C channels, H x W image, h x w = H/4 x W/4 (heatmap).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


class PoseNetwork(nn.Module):
    """A network of the table in `src.models`, which sets `arch` and `config` when it builds one.

    arch: its name in the table.
    config: all its constructor's arguments, defaults included: `build(arch, **config)` makes it again.
    joint_layers: the first word in the names of those layers whose shape depends on the number of joints.
    sees_joints: those of them that take maps of the joints; the others give such maps, or coordinates.
    stride: input pixels to a cell of the output.
    grad_checkpoint: whether the large parts, which `part` runs, keep no activations for the backward pass but
        compute them again there: less memory for about a third more time, with the same gradients.
    """

    arch: str
    config: dict[str, Any]
    joint_layers: ClassVar[tuple[str, ...]] = ()
    sees_joints: ClassVar[tuple[str, ...]] = ("merge_heatmaps",)
    stride: ClassVar[int] = 4
    grad_checkpoint: bool = False

    @staticmethod
    def meanings(layer: str, size: int, joints: Sequence[str]) -> list[Any]:
        """What each of the `size` rows of a joint layer stands for, such that equal ones mean the same.

        layer: the first word of its name. None for a row that means nothing elsewhere. By default the rows
        are the joints in turn, again and again: heatmaps, then tags.
        """
        count = len(joints)
        return [(joints[row % count], row // count) for row in range(size)] if joints else [None] * size

    def part(self, module: nn.Module, x: Tensor) -> Any:
        """`module(x)`, for a large part of the network (see `grad_checkpoint`)."""
        if not (self.grad_checkpoint and torch.is_grad_enabled()):
            return module(x)
        if torch.compiler.is_compiling():  # the compiler repeats arithmetic, and no update of statistics
            return checkpoint(module, x, use_reentrant=False)
        return checkpoint(module, x, use_reentrant=False, context_fn=partial(_twice, module))


def _twice(module: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """The contexts of the first pass through `module` and of its repetition."""
    return nullcontext(), statistics_kept(module)


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Within it batch normalisation in training does not change its running statistics."""
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


class Normalise(nn.Module):
    """(images - mean) / std, one value a colour; the identity until the buffers are set or loaded."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.register_buffer("std", torch.ones(3, 1, 1))

    def set(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Set both, of R, G and B."""
        self.mean.copy_(torch.tensor(mean).view(3, 1, 1))
        self.std.copy_(torch.tensor(std).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:  # (B, 3, H, W) -> (B, 3, H, W)
        return (images - self.mean) / self.std


class ConvNormReLU(nn.Module):
    """Convolution, batch normalisation unless `norm` is False, ReLU; `kernel` is odd, the size is kept."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, norm: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
        self.norm = nn.BatchNorm2d(outputs) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)), inplace=True)


Block = Callable[[int, int], nn.Module]  # makes the layers from so many features to so many


class NormReLUConv(nn.Module):
    """Batch normalisation, ReLU, convolution; `kernel` is odd, the size is kept."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.relu(self.norm(x), inplace=True))


class Residual(nn.Module):
    """Pre-activation bottleneck (He et al. 2016, identity mappings) of half the width inside.

    The skip carries the input as it is, through a bare 1 x 1 convolution only where the width changes; `skip`
    replaces it. Every ReLU may work in place, because a normalisation before it has made a new tensor.
    """

    def __init__(self, inputs: int, outputs: int, skip: nn.Module | None = None) -> None:
        super().__init__()
        middle = outputs // 2
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, middle, 1)
        self.norm2 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=1)
        self.norm3 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, outputs, 1)
        self.skip = skip or (nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity())

    def forward(self, x: Tensor) -> Tensor:  # (B, inputs, h, w) -> (B, outputs, h, w)
        y = self.conv1(F.relu(self.norm1(x), inplace=True))
        y = self.conv2(F.relu(self.norm2(y), inplace=True))
        y = self.conv3(F.relu(self.norm3(y), inplace=True))
        return self.skip(x) + y


def residuals(feats: int, modules: int) -> nn.Sequential:
    """`modules` residual blocks in a row, (B, feats, h, w) -> (B, feats, h, w)."""
    return nn.Sequential(*(Residual(feats, feats) for _ in range(modules)))


class Stem(nn.Module):
    """From the image to a quarter of its size.

    Its widths do not shrink with `feats`: they are `width`, twice that, and `middle` before the last
    residual. In small networks it takes most of the time, since its maps are the largest.

    block: makes the residuals.
    """

    def __init__(self, feats: int, middle: int = 128, width: int = 64, block: Block = Residual) -> None:
        super().__init__()
        self.entry = ConvNormReLU(3, width, kernel=7, stride=2)
        self.residual1 = block(width, 2 * width)
        self.residual2 = block(2 * width, middle)
        self.residual3 = block(middle, feats)

    def forward(self, images: Tensor) -> Tensor:  # (B, 3, H, W) -> (B, feats, H/4, W/4)
        x = self.residual1(self.entry(images))  # (B, 2 * width, H/2, W/2)
        x = F.max_pool2d(x, 2)
        return self.residual3(self.residual2(x))


class HourglassLevel(nn.Module):
    """Halve the map, work at that size and smaller ones, climb back by nearest neighbour, and add a skip.

    skip: (B, C, h, w) -> (B, D, h, w). down, inner and up, one after the other at half the size:
        (B, C, h/2, w/2) -> (B, D, h/2, w/2). `inner` is the next level, or what stands at the bottom.
    """

    def __init__(self, skip: nn.Module, down: nn.Module, inner: nn.Module, up: nn.Module) -> None:
        super().__init__()
        self.skip, self.down, self.inner, self.up = skip, down, inner, up

    def forward(self, x: Tensor) -> Tensor:
        return self.both(x)[0]

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What `forward` gives, and the map at the bottom before it climbs."""
        low = self.down(F.max_pool2d(x, 2))
        if isinstance(self.inner, HourglassLevel):
            low, bottom = self.inner.both(low)
        else:
            low = bottom = self.inner(low)
        return self.skip(x) + F.interpolate(self.up(low), scale_factor=2.0), bottom


class Hourglass(HourglassLevel):
    """Halve the map `depth` times, climb back by nearest neighbour, and add a skip at every size.

    block: makes what stands at each place. Each time the map is halved it gets `increase` features more.
    """

    def __init__(self, depth: int, feats: int, block: Block, increase: int = 0) -> None:
        more = feats + increase
        skip, down = block(feats, feats), block(feats, more)
        inner = Hourglass(depth - 1, more, block, increase) if depth > 1 else block(more, more)
        super().__init__(skip, down, inner, block(more, feats))
