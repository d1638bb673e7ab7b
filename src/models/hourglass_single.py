"""Single hourglasses, and stacks as they were before `src.models.hourglass`.

They are those of "Forecasting human dynamics from static images" (Chao et al., CVPR 2017), which begins with
one hourglass, and of early versions of the code of Newell et al. (ECCV 2016). In `src.models.ARCHITECTURES`
hg-256, hg-256-no-skip, hg-512 and hg-generic are SingleHourglass with other arguments; hg-single,
hg-single-no-skip, hg-single-no-skip-clstm and hg-stacked are WideHourglass.

Shapes: B batch, S stacks, J joints, C = feats, H x W image, h x w = H/4 x W/4 (heatmap).
"""

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models.layers import ConvNormReLU, HourglassLevel, Normalise, PoseNetwork, Residual, Stem


class SingleHourglass(PoseNetwork):
    """An hourglass of one residual at each place; its prediction follows without a further residual.

    Of several in a row the next one gets the sum of input and output of the one before, and does not see what
    that predicted. Heatmaps S times (B, J, h, w).

    num_joints: J.
    stacks: S.
    feats: C, the width of the hourglass; inside a residual it is half of that.
    depth: how many times it halves its map; the image side is a multiple of 4 * 2^depth.
    skip: whether it has the branches that keep the size.

    Raises UserError for a size below 1 (feats below 2).
    """

    joint_layers = ("heads",)

    def __init__(
        self, num_joints: int, stacks: int = 1, feats: int = 256, depth: int = 4, skip: bool = True
    ) -> None:
        _require_sizes(num_joints, stacks, feats, depth)
        super().__init__()
        self.normalise = Normalise()
        self.stem = Stem(feats)
        self.hourglasses = nn.ModuleList(_narrow(depth, feats, skip) for _ in range(stacks))
        self.projections = nn.ModuleList(ConvNormReLU(feats, feats) for _ in range(stacks))
        self.heads = nn.ModuleList(nn.Conv2d(feats, num_joints, 1) for _ in range(stacks))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Heatmaps, S times (B, J, h, w), for RGB `images` (B, 3, H, W) in [0, 1]."""
        x = self.part(self.stem, self.normalise(images))  # (B, C, h, w)
        outputs = []
        for hourglass, project, head in zip(self.hourglasses, self.projections, self.heads, strict=True):
            feature = self.part(hourglass, x)
            outputs.append(head(project(feature)))
            x = x + feature
        return outputs


class WideHourglass(PoseNetwork):
    """An hourglass of three residuals in each branch, that gives twice as many features as it works with.

    The next one gets a mixture of these features, of what was predicted, and of the stem's first features.
    Heatmaps S times (B, J, h, w).

    num_joints: J.
    stacks: S.
    feats: C, the width inside the hourglass, which gives 2 C; inside a residual it is half of that.
    depth: how many times it halves its map; the image side is a multiple of 4 * 2^depth.
    skip: whether it has the branches that keep the size.
    lstm: whether the smallest map goes through the cell of an LSTM (see FirstStep).

    Raises UserError for a size below 1 (feats below 2).
    """

    joint_layers = ("heads", "merge_heatmaps")

    def __init__(
        self,
        num_joints: int,
        stacks: int = 1,
        feats: int = 256,
        depth: int = 4,
        skip: bool = True,
        lstm: bool = False,
    ) -> None:
        _require_sizes(num_joints, stacks, feats, depth)
        super().__init__()
        self.normalise = Normalise()
        first = ConvNormReLU(3, 64, kernel=7, stride=2)
        self.stem = nn.Sequential(first, Residual(64, 128), nn.MaxPool2d(2))
        self.entry = _residuals(128, 128, 128, feats)
        inputs = [feats] + [feats + 128] * (stacks - 1)
        outputs = [feats] * (stacks - 1) + [2 * feats]
        self.stacks = nn.ModuleList(
            nn.Sequential(
                OrderedDict(
                    hourglass=_wide(depth, before, feats, skip, lstm),
                    project1=ConvNormReLU(2 * feats, 2 * feats),
                    project2=ConvNormReLU(2 * feats, after),
                )
            )
            for before, after in zip(inputs, outputs, strict=True)
        )
        self.heads = nn.ModuleList(nn.Conv2d(after, num_joints, 1) for after in outputs)
        self.merge_features = nn.ModuleList(nn.Conv2d(n, n, 1) for n in inputs[1:])
        self.merge_heatmaps = nn.ModuleList(nn.Conv2d(num_joints, n, 1) for n in inputs[1:])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Heatmaps, S times (B, J, h, w), for RGB `images` (B, 3, H, W) in [0, 1]."""
        early = self.part(self.stem, self.normalise(images))  # (B, 128, h, w)
        x = self.part(self.entry, early)  # (B, C, h, w)
        outputs = []
        for i, (stack, head) in enumerate(zip(self.stacks, self.heads, strict=True)):
            feature = self.part(stack, x)  # (B, C, h, w), of the last stack (B, 2 C, h, w)
            heatmaps = head(feature)
            outputs.append(heatmaps)
            if i < len(self.merge_features):
                both = torch.cat([feature, early], dim=1)
                x = self.merge_features[i](both) + self.merge_heatmaps[i](heatmaps)  # (B, C + 128, h, w)
        return outputs


class FirstStep(nn.Module):
    """The first step of an LSTM, at every cell of a map by itself: (B, feats, h, w) -> (B, feats, h, w).

    The authors' code runs an LSTM over sequences, of which a picture is one of length 1. Its memory is then
    empty: the forget gate and the recurrent weights, which multiply nothing and never learn, are left out.
    """

    def __init__(self, feats: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(feats, 3 * feats, 1)

    def forward(self, x: Tensor) -> Tensor:
        take, value, give = self.gates(x).chunk(3, dim=1)
        return give.sigmoid() * (take.sigmoid() * value.tanh()).tanh()


def _narrow(depth: int, feats: int, skip: bool) -> nn.Module:
    """(B, feats, h, w) -> (B, feats, h, w)."""
    down, up = Residual(feats, feats), Residual(feats, feats)
    inner = _narrow(depth - 1, feats, skip) if depth > 1 else Residual(feats, feats)
    return _level(Residual(feats, feats) if skip else None, down, inner, up)


def _wide(depth: int, inputs: int, feats: int, skip: bool, lstm: bool) -> nn.Module:
    """(B, inputs, h, w) -> (B, 2 feats, h, w)."""
    down, up = _residuals(inputs, feats, feats, feats), Residual(2 * feats, 2 * feats)
    inner: nn.Module
    if depth > 1:
        inner = _wide(depth - 1, feats, feats, skip, lstm)
    else:
        bottom = Residual(feats, 2 * feats)
        inner = nn.Sequential(FirstStep(feats), bottom) if lstm else bottom
    return _level(_residuals(inputs, feats, feats, 2 * feats) if skip else None, down, inner, up)


def _level(skip: nn.Module | None, down: nn.Module, inner: nn.Module, up: nn.Module) -> nn.Module:
    if skip is not None:
        return HourglassLevel(skip, down, inner, up)
    return nn.Sequential(
        OrderedDict(pool=nn.MaxPool2d(2), down=down, inner=inner, up=up, grow=nn.Upsample(scale_factor=2.0))
    )


def _residuals(*widths: int) -> nn.Sequential:
    """Residuals in a row, from each width to the next."""
    return nn.Sequential(*(Residual(before, after) for before, after in pairwise(widths)))


def _require_sizes(num_joints: int, stacks: int, feats: int, depth: int) -> None:
    sizes = {"num_joints": num_joints, "stacks": stacks, "feats": feats // 2, "depth": depth}
    for name, size in sizes.items():
        if size < 1:
            raise UserError(f"hourglass: {name} is too small; every size is at least 1, and feats at least 2")
