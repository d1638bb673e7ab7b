"""Synthetic scenes of several people: the same on every call, labelled and outlined as they are seen."""

import pickle

import numpy as np
import pytest

from src.datasets.scene_annotations import Scene
from src.datasets.skeletons import COCO, MPII, Skeleton
from src.datasets.synth import SMALLEST, SynthScenes
from src.datasets.synth.group import APART, MOST, SHARES, _places, sample_count, sample_group
from src.datasets.synth.render import Layer
from src.datasets.synth.scene import EXTRAS, HIDDEN, OUTSIDE, VISIBLE

SIDE = 96  # pixels; small, to be quick
EXPECTED = [(164.703, 77.497), (195.762, 87.503), (178.029, 123.694)]  # some joints of the first person


def source(
    split: str = "train", size: int = 1000, skeleton: Skeleton = COCO, side: int = SIDE
) -> SynthScenes:
    return SynthScenes(split, size, skeleton, side)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [source().scene(index) for index in range(40)]


def test_a_scene_has_the_shapes_and_types_of_the_contract(scenes: list[Scene]) -> None:
    scene = scenes[1]
    people = len(scene.area)
    assert scene.read(1).pixels.shape == (SIDE, SIDE, 3) and scene.read(1).pixels.dtype == np.uint8
    assert scene.joints.shape == (people, 17, 2) and scene.joints.dtype == np.float32
    assert scene.visible.shape == (people, 17) and scene.visible.dtype == np.int8
    assert scene.box.shape == (people, 4) and (scene.width, scene.height) == (SIDE, SIDE)
    assert source().name == "synth train" and source().skeleton is COCO


def test_a_scene_depends_on_nothing_but_split_index_and_resolution(scenes: list[Scene]) -> None:
    again = pickle.loads(pickle.dumps(source(size=6))).scene(5)
    np.testing.assert_array_equal(again.read(1).pixels, scenes[5].read(1).pixels)
    for old, new in zip(scenes[5][1:], again[1:], strict=True):
        np.testing.assert_array_equal(old, new)
    assert not np.array_equal(source("valid").scene(5).read(1).pixels, scenes[5].read(1).pixels)
    with pytest.raises(IndexError, match="6 samples"):
        source(size=6).scene(6)


def test_joints_are_those_of_every_machine() -> None:
    """Stored numbers: a change of drawing must not move the joints of anybody."""
    joints = source(side=256).scene(0).joints
    np.testing.assert_allclose(joints[0, [0, 5, 12]], EXPECTED, atol=0.01)


def test_joints_grow_with_the_resolution(scenes: list[Scene]) -> None:
    grown = 0
    for index in range(6):
        large = source(side=2 * SIDE).scene(index)
        if len(large.area) == len(scenes[index].area):  # who is hardly seen may differ
            np.testing.assert_allclose(large.joints, 2 * scenes[index].joints, rtol=1e-5, atol=1e-3)
            grown += 1
    assert grown >= 4


def test_people_are_one_to_six(scenes: list[Scene]) -> None:
    counts = [sample_count(np.random.default_rng(seed)) for seed in range(4000)]
    shares = np.bincount(counts, minlength=MOST + 1)[1:] / len(counts)
    np.testing.assert_allclose(shares, SHARES, atol=0.03)  # four standard deviations
    seen = [len(scene.area) for scene in scenes]
    assert max(seen) >= 5 and np.mean(seen) > 2


def test_people_stand_apart() -> None:
    for seed in range(50):
        places = _places(np.random.default_rng(seed), 4)
        gaps = np.linalg.norm(places[:, None] - places, axis=2)[np.triu_indices(4, 1)]
        assert gaps.min() > 0.1 and np.sort(gaps)[2] > APART - 1e-9


def test_labels_are_those_of_coco(scenes: list[Scene]) -> None:
    """Who is labelled has a joint that is seen; joints outside the picture are unlabelled."""
    flags = np.concatenate([scene.visible for scene in scenes])
    assert ((flags == VISIBLE).any(1)).all()
    assert 0.45 < (flags == VISIBLE).mean() < 0.85 and 0.1 < (flags == HIDDEN).mean() < 0.45
    for scene in scenes:
        inside = ((scene.joints >= 0) & (scene.joints < SIDE)).all(2)
        np.testing.assert_array_equal(scene.visible > OUTSIDE, inside)


def test_area_and_box_are_of_what_is_seen(scenes: list[Scene]) -> None:
    for scene in scenes:
        x, y, width, height = scene.box.T
        assert (x >= 0).all() and (x + width <= SIDE).all() and (y >= 0).all() and (y + height <= SIDE).all()
        assert (scene.area <= width * height).all() and (scene.area >= SMALLEST * SIDE**2).all()
        seen = scene.visible == VISIBLE
        near = 0.06 * SIDE  # a seen joint is on the person, or at their outline
        low, high = scene.box[:, None, :2] - near, scene.box[:, None, :2] + scene.box[:, None, 2:] + near
        assert ((scene.joints >= low) & (scene.joints <= high)).all(2)[seen].all()


def test_nearer_people_hide_those_behind() -> None:
    """The last actor is the nearest: what it shows is all of it, and joints under it are not seen."""
    found = 0
    for seed in range(12):
        states = np.random.default_rng((seed, 0)), np.random.default_rng((seed, 1))
        group = sample_group(*states, SIDE)
        _, labels, shown = group.render()
        distances = [actor.camera.see(actor.body.points)[:, 2].mean() for actor in group.actors]
        assert distances == sorted(distances, reverse=True)
        for number, person in enumerate(labels[:-1], start=1):
            inside = person.visible > OUTSIDE
            column, row = np.floor(person.points[inside]).astype(int).T
            covered = (shown[row, column] > number) & (shown[row, column] < EXTRAS)
            assert (person.visible[inside][covered] == HIDDEN).all()
            found += covered.sum()
    assert found > 20


def test_who_is_not_labelled_is_ignored(scenes: list[Scene]) -> None:
    """Small people in the background, and those of whom next to nothing is seen."""
    ignored = [scene.ignored for scene in scenes if scene.ignored is not None]
    assert 0.1 < len(ignored) / len(scenes) < 0.8
    assert all(mask.shape == (SIDE, SIDE) and mask.any() and mask.mean() < 0.6 for mask in ignored)


def test_marks_are_cut_at_the_edge() -> None:
    shown = np.zeros((4, 4), np.uint8)
    alpha = np.array([[255, 100], [0, 255]], np.uint8)
    layer = Layer(np.zeros((2, 2, 3), np.uint8), alpha, 3, -1)
    layer.mark(shown, 7)
    assert not shown.any()  # the opaque pixels are outside
    layer._replace(left=2, top=2).mark(shown, 7)
    assert shown.tolist() == [[0] * 4, [0] * 4, [0, 0, 7, 0], [0, 0, 0, 7]]
    layer._replace(left=9, top=9).mark(shown, 1)
    layer._replace(left=-9, top=-9).mark(shown, 1)
    assert shown.max() == 7


def test_the_truth_is_that_of_the_scenes(scenes: list[Scene]) -> None:
    rows = np.array([4, 1, 2])
    record = source().truth(rows)
    assert record.image_id.tolist() == [4, 1, 2] and record.skeleton is COCO
    assert record.counts.tolist() == [len(scenes[row].area) for row in rows]
    for place, row in enumerate(rows):
        for field in ("joints", "visible", "area", "box", "ignored"):
            np.testing.assert_array_equal(getattr(record.scene(place), field), getattr(scenes[row], field))


def test_the_last_truth_is_not_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    people, drawn = source(side=32), list[int]()
    scene = SynthScenes.scene

    def draw(self: SynthScenes, index: int) -> Scene:
        drawn.append(index)
        return scene(self, index)

    monkeypatch.setattr(SynthScenes, "scene", draw)
    record = people.truth(np.array([4, 1]))
    assert people.truth(np.array([4, 1])) is record and drawn == [4, 1]
    assert people.truth(np.array([1, 4])).image_id.tolist() == [1, 4] and drawn == [4, 1, 1, 4]
    again = pickle.loads(pickle.dumps(people))  # as workers get it that are not forked
    assert again.truth(np.array([1, 4])).image_id.tolist() == [1, 4]


def test_people_beyond_a_limit_are_counted() -> None:
    counts = [sample_count(source()._random(index, 2)) for index in range(1000)]
    assert source().beyond(4) == sum(max(count - 4, 0) for count in counts) > 0
    assert source().beyond(MOST) == 0


def test_other_joints_and_upright_people() -> None:
    scene = SynthScenes("train", 10, MPII, SIDE, "upright").scene(1)
    assert scene.joints.shape[1] == MPII.num_joints
    feet = scene.joints[:, [MPII.index("left ankle"), MPII.index("right ankle")], 1].max(1)
    assert (scene.joints[:, MPII.index("head top"), 1] < feet).all()
