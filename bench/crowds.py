"""Have two processes learn from crowds what one learns from them: no hang, and the same losses and weights.

python bench/crowds.py                    2,000 steps: some minutes
python bench/crowds.py --steps 300

Images have 0 to 30 people, unevenly spread: often one process has nobody where the other one has a crowd, and
some images cannot be read. The network is a tiny hourglass of associative embedding in float64, without
normalisation, so that nothing but the order of sums differs (tests/exact.py).
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TASK = "hgpose-ae"
RUN = """--arch hg-ae --feats 8 --network increase=4 --stacks 2 --depth 1 --input-res 16 --sigma 1 --workers 0
         --amp none --synth-size 24 5 --batch-size 4 --epochs 1 --optimizer sgd --lr 0.05 --pull-weight 0.1
         --push-weight 0.1 --log-every 1 --skip-bad-images --device cpu""".split()
TINY = 1e-300  # what is 0 in one run must be 0 in the other
PATIENCE = 600.0, 1.0  # seconds, and for each step: what takes longer hangs


class Outcome(NamedTuple):
    """What two processes did beside one.

    seconds: of the two processes. losses, weights: the largest relative difference in any step, and in any
    tensor at the end. first, last: the loss of the first and of the last step.
    """

    seconds: float
    losses: float
    weights: float
    first: float
    last: float


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--steps", type=int, default=2000)
    steps = parser.parse_args(argv).steps
    with tempfile.TemporaryDirectory() as folder:
        found = compare(Path(folder), steps)
    print(
        f"{steps:,} steps of two processes in {found.seconds:.0f} s; losses, from {found.first:.3g} to"
        f" {found.last:.3g}, differ from those of one process by {found.losses:.1g} of their size at most,"
        f" weights by {found.weights:.1g}"
    )


def compare(folder: Path, steps: int) -> Outcome:
    """Learn in `folder`. Raises TimeoutExpired for a hang, CalledProcessError for an error."""
    import torch

    learn(folder, "alone", steps)
    seconds = learn(folder, "shared", steps, "--accumulate", "2", processes=2)
    one, two = ([*losses(folder / TASK / name)] for name in ("alone", "shared"))
    alone, shared = (
        torch.load(folder / TASK / name / "checkpoint.pth", weights_only=True)["model"]
        for name in ("alone", "shared")
    )
    return Outcome(
        seconds,
        max(abs(a - b) / max(abs(a), TINY) for a, b in zip(one, two, strict=True)),
        max(
            float((shared[name] - value).abs().max()) / max(float(value.abs().max()), TINY)
            for name, value in alone.items()
        ),
        one[0],
        one[-1],
    )


def learn(folder: Path, name: str, steps: int, *options: str, processes: int = 1) -> float:
    """Train the experiment `name`; returns the seconds that it took, the start of Python included."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    script = [str(ROOT / "tests" / "exact.py"), f"{TASK}/train.py", "--exp", name, "--exp-dir", str(folder)]
    argv = [*(launch if processes > 1 else ()), *script, *RUN, *options, "--iters", str(steps)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    begun, (start, step) = time.monotonic(), PATIENCE
    subprocess.run([sys.executable, *argv], env=environment, check=True, timeout=start + step * steps)
    return time.monotonic() - begun


def losses(folder: Path) -> list[float]:
    """The loss of each step, to seven digits."""
    with open(folder / "steps.csv", newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


if __name__ == "__main__":
    main()
