"""All forms of MPII give the same people, whatever each does with origin, boxes and hidden joints."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from src.datasets import mpii, readers
from src.datasets.annotations import HIDDEN, UNLABELLED, VISIBLE
from src.errors import UserError
from tests.releases import (
    mpii_h5_fields,
    mpii_head_sizes,
    mpii_people,
    write_h5,
    write_mpii_annot_h5,
    write_mpii_flagged_json,
    write_mpii_h5,
    write_mpii_official,
    write_mpii_split_json,
)

FORMS: dict[str, Callable[[Path], None]] = {
    "baked h5": lambda folder: write_mpii_h5(folder, baked=True),
    "raw h5": lambda folder: write_mpii_h5(folder, baked=False),
    "annot.h5": write_mpii_annot_h5,
    "split json": write_mpii_split_json,
    "flagged json": write_mpii_flagged_json,
    "official": write_mpii_official,
}
CLOSE = 1e-4  # pixels; coordinates of some 100 px in float32


@pytest.mark.parametrize("split", ["train", "valid"])
@pytest.mark.parametrize("form", FORMS)
def test_all_forms_give_the_same_people(tmp_path: Path, form: str, split: str) -> None:
    FORMS[form](tmp_path)
    people, found = mpii_people(), readers.read("mpii", tmp_path, split)
    rows = people["split"] == split
    visible = people["visible"][rows]
    labelled = visible > UNLABELLED

    assert found.images.tolist() == [b"images/" + name.encode() for name in people["images"][rows]]
    np.testing.assert_allclose(found.joints[labelled], people["joints"][rows][labelled] - 1, atol=CLOSE)
    np.testing.assert_allclose(found.center, people["center"][rows] - 1, atol=CLOSE)
    np.testing.assert_allclose(found.scale, people["scale"][rows], rtol=1e-6)
    assert (found.enlarge == 1.25).all() and (found.shift == 15).all()
    assert found.person_id.tolist() == people["person"][rows].tolist()
    knows_hidden = form != "split json"  # its joints_vis is 1 for every labelled joint
    assert (found.visible == (visible if knows_hidden else np.where(labelled, VISIBLE, UNLABELLED))).all()
    if form != "split json":  # it numbers nothing; pictures are counted
        assert found.index.tolist() == people["index"][rows].tolist()
    if "json" in form and split == "train":
        assert np.isnan(found.norm).all()
    else:
        np.testing.assert_allclose(found.norm, mpii_head_sizes(people)[rows], rtol=1e-6)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "flagged json"])
def test_test_people_have_boxes_and_no_joints(tmp_path: Path, form: str) -> None:
    FORMS[form](tmp_path)
    people, found = mpii_people(), readers.read("mpii", tmp_path, "test")
    rows = people["split"] == "test"
    assert (found.visible == UNLABELLED).all() and np.isnan(found.norm).all()
    np.testing.assert_allclose(found.center, people["center"][rows] - 1, atol=CLOSE)
    np.testing.assert_allclose(found.scale, people["scale"][rows], rtol=1e-6)


@pytest.mark.parametrize(
    ("form", "said"),
    [("baked h5", r"annot/valid.h5, baked boxes undone"), ("raw h5", r"annot/valid.h5, raw boxes"),
     ("official", r"mpii_human_pose_v1_u12_1.mat, raw boxes")],
)  # fmt: skip
def test_the_name_says_what_was_read(tmp_path: Path, form: str, said: str) -> None:
    FORMS[form](tmp_path)
    assert readers.read("mpii", tmp_path, "valid").name == f"mpii valid ({said})"


def test_joints_beyond_the_edge_are_labelled() -> None:
    part = np.array([[[30.0, -4], [0, 12], [12, 0], [0, 0], [-1, -1], [-1, 7], [5, 5]]])
    marks = mpii.mark_joints(part, np.array([[1, 1, 0, 1, 1, 0, 0]]))
    assert marks.tolist() == [[VISIBLE, VISIBLE, HIDDEN, UNLABELLED, UNLABELLED, HIDDEN, HIDDEN]]


def test_baked_boxes_are_told_by_whole_centres() -> None:
    center, scale = np.array([[594.0, 257.0], [966, 340]]), np.array([3.021046, 4.718488])
    same = mpii.undo_baked(center, scale)
    assert not same[2] and (same[0] == center).all() and (same[1] == scale).all()
    baked = center + 15 * scale[:, None] * [0, 1]
    undone = mpii.undo_baked(baked.astype(np.float32).astype(float), 1.25 * scale)
    assert undone[2]
    np.testing.assert_allclose(undone[0], center, atol=1e-3)
    np.testing.assert_allclose(undone[1], scale, rtol=1e-6)


def test_names_may_stand_in_a_text_file(tmp_path: Path) -> None:
    fields = mpii_h5_fields(mpii_people())
    names = mpii_people()["images"]
    for key in ("imgname", "istrain", "index", "person", "visible", "normalize"):
        del fields[key]
    write_h5(tmp_path / "train.h5", {key: field[:4] for key, field in fields.items()})
    with pytest.raises(UserError, match=r"train_images\.txt"):
        readers.read("mpii", tmp_path, "train")
    (tmp_path / "train_images.txt").write_text("\n".join(names[:4]))
    found = readers.read("mpii", tmp_path, "train")
    assert found.images.tolist() == [b"images/" + name.encode() for name in names[:4]]
    assert found.index.tolist() == [0, 0, 1, 2] and found.person_id.tolist() == [0, 1, 0, 0]
    (tmp_path / "train_images.txt").write_text("\n".join(names[:3]))
    with pytest.raises(UserError, match="4 people, but 3 picture names"):
        readers.read("mpii", tmp_path, "train")


def test_without_the_validation_list(tmp_path: Path) -> None:
    write_mpii_annot_h5(tmp_path)
    (tmp_path / "annot" / "valid_images.txt").unlink()
    assert len(readers.read("mpii", tmp_path, "test")) == 2
    for split in ("train", "valid"):
        with pytest.raises(
            UserError, match=r"put valid\.h5 .* into .*annot; it is in data/mpii/annot of https://"
        ):
            readers.read("mpii", tmp_path, split)


def test_an_ambiguous_validation_list_asks_for_the_h5(tmp_path: Path) -> None:
    write_mpii_annot_h5(tmp_path)
    people = mpii_people()
    (tmp_path / "annot" / "valid_images.txt").write_text(
        people["images"][0] + "\n"
    )  # a picture of two people
    with pytest.raises(UserError, match=r"names 1 people, and .* has 2 in their pictures; put valid\.h5"):
        readers.read("mpii", tmp_path, "valid")


def test_people_without_a_box_are_left_out(tmp_path: Path) -> None:
    fields = mpii_h5_fields(mpii_people())
    fields["scale"] = np.array([0.3, 0.3, 0.3, 0.3, -1, 0.3])
    write_h5(tmp_path / "annot.h5", fields)
    found = readers.read("mpii", tmp_path, "test")
    assert len(found) == 1 and "1 without a box left out" in found.name


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        (
            "part",
            lambda part: part[:, :14],
            r"part is float64 of shape \(6, 14, 2\), expected .*\(N, 16, 2\)",
        ),
        ("center", lambda center: center[:4], r"center is float64 of shape \(4, 2\), expected .*\(6, 2\)"),
        ("part", lambda part: np.where(part > 60, np.nan, part), "a joint that is not a finite number"),
        ("part", lambda part: np.zeros_like(part), "no labelled joint"),
        ("imgname", lambda name: name[:3], "6 people, but 3 picture names"),
    ],
)
def test_wrong_arrays_are_refused(
    tmp_path: Path, key: str, change: Callable[[Any], Any], message: str
) -> None:
    write_mpii_annot_h5(tmp_path)
    fields = mpii_h5_fields(mpii_people())
    fields[key] = change(fields[key])
    write_h5(tmp_path / "annot.h5", fields)
    with pytest.raises(UserError, match=message):
        readers.read("mpii", tmp_path, "train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"image": "a.jpg"', "damaged or no JSON file"),
        ("{}", "is not a list of people"),
        (
            '[{"image": "a.jpg", "center": [1, 2], "scale": 1, "joints": [[1, 2]], "joints_vis": [1]}]',
            "joints is",
        ),
        (
            '[{"image": "a.jpg", "center": [1, 2], "scale": 1}]',
            "not every record has finite numbers .* under 'joints'",
        ),
    ],
)
def test_wrong_json_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(UserError, match=message):
        readers.read("mpii", tmp_path, "train")


@pytest.mark.parametrize("content", [{"RELEASE": {"act": 1}}, {"RELEASE": {"annolist": 1, "img_train": 1}}])
def test_another_official_file_is_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    scipy.io.savemat(tmp_path / "mpii_human_pose_v1_u12_1.mat", content)
    with pytest.raises(UserError, match=r"is it the right file|is not as in the release"):
        readers.read("mpii", tmp_path, "test")


def test_real_validation_people(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("mpii")
    valid = readers.read("mpii", folder, "valid")
    assert len(valid) == 2958 and len(np.unique(valid.images)) == 2729
    assert [(valid.visible == mark).sum() for mark in (UNLABELLED, HIDDEN, VISIBLE)] == [3088, 10243, 33997]
    assert valid.name.endswith("baked boxes undone, joints of detections_our_format.mat)")
    # The centres that were annotated are whole; the first person's is (966, 340), counted from 1.
    assert (valid.center == np.round(valid.center)).all() and valid.center[0].tolist() == [965, 339]
    assert valid.scale[0] == pytest.approx(4.718488, abs=1e-6)


def test_real_ground_truth_agrees(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("mpii")
    valid = readers.read("mpii", folder, "valid")
    truth = scipy.io.loadmat(folder / "annot" / "detections_our_format.mat")
    # The h5 stores lengths and joints rounded; a few joints were annotated twice, differently.
    assert np.abs(mpii.head_sizes(truth["headboxes_src"]) - valid.norm).max() < 1e-4
    labelled = valid.visible > UNLABELLED
    assert (labelled == (truth["jnt_missing"].T == 0)).all()
    # The joints are those of the ground truth, not the h5's, which are cut to whole pixels.
    distance = np.abs(truth["pos_gt_src"].transpose(2, 0, 1) - 1 - valid.joints).max(2)
    assert distance[labelled].max() < 1e-3
