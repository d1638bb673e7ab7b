"""COCO's test split, whose people only a server knows: predicted, written for the server, not scored."""

import json
import zipfile
from pathlib import Path

import pytest

from src.datasets import readers
from src.datasets.coco import read_scenes
from src.errors import UserError
from tests.releases import make_coco, make_coco_test
from tests.task_runner import TINY, main_of

NAME = "person_keypoints_test-dev2017_tiny_results"


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    make_coco_test(tmp_path / "coco")
    return tmp_path / "coco"


def test_a_test_split_is_its_pictures(coco: Path) -> None:
    scenes = read_scenes(coco, "test")
    assert scenes.image_id.tolist() == [201, 202, 203, 204] and scenes.counts.sum() == 0
    assert scenes.root == coco / "images" / "test2017" and scenes.skeleton.num_joints == 17
    people = readers.read("coco", coco, "test", boxes=coco / "boxes.json")
    assert people.index.tolist() == [201, 201, 203] and not people.visible.any()
    with pytest.raises(UserError, match="coco test: nobody is annotated; --boxes FILE"):
        readers.read("coco", coco, "test")
    (coco / "annotations" / "image_info_test-dev2017.json").write_text("[]")
    with pytest.raises(UserError, match=r"test-dev2017\.json has no list of images"):
        read_scenes(coco, "test")


def test_a_test_split_is_not_needed(tmp_path: Path) -> None:
    make_coco(tmp_path)
    assert readers.release("coco").splits == ("train", "valid")
    with pytest.raises(UserError, match=r"image_info_test-dev2017\.json"):
        read_scenes(tmp_path, "test")


@pytest.mark.slow
@pytest.mark.parametrize("task", ["hgpose", "hgpose-ae"])
def test_results_for_the_server(
    task: str, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--exp", "x", "--exp-dir", str(tmp_path)]
    main_of(f"{task}/train.py")(
        [*where, *TINY, "--dataset", "coco", "--data-dir", str(coco), "--epochs", "1"]
    )
    target = tmp_path / f"{NAME}.zip"
    boxes = ["--boxes", str(coco / "boxes.json")] if task == "hgpose" else []
    capsys.readouterr()
    main_of(f"{task}/test.py")(
        [*where, "--split", "test", "--workers", "0", "--submission", str(target), *boxes]
    )
    with zipfile.ZipFile(target) as archive:
        (inside,) = archive.namelist()
        results = json.loads(archive.read(inside))
    assert inside == f"{NAME}.json"
    assert {row["image_id"] for row in results} <= {201, 202, 203, 204}
    assert all(len(row["keypoints"]) == 51 and row["category_id"] == 1 for row in results)
    assert "–" in capsys.readouterr().out  # of every figure
    if task == "hgpose":
        assert {row["image_id"] for row in results} == {201, 203}
