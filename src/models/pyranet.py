"""PyraNet: hourglasses of pyramid residual modules (Yang, Li, Ouyang, Li and Wang, ICCV 2017).

Shapes: B batch, S stacks, J joints, C = feats, D pyramid width, H x W image, h x w = H/4 x W/4 (heatmap).
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import UserError
from src.models.hourglass import Stacked
from src.models.layers import ConvNormReLU, HourglassLevel, NormReLUConv, Residual


class Kind(NamedTuple):
    """How the branches of a pyramid differ: the PRM-A, B, C and D of the paper."""

    own_inputs: bool = False  # each branch has features of its own to look at
    joined: bool = False  # their outputs are put side by side, not added
    dilated: bool = False  # they see larger surroundings by dilation, not in smaller maps


KINDS = {"A": Kind(own_inputs=True), "B": Kind(), "C": Kind(joined=True), "D": Kind(dilated=True)}


class PyraNet(Stacked):
    """The stacked hourglass with pyramid residual modules: heatmaps (B, J, h, w) a stack.

    Pooling windows are random in training and fixed in evaluation, where the authors' code draws them, too,
    so that its answers differ from call to call. Its default of 30 branches of feats / 6 is not what was
    published: the network of 8 stacks and 28.1 million parameters has 4 branches of feats / 9.

    num_joints: J.
    stacks: S.
    feats: C.
    modules: blocks at each place of an hourglass.
    depth: how many times an hourglass halves its map; the image side is a multiple of 4 * 2^depth.
    pyramid: A, B, C or D; in D the c-th branch is dilated by c.
    base_width: what the width of a block is divided by for D.
    cardinality: the number of branches of a pyramid; the c-th works at 2^(-c / cardinality) of the size.

    Raises UserError for a size below 1, a base width that leaves no features, or another pyramid.
    """

    def __init__(
        self,
        num_joints: int,
        stacks: int = 8,
        feats: int = 256,
        modules: int = 1,
        depth: int = 4,
        pyramid: str = "B",
        base_width: int = 9,
        cardinality: int = 4,
    ) -> None:
        sizes = {"num_joints": num_joints, "stacks": stacks, "feats": feats // 2, "modules": modules}
        for name, size in {**sizes, "depth": depth, "cardinality": cardinality}.items():
            if size < 1:
                raise UserError(
                    f"pyranet: {name} is too small; every size is at least 1, and feats at least 2"
                )
        if not 1 <= base_width <= min(feats, 128):
            raise UserError(
                f"pyranet: base_width is 1 to {min(feats, 128)}, which leaves a feature to each branch"
            )
        if pyramid not in KINDS:
            raise UserError(f"pyranet: pyramid is one of {', '.join(KINDS)}, not {pyramid!r}")
        block = partial(PyramidResidual, kind=KINDS[pyramid], base_width=base_width, cardinality=cardinality)
        hourglasses = (_stack(feats, modules, depth, block) for _ in range(stacks))
        super().__init__(_stem(feats, block), hourglasses, feats, num_joints)


def _stem(feats: int, block: Callable[..., nn.Module]) -> nn.Sequential:
    """From the image to a quarter of its size, (B, 3, H, W) -> (B, C, h, w)."""
    return nn.Sequential(
        OrderedDict(
            entry=ConvNormReLU(3, 64, kernel=7, stride=2),
            residual1=block(64, 128, activated=True),
            pool=nn.MaxPool2d(2),
            residual2=block(128, 128),
            residual3=block(128, feats),
        )
    )


def _stack(feats: int, modules: int, depth: int, block: Callable[..., nn.Module]) -> nn.Sequential:
    """An hourglass and what follows it before the prediction, (B, C, h, w) -> (B, C, h, w)."""
    return nn.Sequential(
        OrderedDict(
            hourglass=_hourglass(depth, feats, modules, block),
            norm=nn.BatchNorm2d(feats),
            relu=nn.ReLU(inplace=True),
            project=ConvNormReLU(feats, feats),
        )
    )


def _hourglass(level: int, feats: int, modules: int, block: Callable[..., nn.Module]) -> HourglassLevel:
    """Pyramids where the map is large, plain residuals where it is small.

    The last blocks of each level convolve their skip: the variance of what is added up does not grow.
    """

    def row(pyramids: bool, convolved: bool = False) -> nn.Sequential:
        def one() -> nn.Module:
            skip = NormReLUConv(feats, feats) if convolved else None
            return block(feats, feats, skip=skip) if pyramids else Residual(feats, feats, skip)

        return nn.Sequential(*(one() for _ in range(modules)))

    lower = level > 2
    return HourglassLevel(
        skip=row(pyramids=level > 1),
        down=row(lower),
        inner=_hourglass(level - 1, feats, modules, block) if level > 1 else row(lower),
        up=row(lower, convolved=True),
    )


class PyramidResidual(nn.Module):
    """A residual block with a second branch, which sees its input at several sizes.

    activated: the input comes out of a ReLU, so both branches begin with their convolution.
    skip: replaces the identity, or the convolution where the width changes.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kind: Kind,
        base_width: int,
        cardinality: int,
        activated: bool = False,
        skip: nn.Module | None = None,
    ) -> None:
        super().__init__()
        middle, width = outputs // 2, outputs // base_width
        entry = partial(nn.Conv2d, kernel_size=1) if activated else NormReLUConv
        self.plain = nn.Sequential(entry(inputs, middle), NormReLUConv(middle, middle, 3))
        self.pyramid = Pyramid(width, cardinality, kind)
        self.squeeze = entry(inputs, self.pyramid.inputs)
        self.norm = nn.BatchNorm2d(self.pyramid.inputs)
        self.widen = NormReLUConv(self.pyramid.outputs, middle)
        self.merge = NormReLUConv(middle, outputs)
        self.skip = skip or (NormReLUConv(inputs, outputs) if inputs != outputs else nn.Identity())

    def forward(self, x: Tensor) -> Tensor:  # (B, inputs, h, w) -> (B, outputs, h, w)
        squeezed = F.relu(self.norm(self.squeeze(x)), inplace=True)
        return self.skip(x) + self.merge(self.plain(x) + self.widen(self.pyramid(squeezed)))


class Pyramid(nn.Module):
    """3 x 3 convolutions of D features at several sizes, (B, inputs, h, w) -> (B, outputs, h, w)."""

    def __init__(self, width: int, cardinality: int, kind: Kind) -> None:
        super().__init__()
        dilations = (branch if kind.dilated else 1 for branch in range(1, cardinality + 1))
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=d, dilation=d) for d in dilations)
        self.kind, self.width, self.cardinality = kind, width, cardinality
        self.inputs = width * cardinality if kind.own_inputs else width
        self.outputs = width * cardinality if kind.joined else width

    def forward(self, x: Tensor) -> Tensor:
        if self.kind.dilated:
            levels = [conv(x) for conv in self.convs]
        else:
            smaller = [conv(level) for conv, level in zip(self.convs, self._pooled(x), strict=True)]
            levels = [F.interpolate(y, x.shape[2:], mode="bilinear", align_corners=True) for y in smaller]
        return torch.cat(levels, 1) if self.kind.joined else _added(levels)

    def _pooled(self, x: Tensor) -> list[Tensor]:
        """What each branch sees, (B, D, h, w) at its size."""
        count, width = self.cardinality, self.width
        scales = [2 ** (-branch / count) for branch in range(1, count + 1)]
        sizes = [[int(side * scale + 1e-6) for side in x.shape[2:]] for scale in scales]
        if not self.training:
            return fixed_pools(x, sizes, width)
        return random_pools(x, sizes, torch.rand(count, len(x), width, 2, device=x.device))


def _added(levels: Sequence[Tensor]) -> Tensor:
    total = levels[0]
    for level in levels[1:]:
        total += level  # in place, which spares memory: nothing else needs the terms
    return total


# Fractional max-pooling (Graham 2014), bit by bit that of PyTorch, but to several sizes at once: the maximum
# of every 2 x 2 window is taken once, and each size picks some. The input has D features for all sizes, or D
# for each. What is picked lies in memory with channels last.


def fixed_pools(x: Tensor, sizes: Sequence[Sequence[int]], width: int) -> list[Tensor]:
    """Pooling by the windows that a sample of 0.5 sets: without chance, and with an ONNX form.

    x: (B, D or sizes * D, h, w). sizes: (height, width), less than those of x. width: D.

    Returns (B, D, *size) for each size.
    """
    maxima = torch.maximum(x[:, :, 1:], x[:, :, :-1])
    maxima = torch.maximum(maxima[..., 1:], maxima[..., :-1])
    features, rows, columns = maxima.shape[1:]
    cells = maxima.permute(0, 2, 3, 1).flatten(1, 2)  # (B, windows, features)
    sample = torch.full((1, 1), 0.5, device=x.device)
    pools = []
    for branch, (height, length) in enumerate(sizes):
        index = _starts(sample, rows, height) * columns + _starts(sample, columns, length).T
        own = cells.narrow(2, branch * width % features, width)
        pools.append(own.index_select(1, index.flatten()).unflatten(1, (height, length)).permute(0, 3, 1, 2))
    return pools


def random_pools(x: Tensor, sizes: Sequence[Sequence[int]], samples: Tensor) -> list[Tensor]:
    """Pooling by windows that are set by `samples` (sizes, B, D, 2) in [0, 1), for x and y of each map.

    x: (B, D or sizes * D, h, w). sizes: (height, width), less than those of x.

    Returns (B, D, *size) for each size.
    """
    maxima = F.max_pool2d(x, 2, stride=1)
    batch, features, rows, columns = maxima.shape
    width = samples.shape[2]
    image = torch.arange(batch, device=x.device, dtype=torch.int32)[:, None, None]
    feature = torch.arange(width, device=x.device, dtype=torch.int32)
    index = []
    for branch, (height, length) in enumerate(sizes):
        across, down = samples[branch, :, None].unbind(3)  # (B, 1, D)
        across = _starts(across, columns, length) * features + feature + branch * width % features
        down = (_starts(down, rows, height) + image * rows) * (columns * features)
        index.append((down[:, :, None] + across[:, None]).flatten())
    picked = _Picked.apply(maxima.permute(0, 2, 3, 1).flatten(), *index)
    shapes = [(batch, *size, width) for size in sizes]
    return [part.view(shape).permute(0, 3, 1, 2) for part, shape in zip(picked, shapes, strict=True)]


class _Picked(torch.autograd.Function):
    """Cells (cells,) at several lists of places, a tensor for each.

    All of them add to one gradient: index_select alone would have one for each list, or join all lists.
    """

    @staticmethod
    def forward(ctx: Any, cells: Tensor, *places: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*places)
        ctx.count = len(cells)
        return tuple(cells.index_select(0, own) for own in places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        total = gradients[0].new_zeros(ctx.count)
        for own, gradient in zip(ctx.saved_tensors, gradients, strict=True):
            total.index_add_(0, own, gradient)
        return total, *(None for _ in gradients)


def _starts(samples: Tensor, windows: int, count: int) -> Tensor:
    """Which `count` of the `windows` along a side are picked: samples (…, 1, D) -> (…, count, D) int32.

    They are about equally far apart, and the last one is the last. It is computed in float32, as the samples
    are, whatever the precision of the maps. Indices of half the size are a tenth of a training step's time.
    """
    step = (windows - 1) / (count - 1)
    place = torch.arange(count - 1, device=samples.device)[:, None]
    starts = ((place + samples) * step).int() - (samples * step).int()
    return F.pad(starts, (0, 0, 0, 1), value=windows - 1)
