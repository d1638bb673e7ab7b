"""What the multi-person tasks share around their step: scenes, targets, validation, predictions."""

import math
from argparse import Namespace
from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from src.datasets.annotations import MASKED
from src.datasets.augmentation import SceneAugmentation
from src.datasets.crops import Batch
from src.datasets.people import check_joints, open_scenes
from src.datasets.scene_annotations import ScenePeople
from src.datasets.scenes import Scenes
from src.datasets.skeletons import Skeleton
from src.datasets.targets import people_heatmaps, target_cells
from src.errors import UserError
from src.evaluation.accuracy import PeakAccuracy
from src.evaluation.coco import Results, coco_results, evaluate_ap, write_results
from src.evaluation.grouping import Grouping, People, group
from src.evaluation.search import SceneViews, Search, find_all, split_maps, through
from src.losses.multi_person import multi_person
from src.models import architecture
from src.utils import distributed
from src.utils.command import note
from src.utils.pictures import people_grid
from src.utils.processes import is_main
from src.utils.supervision import Losses, Supervision, validated, validation_batches
from src.utils.training import Row, Run

SHOWN = 8  # validation pictures in TensorBoard


class TagObjective:
    """Heatmaps of all people for every stage, tags of each person together and of different people apart.

    stride: input pixels to a cell of the maps. The options are those of the loss: loss, sigma, pull_weight,
    push_weight, stage_weights, input_res.
    """

    def __init__(self, options: Namespace, stride: int) -> None:
        self.options = options
        self.input_res, self.size = options.input_res, options.input_res // stride
        self.sigma = options.sigma or self.size / 64
        self.radius = math.ceil(3 * self.sigma)

    def supervised(self, batch: Batch) -> Batch:
        """The batch with each joint's cell (B, P, J, 2), whether it has a target, and weights (B,).

        A picture weighs 1, whoever is in it; a filler (src.datasets.crops.in_step) weighs 0 and is masked.
        """
        cells, has_target = target_cells(batch["joints"], batch["visible"], self.input_res, self.size)
        counts = (batch["visible"] > MASKED).all(2).all(1)
        mask = batch["mask"] * counts[:, None, None]
        return batch | {"cells": cells, "has_target": has_target, "weight": counts.float(), "mask": mask}

    def truth(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Heatmaps (B, J, h, w), which are 0 where the mask (B, h, w) is, cells and whether they count."""
        cells, has_target, mask = batch["cells"], batch["has_target"], batch["mask"]
        heatmaps = people_heatmaps(cells, has_target, self.size, self.sigma, self.radius)
        return heatmaps * mask[:, None], mask, cells, has_target

    def losses(
        self, outputs: Sequence[Tensor], heatmaps: Tensor, mask: Tensor, cells: Tensor, has_target: Tensor,
        *, total: Tensor,
    ) -> Losses:  # fmt: skip
        """The loss and its three terms, means over stages."""
        options = self.options
        return multi_person(
            outputs, heatmaps, mask, cells, has_target, total,
            logistic=options.loss == "logistic",
            pull_weight=options.pull_weight,
            push_weight=options.push_weight,
            stage_weights=options.stage_weights,
        )  # fmt: skip

    def heatmaps(self, maps: Tensor, batch: Batch) -> Tensor:
        """The first J maps, 0 where the mask is."""
        return maps[:, : batch["cells"].shape[2]] * batch["mask"][:, None]


def open_pictures(options: Namespace) -> tuple[Scenes, Scenes]:
    """The pictures to learn from, augmented, and those to validate with; people too many are said."""
    people, valid = (open_scenes(options, split, None, options.input_res) for split in ("train", "valid"))
    check_joints(people, valid)
    Grouping.of(people.skeleton, max_people=options.max_people)  # refuses what validation could not do
    if beyond := people.beyond(options.max_people):
        note(f"{people.name}: {beyond:,} people beyond --max-people {options.max_people} are masked")
    augmentation = SceneAugmentation(
        options.scale_aug, options.rotate_aug, options.shift_aug, options.flip_prob, options.color_aug
    )
    scenes = Scenes(people, options.input_res, augmentation, options.seed, options.max_people)
    return scenes, Scenes(valid, options.input_res, max_people=options.max_people)


def validate_scenes(supervision: Supervision, network: nn.Module, scenes: Scenes, run: Run) -> Row:
    """Losses, accuracy of peaks, AP and AR over the validation split for log.csv; pictures go to TensorBoard.

    People are grouped from the same maps that the losses are of: one scale, without flip.
    """
    skeleton = scenes.people.skeleton
    grouping = Grouping.of(skeleton, max_people=run.options.max_people)
    found: list[tuple[int, People]] = []

    def look(number: int, batch: Batch, maps: Tensor) -> None:
        cell = np.float32(scenes.input_res / maps.shape[-1])
        heatmaps, tags = (part.cpu().numpy() for part in split_maps(maps, skeleton.num_joints))
        grouped = (group(*each, grouping) for each in zip(heatmaps, tags, strict=True))
        people = [each._replace(joints=each.joints * cell) for each in grouped]
        inverse = batch["inverse"].cpu().numpy()
        found.extend(
            (row, through(matrix, each))
            for row, matrix, each in zip(batch["row"].tolist(), inverse, people, strict=True)
        )
        if number == 0 and is_main():
            run.experiment.add_picture("validation", _grid(batch, people, skeleton), run.position.step)

    row = validated(supervision, network, scenes, PeakAccuracy(skeleton, run.device), run, look)
    everybody = distributed.joined(found)
    if run.stop.came or not everybody:
        return row
    _, figures = score(scenes.people, everybody)
    return row | {f"valid_{name.lower()}": figures[name] for name in ("AP", "AP50", "AR")}


def score(scenes: ScenePeople, found: Sequence[tuple[int, People]]) -> tuple[Results, dict[str, float]]:
    """The results in COCO's format of the people found in some pictures (row, people), and their figures."""
    truth = scenes.truth(np.array([row for row, _ in found], np.int64))
    results = coco_results((people for _, people in found), truth.image_id.tolist(), truth.category)
    return results, evaluate_ap(truth, results)


def _grid(batch: Batch, people: Sequence[People], skeleton: Skeleton) -> np.ndarray:
    pictures, joints, visible = (batch[key][:SHOWN].cpu().numpy() for key in ("image", "joints", "visible"))
    return people_grid(pictures, people[:SHOWN], list(zip(joints, visible, strict=True)), skeleton, columns=4)


def final_results(network: nn.Module, run: Run) -> None:
    """Write final_results.json, in COCO's format, for the test split, or for validation if there is none."""
    options, skeleton = run.options, Skeleton.from_dict(run.head["skeleton"])
    try:
        people = open_scenes(options, "test", skeleton, options.input_res)
    except UserError as error:
        note(f"no test split ({error}); searching the validation split")
        people = open_scenes(options, "valid", skeleton, options.input_res)
    multiple = architecture(run.head["arch"]).input_multiple(**run.head["config"])
    search = Search.of(skeleton, options.input_res, multiple, max_people=options.max_people)
    views = SceneViews(people, search.sides)
    batches = validation_batches(views, options, run.device, 0, run.skips_bad_images())
    results, figures = score(people, list(find_all(network, batches, search, run.device)))
    path = run.experiment.folder / "final_results.json"
    write_results(path, results)
    figure = "" if math.isnan(figures["AP"]) else f", AP {100 * figures['AP']:.2f}%"  # nobody is annotated
    note(f"{len(results)} people found in {people.name}{figure}: {path}")
