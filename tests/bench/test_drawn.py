"""Runs with and without parts of drawings, and from both starts: few steps of a tiny network, twice."""

from pathlib import Path

import numpy as np
import pytest

from bench import drawn
from bench.drawn import Marks, markdown, parts_table, percent, scores_of
from bench.harness import Measure, Options
from src.datasets.skeletons import LSP
from src.evaluation.predict import Found, heatmap_accuracy
from src.evaluation.protocols import Truth, evaluate
from src.utils.experiment import read_rows
from tests.releases import make_lspet

JOINTS = LSP.num_joints


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Typed options of a run on ten people, with a network that learns a step in no time."""
    make_lspet(tmp_path / "lspet")
    recipe = tmp_path / "tiny.yaml"
    sizes = {"stacks": 1, "feats": 16, "depth": 3, "input-res": 64, "batch-size": 2, "loss": "softmax"}
    recipe.write_text("".join(f"{name}: {value}\n" for name, value in sizes.items()))
    small = {"RECIPE": recipe, "RES": 64, "EPOCH": 2, "LEARNT": 6, "SCORED": 4, "COUNTS": (2, 6), "DRAWS": 20}
    for name, value in small.items():
        monkeypatch.setattr(drawn, name, value)
    words = ["--lspet", str(tmp_path / "lspet"), "--exp-dir", str(tmp_path), "--device", "cpu"]
    return [*words, "--workers", "0"]


def steps(folder: Path) -> list[str]:
    return [row["step"] for row in read_rows(folder / "log.csv")]


def found(people: int = 30) -> tuple[Found, Truth]:
    """Predictions that are right, on the other side, or somewhere, in maps of 16 cells of 4 pixels."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(2, 62, (people, JOINTS, 2)).astype(np.float32)
    kind = rng.integers(3, size=(people, JOINTS, 1))
    coords = np.choose(kind, [truth, truth[:, LSP.flip_order], rng.uniform(0, 64, truth.shape)])
    visible = rng.integers(3, size=(people, JOINTS)).astype(np.int8)
    visible[:, [LSP.joints.index(name) for name in ("left shoulder", "right hip")]] = 2
    norm = np.full(people, np.nan)
    result = Found(
        coords, coords / 4, truth / 4, visible * 1.0, np.arange(people), truth, visible, norm, norm
    )
    return result, Truth(truth, visible, norm, LSP, "people")


def test_the_figures_are_those_of_test_py() -> None:
    predictions, truth = found()
    scores = scores_of(predictions, truth, size=16)
    pck = evaluate("pck", predictions.coords, truth)
    expected = {
        "accuracy": 100 * heatmap_accuracy(predictions, 16, LSP.accuracy_joints),
        "PCK@0.2": pck.sections["means"]["pck_unweighted"].scores[0].percent,
    }
    for name, value in expected.items():
        assert scores[name].percent() == pytest.approx([value], abs=1e-3)
    assert 20 < scores["exchanged"].percent()[0] < 40  # a third, but for what is near by chance


def test_intervals_are_of_people_and_changes_of_the_same_ones() -> None:
    hit = np.zeros((100, 2), bool)
    hit[:50] = True
    half, all_of_them = Marks(hit, np.ones_like(hit)), Marks(np.ones_like(hit), np.ones_like(hit))
    assert percent(all_of_them) == "100.0 (100.0 to 100.0)"
    assert percent(half, half) == "+0.0 (+0.0 to +0.0)"  # whoever is drawn
    value, low, _, high = percent(half).replace("(", "").replace(")", "").split()
    assert value == "50.0" and 38 < float(low) < 43 and 57 < float(high) < 62  # 1.96 x 5


def test_who_never_counts_leaves_no_trace() -> None:
    hit = np.array([[True, False], [False, False]])
    assert Marks(hit, np.array([[True, False], [True, False]])).percent() == pytest.approx([50])


def test_tables_are_markdown() -> None:
    assert markdown([["a", "b"], ["c", "1"]]) == "| a | b |\n|---|--:|\n| c | 1 |"
    scores = scores_of(*found(), size=16)
    head, _, first, second = parts_table({"all parts": scores, "without head": dict(scores)}).splitlines()
    assert head == "| drawn people | accuracy | change | PCK@0.2 | change | exchanged |"
    assert first.startswith("| all parts | ") and "|  |" in first
    assert second.startswith("| without head | ") and "+0.0 (+0.0 to +0.0)" in second


@pytest.mark.slow
def test_a_run_for_each_part_that_goes_on(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["parts", *tiny, "--only", "head", "--size", "8", "--bank", str(tmp_path / "bank")]
    for iters in ("2", "4"):
        drawn.main([*words, "--iters", iters])
        table = capsys.readouterr().out.splitlines()
        assert [line.split(" | ")[0] for line in table[2:]] == ["| all parts", "| without head"]
    for name in ("drawn-all", "drawn-without-head"):
        assert steps(tmp_path / "hgpose" / name) == ["2", "4"]
    names = sorted(file.name.split("-64")[0].split("-72")[0] for file in (tmp_path / "bank").iterdir())
    assert names == ["people-train-acrobatic", "people-train-acrobatic-without-head"]


@pytest.mark.slow
def test_both_starts_from_more_and_more_photographs(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn.main(["parts", *tiny, "--only", "head", "--size", "8", "--iters", "2"])
    checkpoint = tmp_path / "hgpose" / "drawn-all" / "checkpoint.pth"
    capsys.readouterr()
    drawn.main(["photographs", *tiny, "--checkpoint", str(checkpoint), "--iters", "2"])
    table = capsys.readouterr().out.splitlines()
    assert table[0].startswith("| photographs | accuracy, from scratch | accuracy, from drawn people | ")
    assert [line.split(" | ")[0] for line in table[2:5]] == ["| 0", "| 2", "| 6"]
    for name in ("scratch-2", "scratch-6", "drawn-2", "drawn-6"):
        assert steps(tmp_path / "hgpose" / name) == ["2"]
    assert (tmp_path / "hgpose" / "photographs.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["photographs"], "--checkpoint FILE goes with photographs"),
        (["parts", "--only", "hed"], "did you mean 'head'"),
        (["parts", "--lspet", "nowhere"], "joints.mat"),
        (["photographs", "--checkpoint", "x.pth", "--out", "x.jpg"], "must end in one of .png"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        drawn.main([*words, "--exp-dir", str(tmp_path)])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line


@pytest.mark.slow
def test_a_bank_is_faster_than_drawing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(drawn, "_numbers_of_processes", lambda: [1])
    monkeypatch.setattr(drawn, "RES", 64)
    case, measure = drawn.cases(Options("cpu", tmp_path, tmp_path, quick=True))
    assert not isinstance(case, Measure) and isinstance(measure, Measure)
    assert measure.ratio and measure.ratio > 1
