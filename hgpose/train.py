"""Train a network that finds the joints of one person.

python train.py --exp name                            the recipe of the stacked hourglass, synthetic people
python train.py --exp name --dataset mpii             on MPII
python train.py --exp name --config recipes/laptop.yaml
python train.py -c name                               go on after an interruption
"""

import math
import sys
from collections.abc import Callable, Sequence
from functools import partial

import opts

from src.utils.command import command, note


@command
def main(argv: Sequence[str] | None = None) -> None:
    args = opts.parse(sys.argv[1:] if argv is None else argv)

    # Imported after the options are known to be right: --help and a mistake answer at once.
    import torch
    from torch import Tensor

    from src import models
    from src.datasets.augmentation import Augmentation
    from src.datasets.crops import Batch, PersonCrops
    from src.datasets.people import open_people
    from src.datasets.skeletons import skeleton as named_skeleton
    from src.datasets.targets import gaussian_heatmaps, target_cells, to_images
    from src.evaluation.accuracy import HeatmapAccuracy
    from src.losses.heatmap import LOSSES, joint_weights
    from src.models.checkpoint import describe
    from src.models.layers import PoseNetwork
    from src.utils import distributed
    from src.utils.device import autocast, choose_device, compiled, place
    from src.utils.experiment import Experiment
    from src.utils.files import write_json
    from src.utils.optimization import Update, build_optimizer, parts_of
    from src.utils.processes import is_main, join, own_share
    from src.utils.single_person import final_predictions, start_from, validate_heatmaps
    from src.utils.speed import settle
    from src.utils.training import Row, Run, fit, introduce, iterations

    device = choose_device(args.device)
    join(device)
    experiment = Experiment(args, opts.TASK)
    torch.manual_seed(args.seed)

    # data
    skeleton = named_skeleton(args.skeleton) if args.skeleton else None
    people = open_people(args, "train", skeleton, args.input_res)
    augmentation = Augmentation(
        args.scale_aug, args.rotate_aug, args.rotate_prob, args.flip_prob, args.color_aug
    )
    crops = PersonCrops(people, args.input_res, augmentation, args.seed)
    valid_crops = PersonCrops(open_people(args, "valid", skeleton, args.input_res), args.input_res)

    # network
    skeleton = people.skeleton
    network = models.build(args.arch, num_joints=skeleton.num_joints, **opts.network_config(args))
    start_from(network, args.load_model)
    if args.sync_batchnorm:
        distributed.synchronise(network, device)
    people_at_once = math.ceil(own_share(args.batch_size) / args.accumulate)
    steps = args.epochs * iterations(args, len(crops))
    speed = settle(args, network, device, people_at_once, steps)
    network.grad_checkpoint = args.grad_checkpoint == "always"
    place(network, device, args.channels_last)

    # loss: every stage of the network against the same heatmaps
    loss_function = LOSSES[args.loss]
    size = args.input_res // network.stride
    radius = args.target_radius or math.ceil(3 * args.sigma)

    def evaluate(
        model: torch.nn.Module, images: Tensor, target: Tensor, weight: Tensor, total: Tensor
    ) -> tuple[Tensor, Tensor]:
        outputs = model(images)
        return outputs[-1], loss_function(outputs, target, weight, total)

    evaluate = compiled(evaluate, args)
    learner = distributed.parallel(network, evaluate)

    def supervised(batch: Batch) -> Batch:
        """A batch on the device, with the cell of each joint, whether it has a target, and what it weighs."""
        cells, has_target = target_cells(batch["joints"], batch["visible"], args.input_res, size)
        weight = joint_weights(args.loss, batch["visible"], has_target, args.mask_unlabelled)
        return batch | {"cells": cells, "has_target": has_target, "weight": weight}

    def forward(
        model: Callable[..., tuple[Tensor, Tensor]], batch: Batch, total: Tensor, accuracy: HeatmapAccuracy
    ) -> Tensor:
        """The loss of a supervised batch, divided by `total`; the joints found go into `accuracy`."""
        target = gaussian_heatmaps(batch["cells"], batch["has_target"], size, args.sigma, radius)
        with autocast(device, args.amp):
            heatmaps, loss = model(to_images(batch["image"], batch["color"]), target, batch["weight"], total)
        accuracy.update(heatmaps.detach(), batch["cells"], batch["has_target"])
        return loss

    # optimizer
    update = Update(network, build_optimizer(network.parameters(), args), args)
    accuracy = HeatmapAccuracy(skeleton, device)

    # the step
    def learn(batch: Batch, rate: float) -> dict[str, Tensor]:
        network.train()
        update.set_rate(rate)
        batch = supervised(batch)
        total = distributed.mean(batch["weight"].sum())
        losses = []
        for part in parts_of(batch, args.accumulate, learner):
            loss = forward(learner, part, total, accuracy)
            update.backward(loss)
            losses.append(loss.detach())
        update.apply()
        return {"loss": torch.stack(losses).sum()}

    def judge(model: PoseNetwork, batch: Batch, accuracy: HeatmapAccuracy) -> tuple[Tensor, Tensor]:
        """The sum of the losses of a batch, and what it is to be divided by."""
        batch = supervised(batch)
        one = torch.ones((), device=device)
        return forward(partial(evaluate, model), batch, one, accuracy), batch["weight"].sum()

    def validate() -> Row:
        return validate_heatmaps(
            update.best_network, judge, valid_crops, HeatmapAccuracy(skeleton, device), run
        )

    # run
    head = describe(network, skeleton.to_dict(), args.input_res)
    run = Run(experiment, device, accuracy, head, update.weights, {"update": update})
    if run.finished and args.resume:
        note(f"experiment {args.exp} is finished ({run.end}); a larger number goes on")
    else:
        introduce(run, crops, valid_crops, speed)
        fit(run, crops, learn, validate)
    if args.final_predictions:
        final_predictions(update.best_network, run)
    if args.json and is_main():
        write_json(args.json, run.figures())


if __name__ == "__main__":
    main()
