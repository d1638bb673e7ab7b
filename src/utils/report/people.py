"""The predictions of a network for single people: read or made, scored, sorted by what is wrong, drawn.

N people, J joints.
"""

from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.datasets import affine
from src.datasets.annotations import UNLABELLED, Annotations, People
from src.datasets.augmentation import Draw
from src.datasets.crops import PersonCrops
from src.datasets.files import load_h5
from src.datasets.people import open_people
from src.datasets.readers import RELEASES
from src.datasets.skeletons import Skeleton, joint_map
from src.datasets.skeletons import skeleton as skeleton_named
from src.errors import UserError
from src.evaluation.failures import failures
from src.evaluation.pck import distances, within
from src.evaluation.predictions import Stored, picture_names
from src.evaluation.protocols import PROTOCOLS, Truth, Yardstick, evaluate, protocols_of, yardstick
from src.evaluation.results import Result
from src.utils import options
from src.utils.bars import Scores
from src.utils.pictures import draw_pose, draw_truth
from src.utils.report.findings import PIXELS, Findings, Settings, Shown, Table, gallery, jpeg, shares
from src.utils.report.sources import Trained, predictions_of, scoring_options
from src.utils.scoring import average_precision, predict_people, results_in_boxes

FILES = ("preds.h5", "final_preds.h5")
_WORST = 4  # thresholds; how far off a joint is beyond that says nothing more about a person


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


def examine_people(folder: Path, dataset: str, settings: Settings) -> Findings:
    """What the predictions of the run in `folder` for a validation split show. Raises UserError."""
    args = scoring_options(folder, build_options, dataset, settings)
    read, predict = partial(_read, args=args), partial(_predict, args=args)
    predicted = predictions_of(folder, FILES, settings, read, predict)
    people = _people(args, predicted.skeleton)
    truth = Truth.of(people, predicted.row)
    result = evaluate(_protocol(dataset, predicted.skeleton), predicted.coords, truth, predicted.skeleton)
    by = yardstick(result.protocol, truth)

    source = joint_map(predicted.skeleton, truth.skeleton)
    coords = np.where((source >= 0)[:, None], predicted.coords.take(source, axis=1), np.nan)
    labelled = (truth.visible > UNLABELLED) & (source >= 0)
    error = distances(coords, truth.joints, by.length, labelled)
    kinds, counted = shares(_kinds(coords, truth, labelled, by, people, predicted.row))
    return Findings(
        title=result.title,
        source=predicted.source,
        notes=(f"{result.people} people are scored", *result.notes),
        tables=_tables(result, _average_precision(args, predicted, people)),
        thresholds=result.thresholds.tolist(),
        curves={name: result.curves[name].tolist() for name in _curves(result)},
        errors=error[np.isfinite(error)],
        unit=by.unit,
        limit=by.threshold,
        joints=truth.skeleton.joints,
        kinds=kinds,
        counted=counted,
        pictures=_pictures(people, predicted.row, coords, error, by, settings.pictures),
    )


def _people(args: Namespace, skeleton: Skeleton) -> People:
    """The split as it is scored: a release in its own joints, drawn people in the network's."""
    return open_people(args, "valid", skeleton if args.dataset == "synth" else None, args.input_res)


def _protocol(dataset: str, skeleton: Skeleton) -> str:
    """The first kind of PCK that the data set is scored by."""
    customary = [name for name in protocols_of(dataset, None, skeleton) if name in PROTOCOLS]
    return customary[0] if customary else "pck-box"


def _read(path: Path, args: Namespace) -> _Predicted:
    """A file of ours, whose people must be those of the split. Raises UserError.

    Of drawn people no more are taken than a network is run on: each is drawn anew to be compared with.
    """
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


def _predict(trained: Trained, args: Namespace) -> _Predicted:
    """What the network predicts for people spread over the split."""
    people = open_people(args, "valid", trained.skeleton, trained.loaded.input_res)
    found = predict_people(trained.loaded, people, args, trained.device)
    source = f"{trained.name}, run on {len(found.row)} of {len(people)} people"
    return _Predicted(found.coords, found.score, found.row, trained.skeleton, source)


def _average_precision(args: Namespace, predicted: _Predicted, people: People) -> Scores | None:
    """AP where it is customary, of predictions that have all joints."""
    if args.dataset != "coco" or predicted.skeleton.joints != people.skeleton.joints:
        return None
    assert isinstance(people, Annotations)
    chosen = people.select(predicted.row)
    results = results_in_boxes(Stored(predicted.coords, predicted.skeleton, predicted.score), chosen)
    pictures = None if len(chosen) == len(people) else chosen.index
    return average_precision(args, results, args.exp, predicted.skeleton, pictures)


def _kinds(
    coords: np.ndarray,
    truth: Truth,
    labelled: np.ndarray,
    by: Yardstick,
    people: People,
    row: np.ndarray,
) -> np.ndarray:
    """The kind (N, J) of each joint; who else is in a picture counts, whether predicted or not."""
    mirror = truth.skeleton.flip_order
    if not isinstance(people, Annotations):
        return failures(coords, truth.joints, labelled, by.length, by.threshold, mirror)
    beside = np.setdiff1d(np.flatnonzero(np.isin(people.index, people.index[row])), row)
    nobody = np.full((len(beside), *coords.shape[1:]), np.nan)
    return failures(
        np.concatenate([coords, nobody]),
        np.concatenate([truth.joints, people.joints[beside]]),
        np.concatenate([labelled, people.visible[beside] > UNLABELLED]),
        np.concatenate([by.length, np.full(len(beside), np.nan)]),
        by.threshold,
        mirror,
        people.index[np.concatenate([row, beside])],
    )[: len(row)]


def _tables(result: Result, scores: Scores | None) -> dict[str, Table]:
    """The tables of a protocol, after those of AP."""
    tables = {}
    if scores:
        tables["AP and AR"] = Table(("%",), {name: (100 * v,) for name, v in scores.figures.items()}, {})
    for caption, sections in (("Parts and means", ("groups", "means")), ("Single joints", (result.single,))):
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
    by: Yardstick,
    count: int,
) -> dict[str, list[Shown]]:
    """People drawn with their predicted joints (N, J, 2) over the truth; error (N, J) in units of lengths.

    A person is as bad as the mean of the joints' errors. Those who lack more than half of the joints come
    only if nobody else is there.
    """
    total = (~np.isnan(error)).sum(1)
    bad = np.nansum(np.minimum(error, _WORST * by.threshold), axis=1) / np.where(total, total, np.nan)
    right = within(error, by.threshold).sum(1)
    many = total >= error.shape[1] / 2
    crops = PersonCrops(people, PIXELS)

    def show(place: int) -> Shown:
        person = int(row[place])
        sample = crops.crop(people.person(person), Draw())
        image = draw_truth(sample["image"], sample["joints"], people.skeleton, sample["visible"])
        image = draw_pose(image, affine.apply(sample["matrix"], coords[place]), people.skeleton)
        caption = f"{right[place]} of {total[place]} right, mean error {bad[place]:.2f} {by.unit}"
        return Shown(jpeg(image), crops.where(person), caption)

    return gallery(bad, many if many.any() else total > 0, count, show)
