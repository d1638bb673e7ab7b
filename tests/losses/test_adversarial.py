"""Energies of heatmaps, and the controller that balances the two networks."""

import pytest
import torch

from src.losses.adversarial import Equilibrium, energy


def controller(start: float = 0.0, unit: float = 1.0) -> Equilibrium:
    """As the paper has it: gamma 0.5, lambda_k 1e-3."""
    return Equilibrium(gamma=0.5, rate=1e-3, start=start, unit=unit)


def scalars(*values: float) -> list[torch.Tensor]:
    return [torch.tensor(value, dtype=torch.float64) for value in values]


def test_energy_is_the_mean_squared_error_of_each_sample() -> None:
    heatmaps = torch.zeros(2, 3, 4, 5)
    reconstructed = heatmaps.clone()
    reconstructed[1, 2, 3, 4] = 6
    assert energy(reconstructed, heatmaps).tolist() == pytest.approx([0, 36 / 60])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_energy_of_a_half_precision_reconstruction_is_exact(dtype: torch.dtype) -> None:
    heatmaps = torch.rand(2, 3, 4, 4, dtype=dtype)
    reconstructed = torch.rand(2, 3, 4, 4).bfloat16()
    found = energy(reconstructed, heatmaps)
    assert found.dtype == energy(heatmaps.float(), heatmaps).dtype == dtype
    expected = (reconstructed.to(dtype) - heatmaps).square().mean((1, 2, 3))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_the_gradient_of_an_energy_reaches_both_sides() -> None:
    """Predicted heatmaps are what D is given and what it is compared with: both pull at the pose network."""
    inputs = [torch.rand(2, 3, 4, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    torch.autograd.gradcheck(energy, inputs)


@pytest.mark.parametrize(
    ("start", "real", "fake", "balance", "k", "measure"),
    [
        (0, 1e-3, 2e-4, 3e-4, 3.0e-7, 1.3e-3),
        (0.9995, 2, 0, 1, 1, 3),  # 1.0005, clipped
        (0, 0.1, 1, -0.95, 0, 1.05),  # below 0, clipped
        (0.5, 1, 0.5, 0, 0.5, 1),  # in balance
    ],
)
def test_anchors(start: float, real: float, fake: float, balance: float, k: float, measure: float) -> None:
    equilibrium = controller(start)
    said = equilibrium.update(*scalars(real, fake))
    assert {name: float(value) for name, value in said.items()} == pytest.approx(
        {"kt": start, "balance": balance, "measure": measure}, abs=1e-15
    )
    assert float(equilibrium.k) == pytest.approx(k, rel=1e-12)


def test_what_was_said_of_a_step_does_not_change_with_the_next() -> None:
    equilibrium = controller()
    first = equilibrium.update(*scalars(1, 0))["kt"]
    equilibrium.update(*scalars(1, 0))
    assert float(first) == 0 and float(equilibrium.k) == pytest.approx(1e-3)


def steps_until(equilibrium: Equilibrium, k: float, most: int) -> int:
    """Updates until k_t is `k`, with energies of Gaussians of sigma 1 that D takes for empty maps."""
    real, fake = scalars(7.7e-4, 0)
    for step in range(most):
        if equilibrium.k >= k:
            return step
        equilibrium.update(real, fake)
    return most


def test_sums_wake_the_controller_and_means_do_not() -> None:
    """16 maps of 64 x 64 cells: k_t moves by 0.025 an update at most, or by 3.8e-7."""
    assert steps_until(controller(unit=16 * 64**2), 0.5, 100) == 20
    asleep = controller()
    assert steps_until(asleep, 0.5, 1000) == 1000 and 3e-4 < asleep.k < 4e-4


def test_its_state_is_k() -> None:
    equilibrium = controller()
    equilibrium.update(*scalars(0.3, 0.1))
    state, other = equilibrium.state_dict(), controller(0.7)
    other.load_state_dict(state)
    assert list(state) == ["k"] and torch.equal(other.k, equilibrium.k) and other.k.dtype == torch.float64
