"""Run the script of a task with arithmetic that leaves no room: float64, batch normalisation frozen.

    python -m torch.distributed.run --nproc-per-node 2 tests/exact.py hgpose/train.py ARGUMENTS

Then runs are the same, but for the order of sums, however their batches are cut and shared. Where
--skip-bad-images is given or refused there are pictures that cannot be read: UNREADABLE. `--compile default`
compiles without a compiler.
"""

import functools
import sys
from typing import Any

import torch

from src import models
from src.datasets.annotations import Person
from src.datasets.images import BadImage, Picture
from src.datasets.synth import SynthPeople
from src.models.layers import PoseNetwork
from tests.task_runner import main_of

# The first batch of 24 people in fours is 18, 4, 21, 10, so the first of two processes begins with nobody.
UNREADABLE = {"synth train": (4, 10, 18, 22), "synth valid": (0,)}

build, person = models.build, SynthPeople.person


def build_exactly(*arguments: Any, **config: Any) -> PoseNetwork:
    """A network as `src.models.build` makes it, in float64 and in eval mode for ever."""
    network = build(*arguments, **config).double().eval()
    network.train = lambda mode=True: network  # type: ignore[method-assign]
    network.register_forward_pre_hook(lambda _, images: (images[0].double(),))
    return network


def person_if_readable(people: SynthPeople, index: int) -> Person:
    def refuse(shrink: float) -> Picture:
        raise BadImage(f"picture {index} is cut short")

    found = person(people, index)
    return found._replace(read=refuse) if index in UNREADABLE[people.name] else found


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.compile = functools.partial(torch.compile, backend="aot_eager")
    models.build = build_exactly
    if any("skip-bad-images" in word for word in sys.argv):
        SynthPeople.person = person_if_readable  # type: ignore[method-assign]
    script, *argv = sys.argv[1:]
    main_of(script)(argv)
