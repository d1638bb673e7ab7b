"""Penn Action: the window of a clip, which frames and clips are used, and the frames that are cut."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from src.datasets import penn, readers
from src.datasets.annotations import UNLABELLED
from src.datasets.images import read_image
from src.datasets.skeletons import PENN
from src.errors import UserError
from tests.releases import PENN_HEIGHT, PENN_WIDTH, make_penn, penn_fields

ALL_FIELDS = ("images", "joints", "visible", "center", "scale", "norm", "index")


def window(fields: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The first pixel, from 0, and the size of a clip's window, halves rounded upwards."""
    box = fields["bbox"].astype(float)
    low = np.array([int(v + 0.5) for v in box[:, :2].min(0)])
    high = np.array([int(v + 0.5) for v in box[:, 2:].max(0)])
    return low - 1, high - low + 1


def rewrite(folder: Path, number: int, **changed: Any) -> None:
    """Change fields of a label file; None takes one out."""
    path = folder / "Penn_Action" / "labels" / f"{number:04}.mat"
    fields = penn_fields(number, 3, "bowl", True) | changed
    scipy.io.savemat(path, {key: value for key, value in fields.items() if value is not None})


def test_splits_and_used_frames(tmp_path: Path) -> None:
    """Clips 7 and 14 are for test. Of 6 clips of an action one is held out, and of 5, as clip 3 has no used
    frame, none: 9.2 % of them are 0.55 and 0.46.
    """
    make_penn(tmp_path)
    people = {split: readers.read("penn", tmp_path, split) for split in ("train", "valid", "test")}
    clips = {split: {int(name[:4]) for name in people[split].images} for split in people}
    assert clips == {"train": {1, 2, 4, 5, 6, 8, 9, 10, 11, 12}, "valid": {13}, "test": {7, 14}}
    of_second = people["train"].images[np.char.startswith(people["train"].images, b"0002/")]
    assert of_second.tolist() == [b"0002/000002.jpg", b"0002/000003.jpg"]  # the first shows no limb
    assert people["train"].index[:5].tolist() == [0, 1, 2, 4, 5]  # places among all frames of the release
    assert people["train"].skeleton is PENN


def test_coordinates_are_those_of_the_window(tmp_path: Path) -> None:
    make_penn(tmp_path)
    people = readers.read("penn", tmp_path, "train")
    fields = penn_fields(1, 3, "bowl", True)
    corner, (width, height) = window(fields)
    points = np.stack([fields["x"], fields["y"]], 2).astype(float) - 1 - corner
    shown = fields["visibility"] > 0
    assert ((people.visible[:3] > UNLABELLED) == shown).all()
    np.testing.assert_allclose(people.joints[:3][shown], points[shown], atol=1e-5)
    np.testing.assert_allclose(people.center[0], [(width + 1) / 2 - 1, (height + 1) / 2 - 1])
    np.testing.assert_allclose(people.scale[0], max(width, height) / 200)
    assert people.enlarge[0] == 1.25 and people.shift[0] == 15


def test_the_published_mistake_exchanges_the_centre(tmp_path: Path) -> None:
    make_penn(tmp_path)
    right = readers.read("penn", tmp_path, "train")
    wrong = readers.read("penn", tmp_path, "train", compat=True)
    # from 1 it is a whole number: that of 40 pixels is 20, and not 20.5
    assert (wrong.center == np.floor(right.center[:, ::-1])).all()
    for field in set(ALL_FIELDS) - {"center"}:
        np.testing.assert_array_equal(getattr(wrong, field), getattr(right, field))


def test_the_length_of_the_metric_is_that_of_the_box(tmp_path: Path) -> None:
    make_penn(tmp_path)
    people = readers.read("penn", tmp_path, "train")
    longest = 200 * people.scale
    of = {name: row for row, name in enumerate(people.images.tolist())}
    box = penn_fields(4, 3, "bowl", True)["bbox"].astype(float)
    assert people.norm[of[b"0004/000001.jpg"]] == pytest.approx(max(box[0, 2:] - box[0, :2]), abs=1e-4)
    for without in (b"0004/000002.jpg", b"0002/000003.jpg"):  # no extent, no box
        assert people.norm[of[without]] == pytest.approx(longest[of[without]], rel=1e-6)


def test_cut_clips_read_like_the_release(tmp_path: Path) -> None:
    make_penn(tmp_path)
    before = {split: readers.read("penn", tmp_path, split) for split in ("train", "valid", "test")}
    assert "42 frames of 14 clips" in penn.crop_clips(tmp_path)
    cut = tmp_path / "penn_action_cropped"
    assert (cut / "valid_ind.txt").read_text() == "13\n"
    shutil.move(cut, tmp_path / "elsewhere")
    for folder, root in ((tmp_path / "elsewhere", "frames"), (tmp_path, "penn_action_cropped/frames")):
        for split, expected in before.items():
            found = readers.read("penn", folder, split)
            assert found.root == folder / root
            for field in ALL_FIELDS:
                np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))


def test_cut_frames_show_the_window(tmp_path: Path) -> None:
    make_penn(tmp_path)
    penn.crop_clips(tmp_path)
    people = readers.read("penn", tmp_path, "train")
    (x, y), (width, height) = window(penn_fields(1, 3, "bowl", True))
    pixels = people.person(0).read(1).pixels
    assert pixels.shape == (height, width, 3)
    # red is 4 x and green 5 y in the frame; JPEG moves smooth colours by a few levels
    assert abs(int(pixels[0, 0, 0]) - 4 * x) < 6 and abs(int(pixels[0, 0, 1]) - 5 * y) < 6
    assert abs(int(pixels[-1, -1, 0]) - 4 * (x + width - 1)) < 6
    assert read_image(tmp_path / "Penn_Action/frames/0001/000001.jpg").shape == (PENN_HEIGHT, PENN_WIDTH, 3)


def test_cutting_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    make_penn(tmp_path)
    last = tmp_path / "Penn_Action/frames/0014/000002.jpg"
    content = last.read_bytes()
    last.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"0014/000002\.jpg is cut short"):
        penn.crop_clips(tmp_path)
    made = tmp_path / "penn_action_cropped/frames"
    done = sorted(path.name for path in made.iterdir())
    assert done and "0014" not in done and not (made.parent / "labels").exists()
    assert all(len(list(path.iterdir())) == 3 for path in made.iterdir())
    before = (made / done[0] / "000001.jpg").stat().st_mtime_ns
    (made / ".0014.12345678.part").mkdir()  # as a killed call leaves it
    last.write_bytes(content)
    penn.crop_clips(tmp_path)
    assert sorted(path.name for path in made.iterdir()) == [f"{number:04}" for number in range(1, 15)]
    assert (made / done[0] / "000001.jpg").stat().st_mtime_ns == before
    assert "is there already" in penn.crop_clips(tmp_path)


def test_a_list_of_validation_clips_is_heeded(tmp_path: Path) -> None:
    make_penn(tmp_path)
    listed = tmp_path / "Penn_Action" / "valid_ind.txt"
    listed.write_text("1\n5\n")
    assert {name[:4] for name in readers.read("penn", tmp_path, "valid").images} == {b"0001", b"0005"}
    penn.crop_clips(tmp_path)
    assert (tmp_path / "penn_action_cropped" / "valid_ind.txt").read_text() == "1\n5\n"
    shutil.rmtree(tmp_path / "penn_action_cropped")
    for text, message in (("1\n7\n", "no training clips: 1 of 2, such as 7"), ("a\n", "number of one clip")):
        listed.write_text(text)
        with pytest.raises(UserError, match=message):
            readers.read("penn", tmp_path, "valid")


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"x": None}, "0005.mat has no x"),
        ({"bbox": None}, "0005.mat has no bbox"),
        ({"dimensions": None}, "0005.mat has no dimensions"),
        ({"train": None}, "0005.mat has no train"),
        ({"x": np.ones((3, 12))}, r"x is .* of shape \(3, 12\), expected"),
        ({"y": np.ones((2, 13))}, r"y is .* of shape \(2, 13\), expected"),
        ({"y": "text"}, "y is"),
        ({"visibility": np.ones((4, 13))}, "visibility is"),
        ({"bbox": np.ones((3, 3))}, "bbox is"),
        ({"bbox": np.ones((0, 4))}, "0 boxes for 3 frames"),
        ({"bbox": np.ones((4, 4))}, "4 boxes for 3 frames"),
        ({"bbox": np.full((3, 4), np.nan)}, "no number of pixels"),
        (
            {"bbox": np.array([[1.0, 1, 500, 40]])},
            "1 x 1 to 500 x 40, which is no part of a frame of 60 x 48",
        ),
        ({"bbox": np.array([[30.0, 1, 20, 40]])}, "no part of a frame"),
        ({"bbox": np.array([[-5.0, 1, 20, 40]])}, "no part of a frame"),
        ({"dimensions": np.full((1, 3), np.nan)}, "no number of pixels"),
        ({"dimensions": np.ones((3,))[None, :2]}, "dimensions is"),
        ({"x": np.full((3, 13), np.nan)}, r"\(0005/000001.jpg\) has a joint that is not a finite number"),
    ],
)
def test_labels_that_are_not_as_released(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    make_penn(tmp_path)
    rewrite(tmp_path, 5, **changed)
    with pytest.raises(UserError, match=message):
        readers.read("penn", tmp_path, "train")


def test_labels_and_frames_must_fit(tmp_path: Path) -> None:
    make_penn(tmp_path)
    frames = tmp_path / "Penn_Action" / "frames"
    shutil.rmtree(frames / "0003")
    with pytest.raises(UserError, match="clip 0003 has labels, but no frames"):
        penn.crop_clips(tmp_path)
    make_penn(tmp_path)
    (frames / "0003" / "000002.jpg").unlink()
    with pytest.raises(UserError, match=r"0003/000002\.jpg is missing"):
        penn.crop_clips(tmp_path)
    make_penn(tmp_path)
    rewrite(tmp_path, 3, dimensions=np.array([[480, 600, 3]]), bbox=np.array([[1, 1, 300.0, 200]]))
    with pytest.raises(UserError, match=r"60 x 48 pixels large, too small .* ends at 300 x 200"):
        penn.crop_clips(tmp_path)
    make_penn(tmp_path)
    shutil.copytree(frames / "0001", frames / "0099")
    assert "folders of frames without labels, left out: 1" in penn.crop_clips(tmp_path)


def test_no_labels_and_no_frames(tmp_path: Path) -> None:
    make_penn(tmp_path)
    shutil.rmtree(tmp_path / "Penn_Action" / "frames")
    with pytest.raises(UserError, match=r"holds no Penn_Action/frames; get Penn_Action\.tar\.gz"):
        penn.crop_clips(tmp_path)
    for path in (tmp_path / "Penn_Action" / "labels").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="holds no label files"):
        readers.read("penn", tmp_path, "train")


@pytest.mark.slow
def test_real_labels(shared_data: Callable[[str], Path]) -> None:
    """The counts of published work: 78,723 frames to train on, 8,721 to validate, 76,206 to test."""
    folder = shared_data("penn_action")
    clips = [clip for clip in penn.read_clips(folder / "labels") if len(clip.used)]
    held_out = set(penn.validation_clips(clips))
    valid = [clip for clip in clips if clip.number in held_out]
    train = [clip for clip in clips if clip.training and clip.number not in held_out]
    assert (len(train), sum(len(clip.used) for clip in train)) == (1_142, 78_723)
    assert (len(valid), sum(len(clip.used) for clip in valid)) == (115, 8_721)
    test = readers.read("penn", folder, "test", compat=True)
    assert (len({name[:4] for name in test.images.tolist()}), len(test)) == (1_068, 76_206)
    # Clip 1 is 277 pixels wide and 313 high; its centre was taken for (157, 139), from 1.
    assert clips[0].size.tolist() == [277, 313]
    assert test.center[0].tolist() == [156, 138]
    assert test.scale[0] * 1.25 == pytest.approx(1.95625)
