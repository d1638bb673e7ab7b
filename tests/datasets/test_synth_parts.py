"""Drawings without one of their parts: it is gone, and all else is as it was."""

import numpy as np
import pytest

from src.datasets.skeletons import MPII
from src.datasets.synth import SynthPeople, SynthScenes
from src.datasets.synth.parts import ALL_PARTS, PARTS, Parts
from src.datasets.synth.scene import EXTRAS, Rendering

RES, COUNT = 64, 16


def renderings(parts: Parts = ALL_PARTS, count: int = COUNT) -> list[Rendering]:
    drawings = SynthPeople("train", count, MPII, RES, parts=parts)
    return [drawings._rendering(index) for index in range(count)]


@pytest.fixture(scope="module")
def whole() -> list[Rendering]:
    return renderings()


@pytest.fixture(scope="module")
def clean() -> list[Rendering]:
    """Without what a camera does, so that pixels can be told apart."""
    return renderings(Parts(photo=False))


@pytest.mark.parametrize("part", PARTS)
def test_without_a_part_pictures_change_and_joints_do_not(part: str, whole: list[Rendering]) -> None:
    others = renderings(Parts(**{part: False}))
    for one, other in zip(whole, others, strict=True):
        np.testing.assert_array_equal(one.labels[0].points, other.labels[0].points)
    changed = [
        not np.array_equal(one.picture, other.picture) for one, other in zip(whole, others, strict=True)
    ]
    assert any(changed)
    if part in ("bystanders", "occluders", "shadows"):  # which not every picture has
        assert not all(changed)


@pytest.mark.parametrize("part", ["bystanders", "shadows", "background"])
def test_without_what_is_around_people_look_the_same(part: str, clean: list[Rendering]) -> None:
    for one, other in zip(clean, renderings(Parts(photo=False, **{part: False})), strict=True):
        where = (one.shown == 1) & (other.shown == 1)
        inner = where.copy()
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            inner &= np.roll(where, step, axis)
        same = (one.picture[inner] == other.picture[inner]).all(1)
        assert same.mean() > 0.9  # edges, and cracks between limbs, are mixed with what is behind them


@pytest.mark.parametrize("part", ["cloth", "head"])
def test_without_what_is_on_people_all_around_them_looks_the_same(part: str, clean: list[Rendering]) -> None:
    for one, other in zip(clean, renderings(Parts(photo=False, **{part: False})), strict=True):
        around = np.ones(one.shown.shape, bool)
        for rendering in (one, other):
            rows, columns = np.nonzero(rendering.shown == 1)
            around[max(rows.min() - 2, 0) : rows.max() + 3, max(columns.min() - 2, 0) : columns.max() + 3] = (
                False
            )
        np.testing.assert_array_equal(one.picture[around], other.picture[around])


def test_nobody_stands_around_and_nothing_before(whole: list[Rendering]) -> None:
    def extras(drawn: list[Rendering]) -> bool:
        return any((rendering.shown == EXTRAS).any() for rendering in drawn)

    assert extras(whole) and not extras(renderings(Parts(bystanders=False)))
    hidden = [rendering.labels[0].visible == 1 for rendering in whole]
    less = [each.labels[0].visible == 1 for each in renderings(Parts(occluders=False))]
    assert all((few <= many).all() for few, many in zip(less, hidden, strict=True))
    assert np.sum(less) < np.sum(hidden)


def test_scenes_have_the_same_parts() -> None:
    first, second = (
        SynthScenes("train", 1, MPII, 96, parts=parts).scene(0)
        for parts in (ALL_PARTS, Parts(background=False))
    )
    assert not np.array_equal(first.read(1).pixels, second.read(1).pixels)
    np.testing.assert_array_equal(first.joints, second.joints)


def test_parts_say_what_is_missing() -> None:
    assert str(ALL_PARTS) == "" and str(Parts(head=False, photo=False)) == "without head photo"
