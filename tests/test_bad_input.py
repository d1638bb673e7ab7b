"""Bad input through the command lines: one clear line and status 2, or it works; never a traceback."""

import multiprocessing
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import scipy.io
import torch

from src.datasets.annotations import Annotations
from src.utils import single_person, supervision, training
from tests.releases import make_lspet, write_mpii_h5, write_mpii_pictures
from tests.task_runner import ROOT, TINY, main_of

Edit = Callable[[Path], object]


@pytest.fixture
def lspet(tmp_path: Path) -> Path:
    """A tiny LSPET: 16 people to train, 4 to validate."""
    make_lspet(tmp_path / "lspet", 20)
    return tmp_path / "lspet"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of experiments with two trained tiny runs: `mpii` and, in LSP's joints, `lsp`."""
    exp_dir = tmp_path_factory.mktemp("exp")
    for name in ("mpii", "lsp"):
        train(exp_dir, "--exp", name, *TINY, "--epochs", "1", "--skeleton", name)
    return exp_dir


@pytest.fixture
def experiments(trained: Path, tmp_path: Path) -> Path:
    """A copy of `trained` to be damaged."""
    return Path(shutil.copytree(trained, tmp_path / "exp"))


def train(exp_dir: Path, *argv: object) -> None:
    main_of("hgpose/train.py")(["--exp-dir", str(exp_dir), *map(str, argv)])


def score(exp_dir: Path, *argv: object) -> None:
    main_of("hgpose/test.py")(["--exp-dir", str(exp_dir), "--workers", "0", *map(str, argv)])


def train_on(data: Path, exp_dir: Path, *argv: object) -> None:
    """A tiny run on the LSPET in `data`."""
    options = ["--epochs", "1", "--dataset", "lspet", "--data-dir", data, *argv]
    train(exp_dir, "--exp", "x", *TINY, *options)


def mistake(capsys: pytest.CaptureFixture[str], call: Callable[..., None], *argv: object) -> str:
    """What `call` says is wrong; it must end with status 2 and one line that begins with `error: `."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        call(*argv)
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert end.value.code == 2
    assert len(errors) == 1 and lines[-1] == errors[0], lines
    return errors[0]


def change_joints(change: Callable[[np.ndarray], np.ndarray | None]) -> Edit:
    """An edit of joints.mat: `change` works on a copy of the joints (14, 3, N), or returns others."""

    def edit(data: Path) -> None:
        joints = scipy.io.loadmat(data / "joints.mat")["joints"].copy()
        changed = change(joints)
        scipy.io.savemat(data / "joints.mat", {"joints": joints if changed is None else changed})

    return edit


def cut(path: Path) -> None:
    """Leave the first half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def each_picture(change: Edit) -> Edit:
    return lambda data: [change(path) for path in sorted((data / "images").iterdir())]


def put(where: tuple[object, ...], value: float) -> Edit:
    return change_joints(lambda joints: joints.__setitem__(where, value))


@pytest.mark.parametrize(
    "edit, message",
    [
        (shutil.rmtree, "does not exist; get lspet_dataset.zip"),
        (lambda data: (data / "joints.mat").unlink(), "holds no .* get lspet_dataset.zip"),
        (lambda data: cut(data / "joints.mat"), "joints.mat is damaged"),
        (lambda data: (data / "joints.mat").write_bytes(b""), "joints.mat is damaged"),
        (change_joints(lambda joints: joints[:12]), r"shape \(12, 3, 20\), expected .* \(14, 3, N\)"),
        (change_joints(lambda joints: joints[..., :0]), "lspet train has no people"),
        (put((3, 0, 5), np.nan), r"person 5 \(images/im00006.jpg\) has a joint that is not a finite number"),
        (put((3, 0, 5), 1e300), r"person 5 \(images/im00006.jpg\) has a joint that is not a finite number"),
        (put((slice(None), 2, 5), 0), r"person 5 \(images/im00006.jpg\) has no labelled joint"),
        (each_picture(Path.unlink), "is missing; --skip-bad-images"),
        (each_picture(cut), "is cut short .*--skip-bad-images"),
        (each_picture(lambda path: path.write_bytes(b"no picture")), "is damaged"),
    ],
)
def test_damaged_data(
    lspet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], edit: Edit, message: str
) -> None:
    edit(lspet)
    said = mistake(capsys, train_on, lspet, tmp_path)
    assert re.search(message, said), said


def test_a_file_is_no_data_folder(lspet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "joints.mat is no folder" in mistake(capsys, train_on, lspet / "joints.mat", tmp_path)


def test_boxes_outside_the_picture_work(lspet: Path, tmp_path: Path) -> None:
    change_joints(lambda joints: joints + np.array([1e6, 1e6, 0])[:, None])(lspet)
    train_on(lspet, tmp_path, "--amp", "none")  # all crops are black: normalising that in bf16 overflows


def _grey(path: Path) -> None:
    cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))


def _deep_with_alpha(path: Path) -> None:
    deep = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2BGRA).astype(np.uint16) * 257
    path.write_bytes(cv2.imencode(".png", deep)[1].tobytes())  # OpenCV goes by the content


@pytest.mark.parametrize("change", [_grey, _deep_with_alpha])
def test_pictures_of_any_kind_work(lspet: Path, tmp_path: Path, change: Edit) -> None:
    each_picture(change)(lspet)
    train_on(lspet, tmp_path)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_skipped_pictures_are_counted(
    lspet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    for row in (2, 3, 20):  # the last is to be validated on
        cut(lspet / "images" / f"im{row:05}.jpg")
    options = ["--skip-bad-images", "--workers", workers, "--iters", 0, "--valid-iters", 0, "--batch-size", 1]
    train_on(lspet, tmp_path, *options)
    said = capsys.readouterr().err
    assert "lspet train: 2 people left out, as pictures cannot be read; the first: picture " in said
    assert "lspet valid: 1 person left out, as pictures cannot be read; the first: picture " in said
    position = torch.load(tmp_path / "hgpose" / "x" / "checkpoint.pth", weights_only=True)["position"]
    assert position["step"] == 16
    assert position["seen"] >= 18  # those left out are passed over, and so they are when the run goes on


def test_skipping_every_picture_is_an_error(
    lspet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(lspet / "images")
    said = mistake(capsys, train_on, lspet, tmp_path, "--skip-bad-images")
    assert "none of the pictures can be read: picture " in said


class _Touch:
    """What a hostile checkpoint holds: unpickling it runs a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_nothing_in_a_file_is_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    touched, path = tmp_path / "touched", tmp_path / "evil.pth"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(_Touch(touched)))
    else:
        torch.save({"format": 1, "x": _Touch(touched)}, path, _use_new_zipfile_serialization=kind == "zip")
    assert "evil.pth" in mistake(capsys, score, tmp_path, "--checkpoint", path)
    assert "evil.pth" in mistake(capsys, train, tmp_path / "exp", "--exp", "x", *TINY, "--load-model", path)
    assert not touched.exists() and not (tmp_path / "exp").exists()


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"arch": "hgg"}, r"there is no architecture 'hgg' (did you mean 'hg'?)"),
        ({"arch": 5}, "is a damaged checkpoint: arch is a int"),
        ({"config": {"stacks": 1}}, "its weights do not fit hg"),
        ({"model": None}, "is a damaged checkpoint: model is a NoneType"),
        ({"skeleton": {}}, "a stored skeleton lacks name"),
        ({"format": 2}, "has checkpoint format 2; this version reads 1"),
    ],
)
def test_damaged_checkpoints(
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changed: dict[str, object],
    message: str,
) -> None:
    good = torch.load(trained / "hgpose/mpii/best.pth", weights_only=True)
    torch.save(good | changed, tmp_path / "bad.pth")
    assert message in mistake(capsys, score, tmp_path, "--checkpoint", tmp_path / "bad.pth")


@pytest.mark.parametrize("content", ["", "[]", "null", '{"options": 5}', "\xff"])
def test_damaged_options(experiments: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    (experiments / "hgpose/mpii/options.json").write_bytes(content.encode("latin1"))
    assert "options.json is damaged" in mistake(capsys, train, experiments, "-c", "mpii")
    assert "options.json is damaged" in mistake(capsys, score, experiments, "--exp", "mpii")


def test_missing_parts_of_an_experiment(experiments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = experiments / "hgpose" / "mpii"
    (folder / "best.pth").unlink()
    assert "has no best.pth yet; --last" in mistake(capsys, score, experiments, "--exp", "mpii")
    cut(folder / "checkpoint.pth")
    (folder / "previous.pth").unlink()
    assert "checkpoint.pth is damaged" in mistake(capsys, train, experiments, "-c", "mpii", "--epochs", 2)
    (folder / "checkpoint.pth").unlink()
    assert "there is no checkpoint" in mistake(capsys, train, experiments, "-c", "mpii", "--epochs", 2)


def test_a_half_written_row_does_not_spoil_the_next(experiments: Path) -> None:
    steps = experiments / "hgpose/mpii/steps.csv"
    before = steps.read_text()
    steps.write_text(before + "3,1")
    train(experiments, "-c", "mpii", "--epochs", 2)
    lines = steps.read_text().splitlines()
    assert lines[: before.count("\n")] == before.splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "2", "4", "6"]


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--exp", "../x"], "the name of a folder is wanted, not '../x'"),
        (["--exp", ""], "the name of a folder is wanted, not ''"),
        (["--exp", "x", "--device", "meta"], "device 'meta' cannot be used here"),
        (["--exp", "x", "--load-model", "~no-such-user-here/x.pth"], "there is no such home folder"),
        (["--exp", "x", "--branch", "y", "--load-model", "z.pth"], "--load-model starts from other weights"),
        (["-c"], "-c wants the name"),
        (
            ["--exp", "x", *TINY, "--batch-size", "1", "--input-res", "32"],
            "cannot learn from a single person",
        ),
        (["--exp", "x", *TINY, "--depth", "1", "--input-res", "8"], "the nearest is 16"),
    ],
)
def test_options_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    assert message in mistake(capsys, train, tmp_path, *argv)


def test_a_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    said = mistake(capsys, train, tmp_path / "file", "--exp", "x", *TINY)
    assert "cannot be made: Not a directory" in said


def test_another_optimizer_starts_without_memory(
    experiments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, options in (("a", ["--optimizer", "adam"]), ("b", ["--momentum", "0.9"])):
        train(experiments, "--exp", name, "--branch", "mpii", "--epochs", 2, *options)
        assert "starts without memory of past gradients" in capsys.readouterr().err
    train(experiments, "--exp", "c", "--branch", "mpii", "--epochs", 2)
    assert "memory" not in capsys.readouterr().err


def test_weights_that_are_not_finite_are_not_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first step of RMSprop is ten times the rate: beyond float32, while the loss before it is finite."""
    options = ["--lr", "1e38", "--iters", "1", "--epochs", "1", "--valid-every", "0"]
    said = mistake(capsys, train, tmp_path, "--exp", "x", *TINY, *options)
    assert "a weight is not finite at iteration 1" in said
    kept = torch.load(tmp_path / "hgpose/x/checkpoint.pth", weights_only=True)
    assert kept["position"]["step"] == 0 and all(value.isfinite().all() for value in kept["model"].values())


def test_networks_are_scored_on_data_of_other_joints(
    trained: Path, lspet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mpii = tmp_path / "mpii"
    write_mpii_h5(mpii, baked=False)
    write_mpii_pictures(mpii)
    score(trained, "--exp", "mpii", "--dataset", "lspet", "--data-dir", lspet, "--out", tmp_path)
    assert "PCK@0.2 of lspet valid" in capsys.readouterr().out
    score(trained, "--exp", "lsp", "--dataset", "mpii", "--data-dir", mpii, "--out", tmp_path)
    said = capsys.readouterr().out
    assert "PCKh@0.5 of mpii valid" in said and "not predicted, so not counted: pelvis, thorax" in said
    score(trained, "--exp", "lsp", "--out", tmp_path)  # synthetic people have no head size in LSP's joints
    assert "PCK@0.2 of synth valid" in capsys.readouterr().out


def test_a_signal_breaks_off_the_validation_and_the_run_goes_on_with_it(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    validate = single_person.validate_heatmaps

    def interrupted(*args: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return validate(*args)

    def not_reached(*_: object) -> None:
        raise AssertionError("the signal must have ended the validation")

    with monkeypatch.context() as patch:
        patch.setattr(single_person, "validate_heatmaps", interrupted)
        patch.setattr(supervision, "to_device", not_reached)
        with pytest.raises(SystemExit) as end:
            train(tmp_path, "--exp", "x", *TINY, "--epochs", "1", "--skeleton", "mpii")
    assert end.value.code == 130
    assert "SIGINT: stopped after iteration 3, saved; -c x goes on" in capsys.readouterr().err
    folder = tmp_path / "hgpose" / "x"
    assert not (folder / "log.csv").exists() and not (folder / "best.pth").exists()
    train(tmp_path, "-c", "x")
    resumed, straight = (
        torch.load(path / "best.pth", weights_only=True) for path in (folder, trained / "hgpose" / "mpii")
    )
    assert resumed["accuracy"] == straight["accuracy"]
    assert all(torch.equal(value, straight["model"][name]) for name, value in resumed["model"].items())


def test_a_slow_epoch_is_announced_with_the_recipe_for_laptops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "SLOW_EPOCH_SECONDS", 1e-6)
    train(tmp_path, "--exp", "x", *TINY, "--epochs", "1")
    lines = capsys.readouterr().err.splitlines()
    assert (
        lines[0].startswith("hg (num_joints 16, stacks 1, feats 16, ") and "M parameters on CPU" in lines[0]
    )
    assert lines[1] == "synth train: 24 people, 3 iterations of 4 an epoch; synth valid: 8 people"
    assert lines[3].startswith("an epoch of 3 iterations takes about 0:0")
    assert lines[3].endswith("--config recipes/laptop.yaml")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_closed_pipe_is_no_error(trained: Path, tmp_path: Path) -> None:
    argv = ["--exp", "mpii", "--exp-dir", str(trained), "--out", str(tmp_path), "--workers", "0"]
    process = subprocess.Popen(
        [sys.executable, "test.py", *argv],
        cwd=ROOT / "hgpose",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stderr
    process.stdout.close()  # as `| head` does
    said = process.stderr.read()
    assert process.wait() == 1
    assert not re.search("Traceback|Exception|error:", said), said


@pytest.mark.skipif(
    multiprocessing.get_start_method() != "fork", reason="the patch reaches forked workers only"
)
def test_a_worker_that_is_killed_is_one_line(
    lspet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Annotations, "person", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    said = mistake(capsys, train_on, lspet, tmp_path, "--workers", 1)
    assert re.search(r"prepared person \d+ of lspet train \(images/im\d+\.jpg\) has died \(SIGKILL: ", said)
    assert (tmp_path / "hgpose" / "x" / "checkpoint.pth").is_file()


@pytest.mark.slow
def test_training_with_spawned_workers(lspet: Path, tmp_path: Path) -> None:
    """As on Windows and macOS; what is trained does not depend on it."""
    train_on(lspet, tmp_path / "plain")
    (tmp_path / "sitecustomize.py").write_text(
        "import multiprocessing\nmultiprocessing.set_start_method('spawn', force=True)\n"
    )
    options = ["--exp", "x", "--exp-dir", tmp_path / "spawn", *TINY, "--epochs", 1, "--dataset", "lspet"]
    argv = [sys.executable, "train.py", *options, "--data-dir", lspet, "--workers", 2]
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    subprocess.run(list(map(str, argv)), cwd=ROOT / "hgpose", env=environment, check=True)
    spawned, plain = (
        torch.load(tmp_path / kind / "hgpose/x/checkpoint.pth", weights_only=True)["model"]
        for kind in ("spawn", "plain")
    )
    assert all(torch.equal(value, plain[name]) for name, value in spawned.items())
