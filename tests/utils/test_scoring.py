"""test.py of a single person: every protocol, kind of file and output by way of the command line."""

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from src.datasets.annotations import Annotations
from src.datasets.mpii import OFFICIAL
from src.datasets.readers import read
from src.datasets.skeletons import COCO
from src.evaluation.protocols import protocols_of
from src.models import build
from src.models.checkpoint import describe, save_checkpoint
from tests import releases
from tests.task_runner import main_of

MAKE: dict[str, Callable[[Path], Any]] = {
    "mpii": lambda folder: releases.write_mpii_h5(folder, baked=True),
    "lsp": releases.make_lsp,
    "flic": releases.write_flic_h5,
    "penn": releases.make_penn,
    "coco": releases.make_coco,
}


@pytest.fixture
def release(tmp_path: Path) -> Callable[[str], tuple[Annotations, list[Any]]]:
    """release("lsp") makes a small one: its validation people, and the options that name it."""

    def make(dataset: str) -> tuple[Annotations, list[Any]]:
        MAKE[dataset](tmp_path / dataset)
        where = ["--dataset", dataset, "--data-dir", tmp_path / dataset, "--workers", 0]
        return read(dataset, tmp_path / dataset, "valid"), where

    return make


def score(*arguments: Any) -> None:
    main_of("hgpose/test.py")([str(argument) for argument in arguments])


def write(path: Path, preds: np.ndarray) -> Path:
    content = {"preds": preds, "origin": 0}
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file.update(content)
    elif path.suffix == ".mat":
        scipy.io.savemat(path, content)
    elif path.suffix == ".npz":
        np.savez(path, preds=preds, origin=0)
    else:
        path.write_text(json.dumps({"preds": preds.tolist(), "origin": 0}))
    return path


@pytest.mark.parametrize("suffix", [".h5", ".mat", ".npz", ".json"])
@pytest.mark.parametrize("dataset", MAKE)
def test_files_of_every_kind_by_all_customary_protocols(
    release: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str], dataset: str, suffix: str
) -> None:
    people, where = release(dataset)
    path, out = write(tmp_path / f"truth{suffix}", people.joints), tmp_path / "out.json"
    score("--predictions", path, *where, "--json", out, "--bootstrap", 20)
    content = json.loads(out.read_text())
    tables = [content, *content.get("further", [])]
    if dataset == "coco":
        assert content["figures"]["AP"] == 1 and content["title"].startswith("truth on coco valid")
        assert "100.0 (100.0–100.0)" in capsys.readouterr().out
        return
    assert tuple(each["protocol"] for each in tables) == protocols_of(dataset)
    for each in tables:
        key = next(key for key in each["means"] if key.endswith("_mean"))
        column = "strict" if each["protocol"] == "pcp" else "all"
        assert each["means"][key][column] == 100
        assert each["means"][key][f"{column}_interval"] == [100, 100]
    printed = capsys.readouterr().out
    assert printed.count("Mean at") == len(tables) and "100.00…100.00" in printed


def test_results_in_the_format_of_coco(release: Callable, tmp_path: Path) -> None:
    """A file of predictions becomes results, zipped for the server; read again they have the same figures."""
    people, where = release("coco")
    rows = np.concatenate([people.joints + 2, np.ones((*people.joints.shape[:2], 3))], axis=2)
    path, first, again = write(tmp_path / "preds.h5", rows), tmp_path / "a.json", tmp_path / "b.json"
    score("--predictions", path, *where, "--submission", tmp_path / "ours.zip", "--json", first)
    with zipfile.ZipFile(tmp_path / "ours.zip") as archive:
        results = tmp_path / archive.namelist()[0]
        results.write_bytes(archive.read(results.name))
    assert results.name == "ours.json" and len(json.loads(results.read_text())) == len(people)
    score("--predictions", results, *where, "--json", again)
    figures = [json.loads(path.read_text())["figures"] for path in (first, again)]
    assert figures[0] == figures[1] and 0 < figures[0]["AP"] < 1


def test_a_sample_of_the_training_people(
    release: Callable, tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pictures of those who are looked at are scored, and no others."""
    _, where = release("coco")
    sample = ["--split", "train", "--valid-iters", 2, "--batch-size", 1]
    score("--checkpoint", checkpoint, *where, *sample, "--out", tmp_path / "out")
    with h5py.File(tmp_path / "out/preds.h5") as file:
        pictures = set(file["index"][:].tolist())
    found = json.loads((tmp_path / "out/results.json").read_text())
    assert {each["image_id"] for each in found} == pictures and len(pictures) == 2
    assert "2 people" in capsys.readouterr().err
    where[1] = "lsp"
    releases.make_lsp(tmp_path / "lsp")
    where[3] = tmp_path / "lsp"
    score("--checkpoint", checkpoint, *where, *sample)
    printed = capsys.readouterr().out
    assert "PCK@0.2 of lsp train" in printed and "PCP@0.5 of lsp train" in printed
    assert "not predicted, so not counted: neck, head top" in printed


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    network = build("hg", COCO.num_joints, stacks=1, feats=8, modules=1, depth=2)
    path = tmp_path / "tiny.pth"
    save_checkpoint(path, describe(network, COCO.to_dict(), 64))
    return path


def test_a_network_in_annotated_and_in_detected_boxes(
    release: Callable, tmp_path: Path, checkpoint: Path
) -> None:
    people, where = release("coco")
    score("--checkpoint", checkpoint, *where, "--out", tmp_path / "a", "--json", tmp_path / "a.json")
    found = json.loads((tmp_path / "a/results.json").read_text())
    assert {each["image_id"] for each in found} == set(people.index.tolist())
    boxes = [
        {"image_id": int(image), "category_id": 1, "bbox": [4.0, 6.0, 40.0, 60.0], "score": sure}
        for image in people.index
        for sure in (0.9, 0.3)
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    detected = ["--boxes", tmp_path / "boxes.json", "--box-score", 0.5]
    score(
        "--checkpoint", checkpoint, *where, *detected, "--out", tmp_path / "b", "--json", tmp_path / "b.json"
    )
    # equal boxes of a picture show the same person
    found = json.loads((tmp_path / "b/results.json").read_text())
    assert sorted(each["image_id"] for each in found) == sorted(set(people.index.tolist()))
    with h5py.File(tmp_path / "b/preds.h5") as file:
        assert len(file["preds"]) == len(people), "the boxes with a lower score are left out"
        sure = [row[row > 0.2] for row in file["preds"][:, :, 4]]
        expected = {
            int(i): 0.9 * row.sum() / max(1, len(row)) for i, row in zip(file["index"], sure, strict=True)
        }
    assert {each["image_id"]: each["score"] for each in found} == pytest.approx(expected)
    for path in (tmp_path / "a.json", tmp_path / "b.json"):
        assert set(json.loads(path.read_text())["figures"]) >= {"AP", "AR"}


def test_a_submission_to_mpii(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    releases.write_mpii_official(tmp_path)
    people = read("mpii", tmp_path, "test")
    path = write(tmp_path / "preds.h5", np.full((len(people), 16, 2), 7.0))
    where = ["--dataset", "mpii", "--data-dir", tmp_path, "--split", "test"]
    score("--predictions", path, *where, "--submission", tmp_path / "ours.mat")
    after = scipy.io.loadmat(tmp_path / "ours.mat", squeeze_me=True, struct_as_record=False)["RELEASE"]
    assert after.annolist[people.index[0]].annorect[0].annopoints.point[15].x == 8
    said = capsys.readouterr()
    assert "nothing is scored" in said.out + said.err
    assert "ours.mat" in said.out + said.err


@pytest.mark.parametrize(
    ("dataset", "arguments", "message"),
    [
        ("lsp", ["--submission", "a.mat"], "there is no server for lsp"),
        ("mpii", ["--submission", "a.zip"], "must end in .mat for mpii"),
        ("mpii", ["--submission", "a.mat"], f"holds no {OFFICIAL[0]}"),
        ("coco", ["--submission", "a.zip", "--protocol", "pck"], "what --protocol ap scores"),
        ("lsp", ["--protocol", "pck", "pcx"], "lsp is not scored by 'pcx' (did you mean 'pcp'?"),
        ("penn", ["--protocol", "ap"], "penn is not scored by 'ap'"),
    ],
)
def test_errors(
    release: Callable,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    dataset: str,
    arguments: list[str],
    message: str,
) -> None:
    people, where = release(dataset)
    path = write(tmp_path / "truth.npz", people.joints)
    with pytest.raises(SystemExit) as stopped:
        score("--predictions", path, *where, *arguments)
    assert stopped.value.code == 2
    assert re.search(re.escape(message), capsys.readouterr().err)


def test_maps_and_pictures_are_kept_with_predictions(
    release: Callable, tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Row by row what was decoded, at two scales; without a folder there is nowhere to keep them."""
    people, where = release("lsp")
    common = ["--checkpoint", checkpoint, *where, "--batch-size", 1, "--save-heatmaps", "--save-input"]
    score(*common, "--out", tmp_path, "--scales", 2, 1, "--decode", "dark")
    with h5py.File(tmp_path / "preds.h5") as file:
        preds, heatmaps, pictures = (file[key][:] for key in ("preds", "heatmaps", "input"))
    side, joints = pictures.shape[1], preds.shape[1]
    assert pictures.shape == (len(people), side, side, 3) and pictures.dtype == np.uint8
    assert heatmaps.shape == (len(people), joints, side // 4, side // 4) and heatmaps.dtype == np.float16
    np.testing.assert_allclose(heatmaps.max((2, 3)), preds[..., 4], rtol=1e-3, atol=1e-6)
    assert f"inputs of {side}, {side // 2} px" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        score(*common)
    assert "--out says where" in capsys.readouterr().err


def test_groups_of_people(release: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Frames by action add up to all; a data set without actions, and AP, are refused."""
    _, where = release("penn")
    people = read("penn", tmp_path / "penn", "test")
    path, out = write(tmp_path / "truth.h5", people.joints), tmp_path / "out.json"
    score("--predictions", path, *where, "--split", "test", "--by", "action", "view", "--json", out)
    content = json.loads(out.read_text())
    by_action = content["by"]["action"]
    assert list(by_action) == sorted(set(vars(people)["action"].astype(str))) and len(by_action) > 1
    assert sum(each["people"] for each in by_action.values()) == content["people"]
    assert all("by" in each for each in content["further"])
    assert capsys.readouterr().out.count("by action") == 1 + len(content["further"])
    for arguments, reason in (
        (["--dataset", "lsp", "--by", "action"], "lsp does not say what people do"),
        (["--dataset", "coco", "--by", "view"], "--protocol ap has none"),
    ):
        with pytest.raises(SystemExit):
            score("--predictions", path, *arguments)
        assert reason in capsys.readouterr().err


def test_the_other_torso(release: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An error of 0.2 of one torso is right by it, and wrong by the other, which is shorter."""
    people, where = release("lsp")
    names = people.skeleton.joints
    left, right = (
        np.linalg.norm(people.joints[:, names.index(one)] - people.joints[:, names.index(other)], axis=1)
        for one, other in (("left shoulder", "right hip"), ("right shoulder", "left hip"))
    )
    assert (np.abs(left - right) > 1e-3).all()
    shift = 0.1 * (left + right)
    path, out = (
        write(tmp_path / "preds.h5", people.joints + [1, 0] * shift[:, None, None]),
        tmp_path / "o.json",
    )
    for side, torso in (("left", left), ("right", right)):
        score("--predictions", path, *where, "--protocol", "pck", "--torso", side, "--json", out)
        content = json.loads(out.read_text())
        share = 100 * (shift <= 0.2 * torso).mean()
        assert content["means"]["pck_mean"]["all"] == pytest.approx(share)
        assert f"torso from {side} shoulder to" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        score("--predictions", path, *where, "--protocol", "pcp", "--torso", "left")
    assert "--torso is for --protocol pck" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--predictions FILE --save-heatmaps", "--save-heatmaps is about what a network predicts"),
        ("--predictions FILE --pictures 4", "--pictures is about what a network predicts"),
        ("--predictions FILE --out here", "--out is about what a network predicts"),
        ("--predictions FILE --last", "--last is about what a network predicts"),
        ("--predictions FILE --no-flip-test", "--no-flip-test is about what a network predicts"),
        ("--predictions FILE --scales 1 2", "--scales is about what a network predicts"),
        ("--predictions FILE --boxes FILE", "--boxes is for --dataset coco, not for lsp"),
        ("--checkpoint FILE --last", "--last is about the checkpoints of --exp NAME"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    capsys: pytest.CaptureFixture[str], options: str, message: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        score("--dataset", "lsp", *options.split())
    assert message in capsys.readouterr().err
