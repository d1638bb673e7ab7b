"""Heatmap losses against values worked out by hand, their gradients, masks and precision."""

import math

import pytest
import torch

from src.datasets.targets import gaussian_heatmaps
from src.losses.heatmap import LOSSES, heatmap_mse, heatmap_softmax, joint_weights

# B = 1, J = 2, 1 x 2 cells
TARGET = torch.tensor([[[[1.0, 0.0]], [[3.0, 1.0]]]])
OUTPUT = torch.tensor([[[[0.0, 0.0]], [[math.log(3.0), 0.0]]]])


def entropy(*shares: float) -> float:
    return -sum(p * math.log(p) for p in shares)


def test_mse_is_a_mean_over_cells_and_a_sum_over_stages():
    first = (1**2 + 0 + (math.log(3) - 3) ** 2 + 1) / 4
    second = (1 + 0 + 9 + 1) / 4
    loss = heatmap_mse([OUTPUT, torch.zeros_like(OUTPUT)], TARGET)
    assert loss.item() == pytest.approx(first + second, rel=1e-6)


def test_mse_of_no_prediction_is_the_known_plateau():
    distance = torch.arange(-3.0, 4.0)
    target = torch.zeros(1, 1, 64, 64)
    target[..., 20:27, 30:37] = torch.exp(-(distance[:, None] ** 2 + distance**2) / 2)  # sigma 1, 7 x 7
    assert heatmap_mse([torch.zeros_like(target)], target).item() == pytest.approx(7.671e-4, rel=1e-4)


def test_softmax_is_the_cross_entropy_of_the_scaled_target():
    # joint 0: all mass in one cell of two equal ones; joint 1: logits that are the target's own logarithm
    expected = (math.log(2) + entropy(0.75, 0.25)) / 2
    assert heatmap_softmax([OUTPUT], TARGET).item() == pytest.approx(expected, rel=1e-6)
    assert heatmap_softmax([OUTPUT, OUTPUT], TARGET).item() == pytest.approx(2 * expected, rel=1e-6)


def test_softmax_ignores_the_scale_of_the_target_and_a_shift_of_the_output():
    plain = heatmap_softmax([OUTPUT], TARGET)
    torch.testing.assert_close(heatmap_softmax([OUTPUT + 5], TARGET * 7), plain)


def test_softmax_leaves_out_joints_without_target():
    target = TARGET.clone()
    target[0, 0] = 0
    output = OUTPUT.clone().requires_grad_()
    loss = heatmap_softmax([output], target)
    assert loss.item() == pytest.approx(entropy(0.75, 0.25), rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, output)
    assert torch.equal(gradient[0, 0], torch.zeros(1, 2))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.int8])
def test_weight_takes_joints_out_of_the_mean(loss, dtype):
    weight = torch.tensor([[0, 1]]).to(dtype)
    masked = loss([OUTPUT], TARGET, weight)
    torch.testing.assert_close(masked, loss([OUTPUT[:, 1:]], TARGET[:, 1:]))
    torch.testing.assert_close(loss([OUTPUT], TARGET, torch.ones_like(weight)), loss([OUTPUT], TARGET))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_parts_add_up_to_that_of_the_batch(name, masked):
    """With the whole's sum of weights as denominator, though each part has another number of joints."""
    loss = LOSSES[name]
    torch.manual_seed(0)
    visible = torch.randint(3, (5, 4)).to(torch.int8)
    has_target = (visible > 0) & (torch.rand(5, 4) < 0.8)
    target = gaussian_heatmaps(torch.randint(8, (5, 4, 2)), has_target, 8, sigma=1.0, radius=3)
    outputs = torch.randn(5, 4, 8, 8, dtype=torch.float64, requires_grad=True)
    weight = joint_weights(name, visible, has_target, masked)
    whole = loss([outputs], target, (visible > 0).float() if masked else None)
    slices = (slice(0, 1), slice(1, 4), slice(4, 5))
    parts = [loss([outputs[part]], target[part], weight[part], weight.sum()) for part in slices]
    torch.testing.assert_close(sum(parts), whole)
    expected, found = (torch.autograd.grad(value, outputs)[0] for value in (whole, sum(parts)))
    torch.testing.assert_close(found, expected)
    one = torch.ones(())
    torch.testing.assert_close(loss([outputs], target, weight, one) / weight.sum(), whole)


def test_nobody_has_no_weight():
    visible, has_target = torch.full((1, 2), -1), torch.zeros(1, 2, dtype=torch.bool)
    assert all(joint_weights(name, visible, has_target, False).sum() == 0 for name in LOSSES)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_nobody_labelled_is_zero_with_zero_gradient(loss):
    output = OUTPUT.clone().requires_grad_()
    value = loss([output], torch.zeros_like(TARGET), torch.zeros(1, 2))
    (gradient,) = torch.autograd.grad(value, output)
    assert value.item() == 0 and torch.equal(gradient, torch.zeros_like(output))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("weight", [None, torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.5]])])
def test_gradient(loss, weight):
    torch.manual_seed(0)
    outputs = [torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    target = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    assert loss(outputs, target, weight).dtype == torch.float64
    assert torch.autograd.gradcheck(lambda *outputs: loss(outputs, target, weight), outputs)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_half_precision_is_computed_in_float32(loss):
    torch.manual_seed(0)
    output, target = torch.randn(2, 3, 16, 16).bfloat16(), torch.rand(2, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss([output], target)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss([output.float()], target))
    large = torch.full((1, 1, 2, 2), 3e38, dtype=torch.bfloat16)
    assert heatmap_softmax([large], torch.ones(1, 1, 2, 2)).item() == pytest.approx(math.log(4), rel=1e-6)


def test_training_towards_softmax_moves_the_maximum_to_the_target():
    output = torch.zeros(1, 1, 6, 6, requires_grad=True)
    target = torch.zeros(1, 1, 6, 6)
    target[0, 0, 4, 1] = 1
    (gradient,) = torch.autograd.grad(heatmap_softmax([output], target), output)
    assert (-gradient).argmax().item() == 4 * 6 + 1
