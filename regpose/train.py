"""Train a network that gives the coordinates of the joints of one person.

python train.py --exp name                                             a ResNet-50, synthetic people
python train.py --exp name --dataset mpii --config recipes/deeppose.yaml
python train.py --exp name --config recipes/laptop.yaml
python train.py -c name                                                go on after an interruption
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
    from src.models.checkpoint import describe
    from src.utils.optimization import Update, build_optimizer
    from src.utils.regression import accuracy_of, start_from_mean, supervision_of, validate_coordinates
    from src.utils.setup import begin, build, ready
    from src.utils.single_person import final_predictions, open_crops
    from src.utils.supervision import Losses
    from src.utils.training import Row, Run, carry_out

    experiment, device = begin(args, opts.TASK)

    # data
    crops, valid_crops = open_crops(args)
    skeleton = crops.people.skeleton

    # network
    network = build(args, skeleton, opts.network_config(args))
    start_from_mean(network, crops)
    speed = ready(network, args, device, crops)

    # loss: every stage of the network against the same coordinates, or its next step along a path
    supervision = supervision_of(network, args, device)

    # optimizer
    update = Update(network, build_optimizer(network.parameters(), args), args)
    accuracy = accuracy_of(crops, device)

    # the step
    def learn(batch: Batch, rate: float) -> Losses:
        return supervision.learn(batch, rate, update, accuracy)

    def validate() -> Row:
        return validate_coordinates(supervision, update.best_network, valid_crops, run)

    def predict() -> None:
        final_predictions(update.best_network, run)

    # run
    head = describe(network, skeleton.to_dict(), args.input_res)
    run = Run(experiment, device, accuracy, head, update.weights, {"update": update})
    carry_out(run, crops, valid_crops, speed, learn, validate, predict)


if __name__ == "__main__":
    main()
