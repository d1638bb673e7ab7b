"""The command that exports: what it writes and says, and what it refuses, leaving nothing behind."""

from pathlib import Path

import pytest
import torch

from src import models, pose
from src.inference import agreement
from src.models.checkpoint import describe, save_checkpoint
from tests.exporting import FIVE, loaded
from tests.task_runner import load_script

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

tool = load_script(Path(__file__).resolve().parents[2] / "tools" / "export.py")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "best.pth"
    network = loaded("hg", 64, stacks=1, feats=16, depth=1).network
    save_checkpoint(path, describe(network, FIVE.to_dict(), 64))
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What is said by a command that fails as it should."""
    with pytest.raises(SystemExit) as stopped:
        tool.main([str(argument) for argument in arguments])
    assert stopped.value.code == 2
    out, said = capsys.readouterr()
    assert not out and said.startswith("error: ") and said.count("\n") == 1
    return said


def test_writes_a_file_that_answers_alike(checkpoint, tmp_path, capsys):
    out = tmp_path / "new" / "best.onnx"
    tool.main([str(checkpoint), "--out", str(out), "--decode", "--fp16", "--opset", "18"])
    said = capsys.readouterr()
    assert "hg, 5 joints, 64 px" in said.out and "joints: at most 0.000 px apart" in said.out
    assert said.out.count("images/s one at a time") == 2 and f"wrote {out}" in said.err
    assert [path.name for path in out.parent.iterdir()] == ["best.onnx"]
    assert pose.load(out).skeleton == FIVE


def test_writes_a_small_checkpoint_of_what_is_for_use(tmp_path, capsys):
    averaged, newest = (loaded("hg", 64, stacks=1, feats=16, depth=1).network for _ in range(2))
    state = describe(newest, FIVE.to_dict(), 64, 7.5)
    path, out = tmp_path / "best.pth", tmp_path / "small.pth"
    save_checkpoint(path, state | {"ema": averaged.state_dict(), "optimizer": [torch.zeros(10**5)]})
    tool.main([str(path), "--out", str(out), "--fp16"])
    assert "outputs: at most" in capsys.readouterr().out
    assert out.stat().st_size < path.stat().st_size / 4
    small = models.load(out)
    assert (small.weights, small.target_mass, small.skeleton["joints"]) == ("model", 7.5, list(FIVE.joints))
    for name, value in averaged.state_dict().items():
        kept = value.half().float() if value.ndim > 1 else value  # variances may not fit into float16
        assert torch.equal(small.network.state_dict()[name], kept), name


def test_replaces_a_file_only_when_it_is_told_to(checkpoint, tmp_path, capsys, monkeypatch):
    out = tmp_path / "best.onnx"
    out.write_text("mine")
    assert "exists already; --overwrite replaces it" in refused(capsys, checkpoint, "--out", out)
    monkeypatch.setitem(agreement.LIMITS, "float32", agreement.LIMITS["float32"]._replace(outputs=0.0))
    assert "would not answer" in refused(capsys, checkpoint, "--out", out, "--overwrite")
    assert out.read_text() == "mine"
    monkeypatch.undo()
    tool.main([str(checkpoint), "--out", str(out), "--overwrite"])
    assert f"wrote {out}" in capsys.readouterr().err and pose.load(out).skeleton == FIVE


def test_does_not_replace_the_checkpoint_itself(checkpoint, capsys):
    before, folder = checkpoint.read_bytes(), checkpoint.parent
    same = folder / ".." / folder.name / checkpoint.name
    said = refused(capsys, checkpoint, "--out", same, "--overwrite")
    assert "is the checkpoint itself" in said and checkpoint.read_bytes() == before


def test_a_file_that_answers_otherwise_is_not_kept(checkpoint, tmp_path, capsys, monkeypatch):
    for precision, limits in agreement.LIMITS.items():
        monkeypatch.setitem(agreement.LIMITS, precision, limits._replace(outputs=0.0))
    said = refused(capsys, checkpoint, "--out", tmp_path / "best.onnx")
    assert "best.onnx would not answer as its network" in said
    said = refused(capsys, checkpoint, "--out", tmp_path / "best.pth", "--fp16")
    assert "best.pth would not answer as its network" in said
    assert not list(tmp_path.iterdir())


def test_refusals(checkpoint, tmp_path, capsys, monkeypatch):
    out = tmp_path / "best.onnx"
    assert "there is no checkpoint" in refused(capsys, tmp_path / "no.pth", "--out", out)
    (tmp_path / "text.pth").write_text("no network")
    assert "is damaged, or is no PyTorch" in refused(capsys, tmp_path / "text.pth", "--out", out)
    assert "must end in .onnx or .pth" in refused(capsys, checkpoint, "--out", tmp_path / "best.pt")
    assert "--decode is for ONNX" in refused(capsys, checkpoint, "--out", tmp_path / "a.pth", "--decode")
    assert "--opset is 13 to 20, not 21" in refused(capsys, checkpoint, "--out", out, "--opset", 21)
    assert "invalid int value: 'x'" in refused(capsys, checkpoint, "--out", out, "--opset", "x")
    inside = tmp_path / "text.pth" / "best.onnx"
    assert "text.pth cannot be made" in refused(capsys, checkpoint, "--out", inside)
    assert not out.exists()
    monkeypatch.setattr(tool, "find_spec", lambda name: None if name == "onnx" else name)
    said = refused(capsys, checkpoint, "--out", tmp_path / "other.onnx")
    assert said == "error: exporting needs onnx: pip install -e '.[export]'\n"
