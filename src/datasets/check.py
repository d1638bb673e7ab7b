"""Whether the files of a release are complete, readable and within range: `data/prepare.py --check`."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from src.datasets import readers
from src.datasets.affine import PERSON_PIXELS
from src.datasets.annotations import HIDDEN, UNLABELLED, Annotations
from src.datasets.images import BadImage, picture_path, read_image
from src.datasets.scene_annotations import SceneAnnotations
from src.datasets.workers import cores
from src.errors import UserError
from src.utils.progress import Progress

_EXAMPLES = 5  # pictures or people named of those that share a problem


@dataclass
class Report:
    """What a check found. facts: a line a split. problems: a line for each thing that is wrong."""

    facts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, what: str, examples: list[str], advice: str) -> None:
        """A problem that several pictures or people share, unless `examples` is empty."""
        if examples:
            more = f" and {len(examples) - _EXAMPLES} more" if len(examples) > _EXAMPLES else ""
            self.problems.append(
                f"{what}: {len(examples)} ({', '.join(examples[:_EXAMPLES])}{more}); {advice}"
            )


def check(dataset: str, data_dir: Path) -> Report:
    """Read all splits of a release and every picture in them.

    Problems are: files that are missing or damaged, values that are no numbers, pictures that are missing or
    cannot be decoded, people whose box lies outside the picture, pictures of training people that are also
    validated or tested on. Facts count joints outside their picture, people annotated twice, and pictures
    that are known to be in two splits: releases have some.
    """
    report = Report()
    release = readers.release(dataset)
    splits: dict[str, Annotations] = {}
    scenes: list[SceneAnnotations] = []
    for split in release.splits:
        try:
            splits[split] = readers.read(dataset, data_dir, split)
            if release.scenes:
                scenes.append(release.scenes(data_dir, split, readers.VALID_SHARE))
        except UserError as error:
            report.problems.append(str(error))
    sizes = _check_pictures([*splits.values(), *scenes], report, release.how_to_get(data_dir))
    for people in splits.values():
        _check_people(people, sizes, report)
    for record in scenes:
        _check_scenes(record, sizes, report)
    _check_overlap(splits, release.twice, report)
    return report


def _check_pictures(
    records: Sequence[Annotations | SceneAnnotations], report: Report, how_to_get: str
) -> dict[str, tuple[int, int]]:
    """Width and height of all pictures that can be decoded; what cannot be goes into the report."""
    paths = sorted({path for record in records for path in _paths(record)})
    missing = [path for path in paths if not os.path.isfile(path)]
    report.add("missing pictures", missing, how_to_get)
    present = sorted(set(paths) - set(missing))
    sizes: dict[str, tuple[int, int]] = {}
    unreadable = []
    with ThreadPoolExecutor(cores()) as threads, Progress("pictures", len(present)) as progress:
        for path, size in zip(present, threads.map(_picture_size, present), strict=True):
            if isinstance(size, str):
                unreadable.append(size)
            else:
                sizes[path] = size
            progress.advance(lambda: f"{len(unreadable)} unreadable")
    report.add("unreadable pictures", unreadable, "replace them")
    return sizes


def _picture_size(path: str) -> tuple[int, int] | str:
    """Width and height of a picture, or why it cannot be decoded."""
    try:
        height, width = read_image(path).shape[:2]
    except BadImage as error:
        return str(error)
    return width, height


def _check_people(people: Annotations, sizes: dict[str, tuple[int, int]], report: Report) -> None:
    """The facts of one split, and the people whose box shows nothing of the picture."""
    unknown = (np.inf, np.inf)
    size = np.array([sizes.get(path, unknown) for path in _paths(people)])
    labelled = people.visible > UNLABELLED
    outside = labelled & ((people.joints < 0) | (people.joints > size[:, None])).any(2)
    center = people.center + np.stack([np.zeros(len(people)), people.shift * people.scale], 1)
    reach = (PERSON_PIXELS / 2 * people.scale * people.enlarge)[:, None]
    black = ((center + reach <= 0) | (center - reach >= size)).any(1)
    report.add(
        f"people of {people.name} whose box is outside the picture",
        [f"{people.images[row].decode(errors='replace')} (person {row})" for row in np.flatnonzero(black)],
        "correct the centre or the scale, or take them out",
    )
    twice = len(people) - len(np.unique(_identity(people), axis=0))
    report.facts.append(
        f"{people.name}: {len(people):,} people in {len(np.unique(people.images)):,} pictures,"
        f" {labelled.sum():,} joints labelled, {(people.visible == HIDDEN).sum():,} of them hidden,"
        f" {outside.sum():,} outside the picture; annotated twice: {twice:,}"
    )


def _check_scenes(record: SceneAnnotations, sizes: dict[str, tuple[int, int]], report: Report) -> None:
    """The facts of the pictures of one split, and those whose size is not the annotated one."""
    paths = _paths(record)
    wrong = [
        f"{path} ({width} x {height})"
        for path, (width, height) in zip(paths, record.size.tolist(), strict=True)
        if sizes.get(path, (width, height)) != (width, height)
    ]
    report.add(f"pictures of {record.name} not as large as annotated", wrong, "correct the annotations")
    crowds, labelled = record.crowd.sum(), record.labelled.sum()
    people, pictures = len(record.crowd) - crowds, (record.counts > 0).sum()
    report.facts.append(
        f"{record.name}: {len(record):,} pictures, {pictures:,} of them with labelled people;"
        f" {people:,} people, {people - labelled:,} of them without labelled joints; crowds: {crowds:,}"
    )


def _identity(people: Annotations) -> np.ndarray:
    """Numbers (N, K) that are equal for people with the same picture, box and joints."""
    picture = np.unique(people.images, return_inverse=True)[1]
    box = np.column_stack([people.center, people.scale])
    return np.column_stack([picture, box, people.joints.reshape(len(people), -1)])


def _check_overlap(splits: dict[str, Annotations], known: Sequence[str], report: Report) -> None:
    """Pictures that are both trained and scored on; those with `known` names are so in the release."""
    if "train" not in splits:
        return
    for split in [split for split in splits if split != "train"]:
        shared = set(_paths(splits["train"])) & set(_paths(splits[split]))
        released = {path for path in shared if os.path.basename(path) in known}
        what = f"pictures in both train and {split}"
        if released:
            report.facts.append(f"{what}, as in the release: {len(released)}")
        report.add(what, sorted(shared - released), "take them out of one of the two")


def _paths(record: Annotations | SceneAnnotations) -> list[str]:
    """Where the picture of each row of a record lies."""
    return [str(picture_path(record.root, name)) for name in record.images]
