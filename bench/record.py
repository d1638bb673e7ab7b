"""The memory of annotations: one record of arrays, against a list with a dict for each person.

Linux only: memory is read from /proc. Each figure is that of a process of its own.
"""

import ctypes
import gc
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness import Item, Measure, Options, Skipped, beside
from src.datasets.annotations import Annotations
from src.datasets.skeletons import MPII

PEOPLE, FEW = 150_000, 100
METHODS = ("fork", "spawn")
DICTS = "list of dicts, lists of floats"
MEMORY = Path("/proc/self/smaps_rollup")

Build = Callable[[int], Any]


def cases(options: Options) -> Iterator[Item]:
    """The memory of everybody's annotations, and what a worker copies of them that was forked or spawned."""
    if not MEMORY.exists():
        yield Skipped("annotations", f"there is no {MEMORY}")
        return
    people = PEOPLE // 3 if options.quick else PEOPLE
    ours, plain = (_in_process("spawn", partial(_figures, build, people)) for build in (record, dicts))
    name = f"annotations of {people:,} people"
    yield beside(name, DICTS, ours["held"], plain["held"], "B", goal=0.1, at_most=True)
    nothing = ours["held"] / 10  # or less: the interpreter's own memory is not always the same
    for method in METHODS:
        yield Measure(
            f"{name}, copied by a worker ({method})", DICTS, ours[method], "B", nothing, at_most=True,
            theirs=plain[method],
        )  # fmt: skip


def record(people: int) -> Annotations:
    """The people as this project keeps them."""
    random = np.random.default_rng(0)
    joints = random.uniform(0, 1280, (people, MPII.num_joints, 2))
    return Annotations(
        name="bench",
        skeleton=MPII,
        root=Path("images"),
        images=np.array([_name(person) for person in range(people)], np.bytes_),
        joints=joints,
        visible=random.integers(0, 3, joints.shape[:2]),
        center=joints.mean(1),
        scale=random.uniform(1, 4, people),
        enlarge=np.ones(people),
        shift=np.zeros(people),
        norm=random.uniform(20, 90, people),
        index=np.arange(people),
        person_id=np.zeros(people),
    )


def dicts(people: int) -> list[dict[str, Any]]:
    """The same people as dicts, as they come out of JSON files."""
    flat = record(people)
    return [
        {
            "image": f"images/{_name(person)}",
            "joints": flat.joints[person].tolist(),
            "visible": flat.visible[person].tolist(),
            "center": flat.center[person].tolist(),
            "scale": float(flat.scale[person]),
            "norm": float(flat.norm[person]),
            "index": int(flat.index[person]),
            "person": int(flat.person_id[person]),
        }
        for person in range(people)
    ]


def _name(person: int) -> str:
    return f"{person // 2:09}.jpg"


def touch(people: Any) -> float:
    """Read something of everybody, as an epoch does."""
    columns: Iterable[tuple[Any, ...]]
    if isinstance(people, Annotations):
        paths = (f"{people.root}/{image.decode()}" for image in people.images)
        columns = zip(paths, people.joints, people.visible, people.center, strict=True)
    else:
        columns = ((one["image"], one["joints"], one["visible"], one["center"]) for one in people)
    return sum(len(path) + joints[0][0] + visible[0] + center[0] for path, joints, visible, center in columns)


def _figures(build: Build, people: int) -> dict[str, int]:
    """Bytes that `people` people take here ("held"), and those that a worker of each kind takes of its own.

    All are differences to what FEW people take.
    """
    few = build(FEW)
    before = _settled("Pss")
    many = build(people)
    figures = {"held": _settled("Pss") - before}
    for method in METHODS:
        with_few, with_many = (_in_process(method, partial(_own, who)) for who in (few, many))
        figures[method] = with_many - with_few
    return figures


def _own(people: Any) -> int:
    """Bytes that are this process' alone when it has read everybody."""
    touch(people)
    return memory("Private_Clean") + memory("Private_Dirty")


def _settled(field: str) -> int:
    """`memory(field)` without what is garbage, or kept by the allocator for later."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it
    if trim is not None:
        trim(0)
    return memory(field)


def memory(field: str) -> int:
    """A line of smaps_rollup in bytes: in Pss shared pages count by share, in Private_* not at all."""
    lines = MEMORY.read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def _in_process(method: str, work: Callable[[], Any]) -> Any:
    """What `work()` returns in a process that is started by this method."""
    context: Any = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, work))
    process.start()
    sender.close()  # so that a process that fails ends the waiting
    try:
        return receiver.recv()
    finally:
        process.join()


def _send(sender: Connection, work: Callable[[], Any]) -> None:
    sender.send(work())
