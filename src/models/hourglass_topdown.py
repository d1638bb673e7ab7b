"""The stacked hourglass with top-down modulation (C. Rockwell, pytorch_stacked_hourglass_attention).

Every stack looks at its smallest map as a whole, draws from it a factor for every cell of every heatmap, and
predicts the product.

Shapes: B batch, S stacks, J joints, C = feats, H x W image, h x w = H/4 x W/4 (heatmap), G = GRID.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import UserError
from src.models.hourglass import Stacked
from src.models.layers import ConvNormReLU, Hourglass, Stem, residuals

GRID = 4  # side of the map that the fully connected layers see: of 256 px the smallest; others are resampled


class TopDownHourglass(Stacked):
    """Hourglasses whose heatmaps are multiplied by what their smallest map says; S times (B, J, h, w).

    The factors begin near 1, so that an untrained network is a stacked hourglass: in the author's code they
    begin around 0 with either sign. Neither they nor the fully connected layers have a non-linearity.

    num_joints: J.
    stacks: S, the number of hourglasses.
    feats: C, the width of every hourglass; inside a residual it is half of that.
    modules: residual blocks at each place of an hourglass, and between hourglass and prediction.
    depth: how many times an hourglass halves its map; the image side is a multiple of 4 * 2^depth.
    latent: width between the two fully connected layers.

    Raises UserError for a size below 1 (feats below 4).
    """

    joint_layers = ("heads", "merge_heatmaps", "factors")

    def __init__(
        self,
        num_joints: int,
        stacks: int = 8,
        feats: int = 256,
        modules: int = 1,
        depth: int = 4,
        latent: int = 128,
    ) -> None:
        sizes = {"num_joints": num_joints, "stacks": stacks, "modules": modules, "depth": depth}
        for name, size in [*sizes.items(), ("latent", latent), ("feats", feats // 4)]:
            if size < 1:
                raise UserError(f"hg-topdown: {name} is too small; every size is at least 1, and feats 4")
        hourglasses = (_Stack(feats, modules, depth, latent) for _ in range(stacks))
        super().__init__(Stem(feats), hourglasses, feats, num_joints)
        self.factors = nn.ModuleList(_factors(feats // 4, num_joints) for _ in range(stacks))

    def stage(self, i: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """The features (B, C, h, w) and the heatmaps (B, J, h, w) of stack `i`, for its input `x`."""
        feature, whole = self.part(self.stacks[i], x)
        factors = self.factors[i](whole)  # (B, J, 4 G, 4 G)
        return feature, self.heads[i](feature) * F.interpolate(factors, feature.shape[-2:])


class _Stack(nn.Module):
    """(B, C, h, w) -> features (B, C, h, w), and those of the whole map (B, C/4, 10, 10)."""

    def __init__(self, feats: int, modules: int, depth: int, latent: int) -> None:
        super().__init__()
        self.hourglass = Hourglass(depth, feats, lambda inputs, _: residuals(inputs, modules))
        self.residuals = residuals(feats, modules)
        self.project = ConvNormReLU(feats, feats)
        self.encode = nn.Linear(feats * GRID**2, latent)
        self.decode = nn.Linear(latent, feats * GRID**2)
        self.grow1 = _Grow(feats, feats // 2, kernel=3, side=GRID)
        self.grow2 = _Grow(feats // 2, feats // 4, kernel=5, side=GRID + 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x, bottom = self.hourglass.both(x)
        grid = _on_grid(bottom)  # (B, C, G, G)
        whole = self.decode(self.encode(grid.flatten(1))).view(grid.shape)
        return self.project(self.residuals(x)), F.relu(self.grow2(self.grow1(whole)), inplace=True)


def _on_grid(x: Tensor) -> Tensor:
    """The mean of a map over each of G x G equal areas, (B, C, h, w) -> (B, C, G, G)."""
    if x.shape[-2:] == (GRID, GRID):
        return x
    down, across = (_shares(size, x) for size in x.shape[-2:])
    return down @ x @ across.transpose(0, 1)


def _shares(size: int, x: Tensor) -> Tensor:
    """How much each of `size` cells in a row counts in each of G equal parts of it: (G, size), like `x`."""
    cells = torch.arange(size + 1, device=x.device) / size
    parts = torch.arange(GRID + 1, device=x.device)[:, None] / GRID
    overlap = torch.minimum(parts[1:], cells[1:]) - torch.maximum(parts[:-1], cells[:-1])
    return (overlap.clamp(min=0) * GRID).to(x.dtype)


def _factors(inputs: int, num_joints: int) -> "_Grow":
    """(B, inputs, 10, 10) -> (B, J, 16, 16), near 1 to begin with."""
    grow = _Grow(inputs, num_joints, kernel=7, side=GRID + 6)
    nn.init.constant_(grow.norm.weight, 0.1)
    nn.init.ones_(grow.norm.bias)
    return grow


class _Grow(nn.Module):
    """A transposed convolution without padding that sees where it is, and batch normalisation.

    (B, inputs, side, side) -> (B, outputs, side + kernel - 1, side + kernel - 1).
    """

    place: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, side: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs + 2, outputs, kernel)
        self.norm = nn.BatchNorm2d(outputs)
        y, x = torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="ij")
        self.register_buffer("place", torch.stack([y, x])[None], persistent=False)  # (1, 2, side, side)

    def forward(self, x: Tensor) -> Tensor:
        place = self.place.to(x.dtype).expand(x.shape[0], -1, -1, -1)
        return self.norm(self.conv(torch.cat([place, x], dim=1)))
