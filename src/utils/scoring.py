"""What test.py of the single-person tasks does: predict or read predictions, score, print, draw."""

from argparse import Namespace
from pathlib import Path

import numpy as np

from src import models
from src.datasets import affine
from src.datasets.annotations import Annotations, People
from src.datasets.augmentation import Draw
from src.datasets.crops import PersonCrops
from src.datasets.people import open_people
from src.datasets.skeletons import Skeleton
from src.errors import UserError
from src.evaluation.predict import Found, heatmap_accuracy, predict
from src.evaluation.predictions import read_predictions, release_origin
from src.evaluation.protocols import Result, Truth, evaluate, format_table, protocol_of, to_json
from src.utils.command import note
from src.utils.device import choose_device
from src.utils.experiment import BEST, NEWEST
from src.utils.files import writable_folder, write_json
from src.utils.pictures import prediction_grid, save_image
from src.utils.single_person import validation_batches, write_predictions
from src.utils.speed import precision


def score_predictions(args: Namespace) -> Result:
    """Score the file `--predictions` names against the split; pictures are not needed."""
    people = open_people(args, args.split, None, args.input_res)
    protocol = protocol_of(args.dataset, args.protocol)
    truth = Truth.of(people)
    origin = release_origin(args.dataset)
    coords, skeleton = read_predictions(args.predictions, len(people), truth.skeleton, origin)
    return evaluate(protocol, coords, truth, skeleton)


def checkpoint_of(args: Namespace, task: str) -> Path:
    """The checkpoint that `--exp` or `--checkpoint` names. Raises UserError for an experiment without."""
    path: Path = args.checkpoint or args.exp_dir / task / args.exp / (NEWEST if args.last else BEST)
    if args.exp and not args.last and not path.exists():
        raise UserError(f"{args.exp} has no {BEST} yet; --last takes the newest checkpoint")
    return path


def score_checkpoint(args: Namespace, task: str) -> Result:
    """Predict the split with the network of `--exp` or `--checkpoint`, keep and score the predictions."""
    path = checkpoint_of(args, task)
    device = choose_device(args.device)
    loaded = models.load(path, device)
    if loaded.config.get("tag_dim"):
        raise UserError(f"{path} is of a network that finds all people of a picture: see hgpose-ae/test.py")
    skeleton = Skeleton.from_dict(loaded.skeleton)
    people = open_people(args, args.split, skeleton, loaded.input_res)
    protocol = protocol_of(args.dataset, args.protocol, skeleton)

    crops = PersonCrops(people, loaded.input_res)
    found = predict(
        loaded.network,
        validation_batches(crops, args, device),
        device,
        skeleton.flip_order if args.flip_test else None,
        precision(args.amp, device),
    )
    size = loaded.input_res // loaded.network.stride
    accuracy = heatmap_accuracy(found, size, skeleton.accuracy_joints)
    note(
        f"{path.name} ({loaded.weights} weights) on {people.name}: {len(found.row)} people,"
        f" heatmap accuracy {100 * accuracy:.2f}%"
    )
    folder = args.out or (path.parent if args.exp else None)
    if folder is not None:
        write_predictions(writable_folder(folder), "preds", found, people)
    if args.pictures:
        draw(found, people, args.pictures, (folder or Path.cwd()) / "predictions.jpg")
    if isinstance(people, Annotations):  # in the joints of the release, which may be more than the network's
        own = open_people(args, args.split)
        assert isinstance(own, Annotations)
        return evaluate(protocol, found.coords, Truth.of(own.select(found.row)), skeleton)
    return evaluate(protocol, found.coords, Truth.beside(found, people))


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


def report(result: Result, args: Namespace) -> None:
    """Print the table; write it as JSON if asked."""
    print(format_table(result))
    if args.json:
        write_json(args.json, to_json(result))
