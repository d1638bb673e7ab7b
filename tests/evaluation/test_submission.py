"""Submissions: the release of MPII filled in and read back, COCO's zip, people found in boxes."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from src.datasets.annotations import Annotations
from src.datasets.mpii import MPII as RELEASE
from src.datasets.mpii import OFFICIAL
from src.datasets.skeletons import COCO, LSP, MPII
from src.errors import UserError
from src.evaluation.coco import is_results, people_in_boxes, read_results, similarities, write_zip
from src.evaluation.submission import write_mpii
from tests.releases import write_mpii_official


@pytest.fixture
def people(tmp_path: Path) -> Annotations:
    """The test people of a small release in tmp_path: two in the fourth picture."""
    write_mpii_official(tmp_path)
    return RELEASE.read(tmp_path, "test", 0.0)


def predictions(people: Annotations) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 90, (len(people), 16, 2)).round(2)


def struct(path: Path) -> Any:
    return scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False)["RELEASE"]


def test_the_release_comes_back_with_the_predictions_in_it(people: Annotations, tmp_path: Path) -> None:
    coords, target = predictions(people), tmp_path / "submission.mat"
    order = np.array([1, 0])
    write_mpii(target, tmp_path / OFFICIAL[0], coords[order], people.select(order), MPII)
    before, after = struct(tmp_path / OFFICIAL[0]), struct(target)
    assert (after.img_train == before.img_train).all() and len(after.annolist) == len(before.annolist)
    for row in range(len(people)):
        rect = after.annolist[people.index[row]].annorect[people.person_id[row]]
        own = before.annolist[people.index[row]].annorect[people.person_id[row]]
        assert (rect.scale, rect.objpos.x, rect.objpos.y) == (own.scale, own.objpos.x, own.objpos.y)
        points = rect.annopoints.point
        assert [point.id for point in points] == list(range(16))
        np.testing.assert_array_equal([(point.x, point.y) for point in points], coords[row] + 1)
    for split in ("train", "valid"):  # who has been annotated is as before
        again, known = (RELEASE.read(folder, split, 0.0) for folder in (moved(target, tmp_path), tmp_path))
        np.testing.assert_array_equal(again.joints, known.joints)
        np.testing.assert_array_equal(again.visible, known.visible)


def moved(target: Path, beside: Path) -> Path:
    """A folder with a submission in the place of the release."""
    folder = beside / "again"
    (folder / "annot").mkdir(parents=True, exist_ok=True)
    (folder / OFFICIAL[0]).write_bytes(target.read_bytes())
    for path in (beside / "annot").iterdir():
        (folder / "annot" / path.name).write_bytes(path.read_bytes())
    return folder


def test_who_is_not_predicted_has_no_points(people: Annotations, tmp_path: Path) -> None:
    target = tmp_path / "submission.mat"
    write_mpii(target, tmp_path / OFFICIAL[0], predictions(people)[:1], people.select(np.array([0])), MPII)
    first, second = struct(target).annolist[people.index[0]].annorect
    assert len(first.annopoints.point) == 16 and np.size(second.annopoints) == 0


@pytest.mark.parametrize(
    ("change", "skeleton", "message"),
    [
        ({}, LSP, "lsp lacks pelvis, thorax"),
        ({"index": np.array([0, 0])}, MPII, "picture 1 of the release is not 000000004.jpg"),
        ({"index": np.array([99, 99])}, MPII, "picture 100 of the release is not"),
        (
            {"index": np.array([0, 0]), "images": np.array([b"images/000000001.jpg"] * 2)},
            MPII,
            "000000001.jpg is a training picture",
        ),
        ({"person_id": np.array([0, 7])}, MPII, "RELEASE is not as released"),
    ],
)
def test_wrong_submissions(
    people: Annotations, tmp_path: Path, change: dict[str, Any], skeleton: Any, message: str
) -> None:
    coords = predictions(people)[:, : skeleton.num_joints]
    with pytest.raises(UserError, match=message):
        target = tmp_path / "submission.mat"
        write_mpii(target, tmp_path / OFFICIAL[0], coords, replace(people, **change), skeleton)
    assert not list(tmp_path.glob("*submission*"))


def test_zip(tmp_path: Path) -> None:
    results = [{"image_id": 1, "category_id": 1, "keypoints": [1.5, 2, 1] * 17, "score": 0.5}]
    path = tmp_path / "person_keypoints_test-dev2017_ours_results.zip"
    write_zip(path, results)
    with zipfile.ZipFile(path) as archive:
        (name,) = archive.namelist()
        assert name == "person_keypoints_test-dev2017_ours_results.json"
        assert json.loads(archive.read(name)) == results
    (tmp_path / "r.json").write_text(json.dumps(results))
    (tmp_path / "p.json").write_text('{"preds": []}')
    assert is_results(tmp_path / "r.json") and read_results(tmp_path / "r.json") == results
    assert (
        not is_results(tmp_path / "p.json") and not is_results(path) and not is_results(tmp_path / "no.json")
    )


def test_similarity_of_people_is_that_of_the_formula() -> None:
    random = np.random.default_rng(0)
    joints, area = random.uniform(0, 50, (3, 17, 2)), np.array([900.0, 1600.0, 2500.0])
    found = similarities(joints, area, COCO.sigmas)
    squares = ((joints[0] - joints[2]) ** 2).sum(1)
    expected = np.mean(np.exp(-squares / (2 * 1700 * (2 * np.array(COCO.sigmas)) ** 2)))
    assert found[0, 2] == found[2, 0] == pytest.approx(expected)
    assert found.diagonal() == pytest.approx(1)


def test_people_in_boxes_are_rescored_and_found_once() -> None:
    """Of five the second is the first again, with a lower score; the fourth the third, with a higher one."""
    joints = np.random.default_rng(0).uniform(0, 100, (17, 2))
    coords = np.stack([joints, joints + 0.5, joints + 300, joints + 300.5, joints + 600])
    score = np.full((5, 17), 0.5)
    score[0, :16] = 0.1  # too unsure to count
    score[4] = 0.2
    box_score = np.array([0.9, 0.5, 0.5, 0.8, 1.0])
    found = people_in_boxes(coords, score, box_score, np.full(5, 1e4), COCO.sigmas)
    np.testing.assert_allclose(found.person_score, [0.45, 0.4, 0])
    np.testing.assert_array_equal(found.joints, coords[[0, 3, 4]])
