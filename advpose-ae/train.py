"""Train a network that finds all people of a picture against a discriminator of heatmaps.

python train.py --exp name                            both recipes as published, synthetic scenes
python train.py --exp name --dataset coco             on COCO
python train.py --exp name --config recipes/laptop.yaml
python train.py --exp name --load-model FILE          from a network that hgpose-ae has trained
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
    from src.evaluation.accuracy import PeakAccuracy
    from src.models.checkpoint import describe
    from src.utils.adversary import Adversary, taking_part
    from src.utils.multi_person import TagObjective, final_results, open_pictures, validate_scenes
    from src.utils.optimization import Update, build_optimizer
    from src.utils.options import tagged_network_config
    from src.utils.setup import begin, build, ready
    from src.utils.supervision import Losses, Supervision
    from src.utils.training import Row, Run, carry_out

    experiment, device = begin(args, opts.TASK)

    # data
    scenes, valid_scenes = open_pictures(args)
    skeleton = scenes.people.skeleton

    # network
    network = build(args, skeleton, tagged_network_config(args))
    speed = ready(network, args, device, scenes)

    # loss: heatmaps for every stage, tags of each person together and of different people apart
    objective = TagObjective(args, network.stride)
    supervision = Supervision(network, objective, args, device)

    # optimizer
    update = Update(network, build_optimizer(network.parameters(), args), args)
    accuracy = PeakAccuracy(skeleton, device)

    # the other side
    adversary = Adversary(supervision, network, objective, args) if args.adversarial else None

    # the step
    def learn(batch: Batch, rate: float) -> Losses:
        if adversary:
            return adversary.learn(batch, rate, update, accuracy, run)
        return supervision.learn(batch, rate, update, accuracy)

    def validate() -> Row:
        return validate_scenes(supervision, update.best_network, valid_scenes, run)

    def predict() -> None:
        final_results(update.best_network, run)

    # run
    head = describe(network, skeleton.to_dict(), args.input_res)
    weights, parts = taking_part(update, adversary)
    run = Run(experiment, device, accuracy, head, weights, parts, best_by="ap")
    carry_out(run, scenes, valid_scenes, speed, learn, validate, predict)


if __name__ == "__main__":
    main()
