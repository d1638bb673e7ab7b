"""Options of regpose; each default is a plain regression that learns well, not that of a paper."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from src.datasets.readers import RELEASES
from src.models import REGRESSION, check_input
from src.utils import options

TASK = "regpose"
DATASETS = ["synth", *RELEASES]


def parse(argv: Sequence[str]) -> Namespace:
    """The options of a training run. Raises UserError for anything wrong in them."""
    description = "Train a network that gives the coordinates of the joints of one person."
    args = options.parse(build, description, TASK, argv)
    check_input(args.arch, args.input_res, **network_config(args))
    return args


def network_config(args: Namespace) -> dict[str, Any]:
    """The arguments of the network's class that the options give. Raises UserError for wrong ones."""
    return options.network_config(args, *options.BACKBONE)


def parse_test(argv: Sequence[str]) -> Namespace:
    """The options of test.py. Raises UserError for anything wrong in them."""
    return options.parse_test(build_test, "Score a network, or stored predictions.", TASK, argv)


def build(parser: options.Parser) -> None:
    """Add the options of train.py to a parser, in groups."""
    options.add_run_options(parser)
    options.add_regression_options(parser, list(REGRESSION), "deeppose")
    options.add_coordinate_loss_options(parser)
    options.add_data_options(parser, DATASETS, several=True)
    options.add_release_options(parser)
    options.add_crop_options(parser)
    options.add_length_options(parser, epochs=100, batch_size=32)
    options.add_optimizer_options(parser, optimizer="adam", lr=5e-4)
    options.add_speed_options(parser)


def build_test(parser: options.Parser) -> None:
    """Add the options of test.py to a parser."""
    options.add_single_person_scoring_options(parser, heatmaps=False)
    options.add_data_options(parser, DATASETS)
    options.add_release_options(parser)
