"""What the single-person tasks share around their step: crops, targets, validation, predictions."""

import math
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from src.datasets.annotations import People
from src.datasets.augmentation import Augmentation
from src.datasets.crops import Batch, PersonCrops
from src.datasets.people import check_joints, open_people
from src.datasets.skeletons import Skeleton
from src.datasets.skeletons import skeleton as named_skeleton
from src.datasets.targets import gaussian_heatmaps, gaussian_mass, target_cells
from src.errors import UserError
from src.evaluation.accuracy import HeatmapAccuracy
from src.evaluation.decode import as_targets, decode
from src.evaluation.predict import Found, predict
from src.evaluation.predictions import Predictions, add_to_h5, write_h5, write_mat
from src.losses.heatmap import LOSSES, joint_weights
from src.utils.command import note
from src.utils.pictures import prediction_grid
from src.utils.processes import is_main
from src.utils.supervision import Losses, Supervision, validated, validation_batches
from src.utils.training import Row, Run
from src.utils.words import counted

SHOWN = 8  # validation pictures in TensorBoard


def target_radius(options: Namespace) -> int:
    """In cells: how far from a joint its target is drawn."""
    return options.target_radius or math.ceil(3 * options.sigma)


def target_mass(options: Namespace) -> float | None:
    """What scales the softmax over maps that are logits (`as_targets`); None: they are heatmaps."""
    return gaussian_mass(options.sigma, target_radius(options)) if options.loss == "softmax" else None


class HeatmapObjective:
    """Every stage of a single-person network against the same heatmaps.

    stride: input pixels to a cell of the maps. The options are those of the loss: loss, sigma, target_radius,
    mask_unlabelled, stage_weights, input_res.
    """

    def __init__(self, options: Namespace, stride: int) -> None:
        self.options, self.size = options, options.input_res // stride
        self.radius, self.target_mass = target_radius(options), target_mass(options)

    def supervised(self, batch: Batch) -> Batch:
        """The batch with the cell of each joint, whether it has a target, and what it weighs: (B, J)."""
        options = self.options
        cells, has_target = target_cells(batch["joints"], batch["visible"], options.input_res, self.size)
        weight = joint_weights(options.loss, batch["visible"], has_target, options.mask_unlabelled)
        return batch | {"cells": cells, "has_target": has_target, "weight": weight}

    def truth(self, batch: Batch) -> tuple[Tensor, ...]:
        """Heatmaps (B, J, h, w), and what each joint weighs (B, J)."""
        heatmaps = gaussian_heatmaps(
            batch["cells"], batch["has_target"], self.size, self.options.sigma, self.radius
        )
        return heatmaps, batch["weight"]

    def losses(self, outputs: Sequence[Tensor], *truth: Tensor, total: Tensor) -> Losses:
        """The loss, summed over stages."""
        heatmaps, weight = truth
        loss, stage_weights = LOSSES[self.options.loss], self.options.stage_weights
        return {"loss": loss(outputs, heatmaps, weight, total, stage_weights)}

    def heatmaps(self, maps: Tensor, batch: Batch) -> Tensor:
        """The maps (B, J, h, w), or for the softmax loss the targets that they stand for."""
        if self.target_mass is not None:
            maps = as_targets(maps, self.target_mass)
        return maps * (batch["weight"] > 0)[..., None, None]


def open_crops(options: Namespace) -> tuple[PersonCrops, PersonCrops]:
    """The crops to learn from, augmented, and those to validate with."""
    skeleton = named_skeleton(options.skeleton) if options.skeleton else None
    people, valid = (open_people(options, split, skeleton, options.input_res) for split in ("train", "valid"))
    check_joints(people, valid)
    augmentation = Augmentation(
        options.scale_aug, options.rotate_aug, options.rotate_prob, options.flip_prob, options.color_aug
    )
    crops = PersonCrops(people, options.input_res, augmentation, options.seed)
    return crops, PersonCrops(valid, options.input_res)


def validate_heatmaps(supervision: Supervision, network: nn.Module, crops: PersonCrops, run: Run) -> Row:
    """Loss and accuracy over the validation split for log.csv; pictures go to TensorBoard."""

    def points(maps: Tensor) -> Tensor:
        return decode(maps.float())[0] / maps.shape[-1]

    accuracy = HeatmapAccuracy(crops.people.skeleton, run.device)
    return validate_points(supervision, network, crops, run, accuracy, points)


def validate_points(
    supervision: Supervision,
    network: nn.Module,
    crops: PersonCrops,
    run: Run,
    accuracy: HeatmapAccuracy,
    points: Callable[[Tensor], Tensor],
) -> Row:
    """The same, whatever the network gives: points(output) are joints (B, J, 2) in units of the crop."""
    skeleton = crops.people.skeleton

    def look(number: int, batch: Batch, output: Tensor) -> None:
        if number == 0 and is_main():
            picture = _grid(batch, points(output[:SHOWN]), skeleton)
            run.experiment.add_picture("validation", picture, run.position.step)

    return validated(supervision, network, crops, accuracy, run, look)


def _grid(batch: Batch, points: Tensor, skeleton: Skeleton) -> np.ndarray:
    pictures = batch["image"][:SHOWN].cpu().numpy()
    points = points * pictures.shape[2]
    truth, visible = batch["joints"][:SHOWN].cpu().numpy(), batch["visible"][:SHOWN].cpu().numpy()
    return prediction_grid(pictures, points.cpu().numpy(), truth, skeleton, columns=4, visible=visible)


def final_predictions(network: torch.nn.Module, run: Run) -> None:
    """Write final_preds.h5 and .mat for the test split, or for validation where there is no test split."""
    options, skeleton = run.options, Skeleton.from_dict(run.head["skeleton"])
    try:
        people = open_people(options, "test", skeleton, options.input_res)
    except UserError as error:
        note(f"no test split ({error}); predicting the validation split")
        people = open_people(options, "valid", skeleton, options.input_res)
    crops = PersonCrops(people, options.input_res)
    batches = validation_batches(crops, options, run.device, 0, run.skips_bad_images())
    mass = run.head["target_mass"]
    found = predict(network, batches, run.device, skeleton.flip_order, target_mass=mass)
    write_predictions(run.experiment.folder, "final_preds", found, people)


def write_predictions(folder: Path, name: str, found: Found, people: People, file: Any = None) -> None:
    """Predictions as NAME.h5 and NAME.mat in a folder.

    file: NAME.h5 itself, where it is open already, for other things as well.
    """
    record = Predictions.of(found, people)
    if file is None:
        write_h5(folder / f"{name}.h5", record)
    else:
        add_to_h5(file, record)
    write_mat(folder / f"{name}.mat", record)
    note(f"predictions for {counted(len(found.row))}: {folder / name}.h5, {folder / name}.mat")
