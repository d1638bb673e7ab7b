"""Turn a checkpoint of other code into one of ours.

    python tools/convert.py OLD.pth --out NEW.pth
    python tools/convert.py OLD.pth --out NEW.pth --check ANSWERS.npz

The source is recognised by the names of its weights; the constructor's arguments are read off their shapes.
A new source is one row in SOURCES: how to recognise it, and a function that renames its weights.

With --check the network of the new file must answer as the old code did: ANSWERS.npz holds what that said to
an input in eval mode, one array a stage (stage00, stage01, …), and the input, (B, C, H, W) float32. Instead
of the input there may be an ANSWERS.json beside it with the shape, {"input": [B, C, H, W]}: the input is then
numpy.random.default_rng(0).random(shape, dtype=float32). Nothing is written if an answer differs.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from src.datasets.skeletons import SKELETONS, Skeleton, skeleton
from src.errors import UserError
from src.models import build, check_input, outline
from src.utils.command import CommandParser, command
from src.utils.files import require_free

if TYPE_CHECKING:  # slow to import: options are checked without it
    from torch import Tensor

    from src.models.layers import PoseNetwork

Weights: TypeAlias = "dict[str, Tensor]"
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
    suits: whether weights with these names are of this source, where names do not tell.
    answers: what the old network would say to an input, of our network and that input.
    """

    name: str
    marks: tuple[str, ...]
    translate: Callable[[Weights], Translation]
    input_res: int = 256
    note: str = ""
    suits: Callable[[Weights], bool] = lambda _: True
    answers: Callable[[PoseNetwork, Tensor], Sequence[Tensor]] = lambda network, inputs: network(inputs)


@command
def main(argv: Sequence[str] | None = None) -> None:
    convert(get_parser().parse_args(argv))


def get_parser() -> argparse.ArgumentParser:
    known = "\n    ".join(source.name for source in SOURCES)
    parser = CommandParser(f"Turn a checkpoint of other code into one of ours. Known sources:\n\n    {known}")
    parser.add_argument("old", metavar="OLD", type=Path, help="checkpoint of other code")
    parser.add_argument("--out", metavar="NEW", type=Path, required=True, help="new file to write")
    parser.add_argument(
        "--entry",
        metavar="NAME",
        help="which of several networks in OLD, such as netD (default: the first known)",
    )
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
    parser.add_argument(
        "--keep-unused",
        action="store_true",
        help="associative embedding: keep the maps that mean nothing; without them the answers are the same",
    )
    parser.add_argument(
        "--check",
        nargs="?",
        type=Path,
        const=BESIDE,
        metavar="ANSWERS",
        help="compare with answers of the old code, an .npz or its folder (default: beside OLD)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace NEW if it is there already")
    return parser


def convert(options: argparse.Namespace) -> None:
    """Read OLD, say what it is, write NEW."""
    import torch

    from src.models.checkpoint import describe, save_checkpoint

    if options.out.exists() and options.old.exists() and options.out.samefile(options.old):
        raise UserError(f"{options.out} is the old checkpoint itself; choose another --out")
    require_free(options.out, options.overwrite)
    answers = read_answers(find_answers(options)) if options.check else None
    weights, others = find_weights(options.old, options.entry)
    source = recognise(weights, options.old)
    arch, config, renamed, dropped = translate(source, weights, options.old)
    if config.get("unused") and not options.keep_unused:
        what = f"{config['unused']} maps a stack that mean nothing"
        dropped[what] = drop_unused(config, renamed)

    input_res = source.input_res if options.input_res is None else options.input_res
    sizes = {name: value for name, value in config.items() if name != "num_joints"}
    check_input(arch, input_res, **sizes)
    joints = choose_skeleton(config["num_joints"], options.skeleton)
    own = outline(arch, config, len(renamed))
    renamed["normalise.mean"] = torch.tensor(options.mean).view(3, 1, 1)
    renamed["normalise.std"] = torch.ones(3, 1, 1)
    counters = {name: torch.tensor(0) for name in own if name.endswith("num_batches_tracked")}
    renamed = counters | renamed  # PyTorch before 0.4.1 had none
    require_fit(own, renamed, f"{options.old} looks like {source.name}, but")
    network = build(arch, **config)
    network.load_state_dict(renamed)
    checked = check(network.eval(), source, answers, options) if answers else ""
    save_checkpoint(options.out, describe(network, joints.to_dict(), input_res))

    shape = [f"{joints.num_joints} joints ({joints.name})", *(f"{name} {sizes[name]}" for name in sizes)]
    print(f"{options.old} is of {source.name}: {arch}, {', '.join(shape)}")
    for what, names in dropped.items():
        print(f"left out: {what} ({len(names)} tensors)")
    if others:
        print(f"left out: {', '.join(others)}, which are no part of this network")
    if source.note:
        print(f"note: {source.note}")
    if checked:
        print(checked)
    print(f"wrote {options.out}")


# reading

# where older code keeps its weights, and what wrappers (DataParallel, a trainer) put before their names
CONTAINERS = ("state_dict", "model_state", "netHg", "netG", "model", "net", "netD")
PREFIXES = ("module.", "model.")


def find_weights(path: Path, entry: str | None = None) -> tuple[Weights, list[str]]:
    """The weights in an old checkpoint without wrappers' prefixes, and what else lies beside them.

    entry: the name under which they lie, if not the first of CONTAINERS that is there.
    """
    from src.models.checkpoint import is_state_dict, read_plain

    content = read_plain(path)
    if isinstance(content, dict) and {"format", "arch", "skeleton"} <= content.keys():
        raise UserError(f"{path} is a checkpoint of this project already; it needs no conversion")
    others: list[str] = []
    if entry is not None:
        if not isinstance(content, dict) or entry not in content:
            raise UserError(f"{path} has no entry {entry!r}")
        others, content = [str(key) for key in content if key != entry], content[entry]
    for _ in range(4):  # containers nest, but not for ever
        if is_state_dict(content):
            return _without_prefixes(content), others
        container = next((key for key in CONTAINERS if isinstance(content, dict) and key in content), None)
        if container is None:
            break
        others += [str(key) for key in content if key != container]
        content = content[container]
    raise UserError(f"{path} has no weights under any known name ({', '.join(CONTAINERS)})")


def _without_prefixes(weights: Mapping[str, Tensor]) -> Weights:
    for prefix in PREFIXES * 2:  # wrappers nest either way
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return dict(weights)


def recognise(weights: Weights, path: Path) -> Source:
    """The first source that has all its marks among the names, and suits."""
    for source in SOURCES:
        marked = all(any(re.match(mark, name) for name in weights) for mark in source.marks)
        if marked and source.suits(weights):
            return source
    known = ", ".join(source.name for source in SOURCES)
    first = next(iter(weights))
    raise UserError(f"{path} is of no known source: its first weight is {first!r}; known: {known}")


def translate(source: Source, weights: Weights, path: Path) -> Translation:
    """The weights under our names; UserError if some that the source always has are not there."""
    try:
        return source.translate(weights)
    except (KeyError, ValueError, IndexError) as error:
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


# checking

BESIDE = Path("beside OLD")  # where answers are looked for if nothing else is said
CLOSE = 1e-4  # what may lie between answers, as a share of the largest value: float32 in another order
MOST_BYTES = 2**30  # of answers


class Answers(NamedTuple):
    """What an old network answered: the file, the input (B, C, H, W), and a tensor for each stage."""

    path: Path
    inputs: Tensor
    stages: list[Tensor]


def check(network: PoseNetwork, source: Source, answers: Answers, options: argparse.Namespace) -> str:
    """The line that says how close the network comes to the answers; UserError if not close enough."""
    import torch

    path, inputs, expected = answers
    inputs[:, :3] += torch.tensor(options.mean).view(3, 1, 1)  # ours subtracts it within
    try:
        with torch.inference_mode():
            found = source.answers(network, inputs)
    except RuntimeError:
        raise UserError(f"{path}: the network takes no input of {tuple(inputs.shape)}") from None
    if len(found) != len(expected):
        raise UserError(f"{path} has the answers of {len(expected)} stages, the network {len(found)}")
    differences = [difference(*pair, path) for pair in zip(found, expected, strict=True)]
    worst = max(differences, key=lambda share: (math.isnan(share), share))
    said = f"largest difference {worst:.2g} of the largest value, {CLOSE:.0e} is allowed"
    if not worst <= CLOSE:
        stage = differences.index(worst)
        raise UserError(f"check failed: {path.name}, stage {stage}: {said}; {options.out} is not written")
    return f"check passed: {path.name}, {len(found)} stages: {said}"


def find_answers(options: argparse.Namespace) -> Path:
    """The .npz of --check: the file itself, or that of the name of OLD in a folder."""
    folder = options.old.parent if options.check == BESIDE else options.check
    path = folder / f"{options.old.stem}.npz" if folder.is_dir() else folder
    if not path.is_file():
        raise UserError(f"--check: there are no answers {path}")
    return path


def read_answers(path: Path) -> Answers:
    """What an .npz of --check holds. UserError if that cannot be read, or is something else."""
    import numpy as np
    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MOST_BYTES:
                raise ValueError("larger than answers are")
        with np.load(path, allow_pickle=False) as arrays:
            stored = {name: np.asarray(arrays[name], dtype=np.float32) for name in arrays.files}
        inputs = stored.pop("input", None)
        if inputs is None:
            shape = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["input"]
            if math.prod(shape) > MOST_BYTES // 4:
                raise ValueError("its input is larger than inputs are")
            inputs = np.random.default_rng(0).random(shape, dtype=np.float32)
        if inputs.ndim != 4 or inputs.shape[1] < 3 or not stored or 0 in inputs.shape:
            raise ValueError("no input (B, C, H, W), or no answers")
    except FileNotFoundError:
        raise UserError(
            f"{path} has no array 'input', and there is no {path.stem}.json with its shape"
        ) from None
    except Exception as error:  # a damaged file can raise nearly anything
        raise UserError(f"{path} holds no answers that can be read ({shorten(str(error), 80)})") from None
    return Answers(
        path, torch.from_numpy(inputs), [torch.from_numpy(stored[name]) for name in sorted(stored)]
    )


def difference(found: Tensor, expected: Tensor, path: Path) -> float:
    """The largest difference, as a share of the largest value; maps beyond ours mean nothing."""
    expected = expected[:, : found.shape[1]] if expected.ndim > 1 else expected
    if found.shape != expected.shape:
        raise UserError(
            f"{path} has answers of shape {tuple(expected.shape)}, the network {tuple(found.shape)}"
        )
    return float((found - expected).abs().max() / expected.abs().max())


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
    if deepest >= len(weights):  # a name out of a file, which is not to be believed
        raise ValueError(f"an hourglass cannot have {deepest + 1} levels")
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


def adversarial_pose_discriminator(weights: Weights) -> Translation:
    _, config, renamed, dropped = adversarial_pose_hg(weights)
    config.pop("stem_feats")
    return Translation("discriminator", config, renamed, dropped)


def sees_heatmaps(weights: Weights) -> bool:
    """Whether the network takes more than the three colours of a picture."""
    entry = weights.get("conv1.weight")
    return entry is not None and entry.ndim == 4 and entry.shape[1] > 3


def pytorch_pose_hg(weights: Weights) -> Translation:
    stem: list[Rule] = [(r"^layer(\d)\.0\.", r"stem.residual\1."), (r"\.downsample\.0\.", ".skip.")]
    renamed = rename(weights, [*level_rules(weights), *stem])
    return Translation("hg", hourglass_config(renamed), renamed, {})


def princeton_hourglass(weights: Weights) -> Translation:
    kept, dropped = without_dead_skips(rename(weights, PRINCETON_RULES))
    return Translation("hg", hourglass_config(kept), kept, dropped)


def princeton_topdown(weights: Weights) -> Translation:
    """The same code, with the branch of top-down modulation beside each stack."""
    kept, dropped = without_dead_skips(rename(weights, [*PRINCETON_RULES, *TOPDOWN_RULES]))
    config = hourglass_config(kept)
    config.pop("stem_feats")
    config["latent"] = kept["stacks.0.encode.weight"].shape[0]
    return Translation("hg-topdown", config, kept, dropped)


def without_dead_skips(renamed: Weights) -> tuple[Weights, dict[str, list[str]]]:
    """The weights that are used, and what was dropped (see Translation)."""
    # this code makes a skip convolution in every block and uses it only where the width changes
    skips = {name for name in renamed if re.search(r"\.skip\.(weight|bias)$", name)}
    dead = {name for name in skips if _keeps_width(renamed[name.rpartition(".")[0] + ".weight"])}
    kept = {name: value for name, value in renamed.items() if name not in dead}
    return kept, {"skip convolutions that the source never uses": sorted(dead)} if dead else {}


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

TOPDOWN_RULES: tuple[Rule, ...] = (
    (r"^fcin1\.(\d+)\.fc\.", r"stacks.\1.encode."),
    (r"^decoders\.(\d+)\.0\.fc\.", r"stacks.\1.decode."),
    (r"^decoders\.(\d+)\.2\.", r"stacks.\1.grow1."),
    (r"^decoders\.(\d+)\.3\.", r"stacks.\1.grow2."),
    (r"^decoders\.(\d+)\.5\.", r"factors.\1."),
    (r"\.conv_tr_layer\.", ".conv."),
    (r"\.bn\.", ".norm."),
)


def ae_hourglass(rules: Sequence[Rule], weights: Weights) -> Translation:
    """Both code bases predict four maps a joint, of which they use two: heatmap and tag."""
    renamed = rename(weights, rules)
    maps, feats = renamed["heads.0.weight"].shape[:2]
    num_joints = maps // 4 if maps % 4 == 0 else maps // 2
    down = r"stacks\.0\.hourglass\.(inner\.)*down\.conv\.weight"
    config = {
        "num_joints": num_joints,
        "stacks": sum(re.fullmatch(r"heads\.\d+\.weight", name) is not None for name in renamed),
        "feats": feats,
        "increase": renamed["stacks.0.hourglass.down.conv.weight"].shape[0] - feats,
        "depth": sum(re.fullmatch(down, name) is not None for name in renamed),
        "unused": maps - 2 * num_joints,
    }
    return Translation("hg-ae", config, renamed, {})


def drop_unused(config: dict[str, Any], weights: Weights) -> list[str]:
    """Leave the maps out that mean nothing, in place; returns the names of the tensors that get smaller.

    They are linear in the features of a stack, and so is what the next stack makes of them: the product of
    both weights goes into the weight by which it takes the features themselves. The answers stay the same.
    """
    used = 2 * config["num_joints"]
    config["unused"] = 0
    changed = []
    for stack in range(config["stacks"]):
        head, merge = f"heads.{stack}", f"merge_heatmaps.{stack}"
        weight, bias = (weights[f"{head}.{kind}"].double() for kind in ("weight", "bias"))
        if f"{merge}.weight" in weights:
            rest = weights[f"{merge}.weight"].double()[:, used:, 0, 0]
            direct = f"merge_features.{stack}"
            for kind, value in (
                ("weight", (rest @ weight[used:, :, 0, 0])[..., None, None]),
                ("bias", rest @ bias[used:]),
            ):
                name = f"{direct}.{kind}"
                weights[name] = (weights[name].double() + value).to(weights[name].dtype)
            weights[f"{merge}.weight"] = weights[f"{merge}.weight"][:, :used].clone()
            changed.append(f"{merge}.weight")
        for kind in ("weight", "bias"):
            weights[f"{head}.{kind}"] = weights[f"{head}.{kind}"][:used].clone()
            changed.append(f"{head}.{kind}")
    return changed


# what both have in common
AE_RULES: tuple[Rule, ...] = (
    (r"^features\.(\d+)\.0\.", r"stacks.\1.hourglass."),
    (r"low2\.", "inner."),
    (r"up1\.", "skip."),
    (r"low1\.", "down."),
    (r"low3\.", "up."),
    (r"^merge_preds\.", "merge_heatmaps."),
)

ADVERSARIAL_AE_RULES: tuple[Rule, ...] = (
    *AE_RULES,
    (r"^head\.0\.", "stem.entry.conv."),
    (r"^head\.2\.", "stem.conv1.conv."),
    (r"^head\.5\.", "stem.conv2.conv."),
    (r"^head\.7\.", "stem.conv3.conv."),
    (r"\.0\.0\.(weight|bias)$", r".conv.\1"),
    (r"^features\.(\d+)\.1\.", r"stacks.\1.conv1.conv."),
    (r"^features\.(\d+)\.3\.", r"stacks.\1.conv2.conv."),
    (r"^outs\.", "heads."),
    (r"^(merge_\w+\.\d+)\.conv\.", r"\1."),
)

PRINCETON_AE_RULES: tuple[Rule, ...] = (
    *AE_RULES,
    (r"^pre\.0\.", "stem.entry."),
    (r"^pre\.1\.", "stem.conv1."),
    (r"^pre\.3\.", "stem.conv2."),
    (r"^pre\.4\.", "stem.conv3."),
    (r"^features\.(\d+)\.([12])\.", r"stacks.\1.conv\2."),
    (r"^outs\.(\d+)\.conv\.", r"heads.\1."),
    (r"^(merge_\w+\.\d+)\.conv\.conv\.", r"\1."),
)


def naman_deeppose(weights: Weights) -> Translation:
    """A ResNet that counts coordinates from the middle of the crop; ours does so from a corner."""
    from src.models.deeppose import DeepPose
    from src.models.resnet import RESNETS

    rules: list[Rule] = [(r"^resnet\.fc\.", "head."), (r"^resnet\.", "trunk.")]
    renamed = rename(weights, rules)
    marks = [re.match(r"trunk\.layer(\d)\.(\d+)\.", name) for name in renamed]
    layers = [layer for layer, _ in {found.groups() for found in marks if found}]
    blocks = tuple(layers.count(layer) for layer in "1234")
    kind = "Bottleneck" if "trunk.layer1.0.conv3.weight" in renamed else "BasicBlock"
    names = [name for name, form in RESNETS.items() if form == (kind, blocks)]
    if not names:
        raise ValueError(f"no ResNet has {blocks} blocks of this kind")
    renamed["head.bias"] = renamed["head.bias"] + DeepPose.CENTRE
    config = {"num_joints": len(renamed["head.bias"]) // 2, "backbone": names[0]}
    return Translation("deeppose", config, renamed, {})


def coordinates_from_the_middle(network: PoseNetwork, inputs: Tensor) -> list[Tensor]:
    """What DeepPose of that code answers: (B, 2 J), x and y of each joint."""
    from src.models.deeppose import DeepPose

    return [pose.flatten(1) - DeepPose.CENTRE for pose in network(inputs)]


def reconstructed(network: PoseNetwork, inputs: Tensor) -> list[Tensor]:
    """What a discriminator answers to a picture and the heatmaps behind it."""
    return [network(inputs[:, :3], inputs[:, 3:])]


SOURCES = (
    Source(
        "Pytorch-Human-Pose-Estimation (Naman-ntc, DeepPose)",
        marks=(r"resnet\.conv1\.", r"resnet\.layer4\.", r"resnet\.fc\."),
        translate=naman_deeppose,
        answers=coordinates_from_the_middle,
    ),
    Source(
        "adversarial-pose-pytorch (associative embedding)",
        marks=(r"head\.0\.", r"features\.0\.0\.up1\.0\.0\.", r"outs\.0\."),
        translate=partial(ae_hourglass, ADVERSARIAL_AE_RULES),
        input_res=512,
    ),
    Source(
        "pose-ae-train (princeton-vl, associative embedding)",
        marks=(r"pre\.1\.conv\.", r"features\.0\.0\.up1\.conv\.", r"outs\.0\.conv\.(?!conv)"),
        translate=partial(ae_hourglass, PRINCETON_AE_RULES),
        input_res=512,
    ),
    Source(
        "adversarial-pose-pytorch (discriminator)",
        marks=(r"res1\.conv1\.", r"hg\.0\.hg\.0\.0\.0\.conv1\.", r"score\.0\."),
        translate=adversarial_pose_discriminator,
        input_res=64,
        note="a discriminator finds no pose: --load-discriminator starts a training from it",
        suits=sees_heatmaps,
        answers=reconstructed,
    ),
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
        "pytorch_stacked_hourglass_attention (crockwell)",
        marks=(r"hgs\.0\.0\.up1\.", r"fcin1\.0\.fc\.", r"decoders\.0\.2\.conv_tr_layer\."),
        translate=princeton_topdown,
    ),
    Source(
        "pytorch_stacked_hourglass (princeton-vl)",
        marks=(r"pre\.1\.skip_layer\.", r"hgs\.0\.0\.up1\.", r"outs\.0\.conv\.(?!conv)"),
        translate=princeton_hourglass,
    ),
)


if __name__ == "__main__":
    main()
