"""Average precision: as pycocotools gives it by its own files, known by hand, and of nobody."""

import contextlib
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO as Official
from pycocotools.cocoeval import COCOeval

from src.datasets.coco import read_scenes
from src.datasets.scene_annotations import SceneAnnotations
from src.datasets.skeletons import COCO, LSP, Skeleton
from src.errors import UserError
from src.evaluation import bootstrap
from src.evaluation.coco import (
    FIGURES,
    coco_results,
    evaluate_ap,
    figure_intervals,
    prepare,
    read_results,
    score,
    write_results,
)
from src.evaluation.grouping import People

SIDE = 100.0  # of the people below, in pixels


def record(skeleton: Skeleton = COCO, pictures: int = 3, people: int = 2) -> SceneAnnotations:
    """People in a row, all joints visible, of a size that counts as large."""
    total, random = pictures * people, np.random.default_rng(0)
    corner = np.tile([[[0.0, 0.0]], [[300.0, 0.0]]], (pictures, 1, 1))[:total]
    return SceneAnnotations(
        name="people",
        skeleton=skeleton,
        root=Path(),
        category=1,
        images=np.array([b"a.jpg"] * pictures),
        image_id=10 + np.arange(pictures),
        size=np.full((pictures, 2), 500),
        first=np.arange(0, total + 1, people),
        joints=corner + random.uniform(0, SIDE, (total, skeleton.num_joints, 2)).round(),
        visible=np.full((total, skeleton.num_joints), 2),
        area=np.full(total, SIDE**2),
        box=np.concatenate([corner[:, 0], np.full((total, 2), SIDE)], axis=1),
        crowd=np.zeros(total, bool),
        person_id=np.arange(total),
        outlines=np.zeros(0),
        outline_first=np.zeros(total + 1),
    )


def found(truth: SceneAnnotations, offset: np.ndarray | float = 0.0) -> list[People]:
    """Everybody of the truth, that far off."""
    joints = truth.joints + np.float32(offset)
    score = np.ones(joints.shape[:2], np.float32)
    return [
        People(joints[a:b], score[a:b], np.linspace(1, 0.5, b - a, dtype=np.float32))
        for a, b in zip(truth.first, truth.first[1:], strict=False)
    ]


def ap(truth: SceneAnnotations, people: list[People]) -> dict[str, float]:
    return evaluate_ap(truth, coco_results(people, truth.image_id, truth.category))


@pytest.mark.parametrize("skeleton", [COCO, LSP], ids=["coco", "lsp"])
def test_perfect_people(skeleton):
    """One of them has the number 0, which to pycocotools would be nobody."""
    truth = record(skeleton)
    figures = ap(truth, found(truth))
    assert tuple(figures) == FIGURES
    small = {name: value for name, value in figures.items() if name.endswith("M")}
    assert all(map(math.isnan, small.values())), "nobody is of medium size"
    assert {value for name, value in figures.items() if name not in small} == {1.0}


@pytest.mark.parametrize(("similarity", "share"), [(0.82, 0.7), (0.51, 0.1), (0.49, 0.0)])
def test_similarity_by_the_sigmas_of_the_skeleton(similarity, share):
    """All joints at a distance of which the similarity is known: so many of the ten thresholds are passed."""
    truth = record(LSP)
    distance = np.sqrt(-2 * SIDE**2 * np.log(similarity)) * 2 * np.array(LSP.sigmas)
    offset = np.stack([distance, np.zeros_like(distance)], axis=1)
    figures = ap(truth, found(truth, offset))
    assert figures["AP"] == figures["AR"] == pytest.approx(share)


def test_nobody_found_is_0_and_nobody_annotated_is_nothing():
    truth = record()
    nobody = [
        person._replace(**{key: value[:0] for key, value in person._asdict().items()})
        for person in found(truth)
    ]
    assert coco_results(nobody, truth.image_id) == []
    assert ap(truth, nobody)["AP"] == 0 and ap(truth, nobody)["ARL"] == 0
    empty = truth.select(np.zeros(3, bool))
    assert all(map(math.isnan, ap(empty, []).values()))
    unlabelled = replace(truth, visible=np.zeros_like(truth.visible))
    assert all(map(math.isnan, ap(unlabelled, found(truth)).values()))


def test_a_person_missed_and_one_too_many_cost():
    truth = record(pictures=10, people=1)
    people = found(truth)
    people[0] = people[0]._replace(joints=people[0].joints + 1000)
    figures = ap(truth, people)
    assert figures["AR"] == pytest.approx(0.9)
    # the wrong one comes first among equal scores: 9 of 10, at recalls 0 to 0.9 of 0 to 1 in hundredths
    assert figures["AP"] == pytest.approx(0.9 * 91 / 101)


def test_joints_not_found_are_written_at_the_mean_of_the_others():
    joints = np.full((1, 17, 2), np.nan, np.float32)
    joints[0, 3], joints[0, 5] = (10, 20), (30, 50.0004)
    (row,) = coco_results([People(joints, np.zeros((1, 17)), np.array([0.25], np.float32))], [7], 3)
    assert row["image_id"] == 7 and row["category_id"] == 3 and row["score"] == 0.25
    assert row["keypoints"] == [*[20, 35, 1] * 3, 10, 20, 1, 20, 35, 1, 30, 50, 1, *[20, 35, 1] * 11]


def test_files_of_results(tmp_path):
    truth = record()
    results = coco_results(found(truth, 0.3), truth.image_id)
    path = tmp_path / "results.json"
    write_results(path, results)
    assert read_results(path) == results and len(results) == 6
    assert json.loads(path.read_text()) == results
    write_results(path, [])
    assert read_results(path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "no list of results"),
        ("[1]", "result 0 is no object with image_id"),
        ('[{"image_id": 1, "score": 1}]', "result 0 is no object with image_id"),
        ('[{"image_id": [1], "category_id": 1, "keypoints": [], "score": 1}]', "no whole number"),
        ("[{", "damaged or no JSON"),
    ],
)
def test_files_that_are_none(tmp_path, content, message):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_results(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": [1.0] * 48}, "1 of 6 results do not hold x, y and v of 17 joints"),
        ({"keypoints": None}, "17 joints"),
        ({"keypoints": ["a"] * 51}, "no numbers"),
        ({"score": "high"}, "no numbers"),
        ({"score": float("nan")}, "not finite"),
        ({"keypoints": [1e400] * 51}, "not finite"),
        ({"image_id": 99}, "1 of 6 results are about pictures that people does not have, such as 99"),
    ],
)
def test_results_that_are_not_of_the_pictures(change, message):
    truth = record()
    results = coco_results(found(truth), truth.image_id)
    results[3] |= change
    with pytest.raises(UserError, match=message):
        evaluate_ap(truth, results)


def test_figures_are_those_of_pycocotools_own_files(shared_data):
    """People of COCO with noise, some missed and some invented; pictures with crowds and without people."""
    folder = shared_data("coco")
    truth = read_scenes(folder, "valid")
    random = np.random.default_rng(0)
    rows = np.flatnonzero(truth.labelled)
    rows = np.concatenate([rows[random.random(len(rows)) < 0.8], random.choice(rows, 20)])
    joints = truth.joints[rows] + random.normal(0, 4, (len(rows), 17, 2))
    results = [
        {
            "image_id": int(truth.image_id[picture]),
            "category_id": 1,
            "keypoints": np.insert(person, 2, 1, axis=1).ravel().tolist(),
            "score": float(score),
        }
        for picture, person, score in zip(truth.image_of[rows], joints, random.random(len(rows)), strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        official = Official(str(folder / "annotations/person_keypoints_val2017.json"))
        scored = COCOeval(official, official.loadRes([dict(row) for row in results]), "keypoints")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    figures = evaluate_ap(truth, results)
    assert 0.2 < figures["AP"] < 0.9
    assert list(figures.values()) == scored.stats.tolist()


def many(pictures: int = 40) -> tuple[SceneAnnotations, list[People]]:
    """People of all sizes, nobody in some pictures; found with noise, some not at all and some twice."""
    truth, random = record(pictures=pictures), np.random.default_rng(1)
    size = random.choice([20.0, 60.0, 200.0], len(truth.area))
    visible = truth.visible * (np.repeat(np.arange(pictures), 2) % 7 > 0)[:, None].astype(np.int8)
    truth = replace(truth, area=size**2, visible=visible)
    people = []
    for each in found(truth):
        chosen = random.choice(2, random.integers(0, 4))
        joints = each.joints[chosen] + random.normal(0, 6, (len(chosen), 17, 2)).astype(np.float32)
        people.append(People(joints, each.score[chosen], random.random(len(chosen)).astype(np.float32)))
    return truth, people


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_figures_of_drawn_pictures_are_those_of_pycocotools(share, monkeypatch):
    """Who draws some pictures once and the others never scores the truth that these are."""
    truth, people = many()
    chosen = np.random.default_rng(2).random(len(truth)) < share
    weights = np.tile(chosen.astype(np.float32), (3, 1))
    monkeypatch.setattr(bootstrap, "_weights", lambda *_: weights)
    prepared = prepare(truth, coco_results(people, truth.image_id))
    score(prepared)
    ends = figure_intervals(prepared, 3)
    few = truth.select(chosen)
    expected = ap(few, [each for each, here in zip(people, chosen, strict=True) if here])
    assert 0 < expected["AP"] < 1 and set(ends) == set(FIGURES)
    for name, value in expected.items():
        assert ends[name] == pytest.approx((value, value), abs=1e-9), name


def test_intervals_of_figures():
    truth, people = many()
    prepared = prepare(truth, coco_results(people, truth.image_id))
    figures = score(prepared)
    ends = figure_intervals(prepared, 200)
    assert all(low < figures[name] < high for name, (low, high) in ends.items())
    # a tenth of the pictures is a third as sure
    truth, people = many(400)
    prepared = prepare(truth, coco_results(people, truth.image_id))
    score(prepared)
    low, high = figure_intervals(prepared, 200)["AP"]
    assert 2 < (ends["AP"][1] - ends["AP"][0]) / (high - low) < 5
    nobody = replace(truth, visible=np.zeros_like(truth.visible))
    prepared = prepare(nobody, [])
    score(prepared)
    assert figure_intervals(prepared, 5) == {}
