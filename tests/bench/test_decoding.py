"""What the bench of the decoder compares finds the same people; layouts come from either file."""

import json

import numpy as np
import pytest

pytest.importorskip("munkres", reason="munkres is not installed: pip install -e '.[bench]'")

from bench import decoding, layouts, plain_grouping
from src.evaluation.grouping import People, group_in_numpy


def people(count: int, seed: int = 0) -> layouts.Layout:
    """People of 17 joints in boxes of a quarter of the picture."""
    random = np.random.default_rng(seed)
    corner = random.uniform(0, layouts.SIDE * 0.75, (count, 1, 2))
    joints = corner + random.uniform(0, layouts.SIDE / 4, (count, 17, 2))
    box = np.concatenate([corner[:, 0], np.full((count, 2), layouts.SIDE / 4)], axis=1)
    return layouts.Layout(joints, random.integers(0, 3, (count, 17)), box)


@pytest.fixture
def pictures() -> list[layouts.Layout]:
    return [people(count, seed=count) for count in (1, 2, 5, 9)]


@pytest.mark.parametrize("dimensions", [1, 2])
def test_the_plain_decoder_finds_the_same_people(pictures, dimensions):
    random = np.random.default_rng(0)
    noise = layouts.Noise(64, random, dimensions)
    for layout in pictures:
        maps = noise.over(layouts.perfect_maps(layout, 64, random, dimensions))
        found = plain_grouping.group(*maps, decoding.SETTINGS)
        assert decoding.same(group_in_numpy(*maps, decoding.SETTINGS), found)
        assert len(found.joints) >= len(layout.box)
        assert not decoding.same(other(found), found)


def test_rows_are_of_each_form(pictures, monkeypatch):
    rows = list(decoding.against_plain({decoding.NUMPY: group_in_numpy}, pictures, 128, "pictures"))
    assert [(row.pairs, row.goal) for row in rows] == [(4, 5)]
    assert rows[0].theirs > 0 and rows[0].ratio > 0
    monkeypatch.setattr(plain_grouping, "group", lambda *maps: other(group_in_numpy(*maps)))
    with pytest.raises(AssertionError, match="disagree"):
        list(decoding.against_plain({decoding.NUMPY: group_in_numpy}, pictures, 128, "pictures"))


def other(found: People) -> People:
    """People who differ a little."""
    return found._replace(person_score=found.person_score + np.float32(1e-3))


def test_perfect_maps_lose_only_what_cells_lose(pictures):
    alone = [people(1, seed) for seed in range(3)]
    every, some = decoding.ceiling(group_in_numpy, alone, 256, 2)
    assert every.ours > 90
    assert some.ours == pytest.approx(some.theirs, abs=5)
    assert decoding.precision(group_in_numpy, alone, 32) < every.ours - 20


def test_our_part_of_average_precision(pictures, monkeypatch):
    monkeypatch.setattr(decoding, "PICTURES", 8)
    row = decoding.preparation(pictures, 0)
    assert row.name == "AP of 8 pictures: our part" and 0 < row.ours < row.theirs


def test_layouts_are_spread():
    some = [people(1, seed) for seed in range(7)]
    assert [any(layout is each for each in decoding.spread(some, 3)) for layout in some] == [
        True, False, False, True, False, False, True,
    ]  # fmt: skip
    assert len(decoding.spread(some, 30)) == 7 and decoding.spread([], 3) == []


def test_layouts_of_a_file(tmp_path):
    person = {"bbox": [0.5, 0.25, 0.5, 0.125], "keypoints": [0.5, 0.25, 2.0] + [0.0] * 48}
    (tmp_path / layouts.FILE).write_text(json.dumps([{"image_id": 1, "persons": [person]}]))
    (layout,) = layouts.read(tmp_path)
    assert layout.joints[0, 0].tolist() == [256, 128] and layout.visible[0].tolist() == [2] + [0] * 16
    assert layout.box.tolist() == [[128, 96, 256, 64]]


def test_layouts_of_annotations(shared_data, tmp_path):
    (tmp_path / "annotations").symlink_to(shared_data("coco") / "annotations")
    (tmp_path / "images").symlink_to(shared_data("coco") / "images")
    found = layouts.read(tmp_path)
    assert sum(len(layout.box) for layout in found) == 68
    assert all(0 <= layout.joints.min() and layout.joints.max() <= layouts.SIDE for layout in found)
