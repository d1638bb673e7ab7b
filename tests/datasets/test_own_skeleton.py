"""Skeletons that users bring: read off names, declared in YAML, and refused where they make no sense."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.datasets.own_skeleton import build_skeleton, plain_name, read_declared
from src.datasets.skeletons import COCO, MPII, Skeleton
from src.errors import UserError
from tests.releases import COCO_NAMES

NAMES = ["nose", "left_paw", "right_paw", "tail"]


def build(
    joints: list[str],
    declared: dict[str, Any] | None = None,
    limbs: Sequence[tuple[int, int]] = ((0, 1),),
) -> Skeleton:
    return build_skeleton("own", joints, limbs if len(joints) > 1 else [], declared or {}, Path("own.json"))


@pytest.mark.parametrize(
    "spelt",
    ["left elbow", "left_elbow", "Left-Elbow", "leftElbow", "LeftElbow", "left.elbow", "L_elbow", "LElbow",
     "elbow_left", "elbowLeft", "ELBOW_L", "leftelbow"],
)  # fmt: skip
def test_names_are_spelt_one_way(spelt: str) -> None:
    assert plain_name(spelt) in ("left elbow", "elbow left")


def test_coco_is_known_by_its_joints() -> None:
    for limbs in (COCO.limbs, [(b, a) for a, b in COCO.limbs[::-1]], []):
        assert build(COCO_NAMES, limbs=limbs) is COCO
    assert build(COCO_NAMES, limbs=[(0, 5), (0, 6)]) == replace(COCO, limbs=((0, 5), (0, 6)))
    assert build(COCO_NAMES[:5]).sigmas == COCO.sigmas[:5]


def test_names_tell_pairs_groups_and_constants() -> None:
    skeleton = build(["nose", "left_paw", "paw_x", "right_paw", "neck", "right_ankle", "left_ankle"])
    assert skeleton.joints[1] == "left paw" and skeleton.flip_pairs == ((1, 3), (5, 6))
    assert skeleton.flip_order == [0, 3, 2, 1, 4, 6, 5]
    assert skeleton.groups == {"Nose": (0,), "Paw": (1, 3), "Paw x": (2,), "Neck": (4,), "Ankle": (5, 6)}
    assert skeleton.limbs == ((0, 1),)
    neck, other = MPII.sigmas[MPII.index("neck")], float(np.median(COCO.sigmas))
    assert skeleton.sigmas == (0.026, other, other, other, neck, 0.089, 0.089)
    assert skeleton.torso == (0, 0)  # neither shoulders nor hips: a length of 0, which scores nobody
    assert build(["left_shoulder", "right_shoulder", "right_hip", "left_hip"]).torso == (0, 2)


def test_what_is_declared_comes_first(tmp_path: Path) -> None:
    (tmp_path / "skeleton.yaml").write_text(
        "flip_pairs: [[Left_Paw, tail]]\nlimbs: [[nose, tail], [tail, right paw]]\nsigmas: 0.1\n"
        "groups: {Ends: [nose, tail]}\ntorso: [nose, tail]\njoints: [nose, left paw, right paw, tail]\n"
    )
    skeleton = build(NAMES, read_declared(tmp_path))
    assert skeleton.flip_pairs == ((1, 3),) and skeleton.limbs == ((0, 3), (3, 2))
    assert skeleton.sigmas == (0.1,) * 4 and skeleton.groups == {"Ends": (0, 3)} and skeleton.torso == (0, 3)
    assert build(NAMES, {"flip_pairs": []}).flip_pairs == ()
    assert build(COCO_NAMES, {"sigmas": {"nose": 0.5}}).sigmas == (0.5, *COCO.sigmas[1:])
    assert read_declared(tmp_path / "nowhere") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("joints: [a, b", "skeleton.yaml is not YAML"),
        ("- nose", r"skeleton.yaml must hold lines such as `joints"),
        ("jonits: [nose]", r"there is no 'jonits' \(did you mean 'joints'\?\); known: joints, flip_pairs"),
        ("joints: nose", "the joints must be a list of names"),
        ("joints: [nose, tail]", "declares 2 joints, but the annotations have 4"),
        ("flip_pairs: [[left paw, rigth paw]]", r"'rigth paw', which is no joint \(did you mean 'right"),
        ("flip_pairs: [[left paw, right paw], [left paw, tail]]", "skeleton.yaml: .* is in two flip pairs"),
        ("flip_pairs: [left paw, right paw]", "flip_pairs must be of pairs such as"),
        ("limbs: nose", "limbs must be a list, not 'nose'"),
        ("limbs: [[nose, tail, nose]]", "limbs must be of pairs"),
        ("sigmas: {nose: 0}", "the sigma of nose must be a number above 0, not 0"),
        ("sigmas: [0.1]", "sigmas must be one number or like"),
        ("groups: [nose]", "groups must be like"),
        ("torso: nose", "torso must be of pairs"),
    ],
)  # fmt: skip
def test_what_makes_no_skeleton_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "skeleton.yaml").write_text(text)
    with pytest.raises(UserError, match=message) as error:
        build_skeleton("own", NAMES, [], read_declared(tmp_path), tmp_path / "skeleton.yaml")
    assert "\n" not in str(error.value)


def test_a_left_joint_needs_a_right_one() -> None:
    with pytest.raises(
        UserError, match=r"own\.json: 'left paw' has no 'right paw'; flip_pairs in skeleton.yaml"
    ):
        build(["nose", "left_paw"])
    with pytest.raises(UserError, match="'right paw' has no 'left paw'"):
        build(["right_paw"])
    assert build(["nose", "left_paw"], {"flip_pairs": []}).flip_pairs == ()
