"""How soon commands answer, and how soon a training is at work: each run is a process of its own.

All run as they do for users from the second time on, when Python has kept what it compiled. They have one
thread: steps this small gain nothing from more, and would wait for what else the machine does.
"""

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from bench.harness import Case, Item, Options
from src.utils.options import ROOT

ARGPARSE = "import argparse; p = argparse.ArgumentParser(); p.add_argument('--exp'); p.parse_args()"
TORCH = """
import torch
network = torch.nn.Conv2d(3, 16, 3)
optimizer = torch.optim.RMSprop(network.parameters(), lr=2.5e-4)
network(torch.rand(4, 3, 64, 64)).square().mean().backward()
optimizer.step()
"""
COMMANDS = (
    "hgpose/train.py", "hgpose/test.py", "tools/compare.py", "tools/convert.py", "data/prepare.py",
)  # fmt: skip
ONE_STEP = """--stacks 1 --feats 16 --depth 3 --input-res 64 --synth-size 8 4 --batch-size 4 --workers 0
              --max-iters 1 --valid-every 0 --device cpu""".split()


def cases(options: Options) -> Iterator[Item]:
    """Help of every command, a mistake, and a training of one small step with all that belongs to a run."""
    plain = "Python with argparse"
    for script in COMMANDS:
        yield Case(f"{script} --help", plain, partial(call, script, "--help"), bare, goal=6, at_most=True)
    yield Case("train.py with a mistyped option", plain, mistake, bare, goal=6, at_most=True)
    with tempfile.TemporaryDirectory() as folder:
        run = Training(folder)
        plain = "import torch, an optimizer, a step"
        yield Case("train.py, a run of one step", plain, run, torch_step, goal=1.3, at_most=True)


class Training:
    """A run, each time under another name, of one step of a tiny network: what it takes is mostly the start.

    A twentieth of it comes after the step: a row of log.csv, two checkpoints, and the end. Nothing is
    validated.
    """

    def __init__(self, folder: str) -> None:
        self.folder, self.names = folder, (f"run{number}" for number in itertools.count())

    def __call__(self) -> None:
        call("hgpose/train.py", "--exp", next(self.names), "--exp-dir", self.folder, *ONE_STEP)


def bare() -> None:
    """The least that any command with options takes."""
    python(["-c", ARGPARSE])


def torch_step() -> None:
    """The least that any training takes."""
    python(["-c", TORCH])


def mistake() -> None:
    """An option that is not there."""
    call("hgpose/train.py", "--exp", "x", "--stcks", "2", status=2)


def call(script: str, *argv: str, status: int = 0) -> None:
    """Run a script as users do, from its folder."""
    path = ROOT / script
    python([path.name, *argv], path.parent, status)


def python(argv: Sequence[str], folder: Path = ROOT, status: int = 0) -> None:
    """Run this Python. Raises RuntimeError for another exit status."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *argv],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != status:
        raise RuntimeError(f"{argv[0]} ended with status {done.returncode}: {done.stderr[-500:]}")
