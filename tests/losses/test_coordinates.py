"""Losses on coordinates against values worked out by hand, their gradients, masks and precision."""

import pytest
import torch

from src.errors import UserError
from src.losses import COORDINATE_LOSSES
from src.losses.coordinates import LOSSES, SMOOTH_WITHIN

# B = 1, J = 2: one joint 0.3 and 0 away, the other one 0.01 and 0.1
TARGET = torch.tensor([[[0.5, 0.5], [0.2, 1.1]]])
OUTPUT = torch.tensor([[[0.2, 0.5], [0.21, 1.0]]])
FAR = SMOOTH_WITHIN / 2  # what the smooth loss is below l1, far away
EXPECTED = {
    "l1": (0.15, 0.055),
    "l2": (0.045, (0.0001 + 0.01) / 2),
    "smooth": ((0.3 - FAR) / 2, (0.01**2 / (2 * SMOOTH_WITHIN) + 0.1 - FAR) / 2),
}


@pytest.fixture(params=COORDINATE_LOSSES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_mean_over_coordinates_and_sum_over_stages(name):
    loss, (first, second) = LOSSES[name], EXPECTED[name]
    assert loss([OUTPUT], TARGET).item() == pytest.approx((first + second) / 2, rel=1e-5)
    stages = [OUTPUT, TARGET, OUTPUT]
    assert loss(stages, TARGET).item() == pytest.approx(first + second, rel=1e-5)
    weighted = loss(stages, TARGET, stage_weights=[1, 5, 0.5])
    assert weighted.item() == pytest.approx(1.5 * (first + second) / 2, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_weight_takes_joints_out_of_the_mean(name, dtype):
    weight = torch.tensor([[0, 1]]).to(dtype)
    output = OUTPUT.clone().requires_grad_()
    loss = LOSSES[name]([output], TARGET, weight)
    assert loss.item() == pytest.approx(EXPECTED[name][1], rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, output)
    assert not gradient[0, 0].any() and gradient[0, 1].all()
    nobody = LOSSES[name]([OUTPUT], TARGET, torch.zeros(1, 2))
    assert nobody.item() == 0


def test_parts_add_up_to_the_whole(name):
    torch.manual_seed(0)
    output, target, weight = torch.rand(6, 3, 2), torch.rand(6, 3, 2), torch.rand(6, 3).round()
    whole = LOSSES[name]([output], target, weight)
    parts = [
        LOSSES[name]([output[rows]], target[rows], weight[rows], total=weight.sum())
        for rows in (slice(0, 4), slice(4, 6))
    ]
    torch.testing.assert_close(parts[0] + parts[1], whole)


def test_gradients_are_those_of_finite_differences(name):
    torch.manual_seed(0)
    output = torch.rand(2, 3, 2, dtype=torch.float64, requires_grad=True)
    target, weight = torch.rand(2, 3, 2, dtype=torch.float64), torch.tensor([[1, 0, 1], [1, 1, 0]])
    assert torch.autograd.gradcheck(lambda x: LOSSES[name]([x], target, weight), output)


def test_smooth_is_smooth():
    near = torch.tensor([[[SMOOTH_WITHIN * (1 - 1e-4), 0.0]]], requires_grad=True)
    far = torch.tensor([[[SMOOTH_WITHIN * (1 + 1e-4), 0.0]]], requires_grad=True)
    for output in (near, far):
        LOSSES["smooth"]([output], torch.zeros(1, 1, 2)).backward()
    assert near.grad is not None and far.grad is not None
    torch.testing.assert_close(near.grad, far.grad, rtol=1e-3, atol=0)


def test_arithmetic_is_precise(name):
    half = LOSSES[name]([OUTPUT.bfloat16()], TARGET)
    assert half.dtype == torch.float32
    assert half == LOSSES[name]([OUTPUT.bfloat16().float()], TARGET)


def test_wrong_number_of_stage_weights(name):
    with pytest.raises(UserError, match="2 numbers for a network of 1 stages"):
        LOSSES[name]([OUTPUT], TARGET, stage_weights=[1, 2])
