"""Run the script of a task with arithmetic that leaves no room: float64, batch normalisation frozen.

    python -m torch.distributed.run --nproc-per-node 2 tests/exact.py hgpose/train.py ARGUMENTS

Then runs are the same, but for the order of sums, however their batches are cut and shared. Where
--skip-bad-images is given or refused there are pictures that cannot be read: UNREADABLE. `--compile default`
compiles without a compiler. Synthetic scenes are crowds: noise with nobody, or with up to 30 people.
"""

import sys
from functools import partial
from typing import Any

import numpy as np
import torch

from src import models
from src.datasets.annotations import Person
from src.datasets.images import BadImage, Picture
from src.datasets.scene_annotations import Scene
from src.datasets.synth import SynthPeople, SynthScenes
from src.models.layers import PoseNetwork
from tests.task_runner import main_of

# The first batch of 24 people in fours is 18, 4, 21, 10, so the first of two processes begins with nobody.
UNREADABLE = {"synth train": (4, 10, 18, 22), "synth valid": (0,)}

build, person = models.build, SynthPeople.person


def build_exactly(*arguments: Any, **config: Any) -> PoseNetwork:
    """A network as `src.models.build` makes it, in float64 and in eval mode for ever."""
    network = build(*arguments, **config).double().eval()
    network.train = lambda mode=True: network  # type: ignore[method-assign]
    network.register_forward_pre_hook(lambda _, inputs: tuple(each.double() for each in inputs))
    return network


def person_if_readable(people: SynthPeople, index: int) -> Person:
    found = person(people, index)
    return found._replace(read=partial(refuse, index)) if index in UNREADABLE[people.name] else found


def refuse(index: int, shrink: float) -> Picture:
    raise BadImage(f"picture {index} is cut short")


def crowd(scenes: SynthScenes, index: int) -> Scene:
    """Noise; in half of the scenes nobody, in the others 1 to 30 people whose joints lie anywhere."""
    random, side = np.random.default_rng((len(scenes), index)), scenes.resolution
    people = int(random.integers(1, 31)) if random.random() < 0.5 else 0
    pixels = random.integers(0, 256, (side, side, 3), np.uint8)
    joints = random.uniform(0, side, (people, scenes.skeleton.num_joints, 2)).astype(np.float32)
    visible = random.integers(0, 3, joints.shape[:2], np.int8)
    visible[:, 0] = 2
    area = random.uniform(0, side**2, people)
    ignored = np.arange(side) < random.integers(side) + np.zeros((side, 1))
    unreadable = index in UNREADABLE[scenes.name] and with_unreadable()
    return Scene(
        partial(refuse, index) if unreadable else lambda _: Picture(pixels),
        width=side,
        height=side,
        joints=joints,
        visible=visible,
        area=area,
        box=np.concatenate([joints.min(1, initial=side), np.ptp(joints, axis=1)], axis=1),
        ignored=ignored if index % 3 == 0 else None,
    )


def with_unreadable() -> bool:
    return any("skip-bad-images" in word for word in sys.argv)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.compile = partial(torch.compile, backend="aot_eager")
    models.build = build_exactly
    SynthScenes.scene = crowd  # type: ignore[method-assign]
    if with_unreadable():
        SynthPeople.person = person_if_readable  # type: ignore[method-assign]
    script, *argv = sys.argv[1:]
    main_of(script)(argv)
