"""Options of hgpose; each default is the recipe of the stacked hourglass (Newell et al., ECCV 2016)."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from src.datasets.readers import RELEASES
from src.losses import HEATMAP_LOSSES
from src.models import ARCHITECTURES, check_input
from src.utils import options

TASK = "hgpose"
DATASETS = ["synth", *RELEASES]


def parse(argv: Sequence[str]) -> Namespace:
    """The options of a training run. Raises UserError for anything wrong in them."""
    args = options.parse(build, "Train a network that finds the joints of one person.", TASK, argv)
    check_input(args.arch, args.input_res, **network_config(args))
    return args


def parse_test(argv: Sequence[str]) -> Namespace:
    """The options of test.py. Raises UserError for anything wrong in them."""
    return options.parse_test(build_test, "Score a network, or stored predictions.", TASK, argv)


def build(parser: options.Parser) -> None:
    """Add the options of train.py to a parser, in groups."""
    options.add_run_options(parser)
    network = parser.add_argument_group("network and loss")
    network.add_argument(
        "--arch", type=options.one_of(list(ARCHITECTURES)), default="hg", help="architecture"
    )
    network.add_argument("--stacks", type=options.positive, default=8, help="hourglasses in a row")
    network.add_argument("--feats", type=options.positive, default=256, help="width of an hourglass")
    network.add_argument("--modules", type=options.positive, default=1, help="residual blocks at each place")
    network.add_argument("--depth", type=options.positive, default=4, help="how often an hourglass halves")
    network.add_argument(
        "--loss", choices=HEATMAP_LOSSES, default="mse",
        help="mse: of the heatmaps; softmax: cross-entropy of where a joint is",
    )  # fmt: skip
    network.add_argument("--sigma", type=options.positive_real, default=1.0, help="of targets, in cells")
    network.add_argument(
        "--target-radius", type=options.count, default=0, metavar="CELLS",
        help="targets are cut beyond it; 0: 3 sigma, rounded up",
    )  # fmt: skip
    network.add_argument(
        "--mask-unlabelled", action=options.BooleanOptionalAction, default=False,
        help="take unlabelled joints out of the loss",
    )  # fmt: skip
    options.add_data_options(parser, DATASETS)
    options.add_crop_options(parser)
    options.add_length_options(parser, epochs=100, batch_size=6)
    options.add_optimizer_options(parser, optimizer="rmsprop", lr=2.5e-4)
    options.add_speed_options(parser)


def build_test(parser: options.Parser) -> None:
    """Add the options of test.py to a parser."""
    options.add_scoring_options(parser)
    options.add_data_options(parser, DATASETS)


def network_config(args: Namespace) -> dict[str, Any]:
    """The arguments of the network's class, but for the number of joints."""
    return {"stacks": args.stacks, "feats": args.feats, "modules": args.modules, "depth": args.depth}
