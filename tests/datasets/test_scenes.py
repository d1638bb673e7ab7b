"""Whole pictures with everybody in them: records, samples, masks, and the way back to the picture."""

import json
import multiprocessing
import pickle
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from src.datasets import affine
from src.datasets.augmentation import SceneAugmentation, SceneDraw
from src.datasets.coco import read_scenes
from src.datasets.crops import in_order, load, readable
from src.datasets.images import Picture
from src.datasets.people import open_scenes
from src.datasets.scene_annotations import Scene, SceneAnnotations, record_scenes
from src.datasets.scenes import Scenes, letterbox
from src.datasets.skeletons import COCO, MPII
from src.errors import UserError
from tests.releases import HEIGHT, WIDTH, coco_content, make_coco, write_coco, write_picture

RES = 128
FIELDS = tuple(SceneAnnotations.DTYPES)


@pytest.fixture
def record(tmp_path: Path) -> SceneAnnotations:
    make_coco(tmp_path)
    return read_scenes(tmp_path, "train")


def drawn(count: int, width: int = 300, height: int = 200, ignored: np.ndarray | None = None) -> Scene:
    """`count` people whose picture is black but for a white pixel at each joint; person p's area is p + 1."""
    rng = np.random.default_rng(count)
    joints = rng.uniform((20, 20), (width - 20, height - 20), (count, 17, 2)).astype(np.float32)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[joints[..., 1].astype(int), joints[..., 0].astype(int)] = 255
    box = np.tile([9.0, 21.0, 60.0, 40.0], (count, 1)) + 8 * np.arange(count)[:, None] * (1, 0, 0, 0)
    visible = np.full((count, 17), 2, np.int8)
    return Scene(
        lambda _: Picture(pixels), width, height, joints, visible, np.arange(1.0, count + 1), box, ignored
    )


class Drawn:
    """Scenes of 0, 1, 2 … people."""

    name, skeleton = "drawn", COCO

    def __init__(self, count: int = 4) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def scene(self, index: int) -> Scene:
        return drawn(index)

    def beyond(self, limit: int) -> int:
        return sum(max(people - limit, 0) for people in range(self.count))

    def truth(self, rows: np.ndarray) -> SceneAnnotations:
        return record_scenes(self.name, COCO, rows, (self.scene(int(row)) for row in rows))


# ------------------------------------------------------------------------------------------------ the record


def test_a_scene_has_those_with_labelled_joints(record: SceneAnnotations) -> None:
    scene = record.scene(0)
    assert (scene.width, scene.height) == (WIDTH, HEIGHT) and scene.joints.shape == (2, 17, 2)
    assert scene.read(1).pixels.shape == (HEIGHT, WIDTH, 3) and scene.ignored is None
    np.testing.assert_array_equal(scene.box, record.box[:2])
    assert [len(record.scene(index).area) for index in range(4)] == [2, 0, 0, 1]


def test_crowds_are_ignored_and_others_on_demand(record: SceneAnnotations) -> None:
    """The crowd of the second picture has columns 50 to 69, the person without joints columns 5 to 42."""
    ignored = record.scene(1).ignored
    assert ignored is not None and ignored[:, 50:70].all() and ignored.sum() == 20 * HEIGHT
    both = replace(record, mask_people=True).scene(1).ignored
    assert both is not None
    np.testing.assert_array_equal(both[6:66, 5:43], True)
    assert both.sum() == 20 * HEIGHT + 60 * 38


def test_selected_pictures_keep_everybody(record: SceneAnnotations) -> None:
    rows = np.array([5, 0, 2])
    chosen = record.select(rows)
    assert chosen.image_id.tolist() == [16, 11, 13] and chosen.counts.tolist() == [0, 2, 0]
    for place, row in enumerate(rows):
        for field in ("joints", "area", "box", "ignored"):
            np.testing.assert_array_equal(
                getattr(chosen.scene(place), field), getattr(record.scene(row), field), err_msg=field
            )
    everything = record.select(np.ones(len(record), bool))
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(everything, field), getattr(record, field), err_msg=field)
    assert len(record.select(record.counts > 9)) == 0


def test_training_leaves_out_what_would_teach_wrongly(record: SceneAnnotations) -> None:
    """Pictures 2 and 6 show only people without joints, 3 and 7 nobody."""
    assert record.for_training().image_id.tolist() == [11, 14, 15, 18]
    assert record.for_training(0.5).image_id.tolist() == [11, 13, 14, 15, 18]
    assert record.for_training(1).image_id.tolist() == [11, 13, 14, 15, 17, 18]


def test_people_beyond_a_limit_are_counted(record: SceneAnnotations) -> None:
    assert [record.beyond(limit) for limit in (0, 1, 2)] == [6, 2, 0]


def test_a_picture_of_another_size_is_bad(record: SceneAnnotations) -> None:
    write_picture(record.path(0), HEIGHT, WIDTH)  # upright: its orientation was applied by another tool
    with pytest.raises(
        UserError, match=rf"about {HEIGHT} x {WIDTH} pixels large, but annotated as {WIDTH} x"
    ):
        record.scene(0).read(1)
    for shrink, size in ((2, (49, 36)), (5, (25, 18)), (8, (13, 9))):  # sides that no reduction divides
        write_picture(record.path(3), 97, 71)
        odd = replace(record, size=np.tile([97, 71], (len(record), 1)))
        assert odd.scene(3).read(shrink).pixels.shape[1::-1] == size


def test_it_travels_to_workers_as_handles(record: SceneAnnotations) -> None:
    message = multiprocessing.reduction.ForkingPickler.dumps(record)
    again = multiprocessing.reduction.ForkingPickler.loads(message)
    again.area[0] = 7
    assert record.area[0] == 7 and again.skeleton == COCO
    plain = pickle.loads(pickle.dumps(record))
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(plain, field), getattr(record, field))


@pytest.mark.parametrize("field", FIELDS)
def test_wrong_shapes_are_refused(record: SceneAnnotations, field: str) -> None:
    with pytest.raises(UserError, match=r"coco train: .* has shape .*, expected"):
        replace(record, **{field: getattr(record, field)[:-1]})


def test_scenes_at_hand_become_a_record() -> None:
    ignored = np.zeros((200, 300), bool)
    ignored[20:50, 100:140] = True
    record = record_scenes("toy", COCO, np.array([7, 9, 4]), [drawn(2), drawn(0), drawn(1, ignored=ignored)])
    assert record.image_id.tolist() == [7, 9, 4] and record.counts.tolist() == [2, 0, 1]
    assert record.crowd.tolist() == [False, False, False, True] and 0 not in record.person_id
    assert record.box[3].tolist() == [100, 20, 40, 30] and record.area[3] == 1200
    np.testing.assert_array_equal(record.scene(2).ignored, ignored)
    np.testing.assert_array_equal(record.scene(0).joints, drawn(2).joints)
    assert len(record_scenes("toy", COCO, np.array([], int), [])) == 0


# ------------------------------------------------------------------------------------------------ the sample


def test_a_sample_has_the_shapes_and_types_of_the_contract() -> None:
    sample = Scenes(Drawn(), RES, SceneAugmentation(), max_people=5)[(0, 2)]
    assert isinstance(sample, dict)
    expected: dict[str, tuple[Any, tuple[int, ...]]] = {
        "image": (np.uint8, (RES, RES, 3)), "joints": (np.float32, (5, 17, 2)), "visible": (np.int8, (5, 17)),
        "mask": (np.uint8, (RES // 4, RES // 4)), "color": (np.float32, (3,)),
        "inverse": (np.float64, (2, 3)), "row": (np.int64, ()),
    }  # fmt: skip
    assert {key: (value.dtype, value.shape) for key, value in sample.items()} == expected
    assert (sample["visible"][:2] == 2).all() and not sample["visible"][2:].any()


def test_the_whole_picture_fills_the_square() -> None:
    """300 x 200 in 150: half as large, with 25 rows of nothing above and below."""
    np.testing.assert_allclose(letterbox(300, 200, 150), [[0.5, 0, 0], [0, 0.5, 25]], atol=1e-12)
    np.testing.assert_allclose(letterbox(200, 300, 150), [[0.5, 0, 25], [0, 0.5, 0]], atol=1e-12)
    scene = drawn(3, height=204)
    sample = Scenes(Drawn(), 300).sample(scene, SceneDraw())
    np.testing.assert_allclose(sample["joints"][:3], scene.joints + np.array([0, 48]), atol=1e-4)
    np.testing.assert_array_equal(sample["image"][48:252], scene.read(1).pixels)
    assert not sample["image"][:48].any() and not sample["image"][252:].any()
    np.testing.assert_array_equal(
        sample["mask"], np.repeat([0] * 12 + [1] * 51 + [0] * 12, 75).reshape(75, 75)
    )


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.2, -0.1)])
def test_joints_go_where_their_pixels_go(flip: bool, shift: tuple[float, float]) -> None:
    scene = drawn(2)
    draw = SceneDraw(scale=0.8, rotation=25, flip=flip, shift=shift)
    sample = Scenes(Drawn(), 400).sample(scene, draw)
    order = COCO.flip_order if flip else range(17)
    inside = 0
    for person in range(2):
        for place, joint in enumerate(order):
            x, y = sample["joints"][person, place]
            if 2 <= x < 398 and 2 <= y < 398:
                inside += 1
                around = sample["image"][int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2]
                assert around.max() > 60, (person, joint)  # a white pixel, spread over some by the warp
    assert inside > 15
    back = affine.apply(sample["inverse"], sample["joints"][:2])
    np.testing.assert_allclose(back[:, np.argsort(order)], scene.joints, atol=1e-3)  # float32


def test_a_mirrored_sample_is_the_mirror_of_the_sample() -> None:
    ignored = np.zeros((200, 300), bool)
    ignored[30:150, 20:90] = True
    scenes, scene = Scenes(Drawn(), RES), drawn(3, ignored=ignored)
    plain, mirrored = (scenes.sample(scene, SceneDraw(rotation=20, flip=flip)) for flip in (False, True))
    # bilinear sampling rounds at a few pixels, which may fall to either side of the threshold
    assert (plain["mask"] != mirrored["mask"][:, ::-1]).mean() < 0.01
    np.testing.assert_allclose(
        mirrored["joints"][:3, COCO.flip_order] * (-1, 1) + (RES, 0), plain["joints"][:3], atol=1e-3
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_mask_goes_where_the_picture_goes(seed: int) -> None:
    """The masked region drawn into the picture ends at the same cells."""
    ignored = np.zeros((200, 300), bool)
    ignored[40:160, 60:200] = True
    pixels = np.where(ignored, 0, 255).astype(np.uint8)
    scene = drawn(1, ignored=ignored)._replace(read=lambda _: Picture(np.dstack([pixels] * 3)))
    sample = Scenes(Drawn(), 256).sample(scene, SceneAugmentation().draw(np.random.default_rng(seed)))
    shown = cv2.resize(sample["image"][..., 0], (64, 64), interpolation=cv2.INTER_AREA)
    clear = (shown < 20) | (shown > 235)  # not at edges
    assert clear.mean() > 0.8
    np.testing.assert_array_equal(sample["mask"][clear], (shown > 127)[clear])


def test_the_largest_people_are_kept_and_the_others_masked() -> None:
    """Of people with areas 1, 2 … 5 the last three; the boxes of the first two, x 9 to 77, are masked."""
    scene = drawn(5)
    sample = Scenes(Drawn(), 300, max_people=3).sample(scene, SceneDraw())
    np.testing.assert_allclose(sample["joints"], scene.joints[2:] + np.array([0, 50]), atol=1e-4)
    masked = sample["mask"][13:62] == 0  # the cells of the picture's rows
    ys, xs = np.nonzero(masked)
    # rows 21 to 61 are 71 to 111 in the square: their cells have the middles 74 to 110
    assert (xs.min(), xs.max(), ys.min() + 13, ys.max() + 13) == (2, 18, 18, 27) and masked.sum() == 17 * 10


def test_nobody_is_no_error() -> None:
    sample = Scenes(Drawn(), RES, SceneAugmentation())[(0, 0)]
    assert isinstance(sample, dict) and not sample["visible"].any() and sample["mask"].any()


def test_a_sample_depends_on_seed_pass_and_row() -> None:
    scenes = Scenes(Drawn(), RES, SceneAugmentation(), seed=7)
    same, other = scenes[(1, 2)], scenes[(2, 2)]
    again = Scenes(Drawn(), RES, SceneAugmentation(), seed=7)[(1, 2)]
    assert isinstance(same, dict) and isinstance(again, dict) and isinstance(other, dict)
    for key in same:
        np.testing.assert_array_equal(same[key], again[key])
    assert not np.array_equal(same["inverse"], other["inverse"])


def test_augmentation_keeps_to_its_limits() -> None:
    augmentation = SceneAugmentation(scale=0.25, rotation=30, shift=0.2, flip_prob=0.5, color=0.4)
    draws = [augmentation.draw(np.random.default_rng((0, i))) for i in range(4000)]
    for values, low, high in (
        ([d.scale for d in draws], 0.75, 1.25),
        ([d.rotation for d in draws], -30, 30),
        ([d.shift for d in draws], -0.2, 0.2),
        ([d.color for d in draws], 0.6, 1.4),
    ):
        assert low <= np.min(values) < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < np.max(values) <= high
    assert abs(np.mean([d.flip for d in draws]) - 0.5) < 0.04  # five standard deviations
    assert augmentation.draw(np.random.default_rng(1)) == augmentation.draw(np.random.default_rng(1))
    assert SceneAugmentation(0, 0, 0, 0, 0).draw(np.random.default_rng(1)) == SceneDraw()


# ------------------------------------------------------------------------------------------------ the loader


@pytest.mark.parametrize("workers", [0, 1])
def test_pictures_that_are_missing_or_broken_are_left_out(record: SceneAnnotations, workers: int) -> None:
    record.path(1).unlink()
    record.path(4).write_bytes(record.path(4).read_bytes()[:200])
    loader = load(Scenes(record, RES), in_order(len(record), 4), workers, torch.device("cpu"))
    with pytest.raises(UserError, match=r"000000000012\.jpg is missing; --skip-bad-images leaves"):
        list(readable(loader, lambda: False, []))
    left_out: list[str] = []
    batches = list(readable(loader, lambda: True, left_out))
    assert [row for batch in batches for row in batch["row"].tolist()] == [0, 2, 3, 5, 6, 7]
    assert len(left_out) == 2 and "cut short" in left_out[1]
    assert batches[0]["image"].dtype == torch.uint8 and batches[0]["joints"].shape == (3, 30, 17, 2)


def options(**values: Any) -> Namespace:
    defaults = {
        "dataset": "coco", "data_dir": None, "valid_share": 0.2, "coco_year": None, "valid_ids": None,
        "mask_people": False, "empty_share": 0.0, "synth_size": [20, 5], "synth_poses": "all",
    }  # fmt: skip
    return Namespace(**defaults | values)


def test_scenes_are_opened_by_options(tmp_path: Path) -> None:
    make_coco(tmp_path)
    (tmp_path / "ids").write_text("11\n12\n")
    chosen = options(data_dir=tmp_path, valid_ids=tmp_path / "ids", empty_share=1.0)
    assert len(open_scenes(chosen, "train")) == 5 and len(open_scenes(chosen, "valid")) == 2
    record = open_scenes(options(data_dir=tmp_path, mask_people=True), "train")
    assert isinstance(record, SceneAnnotations) and record.mask_people and record.counts.all()
    assert len(open_scenes(options(data_dir=tmp_path), "valid")) == 4  # with the pictures of nobody
    synth = open_scenes(options(dataset="synth"), "valid", resolution=64)
    assert len(synth) == 5 and synth.skeleton is COCO and synth.scene(0).width == 64


def test_what_cannot_be_opened_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="get the train and val images"):
        open_scenes(options(data_dir=tmp_path), "train")
    content = coco_content()
    path = write_coco(tmp_path, content, "person_keypoints_train2017", "elsewhere")
    with pytest.raises(UserError, match="holds no images/train2017; get the train and val images of 2017"):
        open_scenes(options(data_dir=tmp_path), "train")
    assert len(open_scenes(options(data_dir=tmp_path), "train", pictures=False)) == 2
    (tmp_path / "images" / "train2017").mkdir(parents=True)
    with pytest.raises(
        UserError, match=r"coco train has the joints nose, .*; those of the network are right ankle"
    ):
        open_scenes(options(data_dir=tmp_path), "train", MPII)
    path.write_text(json.dumps(content | {"annotations": []}))
    with pytest.raises(UserError, match="coco train has no people with a labelled joint"):
        open_scenes(options(data_dir=tmp_path), "train")
