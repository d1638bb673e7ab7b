"""Options of advpose; defaults are the training of Chou et al. (2017), the network is that of hgpose."""

from argparse import Namespace
from collections.abc import Sequence

from src.datasets.readers import RELEASES
from src.models import SINGLE_PERSON, check_input
from src.utils import options

TASK = "advpose"
DATASETS = ["synth", *RELEASES]


def parse(argv: Sequence[str]) -> Namespace:
    """The options of a training run. Raises UserError for anything wrong in them."""
    what = "Train a network that finds the joints of one person against a discriminator of heatmaps."
    args = options.parse(build, what, TASK, argv)
    if args.arch == "hg":  # the paper's pose network is not the published hourglass
        args.stacks, args.modules = args.stacks or 4, args.modules or 2
    check_input(args.arch, args.input_res, **options.network_config(args))
    return args


def parse_test(argv: Sequence[str]) -> Namespace:
    """The options of test.py. Raises UserError for anything wrong in them."""
    return options.parse_test(build_test, "Score a network, or stored predictions.", TASK, argv)


def build(parser: options.Parser) -> None:
    """Add the options of train.py to a parser, in groups."""
    options.add_run_options(parser)
    options.add_network_options(parser, SINGLE_PERSON, "hg")
    options.add_heatmap_loss_options(parser)
    options.add_adversarial_options(parser)
    options.add_data_options(parser, DATASETS, several=True)
    options.add_release_options(parser)
    options.add_crop_options(parser, rotate_prob=0.6)
    options.add_length_options(parser, epochs=100, batch_size=4)
    options.add_optimizer_options(parser, optimizer="rmsprop", lr=2.5e-4)
    options.add_speed_options(parser)


def build_test(parser: options.Parser) -> None:
    """Add the options of test.py to a parser."""
    options.add_single_person_scoring_options(parser)
    options.add_data_options(parser, DATASETS)
    options.add_release_options(parser)
