"""Options of hgpose-ae; each default is the recipe of associative embedding (Newell et al., NIPS 2017)."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from src.models import check_input
from src.utils import options

TASK = "hgpose-ae"
DATASETS = ["synth", "coco"]
TAGGED = ["hg-ae", "hg"]  # architectures that predict tags


def parse(argv: Sequence[str]) -> Namespace:
    """The options of a training run. Raises UserError for anything wrong in them."""
    args = options.parse(build, "Train a network that finds all people of a picture.", TASK, argv)
    check_input(args.arch, args.input_res, **network_config(args))
    return args


def parse_test(argv: Sequence[str]) -> Namespace:
    """The options of test.py. Raises UserError for anything wrong in them."""
    return options.parse_test(build_test, "Score a network, or stored results, by COCO's AP.", TASK, argv)


def build(parser: options.Parser) -> None:
    """Add the options of train.py to a parser, in groups."""
    options.add_run_options(parser)
    options.add_network_options(parser, TAGGED, "hg-ae")
    add_loss_options(parser)
    options.add_data_options(parser, DATASETS)
    options.add_coco_options(parser)
    options.add_scene_options(parser)
    options.add_length_options(parser, epochs=150, batch_size=6)
    options.add_optimizer_options(parser, optimizer="adam", lr=2e-4)
    options.add_speed_options(parser)


def add_loss_options(parser: options.Parser) -> None:
    """Add the options of the loss, and the tags that it is of."""
    loss = parser.add_argument_group("loss")
    loss.add_argument("--tag-dim", type=options.positive, default=1, help="numbers in a tag")
    loss.add_argument(
        "--loss", choices=("mse", "weighted"), default="mse",
        help="of the heatmaps; weighted: what is easy weighs less, so empty maps are no plateau",
    )  # fmt: skip
    loss.add_argument(
        "--sigma", type=options.real, default=0.0, help="of targets, in cells; 0: a 64th of the map's side"
    )
    loss.add_argument("--pull-weight", type=options.real, default=1e-3, help="of tags of one person")
    loss.add_argument("--push-weight", type=options.real, default=1e-3, help="of tags of different people")


def build_test(parser: options.Parser) -> None:
    """Add the options of test.py to a parser."""
    options.add_scoring_options(parser, "results in COCO's format", batch_size=4)
    search = parser.add_argument_group("search")
    search.add_argument(
        "--scales", type=options.positive_real, nargs="+", default=[1.0], metavar="SCALE",
        help="of the network's input size, such as 2 1 0.5",
    )  # fmt: skip
    search.add_argument(
        "--max-people", type=options.positive, default=30, help="to be found in a picture at most"
    )
    search.add_argument(
        "--refine", action=options.BooleanOptionalAction, default=True,
        help="look for the joints that a person lacks",
    )  # fmt: skip
    options.add_data_options(parser, DATASETS)
    options.add_coco_options(parser)


def network_config(args: Namespace) -> dict[str, Any]:
    """The arguments of the network's class, but for the number of joints."""
    return options.network_config(args) | {"tag_dim": args.tag_dim}
