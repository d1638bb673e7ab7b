"""The loss of multi-person networks against plain loops: its terms, the mask, parts of a batch."""

import math

import pytest
import torch
from torch import Tensor

from src.datasets.targets import people_heatmaps
from src.losses.associative_embedding import vectorised
from src.losses.multi_person import multi_person

JOINTS, SIDE, SLOTS = 3, 8, 4
Truth = tuple[Tensor, Tensor, Tensor, Tensor]  # target, mask, cells, labelled


def draw(batch: int, tag_dim: int = 1, stages: int = 2) -> tuple[list[Tensor], Truth]:
    """Outputs in float64, and a truth with nobody in the first picture and a crowd masked in the others."""
    torch.manual_seed(0)
    shape = batch, JOINTS * (1 + tag_dim), SIDE, SIDE
    outputs = [torch.rand(shape, dtype=torch.float64, requires_grad=True) for _ in range(stages)]
    cells = torch.randint(SIDE, (batch, SLOTS, JOINTS, 2))
    labelled = torch.rand(batch, SLOTS, JOINTS) < 0.6
    labelled[0] = False
    mask = torch.ones(batch, SIDE, SIDE, dtype=torch.uint8)
    mask[1:, 2:5, 3:] = 0
    return outputs, (people_heatmaps(cells, labelled, SIDE, 1.0, 3), mask, cells, labelled)


def heatmap_term(output: Tensor, target: Tensor, mask: Tensor, logistic: bool) -> float:
    """The definition for one stage and one picture, cell by cell: a mean over all cells, masked or not."""
    total = 0.0
    for joint in range(JOINTS):
        for y in range(SIDE):
            for x in range(SIDE):
                p, t = output[joint, y, x].item(), target[joint, y, x].item()
                error = -t * math.log(p) - (1 - t) * math.log(1 - p) if logistic else (p - t) ** 2
                total += error * mask[y, x].item()
    return total / (JOINTS * SIDE * SIDE)


@pytest.mark.parametrize("logistic", [False, True])
@pytest.mark.parametrize("tag_dim", [1, 2])
def test_terms_are_those_of_a_loop(ae_form: str, logistic: bool, tag_dim: int) -> None:
    outputs, truth = draw(3, tag_dim)
    target, mask, cells, labelled = truth
    found = multi_person(
        outputs, *truth, torch.tensor(3.0), logistic=logistic, pull_weight=0.25, push_weight=4
    )
    expected = dict.fromkeys(("heatmap", "pull", "push"), 0.0)
    for output in outputs:
        tags = output[:, JOINTS:].unflatten(1, (tag_dim, JOINTS))
        pull, push = vectorised(tags, cells, labelled)
        terms = [heatmap_term(output[i], target[i], mask[i], logistic) for i in range(3)]
        for name, values in (("heatmap", terms), ("pull", pull.tolist()), ("push", push.tolist())):
            expected[name] += sum(values) / 3 / len(outputs)
    # targets are in float32
    assert {name: found[name].item() for name in expected} == pytest.approx(expected, rel=1e-5)
    assert min(expected.values()) > 0
    total = found["heatmap"] + 0.25 * found["pull"] + 4 * found["push"]
    assert found["loss"].item() == pytest.approx(total.item(), rel=1e-12)


def test_errors_known_by_hand() -> None:
    """One cell on a joint's peak, where the network says 0.25, and one on empty ground, where it says 0.5."""
    output = torch.tensor([[[[0.25, 0.5]], [[0.0, 0.0]]]])  # a heatmap and a tag of 1 x 2 cells
    target = torch.tensor([[[[1.0, 0.0]]]])
    truth = torch.ones(1, 1, 2), torch.zeros(1, 1, 1, 2, dtype=torch.int64), torch.ones(1, 1, 1).bool()
    one = torch.ones(())
    squared = multi_person([output], target, *truth, one)["heatmap"].item()
    logistic = multi_person([output], target, *truth, one, logistic=True)["heatmap"].item()
    assert squared == pytest.approx((0.75**2 + 0.5**2) / 2)
    assert logistic == pytest.approx((math.log(4) + math.log(2)) / 2, rel=1e-6)


@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_probabilities_of_0_and_1_have_finite_losses_and_gradients(target: float) -> None:
    """Networks in float32 come to these when they are sure."""
    output = torch.tensor([0.0, 1.0, 0.0, 0.0]).view(1, 2, 1, 2).requires_grad_()
    truth = torch.ones(1, 1, 2), torch.zeros(1, 1, 1, 2, dtype=torch.int64), torch.zeros(1, 1, 1).bool()
    loss = multi_person([output], torch.full((1, 1, 1, 2), target), *truth, torch.ones(()), logistic=True)
    (gradient,) = torch.autograd.grad(loss["loss"], output)
    assert loss["loss"].isfinite() and gradient.isfinite().all()


def test_stages_may_count_unequally(ae_form: str) -> None:
    outputs, truth = draw(2)
    total = torch.tensor(2.0)
    first, second = (multi_person([output], *truth, total) for output in outputs)
    both = multi_person(outputs, *truth, total, stage_weights=[0.5, 2])
    for name, value in both.items():
        torch.testing.assert_close(value, (0.5 * first[name] + 2 * second[name]) / 2)


@pytest.mark.parametrize("logistic", [False, True])
def test_losses_of_parts_add_up_to_that_of_the_batch(ae_form: str, logistic: bool) -> None:
    outputs, truth = draw(5)
    total = torch.tensor(5.0)
    whole = multi_person(outputs, *truth, total, logistic=logistic)
    parts = [
        multi_person(
            [output[part] for output in outputs], *(each[part] for each in truth), total, logistic=logistic
        )
        for part in (slice(0, 1), slice(1, 4), slice(4, 5))
    ]
    for name, value in whole.items():
        torch.testing.assert_close(sum(part[name] for part in parts), value)
    gradients = torch.autograd.grad(whole["loss"], outputs)
    of_parts = torch.autograd.grad(sum(part["loss"] for part in parts), outputs)
    torch.testing.assert_close(of_parts, gradients)


def test_what_is_masked_is_not_learnt_from(ae_form: str) -> None:
    outputs, truth = draw(2)
    loss = multi_person(outputs, *truth, torch.tensor(2.0))["heatmap"]
    for gradient in torch.autograd.grad(loss, outputs):
        heatmaps = gradient[:, :JOINTS]
        assert torch.equal(heatmaps != 0, (truth[1][:, None] > 0).expand_as(heatmaps))


def test_gradient(ae_form: str) -> None:
    outputs, truth = draw(2, tag_dim=2)

    def loss(*outputs: Tensor) -> Tensor:
        return multi_person(outputs, *truth, torch.tensor(2.0), pull_weight=0.5, push_weight=0.5)["loss"]

    assert torch.autograd.gradcheck(loss, outputs, fast_mode=True)


def test_pictures_without_people_teach_the_ground(ae_form: str) -> None:
    outputs, truth = draw(1)
    losses = multi_person(outputs, *truth, torch.ones(()))
    assert losses["pull"].item() == losses["push"].item() == 0
    ground = sum(output[:, :JOINTS].square().mean() for output in outputs) / 2
    torch.testing.assert_close(losses["loss"], ground)
    gradients = torch.autograd.grad(losses["loss"], outputs)
    assert not any(gradient[:, JOINTS:].any() for gradient in gradients)


def test_nothing_to_learn_is_zero(ae_form: str) -> None:
    """As where several processes have a filler each, none of which counts."""
    outputs, truth = draw(2)
    target, mask, cells, labelled = truth
    nothing = torch.zeros_like(mask), cells, torch.zeros_like(labelled)
    losses = multi_person(outputs, target, *nothing, torch.zeros(()))
    assert {value.item() for value in losses.values()} == {0.0}
    assert not any(gradient.any() for gradient in torch.autograd.grad(losses["loss"], outputs))


def test_half_precision_is_computed_in_float32(ae_form: str) -> None:
    outputs, truth = draw(2)
    halves = [output.detach().bfloat16().clamp(0.01, 0.99) for output in outputs]
    with torch.autocast("cpu", torch.bfloat16):
        losses = multi_person(halves, *truth, torch.tensor(2.0), logistic=True)
    exact = multi_person([half.float() for half in halves], *truth, torch.tensor(2.0), logistic=True)
    for name, value in losses.items():
        assert value.dtype == torch.float32 and math.isfinite(value.item())
        torch.testing.assert_close(value, exact[name])
