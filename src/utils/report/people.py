"""The predictions of a network for single people: read or made, scored, sorted by what is wrong, drawn.

N people, J joints.
"""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src import models
from src.datasets import affine
from src.datasets.annotations import UNLABELLED, Annotations, People
from src.datasets.augmentation import Draw
from src.datasets.crops import PersonCrops
from src.datasets.files import load_h5
from src.datasets.images import BadImage
from src.datasets.people import open_people
from src.datasets.readers import RELEASES
from src.datasets.skeletons import Skeleton, joint_map
from src.datasets.skeletons import skeleton as skeleton_named
from src.errors import UserError
from src.evaluation.failures import failures
from src.evaluation.pck import distances
from src.evaluation.predictions import Stored, picture_names
from src.evaluation.protocols import AP, PROTOCOLS, Truth, evaluate, protocols_of, yardstick
from src.evaluation.results import Result
from src.utils import options
from src.utils.bars import Scores
from src.utils.command import note
from src.utils.device import choose_device
from src.utils.pictures import draw_pose, draw_truth
from src.utils.report.findings import (
    PIXELS,
    Findings,
    Settings,
    Shown,
    Table,
    checkpoint,
    jpeg,
    ranked,
    scoring_options,
    shares,
    stored_files,
)
from src.utils.scoring import average_precision, predict_people, results_in_boxes

FILES = ("preds.h5", "final_preds.h5")
_WORST = 4  # thresholds; how far off a joint is beyond that says nothing more about a person

# What protocols measure errors in.
_UNITS = {
    "pckh": "head sizes", "pck": "torsos", "pck-flic": "torsos", "pck-box": "box sides",
    "pck-person": "box sides", "pck-window": "window sides", "pck-crop": "crop sides",
}  # fmt: skip


class _Predicted(NamedTuple):
    """Predictions for the people at row (N,) of a split, in a skeleton's joints, and where they are from."""

    coords: np.ndarray
    score: np.ndarray
    row: np.ndarray
    skeleton: Skeleton
    source: str


def build_options(parser: options.Parser) -> None:
    """The options of test.py of any single-person task."""
    options.add_single_person_scoring_options(parser)
    options.add_data_options(parser, ["synth", *RELEASES])
    options.add_release_options(parser)


def examine_people(folder: Path, settings: Settings) -> Findings:
    """What the predictions of the run in `folder` for the validation split show. Raises UserError."""
    args = scoring_options(folder, build_options, settings)
    predicted = None if settings.anew else _stored(folder, args)
    predicted = predicted or _made(folder, args)
    people = _people(args, predicted.skeleton)
    truth = Truth.of(people, predicted.row)
    protocols = [AP] * (args.dataset == "coco") + [_protocol(args.dataset, predicted.skeleton)]
    result = evaluate(protocols[-1], predicted.coords, truth, predicted.skeleton)
    length, limit = yardstick(result.protocol, truth)

    source = joint_map(predicted.skeleton, truth.skeleton)
    coords = np.where((source >= 0)[:, None], predicted.coords.take(source, axis=1), np.nan)
    labelled = (truth.visible > UNLABELLED) & (source >= 0)
    error = distances(coords, truth.joints, length, labelled)
    kinds, counted = shares(_kinds(coords, truth, labelled, limit * length, people, predicted.row))
    shown = _pictures(people, predicted.row, coords, error, limit, _UNITS[result.protocol], settings.pictures)
    scores = _average_precision(args, predicted, people) if AP in protocols else None
    return Findings(
        title=result.title,
        source=predicted.source,
        notes=(f"{result.people} people are scored", *result.notes),
        tables=_tables(result, scores),
        thresholds=result.thresholds.tolist(),
        curves={name: result.curves[name].tolist() for name in _curves(result)},
        errors=error[np.isfinite(error)],
        unit=_UNITS[result.protocol],
        limit=limit,
        joints=truth.skeleton.joints,
        kinds=kinds,
        counted=counted,
        pictures=shown,
    )


def _people(args: Namespace, skeleton: Skeleton) -> People:
    """The split as it is scored: a release in its own joints, drawn people in the network's."""
    return open_people(args, "valid", skeleton if args.dataset == "synth" else None, args.input_res)


def _protocol(dataset: str, skeleton: Skeleton) -> str:
    """The first kind of PCK that the data set is scored by."""
    customary = [name for name in protocols_of(dataset, None, skeleton) if name in PROTOCOLS]
    return customary[0] if customary else "pck-box"


def _stored(folder: Path, args: Namespace) -> _Predicted | None:
    """Predictions that test.py or --final-predictions left for the split; None if there are none.

    Of drawn people no more are taken than a network is run on: each is drawn anew to be compared with.
    """
    for path in stored_files(folder, FILES):
        try:
            return _read(path, args)
        except UserError as error:
            note(f"{path} is left out: {error}")
    return None


def _read(path: Path, args: Namespace) -> _Predicted:
    """A file of ours, whose people must be those of the split. Raises UserError."""
    content = load_h5(path, ["preds", "idxs", "imgname", "skeleton"])
    skeleton = skeleton_named(bytes(np.ravel(content["skeleton"])[0]).decode(errors="replace"))
    people, row, preds = _people(args, skeleton), content["idxs"].astype(np.int64), content["preds"]
    if preds.shape != (len(row), skeleton.num_joints, 5) or not len(row):
        raise UserError(f"its preds have shape {preds.shape}")
    if not 0 <= row.min() <= row.max() < len(people) or not np.array_equal(
        content["imgname"], picture_names(people, row)
    ):
        raise UserError(f"it is not of {people.name}")
    source = f"{path.name}, {len(row)} people"
    if not isinstance(people, Annotations):
        most = args.valid_iters * args.batch_size
        spread = np.unique(np.linspace(0, len(row) - 1, min(most, len(row))).round().astype(int))
        preds, row = preds[spread], row[spread]
        source = f"{path.name}, {len(row)} of its {len(people)} people"
    return _Predicted(preds[..., :2], preds[..., 4], row, skeleton, source)


def _made(folder: Path, args: Namespace) -> _Predicted:
    """Predictions of the best checkpoint for people spread over the split."""
    path = checkpoint(folder)
    device = choose_device(args.device)
    loaded = models.load(path, device)
    skeleton = Skeleton.from_dict(loaded.skeleton)
    people = open_people(args, "valid", skeleton, loaded.input_res)
    found = predict_people(loaded, people, args, device)
    source = f"{path.name} ({loaded.weights} weights), run on {len(found.row)} of {len(people)} people"
    return _Predicted(found.coords, found.score, found.row, skeleton, source)


def _average_precision(args: Namespace, predicted: _Predicted, people: People) -> Scores:
    assert isinstance(people, Annotations)
    chosen = people.select(predicted.row)
    results = results_in_boxes(Stored(predicted.coords, predicted.skeleton, predicted.score), chosen)
    pictures = None if len(chosen) == len(people) else chosen.index
    return average_precision(args, results, args.exp, predicted.skeleton, pictures)


def _kinds(
    coords: np.ndarray,
    truth: Truth,
    labelled: np.ndarray,
    limit: np.ndarray,
    people: People,
    row: np.ndarray,
) -> np.ndarray:
    """The kind (N, J) of each joint; who else is in a picture counts, whether predicted or not."""
    limits = np.repeat(limit[:, None], labelled.shape[1], axis=1)
    mirror = truth.skeleton.flip_order
    if not isinstance(people, Annotations):
        return failures(coords, truth.joints, labelled, limits, mirror)
    beside = np.setdiff1d(np.flatnonzero(np.isin(people.index, people.index[row])), row)
    nobody = np.full((len(beside), *coords.shape[1:]), np.nan)
    return failures(
        np.concatenate([coords, nobody]),
        np.concatenate([truth.joints, people.joints[beside]]),
        np.concatenate([labelled, people.visible[beside] > UNLABELLED]),
        np.concatenate([limits, np.full(nobody.shape[:2], np.nan)]),
        mirror,
        people.index[np.concatenate([row, beside])],
    )[: len(row)]


def _tables(result: Result, scores: Scores | None) -> dict[str, Table]:
    tables = {}
    if scores:
        tables["AP and AR"] = Table(("%",), {name: (100 * v,) for name, v in scores.figures.items()}, {})
    single = next(name for name in result.sections if name not in ("groups", "means"))
    for caption, sections in (("Parts and means", ("groups", "means")), ("Single joints", (single,))):
        rows = [row for section in sections for row in result.sections[section].values()]
        tables[caption] = Table(
            result.columns,
            {row.label: tuple(score.percent for score in row.scores) for row in rows},
            {row.label: row.scores[0].counted for row in rows},
        )
    return tables


def _curves(result: Result) -> list[str]:
    """The names of the mean and of the groups of joints."""
    return [name for name in result.curves if name.endswith("_mean") or name in result.sections["groups"]]


def _pictures(
    people: People,
    row: np.ndarray,
    coords: np.ndarray,
    error: np.ndarray,
    limit: float,
    unit: str,
    count: int,
) -> dict[str, list[Shown]]:
    """People drawn with their predicted joints (N, J, 2) over the truth; error (N, J) in units of a length.

    A person is as bad as the mean of the joints' errors. Those who lack more than half of the joints come
    only if nobody else is there.
    """
    counted = np.isfinite(error) | np.isposinf(error)
    total = counted.sum(1)
    with np.errstate(invalid="ignore"):
        bad = np.where(counted, np.minimum(error, _WORST * limit), 0).sum(1) / np.where(total, total, np.nan)
        right = (counted & (error <= limit)).sum(1)
    many = total >= error.shape[1] / 2
    chosen = ranked(bad, many if many.any() else total > 0, count)
    crops = PersonCrops(people, PIXELS)

    def shown(place: int) -> Shown | None:
        try:
            sample = crops.crop(people.person(int(row[place])), Draw())
        except BadImage as reason:
            note(str(reason))
            return None
        joints = affine.apply(sample["matrix"], coords[place])
        image = draw_truth(sample["image"], sample["joints"], people.skeleton, sample["visible"])
        image = draw_pose(image, joints, people.skeleton)
        caption = f"{right[place]} of {total[place]} right, mean error {bad[place]:.2f} {unit}"
        return Shown(jpeg(image), crops.where(int(row[place])), caption)

    return {rank: _existing([shown(place) for place in places]) for rank, places in chosen.items()}


def _existing(pictures: Sequence[Shown | None]) -> list[Shown]:
    return [picture for picture in pictures if picture is not None]
