"""What test.py of the multi-person tasks does: find people or read results, score by COCO's AP, draw."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import torch

from src import models
from src.datasets.people import open_scenes
from src.datasets.scene_annotations import ScenePeople
from src.datasets.skeletons import Skeleton
from src.errors import UserError
from src.evaluation.coco import evaluate_ap, read_results, write_results
from src.evaluation.grouping import People
from src.evaluation.protocols import AP
from src.evaluation.search import SceneViews, Search, find_all
from src.utils.bars import Scores, table
from src.utils.command import note
from src.utils.device import choose_device
from src.utils.files import writable_folder, write_json
from src.utils.multi_person import score
from src.utils.pictures import people_grid, save_image
from src.utils.scoring import check_submission, checkpoint_of, submit
from src.utils.speed import precision
from src.utils.supervision import validation_batches


def score_results(args: Namespace) -> Scores:
    """Score the results `--predictions` names against the split; pictures are not needed."""
    check_submission(args, [AP])
    scenes = open_scenes(args, args.split, None, args.input_res, pictures=False, everything=True)
    truth = scenes.truth(np.arange(len(scenes)))
    results = read_results(args.predictions)
    submit(results, args.submission)
    return Scores(f"{args.predictions.stem} on {scenes.name}", evaluate_ap(truth, results))


def score_network(args: Namespace, task: str) -> Scores:
    """Find the people of the split with the network of `--exp` or `--checkpoint`; keep and score them."""
    path = checkpoint_of(args, task)
    check_submission(args, [AP])
    device = choose_device(args.device)
    loaded = models.load(path, device)
    skeleton = Skeleton.from_dict(loaded.skeleton)
    if not loaded.config.get("tag_dim"):
        raise UserError(f"{path} is of a network without tags, which finds one person: see hgpose/test.py")
    scenes = open_scenes(args, args.split, skeleton, loaded.input_res, everything=True)
    if not len(scenes):
        raise UserError(f"{scenes.name} has no pictures: there is nothing to score")
    found = search_scenes(loaded, scenes, args, device)
    results, figures = score(scenes, found)
    note(
        f"{path.name} ({loaded.weights} weights) on {scenes.name}: {len(results)} people found in"
        f" {len(found)} pictures"
    )
    folder = args.out or (path.parent if args.exp else None)
    if folder is not None:
        file = writable_folder(folder) / "results.json"
        write_results(file, results)
        note(f"results: {file}")
    submit(results, args.submission)
    if args.pictures:
        draw(found, scenes, args.pictures, (folder or Path.cwd()) / "predictions.jpg")
    return Scores(f"{args.exp or path.stem} on {scenes.name}", figures)


def search_scenes(
    loaded: models.LoadedModel, scenes: ScenePeople, args: Namespace, device: torch.device
) -> list[tuple[int, People]]:
    """Row and people of each picture: of all, or of `--valid-iters` batches spread over them."""
    search = Search.of(
        scenes.skeleton,
        loaded.input_res,
        models.architecture(loaded.arch).input_multiple(**loaded.config),
        args.scales,
        args.flip_test,
        precision(args.amp, device),
        max_people=args.max_people,
        refine=args.refine,
    )
    batches = validation_batches(SceneViews(scenes, search.sides), args, device)
    return list(find_all(loaded.network, batches, search, device))


def draw(found: list[tuple[int, People]], scenes: ScenePeople, count: int, path: Path) -> None:
    """A grid of `count` pictures, spread over those searched, with everybody in a colour of their own.

    Pictures with annotated people come before those without.
    """
    annotated = scenes.truth(np.array([row for row, _ in found], np.int64)).counts > 0
    peopled, empty = np.flatnonzero(annotated), np.flatnonzero(~annotated)
    spread = np.linspace(0, len(peopled) - 1, min(count, len(peopled))).round().astype(int)
    chosen = np.sort(np.concatenate([peopled[spread], empty[: max(count - len(peopled), 0)]]))
    shown = [(scenes.scene(found[place][0]), found[place][1]) for place in chosen.tolist()]
    pictures = [scene.read(1.0).pixels for scene, _ in shown]
    truth = [(scene.joints, scene.visible) for scene, _ in shown]
    people = [each for _, each in shown]
    save_image(path, people_grid(pictures, people, truth, scenes.skeleton, min(6, len(shown))))
    note(f"pictures: {path}")


def report(scores: Scores, args: Namespace) -> None:
    """Print the table; write it as JSON, which tools/compare.py draws, if asked."""
    print(table([scores]))
    if args.json:
        figures = {name: value if value == value else None for name, value in scores.figures.items()}
        write_json(args.json, {"title": scores.label, "figures": figures})
