"""Learn from drawn people and look at photographs: what parts of a drawing are worth, and what drawings save.

python -m bench.drawn parts --lspet DIR             one run with all parts, and one without each of them
python -m bench.drawn photographs --lspet DIR --checkpoint FILE
                                                    200 to 2,000 photographs, from FILE and from scratch
python -m bench drawn                               how fast people are drawn, and read from a bank

DIR holds the first 2,500 people of LSPET, of whom the last 500 are scored and never learnt from; FILE is of a
network that learnt from drawn people. All runs of a call have one seed and one number of iterations. They are
hgpose/train.py with the recipe for laptops: a call that was broken off, or one with more --iters, goes on.

accuracy    as in training: joints found to a twentieth of the heatmap's side, the mean of ten joints
PCK@0.2     in torsos, the mean of all joints (pck_unweighted of test.py)
exchanged   joints with sides that lie on the other side's joint: left for right
"""

import json
import runpy
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from bench.harness import Case, Item, Measure, Options
from bench.sample import one_core
from src import models
from src.datasets import readers
from src.datasets.annotations import UNLABELLED, Annotations, People
from src.datasets.augmentation import Augmentation
from src.datasets.crops import PersonCrops, Stream, collate, in_order, load, readable
from src.datasets.skeletons import LSP, Skeleton
from src.datasets.synth import SynthPeople
from src.datasets.synth.parts import ALL_PARTS, PARTS, Parts
from src.datasets.synth.poses import POSES
from src.datasets.workers import cores
from src.errors import UserError
from src.evaluation.bootstrap import intervals
from src.evaluation.failures import KINDS, failures
from src.evaluation.predict import Found, found_in_maps, predict
from src.evaluation.protocols import Truth, yardstick
from src.utils import single_person
from src.utils.command import command, note
from src.utils.curves import COLOURS, STYLE, SUFFIXES, save_figure
from src.utils.device import choose_device
from src.utils.files import writable_folder
from src.utils.options import NEWEST, ROOT, Parser, count, one_of, path, positive, positive_real

TASK, RECIPE = "hgpose", ROOT / "hgpose" / "recipes" / "laptop.yaml"
EPOCH = 250  # iterations between checkpoints
COUNTS = (200, 500, 1000, 2000)
LEARNT, SCORED = 2000, 500  # people of LSPET, in its order
RES = 128
DRAWS = 2000  # of people, for intervals


# ------------------------------------------------------------------------------------------------ training


def learn(
    name: str, words: Sequence[str], people: People, valid: Annotations, options: Namespace, epoch: int
) -> Path:
    """The newest checkpoint of experiment `name`, of `options.iters` iterations, rounded up to epochs.

    words: its options. It learns from `people`. It is validated with those who are scored, whose figures
    decide nothing: neither when it ends nor which weights are used.
    """
    folder = options.exp_dir / TASK / name
    begin = ["-c", name] if folder.is_dir() else ["--exp", name, *words, "--iters", str(epoch)]
    begin += ["--exp-dir", str(options.exp_dir), "--epochs", str(-(-options.iters // epoch))]
    note(f"── {name}")
    torch.compiler.reset()
    with learning_from(people, valid):
        train([*begin, "--device", options.device, "--workers", str(options.workers)])
    return folder / NEWEST


@contextmanager
def learning_from(people: People, valid: People) -> Iterator[None]:
    """Within it hgpose/train.py learns from these and is validated with those, whatever its options say."""
    opened = single_person.open_people
    single_person.open_people = lambda _, split, *__: {"train": people, "valid": valid}[split]
    try:
        yield
    finally:
        single_person.open_people = opened


def train(words: Sequence[str]) -> None:
    """`hgpose/train.py` with these options, in this process; SystemExit if it fails or is stopped."""
    script = ROOT / TASK / "train.py"
    sys.path.insert(0, str(script.parent))
    try:
        runpy.run_path(str(script))["main"](words)
    finally:
        sys.path.remove(str(script.parent))


# ----------------------------------------------------------------------------------------------- photographs


class Marks(NamedTuple):
    """Of each joint whether it is what is asked for, and whether it counts, (N, J) bool."""

    hit: np.ndarray
    counted: np.ndarray

    def of(self, joints: Sequence[int]) -> "Marks":
        """Those of some joints."""
        return Marks(*(part[:, list(joints)] for part in self))

    def percent(self, weights: np.ndarray | None = None) -> np.ndarray:
        """The mean over joints (B,) of their shares; weights (B, N): how often people are drawn."""
        weights = np.ones((1, len(self.hit)), np.float32) if weights is None else weights
        hit, counted = (weights @ part.astype(np.float32) for part in self)
        return 100 * np.nanmean(hit / np.where(counted > 0, counted, np.nan), axis=1)


Scores = dict[str, Marks]  # by the names of the columns: accuracy, PCK@0.2, exchanged


def score(checkpoint: Path, lspet: Path, device: torch.device) -> Scores:
    """What the network of a checkpoint finds in the photographs that are held out."""
    loaded = models.load(checkpoint, device)
    skeleton = Skeleton.from_dict(loaded.skeleton)
    _, people = photographs(lspet, skeleton)
    crops = PersonCrops(people, loaded.input_res)
    batches = readable(load(crops, in_order(len(people), 50), 0, device), lambda: False, [])
    found = predict(loaded.network, batches, device)
    return scores_of(found, Truth.beside(found, people), loaded.input_res // loaded.network.stride)


def scores_of(found: Found, truth: Truth, size: int) -> Scores:
    """The marks of predictions; size: cells of a heatmap's side."""
    skeleton = truth.skeleton
    near, counted = found_in_maps(found, size)
    torso, mirror = yardstick("pck", truth), skeleton.flip_order
    labelled = truth.visible > UNLABELLED
    kinds = failures(found.coords, truth.joints, labelled, torso.length, torso.threshold, mirror)
    right, exchanged = (kinds == list(KINDS).index(name) for name in ("right", "inverted"))
    sided = [joint for joint, other in enumerate(mirror) if other != joint]
    return {
        "accuracy": Marks(near, counted).of(skeleton.accuracy_joints),
        "PCK@0.2": Marks(right, kinds >= 0).of(skeleton.mean_joints),
        "exchanged": Marks(exchanged, kinds >= 0).of(sided),
    }


def photographs(lspet: Path, skeleton: Skeleton) -> tuple[Annotations, Annotations]:
    """The people of LSPET to learn from, and those who are held out. UserError if there are fewer."""
    people = readers.read("lspet", lspet, "train", valid_share=0, skeleton=skeleton)
    if len(people) < LEARNT + SCORED:
        raise UserError(f"{lspet} has {len(people):,} people; it takes the first {LEARNT + SCORED:,}")
    ends = f"{LEARNT + 1:,} to {LEARNT + SCORED:,}"
    held_out = people.select(np.arange(LEARNT, LEARNT + SCORED), f"people {ends} of lspet")
    return people.select(np.arange(LEARNT)), held_out


def percent(marks: Marks, other: Marks | None = None) -> str:
    """The share, or how far it is above the other's for the same people, with its 95 % interval."""

    def figures(weights: np.ndarray | None = None) -> np.ndarray:
        return marks.percent(weights) - (0 if other is None else other.percent(weights))

    low, high = intervals(len(marks.hit), figures, DRAWS)
    sign = "" if other is None else "+"
    return f"{figures()[0]:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table; the first row is its head, and all columns but the first are of numbers."""
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, f"|---|{'--:|' * (len(rows[0]) - 1)}", *body])


# -------------------------------------------------------------------------------------------------- parts


def compare_parts(options: Namespace) -> None:
    """Learn without one part after the other, and print what each is worth."""
    device = choose_device(options.device)
    _, valid = photographs(options.lspet, LSP)
    epoch = min(EPOCH, options.iters)
    words = ["--config", str(RECIPE), "--skeleton", "lsp", "--seed", str(options.seed)]
    words += ["--input-res", str(RES), "--synth-size", str(options.size), "500"]
    scores: dict[str, Scores] = {}
    for part in (None, *(options.only or PARTS)):
        parts = Parts(**{part: False}) if part else ALL_PARTS
        people = SynthPeople("train", options.size, LSP, RES, options.poses, options.bank, parts)
        name = "-".join(["drawn", *(str(parts).split() or ["all"])])
        checkpoint = learn(name, words, people, valid, options, epoch)
        scores[str(parts) or "all parts"] = score(checkpoint, options.lspet, device)
    print(parts_table(scores))


def parts_table(scores: Mapping[str, Scores]) -> str:
    """A row a run, the first that of all parts."""
    everything, *_ = scores.values()
    rows = [["drawn people", "accuracy", "change", "PCK@0.2", "change", "exchanged"]]
    for name, own in scores.items():
        row = [name]
        for column in ("accuracy", "PCK@0.2"):
            change = "" if own is everything else percent(own[column], everything[column])
            row += [f"{own[column].percent()[0]:.1f}" if change else percent(own[column]), change]
        rows.append([*row, f"{own['exchanged'].percent()[0]:.1f}"])
    return markdown(rows)


# ------------------------------------------------------------------------------------------- photographs


def compare_starts(options: Namespace) -> None:
    """Learn from more and more photographs from both starts; print a table and draw the figure."""
    device = choose_device(options.device)
    loaded = models.load(options.checkpoint, device)
    skeleton = Skeleton.from_dict(loaded.skeleton)
    people, valid = photographs(options.lspet, skeleton)
    words = ["--config", str(RECIPE), *network_words(loaded), "--seed", str(options.seed)]
    epoch = min(EPOCH, options.iters)
    starts = {
        "from scratch": ["--lr", str(options.lr)],
        "from drawn people": ["--lr", str(options.tuning_lr), "--load-model", str(options.checkpoint)],
    }
    scores: dict[str, dict[int, Scores]] = {start: {} for start in starts}
    for number in COUNTS:
        some = people.select(np.arange(number), f"the first {number:,} people of lspet")
        for start, own in starts.items():
            name = f"{start.split()[1]}-{number}"
            checkpoint = learn(name, [*words, *own], some, valid, options, epoch)
            scores[start][number] = score(checkpoint, options.lspet, device)
    none = score(options.checkpoint, options.lspet, device)
    print(starts_table(scores, none))
    draw(scores, none, options.out)
    note(f"wrote {options.out}")


def network_words(loaded: models.LoadedModel) -> list[str]:
    """The options of train.py that make the same network."""
    words, further = ["--arch", loaded.arch, "--input-res", str(loaded.input_res)], []
    words += ["--skeleton", loaded.skeleton["name"]]
    for name, value in loaded.config.items():
        if name in ("stacks", "feats", "modules", "depth"):
            words += [f"--{name}", str(value)]
        elif name != "num_joints" and value != models.arguments(loaded.arch).get(name):
            further.append(f"{name}={json.dumps(value)}")
    return [*words, *(["--network", *further] if further else [])]


def starts_table(scores: Mapping[str, Mapping[int, Scores]], none: Scores) -> str:
    """A row a number of photographs; the first for none, with the network of the checkpoint as it is."""
    head = [f"{column}, {start}" for column in ("accuracy", "PCK@0.2") for start in (*scores, "gain")]
    rows = [["photographs", *head]]
    rows.append(["0", *(cell for name in ("accuracy", "PCK@0.2") for cell in ("", percent(none[name]), ""))])
    scratch, drawn = scores.values()
    for number in scratch:
        row = [f"{number:,}"]
        for column in ("accuracy", "PCK@0.2"):
            ends = scratch[number][column], drawn[number][column]
            row += [*map(percent, ends), percent(ends[1], ends[0])]
        rows.append(row)
    return markdown(rows)


def draw(scores: Mapping[str, Mapping[int, Scores]], none: Scores, out: Path) -> None:
    """Accuracy over the number of photographs, a line a start, with the 95 % intervals of all points."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.4, 3.6), dpi=200, layout="constrained")
        panel = figure.subplots()
        reached = float(none["accuracy"].percent()[0])
        panel.axhline(reached, color="#808080", linewidth=1, linestyle=":")
        panel.annotate("drawn people alone", (0, reached), (4, 3), color="#606060",
                       xycoords=("axes fraction", "data"), textcoords="offset points")  # fmt: skip
        for (start, by_number), colour in zip(scores.items(), COLOURS[1::-1], strict=True):
            marks = [each["accuracy"] for each in by_number.values()]
            low, high = np.array([intervals(len(each.hit), each.percent, DRAWS) for each in marks]).T
            middle = [float(each.percent()[0]) for each in marks]
            panel.fill_between(list(by_number), low, high, color=colour, alpha=0.15, linewidth=0)
            panel.plot(list(by_number), middle, "o-", color=colour, label=start, linewidth=1.6, markersize=4)
        panel.set_xscale("log")
        panel.set_xticks(list(by_number), [f"{number:,}" for number in by_number])
        panel.minorticks_off()
        panel.set_xlabel("photographs learnt from")
        panel.set_title(f"accuracy on {len(marks[0].hit)} others, %")
        panel.set_ylim(bottom=0)
        panel.legend(frameon=False, loc="lower right")
        save_figure(figure, out)


# ------------------------------------------------------------------------------------------------- speed


def cases(options: Options) -> Iterator[Item]:
    """A drawn sample from a bank that is full against drawing it; then both by the number of processes."""
    number = 64 if options.quick else 320
    with tempfile.TemporaryDirectory() as folder:
        kept, anew = (crops(number, bank) for bank in (Path(folder), None))
        for row in range(number):  # fills the bank, and the pools that processes to come will share
            kept.people.person(row)
        title = f"drawn people for crops of {RES} px"
        with one_core():
            yield Case(f"{title}, from a bank", "drawn anew", prepare(kept), prepare(anew), goal=8)
        for processes in _numbers_of_processes():
            ours, theirs = (rate(each, processes, 1 if options.quick else 5) for each in (kept, anew))
            name = f"{title}, from a bank, {processes} worker{'s' * (processes > 1)}"
            yield Measure(name, "drawn anew", ours, "people/s", theirs=theirs, ratio=ours / theirs)


def crops(number: int, bank: Path | None) -> PersonCrops:
    return PersonCrops(SynthPeople("train", number, LSP, RES, bank=bank), RES, Augmentation())


def prepare(people: PersonCrops) -> Callable[[], object]:
    """The next batch, as a worker makes it."""
    batches = iter(Stream(len(people), 16, seed=0))
    return lambda: collate(people.__getitems__(next(batches)))


def rate(people: PersonCrops, processes: int, seconds: float) -> float:
    """People a second that so many workers deliver to a process that does nothing with them."""
    batch = 16
    loader = load(people, Stream(len(people), batch, seed=0), processes, torch.device("cpu"))
    batches = readable(loader, lambda: False, [])
    for _ in range(4 * processes):
        next(batches)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        next(batches)
        done += batch
    return done / (time.perf_counter() - start)


def _numbers_of_processes() -> list[int]:
    """1, 2, 4 … and the number of cores."""
    most = cores()
    return sorted({*(2**power for power in range(most.bit_length())), most})


# ----------------------------------------------------------------------------------------------- command


@command
def main(argv: Sequence[str] | None = None) -> None:
    options = parse(sys.argv[1:] if argv is None else argv)
    writable_folder(options.exp_dir / TASK)
    (compare_parts if options.what == "parts" else compare_starts)(options)


def parse(argv: Sequence[str]) -> Namespace:
    parser = Parser("Learn from drawn people, and look at photographs.")
    parser.add_argument("what", type=one_of(["parts", "photographs"]), help="parts: of drawings; photographs:"
                        " how many of them learning from drawings saves")  # fmt: skip
    parser.add_argument(
        "--lspet", type=path, default=ROOT / "data" / "lspet", metavar="DIR", help="its first 2,500 people"
    )
    parser.add_argument("--iters", type=positive, default=5000, help=f"of each run, rounded up to {EPOCH}")
    parser.add_argument("--seed", type=count, default=0, help="of weights, order and augmentation")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps …")
    parser.add_argument("--workers", type=count, default=1, help="processes that prepare data")
    parser.add_argument("--exp-dir", type=path, default=ROOT / "exp", metavar="DIR", help="where runs lie")
    parts = parser.add_argument_group("parts")
    parts.add_argument("--only", type=one_of(PARTS), nargs="+", metavar="PART", help=f"of {', '.join(PARTS)}")
    parts.add_argument("--size", type=positive, default=20000, help="how many people are drawn")
    parts.add_argument(
        "--poses", type=one_of(POSES), default="acrobatic", help="what people do (--synth-poses)"
    )
    parts.add_argument("--bank", type=path, metavar="DIR", help="where drawings are kept (--synth-bank)")
    photos = parser.add_argument_group("photographs")
    photos.add_argument("--checkpoint", type=path, metavar="FILE", help="learnt from drawn people")
    photos.add_argument("--lr", type=positive_real, default=1e-3, help="from scratch")
    photos.add_argument("--tuning-lr", type=positive_real, default=5e-4, help="from the checkpoint")
    photos.add_argument("--out", type=path, metavar="FIGURE", help="none: photographs.png beside the runs")
    options = parser.parse_strictly(argv)
    if (options.what == "photographs") != (options.checkpoint is not None):
        raise UserError("--checkpoint FILE goes with photographs: what learnt from drawn people is compared")
    options.out = options.out or options.exp_dir / TASK / "photographs.png"
    if options.out.suffix.lower() not in SUFFIXES:
        raise UserError(f"--out {options.out} must end in one of {', '.join(SUFFIXES)}")
    return options


if __name__ == "__main__":
    main()
