"""What the single-person tasks share around their step: starting weights, validation, predictions."""

from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from src.datasets.annotations import People
from src.datasets.crops import Batch, PersonCrops, in_order, load, nothing_readable, readable
from src.datasets.people import open_people
from src.datasets.skeletons import Skeleton
from src.datasets.targets import to_images
from src.errors import UserError
from src.evaluation.accuracy import HeatmapAccuracy
from src.evaluation.decode import decode
from src.evaluation.predict import Found, predict
from src.evaluation.predictions import Predictions, write_h5, write_mat
from src.models.checkpoint import load_weights, read_checkpoint
from src.models.layers import PoseNetwork
from src.utils import distributed
from src.utils.command import note
from src.utils.device import to_device
from src.utils.pictures import prediction_grid
from src.utils.processes import is_main
from src.utils.training import Row, Run, Totals, accuracy_row, report_left_out

SHOWN = 8  # validation pictures in TensorBoard


def start_from(network: PoseNetwork, path: Path | None) -> None:
    """Start from the weights of `--load-model`, if given, and say what was and was not loaded."""
    if path is not None:
        note(f"{path}: {load_weights(network, read_checkpoint(path))}")


Judge = Callable[[torch.nn.Module, Batch, HeatmapAccuracy], tuple[Tensor, Tensor]]


@torch.inference_mode()
def validate_heatmaps(
    network: torch.nn.Module, judge: Judge, crops: PersonCrops, accuracy: HeatmapAccuracy, run: Run
) -> Row:
    """Loss and accuracy over the validation split, without flip, for log.csv; pictures go to TensorBoard.

    Of several processes each takes its share of every batch, of which the last one may leave some of them
    nothing. The loss is the mean over all people and joints that count, however they are shared.

    judge(network, batch, accuracy): the losses of a batch on the device, summed, and what they are to be
        divided by; the joints found go into `accuracy`.

    Breaks off after a signal.
    """
    network.eval()
    distributed.share_buffers(network)
    options, skeleton, step = run.options, crops.people.skeleton, run.position.step
    totals, left_out = Totals(run.device), list[str]()
    keys = in_order(len(crops), options.batch_size, options.valid_iters)
    loader = load(crops, distributed.Shares(keys, options.batch_size), options.workers, run.device)
    for i, batch in enumerate(readable(loader, options.skip_bad_images, left_out)):
        if run.stop.came:
            break
        batch = to_device(batch, run.device)
        totals.add(dict(zip(("loss", "weight"), judge(network, batch, accuracy), strict=True)), step)
        if i == 0 and is_main():
            run.experiment.add_picture("validation", _grid(network, batch, skeleton), step)
    totals.check()
    own = [*(float(totals.sums.get(name, 0)) for name in ("loss", "weight")), totals.count]
    loss, weight, batches = distributed.total(torch.tensor(own, dtype=torch.float64)).tolist()
    accuracy, left_out = accuracy.joined(), distributed.joined(left_out)
    if left_out and not batches:
        raise nothing_readable(left_out)
    report_left_out(crops.people.name, left_out)
    return {"valid_loss": loss / max(weight, 1), **accuracy_row("valid", accuracy, skeleton.joints)}


def validation_batches(
    crops: PersonCrops, options: Namespace, device: torch.device, batches: int | None = None
) -> Iterator[Batch]:
    """The batches of a split in order, or `--valid-iters` of them spread over it; whole, for one process.

    Says at the end how many pictures were left out; UserError if that were all.
    """
    wanted = options.valid_iters if batches is None else batches
    loader = load(crops, in_order(len(crops), options.batch_size, wanted), options.workers, device)
    left_out, found = list[str](), False
    for batch in readable(loader, options.skip_bad_images, left_out):
        found = True
        yield batch
    if left_out and not found:
        raise nothing_readable(left_out)
    report_left_out(crops.people.name, left_out)


def _grid(network: torch.nn.Module, batch: Batch, skeleton: Skeleton) -> np.ndarray:
    images = to_images(batch["image"][:SHOWN])
    heatmaps = network(images)[-1].float()
    points = decode(heatmaps)[0] * (images.shape[-1] / heatmaps.shape[-1])
    pictures = batch["image"][:SHOWN].cpu().numpy()
    truth, visible = batch["joints"][:SHOWN].cpu().numpy(), batch["visible"][:SHOWN].cpu().numpy()
    return prediction_grid(pictures, points.cpu().numpy(), truth, skeleton, columns=4, visible=visible)


def final_predictions(network: torch.nn.Module, run: Run) -> None:
    """Write final_preds.h5 and .mat for the test split, or for validation where there is no test split.

    The main process does it, alone.
    """
    if not is_main():
        return
    options, skeleton = run.options, Skeleton.from_dict(run.head["skeleton"])
    try:
        people = open_people(options, "test", skeleton, options.input_res)
    except UserError as error:
        note(f"no test split ({error}); predicting the validation split")
        people = open_people(options, "valid", skeleton, options.input_res)
    crops = PersonCrops(people, options.input_res)
    batches = validation_batches(crops, options, run.device, batches=0)
    found = predict(network, batches, run.device, skeleton.flip_order)
    write_predictions(run.experiment.folder, "final_preds", found, people)


def write_predictions(folder: Path, name: str, found: Found, people: People) -> None:
    """Predictions as NAME.h5 and NAME.mat in a folder."""
    record = Predictions.of(found, people)
    write_h5(folder / f"{name}.h5", record)
    write_mat(folder / f"{name}.mat", record)
    note(f"predictions for {len(found.row)} people: {folder / name}.h5, {folder / name}.mat")
