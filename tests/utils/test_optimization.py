"""The course of the learning rate, and one update of the weights."""

from argparse import Namespace

import pytest
import torch
from torch import nn

from src.utils.optimization import Update, build_optimizer, learning_rate, parts_of
from src.utils.options import OPTIMIZERS, SCHEDULES

BASE = {
    "lr": 1.0, "schedule": "constant", "milestones": [2.0, 4.0], "lr_step": 2.0, "lr_gamma": 0.1,
    "lr_decay": 0.5, "warmup": 0, "epochs": 8, "optimizer": "rmsprop", "weight_decay": 0.0, "alpha": 0.99,
    "eps": 1e-8, "momentum": 0.0, "clip": 0.0, "amp": "none", "ema": 0.0,
}  # fmt: skip


def options(**changed: object) -> Namespace:
    return Namespace(**(BASE | changed))


@pytest.mark.parametrize(
    "schedule, expected",
    [
        ("constant", [1, 1, 1, 1, 1]),
        ("step", [1, 1, 0.1, 0.1, 0.01]),  # epochs 0, 1, 2, 3, 4
        ("multistep", [1, 1, 0.1, 0.1, 0.01]),
        ("cosine", [1, 0.961940, 0.853553, 0.691342, 0.5]),  # (1 + cos(pi epoch / 8)) / 2
        ("inverse", [1, 1 / 6, 1 / 11, 1 / 16, 1 / 21]),  # 1 / (1 + 0.5 step)
    ],
)
def test_schedules(schedule: str, expected: list[float]) -> None:
    rates = [learning_rate(options(schedule=schedule), epoch, step=10 * epoch) for epoch in range(5)]
    assert rates == pytest.approx(expected, rel=1e-5)


def test_warmup_rises_to_the_rate() -> None:
    rates = [learning_rate(options(warmup=4), step / 10, step) for step in range(5)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_every_schedule_starts_at_the_rate() -> None:
    assert all(learning_rate(options(schedule=name), 0, 0) == 1 for name in SCHEDULES)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_a_parabola(name: str) -> None:
    torch.manual_seed(0)
    network = nn.Linear(3, 1)
    chosen = options(optimizer=name, lr=20.0 if name == "adadelta" else 0.05)
    update = Update(network, build_optimizer(network.parameters(), chosen), chosen)
    x = torch.randn(20, 3)
    losses = []
    for _ in range(30):
        loss = network(x).square().mean()
        update.backward(loss)
        update.apply()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_rmsprop_is_that_of_the_paper() -> None:
    """One step by hand: v = (1 - alpha) g^2, w -= lr g / (sqrt(v) + eps)."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 2.0)
    update = Update(network, build_optimizer(network.parameters(), options(lr=0.25)), options())
    update.backward(3 * network.weight.sum())
    update.apply()
    assert float(network.weight.detach()) == pytest.approx(2 - 0.25 * 3 / (0.01 * 9) ** 0.5)


def test_clip_limits_the_norm_of_the_gradient() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    chosen = options(optimizer="sgd", clip=0.5)
    update = Update(network, build_optimizer(network.parameters(), chosen), chosen)
    update.backward(100 * network.weight.sum())
    update.apply()
    assert float(network.weight.detach()) == pytest.approx(-0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("ema", "decays"),
    [(0.9, [0, 2 / 11, 3 / 12, 4 / 13]), (0.25, [0, 2 / 11, 0.25, 0.25])],  # (1 + n) / (10 + n), up to ema
)
def test_average_follows_the_weights(ema: float, decays: list[float]) -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    chosen = options(optimizer="sgd", ema=ema)
    update = Update(network, build_optimizer(network.parameters(), chosen), chosen)
    expected = 0.0
    for decay in decays:
        update.backward(-network.weight.sum())  # each step adds 1
        update.apply()
        expected = decay * expected + (1 - decay) * float(network.weight.detach())
    assert float(update.best_network.weight.detach()) == pytest.approx(expected)


def test_momentum_of_adam_is_no_other_kind(capsys: pytest.CaptureFixture[str]) -> None:
    """Adam has no such setting, so a run goes on with its memory, whatever --momentum says; SGD does not."""

    def update(optimizer: str, momentum: float) -> Update:
        network, chosen = nn.Linear(1, 1), options(optimizer=optimizer, momentum=momentum)
        return Update(network, build_optimizer(network.parameters(), chosen), chosen)

    update("adam", 0.0).load_state_dict(update("adam", 0.9).state_dict())
    assert not capsys.readouterr().err
    update("sgd", 0.0).load_state_dict(update("sgd", 0.9).state_dict())
    assert "sgd starts without memory" in capsys.readouterr().err


@pytest.mark.parametrize("count, sizes", [(1, [7]), (3, [3, 3, 1]), (5, [2, 2, 2, 1]), (9, [1] * 7)])
def test_parts_cover_the_batch(count: int, sizes: list[int]) -> None:
    batch = {"image": torch.arange(7), "bad": []}
    parts = [part["image"] for part in parts_of(batch, count)]
    assert torch.cat(parts).tolist() == list(range(7))
    assert [len(part) for part in parts] == sizes
