"""From maps to people and their average precision: the decoder against a plain one, our part of the rest."""

import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from bench import layouts, plain_grouping
from bench.harness import Item, Measure, Options, Skipped, beside, clock
from bench.layouts import SIDE, Layout, Noise, perfect_maps, record_of
from src.datasets.skeletons import COCO
from src.evaluation.coco import coco_results, evaluate_ap, prepare, score
from src.evaluation.grouping import Grouping, People, group_in_c, group_in_numpy
from src.extensions import AE

PLAIN = "PyTorch, munkres, NumPy over whole maps"
EXTENSION, NUMPY = "extension", "NumPy"
CROWD = 9  # people
GOALS = {128: {EXTENSION: 25, NUMPY: 5}, 256: {EXTENSION: 40, NUMPY: 5}}  # for maps of so many cells a side
COUNTS = {128: (160, 40), 256: (60, 16)}  # pictures of all kinds and of crowds
CEILING = 160  # pictures for the plain decoder's
PICTURES, PREPARATION = 5000, 0.1  # for average precision, and the share of time that is ours

Group = Callable[[np.ndarray, np.ndarray, Grouping], People]

SETTINGS = Grouping.of(COCO)


def cases(options: Options) -> Iterator[Item]:
    """Both forms of the decoder on pictures of all kinds and on crowds, its ceiling, average precision."""
    everybody = layouts.read(options.coco)
    crowds = [layout for layout in everybody if len(layout.box) >= CROWD]
    forms: dict[str, Group] = {NUMPY: group_in_numpy}
    module, why = AE.find()
    if module is None:
        yield Skipped("people from maps, extension", why)
    else:
        forms = {EXTENSION: partial(group_in_c, module)} | forms
    for size, counts in COUNTS.items():
        for some, count, kind in zip((everybody, crowds), counts, ("pictures", "crowds"), strict=True):
            chosen = spread(some, count // 4 if options.quick else count)
            if chosen:
                yield from against_plain(forms, chosen, size, f"{len(chosen)} {kind}")
    group = next(iter(forms.values()))
    for size in COUNTS:
        yield from ceiling(group, everybody, size, CEILING // 4 if options.quick else CEILING)
    yield preparation(everybody, options.seconds)


def spread(some: list[Layout], count: int) -> list[Layout]:
    """At most `count` of the layouts, spread evenly."""
    places = np.unique(np.linspace(0, len(some) - 1, min(count, len(some))).round().astype(int))
    return [some[place] for place in places]


def against_plain(forms: dict[str, Group], chosen: list[Layout], size: int, name: str) -> Iterator[Measure]:
    """Each form beside the plain one, picture by picture, in turn; medians over pictures.

    Raises AssertionError if they find other people.
    """
    random = np.random.default_rng(0)
    noise = Noise(size, random)
    works = forms | {PLAIN: plain_grouping.group}
    seconds: dict[str, list[float]] = {form: [] for form in works}
    for number, layout in enumerate([chosen[0], *chosen]):
        maps = noise.over(perfect_maps(layout, size, random))
        found = {}
        for form in list(works)[:: -1 if number % 2 else 1]:
            start = time.perf_counter()
            found[form] = works[form](*maps, SETTINGS)
            seconds[form].append(time.perf_counter() - start)
        assert all(same(found[form], found[PLAIN]) for form in forms), "the formulations disagree"
    theirs = np.array(seconds[PLAIN][1:])  # the first time something may be imported
    for form in forms:
        ours = np.array(seconds[form][1:])
        low, middle, high = np.quantile(theirs / ours, (0.25, 0.5, 0.75)).tolist()
        yield Measure(
            f"people from maps of {size} px, {name}, {form}",
            PLAIN,
            float(np.median(ours)),
            "s",
            GOALS[size][form],
            theirs=float(np.median(theirs)),
            ratio=middle,
            quartiles=(low, high),
            pairs=len(ours),
        )


def same(ours: People, theirs: People) -> bool:
    """Whether both are the same people in the same order."""
    pairs = zip(ours, theirs, strict=True)
    return all(a.shape == b.shape and np.array_equal(a, b, equal_nan=True) for a, b in pairs)


def ceiling(group: Group, everybody: list[Layout], size: int, plain: int) -> Iterator[Measure]:
    """What precision perfect maps give: for all layouts, and for some of them beside the plain decoder.

    That one leaves ties between assignments to the order of search, as is usual.
    """
    name = f"AP from perfect maps of {size} px"
    ours = precision(group, everybody, size)
    yield Measure(f"{name}, {len(everybody):,} pictures", "", ours, "%")
    some = spread(everybody, plain)
    theirs = precision(partial(plain_grouping.group, nearer=0), some, size)
    ours = precision(group, some, size)
    yield Measure(f"{name}, {len(some)} of them", PLAIN, ours, "%", theirs=theirs)


def precision(group: Group, chosen: list[Layout], size: int) -> float:
    """AP in percent of what a decoder finds in perfect maps."""
    random = np.random.default_rng(0)
    people = []
    for layout in chosen:
        found = group(*perfect_maps(layout, size, random), SETTINGS)
        people.append(found._replace(joints=found.joints * (SIDE / size)))
    truth = record_of(chosen)
    return 100 * evaluate_ap(truth, coco_results(people, truth.image_id))["AP"]


def preparation(everybody: list[Layout], seconds: float) -> Measure:
    """What of the time that average precision takes is ours: results from people, and all for pycocotools."""
    empty = Layout(*(part[:0] for part in everybody[0]))
    pictures = [*everybody, *[empty] * (PICTURES - len(everybody))]
    truth, people = record_of(pictures), guesses(pictures)
    scored = prepare(truth, coco_results(people, truth.image_id))
    ours = clock(lambda: prepare(truth, coco_results(people, truth.image_id)), seconds)
    whole = ours + clock(lambda: score(scored), 0)
    name = f"AP of {len(pictures):,} pictures: our part"
    return beside(name, "the whole, with pycocotools", ours, whole, "s", PREPARATION, at_most=True)


def guesses(pictures: list[Layout]) -> list[People]:
    """People found in pictures, a few pixels off, and one too many in each."""
    random = np.random.default_rng(0)
    found = []
    for layout in pictures:
        wrong = random.uniform(0, SIDE, (1, COCO.num_joints, 2))
        joints = np.concatenate([layout.joints + random.normal(0, 6, layout.joints.shape), wrong])
        score = random.uniform(0.1, 1, joints.shape[:2]).astype(np.float32)
        found.append(People(joints.astype(np.float32), score, score.mean(1)))
    return found
