"""regpose as its users type it: whole tiny runs, their resumption, scoring, plain Python, mistakes."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from src import pose
from src.models import backbones, resnet
from src.models.checkpoint import read_checkpoint
from tests.task_runner import main_of

TINY = """--backbone shufflenet_v2_x0_5 --input-res 64 --synth-size 24 8 --batch-size 4
          --iters 3 --valid-iters 1 --workers 0 --log-every 2""".split()


def train(exp_dir: Path, *argv: str) -> None:
    main_of("regpose/train.py")(["--exp-dir", str(exp_dir), *argv])


def start(exp_dir: Path, name: str, *argv: str) -> Path:
    """A new tiny run; returns its folder."""
    train(exp_dir, "--exp", name, *TINY, *argv)
    return exp_dir / "regpose" / name


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of experiments with a trained tiny run, `regpose/tiny`."""
    exp_dir = tmp_path_factory.mktemp("exp")
    start(exp_dir, "tiny", "--epochs", "1", "--final-predictions")
    return exp_dir


def test_a_run_leaves_what_runs_leave(tiny: Path) -> None:
    folder = tiny / "regpose" / "tiny"
    names = {path.name for path in folder.iterdir()}
    assert {"options.json", "log.csv", "best.pth", "checkpoint.pth", "final_preds.h5"} <= names
    assert "valid_acc_left_wrist" in (folder / "log.csv").read_text()


def test_scoring(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--exp", "tiny", "--exp-dir", str(tiny), "--workers", "0", "--pictures", "2"]
    main_of("regpose/test.py")(argv)
    shown = capsys.readouterr()
    assert "PCKh@0.5" in shown.out and "heatmap accuracy" in shown.err
    folder = tiny / "regpose" / "tiny"
    assert (folder / "predictions.jpg").is_file()
    stored = ["--predictions", str(folder / "preds.h5"), "--synth-size", "24", "8", "--input-res", "64"]
    main_of("regpose/test.py")([*stored, "--workers", "0"])
    assert capsys.readouterr().out == shown.out


def refused(capsys: pytest.CaptureFixture[str], script: str, *argv: str) -> str:
    """The one line of a mistake."""
    with pytest.raises(SystemExit) as end:
        main_of(script)(list(argv))
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    assert end.value.code == 2 and len(lines) == 1
    return lines[0]


def test_networks_of_the_other_kind_are_refused(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(tiny / "regpose" / "tiny" / "best.pth")
    said = refused(capsys, "hgpose/test.py", "--checkpoint", checkpoint)
    assert "best.pth is of deeppose, which gives coordinates: see regpose/test.py" in said
    main_of("hgpose/train.py")(
        ["--exp", "x", "--exp-dir", str(tmp_path), "--stacks", "1", "--feats", "8", "--input-res", "64",
         "--epochs", "0", "--synth-size", "4", "4", "--workers", "0"]
    )  # fmt: skip
    other = str(tmp_path / "hgpose" / "x" / "best.pth")
    said = refused(capsys, "regpose/test.py", "--checkpoint", other)
    assert "is of hg, which gives heatmaps: see hgpose/test.py" in said
    said = refused(capsys, "hgpose/train.py", "--exp", "y", "--exp-dir", str(tmp_path), "--arch", "deeppose")
    assert "there is no 'deeppose'" in said
    said = refused(capsys, "regpose/train.py", "--exp", "y", "--exp-dir", str(tmp_path), *TINY,
                   "--load-model", other)  # fmt: skip
    assert "the checkpoint is of architecture hg, the network is deeppose" in said


def test_plain_python_use(tiny: Path) -> None:
    model = pose.load(tiny / "regpose" / "tiny" / "best.pth", device="cpu")
    picture = torch.randint(0, 256, (120, 90, 3), dtype=torch.uint8).numpy()
    (whole,) = pose.predict(model, picture)
    assert whole.joints.shape == (16, 2) and (whole.score == 1).all()
    # the middle of the crop, more or less, is the middle of the box
    (boxed,) = pose.predict(model, picture, boxes=[(30, 40, 20, 30)])
    assert np.isfinite(boxed.joints).all() and boxed.joints.shape == (16, 2)
    assert np.abs(boxed.joints - (40, 55)).max() < 1.25 * 30  # within one side of the crop


@pytest.mark.parametrize("arch", [pytest.param("deeppose", marks=pytest.mark.slow), "ief"])
def test_resumed_run_equals_straight_run(tmp_path: Path, arch: str) -> None:
    options = ["--arch", arch, "--schedule", "cosine", "--ema", "0.9", "--epochs", "2", "--iters", "2"]
    straight = start(tmp_path, "straight", *options)
    resumed = start(tmp_path, "resumed", *options, "--max-iters", "1")
    train(tmp_path, "-c", "resumed", "--max-iters", "0")
    one, other = (read_checkpoint(folder / "checkpoint.pth") for folder in (straight, resumed))
    for weights in ("model", "ema"):
        for name, value in one[weights].items():
            assert torch.equal(value, other[weights][name]), name  # bit by bit
    assert one["accuracy"].keys() == other["accuracy"].keys()
    if arch == "ief":
        assert not (one["model"]["mean_pose.pose"] == 0.5).all()


def test_a_run_that_goes_on_asks_for_no_weights_of_imagenet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def network_of(name: str) -> dict[str, torch.Tensor]:
        return backbones._network(name, 1000).state_dict()

    def offline(name: str) -> None:
        raise OSError("offline")

    monkeypatch.setattr(resnet, "_download", network_of)
    start(tmp_path, "x", "--pretrained", "imagenet", "--epochs", "1", "--iters", "1")
    monkeypatch.setattr(resnet, "_download", offline)
    train(tmp_path, "-c", "x", "--epochs", "2")
    train(tmp_path, "--exp", "y", "--branch", "x", "--epochs", "2")
    assert "ImageNet" not in capsys.readouterr().err
    assert read_checkpoint(tmp_path / "regpose" / "y" / "checkpoint.pth")["position"]["epoch"] == 2


def test_a_cascade_learns_in_parts_with_weights(tmp_path: Path) -> None:
    folder = start(tmp_path, "x", "--cascade", "1", "--stage-weights", "1", "0.5", "--accumulate", "2",
                   "--epochs", "1", "--iters", "1", "--loss", "l2", "--optimizer", "adagrad")  # fmt: skip
    state = read_checkpoint(folder / "checkpoint.pth")
    assert state["config"]["cascade"] == 1 and state["position"]["seen"] == 4


def test_weights_for_other_joints(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start(tmp_path, "lsp", "--skeleton", "lsp", "--epochs", "0", "--load-model",
          str(tiny / "regpose" / "tiny" / "best.pth"))  # fmt: skip
    assert "2 made anew for other joints (head)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--arch", "deepose"], r"there is no 'deepose' \(did you mean 'deeppose'\?\); known: deeppose, ief"),
        (
            ["--backbone", "resnet19"],
            r"no backbone 'resnet19' \(did you mean 'resnet1\d'\?\); known: .*swin_t",
        ),
        (["--input-res", "63"], "63 px does not suit deeppose: the side must be at least 64"),
        (["--backbone", "inception_v3", "--input-res", "64"], "the side must be at least 75"),
        (["--pretrained", "yes"], "invalid choice: 'yes'"),
        (["--loss", "mse"], "invalid choice: 'mse'"),
        (["--arch", "ief", "--cascade", "1"], "ief has no argument 'cascade'; known: "),
        (["--arch", "ief", "--stage-weights", "1", "1", "1", "1"], "--stage-weights is for deeppose"),
        (["--cascade", "1", "--stage-weights", "1"], "1 numbers for a network of 2 stages"),
        (["--network", "window=2"], "window is a share of the crop"),
        (["--network", "backbone=resnet18"], "--network cannot set backbone: --backbone does"),
        (["--stacks", "2"], "there is no option --stacks"),
        (["--backbone", "resnet18", "--pretrained", "imagenet"], "resnet18 for ImageNet cannot be had"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    argv: list[str],
    message: str,
) -> None:
    def offline(name: str) -> None:
        raise OSError("offline")

    monkeypatch.setattr(resnet, "_download", offline)
    options = ["--exp", "x", "--exp-dir", str(tmp_path), *TINY, *argv]
    said = refused(capsys, "regpose/train.py", *options)
    assert re.search(message, said), said
    assert list(tmp_path.iterdir()) == []
