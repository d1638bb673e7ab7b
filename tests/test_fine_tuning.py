"""The line of experiments from one data set to another, as older scripts had it, on drawn clips."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from src.datasets import readers
from src.datasets.files import load_h5, load_mat
from src.datasets.skeletons import PENN
from src.datasets.synth import clips
from src.errors import UserError
from src.models.checkpoint import read_checkpoint
from src.utils.experiment import read_rows
from tests.releases import make_lspet
from tests.task_runner import TINY, main_of

SIDE = 96


@pytest.fixture(scope="module")
def penn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Penn Action with 24 drawn clips of two frames, cut."""
    folder = tmp_path_factory.mktemp("penn")
    clips.main(["--out", str(folder), "--clips", "24", "--frames", "2", "--side", str(SIDE)])
    main_of("data/prepare.py")(["penn", "--data-dir", str(folder)])
    return folder


def test_drawn_clips_are_a_release(penn: Path) -> None:
    splits = {split: readers.read("penn", penn, split) for split in ("train", "valid", "test")}
    # every third clip is for test; of the 8 left of each action the last 9.2 % are one
    assert [len(people) for people in splits.values()] == [28, 4, 16]
    labels = load_mat(penn / "Penn_Action" / "labels" / "0001.mat", ["dimensions", "bbox", "train", "action"])
    assert labels["dimensions"].tolist() == [[SIDE, SIDE, 2]] and labels["action"].item() == "upright"
    assert (labels["bbox"] >= 1).all() and (labels["bbox"] <= SIDE).all()
    for people in splits.values():
        sides = 200 * people.scale  # of the window
        assert (sides <= SIDE).all()
        seen = people.visible > 0
        assert 0.4 < seen.mean() < 1 and (people.joints[seen] >= 0).all()
        assert (people.joints[seen] < np.repeat(sides, seen.sum(1))[:, None]).all()


def test_a_clip_is_one_person_who_moves() -> None:
    (first, labels), (last, moved) = clips.render_clip(1, 2, SIDE, "upright")
    assert (first == next(clips.render_clip(1, 2, SIDE, "upright"))[0]).all()
    assert (labels.points != moved.points).any()
    corners = [picture[:8, :8].astype(int) for picture in (first, last)]  # of what stands still
    assert abs(corners[0] - corners[1]).mean() < 12


def test_clips_do_not_replace_a_release(penn: Path) -> None:
    with pytest.raises(UserError, match="Penn_Action exists already; --out names another folder"):
        clips.write_clips(penn, 1, 1, SIDE)


@pytest.mark.slow
def test_the_line_from_one_data_set_to_another(
    penn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_lspet(tmp_path / "lspet")
    train, test = main_of("hgpose/train.py"), main_of("hgpose/test.py")
    runs, where = tmp_path / "hgpose", ["--exp-dir", str(tmp_path)]
    data = ["--dataset", "penn", "--data-dir", str(penn)]
    train(
        ["--exp", "first", *where, *TINY, "--dataset", "lspet", "--data-dir", str(tmp_path / "lspet"),
         "--epochs", "1"]
    )  # fmt: skip
    start = ["--load-model", str(runs / "first" / "best.pth")]
    train(["--exp", "ft", *where, *TINY, *data, *start, "--epochs", "2", "--valid-iters", "0"])
    assert re.search(r"\d+ tensors loaded; 2 made anew for other joints \(heads.0\)", capsys.readouterr().err)
    assert read_checkpoint(runs / "ft" / "best.pth")["config"]["num_joints"] == PENN.num_joints

    # --epochs is the total, --more-epochs are further ones; what is typed is all that changes in a branch
    train(["--exp", "ft", "--continue", *where, "--more-epochs", "1", "--lr", "1e-4"])
    rows = read_rows(runs / "ft" / "log.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"] and rows[2]["lr"] == "0.0001"
    before, parent = _digests(runs / "ft"), _options(runs / "ft")
    train(["--exp", "branch", "--branch", "ft", *where, "--more-epochs", "2", "--early-stop", "5"])
    assert _digests(runs / "ft") == before
    changed = {key for key, value in _options(runs / "branch").items() if value != parent[key]}
    assert changed == {"exp", "branch", "continue", "epochs", "early-stop"}
    assert [row["epoch"] for row in read_rows(runs / "branch" / "log.csv")] == ["4", "5"]

    # predictions alone, of all test frames in order; best and newest weights
    train(["--exp", "final", "--branch", "ft", *where, "--epochs", "0", "--final-predictions"])
    final = load_h5(runs / "final" / "final_preds.h5", ["preds", "idxs"])
    assert final["preds"].shape == (16, PENN.num_joints, 5) and final["idxs"].tolist() == list(range(16))
    for choice in ([], ["--last"]):
        test(["--exp", "ft", *where, *choice, "--split", "test", "--workers", "0"])
        shown = capsys.readouterr().out
        assert all(title in shown for title in ("PCK-crop@0.05", "PCK-window@0.05", "PCK-person@0.2"))


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _options(folder: Path) -> dict[str, object]:
    return json.loads((folder / "options.json").read_text())["options"]
