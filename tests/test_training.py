"""The life of an experiment: resumed runs equal straight ones, parents stay untouched, nothing is lost."""

import csv
import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from src.datasets.targets import gaussian_mass
from src.evaluation.predictions import load_h5
from src.utils.training import Totals
from tests.task_runner import ROOT, TINY, main_of


def train(exp_dir: Path, *argv: str) -> None:
    main_of("hgpose/train.py")(["--exp-dir", str(exp_dir), *argv])


def start(exp_dir: Path, name: str, *argv: str) -> Path:
    """A new tiny run; returns its folder."""
    train(exp_dir, "--exp", name, *TINY, *argv)
    return exp_dir / "hgpose" / name


def state(folder: Path, name: str = "checkpoint.pth") -> dict:
    return torch.load(folder / name, weights_only=True)


def rows(folder: Path, name: str = "log.csv") -> list[dict[str, str]]:
    with open(folder / name, newline="") as file:
        return list(csv.DictReader(file))


def assert_same_weights(one: dict, other: dict) -> None:
    assert one["model"].keys() == other["model"].keys()
    for name, value in one["model"].items():
        assert torch.equal(value, other["model"][name]), name  # bit by bit


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_resumed_run_equals_straight_run(tmp_path: Path, workers: int) -> None:
    options = ["--workers", str(workers), "--optimizer", "adam", "--schedule", "cosine", "--ema", "0.9"]
    straight = start(tmp_path, "straight", "--epochs", "2", *options)
    resumed = start(tmp_path, "resumed", "--epochs", "2", "--max-iters", "2", *options)  # within epoch 1
    assert state(resumed)["position"]["step"] == 2
    train(tmp_path, "-c", "resumed", "--max-iters", "5")  # within epoch 2
    train(tmp_path, "-c", "resumed", "--max-iters", "0")
    one, other = state(straight), state(resumed)
    assert_same_weights(one, other)
    assert all(torch.equal(one["ema"][name], other["ema"][name]) for name in one["ema"])
    assert one["update"]["optimizer"]["state"].keys() == other["update"]["optimizer"]["state"].keys()
    whole = {row["step"]: row for row in rows(resumed)}
    for row in rows(straight):  # the epoch's figures count what was before the interruption, too
        again = whole[row["step"]]
        assert row | {"seconds": ""} == again | {"seconds": ""}


def test_seed_decides(tmp_path: Path) -> None:
    one = state(start(tmp_path, "a", "--epochs", "1", "--seed", "1"))
    same = state(start(tmp_path, "b", "--epochs", "1", "--seed", "1"))
    other = state(start(tmp_path, "c", "--epochs", "1", "--seed", "2"))
    assert_same_weights(one, same)
    assert not torch.equal(one["model"]["heads.0.weight"], other["model"]["heads.0.weight"])


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch was built without oneDNN")
def test_one_processor_leaves_large_convolutions_of_size_1_to_onednn(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.profiler.profile(record_shapes=True) as profile:
            start(tmp_path, "a", "--max-iters", "1", "--amp", "none")
    finally:
        torch.set_num_threads(before)
    calls = [call for call in profile.key_averages(group_by_input_shape=True) if "conv2d" in call.key]
    sizes = [math.prod(call.input_shapes[0]) for call in calls if call.key == "aten::_slow_conv2d_forward"]
    assert max(math.prod(call.input_shapes[0]) for call in calls) > 20480
    assert max(sizes) <= 20480


def test_continue_keeps_options_but_for_those_typed(tmp_path: Path) -> None:
    folder = start(tmp_path, "a", "--epochs", "1", "--lr", "0.001")
    train(tmp_path, "--exp", "a", "--continue", "--epochs", "2", "--batch-size", "2")
    options = json.loads((folder / "options.json").read_text())["options"]
    assert (options["lr"], options["batch-size"], options["feats"]) == (0.001, 2, 16)
    assert [row["epoch"] for row in rows(folder)] == ["1", "2"]
    assert [row["step"] for row in rows(folder, "steps.csv")] == ["2", "4", "6"]


def test_a_finished_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = start(tmp_path, "a", "--epochs", "1")
    before = (folder / "checkpoint.pth").read_bytes()
    train(tmp_path, "-c", "a")
    assert "a is finished (--epochs 1)" in capsys.readouterr().err
    assert (folder / "checkpoint.pth").read_bytes() == before
    train(tmp_path, "--exp", "b", "--branch", "a")
    assert "a has learnt as long already (--epochs 1); a larger number goes on" in capsys.readouterr().err
    assert (folder.parent / "b" / "best.pth").is_file()


def test_branch_starts_from_its_parent_and_leaves_it_alone(tmp_path: Path) -> None:
    parent = start(tmp_path, "old", "--epochs", "1", "--lr", "0.001")
    before = {path: path.read_bytes() for path in parent.rglob("*") if path.is_file()}
    train(tmp_path, "--exp", "new", "--branch", "old", "--epochs", "2", "--lr", "0.0001")
    after = {path: path.read_bytes() for path in parent.rglob("*") if path.is_file()}
    assert before == after
    branch = tmp_path / "hgpose" / "new"
    assert [row["epoch"] for row in rows(branch)] == ["2"]
    options = json.loads((branch / "options.json").read_text())["options"]
    assert (options["lr"], options["feats"]) == (0.0001, 16)


def test_load_model_with_other_joints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = start(tmp_path, "mpii", "--epochs", "1", "--stacks", "2")
    capsys.readouterr()
    start(tmp_path, "lsp", "--epochs", "0", "--stacks", "2", "--skeleton", "lsp",
          "--load-model", str(folder / "best.pth"))  # fmt: skip
    said = capsys.readouterr().err
    assert "made anew for other joints (heads.0, heads.1, merge_heatmaps.0)" in said
    loaded = state(tmp_path / "hgpose" / "lsp")
    assert loaded["config"]["num_joints"] == 14
    name = "stem.entry.conv.weight"
    assert torch.equal(loaded["model"][name], state(folder, "best.pth")["model"][name])


def test_an_experiment_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = start(tmp_path, "a", "--epochs", "0")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(SystemExit) as end:
        start(tmp_path, "a", "--epochs", "1")
    assert end.value.code == 2
    assert "exists already" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        start(tmp_path, "a", "--optimizer", "sgd", "--lr", "1e30", "--epochs", "2")
    assert end.value.code == 2
    assert "the loss is not finite at iteration 2" in capsys.readouterr().err
    kept = state(tmp_path / "hgpose" / "a")
    assert kept["position"]["step"] == 0
    assert all(torch.isfinite(value).all() for value in kept["model"].values())


def test_another_architecture_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start(tmp_path, "a", "--epochs", "0")
    with pytest.raises(SystemExit) as end:
        train(tmp_path, "-c", "a", "--feats", "32", "--epochs", "1")
    assert end.value.code == 2
    assert "feats 16, here 32" in capsys.readouterr().err


def test_a_batch_can_be_learnt_from_in_parts(tmp_path: Path) -> None:
    """Batch normalisation sees the parts, so weights differ; what can be compared are the counters."""
    folder = start(tmp_path, "parts", "--epochs", "1", "--accumulate", "2")
    assert state(folder)["position"]["seen"] == 12
    counter = state(folder)["model"]["stem.entry.norm.num_batches_tracked"]
    assert int(counter) == 6  # 3 iterations of 2 parts


def test_figures_as_json(tmp_path: Path) -> None:
    folder = start(tmp_path, "a", "--epochs", "2", "--json", str(tmp_path / "new" / "figures.json"))
    figures = json.loads((tmp_path / "new" / "figures.json").read_text())
    last = rows(folder)[-1]
    assert figures["exp"] == "a" and figures["last"]["epoch"] == 2
    assert figures["last"]["valid_loss"] == pytest.approx(float(last["valid_loss"]))
    best = max(float(row["valid_accuracy"]) for row in rows(folder))
    assert figures["best_accuracy"] == pytest.approx(best)


def test_more_epochs_are_further_ones(tmp_path: Path) -> None:
    folder = start(tmp_path, "a", "--more-epochs", "1", "--valid-every", "0")
    train(tmp_path, "-c", "a", "--more-epochs", "1")
    assert state(folder)["position"]["epoch"] == 2
    stored = json.loads((folder / "options.json").read_text())["options"]
    assert (stored["epochs"], stored["more-epochs"]) == (2, None)


def test_scores_of_the_softmax_loss_lie_between_0_and_1(tmp_path: Path) -> None:
    """Their scale is kept in checkpoints; a run that goes on with another loss has none."""
    recipe = ("--loss", "softmax", "--sigma", "1.5", "--target-radius", "2", "--epochs", "1")
    folder = start(tmp_path, "a", *recipe, "--final-predictions")
    assert state(folder, "best.pth")["target_mass"] == pytest.approx(gaussian_mass(1.5, 2))
    scores = load_h5(folder / "final_preds.h5", ["preds"])["preds"][..., 4]
    # of a network that knows nothing, by far not all of a map lies in one cell
    assert 0 < scores.min() and scores.max() < 0.9
    train(tmp_path, "--exp", "b", "--branch", "a", "--epochs", "2", "--loss", "mse")
    assert state(folder.parent / "b", "best.pth")["target_mass"] is None


def test_early_stop_and_snapshots(tmp_path: Path) -> None:
    folder = start(tmp_path, "a", "--epochs", "9", "--lr", "0", "--early-stop", "2", "--snapshot-every", "2")
    # with a rate of 0 only batch normalisation's statistics move; a gain of 100 % is out of reach
    position = state(folder)["position"]
    assert position["stale"] == 2 and position["epoch"] < 9
    assert (folder / "snapshots" / "epoch_0002.pth").is_file()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_run_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    options = [*TINY, "--iters", "100000", "--epochs", "1", "--workers", "1"]
    argv = [sys.executable, "train.py", "--exp-dir", str(tmp_path), "--exp", "a", *options]
    process = subprocess.Popen(argv, cwd=ROOT / "hgpose", stderr=subprocess.PIPE, text=True)
    folder = tmp_path / "hgpose" / "a"
    deadline = time.monotonic() + 600
    while not (folder / "steps.csv").is_file() and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(number)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 128 + number
    assert "saved; -c a goes on" in said
    step = state(folder)["position"]["step"]
    assert step > 0
    train(tmp_path, "-c", "a", "--workers", "0", "--max-iters", str(step + 2))
    assert state(folder)["position"]["step"] == step + 2


def test_sums_of_another_device_are_added_to_exactly() -> None:
    """Apple's GPU has them in float32; a run may go on elsewhere."""
    totals = Totals(torch.device("cpu"))
    totals.load_state_dict({"sums": {"loss": torch.tensor(2.0**24)}, "count": 1})
    totals.add({"loss": torch.tensor(1.0)}, step=2)
    assert totals.means() == {"loss": (2**24 + 1) / 2}
