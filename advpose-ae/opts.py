"""Options of advpose-ae; defaults are those of associative embedding and of self-adversarial training."""

from argparse import Namespace
from collections.abc import Sequence

from src.extensions import AE
from src.models import TAGGED, check_input
from src.utils import options

TASK = "advpose-ae"
DATASETS = ["synth", "coco"]


def parse(argv: Sequence[str]) -> Namespace:
    """The options of a training run. Raises UserError for anything wrong in them."""
    what = "Train a network that finds all people of a picture against a discriminator of heatmaps."
    args = options.parse(build, what, TASK, argv)
    check_input(args.arch, args.input_res, **options.tagged_network_config(args))
    AE.choose()  # refuses what its variable asks for and cannot be
    return args


def parse_test(argv: Sequence[str]) -> Namespace:
    """The options of test.py. Raises UserError for anything wrong in them."""
    return options.parse_test(build_test, "Score a network, or stored results, by COCO's AP.", TASK, argv)


def build(parser: options.Parser) -> None:
    """Add the options of train.py to a parser, in groups."""
    options.add_run_options(parser)
    options.add_network_options(parser, TAGGED, "hg-ae")
    options.add_tag_loss_options(parser)
    options.add_adversarial_options(parser, d_feats=128, d_modules=1)
    options.add_data_options(parser, DATASETS)
    options.add_coco_options(parser)
    options.add_scene_options(parser)
    options.add_length_options(parser, epochs=150, batch_size=6)
    options.add_optimizer_options(parser, optimizer="adam", lr=2e-4)
    options.add_speed_options(parser)


def build_test(parser: options.Parser) -> None:
    """Add the options of test.py to a parser."""
    options.add_multi_person_scoring_options(parser)
    options.add_data_options(parser, DATASETS)
    options.add_coco_options(parser)
