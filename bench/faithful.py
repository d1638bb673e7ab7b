"""Learn the same with the plain formulation and with this project, and draw both beside an older code base.

python -m bench.faithful --lspet DIR              15 passes, 5,010 steps each: some 40 minutes of one core
python -m bench.faithful --lspet DIR --steps 1000 --only plain

DIR holds the first 2,500 people of LSPET: 2,000 to learn from, 500 to validate with. Both runs begin with the
same weights and see the same people in the same order under the same augmentation; what differs is the
formulation. Plain is what a first script does: floats and heatmaps from the worker, float32, eager,
contiguous, one loop. Ours is `hgpose/train.py`, as a user calls it. The recipe is that of
adversarial-pose-pytorch.

Both are saved after each pass: a call that was broken off, or one with more --steps, goes on.
"""

import math
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from bench.plain_sample import with_opencv
from src import models
from src.datasets import readers
from src.datasets.annotations import Annotations
from src.datasets.augmentation import Augmentation, Draw
from src.datasets.crops import Key, Stream
from src.datasets.skeletons import MPII
from src.errors import UserError
from src.utils.command import command, note
from src.utils.curves import COLOURS, STYLE, SUFFIXES, save_figure
from src.utils.experiment import read_rows, write_rows
from src.utils.files import replacing, writable_folder
from src.utils.options import ROOT, Parser, count, path, positive
from src.utils.progress import Progress
from src.utils.runs import Run, read_run

TASK, OURS, PLAIN = "hgpose", "faithful-ours", "faithful-plain"
RES, BATCH, LR, STEPS = 128, 6, 2.5e-4, 5010
SIZES = {"stacks": 2, "feats": 64}

# An older code base (roytseng-tw/adversarial-pose-pytorch) with this recipe on these people, one seed: after
# each pass of OLDER_PASS steps accuracies in %, and mean squared errors, summed over the stacks, times 1,000.
OLDER_PASS = 334
OLDER = {
    "train_accuracy": (1.9, 2.4, 3.7, 5.5, 6.8, 7.5, 8.2, 8.5, 9.7, 11.0, 11.2, 12.1, 12.5, 13.4, 13.8),
    "valid_accuracy": (1.6, 2.8, 5.5, 6.8, 8.1, 9.8, 10.2, 9.4, 11.7, 12.1, 13.5, 12.3, 13.0, 14.3, 14.3),
    "train_loss": (
        11.953, 4.874, 4.658, 4.582, 4.559, 4.539, 4.512, 4.497, 4.477, 4.466, 4.445, 4.427, 4.406, 4.385,
        4.381,
    ),
    "valid_loss": (
        5.471, 4.959, 4.666, 4.596, 4.566, 4.563, 4.518, 4.602, 4.594, 4.744, 4.581, 4.766, 4.741, 4.730,
        4.611,
    ),
}  # fmt: skip
UNITS = {"accuracy": ("accuracy, %", 100), "loss": ("loss x 1000", 1000)}


# --------------------------------------------------------------------------------------------------- plain


class PlainPeople(Dataset):
    """Picture and heatmaps of a person: by key under the factors of this project, by row without any."""

    def __init__(self, people: Annotations, seed: int) -> None:
        self.people, self.seed, self.augmentation = people, seed, Augmentation()

    def __getitem__(self, key: Key | int) -> tuple[Tensor, Tensor]:
        if isinstance(key, int):
            return with_opencv(self.people, key, Draw(), RES)
        draw = self.augmentation.draw(np.random.default_rng((self.seed, *key)))
        return with_opencv(self.people, key[1], draw, RES)

    def __len__(self) -> int:
        return len(self.people)


class Sums:
    """The figures of an epoch, gathered batch by batch."""

    def __init__(self) -> None:
        joints = MPII.num_joints
        self.correct, self.counted = torch.zeros(joints), torch.zeros(joints)
        self.loss, self.people = 0.0, 0

    def add(self, loss: Tensor, output: Tensor, target: Tensor) -> None:
        """The loss of a batch, and what its last heatmaps (B, J, h, w) find of the target's."""
        self.loss += loss.item() * len(target)
        self.people += len(target)
        size = target.shape[-1]
        for person in range(len(target)):
            for joint in range(target.shape[1]):
                if target[person, joint].max() > 0:
                    found, true = (
                        divmod(int(maps[person, joint].argmax()), size) for maps in (output, target)
                    )
                    self.counted[joint] += 1
                    self.correct[joint] += math.dist(found, true) <= size / 20

    def row(self, split: str) -> dict[str, float]:
        share = (self.correct / self.counted)[list(MPII.accuracy_joints)]
        return {
            f"{split}_loss": self.loss / self.people,
            f"{split}_accuracy": float(share[~share.isnan()].mean()),
        }


def squared_error(outputs: list[Tensor], target: Tensor) -> Tensor:
    return sum((F.mse_loss(output, target) for output in outputs), torch.zeros(()))


def learn_plainly(folder: Path, lspet: Path, epochs: int, seed: int) -> None:
    """The plain run in `folder`, from where it stands: state.pth after each epoch, and a row of log.csv."""
    people, valid = (readers.read("lspet", lspet, split, skeleton=MPII) for split in ("train", "valid"))
    torch.manual_seed(seed)
    network = models.build("hg", MPII.num_joints, **SIZES)
    optimizer = torch.optim.RMSprop(network.parameters(), lr=LR, alpha=0.99, eps=1e-8)
    done, seconds = 0, 0.0
    if (folder / "state.pth").is_file():
        state = torch.load(folder / "state.pth", weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        done, seconds = state["epoch"], state["seconds"]
    writable_folder(folder)
    steps = -(-len(people) // BATCH)
    batches = _batches(people, seed, start=done * steps * BATCH)
    for epoch in range(done + 1, epochs + 1):
        start, sums = time.monotonic(), Sums()
        network.train()
        with Progress(f"plain, epoch {epoch}/{epochs}", steps) as progress:
            for _ in range(steps):
                images, target = next(batches)
                outputs = network(images)
                loss = squared_error(outputs, target)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                sums.add(loss, outputs[-1], target)
                progress.advance(lambda: "")
        seconds += time.monotonic() - start
        row = {"epoch": epoch, "step": epoch * steps, "seconds": seconds, **sums.row("train")}
        row |= validate_plainly(network, valid)
        before = [each for each in read_rows(folder / "log.csv") if int(each["epoch"]) < epoch]
        write_rows(folder / "log.csv", [*before, row])
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
        with replacing(folder / "state.pth") as part:
            torch.save(state | {"epoch": epoch, "seconds": seconds}, part)
        note(f"plain, epoch {epoch}/{epochs}: {_summary(row)}")


def _batches(people: Annotations, seed: int, start: int) -> Iterator[list[Tensor]]:
    """Pictures (B, 3, R, R) and heatmaps (B, J, R/4, R/4), in the order of `hgpose/train.py`."""
    stream = Stream(len(people), BATCH, seed, start)
    return iter(DataLoader(PlainPeople(people, seed), batch_sampler=stream, num_workers=1))


@torch.no_grad()
def validate_plainly(network: nn.Module, people: Annotations) -> dict[str, float]:
    """The figures of the validation people."""
    network.eval()
    sums = Sums()
    for images, target in DataLoader(PlainPeople(people, 0), BATCH, num_workers=1):
        outputs = network(images)
        sums.add(squared_error(outputs, target), outputs[-1], target)
    return sums.row("valid")


def _summary(row: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {row[name]:.4g}" for name in OLDER)


# ---------------------------------------------------------------------------------------------------- ours


def learn_as_users_do(folder: Path, lspet: Path, epochs: int, seed: int) -> None:
    """`hgpose/train.py` with this recipe, in a process of its own; UserError if it fails."""
    recipe = ["--dataset", "lspet", "--data-dir", str(lspet), "--skeleton", "mpii", "--seed", str(seed)]
    recipe += ["--input-res", str(RES), "--batch-size", str(BATCH), "--lr", str(LR)]
    recipe += [word for name, size in SIZES.items() for word in (f"--{name}", str(size))]
    begin = ["-c", folder.name] if folder.is_dir() else ["--exp", folder.name, *recipe]
    if train([*begin, "--exp-dir", str(folder.parents[1]), "--epochs", str(epochs)]):
        raise UserError("hgpose/train.py has stopped (see above); the same command goes on")


def train(words: Sequence[str]) -> int:
    """The exit status of `train.py` with these options."""
    return subprocess.run([sys.executable, "train.py", *words], cwd=ROOT / TASK).returncode


# -------------------------------------------------------------------------------------------------- figure


def draw(runs: Sequence[Run], out: Path) -> None:
    """Accuracy and loss of runs over steps, validation solid and training dashed, over those of OLDER."""
    import matplotlib
    from matplotlib.figure import Figure

    steps = [OLDER_PASS * (number + 1) for number in range(len(OLDER["train_loss"]))]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.6), dpi=200, layout="constrained")
        for panel, (metric, (title, factor)) in zip(figure.subplots(1, 2), UNITS.items(), strict=True):
            ends = OLDER[f"train_{metric}"], OLDER[f"valid_{metric}"]
            label = "an older code base, training to validation"
            panel.fill_between(steps, *ends, color="#d0d0d0", label=label)
            for end in ends:
                panel.plot(steps, end, color="#b8b8b8", linewidth=0.8)
            for run, colour in zip(runs, COLOURS, strict=False):
                for split, style in (("valid", "-"), ("train", "--")):
                    x, y = run.curve(f"{split}_{metric}", by="step")
                    word = "validation" if split == "valid" else "training"
                    shown = [factor * value for value in y]
                    panel.plot(x, shown, style, color=colour, linewidth=1.4, label=f"{run.label}, {word}")
            panel.set_title(title)
            panel.set_xlabel("step")
        panel.set_ylim(4.2, 6)  # the first pass is far above
        handles, labels = panel.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
        save_figure(figure, out)


def table(runs: Sequence[Run]) -> str:
    """What validation says after each pass: accuracies in %."""
    names = [run.label for run in runs]
    curves = [dict(zip(*run.curve("valid_accuracy"), strict=True)) for run in runs]
    lines = [["pass", "older", *names]]
    for epoch in sorted({epoch for curve in curves for epoch in curve}):
        older = OLDER["valid_accuracy"][int(epoch) - 1 :][:1]
        cells = [
            *older,
            *[math.nan] * (1 - len(older)),
            *(100 * curve.get(epoch, math.nan) for curve in curves),
        ]
        lines.append([f"{epoch:g}", *("-" if math.isnan(cell) else f"{cell:.1f}" for cell in cells)])
    return "\n".join(
        "".join(cell.rjust(max(8, len(name) + 2)) for cell, name in zip(line, lines[0], strict=True))
        for line in lines
    )


@command
def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser("Learn the same with the plain formulation and with this project, and draw both.")
    parser.add_argument(
        "--lspet", type=path, default=ROOT / "data" / "lspet", metavar="DIR", help="its first 2,500 people"
    )
    parser.add_argument("--steps", type=positive, default=STEPS, help="of each in all, rounded up to passes")
    parser.add_argument("--seed", type=count, default=0, help="of weights, order and augmentation")
    parser.add_argument("--only", choices=("plain", "ours"), help="one of the two, as beside the other")
    parser.add_argument("--exp-dir", type=path, default=ROOT / "exp", metavar="DIR", help="where runs lie")
    parser.add_argument("--out", type=path, metavar="FIGURE", help="none: faithful.png in the folder of runs")
    options = parser.parse_strictly(sys.argv[1:] if argv is None else argv)
    run(options)


def run(options: Namespace) -> None:
    """Go on with both runs, or one, and show what there is."""
    out = options.out or options.exp_dir / TASK / "faithful.png"
    if out.suffix.lower() not in SUFFIXES:
        raise UserError(f"--out {out} must end in one of {', '.join(SUFFIXES)}")
    people = readers.read("lspet", options.lspet, "train")
    epochs = -(-options.steps // -(-len(people) // BATCH))
    learners = {"plain": (PLAIN, learn_plainly), "ours": (OURS, learn_as_users_do)}
    folders = {name: options.exp_dir / TASK / folder for name, (folder, _) in learners.items()}
    for name, (_, learn) in learners.items():
        if options.only in (None, name):
            learn(folders[name], options.lspet, epochs, options.seed)
    runs = [read_run(folder, name) for name, folder in folders.items()]
    started = [each for each in runs if each.started]
    draw(started, out)
    print(table(started))
    note(f"wrote {out}")


if __name__ == "__main__":
    main()
