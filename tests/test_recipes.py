"""Every recipe of every task makes the network that it names, for the joints of any data set."""

from pathlib import Path

import pytest
import torch

from src.datasets.skeletons import COCO, MPII, PENN, Skeleton
from src.utils.options import network_config, tagged_network_config
from src.utils.setup import build
from tests.task_runner import ROOT, load_script

SMALL = ("small", "laptop", "demo")


def recipes() -> list[object]:
    """Those for laptops, and the others as slow tests."""
    paths = sorted(ROOT.glob("*/recipes/**/*.yaml"))
    return [
        pytest.param(
            path,
            id=f"{path.relative_to(ROOT).parts[0]}/{path.stem}",
            marks=() if path.stem.endswith(SMALL) else pytest.mark.slow,
        )
        for path in paths
    ]


@pytest.mark.parametrize("recipe", recipes())
def test_recipes_make_a_network(recipe: Path) -> None:
    task = recipe.relative_to(ROOT).parts[0]
    opts = load_script(ROOT / task / "opts.py")
    args = opts.parse(["--exp", "x", "--config", str(recipe)])
    if recipe.stem.endswith(SMALL):  # it ends on a CPU: within hours, and not after days
        assert 0 < args.epochs * args.iters <= 5000
    tagged = task.endswith("-ae")
    if hasattr(args, "pretrained"):
        args.pretrained = "none"  # nothing is to be fetched
    args.network = [text for text in args.network if not text.startswith("pretrained=")]
    skeletons: tuple[Skeleton, ...] = (COCO,) if tagged else (MPII, PENN)
    for skeleton in skeletons:
        with torch.device("meta"):
            if hasattr(opts, "network_config"):
                config = opts.network_config(args)
            else:
                config = tagged_network_config(args) if tagged else network_config(args)
            network = build(args, skeleton, config)
        assert network.arch == args.arch and network.config["num_joints"] == skeleton.num_joints
