"""What test.py of the single-person tasks does: predict or read predictions, score, print, draw, submit."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from src import models
from src.datasets import affine
from src.datasets.affine import PERSON_PIXELS
from src.datasets.annotations import UNLABELLED, Annotations, People
from src.datasets.augmentation import Draw
from src.datasets.coco import read_scenes
from src.datasets.crops import Batch, PersonCrops, PersonViews
from src.datasets.files import append_h5, h5_file
from src.datasets.mpii import MPII, OFFICIAL
from src.datasets.people import data_folder, open_people
from src.datasets.skeletons import Skeleton
from src.errors import UserError
from src.evaluation.breakdown import BY_ACTION, broken_down
from src.evaluation.coco import (
    Results,
    coco_results,
    figure_intervals,
    is_results,
    people_in_boxes,
    prepare,
    read_results,
    score,
    write_results,
    write_zip,
)
from src.evaluation.decode import as_targets
from src.evaluation.predict import Found, Keep, heatmap_accuracy, predict
from src.evaluation.predictions import Stored, read_predictions, release_origin
from src.evaluation.protocols import AP, FAILURES, Truth, evaluate, protocols_of
from src.evaluation.results import Result, format_table, to_json
from src.evaluation.search import sides_of
from src.evaluation.submission import write_mpii
from src.utils.bars import Scores, table
from src.utils.command import note
from src.utils.device import choose_device
from src.utils.files import writable_folder, write_json
from src.utils.options import BEST, DARK, NEWEST, OPTIONS_FILE, stored_options
from src.utils.pictures import prediction_grid, save_image
from src.utils.single_person import validation_batches, write_predictions
from src.utils.speed import precision
from src.utils.words import counted

Outcomes = list[Result | Scores]
_SUBMITTED = {"mpii": ".mat", "coco": ".zip"}  # data sets with a server, and what it takes

REGRESSION_TASK = "regpose"


def score_predictions(args: Namespace) -> Outcomes:
    """Score the file `--predictions` names against the split; pictures are not needed."""
    protocols = protocols_of(args.dataset, args.protocol)
    check_submission(args, protocols)
    check_measures(args, protocols)
    if AP in protocols and is_results(args.predictions):
        return [average_precision(args, read_results(args.predictions), args.predictions.stem)]
    people = open_people(args, args.split, None, args.input_res)
    stored = read_predictions(args.predictions, len(people), people.skeleton, release_origin(args.dataset))
    truth = Truth.of(people)
    return outcomes(args, protocols, stored, truth, people, np.arange(len(people)), args.predictions.stem)


def outcomes(
    args: Namespace,
    protocols: Sequence[str],
    found: Stored,
    truth: Truth,
    people: People,
    rows: np.ndarray,
    label: str,
    folder: Path | None = None,
) -> Outcomes:
    """What each protocol says about predictions for those of `people` at `rows` (N,).

    label: whose they are. folder: where results in COCO's format go. Writes `--submission`, too. People of a
    test split without annotation are not scored.
    """
    scored: Outcomes = []
    if args.submission and args.dataset == "mpii":
        assert isinstance(people, Annotations)
        release = MPII.find(data_folder(args), OFFICIAL)
        write_mpii(args.submission, release, found.coords, people.select(rows), found.skeleton)
        note(f"submission of {counted(len(rows))}: {args.submission}")
    if args.split == "test" and not (truth.visible > UNLABELLED).any():
        note(f"{people.name} has no labelled joint, so nothing is scored")
        protocols = [name for name in protocols if name == AP]  # whose results are for a server
    for protocol in protocols:
        if protocol == AP:
            assert isinstance(people, Annotations)
            results = results_in_boxes(found, people.select(rows))
            if folder is not None:
                write_results(folder / "results.json", results)
                note(f"results: {folder / 'results.json'}")
            pictures = None if len(rows) == len(people) else people.index[rows]
            scored.append(average_precision(args, results, label, found.skeleton, pictures))
        else:
            by_torso = args.torso and protocol == "pck"
            known = truth.with_torso(args.torso) if by_torso else truth
            result = evaluate(protocol, found.coords, known, found.skeleton, args.bootstrap)
            of_groups = partial(evaluate, protocol, skeleton=found.skeleton)
            wanted = args.by if protocol != FAILURES else ()
            groups = [broken_down(by, of_groups, found.coords, known) for by in wanted]
            scored.append(replace(result, breakdowns=tuple(groups)))
    return scored


def results_in_boxes(found: Stored, people: Annotations) -> Results:
    """Predictions for people of COCO, who have annotated or detected boxes, in its format of results."""
    box_score = getattr(people, "score", np.ones(len(people)))
    area = (PERSON_PIXELS * people.scale.astype(np.float64)) ** 2
    order = np.argsort(people.index, kind="stable")
    pictures = np.split(order, np.flatnonzero(np.diff(people.index[order])) + 1)
    sigmas = found.skeleton.sigmas
    each = (
        people_in_boxes(found.coords[rows], found.score[rows], box_score[rows], area[rows], sigmas)
        for rows in pictures
    )
    return coco_results(each, (int(people.index[rows[0]]) for rows in pictures))


def average_precision(
    args: Namespace,
    results: Results,
    label: str,
    skeleton: Skeleton | None = None,
    pictures: np.ndarray | None = None,
) -> Scores:
    """AP of results of the split, which `--submission` gets, too; NaN where nobody is annotated.

    skeleton: whose joints they have; None: the split's. pictures: the ids of those that count; None: all.
    """
    scenes = read_scenes(data_folder(args), args.split, args.valid_share, args.coco_year, args.valid_ids)
    if skeleton and skeleton.joints != scenes.skeleton.joints:
        raise UserError(
            f"AP is of all joints of {scenes.name}, and {label} has those of {skeleton.name}; --protocol"
            " pck-box scores the joints that both have"
        )
    if pictures is not None:
        scenes = scenes.select(np.isin(scenes.image_id, pictures))
    submit(results, args.submission)
    prepared = prepare(scenes, results)
    figures = score(prepared)
    ends = figure_intervals(prepared, args.bootstrap) if args.bootstrap else {}
    return Scores(f"{label} on {scenes.name}", figures, ends)


def submit(results: Results, target: Path | None) -> None:
    """Write what COCO's server takes to `--submission`, if it is given."""
    if target:
        write_zip(target, results)
        note(f"submission of {counted(len(results))}: {target}")


def check_submission(args: Namespace, protocols: Sequence[str]) -> None:
    """UserError for a `--submission` that no server takes, before anything is predicted."""
    if not args.submission:
        return
    suffix = _SUBMITTED.get(args.dataset)
    if suffix is None:
        raise UserError(
            f"--submission: there is no server for {args.dataset}, but for {', '.join(_SUBMITTED)}"
        )
    if args.submission.suffix != suffix:
        raise UserError(f"--submission {args.submission} must end in {suffix} for {args.dataset}")
    if args.dataset == "coco" and AP not in protocols:
        raise UserError("--submission: COCO's server takes what --protocol ap scores")
    if args.dataset == "mpii":
        MPII.find(data_folder(args), OFFICIAL)


def check_measures(args: Namespace, protocols: Sequence[str]) -> None:
    """UserError for `--by`, `--torso` or `--boxes` without what they are about, before the network runs."""
    if args.boxes and args.dataset != "coco":
        raise UserError(f"--boxes is for --dataset coco, not for {args.dataset}")
    if args.torso and "pck" not in protocols:
        raise UserError(f"--torso is for --protocol pck, not for {' '.join(protocols)}")
    if args.by and not set(protocols) - {AP, FAILURES}:
        raise UserError(f"--by is for kinds of PCK, and PCP: --protocol {' '.join(protocols)} has none")
    if BY_ACTION in args.by and args.dataset != "penn":
        raise UserError(f"--by {BY_ACTION}: {args.dataset} does not say what people do; penn does")


def checkpoint_of(args: Namespace, task: str) -> Path:
    """The checkpoint that `--exp` or `--checkpoint` names. Raises UserError for an experiment without."""
    if args.last and not args.exp:
        raise UserError("--last is about the checkpoints of --exp NAME: leave it out beside --checkpoint")
    path: Path = args.checkpoint or args.exp_dir / task / args.exp / (NEWEST if args.last else BEST)
    if args.exp and not args.last and not path.exists():
        raise UserError(f"{args.exp} has no {BEST} yet; --last takes the newest checkpoint")
    return path


def score_checkpoint(args: Namespace, task: str) -> Outcomes:
    """Predict the split with the network of `--exp` or `--checkpoint`, keep and score the predictions."""
    path = checkpoint_of(args, task)
    device = choose_device(args.device)
    loaded = models.load(path, device)
    if loaded.config.get("tag_dim"):
        raise UserError(f"{path} is of a network that finds all people of a picture: see hgpose-ae/test.py")
    if (loaded.arch in models.REGRESSION) != (task == REGRESSION_TASK):
        other = "hgpose" if task == REGRESSION_TASK else REGRESSION_TASK
        gives = "heatmaps" if task == REGRESSION_TASK else "coordinates"
        raise UserError(f"{path} is of {loaded.arch}, which gives {gives}: see {other}/test.py")
    skeleton = Skeleton.from_dict(loaded.skeleton)
    people = open_people(args, args.split, skeleton, loaded.input_res)
    protocols = protocols_of(args.dataset, args.protocol, skeleton)
    check_submission(args, protocols)
    check_measures(args, protocols)
    folder = args.out or (path.parent if args.exp else None)
    if folder is None and (args.save_heatmaps or args.save_input):
        raise UserError("--save-heatmaps and --save-input add to preds.h5: --out says where that goes")

    sides = input_sides(loaded, args.scales)
    if list(args.scales) != [1]:
        note(f"inputs of {', '.join(map(str, sides))} px, which are sizes that {loaded.arch} takes")
    sigma = target_sigma(path) if args.decode == DARK else None
    found = predicted_into(folder, loaded, people, args, device, sigma)
    size = sides[0] // loaded.network.stride
    accuracy = heatmap_accuracy(found, size, skeleton.accuracy_joints)
    figure = "" if np.isnan(accuracy) else f", heatmap accuracy {100 * accuracy:.2f}%"
    note(f"{path.name} ({loaded.weights} weights) on {people.name}: {counted(len(found.row))}{figure}")
    if args.pictures:
        draw(found, people, args.pictures, (folder or Path.cwd()) / "predictions.jpg")
    predicted = Stored(found.coords, skeleton, found.score)
    truth = Truth.beside(found, people)
    if isinstance(people, Annotations):  # in the joints of the release, which may be more than the network's
        people = open_people(args, args.split)
        assert isinstance(people, Annotations)
        truth = Truth.of(people.select(found.row))
    return outcomes(args, protocols, predicted, truth, people, found.row, args.exp or path.stem, folder)


def input_sides(loaded: models.LoadedModel, scales: Sequence[float]) -> tuple[int, ...]:
    """The sides of the network's inputs at `scales`, each once, the largest first."""
    multiple = models.architecture(loaded.arch).input_multiple(**loaded.config)
    sides = tuple(dict.fromkeys(sides_of(loaded.input_res, multiple, scales)))
    models.check_input(loaded.arch, sides[-1], **loaded.config)
    return sides


def target_sigma(checkpoint: Path) -> float:
    """The `--sigma` that the network of a checkpoint learnt with, by the options beside it, else 1."""
    folder = checkpoint.parent
    options = stored_options(folder) if (folder / OPTIONS_FILE).is_file() else {}
    return float(options.get("sigma", 1.0))


def predicted_into(
    folder: Path | None,
    loaded: models.LoadedModel,
    people: People,
    args: Namespace,
    device: torch.device,
    dark_sigma: float | None,
) -> Found:
    """As `predict_people`; predictions go to preds.h5 and .mat in a folder, with what is to be saved."""
    if folder is None:
        return predict_people(loaded, people, args, device, dark_sigma)
    with h5_file(writable_folder(folder) / "preds.h5") as file:
        keep = partial(_keep, file, args, loaded.target_mass)
        found = predict_people(loaded, people, args, device, dark_sigma, keep)
        write_predictions(folder, "preds", found, people, file)
    return found


def _keep(file: Any, args: Namespace, target_mass: float | None, batch: Batch, output: torch.Tensor) -> None:
    """Add what is to be saved of a batch to an open HDF5 file; of maps of logits what they stand for."""
    if args.save_heatmaps:
        maps = output if target_mass is None else as_targets(output, target_mass)
        append_h5(file, "heatmaps", maps.half().cpu().numpy())
    if args.save_input:
        image = batch["image"]
        append_h5(file, "input", (image[0] if isinstance(image, list) else image).numpy())


def predict_people(
    loaded: models.LoadedModel,
    people: People,
    args: Namespace,
    device: torch.device,
    dark_sigma: float | None = None,
    keep: Keep | None = None,
) -> Found:
    """What a network finds for people in its joints: all, or `--valid-iters` batches spread over them.

    dark_sigma, keep: as in `predict`.
    """
    sides = input_sides(loaded, args.scales)
    crops = PersonViews(people, sides) if len(sides) > 1 else PersonCrops(people, sides[0])
    return predict(
        loaded.network,
        validation_batches(crops, args, device),
        device,
        people.skeleton.flip_order if args.flip_test else None,
        precision(args.amp, device),
        loaded.target_mass,
        dark_sigma,
        keep,
    )


def draw(found: Found, people: People, count: int, path: Path) -> None:
    """A grid of `count` people spread over those found, each cut out around the person."""
    rows = np.unique(np.linspace(0, len(found.row) - 1, min(count, len(found.row))).round().astype(int))
    crops = PersonCrops(people, 256)
    samples = [crops.crop(people.person(int(found.row[row])), Draw()) for row in rows]
    matrices = np.stack([sample["matrix"] for sample in samples])
    grid = prediction_grid(
        [sample["image"] for sample in samples],
        affine.apply(matrices, found.coords[rows]),
        affine.apply(matrices, found.truth[rows]),
        people.skeleton,
        columns=min(6, len(rows)),
        visible=found.visible[rows],
    )
    save_image(path, grid)
    note(f"pictures: {path}")


def report(scored: Outcomes, args: Namespace) -> None:
    """Print the tables; write them as JSON if asked: the first, and the others under "further"."""
    print("\n\n".join(table([each]) if isinstance(each, Scores) else format_table(each) for each in scored))
    if args.json and scored:
        first, *further = map(_content, scored)
        write_json(args.json, first | ({"further": further} if further else {}))


def _content(each: Result | Scores) -> dict[str, Any]:
    return each.content() if isinstance(each, Scores) else to_json(each)
