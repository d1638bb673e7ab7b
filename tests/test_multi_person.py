"""The multi-person task as users run it: training, its log and checkpoints, scoring, and what cannot be."""

import csv
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src import models
from src.datasets.coco import read_scenes
from src.datasets.crops import Batch
from src.datasets.scene_annotations import SceneAnnotations
from src.datasets.skeletons import COCO, LSP, Skeleton
from src.evaluation.coco import FIGURES
from src.evaluation.grouping import People
from src.extensions import AE
from src.models.checkpoint import describe, save_checkpoint
from src.utils import multi_person, scene_scoring
from src.utils.experiment import Experiment
from tests.releases import COCO_NAMES, coco_content, make_coco, write_coco
from tests.task_runner import ROOT, load_script, main_of

SMALL = """--arch hg --stacks 1 --feats 8 --depth 1 --network stem_feats=8 --input-res 32 --sigma 1
           --batch-size 2 --iters 3 --epochs 1 --workers 0 --log-every 2 --device cpu""".split()
LOSSES = ["loss", "heatmap", "pull", "push"]


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COCO of 2017: 8 pictures to train, 4 of which have labelled people and 2 nobody; 4 to validate."""
    folder = tmp_path_factory.mktemp("data") / "coco"
    make_coco(folder)
    return folder


@pytest.fixture(autouse=True)
def _no_pictures_in_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take most of the time of a tiny validation; the run of `trained` has them."""
    monkeypatch.setattr(Experiment, "add_picture", lambda *_: None)


@pytest.fixture
def own_coco(coco: Path, tmp_path: Path) -> Path:
    """A copy of it to be damaged."""
    return Path(shutil.copytree(coco, tmp_path / "coco"))


@pytest.fixture(scope="module")
def trained(coco: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of experiments with a trained tiny run of two epochs, `hgpose-ae/a`."""
    exp_dir = tmp_path_factory.mktemp("exp")
    train(exp_dir, coco, "--exp", "a", "--epochs", 2, "--json", exp_dir / "figures.json")
    return exp_dir


def train(exp_dir: Path, data: Path | None, *argv: object) -> Path:
    """A tiny run, by default on the COCO in `data`; the folder of the run."""
    options = [*SMALL, "--dataset", "coco", "--data-dir", data] if data else SMALL
    main_of("hgpose-ae/train.py")(["--exp-dir", str(exp_dir), *map(str, [*options, *argv])])
    words = [*map(str, argv)]
    return exp_dir / "hgpose-ae" / words[words.index("--exp") + 1]


def go_on(exp_dir: Path, *argv: object) -> None:
    main_of("hgpose-ae/train.py")(["--exp-dir", str(exp_dir), *map(str, argv)])


def score(exp_dir: Path, *argv: object) -> None:
    main_of("hgpose-ae/test.py")(["--exp-dir", str(exp_dir), "--workers", "0", *map(str, argv)])


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a log but for their times."""
    with open(path, newline="") as file:
        return [row | {"seconds": ""} for row in csv.DictReader(file)]


def state(folder: Path, name: str = "checkpoint.pth") -> dict[str, Any]:
    return torch.load(folder / name, weights_only=True)


def mistake(capsys: pytest.CaptureFixture[str], call: Callable[..., object], *argv: object) -> str:
    """What `call` says is wrong; it must end with status 2 and one line that begins with `error: `."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        call(*argv)
    lines = capsys.readouterr().err.splitlines()
    assert end.value.code == 2
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:], lines
    return lines[-1]


# Training.


def test_the_log_has_losses_accuracies_and_average_precision(trained: Path) -> None:
    first, last = rows(trained / "hgpose-ae/a/log.csv")
    joints = [f"acc_{joint.replace(' ', '_')}" for joint in COCO.joints]
    columns = [f"{split}_{name}" for split in ("train", "valid") for name in (*LOSSES, "accuracy", *joints)]
    assert list(first) == ["epoch", "step", "seconds", "lr", *columns, "valid_ap", "valid_ap50", "valid_ar"]
    assert last["epoch"] == "2" and last["step"] == "6"
    assert all(0 <= float(last[name]) <= 1 for name in ("valid_ap", "valid_ap50", "valid_ar"))
    for split in ("train", "valid"):
        heatmap, pull, push = (float(last[f"{split}_{name}"]) for name in LOSSES[1:])
        assert float(last[f"{split}_loss"]) == pytest.approx(heatmap + 1e-3 * (pull + push), rel=1e-5)
        assert heatmap > 0 and pull > 0 and push > 0
    steps = rows(trained / "hgpose-ae/a/steps.csv")
    assert list(steps[0]) == ["step", "epoch", "seconds", "lr", *LOSSES, "accuracy"]
    figures = json.loads((trained / "figures.json").read_text())
    assert figures["best_ap"] == max(float(row["valid_ap"]) for row in (first, last))
    assert (trained / "hgpose-ae/a/best.pth").is_file()


def precisions(values: Iterator[float], *_: object) -> tuple[list[Any], dict[str, float]]:
    """In the place of `multi_person.score`: the next AP."""
    return [], dict.fromkeys(FIGURES, next(values))


@pytest.mark.parametrize(
    ("reached", "best"), [([0.2, 0.5, 0.3], 2), ([math.nan, 0.0], 2), ([math.nan], None)]
)
def test_the_best_is_that_of_the_highest_average_precision(
    coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reached: list[float], best: int | None
) -> None:
    """NaN, where nobody is annotated who counts, is none; without any the last weights are the best known."""
    monkeypatch.setattr(multi_person, "score", partial(precisions, iter(reached)))
    options = ["--epochs", len(reached), "--iters", 1, "--json", tmp_path / "figures.json"]
    folder = train(tmp_path, coco, "--exp", "x", *options)
    kept = state(folder, "best.pth")
    assert kept.get("epoch") == best
    assert kept.get("ap") == (None if best is None else reached[best - 1])
    assert json.loads((tmp_path / "figures.json").read_text())["best_ap"] == kept.get("ap")
    written = ["" if math.isnan(value) else f"{value:.7g}" for value in reached]
    assert [row["valid_ap"] for row in rows(folder / "log.csv")] == written


def test_a_resumed_run_equals_a_straight_one(coco: Path, tmp_path: Path) -> None:
    options = ["--schedule", "cosine", "--epochs", 2]
    straight = train(tmp_path, coco, "--exp", "straight", *options)
    resumed = train(tmp_path, coco, "--exp", "resumed", *options, "--max-iters", 2)  # within epoch 1
    go_on(tmp_path, "-c", "resumed", "--max-iters", 5)  # within epoch 2
    go_on(tmp_path, "-c", "resumed", "--max-iters", 0)
    one, other = state(straight)["model"], state(resumed)["model"]
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    whole = {row["step"]: row for row in rows(resumed / "log.csv")}
    assert all(row == whole[row["step"]] for row in rows(straight / "log.csv"))


def test_a_branch_looks_for_a_best_of_its_own(trained: Path, coco: Path, tmp_path: Path) -> None:
    exp_dir = Path(shutil.copytree(trained, tmp_path / "exp"))
    before = (exp_dir / "hgpose-ae/a/checkpoint.pth").read_bytes()
    go_on(exp_dir, "--exp", "b", "--branch", "a", "--epochs", 3, "--lr", 1e-5)
    assert [row["epoch"] for row in rows(exp_dir / "hgpose-ae/b/log.csv")] == ["3"]
    assert state(exp_dir / "hgpose-ae/b")["position"]["best_epoch"] == 3
    assert (exp_dir / "hgpose-ae/a/checkpoint.pth").read_bytes() == before


def save_network(path: Path, arch: str, skeleton: Skeleton, input_res: int = 32, **config: Any) -> Path:
    """The checkpoint of a network with fresh weights."""
    torch.manual_seed(1)
    network = models.build(arch, skeleton.num_joints, **config)
    save_checkpoint(path, describe(network, skeleton.to_dict(), input_res))
    return path


HG = {"stacks": 1, "feats": 8, "depth": 1, "stem_feats": 8}


def test_weights_of_a_single_person_network_but_for_its_heads(
    coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_network(tmp_path / "single.pth", "hg", COCO, **HG)
    folder = train(tmp_path, coco, "--exp", "x", "--epochs", 0, "--load-model", path)
    said = capsys.readouterr().err
    assert re.search(r"single.pth: \d+ tensors loaded; 2 made anew .* \(heads\.0\)", said)
    single, started = state(tmp_path, "single.pth")["model"], state(folder)["model"]
    assert single["heads.0.weight"].shape[0] == 17 and started["heads.0.weight"].shape[0] == 34
    kept = [name for name in single if not name.startswith("heads")]
    assert all(torch.equal(single[name], started[name]) for name in kept)


@pytest.mark.parametrize(
    ("options", "maps"),
    [
        (["--arch", "hg", "--tag-dim", 2, "--loss", "logistic"], 51),
        (["--arch", "hg-ae", "--network", "increase=4", "norm=batch", "--tag-dim", 2], 51),
        (["--arch", "hg-ae", "--stacks", 2, "--network", "increase=8", "unused=34", "--sigma", 0], 68),
    ],
    ids=["hg", "hg-ae with batch normalisation", "hg-ae"],
)
def test_networks(coco: Path, tmp_path: Path, options: list[object], maps: int) -> None:
    folder = train(tmp_path, coco, "--exp", "x", *options)
    assert state(folder)["model"]["heads.0.weight"].shape[0] == maps
    score(tmp_path, "--exp", "x")
    results = json.loads((folder / "results.json").read_text())
    assert all(len(each["keypoints"]) == 51 for each in results)


def test_a_batch_is_learnt_in_parts(coco: Path, tmp_path: Path) -> None:
    """Without batch normalisation the losses are those of the whole, but for the order of sums."""
    options = ["--arch", "hg-ae", "--network", "increase=4", "--log-every", 1, "--valid-every", 0]
    options += ["--amp", "none"]  # where the processor has bf16, its rounding would be another one in parts
    whole, parts = (
        rows(train(tmp_path, coco, "--exp", name, *options, "--accumulate", count) / "steps.csv")
        for name, count in (("whole", 1), ("parts", 2))
    )
    for one, other in zip(whole, parts, strict=True):
        for name in LOSSES:
            assert float(one[name]) == pytest.approx(float(other[name]), rel=1e-4)  # of three steps of Adam


@pytest.mark.slow
def test_both_forms_of_the_loss_learn_the_same(
    ae_form: str, trained: Path, coco: Path, tmp_path: Path
) -> None:
    folder = train(tmp_path, coco, "--exp", "x", "--epochs", 2)
    for one, other in zip(rows(folder / "log.csv"), rows(trained / "hgpose-ae/a/log.csv"), strict=True):
        for name in ("train_loss", "train_pull", "train_push", "valid_loss"):
            assert float(one[name]) == pytest.approx(float(other[name]), rel=1e-4)


@pytest.mark.slow
def test_network_and_loss_compile_into_one_graph(
    coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    compile_ = torch.compile

    def without_compiler(function: Callable[..., Any], fullgraph: bool) -> Any:
        asked.append(fullgraph)
        return compile_(function, fullgraph=fullgraph, backend="aot_eager")

    monkeypatch.setattr(torch, "compile", without_compiler)
    torch.compiler.reset()
    options = ["--loss", "logistic", "--valid-every", 0]
    eager, compiled = (
        rows(train(tmp_path, coco, "--exp", name, "--compile", name, *options) / "log.csv")
        for name in ("none", "default")
    )
    assert asked == [True]  # a break in the graph would be an error
    for name in ("train_loss", "train_heatmap", "train_pull", "train_push"):
        assert float(compiled[0][name]) == pytest.approx(float(eager[0][name]), rel=1e-4)


def test_synthetic_scenes_need_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--synth-size", 4, 2, "--final-predictions"]
    folder = train(tmp_path, None, "--exp", "x", *options, "--max-people", 2)
    said = capsys.readouterr().err
    assert "synth train: 4 pictures, 3 iterations of 2 an epoch; synth valid: 2 pictures" in said
    assert re.search(r"synth train: \d people beyond --max-people 2 are masked", said)
    assert isinstance(json.loads((folder / "final_results.json").read_text()), list)
    score(tmp_path, "--exp", "x", "--split", "test")
    assert "x on synth test" in capsys.readouterr().out
    stored = folder / "results.json"
    score(tmp_path, "--predictions", stored, "--synth-size", 4, 2, "--split", "test", "--input-res", 32)
    assert "results on synth test" in capsys.readouterr().out


# Which pictures there are to learn from.


@pytest.mark.parametrize(
    ("options", "train_pictures"),
    [((), 4), (("--empty-share", 1), 6), (("--empty-share", 0.5), 5), (("--mask-people",), 4)],
)
def test_pictures_to_learn_from(
    coco: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[object, ...],
    train_pictures: int,
) -> None:
    train(tmp_path, coco, "--exp", "x", "--epochs", 0, *options)
    said = capsys.readouterr().err
    assert f"coco train: {train_pictures} pictures, 3 iterations" in said and "coco valid: 4 pictures" in said


def test_the_release_and_what_is_held_out_of_it_are_stored_with_the_run(
    own_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_coco(own_coco, 2014)
    held_out = tmp_path / "valid_id"
    held_out.write_text("11\n12\n18\n")
    options = ["--coco-year", 2014, "--valid-ids", held_out, "--empty-share", 1]
    folder = train(tmp_path, own_coco, "--exp", "x", *options)
    said = capsys.readouterr().err
    # of 8 pictures 5 are left, of which one shows people without labelled joints
    assert "coco train: 4 pictures" in said and "coco valid: 3 pictures" in said
    shutil.rmtree(own_coco / "images" / "train2017")
    score(tmp_path, "--exp", "x")
    assert re.search(r"on coco valid: \d+ people found in 3 pictures", capsys.readouterr().err)
    score(tmp_path, "--exp", "x", "--split", "train")
    assert re.search(r"on coco train: \d+ people found in 5 pictures", capsys.readouterr().err)  # all of them
    assert state(folder)["position"]["step"] == 3


def test_people_beyond_the_limit_are_dropped_with_their_number(
    coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, coco, "--exp", "x", "--max-people", 1)
    assert "coco train: 2 people beyond --max-people 1 are masked\n" in capsys.readouterr().err
    train(tmp_path, coco, "--exp", "y", "--max-people", 2, "--epochs", 0)
    assert "beyond" not in capsys.readouterr().err


def test_validation_pictures_without_people(
    coco: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """There is a loss, but no AP: an empty cell, a dash, null."""
    (tmp_path / "valid_id").write_text("13\n")
    folder = train(tmp_path, coco, "--exp", "x", "--valid-ids", tmp_path / "valid_id", "--batch-size", 1)
    (row,) = rows(folder / "log.csv")
    assert float(row["valid_heatmap"]) > 0 and float(row["valid_pull"]) == 0 and row["valid_ap"] == ""
    assert not caplog.text  # TensorBoard would complain of NaN
    assert (folder / "best.pth").is_file()
    assert re.search(r"\| valid loss \S+ accuracy – AP – \|", capsys.readouterr().err)
    score(tmp_path, "--exp", "x", "--json", tmp_path / "figures.json", "--pictures", 1)
    assert capsys.readouterr().out.splitlines()[1].split()[-10:] == ["–"] * 10
    assert set(json.loads((tmp_path / "figures.json").read_text())["figures"].values()) == {None}


def cut(path: Path) -> None:
    """Leave the first half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def cut_after_an_epoch(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    log_epoch = Experiment.log_epoch

    def log_and_cut(self: Experiment, row: dict[str, Any]) -> None:
        log_epoch(self, row)
        if row["epoch"] == 1:
            cut(path)

    monkeypatch.setattr(Experiment, "log_epoch", log_and_cut)


@pytest.mark.parametrize("asked", [[], ["--skip-bad-images"]])
def test_a_picture_that_breaks_in_training_is_left_out(
    own_coco: Path,
    tmp_path: Path,
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = own_coco / "images/train2017/000000000011.jpg"
    cut_after_an_epoch(monkeypatch, broken)
    folder = train(tmp_path, own_coco, "--exp", "x", "--epochs", 3, *asked)
    said = capsys.readouterr().err
    assert f"coco train: 1 picture left out, as pictures cannot be read; the first: picture {broken}" in said
    assert [row["step"] for row in rows(folder / "log.csv")] == ["3", "6", "9"]


def test_pictures_that_break_between_runs_are_left_out_up_to_the_final_predictions(
    own_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that goes on is past its first epoch. What scores it later is strict again."""
    train(tmp_path, own_coco, "--exp", "x", "--epochs", 1)
    cut(own_coco / "images/train2017/000000000011.jpg")
    cut(own_coco / "images/val2017/000000000101.jpg")
    capsys.readouterr()
    go_on(tmp_path, "--exp", "x", "--continue", "--epochs", 2, "--final-predictions")
    said = capsys.readouterr().err
    assert said.count("coco train: 1 picture left out") == 1
    assert said.count("coco valid: 1 picture left out") == 2  # in validation, and in the final predictions
    assert (tmp_path / "hgpose-ae/x/final_results.json").is_file()
    assert state(tmp_path / "hgpose-ae/x")["position"]["step"] == 6
    assert "000000000101.jpg is cut short" in mistake(capsys, score, tmp_path, "--exp", "x")


def test_a_report_leaves_out_a_picture_that_cannot_be_read(
    own_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("plotly", reason="reports are drawn with Plotly: pip install -e '.[report]'")
    folder = train(tmp_path, own_coco, "--exp", "x")
    cut(own_coco / "images/val2017/000000000101.jpg")
    go_on(tmp_path, "--exp", "x", "--continue", "--report")
    assert "run on 3 of 4 pictures" in (folder / "report.html").read_text()
    assert "coco valid: 1 picture left out" in capsys.readouterr().err


def test_a_broken_picture_in_the_first_validation_ends_the_run(
    own_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut(own_coco / "images/val2017/000000000101.jpg")
    said = mistake(capsys, train, tmp_path, own_coco, "--exp", "x", "--epochs", 2)
    assert "000000000101.jpg is cut short" in said


def test_a_broken_picture_ends_the_run_where_asked_and_nothing_is_lost(
    own_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_after_an_epoch(monkeypatch, own_coco / "images/train2017/000000000011.jpg")
    options = ["--exp", "x", "--epochs", 3, "--no-skip-bad-images"]
    said = mistake(capsys, train, tmp_path, own_coco, *options)
    assert "000000000011.jpg is cut short" in said and "--skip-bad-images leaves such pictures out" in said
    assert state(tmp_path / "hgpose-ae/x")["position"]["epoch"] == 1


def test_pictures_left_out_are_not_scored(
    own_coco: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_coco / "images/val2017/000000000101.jpg").unlink()
    options = ["--exp", "a", "--data-dir", own_coco, "--out", tmp_path]
    assert "000000000101.jpg is missing; --skip-bad-images" in mistake(capsys, score, trained, *options)
    assert not (tmp_path / "results.json").exists()
    score(trained, *options, "--skip-bad-images")
    said = capsys.readouterr().err
    assert "found in 3 pictures" in said and "coco valid: 1 picture left out" in said


# Scoring.


def nearly(truth: SceneAnnotations, row: int) -> People:
    """The labelled people of a picture, a pixel or two off: what a good network would find."""
    scene = truth.scene(row)
    joints = scene.joints + np.random.default_rng(row).normal(0, 1.5, scene.joints.shape)
    return People(
        joints.astype(np.float32),
        np.where(scene.visible > 0, 0.8, 0.3).astype(np.float32),
        np.linspace(0.9, 0.5, len(joints), dtype=np.float32),
    )


@pytest.fixture
def good_network(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that finds everybody in the place of the network's."""
    truth = read_scenes(coco, "valid")

    def find_all(_: object, batches: Iterator[Batch], *__: object) -> Iterator[tuple[int, People]]:
        for batch in batches:
            yield from ((row, nearly(truth, row)) for row in batch["row"].tolist())

    monkeypatch.setattr(scene_scoring, "find_all", find_all)


@pytest.mark.usefixtures("good_network")
def test_scoring_writes_a_table_figures_results_and_pictures(
    trained: Path, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    score(trained, "--exp", "a", "--out", tmp_path, "--pictures", 3, "--json", figures)
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == list(FIGURES) and line.startswith("a on coco valid ")
    found = json.loads(figures.read_text())
    assert found["title"] == "a on coco valid" and tuple(found["figures"]) == FIGURES
    assert 0.3 < found["figures"]["AP"] < 1 and found["figures"]["APL"] is None
    assert line.split()[-10] == f"{100 * found['figures']['AP']:.1f}" and line.split()[-5] != "–"
    assert len(json.loads((tmp_path / "results.json").read_text())) == 3
    assert (tmp_path / "predictions.jpg").stat().st_size > 1000

    stored = ["--predictions", tmp_path / "results.json", "--dataset", "coco", "--data-dir", coco]
    again = tmp_path / "again.json"
    score(tmp_path, *stored, "--json", again)  # the pictures' folder need not be there
    assert json.loads(again.read_text())["figures"] == found["figures"]

    bars = tmp_path / "bars.png"
    compare = load_script(ROOT / "tools" / "compare.py").main
    compare([str(figures), str(again), "--out", str(bars)])
    shown = capsys.readouterr().out
    assert "a on coco valid" in shown and "results on coco valid" in shown and bars.stat().st_size > 1000


def test_several_scales_and_no_refinement(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score(trained, "--exp", "a", "--out", tmp_path, "--scales", 2, 1, 0.5, "--no-refine", "--max-people", 3)
    assert "found in 4 pictures" in capsys.readouterr().err
    results = json.loads((tmp_path / "results.json").read_text())
    people = [each["image_id"] for each in results]
    assert max(people.count(image) for image in people) <= 3


def test_a_checkpoint_is_scored_on_any_pictures_of_its_joints(
    coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --out nothing is kept; pictures of it come to the present folder."""
    monkeypatch.chdir(tmp_path)
    path = save_network(tmp_path / "net.pth", "hg", COCO, tag_dim=1, **HG)
    score(tmp_path, "--checkpoint", path, "--dataset", "coco", "--data-dir", coco, "--pictures", 9)
    assert "net on coco valid" in capsys.readouterr().out
    assert sorted(each.name for each in tmp_path.iterdir()) == ["net.pth", "predictions.jpg"]


def test_nobody_found_is_a_score_of_zero(
    trained: Path,
    coco: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nobody = People(np.zeros((0, 17, 2), np.float32), np.zeros((0, 17), np.float32), np.zeros(0, np.float32))

    def find_all(_: object, batches: Iterator[Batch], *__: object) -> Iterator[tuple[int, People]]:
        for batch in batches:
            yield from ((row, nobody) for row in batch["row"].tolist())

    monkeypatch.setattr(scene_scoring, "find_all", find_all)
    monkeypatch.setattr(multi_person, "group", lambda *_: nobody)
    score(trained, "--exp", "a", "--out", tmp_path, "--pictures", 2)
    stored = tmp_path / "results.json"
    assert stored.read_text() == "[]\n"
    score(tmp_path, "--predictions", stored, "--dataset", "coco", "--data-dir", coco)
    for line in capsys.readouterr().out.splitlines()[1::2]:
        assert [value for value in line.split()[-10:] if value != "–"] == ["0.0"] * 8
    folder = train(tmp_path, coco, "--exp", "x")
    assert rows(folder / "log.csv")[0]["valid_ap"] == "0"


def test_final_predictions_are_results_of_the_validation_split(
    trained: Path, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exp_dir = Path(shutil.copytree(trained, tmp_path / "exp"))
    go_on(exp_dir, "-c", "a", "--final-predictions")
    said = capsys.readouterr().err
    assert "a is finished" in said and "no test split (coco: " in said
    stored = exp_dir / "hgpose-ae/a/final_results.json"
    score(tmp_path, "--predictions", stored, "--dataset", "coco", "--data-dir", coco)
    assert "final_results on coco valid" in capsys.readouterr().out


# What cannot be.


def change(data: Path, edit: Callable[[dict[str, Any]], object], split: str = "train") -> None:
    """Edit the JSON of a split in place."""
    path = data / "annotations" / f"person_keypoints_{split}2017.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, r"folder .*coco does not exist; get the train and val images .*cocodataset.org"),
        (
            lambda data: shutil.rmtree(data / "annotations"),
            r"holds no annotations/person_keypoints_train2017.json .*; get the train and val images",
        ),
        (
            lambda data: shutil.rmtree(data / "images"),
            r"holds no images/train2017; get the train and val images .* so that .*coco holds",
        ),
        (lambda data: shutil.rmtree(data / "images" / "val2017"), "holds no images/val2017; get the"),
        (
            lambda data: change(data, lambda content: content["categories"][0].pop("keypoints")),
            "no category names keypoints; is it a keypoint file",
        ),
        (
            lambda data: change(data, lambda content: content.clear()),
            "is no COCO keypoint file: it must hold images, annotations, categories",
        ),
        (
            lambda data: change(data, lambda content: content["annotations"][0]["keypoints"].pop()),
            "keypoints of annotation 1000 are 50 numbers, but 17 joints want 51",
        ),
        (
            lambda data: change(data, lambda content: content["annotations"].clear()),
            "coco train has no people with a labelled joint",
        ),
        (
            lambda data: change(data, lambda content: content["annotations"][0].update(image_id=99)),
            "annotation 1000 is of image 99, which is not among the images",
        ),
        (
            lambda data: [path.unlink() for path in (data / "images/train2017").iterdir()],
            r"picture .*\.jpg is missing; --skip-bad-images leaves such pictures out",
        ),
    ],
)
def test_data_that_are_damaged(
    own_coco: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], object],
    message: str,
) -> None:
    damage(own_coco)
    said = mistake(capsys, train, tmp_path / "exp", own_coco, "--exp", "x")
    assert re.search(message, said), said
    if "picture" not in message:
        assert not (tmp_path / "exp").exists()


@pytest.mark.parametrize("task", ["hgpose", "hgpose-ae"])
@pytest.mark.parametrize("names", [[*COCO_NAMES, "tail"], COCO_NAMES[::-1]], ids=["one more", "other order"])
def test_splits_with_different_joints(
    own_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], names: list[str], task: str
) -> None:
    write_coco(own_coco, coco_content(4, 101, names), "person_keypoints_val2017", "images/val2017")
    argv = ["--exp-dir", str(tmp_path / "exp"), *SMALL, "--dataset", "coco", "--data-dir", str(own_coco)]
    said = mistake(capsys, main_of(f"{task}/train.py"), ["--exp", "x", *argv])
    joints = ", ".join(name.replace("_", " ") for name in names)
    assert said.startswith(f"error: coco valid has the joints {joints}; those of coco train are nose, left")
    assert not (tmp_path / "exp").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--arch", "hgg"], r"there is no 'hgg' \(did you mean 'hg'\?\); known: hg-ae, hg"),
        (["--arch", "pyranet"], r"there is no 'pyranet'; known: hg-ae, hg"),
        (["--arch", "hg-ae", "--network", "foo=1"], "hg-ae has no argument '(stem_feats|foo)'"),
        (["--network", "foo=1"], "hg has no argument 'foo'; known: num_joints, stacks"),
        (["--network", "depth=deep"], "--network cannot set depth: --depth does"),
        (["--network", "tag_dim=3"], "--network cannot set tag_dim: --tag-dim does"),
        (["--network", "num_joints=3"], "--network cannot set num_joints: that is up to the data set"),
        (["--tag-dim", 0], "--tag-dim: a whole number from 1 is wanted, not '0'"),
        (["--input-res", 30], "the side must be a multiple of 8"),
        (["--max-people", 0], "--max-people: a whole number from 1"),
        (["--max-people", 5000], "the most people in a picture are 1 to 1000, not 5000"),
        (["--loss", "softmax"], r"--loss: invalid choice: 'softmax'"),
        (["--valid-ids", "no/such/list"], "no/such/list"),
        (["--coco-year", 2014], "holds no annotations/person_keypoints_train2014.json"),
        (["--dataset", "mpii"], "there is no 'mpii'"),
        (["--load-model", "no.pth"], "there is no checkpoint"),
    ],
)
def test_options_that_cannot_be(
    coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[object], message: str
) -> None:
    said = mistake(capsys, train, tmp_path, coco, "--exp", "x", *options)
    assert re.search(message, said), said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("task", ["hgpose-ae", "advpose-ae"])
def test_a_mistyped_backend_leaves_no_experiment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    monkeypatch.setenv(AE.VARIABLE, "extention")
    AE.choose.cache_clear()
    said = mistake(capsys, main_of(f"{task}/train.py"), ["--exp", "x", "--exp-dir", str(tmp_path), *SMALL])
    assert said.startswith("error: POSE_AE_BACKEND is auto, extension, plain, not 'extention' (did you mean")
    assert list(tmp_path.iterdir()) == []


def test_a_split_without_pictures_is_not_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It does not keep from training: all that is there is learnt from, and the last weights are the best."""
    write_coco(tmp_path / "own", coco_content(4), "mine", "images")
    folder = train(tmp_path, tmp_path / "own", "--exp", "x", "--valid-share", 0)
    assert "coco valid: 0 pictures" in capsys.readouterr().err and (folder / "best.pth").is_file()
    said = mistake(capsys, score, tmp_path, "--exp", "x", "--pictures", 2)
    assert said == "error: coco valid has no pictures: there is nothing to score"
    assert not (folder / "results.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [("11\n99\n", "such as 99"), ("eleven\n", "one picture id"), ("\n", "is empty")],
)
def test_lists_of_pictures_that_are_none(
    coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    (tmp_path / "valid_id").write_text(content)
    said = mistake(capsys, train, tmp_path / "exp", coco, "--exp", "x", "--valid-ids", tmp_path / "valid_id")
    assert message in said and "valid_id" in said and not (tmp_path / "exp").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--checkpoint", "{single}"], "a network without tags, which finds one person: see hgpose/test.py"),
        (
            ["--checkpoint", "{lsp}"],
            "coco valid has the joints nose, .*; those of the network are right ankle, right knee",
        ),
        (["--checkpoint", "{missing}"], "there is no checkpoint"),
        (["--checkpoint", "{tagged}", "--scales", "1", "half"], "--scales: a number above 0 is wanted"),
        (["--checkpoint", "{tagged}", "--scales", "0"], "--scales: a number above 0 is wanted, not '0'"),
        (
            ["--checkpoint", "{tagged}", "--split", "test"],
            "holds no annotations/image_info_test-dev2017.json",
        ),
        (["--checkpoint", "{tagged}", "--max-people", "5000"], "most people in a picture are 1 to 1000"),
        (["--exp", "nobody"], "there is no experiment 'nobody'"),
        (["--predictions", "{missing}"], "missing.pth cannot be read"),
        (["--predictions", "{other}", "--no-refine"], "--no-refine is about what a network predicts"),
        (["--predictions", "{other}", "--max-people", "9"], "--max-people is about what a network predicts"),
        (["--predictions", "{foreign}"], "result 0 is no object with image_id, category_id, keypoints"),
        (["--predictions", "{other}"], "1 of 1 results do not hold x, y and v of 17 joints, as coco"),
        (["--predictions", "{elsewhere}"], "1 of 1 results are about pictures that coco valid does not have"),
    ],
)
def test_what_cannot_be_scored(
    coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    result = {"image_id": 101, "category_id": 1, "keypoints": [1.0] * 51, "score": 1}
    files = {
        "foreign": [{"image_id": 101, "bbox": [1, 2, 3, 4]}],
        "other": [result | {"keypoints": [1.0] * 48}],
        "elsewhere": [result | {"image_id": 11}],
    }
    paths = {name: tmp_path / f"{name}.json" for name in files}
    for name, content in files.items():
        paths[name].write_text(json.dumps(content))
    paths |= {
        "single": save_network(tmp_path / "single.pth", "hg", COCO, **HG),
        "tagged": save_network(tmp_path / "tagged.pth", "hg", COCO, tag_dim=1, **HG),
        "lsp": save_network(tmp_path / "lsp.pth", "hg", LSP, tag_dim=1, **HG),
        "missing": tmp_path / "missing.pth",
    }
    argv = [word.format(**paths) for word in options]
    before = sorted(tmp_path.iterdir())
    data = ["--dataset", "coco", "--data-dir", coco]
    said = mistake(capsys, score, tmp_path / "exp", *argv, *data)
    assert re.search(message, said), said
    assert sorted(tmp_path.iterdir()) == before


def test_a_run_goes_on_with_its_own_joints_only(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exp_dir = Path(shutil.copytree(trained, tmp_path / "exp"))
    names = [*COCO_NAMES, "tail"]
    for split in ("train", "val"):
        content = coco_content(4, names=names)
        write_coco(tmp_path / "own", content, split, f"images/{split}")
    said = mistake(capsys, go_on, exp_dir, "-c", "a", "--epochs", 3, "--data-dir", tmp_path / "own")
    assert "does not fit the network exactly" in said and "other joints (heads.0)" in said
    go_on(exp_dir, "--exp", "tails", *SMALL, "--dataset", "coco", "--data-dir", tmp_path / "own")
    assert state(exp_dir / "hgpose-ae/tails")["model"]["heads.0.weight"].shape[0] == 36
    score(exp_dir, "--exp", "tails", "--pictures", 2)
    results = exp_dir / "hgpose-ae/tails/results.json"
    assert all(len(each["keypoints"]) == 54 for each in json.loads(results.read_text()))
