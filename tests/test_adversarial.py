"""Self-adversarial training: its step against a plain one, tiny runs of both tasks, and what cannot be."""

import copy
import csv
import re
import traceback
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from src import models
from src.datasets.annotations import MASKED
from src.datasets.crops import Batch, in_order, load, readable
from src.evaluation.accuracy import HeatmapAccuracy, PeakAccuracy
from src.models.checkpoint import describe, save_checkpoint
from src.models.layers import PoseNetwork
from src.utils import training
from src.utils.adversary import Adversary
from src.utils.composition import objective_of
from src.utils.experiment import Experiment
from src.utils.multi_person import TagObjective, open_pictures
from src.utils.optimization import Update, build_optimizer
from src.utils.options import network_config, tagged_network_config
from src.utils.setup import build
from src.utils.single_person import open_crops
from src.utils.supervision import Losses, Supervision
from src.utils.training import Totals
from tests.exact import build_exactly
from tests.task_runner import ROOT, load_script, main_of

CPU = torch.device("cpu")
PLAIN = """--device cpu --workers 0 --amp none --compile none --channels-last none --grad-checkpoint none
           --stacks 1 --feats 8 --depth 1 --network stem_feats=8 --input-res 32 --batch-size 4 --sigma 1
           --synth-size 12 4 --iters 3 --valid-iters 1 --log-every 1""".split()
PARTNER = "--d-stacks 1 --d-feats 8 --d-modules 1 --d-depth 1".split()
OWN = {"advpose": ["--modules", "1"], "advpose-ae": ["--arch", "hg"]}
PARENT = {"advpose": "hgpose", "advpose-ae": "hgpose-ae"}
TASKS = list(OWN)
SLOW_TASKS = ["advpose", pytest.param("advpose-ae", marks=pytest.mark.slow)]


@pytest.fixture(autouse=True)
def _no_pictures_in_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take most of the time of a tiny validation."""
    monkeypatch.setattr(Experiment, "add_picture", lambda *_: None)


def start(exp_dir: Path, task: str, name: str, *argv: object) -> Path:
    """A new tiny run, of one of the tasks here or of its parent; returns its folder."""
    own = [*OWN[task], *PARTNER] if task in OWN else OWN[f"adv{task[2:]}"]
    words = ["--exp", name, "--exp-dir", exp_dir, *PLAIN, *own, "--epochs", 1, *argv]
    main_of(f"{task}/train.py")([*map(str, words)])
    return exp_dir / task / name


def go_on(folder: Path, *argv: object) -> None:
    words = ["-c", folder.name, "--exp-dir", folder.parents[1], *argv]
    main_of(f"{folder.parent.name}/train.py")([*map(str, words)])


def state(folder: Path, name: str = "checkpoint.pth") -> dict[str, Any]:
    return torch.load(folder / name, weights_only=True)


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a log but for their times; every cell has a column."""
    with open(path, newline="") as file:
        found = [row | {"seconds": ""} for row in csv.DictReader(file)]
    assert all(None not in row and None not in row.values() for row in found)
    return found


def numbers(path: Path, column: str) -> list[float]:
    return [float(row[column]) for row in rows(path)]


def same(one: Any, other: Any) -> bool:
    """Whether nested values are equal bit by bit."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return bool(one == other)


def mistake(capsys: pytest.CaptureFixture[str], call: Callable[..., object], *argv: object) -> str:
    """What `call` says is wrong; it must end with status 2 and one line that begins with `error: `."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        call(*argv)
    lines = capsys.readouterr().err.splitlines()
    assert end.value.code == 2
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:], lines
    return lines[-1]


# The step, on its own.


class Game(NamedTuple):
    """Both networks of a task, and a batch."""

    options: Namespace
    network: PoseNetwork
    update: Update
    adversary: Adversary
    accuracy: HeatmapAccuracy
    run: Any
    batch: Batch

    def step(self, batch: Batch | None = None) -> Losses:
        return self.adversary.learn(
            self.batch if batch is None else batch, self.options.lr, self.update, self.accuracy, self.run
        )


def game(task: str, *argv: str) -> Game:
    opts = load_script(ROOT / task / "opts.py")
    options = opts.parse(["--exp", "x", *PLAIN, *OWN[task], *PARTNER, *argv])
    torch.manual_seed(0)
    single = task == "advpose"
    samples, _ = (open_crops if single else open_pictures)(options)
    skeleton = samples.people.skeleton
    config = (network_config if single else tagged_network_config)(options)
    network = build(options, skeleton, config)
    objective = objective_of(network, options) if single else TagObjective(options, network.stride)
    supervision = Supervision(network, objective, options, CPU)
    return Game(
        options,
        network,
        Update(network, build_optimizer(network.parameters(), options), options),
        Adversary(supervision, network, objective, options),
        (HeatmapAccuracy if single else PeakAccuracy)(skeleton, CPU),
        Namespace(position=Namespace(step=0), totals=Totals(CPU)),
        next(readable(load(samples, in_order(4, 4), 0, CPU), lambda: False, [])),
    )


@pytest.fixture
def exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks in float64 without statistics of the batch: what is equal in theory is so in numbers."""
    monkeypatch.setattr(models, "build", build_exactly)


def plain_step(playing: Game, optimizers: list[torch.optim.Optimizer], k: float) -> tuple[Losses, float]:
    """Chou et al.'s iteration as one would write it down: a pass for each use, nothing shared."""
    network, partner = playing.network, playing.adversary.network
    supervision, options = playing.adversary.supervision, playing.options
    batch = supervision.rendered(supervision.objective.supervised(playing.batch))
    target, small = batch["truth"][0].double(), F.avg_pool2d(batch["images"], 4)
    with torch.no_grad():
        fake = network(batch["images"])[-1]
    for _ in range(options.d_updates):
        real_energy = (partner(small, target) - target).square().mean()
        fake_energy = (partner(small, fake) - fake).square().mean()
        optimizers[1].zero_grad()
        (real_energy - k * fake_energy).backward()
        optimizers[1].step()
    heatmaps = network(batch["images"])
    content = sum((stage - target).square().mean() for stage in heatmaps)
    adversarial = (partner(small, heatmaps[-1]) - heatmaps[-1]).square().mean()
    optimizers[0].zero_grad()
    (content + options.lambda_g * adversarial).backward()
    optimizers[0].step()
    unit = target[0].numel() if options.energy == "sum" else 1
    real, wrong = unit * real_energy.item(), unit * fake_energy.item()
    balance = options.gamma * real - wrong
    said = {
        "loss": content + options.lambda_g * adversarial, "content": content, "adversarial": adversarial,
        "real": real_energy, "fake": fake_energy, "kt": torch.tensor(k, dtype=torch.float64),
        "balance": torch.tensor(balance, dtype=torch.float64),
        "measure": torch.tensor(real + abs(balance), dtype=torch.float64),
    }  # fmt: skip
    return said, min(max(k + options.lambda_kt * balance, 0.0), 1.0)


@pytest.mark.usefixtures("exactly")
@pytest.mark.parametrize(
    "argv",
    [
        "",
        "--accumulate 2",
        "--d-updates 2 --energy mean --kt-init 0.9 --lambda-g 10 --gamma 0.9",
        "--d-updates 2 --accumulate 3 --grad-checkpoint always --stacks 2",
    ],
    ids=["one part", "two parts", "two updates", "three parts, two updates, activations computed again"],
)
def test_the_step_is_that_of_the_paper(argv: str) -> None:
    """Its order above all: the pose network is judged by the discriminator that has learnt already."""
    options = "--lambda-g 0.1 --kt-init 0.3 --lambda-kt 1e-5 --optimizer sgd --lr 0.05 --lr-d 1e-3"
    ours, theirs = (game("advpose", *options.split(), *argv.split()) for _ in range(2))
    pairs = [(ours.network, theirs.network), (ours.adversary.network, theirs.adversary.network)]
    optimizers = [
        torch.optim.SGD(theirs.network.parameters(), lr=0.05),
        torch.optim.Adam(theirs.adversary.network.parameters(), lr=1e-3),
    ]
    k = theirs.options.kt_init
    for _ in range(3):
        said = ours.step()
        expected, k = plain_step(theirs, optimizers, k)
        assert said.keys() == expected.keys()
        for name, value in expected.items():
            assert said[name].item() == pytest.approx(value.item(), rel=1e-9), name
        assert ours.adversary.equilibrium.k.item() == pytest.approx(k, rel=1e-9)
    assert k != theirs.options.kt_init
    for one, other in pairs:
        for (name, value), again in zip(one.named_parameters(), other.parameters(), strict=True):
            assert (value - again).abs().max() <= 1e-9 * again.abs().max(), name


@pytest.mark.parametrize(
    ("task", "argv"),
    [
        ("advpose", "--d-updates 2 --grad-checkpoint always"),
        ("advpose-ae", ""),
        ("advpose-ae", "--accumulate 2"),
    ],
)
def test_neither_network_changes_in_the_turn_of_the_other(
    monkeypatch: pytest.MonkeyPatch, task: str, argv: str
) -> None:
    """Nor do gradients of the discriminator reach the pose network, or those of the latter the former."""
    playing = game(task, "--kt-init", "0.5", *argv.split())
    network, partner = playing.network, playing.adversary.network
    turns: list[str] = []

    def confront(*args: Any) -> Losses:
        before = copy.deepcopy(network.state_dict())
        assert not args[1].requires_grad
        losses = original[0](*args)
        assert same(before, network.state_dict())
        assert all(weight.grad is None for weight in network.parameters())
        turns.append("discriminator")
        return losses

    def persuade(*args: Any) -> Losses:
        before = copy.deepcopy(partner.state_dict())
        losses = original[1](*args)
        assert same(before, partner.state_dict())  # weights and statistics
        assert all(weight.grad is None for weight in partner.parameters())
        assert all(weight.grad is not None for weight in network.parameters())
        turns.append("pose network")
        return losses

    original = playing.adversary._confront, playing.adversary._persuade
    monkeypatch.setattr(playing.adversary, "_confront", confront)
    monkeypatch.setattr(playing.adversary, "_persuade", persuade)
    with torch.autograd.set_detect_anomaly(True):
        for _ in range(2):
            playing.step()
    parts, updates = playing.options.accumulate, playing.options.d_updates
    assert turns == 2 * (["discriminator"] * parts * updates + ["pose network"] * parts)
    assert all(weight.requires_grad for weight in partner.parameters())
    counts = {name: int(value) for name, value in network.state_dict().items() if "num_batches" in name}
    assert set(counts.values()) == {2 * parts}  # each part went through once that counts
    of_partner = [int(value) for name, value in partner.state_dict().items() if "num_batches" in name]
    assert set(of_partner) == {2 * parts * updates * 2}  # real and predicted heatmaps
    momenta = {module.momentum for module in partner.modules() if isinstance(module, nn.BatchNorm2d)}
    assert momenta == {0.1}


class NoWaiting(TorchDispatchMode):
    """Refuses to read a value from the device, but for PyTorch's optimizers, which read their counters."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.ops.aten._local_scalar_dense.default:
            frames = traceback.extract_stack()
            assert any("torch/optim" in frame.filename for frame in frames), "the step waits for the device"
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("task", SLOW_TASKS)
def test_the_step_does_not_wait_for_the_device(task: str) -> None:
    playing = game(task, "--accumulate", "2")
    playing.step()
    with NoWaiting():
        playing.step()
    with pytest.raises(AssertionError), NoWaiting():
        float(torch.ones(()))


@pytest.mark.usefixtures("exactly")
@pytest.mark.parametrize("task", SLOW_TASKS)
def test_fillers_count_for_nothing(task: str) -> None:
    """They stand in for pictures that cannot be read, and all their joints are masked."""
    filled, plain = game(task), game(task)
    visible = filled.batch["visible"].clone()
    visible[2:] = MASKED
    few = {key: value[:2] for key, value in plain.batch.items() if isinstance(value, Tensor)}
    one, other = filled.step(filled.batch | {"visible": visible}), plain.step(few)
    for name, value in other.items():
        assert one[name].item() == pytest.approx(value.item(), rel=1e-9), name
    nobody = filled.step(filled.batch | {"visible": torch.full_like(visible, MASKED)})
    assert not any(float(nobody[name]) for name in ("loss", "adversarial", "real", "fake", "balance"))


def test_heatmaps_of_the_softmax_loss_are_distributions_as_large_as_a_target() -> None:
    playing = game("advpose", "--loss", "softmax", "--sigma", "1.5", "--input-res", "64")
    objective: Any = playing.adversary.supervision.objective
    batch = objective.supervised(playing.batch)
    cells = torch.full_like(batch["cells"], objective.size // 2)
    whole = objective.truth(batch | {"cells": cells, "has_target": torch.ones_like(batch["has_target"])})[0]
    maps = torch.randn_like(whole)
    seen = objective.heatmaps(maps, batch)
    drawn = batch["weight"] > 0
    assert drawn.any() and not drawn.all()
    torch.testing.assert_close(seen.sum((2, 3))[drawn], whole.sum((2, 3))[drawn])
    assert (seen >= 0).all() and not seen[~drawn].any()
    assert (seen.flatten(2).argmax(2) == maps.flatten(2).argmax(2))[drawn].all()


@pytest.mark.parametrize("masked", [False, True])
def test_unlabelled_joints_show_nothing_where_they_are_left_out(masked: bool) -> None:
    playing = game("advpose", *(["--mask-unlabelled"] if masked else []))
    objective = playing.adversary.supervision.objective
    visible = playing.batch["visible"].clone()
    visible[:, :3] = 0
    batch = objective.supervised(playing.batch | {"visible": visible})
    real, fake = objective.truth(batch)[0], objective.heatmaps(torch.ones(4, 16, 8, 8), batch)
    assert not real[:, :3].any() and bool(fake[:, :3].any()) is not masked and fake[:, 3:].any()


def test_where_nothing_is_known_neither_real_nor_predicted_heatmaps_show() -> None:
    playing = game("advpose-ae")
    objective = playing.adversary.supervision.objective
    batch = objective.supervised(playing.batch)
    real = objective.truth(batch)[0]
    row, _, y, x = real.nonzero()[0].tolist()
    assert batch["mask"][row, y, x]
    mask = batch["mask"].clone()
    mask[row, y, x] = 0  # a crowd before somebody who is labelled
    batch |= {"mask": mask}
    for maps in (objective.truth(batch)[0], objective.heatmaps(torch.rand(4, 34, 8, 8), batch)):
        assert maps.shape == (4, 17, 8, 8) and maps.any()
        assert not maps[row, :, y, x].any()


# Whole runs.


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of experiments with a trained tiny run of each task, and of its parent, named `a`."""
    exp_dir = tmp_path_factory.mktemp("exp")
    for task, parent in PARENT.items():
        start(exp_dir, parent, "a", *(["--rotate-prob", 0.6] if parent == "hgpose" else []))
        start(exp_dir, task, "a", "--final-predictions")
    return exp_dir


@pytest.mark.parametrize("task", TASKS)
def test_the_log_has_both_sides(trained: Path, task: str) -> None:
    log = rows(trained / task / "a" / "log.csv")
    steps = trained / task / "a" / "steps.csv"
    names = ["content", "adversarial", "real", "fake", "kt", "balance", "measure"]
    assert all(f"train_{name}" in log[0] for name in names)
    assert [name for name in rows(steps)[0] if name in names] == names
    size = (16 if task == "advpose" else 17) * 8 * 8
    kt, balance = numbers(steps, "kt"), numbers(steps, "balance")
    real, fake = numbers(steps, "real"), numbers(steps, "fake")
    assert balance == pytest.approx([size * (0.5 * r - f) for r, f in zip(real, fake, strict=True)], rel=1e-5)
    assert kt[0] == 0 and len(kt) == 3
    moved = [min(max(k + 1e-3 * b, 0), 1) for k, b in zip(kt, balance, strict=True)]
    assert [*kt[1:], float(state(trained / task / "a")["adversary"]["equilibrium"]["k"])] == pytest.approx(
        moved, rel=1e-5
    )
    content, adversarial = numbers(steps, "content"), numbers(steps, "adversarial")
    loss = [c + 1e-4 * a for c, a in zip(content, adversarial, strict=True)]
    assert numbers(steps, "loss") == pytest.approx(loss, rel=1e-6)
    assert numbers(steps, "measure") == pytest.approx(
        [size * r + abs(b) for r, b in zip(real, balance, strict=True)], rel=1e-5
    )


@pytest.mark.parametrize("task", TASKS)
def test_without_the_adversary_a_run_is_that_of_its_parent(trained: Path, tmp_path: Path, task: str) -> None:
    alone, parent = start(tmp_path, task, "a", "--no-adversarial"), trained / PARENT[task] / "a"
    for name in ("log.csv", "steps.csv"):
        assert rows(alone / name) == rows(parent / name)
    one, other = state(alone), state(parent)
    assert one.keys() == other.keys() and same(one["model"], other["model"])
    assert same(one["update"], other["update"]) and same(one["random"], other["random"])
    with_it = state(trained / task / "a")["model"]
    assert not same(one["model"], with_it)


class Killed(BaseException):
    """What ends a run at once, as SIGKILL does: nothing is saved."""


@pytest.mark.parametrize("task", SLOW_TASKS)
def test_a_resumed_run_equals_a_straight_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    options = ["--epochs", 2, "--schedule", "cosine", "--kt-init", 0.5, "--lambda-kt", 1e-5, "--ema", 0.9]
    straight = start(tmp_path, task, "straight", *options, "--save-every", 2)
    resumed = tmp_path / task / "resumed"

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(training, "_end_epoch", killed)  # after iteration 3; that of 2 is saved
        start(tmp_path, task, "resumed", *options, "--save-every", 2)
    before = state(resumed)
    assert before["position"]["step"] == 2 and 0 < before["adversary"]["equilibrium"]["k"] < 1
    go_on(resumed, "--max-iters", 5)  # within epoch 2
    go_on(resumed, "--max-iters", 0)
    one, other = state(straight), state(resumed)
    for name in ("model", "ema", "discriminator", "update", "adversary", "random"):
        assert same(one[name], other[name]), name
    assert one["adversary"]["equilibrium"]["k"] != before["adversary"]["equilibrium"]["k"]
    assert one["adversary"]["update"]["optimizer"]["state"]
    whole = {row["step"]: row for row in rows(resumed / "log.csv")}
    assert all(row == whole[row["step"]] for row in rows(straight / "log.csv"))
    assert rows(resumed / "steps.csv") == rows(straight / "steps.csv")


def test_the_pose_network_learns_alone_at_first(trained: Path, tmp_path: Path) -> None:
    late = start(tmp_path, "advpose", "late", "--adversarial-after", 4, "--epochs", 2)
    alone = trained / "hgpose" / "a"
    assert numbers(late / "steps.csv", "loss")[:3] == numbers(alone / "steps.csv", "loss")
    assert numbers(late / "log.csv", "valid_loss")[0] == numbers(alone / "log.csv", "valid_loss")[0]
    real = numbers(late / "steps.csv", "real")
    assert [value > 0 for value in real] == [False] * 4 + [True] * 2
    assert numbers(late / "steps.csv", "content") == numbers(late / "steps.csv", "loss")[:4] + [
        pytest.approx(value, rel=1e-2) for value in numbers(late / "steps.csv", "loss")[4:]
    ]


def test_the_adversary_may_come_in_on_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = start(tmp_path, "advpose", "x", "--no-adversarial")
    capsys.readouterr()
    go_on(folder, "--adversarial", "--epochs", 2)
    assert "the checkpoint has no discriminator: it starts anew" in capsys.readouterr().err
    steps = rows(folder / "steps.csv")
    assert [bool(row["real"]) for row in steps] == [False] * 3 + [True] * 3
    assert [float(row["loss"]) > 0 and float(row["accuracy"]) >= 0 for row in steps] == [True] * 6
    assert [bool(row["train_kt"]) for row in rows(folder / "log.csv")] == [False, True]
    said = mistake(capsys, go_on, folder, "--epochs", 3, "--d-feats", 16)
    assert said.startswith("error: discriminator: the checkpoint is of another size: ")
    go_on(folder, "--no-adversarial", "--epochs", 3)
    assert "anew" not in capsys.readouterr().err
    assert [bool(row["real"]) for row in rows(folder / "steps.csv")] == [False] * 3 + [True] * 3 + [False] * 3


@pytest.mark.parametrize("task", TASKS)
def test_weights_go_from_task_to_task(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    for giver, taker in ((PARENT[task], task), (task, PARENT[task])):
        best = trained / giver / "a" / "best.pth"
        folder = start(tmp_path, taker, "x", "--epochs", 0, "--load-model", best)
        assert re.search(r"best.pth: \d+ tensors loaded$", capsys.readouterr().err, re.MULTILINE)
        assert same(state(folder)["model"], torch.load(best, weights_only=True)["model"])


def test_a_discriminator_is_taken_from_a_run_or_from_a_file_of_its_own(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = trained / "advpose" / "a" / "best.pth"
    folder = start(tmp_path, "advpose", "x", "--epochs", 0, "--load-discriminator", best)
    assert re.search(r"best.pth: \d+ tensors loaded$", capsys.readouterr().err, re.MULTILINE)
    stored = state(folder)
    assert same(stored["discriminator"], torch.load(best, weights_only=True)["discriminator"])

    config = {"stacks": 1, "feats": 8, "modules": 1, "depth": 1}
    own = models.build("discriminator", 16, **config)
    save_checkpoint(tmp_path / "own.pth", describe(own, stored["skeleton"], 8))
    file = ["--load-discriminator", tmp_path / "own.pth"]
    assert same(
        state(start(tmp_path, "advpose", "y", "--epochs", 0, *file))["discriminator"], own.state_dict()
    )
    said = mistake(capsys, start, tmp_path, "advpose", "z", *file, "--d-feats", 16)
    assert "the checkpoint is of another size (feats 8, here 16): " in said
    said = mistake(capsys, go_on, folder, *file, "--epochs", 1)
    assert "--load-discriminator starts from another one than the run has: leave it out" in said
    said = mistake(capsys, start, tmp_path, "advpose", "z", "--load-model", tmp_path / "own.pth")
    assert "the checkpoint is of architecture discriminator, the network is hg" in said
    best = trained / "hgpose" / "a" / "best.pth"
    said = mistake(capsys, start, tmp_path, "advpose", "z", "--load-discriminator", best)
    assert "the checkpoint is of architecture hg, the network is discriminator" in said


def test_both_tasks_score_and_predict(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for task, shown in (("advpose", "PCKh@0.5"), ("advpose-ae", "AP")):
        options = ["--exp", "a", "--exp-dir", str(trained), "--workers", "0", "--device", "cpu"]
        main_of(f"{task}/test.py")(options)
        assert shown in capsys.readouterr().out
    assert (trained / "advpose/a/final_preds.h5").is_file()
    assert (trained / "advpose-ae/a/final_results.json").is_file()


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param("--amp bf16", marks=pytest.mark.slow),
        pytest.param("--amp fp16", marks=pytest.mark.slow),
        "--loss softmax --lr-d 1e-3 --d-updates 2 --clip 1 --momentum 0.9",
    ],
    ids=["bf16", "fp16", "softmax"],
)
def test_other_recipes_run(tmp_path: Path, argv: str) -> None:
    folder = start(tmp_path, "advpose", "x", *argv.split())
    assert all(
        value > 0 for name in ("loss", "real", "fake") for value in numbers(folder / "steps.csv", name)
    )
    assert state(folder)["adversary"]["update"]["kind"] == "adam"  # whatever the pose network's optimizer is
    assert all(value.isfinite().all() for value in state(folder)["discriminator"].values())


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_both_sides_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    """Into one graph each; a compiled run learns what one that is not compiled learns."""
    torch._dynamo.reset()
    monkeypatch.setattr(models, "build", build_exactly)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    options = ["--d-updates", 2, "--accumulate", 2, "--valid-every", 0]
    eager, compiled = (
        start(tmp_path, task, name, *options, "--compile", name) for name in ("none", "default")
    )
    one, other = rows(eager / "steps.csv"), rows(compiled / "steps.csv")
    for row, again in zip(one, other, strict=True):
        for name in ("loss", "real", "fake", "kt", "balance"):
            assert float(again[name]) == pytest.approx(float(row[name]), rel=1e-5), name


# What cannot be.


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--gamma 1.5", "argument --gamma: a number from 0 to 1 is wanted, not '1.5'"),
        ("--lambda-kt -1", "argument --lambda-kt: "),
        ("--lambda-kt nan", "argument --lambda-kt: a number from 0 to 1 is wanted, not 'nan'"),
        ("--kt-init 2", "argument --kt-init: a number from 0 to 1 is wanted, not '2'"),
        ("--lambda-g -1", "argument --lambda-g: "),
        ("--lr-d -1", "argument --lr-d: "),
        ("--d-updates 0", "argument --d-updates: a whole number from 1 is wanted, not '0'"),
        ("--energy sums", "argument --energy: invalid choice: 'sums'"),
        ("--d-depth 4", "heatmaps of 8 cells cannot be halved 4 times: lower --d-depth"),
        ("--d-depth 99999", "heatmaps of 8 cells cannot be halved 99999 times: lower --d-depth"),
        ("--d-feats 1", "discriminator: feats is too small"),
        ("--load-discriminator no.pth", "there is no checkpoint"),
        ("--stage-weights 1 2", "--stage-weights: 2 numbers for a network of 1 stages"),
        ("--stage-weights 1 2 --compile default", "--stage-weights: 2 numbers for a network of 1 stages"),
    ],
)
def test_options_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: str, message: str
) -> None:
    assert message in mistake(capsys, start, tmp_path, "advpose", "x", *argv.split())


@pytest.mark.parametrize("task", SLOW_TASKS)
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            "--lr-d 100 --kt-init 1 --energy mean",
            r"the discriminator has collapsed.* at iteration (\d+): .*--lr-d",
        ),
        ("--optimizer sgd --lr 1e15", r"the loss is not finite at iteration (\d+): stopped, .* is kept; "),
    ],
    ids=["collapse", "infinity"],
)
def test_what_goes_wrong_stops_and_the_last_good_checkpoint_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str, argv: str, message: str
) -> None:
    options = [*argv.split(), "--save-every", 1, "--iters", 20, "--valid-every", 0]
    said = mistake(capsys, start, tmp_path, task, "x", *options)
    found = re.search(message, said)
    assert found, said
    kept = state(tmp_path / task / "x")
    assert kept["position"]["step"] == int(found[1]) - 1
    for name in ("model", "discriminator"):
        assert all(value.isfinite().all() for value in kept[name].values())
