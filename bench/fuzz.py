"""Damage the files of data sets in many ways, and see that reading them gives people or one clear line.

python -m bench.fuzz                        10,000 files: about two minutes on two cores
python -m bench.fuzz --files 500 --seed 7 --only "mpii h5"

Tiny releases are written, one of their files is changed by chance, and the data set is read: it must be read,
or refused by a UserError of one line. Any other error, a crash, a warning, more than SECONDS for a file, and
more memory than MEMORY are failures. Their files are kept; what crashes is named by its number. Kinds come
one after the other, and each is told, and written with --json, when it is through. POSIX only.
"""

import json
import multiprocessing
import random
import re
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from src.datasets import readers
from src.datasets.coco import detected_people, read_scenes
from src.datasets.workers import cores
from src.errors import UserError
from src.utils.command import CommandParser, command
from src.utils.files import writable_folder, write_json
from src.utils.options import ROOT, count, one_of, path, positive
from src.utils.progress import Progress
from tests import releases

SECONDS = 10.0  # of computing for a file of a few kilobytes, which takes thousandths: others may slow us down
MEMORY = 1 << 30  # bytes that a process may have; with what it imports it has half of that
CHUNK = 300  # files for a process, which takes a second to start
KEPT = ROOT / "exp" / "fuzz"  # where files go that were not refused as they should have been

Change = Callable[[bytearray, random.Random], None]


class Target(NamedTuple):
    """A kind of file: how to write the release that it is in, where it lies, and how it is read."""

    make: Callable[[Path], object]
    file: str
    read: Callable[[Path], object]


def read(dataset: str, split: str, folder: Path) -> None:
    """Read a split of a data set, and look at each person."""
    people = readers.read(dataset, folder, split)
    for row in range(len(people)):
        people.person(row)


def read_coco(folder: Path) -> None:
    """Read all that is in COCO's files, up to the outlines of crowds."""
    read("coco", "train", folder)
    scenes = read_scenes(folder, "train")
    for row in range(len(scenes)):
        scenes.scene(row)


def read_boxes(folder: Path) -> None:
    detected_people(read_scenes(folder, "train"), folder / "boxes.json")


def read_listed(folder: Path) -> None:
    read_scenes(folder, "valid", held_out=folder / "valid_id")


def read_pictures(folder: Path) -> None:
    read_scenes(folder, "test")


def make_boxes(folder: Path) -> None:
    """COCO, and what a detector found in its training pictures."""
    releases.make_coco(folder)
    box = {"category_id": 1, "bbox": [3.5, 4, 20, 30], "score": 0.5}
    (folder / "boxes.json").write_text(json.dumps([box | {"image_id": 11 + place} for place in range(8)]))


def make_listed(folder: Path) -> None:
    """COCO with a list of held-out pictures."""
    releases.make_coco(folder)
    (folder / "valid_id").write_text("11\n12\n")


def make_own(folder: Path) -> None:
    """Keypoints in COCO's format whose joints are declared beside them."""
    releases.make_coco(folder)
    (folder / "skeleton.yaml").write_text(
        "flip_pairs: [[left eye, right eye]]\nlimbs: [[nose, left eye]]\nsigmas: {nose: 0.026}\n"
        "groups: {Eyes: [left eye, right eye]}\ntorso: [left shoulder, right hip]\n"
    )


def make_penn_list(folder: Path) -> None:
    """Penn Action with a list of validation clips."""
    releases.make_penn(folder, per_action=3, frames=2)
    (folder / "Penn_Action" / "valid_ind.txt").write_text("1\n2\n")


_MPII, _MPII_VALID = partial(read, "mpii", "train"), partial(read, "mpii", "valid")
_JSON = "annotations/person_keypoints_train2017.json"

TARGETS: dict[str, Target] = {
    "lsp": Target(releases.make_lsp, "joints.mat", partial(read, "lsp", "train")),
    "lspet": Target(releases.make_lspet, "joints.mat", partial(read, "lspet", "train")),
    "mpii h5": Target(partial(releases.write_mpii_h5, baked=True), "annot/train.h5", _MPII),
    "mpii annot.h5": Target(releases.write_mpii_annot_h5, "annot.h5", _MPII),
    "mpii list": Target(releases.write_mpii_annot_h5, "annot/valid_images.txt", _MPII),
    "mpii json": Target(releases.write_mpii_split_json, "annot/train.json", _MPII),
    "mpii truth": Target(
        releases.write_mpii_split_json, "annot/gt_valid.mat", partial(read, "mpii", "valid")
    ),
    "mpii flagged json": Target(releases.write_mpii_flagged_json, "mpii_annotations.json", _MPII),
    "mpii official": Target(releases.write_mpii_official, "mpii_human_pose_v1_u12_1.mat", _MPII),
    "lsp_mpii": Target(releases.make_lsp_mpii, "lsp_mpii.h5", partial(read, "lsp_mpii", "train")),
    "coco": Target(releases.make_coco, _JSON, read_coco),
    "coco boxes": Target(make_boxes, "boxes.json", read_boxes),
    "coco list": Target(make_listed, "valid_id", read_listed),
    "coco test": Target(releases.make_coco_test, "annotations/image_info_test-dev2017.json", read_pictures),
    "coco skeleton": Target(make_own, "skeleton.yaml", read_coco),
    "flic h5": Target(releases.write_flic_h5, "annot/train.h5", partial(read, "flic", "train")),
    "flic mat": Target(releases.write_flic_examples, "FLIC/examples.mat", partial(read, "flic", "train")),
    "penn": Target(
        partial(releases.make_penn, per_action=2, frames=2),
        "Penn_Action/labels/0001.mat",
        partial(read, "penn", "train"),
    ),
    "penn list": Target(make_penn_list, "Penn_Action/valid_ind.txt", partial(read, "penn", "train")),
}


# ------------------------------------------------------------------------------------------------- changes


def _span(data: bytearray, rng: random.Random) -> slice:
    """A place of a few bytes, now and then of many."""
    start = rng.randrange(len(data))
    return slice(start, start + min(rng.choice((1, 2, 4, 8, 64, 1024)), len(data) - start))


def _flip(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _overwrite(data: bytearray, rng: random.Random) -> None:
    span = _span(data, rng)
    filling = rng.choice((b"\0", b"\xff", b"\x7f", None))
    length = span.stop - span.start
    data[span] = rng.randbytes(length) if filling is None else filling * length


def _remove(data: bytearray, rng: random.Random) -> None:
    del data[_span(data, rng)]


def _repeat(data: bytearray, rng: random.Random) -> None:
    span = _span(data, rng)
    data[span.start : span.start] = data[span]


def _copy(data: bytearray, rng: random.Random) -> None:
    source = data[_span(data, rng)]
    start = rng.randrange(len(data))
    data[start : start + len(source)] = source


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


_NUMBERS = (
    b"0", b"-1", b"NaN", b"Infinity", b"1e999", b"-1e30", b"99999999999999999999", b"0.5", b"2147483648",
    b"null", b"true", b'"x"', b"[]", b"{}", b"[[1, 2]]", "é".encode(), b"C:\\\\a\\\\b.jpg",
)  # fmt: skip


def _number(data: bytearray, rng: random.Random) -> None:
    """Put something else in the place of a number, if the file is a text."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data)) if data.isascii() else []
    if found:
        start, stop = rng.choice(found).span()
        data[start:stop] = rng.choice(_NUMBERS)


def _word(data: bytearray, rng: random.Random) -> None:
    """Take one character out of a word: then a field is missing."""
    found = list(re.finditer(rb"[A-Za-z_]{3,}", data))
    if found:
        at = rng.randrange(*rng.choice(found).span())
        data[at] = ord("q")


CHANGES: tuple[Change, ...] = (
    _flip, _flip, _overwrite, _remove, _repeat, _copy, _cut, _number, _number, _number, _word, _word,
)  # fmt: skip


def changed(data: bytes, rng: random.Random) -> bytes:
    """The bytes of a file after one to four changes."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if result:
            rng.choice(CHANGES)(result, rng)
    return bytes(result)


# -------------------------------------------------------------------------------------------------- trials


def attempt(target: Target, folder: Path) -> str:
    """ "read", "refused", or what else came of reading a release."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", DeprecationWarning)  # of packages that are used
            target.read(folder)
    except UserError as error:
        line = str(error)
        return "refused" if line and "\n" not in line else f"not one line: {line!r}"
    except Exception:
        return traceback.format_exc()
    return "read"


GOOD, FAILED = ("read", "refused"), "failed"


def trials(name: str, numbers: Iterable[int], seed: int) -> Iterator[tuple[bytes, str]]:
    """Damaged files of one kind, the same ones for each (name, number, seed), and what comes of each."""
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        target.make(folder)
        original = (folder / target.file).read_bytes()
        for number in numbers:
            content = changed(original, random.Random(f"{seed} {name} {number}"))
            (folder / target.file).write_bytes(content)
            yield content, attempt(target, folder)


class Chunk(NamedTuple):
    """Files of one kind for a process of its own."""

    name: str
    numbers: range
    seed: int


def _work(chunk: Chunk, pipe: Connection) -> None:
    """In a process of its own: the trials of a chunk, and then how much memory they took."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # whose signal ends the process
    for found in trials(chunk.name, chunk.numbers, chunk.seed):
        pipe.send(found)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
    pipe.send(_peak())


def _peak() -> int:
    """The most memory, in bytes, that this process has had."""
    status = Path("/proc/self/status")
    if status.is_file():  # on Linux, getrusage also counts what the process was forked from
        (kilobytes,) = re.findall(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE)
        return int(kilobytes) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run(chunk: Chunk) -> tuple[Counter[str], list[str]]:
    """How the trials of a chunk ended, and what went wrong in which.

    A process that ends before its time is a failure of the file that it was at; another one goes on after it.
    """
    ends, wrong = Counter[str](), list[str]()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_work, args=(chunk, theirs))
    process.start()
    theirs.close()
    number = chunk.numbers.start
    try:
        for number in chunk.numbers:
            content, end = ours.recv()
            ends[end if end in GOOD else FAILED] += 1
            if end not in GOOD:
                wrong.append(f"{_keep(chunk, number, content)}: {end}")
        memory = ours.recv()
        if memory > MEMORY:
            wrong.append(f"{chunk}: {memory >> 20} MiB of memory")
    except EOFError:
        process.join()
        wrong.append(f"{chunk.name} {number} of seed {chunk.seed}: its process ended ({process.exitcode})")
        later, more = Counter[str](), list[str]()
        if number + 1 < chunk.numbers.stop:
            later, more = run(chunk._replace(numbers=range(number + 1, chunk.numbers.stop)))
        return ends + later + Counter({FAILED: 1}), wrong + more
    process.join()
    return ends, wrong


def _keep(chunk: Chunk, number: int, content: bytes) -> Path:
    """Write a file that was not refused as it should have been."""
    target = KEPT / f"{chunk.name} {chunk.seed} {number}{Path(TARGETS[chunk.name].file).suffix}"
    writable_folder(target.parent)
    target.write_bytes(content)
    return target


def tell(name: str, counted: Counter[str], failures: Sequence[str]) -> None:
    """How the files of a kind ended, and what went wrong, at once: a run that is broken off has told it."""
    print(f"{name:20} read {counted['read']:5}  refused {counted['refused']:5}  failed {counted[FAILED]}")
    print(*failures, sep="\n", end="\n" if failures else "", flush=True)


@command
def main(argv: Sequence[str] | None = None) -> None:
    parser = CommandParser(__doc__)
    parser.add_argument("--files", type=positive, default=10_000, help="how many, of all kinds together")
    parser.add_argument("--seed", type=count, default=0, help="another one damages them in other ways")
    parser.add_argument("--only", type=one_of(list(TARGETS)), metavar="KIND", help=", ".join(TARGETS))
    parser.add_argument("--json", type=path, metavar="OUT", help="write the counts as JSON too")
    args = parser.parse_args(argv)
    names = [args.only] if args.only else list(TARGETS)
    each = -(-args.files // len(names))
    numbers = [range(first, min(first + CHUNK, each)) for first in range(0, each, CHUNK)]
    chunks = [Chunk(name, some, args.seed) for name in names for some in numbers]
    ends: dict[str, Counter[str]] = {}
    wrong: list[str] = []
    with ThreadPoolExecutor(cores()) as threads, Progress("chunks", len(chunks)) as progress:
        outcomes = threads.map(run, chunks)
        for name in names:
            counted, failures = Counter[str](), list[str]()
            for more, failed in islice(outcomes, len(numbers)):
                counted += more
                failures += failed
                progress.advance(str)
            tell(name, counted, failures)
            ends[name] = counted
            wrong += failures
            if args.json:
                write_json(args.json, {"seed": args.seed, "ends": ends, "wrong": wrong})
    if wrong:
        raise UserError(
            f"of {each * len(names):,} files {len(wrong)} were neither read nor refused in one line"
        )


if __name__ == "__main__":
    main()
