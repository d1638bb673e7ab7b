"""Skeletons that users bring: named in the category of a COCO file, or in a small YAML beside the data.

skeleton.yaml, of which every line may be left out where the JSON or the names of joints tell the same:

    joints: [nose, left eye, right eye]
    flip_pairs: [[left eye, right eye]]              # else those whose names differ in left and right
    limbs: [[nose, left eye], [nose, right eye]]
    sigmas: {nose: 0.026, left eye: 0.025}           # or one number; else those of known joints, by name
    groups: {Eyes: [left eye, right eye]}            # rows of result tables; else pairs, and single joints
    torso: [left eye, right eye]                     # the length that PCK divides by
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from src.datasets.skeletons import COCO, SKELETONS, Skeleton
from src.errors import UserError, suggest

FILE = "skeleton.yaml"  # in the folder of a data set
_KEYS = ("joints", "flip_pairs", "limbs", "sigmas", "groups", "torso")

_SIGMAS = {
    joint: sigma
    for known in (*SKELETONS.values(), COCO)  # COCO last: its constants are measured
    for joint, sigma in zip(known.joints, known.sigmas, strict=True)
}
_OTHER_SIGMA = float(np.median(COCO.sigmas))  # of joints that no known skeleton has

Pair = tuple[int, int]


def plain_name(joint: str) -> str:
    """The name of a joint as skeletons here spell it: "leftEye", "left_eye" and "L-Eye" are "left eye"."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[_\-.\s]+", " ", joint).lower()
    words = re.sub(r"(left|right)", r" \1 ", apart).split()
    return " ".join({"l": "left", "r": "right"}.get(word, word) for word in words)


def read_declared(data_dir: Path) -> dict[str, Any]:
    """What skeleton.yaml in the folder of a data set declares; nothing where there is no such file."""
    path = data_dir / FILE
    if not path.is_file():
        return {}
    import yaml  # those who read detections alone need not have it

    try:
        declared = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(declared, dict):
        raise UserError(f"{path} must hold lines such as `joints: [nose, …]`")
    for key in declared:
        if key not in _KEYS:
            known = ", ".join(_KEYS)
            raise UserError(f"{path}: there is no {key!r}{suggest(str(key), _KEYS)}; known: {known}")
    return declared


def build_skeleton(
    name: str, joints: Sequence[str], limbs: Sequence[Pair], declared: dict[str, Any], source: Path
) -> Skeleton:
    """The skeleton of what a JSON names, completed and overruled by what a YAML declares.

    joints: none if the JSON names none. limbs: pairs of places in them, from 0. declared: of `read_declared`.
    source: the file that errors name. The result is COCO's where the joints are COCO's and nothing is
    declared, but for limbs of its own. Raises UserError for what makes no skeleton, and for a left joint
    without a right one, whose mirror would be wrong.
    """
    names = _names(declared.get("joints", joints), source)
    if not declared and tuple(names) == COCO.joints:
        drawn, usual = ({frozenset(limb) for limb in some} for some in (limbs, COCO.limbs))
        return replace(COCO, limbs=tuple(limbs)) if drawn and drawn != usual else COCO
    if joints and len(names) != len(joints):
        raise UserError(f"{source} declares {len(names)} joints, but the annotations have {len(joints)}")
    if "flip_pairs" in declared:
        pairs = [_pair(pair, names, "flip_pairs", source) for pair in _list(declared, "flip_pairs", source)]
    else:
        pairs = _named_pairs(names, source)
    if "limbs" in declared:
        limbs = [_pair(limb, names, "limbs", source) for limb in _list(declared, "limbs", source)]
    groups = _default_groups(names, pairs)
    if "groups" in declared:
        groups = _groups(declared["groups"], names, source)
    torso = _default_torso(names)
    if "torso" in declared:
        torso = _pair(declared["torso"], names, "torso", source)
    everybody = tuple(range(len(names)))
    sigmas = _sigmas(declared.get("sigmas", {}), names, source)
    try:
        return Skeleton(
            name=name,
            joints=tuple(names),
            flip_pairs=tuple(pairs),
            limbs=tuple(limbs),
            groups=groups,
            accuracy_joints=everybody,
            mean_joints=everybody,
            sigmas=sigmas,
            torso=torso,
        )
    except UserError as error:
        raise UserError(f"{source}: {error}") from None


def _names(joints: Any, source: Path) -> list[str]:
    if not isinstance(joints, list | tuple) or not all(isinstance(joint, str) for joint in joints):
        raise UserError(f"{source}: the joints must be a list of names")
    if not joints:
        raise UserError(f"{source} names no joints; {FILE} in the folder of the data set can")
    names = [plain_name(joint) for joint in joints]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{source}: the joint {twice!r} occurs twice")
    return names


def _place(joint: Any, names: list[str], what: str, source: Path) -> int:
    name = plain_name(str(joint))
    if name not in names:
        raise UserError(f"{source}: {what} names {joint!r}, which is no joint{suggest(name, names)}")
    return names.index(name)


def _pair(value: Any, names: list[str], what: str, source: Path) -> Pair:
    if not isinstance(value, list) or len(value) != 2:
        raise UserError(f"{source}: {what} must be of pairs such as [left eye, right eye], not {value!r}")
    first, second = (_place(joint, names, what, source) for joint in value)
    return first, second


def _list(declared: dict[str, Any], key: str, source: Path) -> list[Any]:
    if not isinstance(declared[key], list):
        raise UserError(f"{source}: {key} must be a list, not {declared[key]!r}")
    return declared[key]


def _named_pairs(names: list[str], source: Path) -> list[Pair]:
    """The pairs of joints whose names differ in left and right."""
    other = {"left": "right", "right": "left"}
    pairs = []
    for place, name in enumerate(names):
        partner = " ".join(other.get(word, word) for word in name.split())
        if partner == name:
            continue
        if partner not in names:
            raise UserError(f"{source}: {name!r} has no {partner!r}; flip_pairs in {FILE} can name another")
        if place < names.index(partner):
            pairs.append((place, names.index(partner)))
    return pairs


def _default_groups(names: list[str], pairs: Sequence[Pair]) -> dict[str, tuple[int, ...]]:
    """A row of tables for each pair and for each joint that is in none."""
    paired = {joint for pair in pairs for joint in pair}
    rows = [*pairs, *((joint,) for joint in range(len(names)) if joint not in paired)]
    return {_title(names[row[0]]): row for row in sorted(rows)}


def _default_torso(names: list[str]) -> Pair:
    """From the left shoulder to the right hip; else from a joint to itself, a length that scores nobody."""
    ends = ("left shoulder", "right hip")
    return (names.index(ends[0]), names.index(ends[1])) if set(ends) <= set(names) else (0, 0)


def _title(name: str) -> str:
    words = [word for word in name.split() if word not in ("left", "right")]
    return " ".join(words or [name]).capitalize()


def _groups(value: Any, names: list[str], source: Path) -> dict[str, tuple[int, ...]]:
    if not isinstance(value, dict) or not all(isinstance(joints, list) for joints in value.values()):
        raise UserError(f"{source}: groups must be like {{Eyes: [left eye, right eye]}}, not {value!r}")
    return {
        str(title): tuple(_place(joint, names, "groups", source) for joint in joints)
        for title, joints in value.items()
    }


def _sigmas(value: Any, names: list[str], source: Path) -> tuple[float, ...]:
    if isinstance(value, int | float):
        value = dict.fromkeys(names, value)
    if not isinstance(value, dict):
        raise UserError(f"{source}: sigmas must be one number or like {{nose: 0.026}}, not {value!r}")
    sigmas = [_SIGMAS.get(name, _OTHER_SIGMA) for name in names]
    for joint, sigma in value.items():
        if not isinstance(sigma, int | float) or not 0 < sigma < float("inf"):
            raise UserError(f"{source}: the sigma of {joint} must be a number above 0, not {sigma!r}")
        sigmas[_place(joint, names, "sigmas", source)] = float(sigma)
    return tuple(sigmas)
