"""Train a network that finds the joints of one person.

python train.py --exp name                            the recipe of the stacked hourglass, synthetic people
python train.py --exp name --dataset mpii             on MPII
python train.py --exp name --config recipes/laptop.yaml
python train.py -c name                               go on after an interruption
"""

import sys
from collections.abc import Sequence

import opts

from src.utils.command import command


@command
def main(argv: Sequence[str] | None = None) -> None:
    args = opts.parse(sys.argv[1:] if argv is None else argv)

    # Imported after the options are known to be right: --help and a mistake answer at once.
    import torch
    from torch import Tensor

    from src import models
    from src.datasets.crops import Batch
    from src.evaluation.accuracy import HeatmapAccuracy
    from src.losses.heatmap import LOSSES
    from src.models.checkpoint import describe
    from src.utils.optimization import Update, build_optimizer
    from src.utils.options import network_config
    from src.utils.setup import begin, ready
    from src.utils.single_person import JointTargets, final_predictions, open_crops, validate_heatmaps
    from src.utils.supervision import Losses, Supervision
    from src.utils.training import Row, Run, carry_out

    experiment, device = begin(args, opts.TASK)

    # data
    crops, valid_crops = open_crops(args)
    skeleton = crops.people.skeleton

    # network
    network = models.build(args.arch, skeleton.num_joints, **network_config(args))
    speed = ready(network, args, device, len(crops))

    # loss: every stage of the network against the same heatmaps
    loss_function = LOSSES[args.loss]

    def evaluate(
        model: torch.nn.Module, images: Tensor, target: Tensor, weight: Tensor, total: Tensor
    ) -> tuple[Tensor, Losses]:
        outputs = model(images)
        return outputs[-1], {"loss": loss_function(outputs, target, weight, total)}

    supervision = Supervision(network, evaluate, JointTargets(args, network.stride), args, device)

    # optimizer
    update = Update(network, build_optimizer(network.parameters(), args), args)
    accuracy = HeatmapAccuracy(skeleton, device)

    # the step
    def learn(batch: Batch, rate: float) -> Losses:
        update.begin(rate)
        losses = supervision.backward(batch, update, accuracy)
        update.apply()
        return losses

    def validate() -> Row:
        return validate_heatmaps(supervision, update.best_network, valid_crops, run)

    def predict() -> None:
        final_predictions(update.best_network, run)

    # run
    head = describe(network, skeleton.to_dict(), args.input_res)
    run = Run(experiment, device, accuracy, head, update.weights, {"update": update})
    carry_out(run, crops, valid_crops, speed, learn, validate, predict)


if __name__ == "__main__":
    main()
