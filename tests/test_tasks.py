"""Every task's command line, as a user types it; recipes and mistakes."""

import json
import re
from pathlib import Path

import pytest
import torch

from src import pose
from src.utils import options
from tests.task_runner import ROOT, TINY, load_script, main_of, run_script

TASKS = [path.parent.name for path in sorted(ROOT.glob("*/opts.py"))]
RECIPES = sorted(ROOT.glob("*/recipes/*.yaml"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of experiments with a trained tiny run, `hgpose/tiny`."""
    exp_dir = tmp_path_factory.mktemp("exp")
    main_of("hgpose/train.py")(["--exp", "tiny", "--exp-dir", str(exp_dir), *TINY, "--epochs", "1"])
    return exp_dir


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("script", ["train.py", "test.py"])
def test_help_and_mistakes_answer_at_once(task: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is, before torch is imported, which takes seconds."""
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    shown = run_script(f"{task}/{script}", "--help")
    assert shown.returncode == 0 and "--dataset" in shown.stdout
    imported = {line.split("|")[-1].strip() for line in shown.stderr.splitlines()}
    assert "argparse" in imported and not imported & {"torch", "numpy", "cv2"}
    monkeypatch.undo()
    mistaken = run_script(f"{task}/{script}", "--datset", "mpii")
    assert mistaken.returncode == 2
    assert mistaken.stderr.startswith("error: ") and mistaken.stderr.count("\n") == 1


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parts[-3]}/{path.stem}")
def test_recipes_are_valid(recipe: Path) -> None:
    opts = load_script(recipe.parents[1] / "opts.py")
    options = opts.parse(["--exp", "x", "--config", str(recipe)])
    assert options.exp == "x"


@pytest.mark.parametrize("task", TASKS)
def test_every_option_has_help_and_says_its_default(task: str) -> None:
    shown = run_script(f"{task}/train.py", "--help").stdout
    assert re.search(r"--batch-size N\b|--batch-size BATCH_SIZE", shown)
    assert re.search(r"people or pictures a step, .*?\(default: \d+\)", shown, flags=re.DOTALL)
    assert "default: None" not in shown
    opts = load_script(ROOT / task / "opts.py")
    for build in (opts.build, opts.build_test):
        parser = options.Parser("", [])
        build(parser)
        assert [action.option_strings for action in parser._actions if not action.help] == []


def test_scoring_writes_table_json_predictions_and_pictures(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    argv = [
        "--exp",
        "tiny",
        "--exp-dir",
        str(tiny),
        "--workers",
        "0",
        "--pictures",
        "4",
        "--json",
        str(figures),
    ]
    main_of("hgpose/test.py")(argv)
    printed = capsys.readouterr().out
    assert "PCKh@0.5" in printed and "Mean" in printed
    folder = tiny / "hgpose" / "tiny"
    assert (folder / "preds.h5").is_file() and (folder / "predictions.jpg").is_file()
    content = json.loads(figures.read_text())
    assert content["people"] == 8
    stored = ["--predictions", str(folder / "preds.h5"), "--synth-size", "24", "8"]
    main_of("hgpose/test.py")([*stored, "--workers", "0"])
    assert capsys.readouterr().out  # scored without the network


def test_final_predictions_without_training(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main_of("hgpose/train.py")(["-c", "tiny", "--exp-dir", str(tiny), "--epochs", "0", "--final-predictions"])
    assert "tiny is finished" in capsys.readouterr().err
    assert (tiny / "hgpose" / "tiny" / "final_preds.h5").is_file()
    assert (tiny / "hgpose" / "tiny" / "final_preds.mat").is_file()


def test_plain_python_use(tiny: Path) -> None:
    model = pose.load(tiny / "hgpose" / "tiny" / "best.pth", device="cpu")
    picture = torch.randint(0, 256, (120, 90, 3), dtype=torch.uint8).numpy()
    (whole,) = pose.predict(model, picture)
    assert whole.joints.shape == (16, 2) and whole.score.shape == (16,)
    boxed = pose.predict(model, picture, boxes=[(10, 10, 30, 60), (40, 5, 20, 20)])
    assert len(boxed) == 2
    # a crop of 1.25 x the longer side around (25, 40): joints cannot lie beyond it
    assert abs(boxed[0].joints - (25, 40)).max() <= 0.5 * 1.25 * 60 + 1
    assert pose.predict(model, picture, boxes=[]) == []


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--arch", "hgg"], r"there is no 'hgg' \(did you mean 'hg'\?\); known: hg"),
        (["--input-res", "100"], "an input of 100 px does not suit hg: the side must be a multiple of 64"),
        (["--dataset", "mpii", "--data-dir", "no/such/folder"], "no/such/folder does not exist"),
        (["--load-model", "no.pth", "--epochs", "0"], "there is no checkpoint"),
        (["--device", "cuda:99"], "device 'cuda:99' cannot be used here"),
        (["--skeleton", "mpi"], r"there is no skeleton 'mpi' \(did you mean 'mpii'\?\)"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    options = ["--exp", "x", "--exp-dir", str(tmp_path), "--workers", "0", *argv]
    with pytest.raises(SystemExit) as end:
        main_of("hgpose/train.py")(options)
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert said.startswith("error: ") and said.count("\n") == 1
    assert re.search(message, said), said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tool", sorted(path.name for path in (ROOT / "tools").glob("*.py")))
def test_tools_have_help(tool: str) -> None:
    shown = run_script(f"tools/{tool}", "--help")
    assert shown.returncode == 0 and "usage:" in shown.stdout and not shown.stderr
