"""Protocols: by hand on three people, by loops on many, and on the annotations of MPII where they are."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from src.datasets.annotations import HIDDEN, UNLABELLED, VISIBLE, Person
from src.datasets.images import Picture
from src.datasets.mpii import MPII as RELEASE
from src.datasets.penn import PENN as PENN_RELEASE
from src.datasets.skeletons import FLIC, LSP, MPII, PENN, SKELETONS, Skeleton, joint_map
from src.errors import UserError
from src.evaluation import bootstrap
from src.evaluation.predict import Found
from src.evaluation.predictions import read_predictions, release_origin
from src.evaluation.protocols import PROTOCOLS, Truth, evaluate, protocols_of
from src.evaluation.results import Result, format_table, to_json
from tests.releases import make_penn

EYES = Skeleton(
    "eyes", ("left eye", "right eye"), ((0, 1),), ((0, 1),), {}, (0, 1), (0, 1), (0.1, 0.1), (0, 1)
)


def percent(result: Result, section: str, key: str) -> tuple[float, ...]:
    """A row's percentages: all, visible, hidden."""
    return tuple(score.percent for score in result.sections[section][key].scores)


def counts(result: Result, section: str, key: str) -> tuple[int, ...]:
    return tuple(score.counted for score in result.sections[section][key].scores)


def random_truth(skeleton: Skeleton = MPII, people: int = 40, seed: int = 0) -> Truth:
    rng = np.random.default_rng(seed)
    joints = rng.uniform(0, 400, (people, skeleton.num_joints, 2)).astype(np.float32)
    visible = rng.choice([UNLABELLED, HIDDEN, VISIBLE], joints.shape[:2], p=[0.2, 0.2, 0.6]).astype(np.int8)
    norm = rng.uniform(20, 60, people).astype(np.float32)
    norm[::9] = np.nan
    return Truth(joints, visible, norm, skeleton, "random", crop=5 * norm)


def noisy(truth: Truth, pixels: float = 20) -> np.ndarray:
    return truth.joints + np.random.default_rng(1).normal(0, pixels, truth.joints.shape)


@pytest.fixture
def toy() -> tuple[np.ndarray, Truth]:
    """Predictions for three people with heads of 10 px.

    The first is complete and right; of the second the ankle and the thorax are wrong, the pelvis right; of
    the third the hidden wrist is wrong, and the knee, at x = 0 of a release that counts from 1, right.
    """
    ankle, knee, wrist = (MPII.index(f"right {joint}") for joint in ("ankle", "knee", "wrist"))
    pelvis, thorax = MPII.index("pelvis"), MPII.index("thorax")
    joints, visible = np.full((3, 16, 2), 50.0), np.full((3, 16), UNLABELLED)
    visible[0] = VISIBLE
    visible[1, [ankle, pelvis, thorax]] = VISIBLE
    visible[2, wrist], visible[2, knee] = HIDDEN, VISIBLE
    joints[2, knee, 0] = -1
    predictions = joints.copy()
    predictions[1, [ankle, thorax]] += [6, 0]
    predictions[2, wrist] += [0, 6]
    return predictions, Truth(joints, visible, np.full(3, 10.0), MPII, "toy")


def test_three_means_by_hand(toy: tuple[np.ndarray, Truth]) -> None:
    result = evaluate("pckh", *toy)
    # 14 + 0 + 1 right of 14 + 1 + 2, the hidden wrist being one of them
    assert percent(result, "means", "pckh_mean") == pytest.approx((100 * 15 / 17, 100 * 15 / 16, 0))
    assert counts(result, "means", "pckh_mean") == (17, 16, 1)
    # ankle and wrist 50 %, the other twelve 100 %; among the visible only the ankle 50 %
    expected = ((12 * 100 + 2 * 50) / 14, (13 * 100 + 50) / 14, 0)
    assert percent(result, "means", "pckh_unweighted") == pytest.approx(expected)
    # 16 + 1 + 0 right of 16 + 3 + 1: the knee at x = 0 does not count here
    assert percent(result, "means", "pckh_all16") == pytest.approx((100 * 17 / 20, 100 * 17 / 19, 0))
    assert counts(result, "means", "pckh_all16") == (20, 19, 1)
    assert percent(result, "groups", "Ankle") == pytest.approx((75, 75, math.nan), nan_ok=True)
    assert percent(result, "joints", "thorax") == pytest.approx((50, 50, math.nan), nan_ok=True)
    assert (result.people, result.left_out, result.notes) == (3, 0, ())


def test_group_is_the_plain_mean_of_its_joints() -> None:
    """Not weighted by how often left and right are labelled."""
    left, right = MPII.index("left knee"), MPII.index("right knee")
    visible = np.zeros((4, 16), int)
    visible[:, left], visible[0, right] = VISIBLE, VISIBLE
    truth = Truth(np.zeros((4, 16, 2)), visible, np.ones(4), MPII, "knees")
    predictions = np.zeros((4, 16, 2))
    predictions[0, right] = 9
    assert percent(evaluate("pckh", predictions, truth), "groups", "Knee")[0] == 50  # 100 and 0, not 4 of 5


def lengths_by_definition(protocol: str, truth: Truth, n: int) -> float:
    labelled = truth.visible[n] > UNLABELLED
    if protocol == "pckh":
        return float(truth.norm[n])
    if protocol == "pck":
        sides = ("right", "left") if truth.skeleton.name == "flic" else ("left", "right")
        shoulder, hip = (
            truth.skeleton.index(f"{sides[i]} {end}") for i, end in enumerate(("shoulder", "hip"))
        )
        ends = labelled[shoulder] and labelled[hip]
        return math.dist(truth.joints[n, shoulder], truth.joints[n, hip]) if ends else math.nan
    return float(np.ptp(truth.joints[n][labelled], axis=0).max())


@pytest.mark.parametrize(("protocol", "share"), [("pckh", 0.5), ("pck", 0.2), ("pck-box", 0.1)])
@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_against_loops(protocol: str, share: float, skeleton: Skeleton) -> None:
    truth = random_truth(skeleton)
    predictions = noisy(truth)
    right = {state: [0] * skeleton.num_joints for state in (VISIBLE, HIDDEN)}
    total = {state: [0] * skeleton.num_joints for state in (VISIBLE, HIDDEN)}
    left_out = 0
    for n in range(len(truth.joints)):
        length = lengths_by_definition(protocol, truth, n)
        left_out += math.isnan(length)
        for j in range(skeleton.num_joints):
            state = int(truth.visible[n, j])
            if state != UNLABELLED and not math.isnan(length):
                total[state][j] += 1
                right[state][j] += math.dist(predictions[n, j], truth.joints[n, j]) <= share * length
    result = evaluate(protocol, predictions, truth)
    assert (result.people, result.left_out) == (len(truth.joints) - left_out, left_out)
    for j, name in enumerate(skeleton.joints):
        seen, hidden = total[VISIBLE][j], total[HIDDEN][j]
        assert counts(result, "joints", name) == (seen + hidden, seen, hidden)
        expected = (right[VISIBLE][j] + right[HIDDEN][j], right[VISIBLE][j], right[HIDDEN][j])
        scores = result.sections["joints"][name].scores
        assert tuple(round(s.percent * s.counted / 100) if s.counted else 0 for s in scores) == expected


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "failures"])
def test_perfect_predictions_have_100(protocol: str) -> None:
    truth = random_truth()
    result = evaluate(protocol, truth.joints, truth)
    for rows in result.sections.values():
        for row in rows.values():
            assert all(score.percent == pytest.approx(100) for score in row.scores if score.counted)
    assert all((curve == 100).all() for curve in result.curves.values())


@pytest.mark.parametrize(("share", "expected"), [(0.5, 100), (0.5001, 0)])
def test_half_a_head_is_right_and_more_is_not(share: float, expected: float) -> None:
    truth = random_truth()
    shifted = truth.joints + share * truth.norm[:, None, None] * np.array([0.6, -0.8])
    shifted[np.isnan(truth.norm)] = 0
    assert percent(evaluate("pckh", shifted, truth), "means", "pckh_mean") == (expected,) * 3


def test_what_is_unlabelled_or_without_length_does_not_matter() -> None:
    truth = random_truth()
    predictions = noisy(truth)
    before = to_json(evaluate("pckh", predictions, truth))
    ignored = (truth.visible == UNLABELLED) | np.isnan(truth.norm)[:, None]
    predictions[ignored], truth.joints[ignored] = 1e6, np.nan
    assert to_json(evaluate("pckh", predictions, truth)) == before
    assert before["left_out"] == 5
    assert before["notes"] == ["5 people without a head size are left out"]


def test_sixteen_joints_are_scored_as_the_fourteen_of_lsp() -> None:
    truth = random_truth(LSP)
    predictions = noisy(truth)
    network = predictions[:, joint_map(LSP, MPII)]
    network[:, [MPII.index("pelvis"), MPII.index("thorax")]] = np.nan  # LSP has neither
    result = to_json(evaluate("pck", network, truth, MPII))
    assert result == to_json(evaluate("pck", predictions, truth))


def test_joints_that_were_not_predicted_do_not_count() -> None:
    truth = random_truth(MPII)
    predictions = noisy(truth)
    result = evaluate("pckh", predictions[:, joint_map(MPII, LSP)], truth, LSP)
    whole = evaluate("pckh", predictions, truth)
    assert result.notes[-1] == "not predicted, so not counted: pelvis, thorax"
    assert result.sections["means"]["pckh_mean"] == whole.sections["means"]["pckh_mean"]
    assert result.sections["joints"]["pelvis"].scores[0].counted == 0


def test_curves_end_at_the_threshold() -> None:
    truth = random_truth()
    result = evaluate("pckh", noisy(truth), truth)
    assert result.thresholds[[0, 1, 10, 50]] == pytest.approx([0, 0.01, 0.1, 0.5])
    assert len(result.thresholds) == 51
    mean = result.curves["pckh_mean"]
    assert mean[50] == percent(result, "means", "pckh_mean")[0]
    assert mean[10] == percent(result, "means", "pckh_mean@0.1")[0]
    area = (mean[0] / 2 + mean[1:50].sum() + mean[50] / 2) / 50  # 50 trapezoids of equal width
    assert percent(result, "means", "pckh_auc")[0] == pytest.approx(area)
    assert result.curves["neck"][50] == percent(result, "joints", "neck")[0]


def test_table_and_json_say_the_same(toy: tuple[np.ndarray, Truth]) -> None:
    result = evaluate("pckh", *toy)
    table, stored = format_table(result).splitlines(), to_json(result)
    assert table[0] == "PCKh@0.5 of toy, 3 people"
    lines = {line[:30].strip(): line[30:].split() for line in table[1:]}
    assert lines["Mean (14 joints, by count)"] == ["88.24", "17", "93.75", "16", "0.00", "1"]
    assert lines["neck"] == ["100.00", "1", "100.00", "1", "-", "0"]
    assert len({len(line) for line in table[1:] if line}) == 1  # columns are aligned
    json.dumps(stored, allow_nan=False)
    assert stored["means"]["pckh_mean"]["all"] == pytest.approx(100 * 15 / 17, abs=1e-5)
    assert stored["joints"]["neck"]["hidden"] is None
    assert stored["groups"]["Head"]["visible_count"] == 1
    assert set(stored["curves"]) == {"threshold", "pckh_mean", *MPII.groups, *MPII.joints}


@pytest.mark.parametrize(
    ("dataset", "wanted", "protocols"),
    [("mpii", None, ("pckh",)), ("synth", None, ("pckh",)), ("lsp", None, ("pck", "pcp")),
     ("lspet", None, ("pck", "pcp")), ("lsp_mpii", ["pcp"], ("pcp",)),
     ("mpii", ["pck", "pckh"], ("pck", "pckh")),
     ("lspet", ["pck-box", "pck-box"], ("pck-box",)), ("flic", None, ("pck-flic",)), ("coco", None, ("ap",)),
     ("penn", None, ("pck-crop", "pck-window", "pck-person"))],
)  # fmt: skip
def test_protocols_of(dataset: str, wanted: list[str] | None, protocols: tuple[str, ...]) -> None:
    assert protocols_of(dataset, wanted) == protocols


def test_synthetic_people_have_heads_in_the_joints_of_mpii_alone() -> None:
    assert protocols_of("synth", None, LSP) == ("pck",)
    with pytest.raises(UserError, match="choose of pck, pck-box"):
        protocols_of("synth", ["pckh"], LSP)


# Penn Action, FLIC and limbs.


def test_three_figures_of_penn_by_hand() -> None:
    """Two frames with a window of 80 pixels, a crop of 100 and a person of 25, off by 4.5 and by 5.5 pixels.

    In the second only a knee and the head are visible. A twentieth of the window is 4, of the crop 5; a fifth
    of the person is 5. The head is not among the ten joints of the crop's mean.
    """
    visible = np.full((2, 13), VISIBLE)
    visible[1] = UNLABELLED
    visible[1, [PENN.index("head"), PENN.index("left knee")]] = VISIBLE
    joints = np.full((2, 13, 2), 50.0)
    truth = Truth(joints, visible, np.full(2, 25.0), PENN, "penn", crop=np.full(2, 100.0))
    predictions = joints + np.array([4.5, 5.5])[:, None, None] * np.array([1, 0])
    window, crop, person = (
        evaluate(f"pck-{kind}", predictions, truth) for kind in ("window", "crop", "person")
    )
    assert percent(window, "means", "pck_window_mean")[0] == 0
    assert percent(crop, "means", "pck_crop_mean")[0] == pytest.approx(100 * 10 / 11)
    assert percent(crop, "means", "pck_crop_frames")[0] == 50
    assert counts(crop, "means", "pck_crop_frames")[0] == 2
    assert percent(person, "means", "pck_person_mean")[0] == pytest.approx(100 * 13 / 15)
    mean = window.curves["pck_window_mean"]
    assert window.thresholds[[5, 6, 10]] == pytest.approx([0.05, 0.06, 0.1])
    assert mean[[5, 6, 7]] == pytest.approx([0, 100 * 13 / 15, 100])


def test_flic_is_scored_by_elbows_and_wrists_in_its_own_torsos() -> None:
    truth = random_truth(FLIC)
    predictions = noisy(truth)
    result = evaluate("pck-flic", predictions, truth)
    few = ["left elbow", "left wrist", "right elbow", "right wrist"]
    rows = [FLIC.index(name) for name in few]
    counted = (truth.visible[:, rows] > UNLABELLED) & (truth.norm > 0)[:, None]
    error = np.linalg.norm(predictions - truth.joints, axis=2)[:, rows] / truth.norm[:, None]
    assert percent(result, "means", "pck_flic_mean")[0] == pytest.approx(100 * (error[counted] <= 0.2).mean())
    assert counts(result, "means", "pck_flic_mean")[0] == counted.sum()
    assert len(result.thresholds) == 21
    assert result.curves["Elbow"][20] == percent(result, "groups", "Elbow")[0]


def test_three_readings_of_correct_parts_by_hand() -> None:
    """Two people with lower legs of 10 and 30 pixels: of the first the knee is off by 6, of the second by 12.

    Half of the leg is 5 and 15; the errors' mean is 3 and 6; half of the mean leg is 10.
    """
    knee, ankle = LSP.index("left knee"), LSP.index("left ankle")
    joints, visible = np.zeros((2, 14, 2)), np.full((2, 14), UNLABELLED)
    visible[:, [knee, ankle]] = VISIBLE
    joints[0, ankle], joints[1, ankle] = (10, 0), (0, 30)
    predictions = joints.copy()
    predictions[0, knee, 1], predictions[1, knee, 0] = 6, 12
    predictions[:, LSP.index("head top")] = np.nan
    result = evaluate("pcp", predictions, Truth(joints, visible, np.full(2, np.nan), LSP, "legs"))
    assert result.columns == ("strict", "loose", "PCPm")
    assert percent(result, "limbs", "left lower leg") == (50, 100, 50)
    assert counts(result, "means", "pcp_mean") == (2, 2, 2)
    assert percent(result, "groups", "Lower leg") == (50, 100, 50)
    assert len(result.sections["limbs"]) == 10 and result.left_out == 0
    assert "limbs" in format_table(result) and to_json(result)["limbs"]["torso"]["strict"] is None


def test_limbs_against_loops() -> None:
    truth = random_truth(LSP)
    predictions = noisy(truth, 60)
    result = evaluate("pcp", predictions, truth)

    def middle(points: np.ndarray, kind: str) -> np.ndarray:
        return (points[LSP.index(f"left {kind}")] + points[LSP.index(f"right {kind}")]) / 2

    right = total = 0
    trunk = [LSP.index(f"{side} {kind}") for side in ("left", "right") for kind in ("shoulder", "hip")]
    for true, found, visible in zip(truth.joints, predictions, truth.visible, strict=True):
        if (visible[trunk] > UNLABELLED).all():
            half = np.linalg.norm(middle(true, "shoulder") - middle(true, "hip")) / 2
            errors = (np.linalg.norm(middle(true, end) - middle(found, end)) for end in ("shoulder", "hip"))
            right, total = right + all(error <= half for error in errors), total + 1
    assert counts(result, "limbs", "torso")[0] == total
    assert round(percent(result, "limbs", "torso")[0] * total / 100) == right
    strict, loose, _ = percent(result, "means", "pcp_mean")
    assert 0 < strict < loose < 100


@pytest.mark.parametrize(("share", "kind"), [(0.5, "right"), (0.5001, "near")])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_failures_and_pck_agree_about_what_is_right(share: float, kind: str, dtype: type) -> None:
    """At the threshold itself, where a rounding error decides, far from the origin and for small heads."""
    truth = random_truth()
    truth = replace(truth, joints=(truth.joints + 1500.0).astype(dtype), norm=truth.norm / 2)
    angle = np.random.default_rng(1).uniform(0, 2 * np.pi, truth.visible.shape)
    offset = np.stack([np.cos(angle), np.sin(angle)], axis=2) * (share * truth.norm)[:, None, None]
    predictions = (truth.joints + np.nan_to_num(offset)).astype(dtype)
    failures, pck = (evaluate(protocol, predictions, truth) for protocol in ("failures", "pckh"))
    assert percent(failures, "means", f"failures_{kind}")[0] == 100
    assert percent(failures, "means", "failures_right") == percent(pck, "means", "pckh_mean")
    assert counts(failures, "means", "failures_right") == counts(pck, "means", "pckh_mean")


# Intervals.


@pytest.mark.parametrize("protocol", ["pckh", "pcp", "pck-crop"])
def test_sums_of_all_people_are_those_of_the_table(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn once each, people have the figures of the table: the ways to count them agree."""
    monkeypatch.setattr(bootstrap, "_weights", lambda _, draws, count: np.ones((draws, count), np.float32))
    truth = random_truth()
    result = evaluate(protocol, noisy(truth), truth, bootstrap=3)
    for row in result.sections["means"].values():
        for score in row.scores:
            assert score.interval == pytest.approx((score.percent, score.percent), abs=1e-4)


def test_intervals_have_the_width_that_theory_gives() -> None:
    """One joint of each of 400 people, half of them right: a share of standard deviation 2.5 %."""
    count = 400
    visible = np.full((count, 16), UNLABELLED)
    visible[:, 9] = VISIBLE
    truth = Truth(np.zeros((count, 16, 2)), visible, np.ones(count), MPII, "heads")
    predictions = np.zeros((count, 16, 2))
    predictions[::2] = 9
    result = evaluate("pckh", predictions, truth, bootstrap=2000)
    (score, _, hidden) = result.sections["means"]["pckh_mean"].scores
    assert score.interval is not None and hidden.interval is not None
    # 1.96 deviations; of 2,000 draws the ends are uncertain by about a twentieth of that
    assert score.interval == pytest.approx((50 - 4.9, 50 + 4.9), abs=0.6)
    assert np.isnan(hidden.interval).all()
    line = next(line for line in format_table(result).splitlines() if line.startswith("Mean (14 joints, by"))
    assert f"{score.interval[0]:.2f}…{score.interval[1]:.2f}" in line
    stored = to_json(result)["means"]["pckh_mean"]
    assert stored["all_interval"] == pytest.approx(list(score.interval), abs=1e-5)
    assert stored["hidden_interval"] == [None, None]
    again = evaluate("pckh", predictions, truth, bootstrap=2000)
    assert again.sections["means"]["pckh_mean"].scores[0] == score, "the same people give the same interval"


class Drawn(NamedTuple):
    """People without annotations on disk."""

    truth: Truth
    name: str
    skeleton: Skeleton

    def __len__(self) -> int:
        return len(self.truth.joints)

    def person(self, index: int) -> Person:
        truth, nothing = self.truth, np.zeros(2, np.float32)
        norm = float(truth.norm[index])
        black = Picture(np.zeros((1, 1, 3), np.uint8))
        joints, visible = truth.joints[index], truth.visible[index]
        return Person(lambda _: black, joints, visible, nothing, 1.0, 1.0, 0.0, norm)


def test_truth_of_people_who_are_drawn() -> None:
    truth = random_truth()
    people: Any = Drawn(truth, "synth valid", MPII)
    drawn = Truth.of(people)
    rows = np.array([3, 1])
    joints, visible, norm = truth.joints[rows], truth.visible[rows], truth.norm[rows]
    found = Found(joints, joints, joints, visible, rows, joints, visible, norm, norm)
    beside = Truth.beside(found, people)
    for one, expected in ((drawn, slice(None)), (beside, rows)):
        for field in ("joints", "visible", "norm"):
            np.testing.assert_array_equal(getattr(one, field), getattr(truth, field)[expected])
        assert (one.skeleton, one.name) == (MPII, "synth valid")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: evaluate("pkch", t.joints, t), "did you mean 'pckh'"),
        (lambda t: evaluate("pckh", t.joints[:3], t), r"shape \(3, 16, 2\), expected \(40, 16, 2\)"),
        (lambda t: evaluate("pckh", t.joints, t, LSP), r"expected \(40, 14, 2\)"),
        (lambda t: evaluate("pckh", t.joints, replace(t, visible=0 * t.visible)), "no labelled joint"),
        (lambda t: evaluate("pckh", t.joints, replace(t, norm=t.norm * np.nan)), "nobody has a head size"),
        (lambda t: evaluate("pck-crop", t.joints, replace(t, crop=None)), "nobody has a crop"),
        (lambda t: evaluate("pcp", t.joints * 0, replace(t, joints=t.joints * 0)), "nobody has a limb"),
        (lambda t: protocols_of("lspet", ["pckh"]), "lspet is not scored by 'pckh'"),
        (lambda t: replace(t, skeleton=EYES).with_torso("left"), "eyes has no joint 'left shoulder'"),
    ],
)  # fmt: skip
def test_errors(call: Callable[[Truth], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        call(random_truth())


def test_frames_of_a_clip_are_drawn_together(tmp_path: Path) -> None:
    """Nine frames of each person say no more than one: the interval is that of a frame a person."""
    truth = random_truth(PENN, people=60)
    predictions = noisy(truth)
    once = evaluate("pck-person", predictions, truth, bootstrap=500)
    again = {field: np.tile(getattr(truth, field).T, 9).T for field in ("joints", "visible", "norm", "crop")}
    nine = replace(truth, **again, shows=np.tile(np.arange(60), 9))
    many = evaluate("pck-person", np.tile(predictions.T, 9).T, nine, bootstrap=500)
    ends = [each.sections["means"]["pck_person_mean"].scores[0].interval for each in (once, many)]
    assert ends[1] == pytest.approx(ends[0])
    make_penn(tmp_path)
    shows = Truth.of(PENN_RELEASE.read(tmp_path, "train", 0.0)).shows
    assert shows is not None and (np.diff(shows) >= 0).all() and np.bincount(shows).max() <= 3


# MPII's validation people, and the predictions of Tompson et al. (CVPR 2015) that come with them.


@pytest.fixture
def mpii(shared_data: Callable[[str], Path]) -> Truth:
    return Truth.of(RELEASE.read(shared_data("mpii"), "valid", 0.0))


def test_mpii_counts_and_perfect_predictions(mpii: Truth) -> None:
    result = evaluate("pckh", mpii.joints, mpii)
    assert sum(counts(result, "joints", name)[0] for name in MPII.joints) == 44_240
    assert counts(result, "means", "pckh_all16") == (44_232, 33_993, 10_239)
    assert counts(result, "means", "pckh_mean")[0] == 38_430
    for key in ("pckh_mean", "pckh_unweighted", "pckh_all16"):
        assert percent(result, "means", key) == (100, 100, 100)
    # one pixel too far is less than a tenth of the smallest head, so that only the curve shows it
    shifted = evaluate("pckh", mpii.joints + 1, mpii)
    assert percent(shifted, "means", "pckh_mean@0.1")[0] == 100
    assert percent(shifted, "means", "pckh_auc")[0] < 96


def test_stored_predictions_on_mpii_have_their_published_figures(
    mpii: Truth, shared_data: Callable[[str], Path]
) -> None:
    """Tompson's: 82.34 by count and 81.46 unweighted, to two decimals."""
    path = shared_data("mpii") / "annot" / "detections_our_format.mat"
    predictions, skeleton, _ = read_predictions(path, len(mpii.joints), MPII, release_origin("mpii"))
    result = evaluate("pckh", predictions, mpii, skeleton)
    assert percent(result, "means", "pckh_mean")[0] == pytest.approx(82.34, abs=0.005)
    assert percent(result, "means", "pckh_unweighted")[0] == pytest.approx(81.46, abs=0.005)
