"""Where options come from, and that mistakes are one line."""

import json
import os
from pathlib import Path

import pytest

from src.errors import UserError
from src.utils import options
from tests.task_runner import ROOT, load_script


def build(parser: options.Parser) -> None:
    options.add_run_options(parser)
    options.add_data_options(parser, ["synth", "mpii"])
    options.add_crop_options(parser)
    options.add_length_options(parser, epochs=100, batch_size=6)
    options.add_optimizer_options(parser, optimizer="rmsprop", lr=2.5e-4)


def parse(*argv: str | Path):
    return options.parse(build, "Test.", "task", [str(word) for word in argv])


def store(exp_dir: Path, name: str, **stored: object) -> None:
    folder = exp_dir / "task" / name
    folder.mkdir(parents=True)
    (folder / "options.json").write_text(json.dumps({"options": stored}))


def config(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_defaults_config_and_typed_rise(tmp_path: Path) -> None:
    recipe = config(tmp_path / "a.yaml", "lr: 1e-3\nepochs: 7\nmilestones: [3, 5]\nskip-bad-images: true\n")
    second = config(tmp_path / "b.yaml", "epochs: 8\n")
    args = parse("--exp", "x", "--config", recipe, second, "--lr", "0.5")
    assert (args.lr, args.epochs, args.batch_size) == (0.5, 8, 6)
    assert args.milestones == [3, 5] and args.skip_bad_images is True
    args = parse("--exp", "x", "--config", second, "--config", recipe, "--no-skip-bad-images")
    assert args.epochs == 7 and args.skip_bad_images is False


def test_bad_images_are_skipped_refused_or_neither(tmp_path: Path) -> None:
    """Neither is a default, and stays so in recipes and for runs that go on."""
    assert parse("--exp", "x").skip_bad_images is None
    recipe = config(tmp_path / "a.yaml", "skip-bad-images: null\n")
    assert parse("--exp", "x", "--config", recipe).skip_bad_images is None
    for stored in (None, True, False):
        store(tmp_path, f"was-{stored}", **{"skip-bad-images": stored})
        args = parse("--exp", f"was-{stored}", "--exp-dir", tmp_path, "--continue")
        assert args.skip_bad_images is stored


def test_stored_options_lie_between_defaults_and_what_is_typed(tmp_path: Path) -> None:
    others = {"load-model": "a.pth", "exp": "old", "data-dir": None}
    store(tmp_path, "old", epochs=9, lr=0.1, seed=4, **others)
    args = parse("--exp", "old", "--exp-dir", tmp_path, "--continue", "--lr", "0.2")
    assert (args.epochs, args.lr, args.seed, args.load_model) == (9, 0.2, 4, None)
    recipe = config(tmp_path / "r.yaml", "epochs: 11\n")  # given now, so it counts as typed
    args = parse("--exp", "new", "--exp-dir", tmp_path, "--branch", "old", "--config", recipe)
    assert (args.exp, args.epochs, args.lr) == ("new", 11, 0.1)


def test_an_options_file_can_serve_as_config(tmp_path: Path) -> None:
    store(tmp_path, "old", epochs=9, exp="old")
    args = parse("--exp", "new", "--config", tmp_path / "task/old/options.json")
    assert (args.exp, args.epochs) == ("new", 9)


def test_stored_values_are_validated(tmp_path: Path) -> None:
    store(tmp_path, "old", epochs="many")
    with pytest.raises(UserError, match="--epochs: a whole number from 0 is wanted, not 'many'"):
        parse("-c", "old", "--exp-dir", tmp_path)
    store(tmp_path, "other", epocs=3)
    with pytest.raises(UserError, match=r"no option --epocs \(did you mean '--epochs'\?\)"):
        parse("-c", "other", "--exp-dir", tmp_path)


@pytest.mark.parametrize(
    "argv, name, value",
    [
        (["--nEpochs", "5"], "epochs", 5),
        (["-nEpochs", "5"], "epochs", 5),
        (["-LR", "1e-5"], "lr", 1e-5),
        (["--nThreads=3"], "workers", 3),
        (["-m", "77"], "max_iters", 77),
        (["-finalPredictions", "1"], "final_predictions", True),
        (["-finalPredictions", "0"], "final_predictions", False),
        (["-optMethod", "sgd"], "optimizer", "sgd"),
        (["-modelCkpt", "/a.pth"], "load_model", Path("/a.pth")),
        (["-epsilon", "1e-6"], "eps", 1e-6),
        (["--mini_batch_count", "2"], "accumulate", 2),
        (["--optimizer_type=RMSprop"], "optimizer", "rmsprop"),
        (["-rotate", "40"], "rotate_aug", 40),
        (["--cpu"], "device", "cpu"),
        (["--dropLR", "50", "--dropMag", ".7"], "lr_step", 50),
        (["--dropLR", "50", "--dropMag", ".7"], "lr_gamma", 0.7),
        (["--dropLR", "50"], "schedule", "step"),
    ],
)
def test_old_spellings(argv: list[str], name: str, value: object) -> None:
    assert getattr(parse("-expID", "x", *argv), name) == value


def test_old_values() -> None:
    typed = ["-crit", "MSE", "-dataset", "penn_action_cropped", "--json", "MSE"]
    assert options.modern_spelling(typed) == ["--loss", "mse", "--dataset", "penn", "--json", "MSE"]


def test_continuing_under_another_name_is_a_branch(tmp_path: Path) -> None:
    store(tmp_path, "old", epochs=7)
    where = ("--exp-dir", tmp_path)
    branch = parse("-c", "old", "-e", "new", *where)
    assert (branch.exp, branch.branch, branch.resume, branch.epochs) == ("new", "old", False, 7)
    for argv in (("-c", "old"), ("-c", "old", "-e", "old")):
        going_on = parse(*argv, *where)
        assert (going_on.exp, going_on.branch, going_on.resume) == ("old", None, True)


@pytest.mark.parametrize("words", ["a b c --out d", "a --out d b c", "a --sure b c --out d", "--out d a b c"])
def test_words_without_option_stand_anywhere(words: str) -> None:
    parser = options.Parser("a tool")
    parser.add_argument("first", nargs="?")
    parser.add_argument("others", nargs="+")
    parser.add_argument("--out", required=True)
    parser.add_argument("--sure", action="store_true")
    args = parser.parse_strictly(words.split())
    assert (args.first, args.others, args.out) == ("a", ["b", "c"], "d")
    for mistake, message in (("a --out d --ou e", "no option --ou"), ("--out d", "required: others")):
        with pytest.raises(UserError, match=message):
            parser.parse_strictly(mistake.split())


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--bath-size", "4"], r"no option --bath-size \(did you mean '--batch-size'\?\)"),
        (["--batch", "4"], "there is no option --batch "),  # no abbreviations
        (["--report", "5"], "--report takes no value, and has '5'"),
        (["--report=5"], "--report/--no-report: it takes no value, and has '5'"),
        (["--seed", "5", "6"], "no option takes '6'; see --help"),
        (["--epochs", "3", "--more-epochs=2"], "--epochs says how many there are in all, --more-epochs how"),
        (
            ["--early-stop", "3", "--valid-every", "0"],
            "--early-stop looks at validations: give --valid-every",
        ),
        (["--ema", "1"], "--ema: a number from 0 to below 1 is wanted, not '1'"),
        (["--batch-size", "0"], "--batch-size: a whole number from 1 is wanted, not '0'"),
        (["--flip-prob", "1.5"], "--flip-prob: a number from 0 to 1 is wanted"),
        (["--lr", "nan"], "--lr: a number from 0 is wanted"),
        (["--dataset", "mpi"], r"there is no 'mpi' \(did you mean 'mpii'\?\); known: synth, mpii"),
        (["--schedule", "cos"], "--schedule: invalid choice: 'cos'"),
        (["--config", "none.yaml"], "config file none.yaml does not exist"),
        (["--continue", "--branch", "y"], "exclude each other"),
    ],
)
def test_mistakes_are_one_line(argv: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        parse("--exp", "x", *argv)
    assert "\n" not in str(error.value)


def test_a_mistyped_recipe_finds_the_one_that_is_meant() -> None:
    hgpose = load_script(ROOT / "hgpose" / "opts.py")
    with pytest.raises(UserError) as error:
        hgpose.parse(["--exp", "x", "--config", "recipes/laptp.yaml"])
    folder = Path(os.path.relpath(ROOT / "hgpose" / "recipes"))
    near = f" (did you mean '{folder / 'laptop.yaml'}'?)"
    assert str(error.value) == f"config file recipes/laptp.yaml does not exist{near}; recipes lie in {folder}"


def test_bad_config_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not YAML") as error:
        parse("--exp", "x", "--config", config(tmp_path / "a.yaml", "lr: [1, \n"))
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="must hold `option: value` lines, not a list"):
        parse("--exp", "x", "--config", config(tmp_path / "b.yaml", "- 1\n"))
    with pytest.raises(UserError, match=r"no option --epoch \(did you mean '--epochs'"):
        parse("--exp", "x", "--config", config(tmp_path / "c.yaml", "epoch: 3\n"))


def test_exp_is_required_and_unknown_experiments_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--exp"):
        parse("--lr", "1")
    store(tmp_path, "base", epochs=1)
    with pytest.raises(UserError, match=r"no experiment 'bas' in .* \(did you mean 'base'\?\)"):
        parse("-c", "bas", "--exp-dir", tmp_path)
