"""Groups of people by how they stand, and that each is scored alone."""

from functools import partial

import numpy as np
import pytest

from src.datasets.skeletons import LSP
from src.errors import UserError
from src.evaluation.breakdown import actions, broken_down, leans, views
from src.evaluation.protocols import Truth, evaluate
from src.evaluation.results import format_table, to_json

JOINTS = {"left shoulder": (60, 0), "right shoulder": (0, 0), "left hip": (50, 100), "right hip": (10, 100)}


def turned(degrees: float, mirrored: bool = False, narrow: float = 1.0) -> np.ndarray:
    """The joints (14, 2) of somebody who faces the camera upright, narrowed, mirrored, and then turned."""
    joints = np.zeros((14, 2))
    for name, (x, y) in JOINTS.items():
        joints[LSP.joints.index(name)] = (-narrow if mirrored else narrow) * x, y
    angle = np.radians(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return joints @ matrix.T + 200


def truth_of(*people: np.ndarray) -> Truth:
    visible = np.full((len(people), 14), 2, np.int8)
    return Truth(np.stack(people), visible, np.ones(len(people)), LSP, "toy")


@pytest.mark.parametrize("degrees", [0, 45, -90, 180])
def test_the_side_shown_does_not_depend_on_the_lean(degrees: float) -> None:
    truth = truth_of(turned(degrees), turned(degrees, mirrored=True), turned(degrees, narrow=0.2))
    assert views(truth)[0].tolist() == ["front", "back", "profile"]


def test_leans_are_from_upright_to_either_side() -> None:
    truth = truth_of(*(turned(angle) for angle in (0, 19, -21, 39, 41, -119, 121, 180)))
    ends = ["to 20°"] * 2 + ["20° to 40°"] * 2 + ["40° to 120°"] * 2 + ["over 120°"] * 2
    assert leans(truth)[0].tolist() == ends


def test_each_group_has_the_figures_of_its_people() -> None:
    """Those seen from the back are missed; nobody is in profile; of one a hip is unlabelled."""
    truth = truth_of(turned(0), turned(5), turned(0, mirrored=True), turned(0))
    truth.visible[3, LSP.joints.index("left hip")] = 0
    predictions = truth.joints + np.array([0, 0, 100, 0])[:, None, None]
    broken = broken_down("view", partial(evaluate, "pck"), predictions, truth)
    means = {label: each.sections["means"]["pck_mean"].scores[0] for label, each in broken.results.items()}
    assert {label: (mean.percent, mean.counted) for label, mean in means.items()} == {
        "front": (100, 28), "back": (0, 14), "unknown": (100, 13),
    }  # fmt: skip
    whole = evaluate("pck", predictions, truth)
    object.__setattr__(whole, "breakdowns", (broken,))
    table = format_table(whole).splitlines()[-4:]
    assert table[0].split()[:4] == ["by", "view", "people", "Head"] and table[2].split()[:2] == ["back", "1"]
    assert to_json(whole)["by"]["view"]["back"]["means"]["pck_mean"]["all"] == 0


def test_what_people_do_must_be_known() -> None:
    with pytest.raises(UserError, match="does not say what people do"):
        actions(truth_of(turned(0)))
