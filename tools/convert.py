"""Turn a checkpoint of other code into one of ours.

    python tools/convert.py OLD.pth --out NEW.pth

The source is recognised by the names of its weights; the constructor's arguments are read off their shapes.
A new source is one row in SOURCES: how to recognise it, and a function that renames its weights.
"""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from src.datasets.skeletons import SKELETONS, Skeleton, skeleton
from src.errors import UserError
from src.models import build, check_input
from src.models.checkpoint import describe, read_plain, save_checkpoint
from src.utils.command import command

Weights = dict[str, Tensor]
Rule = tuple[str, str | Callable[[re.Match[str]], str]]  # as `re.sub` takes them


class Translation(NamedTuple):
    """A network of ours.

    arch, config, weights: its name in the table, its constructor's arguments, its state dict.
    dropped: what was left out, a description -> names of weights.
    """

    arch: str
    config: dict[str, Any]
    weights: Weights
    dropped: dict[str, list[str]]


class Source(NamedTuple):
    """A code base whose checkpoints can be read.

    marks: regular expressions for the beginning of names of its weights; together they tell it from the
        sources after it in the list.
    translate: renames the weights, raising KeyError or ValueError where some are missing.
    input_res: what it was trained with, in pixels.
    note: what its users should know, or "".
    """

    name: str
    marks: tuple[str, ...]
    translate: Callable[[Weights], Translation]
    input_res: int = 256
    note: str = ""


@command
def main(argv: Sequence[str] | None = None) -> None:
    convert(get_parser().parse_args(argv))


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Turn a checkpoint of other code into one of ours. Known sources: "
        + ", ".join(source.name for source in SOURCES),
        allow_abbrev=False,
    )
    parser.add_argument("old", metavar="OLD", type=Path, help="checkpoint of other code")
    parser.add_argument("--out", metavar="NEW", type=Path, required=True, help="new file to write")
    parser.add_argument(
        "--skeleton",
        choices=list(SKELETONS),
        help="joints of the checkpoint (default: the skeleton with as many joints)",
    )
    parser.add_argument("--input-res", type=int, help="side of the input in pixels (default: the source's)")
    parser.add_argument(
        "--mean",
        nargs=3,
        type=float,
        default=(0.0, 0.0, 0.0),
        metavar=("R", "G", "B"),
        help="mean colour in [0, 1] that the old code subtracted outside of the network (default: 0 0 0)",
    )
    return parser


def convert(options: argparse.Namespace) -> None:
    """Read OLD, say what it is, write NEW."""
    if options.out.exists():
        raise UserError(f"{options.out} exists already; choose another --out or remove it")
    weights, others = find_weights(options.old)
    source = recognise(weights, options.old)
    arch, config, renamed, dropped = translate(source, weights, options.old)

    input_res = source.input_res if options.input_res is None else options.input_res
    sizes = {name: value for name, value in config.items() if name != "num_joints"}
    check_input(arch, input_res, **sizes)
    joints = choose_skeleton(config["num_joints"], options.skeleton)
    network = build(arch, **config)
    renamed["normalise.mean"] = torch.tensor(options.mean).view(3, 1, 1)
    renamed["normalise.std"] = torch.ones(3, 1, 1)
    own = network.state_dict()
    counters = {name: own[name] for name in own if name.endswith("num_batches_tracked")}
    renamed = counters | renamed  # PyTorch before 0.4.1 had none
    require_fit(own, renamed, f"{options.old} looks like {source.name}, but")
    network.load_state_dict(renamed)
    save_checkpoint(options.out, describe(network, joints.to_dict(), input_res))

    shape = [f"{joints.num_joints} joints ({joints.name})", *(f"{name} {sizes[name]}" for name in sizes)]
    print(f"{options.old} is of {source.name}: {arch}, {', '.join(shape)}")
    for what, names in dropped.items():
        print(f"left out: {what} ({len(names)} tensors)")
    if others:
        print(f"left out: {', '.join(others)}, which only that code's training used")
    if source.note:
        print(f"note: {source.note}")
    print(f"wrote {options.out}")


# reading


def numpy_scalars() -> list[Any]:
    """The globals in a pickled NumPy number, under the module names of NumPy 1 and 2."""
    rebuild = np.float64(0).__reduce__()[0]
    types = (np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)
    dtypes = [type(np.dtype(t)) for t in (*types, np.float16, np.float32, np.float64)]
    modules = ("numpy.core.multiarray", "numpy._core.multiarray")
    return [np.dtype, *dtypes, *((rebuild, f"{module}.scalar") for module in modules)]


# where older code keeps its weights, and what wrappers (DataParallel, a trainer) put before their names
CONTAINERS = ("state_dict", "model_state", "netHg", "netG", "model", "net")
PREFIXES = ("module.", "model.")


def find_weights(path: Path) -> tuple[Weights, list[str]]:
    """The weights in an old checkpoint without wrappers' prefixes, and what else lies beside them."""
    content = read_plain(path, allowed=numpy_scalars())
    if isinstance(content, dict) and {"format", "arch", "skeleton"} <= content.keys():
        raise UserError(f"{path} is a checkpoint of this project already; it needs no conversion")
    others: list[str] = []
    while not _is_state_dict(content):
        container = next((key for key in CONTAINERS if isinstance(content, dict) and key in content), None)
        if container is None:
            raise UserError(f"{path} has no weights under any known name ({', '.join(CONTAINERS)})")
        others += [str(key) for key in content if key != container]
        content = content[container]
    return _without_prefixes(content), others


def _is_state_dict(content: Any) -> bool:
    if not isinstance(content, dict) or not content:
        return False
    return all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())


def _without_prefixes(weights: Mapping[str, Tensor]) -> Weights:
    for prefix in PREFIXES * 2:  # wrappers nest either way
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return dict(weights)


def recognise(weights: Weights, path: Path) -> Source:
    """The first source that has all its marks among the names."""
    for source in SOURCES:
        if all(any(re.match(mark, name) for name in weights) for mark in source.marks):
            return source
    known = ", ".join(source.name for source in SOURCES)
    first = next(iter(weights))
    raise UserError(f"{path} is of no known source: its first weight is {first!r}; known: {known}")


def translate(source: Source, weights: Weights, path: Path) -> Translation:
    """The weights under our names; UserError if some that the source always has are not there."""
    try:
        return source.translate(weights)
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} looks like {source.name}, but is incomplete: {error}") from error


def choose_skeleton(num_joints: int, name: str | None) -> Skeleton:
    """The skeleton asked for, else the one with that many joints."""
    if name is None:
        found = [joints for joints in SKELETONS.values() if joints.num_joints == num_joints]
        if len(found) != 1:
            raise UserError(f"no skeleton has {num_joints} joints, which is what the checkpoint predicts")
        return found[0]
    joints = skeleton(name)
    if joints.num_joints != num_joints:
        raise UserError(f"the checkpoint predicts {num_joints} joints, but {name} has {joints.num_joints}")
    return joints


def require_fit(own: Mapping[str, Tensor], weights: Weights, start: str) -> None:
    """UserError that begins with `start` unless `weights` has the names and shapes of `own`."""
    for name in [*own, *weights]:
        if name not in weights:
            raise UserError(f"{start} {name} is missing")
        if name not in own:
            raise UserError(f"{start} {name} has no place in the network")
        if weights[name].shape != own[name].shape:
            shapes = f"{tuple(weights[name].shape)}, not {tuple(own[name].shape)}"
            raise UserError(f"{start} {name} is of shape {shapes}")


# renaming


def rename(weights: Weights, rules: Sequence[Rule]) -> Weights:
    """Every name after all regular-expression rules in turn."""
    renamed = {}
    for name, value in weights.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed


def hourglass_config(weights: Weights) -> dict[str, int]:
    """The arguments of StackedHourglass, from the names and shapes of its weights."""
    num_joints, feats = weights["heads.0.weight"].shape[:2]

    def count(pattern: str) -> int:
        return sum(re.fullmatch(pattern, name) is not None for name in weights)

    return {
        "num_joints": num_joints,
        "stacks": count(r"heads\.\d+\.weight"),
        "feats": feats,
        "modules": count(r"stacks\.0\.residuals\.\d+\.conv1\.weight"),
        "depth": count(r"stacks\.0\.hourglass\.(inner\.)*skip\.0\.conv1\.weight"),
        "stem_feats": weights["stem.residual2.conv3.weight"].shape[0],
    }


def level_rules(weights: Weights) -> list[Rule]:
    """Rules for code that keeps the levels of an hourglass in a list, outermost first or innermost first.

    hg.STACK.hg.LEVEL.PLACE.MODULE, where PLACE is 0 skip, 1 down, 2 up, and at the innermost level 3 inner.
    """
    levels = [found.groups() for name in weights if (found := re.match(r"hg\.0\.hg\.(\d+)\.(\d)\.", name))]
    deepest = max(int(level) for level, _ in levels)
    innermost = next((int(level) for level, place in levels if place == "3"), 0)
    places = ("skip", "down", "up", "inner")

    def place(found: re.Match[str]) -> str:
        stack, level, index = found.groups()
        nesting = deepest - abs(int(level) - innermost)
        return f"stacks.{stack}.hourglass.{'inner.' * nesting}{places[int(index)]}."

    return [
        (r"^hg\.(\d+)\.hg\.(\d+)\.([0-3])\.", place),
        (r"^res\.(\d+)\.", r"stacks.\1.residuals."),
        (r"^fc\.(\d+)\.0\.", r"stacks.\1.project.conv."),
        (r"^fc\.(\d+)\.1\.", r"stacks.\1.project.norm."),
        (r"^score\.", "heads."),
        (r"^fc_\.", "merge_features."),
        (r"^score_\.", "merge_heatmaps."),
        (r"^conv1\.", "stem.entry.conv."),
        (r"^bn1\.", "stem.entry.norm."),
        (r"\.bn(\d)\.", r".norm\1."),
    ]


def adversarial_pose_hg(weights: Weights) -> Translation:
    stem: list[Rule] = [(r"^res(\d)\.", r"stem.residual\1."), (r"\.conv_skip\.", ".skip.")]
    renamed = rename(weights, [*level_rules(weights), *stem])
    return Translation("hg", hourglass_config(renamed), renamed, {})


def pytorch_pose_hg(weights: Weights) -> Translation:
    stem: list[Rule] = [(r"^layer(\d)\.0\.", r"stem.residual\1."), (r"\.downsample\.0\.", ".skip.")]
    renamed = rename(weights, [*level_rules(weights), *stem])
    return Translation("hg", hourglass_config(renamed), renamed, {})


def princeton_hourglass(weights: Weights) -> Translation:
    renamed = rename(weights, PRINCETON_RULES)
    # this code makes a skip convolution in every block and uses it only where the width changes
    skips = {name for name in renamed if re.search(r"\.skip\.(weight|bias)$", name)}
    dead = {name for name in skips if _keeps_width(renamed[name.rpartition(".")[0] + ".weight"])}
    kept = {name: value for name, value in renamed.items() if name not in dead}
    dropped = {"skip convolutions that the source never uses": sorted(dead)} if dead else {}
    return Translation("hg", hourglass_config(kept), kept, dropped)


def _keeps_width(convolution: Tensor) -> bool:
    return convolution.shape[0] == convolution.shape[1]


PRINCETON_RULES: tuple[Rule, ...] = (
    (r"^pre\.0\.conv\.", "stem.entry.conv."),
    (r"^pre\.0\.bn\.", "stem.entry.norm."),
    (r"^pre\.1\.", "stem.residual1."),
    (r"^pre\.3\.", "stem.residual2."),
    (r"^pre\.4\.", "stem.residual3."),
    (r"^hgs\.(\d+)\.0\.", r"stacks.\1.hourglass."),
    (r"low2\.(?=up1\.|low\d\.)", "inner."),  # an hourglass in an hourglass, or at the bottom a block
    (r"low2\.", "inner.0."),
    (r"up1\.", "skip.0."),
    (r"low1\.", "down.0."),
    (r"low3\.", "up.0."),
    (r"^features\.(\d+)\.0\.", r"stacks.\1.residuals.0."),
    (r"^features\.(\d+)\.1\.conv\.", r"stacks.\1.project.conv."),
    (r"^features\.(\d+)\.1\.bn\.", r"stacks.\1.project.norm."),
    (r"^outs\.(\d+)\.conv\.", r"heads.\1."),
    (r"^merge_features\.(\d+)\.conv\.conv\.", r"merge_features.\1."),
    (r"^merge_preds\.(\d+)\.conv\.conv\.", r"merge_heatmaps.\1."),
    (r"\.bn(\d)\.", r".norm\1."),
    (r"\.conv(\d)\.conv\.", r".conv\1."),
    (r"\.skip_layer\.conv\.", ".skip."),
)

SOURCES = (
    Source(
        "adversarial-pose-pytorch (hourglass)",
        marks=(r"res1\.conv1\.", r"hg\.0\.hg\.0\.0\.0\.conv1\.", r"score\.0\."),
        translate=adversarial_pose_hg,
    ),
    Source(
        "pytorch-pose (hourglass)",
        marks=(r"layer1\.0\.conv1\.", r"hg\.0\.hg\.0\.0\.0\.conv1\.", r"score\.0\."),
        translate=pytorch_pose_hg,
        note="its training subtracts the data set's mean colour outside of the network; give it with --mean",
    ),
    Source(
        "pytorch_stacked_hourglass (princeton-vl)",
        marks=(r"pre\.1\.skip_layer\.", r"hgs\.0\.0\.up1\.", r"outs\.0\.conv\.(?!conv)"),
        translate=princeton_hourglass,
    ),
)


if __name__ == "__main__":
    main()
