"""Self-adversarial training: energies of heatmaps, and the controller that balances the two networks.

Chou, Chien and Chen, "Self adversarial training for human pose estimation", 2017, on the lines of Berthelot,
Schumm and Metz, "BEGAN: boundary equilibrium generative adversarial networks", 2017.

B batch, J joints, h x w heatmap.
"""

import torch
from torch import Tensor, nn


def energy(reconstructed: Tensor, heatmaps: Tensor) -> Tensor:
    """How badly heatmaps (B, J, h, w) were reconstructed: the mean squared error of each sample, (B,).

    It is computed in float32 at least, and flows back to both.
    """
    exact = torch.promote_types(torch.promote_types(reconstructed.dtype, heatmaps.dtype), torch.float32)
    return (reconstructed.to(exact) - heatmaps.to(exact)).square().mean(dim=(1, 2, 3))


class Equilibrium(nn.Module):
    """The controller: how much of its attention the discriminator gives to predicted heatmaps, k_t.

    The discriminator minimises real - k_t fake. After each step k_t moves so that the energy of predicted
    heatmaps is held at `gamma` times that of real ones: k_t + rate (gamma real - fake), within 0 and 1.

    What the controller sees are energies multiplied by `unit`. In the paper an energy is a sum over joints
    and pixels: `unit` is then their number. With means k_t moves by less than 4e-7 a step, and never wakes.

    k: () float64, the state.
    """

    k: Tensor

    def __init__(self, gamma: float, rate: float, start: float, unit: float) -> None:
        super().__init__()
        self.gamma, self.rate, self.unit = gamma, rate, unit
        self.register_buffer("k", torch.tensor(start, dtype=torch.float64))

    @torch.no_grad()
    def update(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Move k_t by the mean energies of all processes, which are scalars; does not wait for the device.

        Returns k_t as it was in this step, balance (gamma real - fake) and measure (real + |balance|, which
        falls as the training converges), these two in the controller's unit.
        """
        real, fake, before = real * self.unit, fake * self.unit, self.k.clone()
        balance = self.gamma * real - fake
        self.k.copy_((self.k + self.rate * balance).clamp(0, 1))
        return {"kt": before, "balance": balance, "measure": real + balance.abs()}
