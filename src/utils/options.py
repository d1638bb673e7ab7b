"""Options of a task: where they come from, and the groups that tasks share.

In rising order: defaults, `--config` YAML files, the stored options of the experiment that `--continue` or
`--branch` names, what is typed now (a `--config` given with `--continue` or `--branch` counts as typed).
Stored and configured values go through the same checks as typed ones. Nothing slow is imported here, so
that `--help` and a mistyped option answer at once.
"""

import argparse
import json
from argparse import BooleanOptionalAction
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import configargparse

from src.errors import UserError, suggest
from src.losses import COORDINATE_LOSSES, HEATMAP_LOSSES
from src.utils.files import from_here

ROOT = Path(__file__).resolve().parents[2]
OPTIONS_FILE, BEST, NEWEST = "options.json", "best.pth", "checkpoint.pth"  # in the folder of an experiment
QUARTER, DARK = "quarter", "dark"  # ways to decode heatmaps
GROUPINGS = ("view", "torso", "action")  # of people, see src/evaluation/breakdown.py

# What names a run rather than describes it: not taken over from a stored experiment.
_NOT_INHERITED = (
    "exp", "exp-dir", "continue", "branch", "config", "load-model", "load-discriminator",
    "transfer-head", "strict", "final-predictions", "json", "more-epochs", "report",
)  # fmt: skip

# What a test takes over from the experiment that it scores.
_DATA = (
    "dataset", "data-dir", "synth-size", "synth-poses", "valid-share", "skip-bad-images", "coco-year",
    "valid-ids", "mask-people", "empty-share", "penn-compat", "flic-sides",
)  # fmt: skip

# What a test has no use for where predictions are stored.
_OF_NETWORK = (
    "last", "out", "pictures", "valid_iters", "flip_test", "scales", "decode", "save_heatmaps", "save_input",
    "max_people", "refine",
)  # fmt: skip

# How older code bases spelt the same options; accepted with one dash or two, and not shown in help.
OLD_SPELLINGS = {
    "expID": "exp", "expDir": "exp-dir", "dataDir": "data-dir", "manualSeed": "seed", "nThreads": "workers",
    "nEpochs": "epochs", "maxEpochs": "epochs", "maxEpoch": "epochs", "trainIters": "iters",
    "validIters": "valid-iters", "max_iters": "max-iters", "trainBatch": "batch-size",
    "batchSize": "batch-size", "LR": "lr", "optMethod": "optimizer", "optimizer_type": "optimizer",
    "solver": "optimizer", "weightDecay": "weight-decay", "LRdecay": "lr-decay", "crit": "loss",
    "netType": "arch", "nStack": "stacks", "nStacks": "stacks", "nFeats": "feats", "nChannels": "feats",
    "inpDim": "feats", "nModules": "modules", "blocks": "modules", "nReductions": "depth",
    "inputRes": "input-res", "hmSigma": "sigma", "hmGauss": "sigma", "scaleFactor": "scale-aug",
    "maxScale": "scale-aug", "scale": "scale-aug", "rotFactor": "rotate-aug", "maxRotate": "rotate-aug",
    "rotate": "rotate-aug", "dropLR": "lr-step", "dropMag": "lr-gamma",
    "flipFactor": "flip-prob", "snapshot": "snapshot-every", "saveInterval": "snapshot-every",
    "valInterval": "valid-every", "loadModel": "load-model", "finalPredictions": "final-predictions",
    "branch": "branch", "continue": "continue", "dataset": "dataset", "exp": "exp", "epochs": "epochs",
    "saveInput": "save-input", "saveHeatmaps": "save-heatmaps",
    "modelCkpt": "load-model", "epsilon": "eps", "alpha": "alpha", "momentum": "momentum",
    "maxNumPeople": "max-people", "lrD": "lr-d", "lambda_G": "lambda-g", "lambda_kt": "lambda-kt",
    "kt_lr": "lambda-kt", "kt_init": "kt-init", "baseName": "backbone", "mini_batch_count": "accumulate",
}  # fmt: skip
_OLD_VALUES = {
    "MSE": "mse", "rms": "rmsprop", "RMSprop": "rmsprop", "Adam": "adam", "SGD": "sgd",
    "penn_action_cropped": "penn", "mpii-lsp": "lsp_mpii",
}  # fmt: skip
_VALUES_OF = ("loss", "optimizer", "dataset")  # which have such values
_IMPLIED = {"dropLR": ["--schedule", "step"]}  # what old spellings meant beyond
_SHORT = {"-e": ["--exp"], "-m": ["--max-iters"], "--cpu": ["--device", "cpu"], "-cpu": ["--device", "cpu"]}


class _ConfigParser(configargparse.ConfigFileParser):
    """YAML of `option: value`, or an experiment's options.json, whose options lie under "options"."""

    def get_syntax_description(self) -> str:
        return "A config file is YAML: one `option: value` a line, options spelt as here without dashes."

    def parse(self, stream: Any) -> "OrderedDict[str, Any]":
        import yaml  # only a run with a recipe needs it

        where = getattr(stream, "name", "config")
        try:
            content = yaml.safe_load(stream) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            line = " ".join(str(error).split())
            raise UserError(f"{where} is not YAML: {line}") from None
        if not isinstance(content, dict):
            raise UserError(f"{where} must hold `option: value` lines, not a {type(content).__name__}")
        stored = isinstance(content.get("options"), dict)
        if stored:
            content = content["options"]
        kept = ((k, v) for k, v in content.items() if v is not None and not (stored and k in _NOT_INHERITED))
        return OrderedDict((str(key), self._words(value, str(key), where)) for key, value in kept)

    def _words(self, value: Any, key: str, where: str) -> Any:
        if isinstance(value, list):
            return [str(item) for item in value]
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, dict):
            raise UserError(f"{where}: the value of {key} must be a word, a number or a list")
        return str(value)


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Help that shows each default, but for options that have none."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        has_default = action.default is not None and action.default is not False
        return super()._get_help_string(action) if has_default else action.help


class Parser(configargparse.ArgumentParser):
    """An argument parser whose mistakes are one line, with the nearest option when one is unknown."""

    def __init__(self, description: str, config_files: Sequence[str | Path] = ()) -> None:
        super().__init__(
            description=description,
            allow_abbrev=False,
            add_config_file_help=False,
            config_file_parser_class=_ConfigParser,
            config_file_open_func=partial(open, encoding="utf-8"),
            default_config_files=[str(path) for path in config_files],
            formatter_class=_HelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        raise UserError(message.replace("ignored explicit argument", "it takes no value, and has"))

    def parse_strictly(self, argv: Sequence[str], stored: dict[str, Any] | None = None) -> argparse.Namespace:
        """Parse `argv` over the config files, or over `stored` options; an unknown one is a UserError.

        Words that belong to no option may stand before, between and behind options, where a parser takes any;
        there are no config files then.
        """
        if any(not action.option_strings for action in self._actions):
            options, unknown = self.parse_known_intermixed_args(list(argv))
        else:
            contents = None if stored is None else json.dumps({"options": stored})
            options, unknown = self.parse_known_args(list(argv), config_file_contents=contents, env_vars={})
        if unknown:
            known = [name for action in self._actions for name in action.option_strings]
            word = unknown[0].split("=")[0]
            if not word.startswith("-"):
                raise UserError(self._left_over(word, argv))
            raise UserError(f"there is no option {word}{suggest(word, known)}; --help lists them")
        return options

    def _left_over(self, word: str, argv: Sequence[str]) -> str:
        """What is wrong with a word that is neither an option nor the value of one."""
        flags = {name for action in self._actions if action.nargs == 0 for name in action.option_strings}
        flag = next((before for before, after in pairwise(argv) if after == word and before in flags), None)
        return f"{flag} takes no value, and has {word!r}" if flag else f"no option takes {word!r}; see --help"


def parse(
    build: Callable[[Parser], None], description: str, task: str, argv: Sequence[str]
) -> argparse.Namespace:
    """The options of a run: stored, configured and typed ones merged, as the head of this file says.

    `build` adds the options of the task to a parser. Raises UserError for anything wrong in them.
    """
    argv = modern_spelling(argv)
    known = _peek(argv)
    if known.resume and known.branch:
        raise UserError(
            "--continue and --branch exclude each other: the first goes on, the second starts anew"
        )
    parent = known.exp if known.resume else known.branch
    if parent and known.load_model:
        raise UserError("--load-model starts from other weights than those that --continue and --branch take")
    files = [Path(name) for names in known.config for name in names]
    for file in files:
        if not file.is_file():
            raise UserError(_no_recipe(file, task))
    if parent:
        folder = known.exp_dir / task / parent
        stored_options(folder)
        files.insert(0, folder / OPTIONS_FILE)
    parser = Parser(description, files)
    build(parser)
    args = parser.parse_strictly(argv)
    _check_start(args)
    _check_length(args, argv)
    return args


def _no_recipe(file: Path, task: str) -> str:
    """That a config file does not exist, and where one of nearly that name does."""
    folder = from_here(ROOT / task / "recipes")
    recipes = [str(folder / each.name) for each in folder.glob("*.yaml")]
    near = suggest(str(folder / file.with_suffix(".yaml").name), recipes)
    return f"config file {file} does not exist{near}; recipes lie in {folder}"


def _check_start(args: argparse.Namespace) -> None:
    """UserError for options of `--load-model` without it, or against each other."""
    if args.strict and args.transfer_head:
        raise UserError("--strict wants a checkpoint for the same joints, --transfer-head is for other ones")
    for name in ("strict", "transfer_head"):
        if getattr(args, name) and not args.load_model:
            raise UserError(f"--{name.replace('_', '-')} is about --load-model FILE: give that, too")


def _check_length(args: argparse.Namespace, argv: Sequence[str]) -> None:
    """UserError for two lengths that are typed at once (one of a recipe gives way to the other), and for an
    end that nothing looks out for.
    """
    if args.early_stop and not args.valid_every:
        raise UserError("--early-stop looks at validations: give --valid-every, too, or leave it out")
    if {"--epochs", "--more-epochs"} <= {word.partition("=")[0] for word in argv}:
        raise UserError("--epochs says how many there are in all, --more-epochs how many more: give one")


def _peek(argv: Sequence[str]) -> argparse.Namespace:
    """What of the command line decides where other options come from; all else is left for later."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--exp")
    early.add_argument("--exp-dir", type=path, default=ROOT / "exp")
    early.add_argument("--branch")
    early.add_argument("--load-model")
    early.add_argument("--continue", dest="resume", action="store_true")
    early.add_argument("--dataset")
    early.add_argument("--config", action="append", default=[], nargs="+")
    early.error = Parser.error.__get__(early)  # type: ignore[method-assign]
    return early.parse_known_args(argv)[0]


def parse_test(
    build: Callable[[Parser], None], description: str, task: str, argv: Sequence[str]
) -> argparse.Namespace:
    """The options of a test: with --exp or -c, the data of the experiment unless others are typed."""
    argv = [word for word in modern_spelling(argv) if word != "--continue"]
    known = _peek(argv)
    parser = Parser(description)
    build(parser)
    if not known.exp:
        args = parser.parse_strictly(argv)
        if args.predictions:
            _refuse_of_network(args, parser)
        return args
    stored = stored_options(known.exp_dir / task / known.exp)
    _choose_one(stored, known.dataset)
    return parser.parse_strictly(argv, {key: stored[key] for key in _DATA if key in stored})


def _refuse_of_network(args: argparse.Namespace, parser: Parser) -> None:
    """UserError for an option beside `--predictions` that is about what a network does."""
    for name in _OF_NETWORK:
        value = getattr(args, name, None)
        if value is not None and value != parser.get_default(name):
            option = f"--{'no-' if value is False else ''}{name.replace('_', '-')}"
            raise UserError(
                f"{option} is about what a network predicts, and --predictions runs none: leave it out"
            )


def _choose_one(stored: dict[str, Any], dataset: str | None) -> None:
    """Leave of the stored data sets and folders those of a test on one: on `dataset`, if it is typed."""
    names, folders = stored.get("dataset"), stored.get("data-dir")
    if isinstance(names, list):
        if dataset is None:
            known = ", ".join(map(str, names))
            raise UserError(f"the run learnt from {known}: --dataset says on which of them it is tested")
        stored.pop("dataset")
    elif dataset and dataset != names:
        stored.pop("data-dir", None)  # it is where the other data set lies
    if isinstance(folders, list):
        own = [text for text in folders if str(text).startswith(f"{dataset or names}=")]
        stored["data-dir"] = own[0].partition("=")[2] if own else None


def stored_options(folder: Path) -> dict[str, Any]:
    """The options of the experiment in `folder`, by the names that are typed.

    Raises UserError, with the nearest name, if there is no such experiment, or if its options are damaged.
    """
    path = folder / OPTIONS_FILE
    if not path.is_file():
        there = [beside.parent.name for beside in folder.parent.glob(f"*/{OPTIONS_FILE}")]
        raise UserError(
            f"there is no experiment {folder.name!r} in {folder.parent}{suggest(folder.name, there)}"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); restore it or start a new experiment") from None
    options = content.get("options") if isinstance(content, dict) else None
    if not isinstance(options, dict):
        raise UserError(f"{path} is damaged (it holds no options); restore it or start a new experiment")
    return options


def modern_spelling(argv: Sequence[str]) -> list[str]:
    """`argv` with the old spellings replaced by ours, and -c NAME by --exp NAME --continue.

    -c OLD with another name, -e NEW, starts a new experiment from the old one, as --branch does.
    """
    words: list[str] = []
    rest, parent = list(argv), None
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        name = word.lstrip("-")
        if word in ("-c", "--continue_exp", "--c"):
            if not rest and not equals:
                raise UserError("-c wants the name of the experiment to continue")
            parent = value if equals else rest.pop(0)
            continue
        if word.startswith("-") and name in OLD_SPELLINGS:
            words += _IMPLIED.get(name, [])
            word = f"--{OLD_SPELLINGS[name]}"
            if OLD_SPELLINGS[name] in _VALUES_OF:
                value = _OLD_VALUES.get(value, value)
                rest[:1] = rest[:1] if equals else [_OLD_VALUES.get(text, text) for text in rest[:1]]
            if name == "finalPredictions" and rest and rest[0] in ("0", "1"):
                word = word if rest.pop(0) == "1" else "--no-final-predictions"
        *before, word = _SHORT.get(word, [word])
        words += [*before, word + equals + value]
    if parent is None:
        return words
    new = _peek(words).exp
    return [*words, "--exp", parent, "--continue"] if new in (None, parent) else [*words, "--branch", parent]


# Types of values. Their messages follow "argument --name: ".


def path(text: str) -> Path:
    """A path, made absolute: it is stored, and a run may be continued from another folder."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"{text}: there is no such home folder") from None


def folder(text: str) -> Path | str:
    """DIR as an absolute path, or NAME=DIR, one of several, as NAME= and an absolute path."""
    name, equals, rest = text.partition("=")
    if equals and name.isidentifier() and rest:
        return f"{name}={path(rest)}"
    return path(text)


class _OneOrMore(argparse.Action):
    """The value of an option that may have several: one by itself, or a list. NAME=DIR is in a list."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        alone = len(values) == 1 and not (self.dest == "data_dir" and isinstance(values[0], str))
        setattr(namespace, self.dest, values[0] if alone else values)


def experiment_name(text: str) -> str:
    """The name of an experiment, which is that of its folder."""
    if not text.strip() or text.startswith(".") or set(text) & set('/\\:*?"<>|'):
        raise argparse.ArgumentTypeError(f"the name of a folder is wanted, not {text!r}")
    return text


def count(text: str) -> int:
    """A whole number from 0."""
    return _number(int, text, lambda n: n >= 0, "a whole number from 0")


def positive(text: str) -> int:
    """A whole number from 1."""
    return _number(int, text, lambda n: n >= 1, "a whole number from 1")


def real(text: str) -> float:
    """A number from 0."""
    return _number(float, text, lambda x: 0 <= x < float("inf"), "a number from 0")


def positive_real(text: str) -> float:
    """A number above 0."""
    return _number(float, text, lambda x: 0 < x < float("inf"), "a number above 0")


def share(text: str) -> float:
    """A number from 0 to 1."""
    return _number(float, text, lambda x: 0 <= x <= 1, "a number from 0 to 1")


def decay(text: str) -> float:
    """A number from 0 to below 1: what averages keep of themselves in a step."""
    return _number(float, text, lambda x: 0 <= x < 1, "a number from 0 to below 1")


def _number(kind: Callable[[str], Any], text: str, holds: Callable[[Any], bool], expected: str) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not holds(value):
        raise argparse.ArgumentTypeError(f"{expected} is wanted, not {text!r}")
    return value


def one_of(names: Sequence[str]) -> Callable[[str], str]:
    """A type that takes one of `names`, and suggests the nearest for another word."""

    def check(text: str) -> str:
        if text not in names:
            known = ", ".join(names)
            raise argparse.ArgumentTypeError(f"there is no {text!r}{suggest(text, names)}; known: {known}")
        return text

    return check


# Groups of options that every task has.


def add_run_options(parser: Parser) -> None:
    run = parser.add_argument_group("run")
    run.add_argument(
        "--exp", type=experiment_name, required=True, metavar="NAME", help="name of the experiment (-e NAME)"
    )
    run.add_argument(
        "--exp-dir", type=path, default=ROOT / "exp", metavar="DIR", help="where experiments lie"
    )
    run.add_argument("--config", action="append", nargs="+", metavar="YAML", help="recipes; later ones win")
    run.add_argument(
        "--continue", dest="resume", action="store_true",
        help="go on with experiment NAME, with its options but for those typed now (-c NAME)",
    )  # fmt: skip
    run.add_argument(
        "--branch",
        type=experiment_name,
        metavar="OLD",
        help="start NAME from the state and options of experiment OLD",
    )
    run.add_argument("--load-model", type=path, metavar="FILE", help="start from the weights of a checkpoint")
    run.add_argument(
        "--transfer-head", action=BooleanOptionalAction, default=False,
        help="with --load-model: the last layers keep what they know of joints of the same name",
    )  # fmt: skip
    run.add_argument(
        "--strict", action=BooleanOptionalAction, default=False,
        help="with --load-model: refuse a checkpoint for other joints, or of which anything does not fit",
    )  # fmt: skip
    run.add_argument("--seed", type=count, default=0, help="of the weights, the order and the augmentation")
    run.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps …")
    run.add_argument(
        "--workers", type=count, default=2, help="processes that prepare data, one a core at most; 0: none"
    )
    run.add_argument(
        "--sync-batchnorm", action=BooleanOptionalAction, default=False,
        help="batch normalisation over the joined batch of several GPUs",
    )  # fmt: skip
    run.add_argument(
        "--final-predictions", action=BooleanOptionalAction, default=False,
        help="at the end, write predictions for the test split (the validation split where there is none)",
    )  # fmt: skip
    run.add_argument("--json", type=path, metavar="OUT", help="write the final figures as JSON too")
    run.add_argument(
        "--report", action=BooleanOptionalAction, default=False,
        help="at the end, write report.html (tools/report.py) into the folder of the experiment",
    )  # fmt: skip


def _add_scoring_options(parser: Parser, stored: str, batch_size: int) -> Any:
    """The group of options for scoring, which is returned.

    stored: what predictions are stored in. batch_size: people or pictures at a time by default.
    """
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--exp", type=experiment_name, metavar="NAME", help="score an experiment (-e NAME)")
    what.add_argument("--checkpoint", type=path, metavar="FILE", help="score a checkpoint")
    what.add_argument("--predictions", type=path, metavar="FILE", help=f"score stored {stored}")
    how = parser.add_argument_group("scoring")
    how.add_argument(
        "--exp-dir", type=path, default=ROOT / "exp", metavar="DIR", help="where experiments lie"
    )
    how.add_argument("--last", action="store_true", help="the newest checkpoint of NAME, not the best")
    how.add_argument("--split", default="valid", choices=("train", "valid", "test"), help="of the data set")
    how.add_argument(
        "--flip-test", action=BooleanOptionalAction, default=True,
        help="average with the mirrored picture",
    )  # fmt: skip
    how.add_argument(
        "--out", type=path, metavar="DIR",
        help="where predictions go; none: the experiment, and those of a --checkpoint are not kept",
    )  # fmt: skip
    how.add_argument(
        "--pictures", "--images", type=count, default=0, metavar="N", help="draw N of them in predictions.jpg"
    )
    how.add_argument("--batch-size", type=positive, default=batch_size, help="looked at together")
    how.add_argument(
        "--valid-iters", type=count, default=0, help="batches, spread over the split; 0: all of it"
    )
    how.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps …")
    how.add_argument("--amp", choices=AMP, default="none", help="mixed precision: faster, figures may differ")
    how.add_argument(
        "--workers", type=count, default=2, help="processes that prepare data, one a core at most; 0: none"
    )
    how.add_argument("--json", type=path, metavar="OUT", help="write the figures as JSON too")
    how.add_argument(
        "--submission", type=path, metavar="FILE",
        help="write what a benchmark's server takes: .mat for MPII's test split, .zip for COCO",
    )  # fmt: skip
    return how


def add_single_person_scoring_options(parser: Parser, heatmaps: bool = True) -> None:
    """heatmaps: whether the task's networks give some; else joints come without, and are only found."""
    how = _add_scoring_options(parser, ".h5, .mat, .npz or .json", batch_size=16)
    how.add_argument(
        "--protocol", nargs="+", metavar="NAME",
        help="one or several of pckh, pck, pck-box, pcp, ap, …; none: the customary ones of the data set",
    )  # fmt: skip
    how.add_argument(
        "--bootstrap", type=count, default=0, metavar="N",
        help="draw people (Penn Action: clips, AP: pictures) N times, such as 1000, for 95 %% intervals of"
        " the means",
    )  # fmt: skip
    how.add_argument(
        "--torso", choices=("left", "right"),
        help="for pck: it goes from this shoulder to the other hip; none: left, for flic right",
    )  # fmt: skip
    how.add_argument(
        "--by", nargs="+", choices=GROUPINGS, default=[],
        help="also score groups of people: by the side they show, how far the trunk leans, what they do",
    )  # fmt: skip
    how.add_argument(
        "--boxes",
        type=path,
        metavar="FILE",
        help="of people detected in COCO; none: annotated ones",
    )
    how.add_argument("--box-score", type=real, default=0.0, help="the least score of such a box")
    how.add_argument(
        "--save-input", action="store_true", help="put what the network saw into preds.h5, too: large"
    )
    _add_drawn_for(how, 256)
    if heatmaps:
        _add_heatmap_options(how)
    else:
        parser.set_defaults(decode=QUARTER, scales=[1.0], save_heatmaps=False)


def _add_heatmap_options(how: Any) -> None:
    how.add_argument(
        "--decode", choices=(QUARTER, DARK), default=QUARTER,
        help="joints within a cell: a quarter towards the higher neighbour, or where a Gaussian has its peak",
    )  # fmt: skip
    _add_scales(how)
    how.add_argument("--save-heatmaps", action="store_true", help="put them into preds.h5, too: large")


def _add_scales(how: Any) -> None:
    how.add_argument(
        "--scales", type=positive_real, nargs="+", default=[1.0], metavar="SCALE",
        help="of the network's input size, such as 2 1 0.5; maps are averaged",
    )  # fmt: skip


def add_multi_person_scoring_options(parser: Parser) -> None:
    _add_scoring_options(parser, "results in COCO's format", batch_size=4)
    search = parser.add_argument_group("search")
    _add_scales(search)
    search.add_argument("--max-people", type=positive, default=30, help="to be found in a picture at most")
    _add_drawn_for(search, 512)
    search.add_argument(
        "--refine", action=BooleanOptionalAction, default=True, help="look for the joints that a person lacks"
    )


def _add_drawn_for(group: Any, default: int) -> None:
    group.add_argument(
        "--input-res", type=positive, default=default,
        help="for which synthetic pictures were drawn that stored predictions are of; a network has its own",
    )  # fmt: skip


def add_network_options(parser: Parser, architectures: Sequence[str], arch: str) -> None:
    """Which network, and its sizes, as `network_config` gives them to the network's class."""
    group = parser.add_argument_group(
        "network", "none of a size: that of the published network; `python -m src.models` lists them all"
    )
    group.add_argument("--arch", type=one_of(architectures), default=arch, help="architecture")
    for name, meaning in _SIZES.items():
        group.add_argument(f"--{name}", type=positive, metavar="N", help=meaning)
    _add_further_arguments(group)


def add_regression_options(parser: Parser, architectures: Sequence[str], arch: str) -> None:
    """Which network that gives coordinates, on which backbone (`network_config` with BACKBONE)."""
    group = parser.add_argument_group("network")
    group.add_argument("--arch", type=one_of(architectures), default=arch, help="architecture")
    group.add_argument(
        "--backbone", metavar="NAME",
        help="a classification network of torchvision, such as resnet18; none: that of the published network",
    )  # fmt: skip
    group.add_argument(
        "--pretrained", choices=("none", "auto", "imagenet"), default="none",
        help="weights learnt on ImageNet; auto: if they can be had",
    )  # fmt: skip
    group.add_argument("--cascade", type=count, default=0, help="deeppose: further stages, which look closer")
    _add_further_arguments(group)


BACKBONE = ("backbone", "pretrained", "cascade")  # options that are arguments of networks with a backbone


def _add_further_arguments(group: Any) -> None:
    group.add_argument(
        "--network", type=setting, nargs="*", default=[], metavar="KEY=VALUE",
        help="further arguments of the architecture",
    )  # fmt: skip


# The arguments that most architectures have.
_SIZES = {
    "stacks": "networks in a row, each supervised",
    "feats": "width of the features",
    "modules": "blocks at each place",
    "depth": "how often an hourglass halves",
}


def network_config(options: argparse.Namespace, *others: str) -> dict[str, Any]:
    """The arguments of the network's class that the options give, but for the number of joints.

    others: options beside the sizes of all tasks that are such arguments. Raises UserError for a `--network`
    that sets what has an option of its own, or the number of joints.
    """
    sizes = {name: getattr(options, name) for name in (*_SIZES, *others) if hasattr(options, name)}
    further = dict(text.split("=", 1) for text in options.network)
    if "tag_dim" in further and "tag_dim" not in sizes:
        raise UserError("--network cannot set tag_dim: tags are of several people, see hgpose-ae")
    for name in further:
        if name in sizes or name == "num_joints":
            where = f"--{name.replace('_', '-')} does" if name in sizes else "that is up to the data set"
            raise UserError(f"--network cannot set {name}: {where}")
    given = {name: size for name, size in sizes.items() if size}
    return given | {name: _value(text) for name, text in further.items()}


def tagged_network_config(options: argparse.Namespace) -> dict[str, Any]:
    """The same for a network with tags; the logistic loss is of probabilities alone."""
    config = network_config(options, "tag_dim")
    return config | {"sigmoid": True} if options.loss == "logistic" else config


def setting(text: str) -> str:
    """KEY=VALUE."""
    key, equals, value = text.partition("=")
    if not (equals and key.isidentifier() and value):
        raise argparse.ArgumentTypeError(f"KEY=VALUE is wanted, such as stem_feats=256, not {text!r}")
    return text


def _value(text: str) -> Any:
    """A number, a list or another value of JSON; else the word itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def add_length_options(parser: Parser, epochs: int, batch_size: int) -> None:
    length = parser.add_argument_group("length, validation and saving")
    length.add_argument("--epochs", type=count, default=epochs, help="epochs in all")
    length.add_argument(
        "--more-epochs", type=count, metavar="N",
        help="instead: epochs beyond those that the run, or the one it branches from, has behind it",
    )  # fmt: skip
    length.add_argument(
        "--iters", type=count, default=0, help="iterations an epoch; 0: once through the data"
    )
    length.add_argument("--max-iters", type=count, default=0, help="stop after N iterations in all (-m N)")
    length.add_argument(
        "--batch-size",
        type=positive,
        default=batch_size,
        help="people or pictures a step, in all processes together",
    )
    length.add_argument(
        "--accumulate", type=positive, default=1, help="parts in which a batch is learnt, to save memory"
    )
    length.add_argument("--valid-every", type=count, default=1, help="epochs between validations; 0: never")
    length.add_argument("--valid-iters", type=count, default=0, help="validation batches; 0: the whole split")
    length.add_argument("--early-stop", type=count, default=0, metavar="N", help="stop after N validations"
                        " without a gain of --early-stop-delta; 0: never")  # fmt: skip
    length.add_argument(
        "--early-stop-delta", type=real, default=0.001, help="what counts as a gain of the best validation"
    )
    length.add_argument(
        "--snapshot-every", type=count, default=0, help="epochs between kept checkpoints; 0: none"
    )
    length.add_argument(
        "--save-every", type=count, default=0, help="iterations between checkpoints within an epoch"
    )
    length.add_argument("--log-every", type=positive, default=50, help="iterations between rows of steps.csv")


def add_data_options(parser: Parser, datasets: Sequence[str], several: bool = False) -> None:
    """several: whether a run may have several data sets at once."""
    data = parser.add_argument_group("data")
    if several:
        data.add_argument(
            "--dataset", type=one_of(datasets), default="synth", nargs="+", action=_OneOrMore, metavar="NAME",
            help=f"one or several of {', '.join(datasets)}",
        )  # fmt: skip
        data.add_argument(
            "--data-dir", type=folder, nargs="+", action=_OneOrMore, metavar="DIR",
            help="its folder, or NAME=DIR for each of several; none: data/<dataset>",
        )  # fmt: skip
        data.add_argument(
            "--weights", type=positive_real, nargs="+", metavar="WEIGHT",
            help="how often the people of each data set are drawn in a pass; none: once",
        )  # fmt: skip
    else:
        data.add_argument("--dataset", type=one_of(datasets), default="synth", help=", ".join(datasets))
        data.add_argument("--data-dir", type=path, metavar="DIR", help="its folder; none: data/<dataset>")
    data.add_argument(
        "--synth-size", type=positive, nargs=2, default=[20000, 500], metavar=("TRAIN", "VALID"),
        help="how many synthetic people, or pictures of several, there are",
    )  # fmt: skip
    data.add_argument(
        "--synth-poses", type=one_of(["all", "upright", "acrobatic"]), default="all", nargs="+",
        action=_OneOrMore, metavar="SET",
        help="all; upright: only those who stand, walk or run, seen from the front; learnt sooner; acrobatic:"
        " those of sports, who jump, fold up, tumble or stand on their hands, in light and contrast of"
        " photographs; of several sets people come in turn",
    )  # fmt: skip
    data.add_argument(
        "--synth-bank", type=path, metavar="DIR",
        help="keep drawings in files of this folder, from which they are read when they are wanted again;"
        " any number of runs may share it",
    )  # fmt: skip
    data.add_argument("--valid-share", type=share, default=0.2, help="share held out where there is no split")
    data.add_argument(
        "--skip-bad-images", action=BooleanOptionalAction, default=None,
        help="leave out pictures that cannot be read, and count them; none: in training those met after"
        " the first epoch",
    )  # fmt: skip


def add_heatmap_loss_options(parser: Parser) -> None:
    loss = parser.add_argument_group("loss")
    loss.add_argument(
        "--loss", choices=HEATMAP_LOSSES, default="mse",
        help="mse: of the heatmaps; softmax: cross-entropy of where a joint is",
    )  # fmt: skip
    _add_stage_weights(loss)
    loss.add_argument("--sigma", type=positive_real, default=1.0, help="of targets, in cells")
    loss.add_argument(
        "--target-radius", type=count, default=0, metavar="CELLS",
        help="targets are cut beyond it; 0: 3 sigma, rounded up",
    )  # fmt: skip
    loss.add_argument(
        "--mask-unlabelled", action=BooleanOptionalAction, default=False,
        help="take unlabelled joints out of the loss",
    )  # fmt: skip


def add_coordinate_loss_options(parser: Parser) -> None:
    loss = parser.add_argument_group("loss")
    loss.add_argument(
        "--loss", choices=COORDINATE_LOSSES, default="smooth",
        help="of coordinates; smooth: l2 near the joint, l1 farther away",
    )  # fmt: skip
    _add_stage_weights(loss)


def add_tag_loss_options(parser: Parser) -> None:
    """The options of the loss of associative embedding, and the tags that it is of."""
    loss = parser.add_argument_group("loss")
    loss.add_argument("--tag-dim", type=positive, default=1, help="numbers in a tag")
    loss.add_argument(
        "--loss", choices=("mse", "logistic"), default="mse",
        help="of the heatmaps; logistic: cross-entropy, which has no plateau of empty maps",
    )  # fmt: skip
    _add_stage_weights(loss)
    loss.add_argument(
        "--sigma", type=real, default=0.0, help="of targets, in cells; 0: a 64th of the map's side"
    )
    loss.add_argument("--pull-weight", type=real, default=1e-3, help="of tags of one person")
    loss.add_argument("--push-weight", type=real, default=1e-3, help="of tags of different people")


def _add_stage_weights(loss: Any) -> None:
    loss.add_argument(
        "--stage-weights", type=real, nargs="+", metavar="WEIGHT",
        help="what each stage's loss counts, the first stage first; none: all 1",
    )  # fmt: skip


def add_adversarial_options(parser: Parser, d_feats: int = 256, d_modules: int = 2) -> None:
    group = parser.add_argument_group("self-adversarial training")
    group.add_argument(
        "--adversarial", action=BooleanOptionalAction, default=True,
        help="without it the run is one of the pose network alone",
    )  # fmt: skip
    group.add_argument(
        "--adversarial-after", type=count, default=0, metavar="N",
        help="iterations that the pose network learns alone at first",
    )  # fmt: skip
    group.add_argument(
        "--lambda-g", type=real, default=1e-4, help="weight of the adversarial part of the loss"
    )
    group.add_argument(
        "--gamma", type=share, default=0.5,
        help="energy of predicted heatmaps, as a share of that of real ones, that is to be held",
    )  # fmt: skip
    group.add_argument("--lambda-kt", type=share, default=1e-3, help="how fast k_t moves")
    group.add_argument("--kt-init", type=share, default=0.0, help="k_t at the start")
    group.add_argument(
        "--energy", choices=("sum", "mean"), default="sum",
        help="what the controller sees: sums over joints and cells, as published, or means, as in"
        " older code, with which k_t hardly moves",
    )  # fmt: skip
    group.add_argument(
        "--lr-d", type=real, default=8e-5, help="rate of the discriminator (Adam), under --schedule as well"
    )
    group.add_argument("--d-updates", type=positive, default=1, help="of the discriminator, in an iteration")
    group.add_argument("--d-stacks", type=positive, default=4, help="hourglasses of the discriminator")
    group.add_argument("--d-feats", type=positive, default=d_feats, help="its width")
    group.add_argument(
        "--d-modules", type=positive, default=d_modules, help="its residual blocks at each place"
    )
    group.add_argument("--d-depth", type=positive, default=4, help="how often it halves the heatmaps")
    group.add_argument(
        "--load-discriminator", type=path, metavar="FILE", help="start from the discriminator in a checkpoint"
    )


def add_release_options(parser: Parser) -> None:
    """What single releases of single people have to be asked."""
    releases = parser.add_argument_group("releases")
    releases.add_argument(
        "--penn-compat", action=BooleanOptionalAction, default=False,
        help="exchange x and y of Penn Action's centres, as published networks learnt them",
    )  # fmt: skip
    releases.add_argument(
        "--flic-sides", choices=("observer", "person"), default="observer",
        help="whose left and right FLIC's joints have",
    )  # fmt: skip
    _add_coco_release(releases)


def _add_coco_release(group: Any) -> None:
    group.add_argument(
        "--coco-year",
        type=int,
        choices=(2014, 2017),
        help="of COCO; none: the newest that is there",
    )
    group.add_argument(
        "--valid-ids", type=path, metavar="FILE",
        help="ids of training pictures, one a line, that are for validation, such as data/coco/valid_id",
    )  # fmt: skip


def add_coco_options(parser: Parser) -> None:
    coco = parser.add_argument_group("COCO")
    _add_coco_release(coco)
    coco.add_argument(
        "--mask-people", action=BooleanOptionalAction, default=False,
        help="take people without labelled joints out of the loss, too, as crowds are",
    )  # fmt: skip
    coco.add_argument(
        "--empty-share", type=share, default=0.0, help="share of the pictures without people to learn from"
    )


def add_scene_options(parser: Parser) -> None:
    scene = parser.add_argument_group("pictures and augmentation")
    scene.add_argument("--input-res", type=positive, default=512, help="side of the square input in pixels")
    scene.add_argument(
        "--max-people", type=positive, default=30, help="to learn from in a picture; further ones are masked"
    )
    scene.add_argument("--scale-aug", type=share, default=0.25, help="the square is scaled by 1 ± this")
    scene.add_argument("--rotate-aug", type=real, default=30, help="degrees of rotation at most")
    scene.add_argument("--shift-aug", type=share, default=0.2, help="shift at most, as a share of the side")
    scene.add_argument("--flip-prob", type=share, default=0.5, help="share of pictures that are mirrored")
    scene.add_argument("--color-aug", type=share, default=0.4, help="channels are multiplied by 1 ± this")


def add_crop_options(parser: Parser, rotate_prob: float = 0.4) -> None:
    crop = parser.add_argument_group("crops and augmentation")
    crop.add_argument(
        "--skeleton", help="joints to learn, if not the data set's: mpii, lsp, coco, flic, penn"
    )
    crop.add_argument("--input-res", type=positive, default=256, help="side of the square crop in pixels")
    crop.add_argument("--scale-aug", type=real, default=0.25, help="boxes grow by 2^x, x of this deviation")
    crop.add_argument("--rotate-aug", type=real, default=30, help="deviation of the rotation in degrees")
    crop.add_argument(
        "--rotate-prob", type=share, default=rotate_prob, help="share of crops that are rotated"
    )
    crop.add_argument("--flip-prob", type=share, default=0.5, help="share of crops that are mirrored")
    crop.add_argument("--color-aug", type=share, default=0.4, help="channels are multiplied by 1 ± this")


def add_optimizer_options(parser: Parser, optimizer: str, lr: float) -> None:
    group = parser.add_argument_group("optimisation")
    group.add_argument("--optimizer", choices=OPTIMIZERS, default=optimizer, help="what takes the steps")
    group.add_argument("--lr", type=real, default=lr, help="learning rate")
    group.add_argument("--momentum", type=real, default=0.0, help="of rmsprop, sgd and nag (there 0: 0.9)")
    group.add_argument(
        "--weight-decay",
        type=real,
        default=0.0,
        help="pull of the weights towards 0, as the optimizer has it",
    )
    group.add_argument("--alpha", type=share, default=0.99, help="smoothing of rmsprop")
    group.add_argument("--eps", type=positive_real, default=1e-8, help="of all but sgd and nag")
    group.add_argument(
        "--schedule", choices=SCHEDULES, default="constant", help="course of the learning rate"
    )
    group.add_argument("--milestones", type=real, nargs="+", default=[60, 90], metavar="EPOCH",
                       help="multistep: multiply by --lr-gamma at these epochs")  # fmt: skip
    group.add_argument("--lr-step", type=positive_real, default=50, help="step: multiply every N epochs")
    group.add_argument("--lr-gamma", type=positive_real, default=0.1, help="factor of step and multistep")
    group.add_argument("--lr-decay", type=real, default=0.0, help="inverse: lr / (1 + decay x iteration)")
    group.add_argument("--warmup", type=count, default=0, help="iterations in which the rate rises from 0")
    group.add_argument("--clip", type=real, default=0.0, help="largest norm of the gradient; 0: no limit")
    group.add_argument(
        "--ema", type=decay, default=0.0,
        help="decay of the averaged weights, in the first n steps at most (1 + n) / (10 + n); 0: no average",
    )  # fmt: skip


def add_speed_options(parser: Parser) -> None:
    speed = parser.add_argument_group("speed", "auto: what pays on the device, said at the start and stored")
    speed.add_argument("--amp", choices=AMP, default="auto", help="mixed precision")
    speed.add_argument("--compile", choices=("auto", "none", "default"), default="auto", help="torch.compile")
    speed.add_argument(
        "--channels-last", choices=("auto", "none", "always"), default="auto", help="memory layout"
    )
    speed.add_argument(
        "--grad-checkpoint", choices=("auto", "none", "always"), default="auto",
        help="keep fewer activations and compute them again in the backward pass, where memory is short",
    )  # fmt: skip


OPTIMIZERS = ("rmsprop", "adam", "adamw", "sgd", "nag", "adadelta", "adagrad")
AMP = ("auto", "none", "bf16", "fp16")
SCHEDULES = ("constant", "step", "multistep", "cosine", "inverse")
