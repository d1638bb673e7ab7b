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
    from src.datasets.crops import Batch
    from src.evaluation.accuracy import HeatmapAccuracy
    from src.models.checkpoint import describe
    from src.utils.composition import objective_of
    from src.utils.optimization import Update, build_optimizer
    from src.utils.options import network_config
    from src.utils.setup import begin, build, ready
    from src.utils.single_person import final_predictions, open_crops, target_mass, validate_heatmaps
    from src.utils.supervision import Losses, Supervision
    from src.utils.training import Row, Run, carry_out

    experiment, device = begin(args, opts.TASK)

    # data
    crops, valid_crops = open_crops(args)
    skeleton = crops.people.skeleton

    # network
    network = build(args, skeleton, network_config(args))
    speed = ready(network, args, device, crops)

    # loss: every stage of the network against the same heatmaps
    supervision = Supervision(network, objective_of(network, args), args, device)

    # optimizer
    update = Update(network, build_optimizer(network.parameters(), args), args)
    accuracy = HeatmapAccuracy(skeleton, device)

    # the step
    def learn(batch: Batch, rate: float) -> Losses:
        return supervision.learn(batch, rate, update, accuracy)

    def validate() -> Row:
        return validate_heatmaps(supervision, update.best_network, valid_crops, run)

    def predict() -> None:
        final_predictions(update.best_network, run)

    # run
    head = describe(network, skeleton.to_dict(), args.input_res, target_mass(args))
    run = Run(experiment, device, accuracy, head, update.weights, {"update": update})
    carry_out(run, crops, valid_crops, speed, learn, validate, predict)


if __name__ == "__main__":
    main()
