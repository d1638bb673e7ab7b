"""What a network that gives coordinates learns: those of the labelled joints, or the way to them."""

from argparse import Namespace
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from src.datasets.crops import Batch, PersonCrops
from src.datasets.targets import target_cells
from src.errors import UserError
from src.evaluation.accuracy import CoordinateAccuracy
from src.losses.coordinates import LOSSES
from src.models.ief import IterativeErrorFeedback
from src.models.layers import PoseNetwork
from src.utils.single_person import validate_points
from src.utils.supervision import Losses, Model, Supervision
from src.utils.training import Row, Run

LOOKED_AT = 200  # people whose mean pose is that of the data set


class CoordinateObjective:
    """Every stage against the coordinates of the labelled joints, in units of the crop.

    Those that lie outside of the crop count as well. The options are input_res, and those of the loss: loss,
    stage_weights. `size` is that of heatmaps, by whose cells accuracy is counted.
    """

    def __init__(self, options: Namespace) -> None:
        self.options, self.size = options, options.input_res // PoseNetwork.stride

    def supervised(self, batch: Batch) -> Batch:
        """The batch with the cell of each joint, whether it lies in the crop, and what it weighs: (B, J)."""
        cells, inside = target_cells(batch["joints"], batch["visible"], self.options.input_res, self.size)
        return batch | {"cells": cells, "has_target": inside, "weight": (batch["visible"] > 0).float()}

    def truth(self, batch: Batch) -> tuple[Tensor, ...]:
        """Coordinates (B, J, 2), 0 for joints that are not labelled, and what each weighs (B, J)."""
        labelled = batch["weight"][..., None] > 0
        return torch.where(labelled, batch["joints"] / self.options.input_res, 0), batch["weight"]

    def losses(self, outputs: Sequence[Tensor], *truth: Tensor, total: Tensor) -> Losses:
        """The loss, summed over stages."""
        target, weight = truth
        loss, stage_weights = LOSSES[self.options.loss], self.options.stage_weights
        return {"loss": loss(outputs, target, weight, total, stage_weights)}


class PathObjective(CoordinateObjective):
    """Iterative error feedback: it learns the next step of a path, and is judged by the last one."""

    def losses(self, outputs: Sequence[Tensor], *truth: Tensor, total: Tensor) -> Losses:
        """The loss of the last step alone."""
        return super().losses(outputs[-1:], *truth, total=total)

    def learning(
        self, network: IterativeErrorFeedback, images: Tensor, total: Tensor, *truth: Tensor
    ) -> tuple[Tensor, Losses]:
        """For `Supervision`: where steps from random places of the paths lead, and their loss."""
        target, weight = truth
        poses, following = network.along_path(images, target, weight > 0)
        return poses, super().losses([poses], following, weight, total=total)


def supervision_of(network: PoseNetwork, options: Namespace, device: torch.device) -> Supervision:
    """The network under the objective that suits it. UserError for weights of stages that are not learnt."""
    if not isinstance(network, IterativeErrorFeedback):
        return Supervision(network, CoordinateObjective(options), options, device)
    if options.stage_weights:
        raise UserError("ief learns a step at a time, from random places: --stage-weights is for deeppose")
    objective = PathObjective(options)
    learning: Model = objective.learning
    return Supervision(network, objective, options, device, learning)


def accuracy_of(crops: PersonCrops, device: torch.device) -> CoordinateAccuracy:
    """The accuracy of coordinates, by cells of heatmaps for such crops."""
    return CoordinateAccuracy(crops.people.skeleton, device, crops.input_res // PoseNetwork.stride)


def validate_coordinates(supervision: Supervision, network: nn.Module, crops: PersonCrops, run: Run) -> Row:
    """Loss and accuracy over the validation split for log.csv; pictures go to TensorBoard."""
    return validate_points(
        supervision,
        network,
        crops,
        run,
        accuracy_of(crops, run.device),
        lambda coordinates: coordinates.float(),
    )


def start_from_mean(network: PoseNetwork, crops: PersonCrops) -> None:
    """Have a network that corrects a pose begin with the mean pose of the crops, augmented as they are."""
    if isinstance(network, IterativeErrorFeedback):
        network.mean_pose.set(mean_pose(crops))


def mean_pose(crops: PersonCrops) -> Tensor:
    """The mean (J, 2) of labelled joints, in units of the crop, over people of all of the split.

    A joint that nobody has is in the middle. Pictures are not read.
    """
    rows = np.unique(np.linspace(0, len(crops) - 1, min(len(crops), LOOKED_AT)).round().astype(int))
    samples = [crops.pose((0, int(row))) for row in rows]
    joints = np.stack([sample["joints"] for sample in samples]) / crops.input_res
    labelled = np.stack([sample["visible"] for sample in samples])[..., None] > 0
    count = labelled.sum(0)
    mean = np.where(labelled, joints, 0).sum(0) / np.maximum(count, 1)
    return torch.from_numpy(np.where(count > 0, mean, 0.5).astype(np.float32))
