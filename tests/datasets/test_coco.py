"""COCO keypoints and their like: layouts and splits, what is read, what is refused, and the way back."""

import contextlib
import copy
import io
import json
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO as PycocoCOCO
from pycocotools.cocoeval import COCOeval

from src.datasets import readers
from src.datasets.annotations import HIDDEN, UNLABELLED, VISIBLE, Detections
from src.datasets.coco import detected_people, people_of, read_scenes
from src.datasets.coco_json import load_coco_json, to_coco
from src.datasets.crops import PersonCrops
from src.datasets.people import open_people
from src.datasets.scene_annotations import SceneAnnotations
from src.datasets.skeletons import COCO, MPII
from src.errors import UserError
from src.evaluation.protocols import Truth, evaluate
from tests.releases import COCO_NAMES, HEIGHT, WIDTH, coco_content, make_coco, write_coco

Content = dict[str, Any]


def read_content(folder: Path, content: Content) -> SceneAnnotations:
    path = folder / "own.json"
    path.write_text(json.dumps(content))
    return load_coco_json(path, [folder], "own", {}, folder / "skeleton.yaml")


# ------------------------------------------------------------------------------------------------- reading


def test_pictures_and_people_are_those_of_the_file(tmp_path: Path) -> None:
    content = coco_content()
    record = read_content(tmp_path, content)
    assert record.skeleton is COCO and record.category == 1
    assert record.image_id.tolist() == [11, 12, 13, 14] and record.images[0] == b"000000000011.jpg"
    assert record.size.tolist() == [[WIDTH, HEIGHT]] * 4
    assert record.first.tolist() == [0, 2, 4, 4, 5] and record.image_of.tolist() == [0, 0, 1, 1, 3]
    assert record.counts.tolist() == [2, 0, 0, 1]
    assert record.crowd.tolist() == [False, False, False, True, False]
    assert record.labelled.tolist() == [True, True, False, False, True]
    for row, annotation in enumerate(content["annotations"]):
        points = np.array(annotation["keypoints"]).reshape(-1, 3)
        np.testing.assert_array_equal(record.joints[row], points[:, :2])
        np.testing.assert_array_equal(record.visible[row], points[:, 2])
        assert record.box[row].tolist() == annotation["bbox"] and record.area[row] == annotation["area"]
        assert record.person_id[row] == annotation["id"]
    assert set(record.visible[1].tolist()) == {HIDDEN, UNLABELLED}  # 1 in COCO is hidden, 2 visible
    assert set(record.visible[0].tolist()) == {VISIBLE, UNLABELLED}


def test_people_may_come_in_any_order(tmp_path: Path) -> None:
    content = coco_content()
    straight = read_content(tmp_path, content)
    content["annotations"].reverse()
    reversed_ = read_content(tmp_path, content)
    assert reversed_.first.tolist() == straight.first.tolist()
    assert reversed_.person_id.tolist() == [1001, 1000, 1003, 1002, 1004]


@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":"), (" ,\n", ":\t ")])
def test_outlines_are_those_of_the_file(tmp_path: Path, separators: tuple[str, str]) -> None:
    """They are folded into strings before the JSON is parsed, however it is written."""
    content = coco_content()
    several = [[1.5, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12.25]]
    content["annotations"][2]["segmentation"] = several
    content["annotations"].append(
        {"image_id": 13, "category_id": 1, "id": 7, "bbox": [1, 2, 3, 4], "segmentation": []}
    )
    path = tmp_path / "own.json"
    path.write_text(json.dumps(content, separators=separators))
    record = load_coco_json(path, [tmp_path], "own", {}, tmp_path / "skeleton.yaml")
    assert json.loads(record.outline(2)) == several
    assert json.loads(record.outline(3)) == content["annotations"][3]["segmentation"]
    assert record.person_id[4] == 7 and record.outline(4) == b""
    for row in (0, 1, 5):  # of people with labelled joints none is kept
        assert record.outline(row) == b""


@pytest.mark.parametrize("null", [False, True])
def test_what_own_tools_leave_out_is_filled_in(tmp_path: Path, null: bool) -> None:
    content = coco_content()
    for annotation in content["annotations"]:
        for key in ("segmentation", "num_keypoints", "area", "iscrowd", "bbox"):
            if null:
                annotation[key] = None
            else:
                del annotation[key]
    del content["annotations"][2]["keypoints"]
    record = read_content(tmp_path, content)
    assert not record.crowd.any() and record.labelled.tolist() == [True, True, False, False, True]
    joints = record.joints[0][record.visible[0] > UNLABELLED]
    low, high = joints.min(0), joints.max(0)
    # a tenth larger than the box around the joints, about the same middle
    np.testing.assert_allclose(record.box[0, 2:], 1.1 * (high - low), rtol=1e-6)
    np.testing.assert_allclose(record.box[0, :2] + record.box[0, 2:] / 2, (low + high) / 2, rtol=1e-6)
    np.testing.assert_allclose(record.area[0], record.box[0, 2] * record.box[0, 3])
    assert record.box[2].tolist() == [0, 0, 0, 0]


def test_other_categories_are_left_out(tmp_path: Path) -> None:
    content = coco_content()
    content["categories"].append({"id": 2, "name": "dog"})
    content["annotations"].append({"id": 5, "image_id": 13, "category_id": 2, "bbox": [0, 0, 9, 9]})
    assert read_content(tmp_path, content).counts.tolist() == [2, 0, 0, 1]


def test_a_file_without_people_is_read(tmp_path: Path) -> None:
    record = read_content(tmp_path, coco_content() | {"annotations": []})
    assert len(record) == 4 and not record.counts.any()
    with pytest.raises(UserError, match="own has no people with a labelled joint"):
        record.for_training()


# ----------------------------------------------------------------------------------------- what is refused


def without(key: str) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        del content[key]

    return change


def changed(part: str, place: int, **values: Any) -> Callable[[Content], None]:
    """A change of one entry; a value of None deletes."""

    def change(content: Content) -> None:
        entry = content[part][place]
        for key, value in values.items():
            if value is None:
                del entry[key]
            else:
                entry[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("annotations"), "has no list of annotations; is it a COCO keypoint file"),
        (without("images"), "has no list of images"),
        (lambda content: content.clear(), "is no COCO keypoint file: it must hold images, annotations, cat"),
        (changed("categories", 0, keypoints=None), "no category names keypoints; is it a keypoint file"),
        (changed("categories", 0, keypoints=[]), "no category names keypoints"),
        (changed("categories", 0, keypoints=["nose", 3], skeleton=[]), "the joints must be a list of names"),
        (changed("categories", 0, keypoints=["a", "a"], skeleton=[]), "the joint 'a' occurs twice"),
        (changed("categories", 0, keypoints=["left eye"], skeleton=None), "'left eye' has no 'right eye'"),
        (changed("categories", 0, skeleton=[[1]]), r"pairs of numbers from 1 to 17, .* not \[\[1\]\]"),
        (changed("categories", 0, skeleton=[[1, 2], [17, 18]]), r"numbers from 1 to 17, .* not \(17, 18\)"),
        (changed("categories", 0, keypoints=["x"], skeleton=[[0, 1]]), r"numbers from 1 to 1, .* \(0, 1\)"),
        (changed("categories", 0, id="one"), "id of category number 0 .* is no whole number, but 'one'"),
        (changed("annotations", 1, keypoints=[1, 2, 2]), "annotation 1001 are 3 numbers, but 17 joints want"),
        (changed("annotations", 1, keypoints=7), "keypoints of annotation 1001 are 7, but 17 joints"),
        (changed("annotations", 0, keypoints=[1, "a", 0] * 17), "keypoints of annotation 1000 hold what is"),
        (changed("annotations", 1, keypoints=[1, None, 2] * 17), "a joint that is not a finite"),
        (changed("annotations", 1, keypoints="x" * 51), "of annotation 1001 hold what is no number"),
        (changed("annotations", 1, keypoints=[10**400] * 51), "of annotation 1001 hold what is no number"),
        (changed("annotations", 0, keypoints=[1, 2, 3] * 17), "annotation 1000 has a visibility other than"),
        (changed("annotations", 0, keypoints=[float("nan"), 2, 2] * 17), "a joint that is not a finite"),
        (changed("annotations", 0, area=float("inf")), "person 1000 .* has an area that is not a finite"),
        (changed("annotations", 0, area="large"), "area of annotation 1000 is no number, but 'large'"),
        (changed("annotations", 1, area=10**400), r"area of annotation 1001 is no number, but 10+\.\.\.0+\b"),
        (changed("annotations", 1, bbox=[1, 2, 3, "x"]), "bbox of annotation 1001 is no number, but 'x'"),
        (changed("annotations", 0, bbox=[1, 2, 3]), r"bbox of annotation 1000 is \[1, 2, 3\], not \[x, y"),
        (changed("annotations", 0, bbox=[1, 2, float("inf"), 3]), "has a box that is not of finite numbers"),
        (changed("annotations", 0, image_id=99), "annotation 1000 is of image 99, which is not among"),
        (changed("annotations", 0, image_id=None), "annotation number 0 .* has no image_id"),
        (changed("annotations", 0, category_id=None), "annotation number 0 .* has no category_id"),
        (changed("annotations", 0, id=1004), r"annotation id 1004 occurs 2 times \(1 ids"),
        (changed("annotations", 0, id=1.5), "id of annotation number 0 .* is no whole number, but 1.5"),
        (changed("images", 1, id=11), "the image id 11 occurs 2 times"),
        (changed("images", 1, file_name=None), "image number 1 .* has no file_name"),
        (changed("images", 1, file_name=5), "the file_name of an image is no text"),
        (changed("images", 1, width="wide"), "width of image 12 is no number, but 'wide'"),
        (changed("images", 1, height=None), "image number 1 .* has no height"),
        (changed("images", 1, width=0), "picture 000000000012.jpg is annotated as 0 x 72 pixels large"),
        (changed("images", 1, width=10**9, height=10**9), "is annotated as 1000000000 x 1000000000 pixels"),
        (changed("images", 1, width=1e30), "size of row 1 is 1e.30, no whole number"),
        (changed("images", 1, id=[11]), r"id of image number 1 .* is no whole number, but \[11\]"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(
    tmp_path: Path, change: Callable[[Content], None], message: str
) -> None:
    content = coco_content()
    change(content)
    with pytest.raises(UserError, match=message) as error:
        read_content(tmp_path, content)
    message = str(error.value)
    assert "\n" not in message and any(place in message for place in ("own.json", "person", "own: "))


def test_categories_with_different_keypoints_are_refused(tmp_path: Path) -> None:
    content = coco_content()
    content["categories"].append({"id": 2, "name": "dog", "keypoints": ["tail"]})
    with pytest.raises(UserError, match="the categories person, dog have different keypoints"):
        read_content(tmp_path, content)


# ---------------------------------------------------------------------------------------- layouts and splits


@pytest.mark.parametrize("year", [2014, 2017])
@pytest.mark.parametrize("folder", ["images/{}", "{}"])
def test_both_years_and_both_places_of_pictures_are_found(tmp_path: Path, year: int, folder: str) -> None:
    for split in ("train", "val"):
        name = f"{split}{year}"
        write_coco(tmp_path, coco_content(), f"person_keypoints_{name}", folder.format(name))
    for split in ("train", "valid"):
        record = read_scenes(tmp_path, split)
        assert len(record) == 4 and record.path(2).is_file()


def test_the_newer_year_is_preferred_and_years_are_not_mixed(tmp_path: Path) -> None:
    make_coco(tmp_path, 2014)
    make_coco(tmp_path, 2017)
    assert read_scenes(tmp_path, "train").root.name == "train2017"
    assert read_scenes(tmp_path, "train", year=2014).root.name == "train2014"
    (tmp_path / "annotations" / "person_keypoints_val2017.json").unlink()
    with pytest.raises(
        UserError, match=r"holds no annotations/person_keypoints_val2017\.json; get the train and"
    ):
        read_scenes(tmp_path, "valid")


def test_a_list_of_ids_can_be_held_out(tmp_path: Path) -> None:
    make_coco(tmp_path)
    held_out = tmp_path / "valid_id"
    held_out.write_text("14\n11\n")
    train, valid = (read_scenes(tmp_path, split, held_out=held_out) for split in ("train", "valid"))
    assert valid.image_id.tolist() == [11, 14] and valid.counts.tolist() == [2, 1]
    assert train.image_id.tolist() == [12, 13, 15, 16, 17, 18]
    held_out.write_text("14\n500\n501\n")
    with pytest.raises(
        UserError, match=r"valid_id names pictures that .*train2017.json does not have: 2 of 3, suc"
    ):
        read_scenes(tmp_path, "train", held_out=held_out)
    held_out.write_text("14\nx\n")
    with pytest.raises(UserError, match="valid_id must hold one picture id, a whole number, a line"):
        read_scenes(tmp_path, "train", held_out=held_out)
    with pytest.raises(UserError, match="nowhere cannot be read"):
        read_scenes(tmp_path, "train", held_out=tmp_path / "nowhere")


def test_own_files_need_no_special_names(tmp_path: Path) -> None:
    """One JSON for all: the last pictures are held out. Two, by their names, beside one folder or two."""
    one, two = tmp_path / "one", tmp_path / "two"
    write_coco(one, coco_content(8), "hands-export", "images")
    train, valid = (read_scenes(one, split, valid_share=0.25) for split in ("train", "valid"))
    assert train.image_id.tolist() == list(range(11, 17)) and valid.image_id.tolist() == [17, 18]
    assert train.path(0).is_file()
    write_coco(two, coco_content(4), "train", "images/train")
    write_coco(two, coco_content(4, 31), "val", "images/val")
    train, valid = (read_scenes(two, split) for split in ("train", "valid"))
    assert valid.image_id.tolist() == [31, 32, 33, 34] and train.path(0).is_file() and valid.path(0).is_file()


def test_missing_files_say_what_to_get(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"cocodataset\.org.*holds annotations/person_keypoints.*prepare.py coco"
    ):
        read_scenes(tmp_path, "train")
    with pytest.raises(UserError, match=r"coco has no split 'val' \(did you mean 'valid'\?\)"):
        read_scenes(tmp_path, "val")


def test_own_joints_are_declared_beside_the_data(tmp_path: Path) -> None:
    content = coco_content()
    del content["categories"][0]["keypoints"]
    write_coco(tmp_path, content, "all", "images")
    names = [name.replace("left_eye", "LeftEye") for name in COCO_NAMES]
    (tmp_path / "skeleton.yaml").write_text(f"joints: [{', '.join(names)}]\nsigmas: {{nose: 0.5}}\n")
    skeleton = read_scenes(tmp_path, "train").skeleton
    assert skeleton.joints == COCO.joints and skeleton.flip_pairs == COCO.flip_pairs
    assert skeleton.sigmas == (0.5, *COCO.sigmas[1:])


# ------------------------------------------------------------------------------------------- crops of people


def test_crops_are_the_boxes_of_people_with_joints(tmp_path: Path) -> None:
    make_coco(tmp_path)
    people = readers.read("coco", tmp_path, "train")
    scenes = read_scenes(tmp_path, "train")
    assert people.person_id.tolist() == scenes.person_id[scenes.labelled].tolist()
    assert people.index.tolist() == [11, 11, 14, 15, 15, 18] and len(people) == 6
    x, y, width, height = 5.0, 6.0, 38.0, 60.0
    np.testing.assert_allclose(people.center[0], (x + width / 2, y + height / 2))
    assert people.scale[0] * 200 == pytest.approx(60) and people.enlarge[0] == 1.25 and people.shift[0] == 0
    assert people.person(0).read(1).pixels.shape == (HEIGHT, WIDTH, 3)


def detections() -> list[Content]:
    """Boxes in the pictures of `coco_content`: 11, 12 and 13."""
    boxes = [(11, [5.0, 6, 38, 60], 0.9), (13, [-10.0, 10, 40, 20], 0.4), (12, [1.5, 2, 30, 40], 0.05)]
    return [{"image_id": image, "category_id": 1, "bbox": box, "score": score} for image, box, score in boxes]


def read_detections(folder: Path, found: Any, least_score: float = 0.0) -> Detections:
    scenes = read_content(folder, coco_content())
    path = folder / "found.json"
    path.write_text(json.dumps(found))
    return detected_people(scenes, path, least_score)


def test_detected_people_have_boxes_and_scores(tmp_path: Path) -> None:
    others = [
        detections()[0] | {"category_id": 18},
        detections()[0] | {"image_id": 999},
        detections()[0] | {"bbox": [float(WIDTH), 5, 10, 10]},  # beyond the edge
    ]
    people = read_detections(tmp_path, others + detections(), 0.1)
    assert people.name == "own (found.json, 2 of 6 boxes)"
    assert people.images.tolist() == [b"000000000011.jpg", b"000000000013.jpg"]
    assert people.index.tolist() == [11, 13] and people.person_id.tolist() == [3, 4]
    np.testing.assert_allclose(people.score, [0.9, 0.4], rtol=1e-6)
    # the second box begins 10 pixels beyond the left edge: 30 x 20 pixels are left
    np.testing.assert_allclose(people.center, [[24, 36], [15, 20]])
    np.testing.assert_allclose(200 * people.scale, [60, 30], rtol=1e-6)
    assert (people.visible == UNLABELLED).all() and people.skeleton is COCO
    assert np.isnan(people.norm).all() and (people.enlarge == 1.25).all()
    last = people.select(np.array([1]))
    assert isinstance(last, Detections) and last.score.tolist() == people.score[1:].tolist()


def test_detections_are_an_option(tmp_path: Path) -> None:
    """Their crops have no joints; without boxes, and in training, people are those that are annotated."""
    make_coco(tmp_path)
    path = tmp_path / "found.json"
    path.write_text(json.dumps([one | {"image_id": one["image_id"] + 90} for one in detections()]))
    given = {"data_dir": tmp_path, "valid_share": 0.2, "coco_year": None, "valid_ids": None}
    options = Namespace(dataset="coco", boxes=path, box_score=0.3, **given)
    people = open_people(options, "valid")
    assert isinstance(people, Detections) and people.index.tolist() == [101, 103]
    sample = PersonCrops(people, 32)[0, 1]
    assert isinstance(sample, dict) and not sample["visible"].any() and sample["image"].any()
    assert (people.with_skeleton(MPII).visible == UNLABELLED).all()
    for nothing in ({}, {"boxes": None, "box_score": 0.0}):
        people = open_people(Namespace(dataset="coco", **nothing, **given), "valid")
        assert not isinstance(people, Detections)


@pytest.mark.parametrize(
    "found, message",
    [
        ({}, "no list of detections"),
        ([3], "no list of detections"),
        ([], "0 of 0 boxes.: no box is of a person"),
        ([detections()[0] | {"image_id": 999}], "0 of 1 boxes.: no box is of a person in these pictures"),
        ([{"image_id": 11, "category_id": 1, "bbox": [1, 2, 3, 4]}], "detection number 0 .* has no score"),
        ([detections()[0] | {"bbox": [1, 2, 3]}], r"bbox of detection 0 is \[1, 2, 3\], not"),
        ([detections()[0] | {"bbox": "abcd"}], "bbox of detection 0 is no number, but 'a'"),
        ([detections()[0] | {"bbox": None}], "number 0 .* not of finite numbers"),
        ([detections()[0] | {"score": float("nan")}], "number 0 .* not of finite numbers"),
        ([detections()[0] | {"score": "high"}], "score of detection 0 is no number, but 'high'"),
        ([detections()[0] | {"image_id": 1.5}], "image_id of detection number 0 .* no whole number, but 1.5"),
        (
            [detections()[0] | {"image_id": 10**30}],
            "image_id of detection number 0 .* no whole number, but 10",
        ),
    ],
)
def test_wrong_detections_are_refused(tmp_path: Path, found: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_detections(tmp_path, found)


def test_own_joints_are_read_and_scored(tmp_path: Path) -> None:
    content = coco_content(8, names=["head", "left_paw", "right_paw", "tail"])
    write_coco(tmp_path, content, "cats", "images")
    people = readers.read("coco", tmp_path, "valid", valid_share=0.5)
    assert people.skeleton.joints == ("head", "left paw", "right paw", "tail") and len(people) == 3
    result = evaluate("pck-box", people.joints.astype(np.float64), Truth.of(people))
    assert result.sections["means"]["pck_box_mean"].scores[0].percent == 100
    assert list(result.sections["groups"]) == ["Head", "Paw", "Tail"]


def test_boxes_are_cut_at_the_edge_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    content = coco_content()
    content["annotations"][0]["bbox"] = [-20, -10, 60, 50]
    content["annotations"][1]["bbox"] = [WIDTH + 5, 0, 30, 30]
    people = people_of(read_content(tmp_path, content))
    assert people.person_id.tolist() == [1000, 1004]
    np.testing.assert_allclose(people.center[0], (20, 20))
    assert people.scale[0] * 200 == pytest.approx(40)


# ------------------------------------------------------------------------------------- the way back, and AP


def evaluated(truth: Content, results: list[Content], sigmas: tuple[float, ...] = COCO.sigmas) -> np.ndarray:
    """The ten figures of pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        gt = PycocoCOCO()
        gt.dataset = copy.deepcopy(truth)
        gt.createIndex()
        evaluation = COCOeval(gt, gt.loadRes(results), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def noisy_results(truth: Content, rng: np.random.Generator, pixels: float) -> list[Content]:
    """Everybody's joints with noise, and somebody who is not there in every picture."""
    joints = len(truth["categories"][0]["keypoints"])
    people = [one for one in truth["annotations"] if one["num_keypoints"]]
    found = [
        (one["image_id"], np.array(one["keypoints"], float).reshape(-1, 3)[:, :2], one["area"])
        for one in people
    ] + [(image["id"], rng.uniform(0, 400, (joints, 2)), 1e4) for image in truth["images"]]
    return [
        {
            "image_id": image,
            "category_id": 1,
            "keypoints": np.column_stack([xy + rng.normal(0, pixels, xy.shape), np.ones(joints)])
            .ravel()
            .tolist(),
            "score": float(rng.random()),
        }
        for image, xy, _ in found
    ]


def test_truth_written_back_is_scored_alike(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    """With crowds and people without joints, who do not count as missed, nor those found there as wrong."""
    folder = shared_data("coco")
    original = json.loads((folder / "annotations" / "person_keypoints_val2017.json").read_bytes())
    again = to_coco(read_scenes(folder, "valid"))
    results = noisy_results(original, np.random.default_rng(0), 4.0)
    expected = evaluated(original, results)
    np.testing.assert_allclose(evaluated(again, results), expected, rtol=1e-9)
    assert 0.05 < expected[0] < 0.95
    assert len(again["annotations"]) == len(original["annotations"])


def test_a_written_record_is_read_again(tmp_path: Path) -> None:
    record = read_content(tmp_path, coco_content())
    again = read_content(tmp_path, to_coco(record))
    for field in ("image_id", "size", "first", "joints", "visible", "area", "box", "crowd", "person_id"):
        np.testing.assert_array_equal(getattr(again, field), getattr(record, field))


# ------------------------------------------------------------------------------------------- size and reality


def test_real_sample(shared_data: Callable[[str], Path]) -> None:
    record = read_scenes(shared_data("coco"), "train")
    assert (len(record), len(record.crowd), record.crowd.sum(), record.labelled.sum()) == (130, 271, 8, 143)
    assert record.skeleton is COCO and (record.counts > 0).sum() == 53
    assert len(record.for_training()) == 53
    ignored = record.scene(int(record.image_of[record.crowd][0])).ignored
    assert ignored is not None and 0 < ignored.mean() < 1


def write_full_size(path: Path, pictures: int = 118_287, people: int = 262_465) -> None:
    """A JSON of as many pictures and people as train2017, of about its size: half of them with joints."""
    rng = np.random.default_rng(0)
    of = np.sort(rng.integers(0, pictures, people))
    polygon = json.dumps([rng.uniform(0, 600, 44).round(2).tolist()])
    runs = {"counts": rng.integers(1, 300, 700).tolist(), "size": [480, 640]}
    points = rng.integers(0, 480, (people, 17, 3))
    points[..., 2] = rng.integers(0, 3, (people, 17))
    points[rng.random(people) < 0.43] = 0
    with open(path, "w") as file:
        file.write('{"images": [')
        file.write(
            ", ".join(
                f'{{"license": 3, "file_name": "{i:012}.jpg", "coco_url": "http://images.cocodataset.org/{i:060}",'
                f' "height": 480, "width": 640, "date_captured": "2013-11-14 11:18:45", "id": {i}}}'
                for i in range(pictures)
            )
        )
        file.write('], "annotations": [')
        for row, flat in enumerate(points.reshape(people, -1).tolist()):
            crowd = row % 25 == 0
            file.write(
                f'{", " if row else ""}{{"segmentation": {json.dumps(runs) if crowd else polygon},'
                f' "num_keypoints": 1, "area": 1234.5678, "iscrowd": {int(crowd)}, "keypoints": {flat},'
                f' "image_id": {of[row]}, "bbox": [12.3, 56.7, 123.4, 67.9], "category_id": 1, "id": {row}}}'
            )
        file.write(f'], "categories": {json.dumps(coco_content()["categories"])}}}')


@pytest.mark.slow
def test_all_of_coco_is_read_in_ten_seconds(tmp_path: Path) -> None:
    path = tmp_path / "full.json"
    write_full_size(path)
    start = time.process_time()  # the machine may be busy with something else
    record = load_coco_json(path, [tmp_path], "full", {}, tmp_path / "skeleton.yaml")
    assert time.process_time() - start < 10
    assert len(record) == 118_287 and len(record.crowd) == 262_465
