"""Precision and recall of absent joints by confidence: right values, a figure, one line for mistakes."""

import re
from pathlib import Path

import numpy as np
import pytest

from src.datasets import readers
from src.datasets.files import save_h5
from src.evaluation.occlusion import absent, precision_recall
from tests.releases import make_lspet, write_mpii_h5
from tests.task_runner import main_of

JOINTS = 14


def test_values_of_a_hand_made_case() -> None:
    score = np.array([0.1, 0.2, 0.2, 0.5, 0.9])
    curve = precision_recall(score, np.array([True, False, True, False, True]))
    assert curve is not None
    # called absent: the first; the first three, two of them rightly; four; all
    assert curve.threshold.tolist() == [0.1, 0.2, 0.5, 0.9]
    np.testing.assert_allclose(curve.precision, [1, 2 / 3, 1 / 2, 3 / 5])
    np.testing.assert_allclose(curve.recall, [1 / 3, 2 / 3, 2 / 3, 1])
    assert curve.average == pytest.approx((1 + 2 / 3 + 3 / 5) / 3) and curve.share == 0.6
    assert precision_recall(score, np.zeros(5, bool)) is None


def test_agrees_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    score, is_absent = rng.integers(0, 20, 200) / 20, rng.random(200) < 0.3
    curve = precision_recall(score, is_absent)
    assert curve is not None
    assert curve.average == pytest.approx(metrics.average_precision_score(is_absent, -score))


def test_what_is_absent() -> None:
    visible = np.array([-1, 0, 1, 2])  # not annotated at all, unlabelled, hidden, visible
    assert absent(visible, hidden=False).tolist() == [False, True, False, False]
    assert absent(visible, hidden=True).tolist() == [False, True, True, False]


@pytest.fixture
def lspet(tmp_path: Path) -> Path:
    """LSPET, and predictions.h5 whose confidence is low exactly where a joint is unlabelled."""
    make_lspet(tmp_path)
    people = readers.read("lspet", tmp_path, "train")
    preds = np.zeros((len(people), JOINTS, 5))
    preds[..., 4] = np.where(people.visible > 0, 0.8, 0.1)
    preds[0, 0, 4] += 0.01
    save_h5(tmp_path / "sure.h5", {"preds": preds})
    save_h5(tmp_path / "flat.h5", {"preds": preds[..., :2]})
    order = np.arange(len(people))[::-1]
    means = np.where(people.visible > 0, 0.02, 0.01)[order, :, None, None] * np.ones((4, 4))
    content = {"preds": preds[order, :, :2], "idxs": order}
    save_h5(tmp_path / "maps.h5", content | {"heatmaps": means.astype(np.float16)})
    save_h5(tmp_path / "softmax.h5", content | {"heatmaps": np.ones(means.shape, np.float16)})
    return tmp_path


def test_means_of_heatmaps(lspet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They stand beside the predictions, in whatever order; of softmax maps they say nothing."""
    data = ["--dataset", "lspet", "--data-dir", str(lspet), "--split", "train"]
    figure = ["--by", "mean", "--out", str(lspet / "figure.png")]
    main_of("tools/occlusion.py")([str(lspet / "maps.h5"), *data, *figure])
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("maps"))
    assert set(row.split()[1:]) <= {"100.0", "–"} and "100.0" in row
    for name, reason in (("sure", "has no heatmaps"), ("softmax", "no confidences|the same mean")):
        with pytest.raises(SystemExit):
            main_of("tools/occlusion.py")([str(lspet / f"{name}.h5"), *data, *figure])
        assert re.search(reason, capsys.readouterr().err)


def test_perfect_confidence_reaches_all(lspet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--dataset", "lspet", "--data-dir", str(lspet), "--split", "train"]
    figure, table = lspet / "figure.png", lspet / "table.json"
    main_of("tools/occlusion.py")([str(lspet / "sure.h5"), *data, "--out", str(figure), "--json", str(table)])
    head, ours, guessing = capsys.readouterr().out.splitlines()
    assert set(ours.split()[1:]) == {"100.0"} and head.split()[3:] != []
    assert all(0 < float(share) < 50 for share in guessing.split()[1:])
    assert figure.stat().st_size > 5000 and '"sure"' in table.read_text()


@pytest.mark.parametrize(
    "words, message",
    [
        (["flat.h5"], "flat.h5 has no confidences"),
        (["sure.h5", "--joints", "Knes"], r"no 'Knes' \(did you mean 'Knee'\?\); groups: Head, Shoulder"),
        (["sure.h5", "--labels", "a", "b"], "--labels names 2 files, but there are 1"),
        (["sure.h5", "--out", "x.txt"], "--out x.txt must end in one of .png"),
        (["gone.h5"], "gone.h5 does not exist"),
    ],
)
def test_mistakes_are_one_line(
    lspet: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    data = ["--dataset", "lspet", "--data-dir", str(lspet), "--split", "train"]
    out = [] if "--out" in words else ["--out", str(lspet / "figure.png")]
    with pytest.raises(SystemExit):
        main_of("tools/occlusion.py")([str(lspet / words[0]), *words[1:], *data, *out])
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(message, said), said


def test_files_of_one_name_are_not_mixed_up(lspet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*[str(lspet / "sure.h5")] * 2, "--dataset", "lspet", "--out", str(lspet / "figure.png")]
    with pytest.raises(SystemExit):
        main_of("tools/occlusion.py")(words)
    assert capsys.readouterr().err == "error: several files are called sure: --labels tells them apart\n"


def test_hidden_joints_are_asked_for(tmp_path: Path) -> None:
    write_mpii_h5(tmp_path, baked=True)
    people = readers.read("mpii", tmp_path, "valid")
    hidden, unlabelled = absent(people.visible, hidden=True), absent(people.visible, hidden=False)
    assert hidden.sum() > unlabelled.sum() > 0
