"""People out of maps drawn by hand, by each of the rules, in both forms of the decoder."""

from collections.abc import Sequence

import numpy as np
import pytest

from bench import layouts
from src.datasets.skeletons import COCO, MPII, SKELETONS, Skeleton
from src.errors import UserError
from src.evaluation.grouping import Grouping, People, group, joint_order

Peak = tuple[int, int, int, float, float | Sequence[float]]  # joint, x, y, height, tag

pytestmark = pytest.mark.usefixtures("ae_form")


def draw(joints: int, *peaks: Peak, size: tuple[int, int] = (16, 20), dimensions: int = 1) -> layouts.Maps:
    """Maps (h, w) with single cells; elsewhere a height of 0 and a tag far from all that the tests use."""
    heatmaps = np.zeros((joints, *size), np.float32)
    tags = np.full((dimensions, joints, *size), 500, np.float32)
    for joint, x, y, height, tag in peaks:
        heatmaps[joint, y, x] = height
        tags[:, joint, y, x] = tag
    return heatmaps, tags


def rules(joints: int, **settings: object) -> Grouping:
    return Grouping(tuple(range(joints)), **settings)  # type: ignore[arg-type]


def cells(people: People) -> list[list[tuple[int, int] | None]]:
    """The cell x, y of each joint of each person."""
    return [
        [None if np.isnan(x) else (int(x), int(y)) for x, y in person] for person in people.joints.tolist()
    ]


def test_peaks_go_to_the_people_whose_tags_they_have():
    found = group(
        *draw(
            3,
            (0, 2, 3, 1, 0),
            (0, 12, 3, 1, 5),
            (1, 13, 8, 0.6, 5.4),
            (1, 3, 8, 0.8, -0.4),
            (2, 4, 12, 0.5, 0.2),
        ),
        rules(3, refine=False),
    )
    assert cells(found) == [[(2, 3), (3, 8), (4, 12)], [(12, 3), (13, 8), None]]
    assert found.score == pytest.approx(np.array([[1, 0.8, 0.5], [1, 0.6, 0]]))
    assert found.person_score == pytest.approx([2.3 / 3, 1.6 / 3])
    assert [part.dtype for part in found] == [np.float32] * 3


def test_a_joint_without_peak_is_where_height_and_tag_speak_for_it():
    """Two people with tags 0 and 5, of whom the second lacks a peak of joint 1."""
    heatmaps, tags = draw(2, (0, 2, 3, 1, 0), (0, 12, 3, 1, 5), (1, 3, 8, 0.9, 0), (1, 13, 9, 0.05, 5.3))
    found = group(heatmaps, tags, rules(2))
    assert cells(found) == [[(2, 3), (3, 8)], [(12, 3), (13, 9)]]
    assert found.score[1].tolist() == pytest.approx([1, 0.05])
    assert found.person_score == pytest.approx([0.95, 0.5]), "what is looked for later does not count"
    tags[0, 1, 9, 13] = 5.6  # rounded, that is a distance of 1: as likely as anything of no height nearby
    tags[0, 1, 0, 0] = 5
    assert cells(group(heatmaps, tags, rules(2)))[1] == [(12, 3), None]
    assert cells(group(heatmaps, tags, rules(2, refine=False)))[1] == [(12, 3), None]


def test_a_joint_is_looked_for_by_the_mean_tag():
    maps = draw(3, (0, 2, 3, 1, 0), (1, 2, 8, 1, 0.9), (2, 5, 5, 0.08, 0.9), (2, 6, 9, 0.07, 0.45))
    maps[1][0, 2, 5, 5] = 0.96  # 0.51 from the mean, 0.45
    assert cells(group(*maps, rules(3)))[0][2] == (6, 9)


def test_among_tags_within_half_of_one_another_the_higher_peak_is_preferred():
    near, high = (1, 3, 8, 0.5, 0.0), (1, 13, 8, 0.6, 0.4)
    found = group(*draw(2, (0, 2, 3, 1, 0), near, high), rules(2))
    assert cells(found)[0] == [(2, 3), (13, 8)]
    further = (1, 13, 8, 0.6, 0.6)
    assert cells(group(*draw(2, (0, 2, 3, 1, 0), near, further), rules(2)))[0] == [(2, 3), (3, 8)]


def test_of_equal_assignments_the_one_is_taken_that_accepts_more():
    """Tags 10 and 20 to people with tags 0 and 10 are 0 + 20 or 10 + 10 away."""
    for one, other in ((10, 20), (20, 10)):
        maps = draw(2, (0, 2, 3, 1, 0), (0, 12, 3, 1, 10), (1, 2, 8, 0.9, one), (1, 12, 8, 0.9, other))
        found = group(*maps, rules(2, refine=False))
        accepted = (2, 8) if one == 10 else (12, 8)
        assert cells(found) == [[(2, 3), None], [(12, 3), accepted], [None, (14 - accepted[0], 8)]]


def test_of_equal_assignments_the_nearer_one_is_taken():
    maps = draw(2, (0, 2, 3, 1, 10), (0, 12, 3, 1, 10.4), (1, 12, 8, 0.9, 10.3), (1, 2, 8, 0.8, 10.1))
    assert cells(group(*maps, rules(2))) == [[(2, 3), (2, 8)], [(12, 3), (12, 8)]]


def test_a_tag_too_far_away_starts_a_person():
    maps = draw(2, (0, 2, 3, 1, 0), (1, 3, 8, 0.9, 1))
    assert len(group(*maps, rules(2)).joints) == 2
    assert len(group(*maps, rules(2, tag_threshold=1.01)).joints) == 1


def test_distances_are_euclidean():
    """0.8 along each of two dimensions is 1.13, the root mean square 0.8."""
    maps = draw(2, (0, 2, 3, 1, (0, 0)), (1, 3, 8, 0.9, (0.8, 0.8)), dimensions=2)
    assert len(group(*maps, rules(2)).joints) == 2
    assert len(group(*maps, rules(2, tag_threshold=1.2)).joints) == 1


def test_people_beyond_the_most_are_ignored_and_the_others_still_completed():
    heads = [(0, 2 * (i % 10), 2 * (i // 10), 1 - i / 100, 3 * i) for i in range(31)]
    hands = [(1, 2 * (i % 10), 2 * (i // 10) + 1, 0.5 + i / 100, 3 * i) for i in range(31)]
    found = group(*draw(2, *heads, *hands), rules(2, window=1))
    assert len(found.joints) == 30
    assert cells(found)[:29] == [
        [head[1:3], hand[1:3]] for head, hand in zip(heads[:29], hands[:29], strict=True)
    ]
    few = group(*draw(2, *heads, *hands), rules(2, window=1, max_people=1))
    assert cells(few) == [[(0, 0), (0, 1)]]  # joint 1's only peak is another's; this one was looked for


def test_the_order_of_joints_decides_who_starts_people():
    maps = draw(2, (0, 2, 3, 1, 0), (1, 3, 8, 0.9, 7))
    assert cells(group(*maps, Grouping((1, 0), refine=False))) == [[None, (3, 8)], [(2, 3), None]]


def test_what_a_peak_is():
    """Above the threshold, and the largest of its window: of a plateau every cell is."""
    maps = draw(
        1, (0, 4, 4, 0.9, 0), (0, 6, 5, 0.8, 9), (0, 12, 4, 0.5, 18), (0, 13, 4, 0.5, 27), (0, 8, 9, 0.1, 36)
    )
    assert cells(group(*maps, rules(1, window=5))) == [[(4, 4)], [(12, 4)], [(13, 4)]]
    assert cells(group(*maps, rules(1, window=3))) == [[(4, 4)], [(6, 5)], [(12, 4)], [(13, 4)]]
    assert len(group(*maps, rules(1, window=3, threshold=0.09)).joints) == 5


@pytest.mark.parametrize(("x", "y"), [(0, 0), (19, 15), (0, 15), (19, 7), (5, 0)])
def test_a_peak_at_the_border_stays_in_the_middle_of_its_cell(x, y):
    maps = draw(1, (0, x, y, 0.9, 0), (0, min(x + 1, 18), y, 0.3, 0), (0, x, max(y - 1, 1), 0.3, 0))
    assert group(*maps, rules(1)).joints[0, 0].tolist() == [x + 0.5, y + 0.5]


def test_points_move_a_quarter_towards_the_larger_neighbour():
    maps = draw(1, (0, 4, 4, 0.9, 0), (0, 5, 4, 0.4, 0), (0, 3, 4, 0.3, 0), (0, 4, 3, 0.3, 0))
    assert group(*maps, rules(1)).joints[0, 0].tolist() == [4.75, 4.25]
    maps[0][0, 5, 4] = 0.3
    assert group(*maps, rules(1)).joints[0, 0].tolist() == [4.75, 4.5], "equal neighbours move nothing"


def test_nobody_in_empty_maps():
    found = group(*draw(2), rules(2))
    assert [part.shape for part in found] == [(0, 2, 2), (0, 2), (0,)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_nobody(value):
    heatmaps, tags = draw(
        2, (0, 4, 4, 0.9, 0), (0, 12, 4, 0.8, value), (1, 4, 8, 0.8, 3e38), (1, 12, 8, value, 0)
    )
    assert cells(group(heatmaps, tags, rules(2, refine=False))) == [[(4, 4), None], [None, (4, 8)]]
    for maps in (
        (heatmaps, tags),
        (np.full_like(heatmaps, value), tags),
        (heatmaps, np.full_like(tags, value)),
    ):
        group(*maps, rules(2))


def test_orders_of_joints():
    assert joint_order(COCO) == (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)
    names = [MPII.joints[joint] for joint in joint_order(MPII)]
    assert names[:3] == ["head top", "neck", "thorax"] and names[-1] == "left ankle"
    for skeleton in SKELETONS.values():
        assert sorted(joint_order(skeleton)) == list(range(skeleton.num_joints))
    own = Skeleton("own", ("tail", "Left_Knee", "withers", "nose"), (), (), {}, (), (), (0.1,) * 4, (0, 1))
    assert joint_order(own) == (3, 1, 0, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_people": 0}, "1 to 1000, not 0"),
        ({"window": 4}, "4 cells has no middle"),
        ({"threshold": -0.1}, "at least 0"),
        ({"tag_threshold": float("nan")}, "above 0"),
        ({"joint_order": (0, 0, 1)}, "does not name each joint once"),
    ],
)
def test_settings_that_mean_nothing(settings, message):
    with pytest.raises(UserError, match=message):
        Grouping(**{"joint_order": (0, 1)} | settings)


def test_maps_of_other_shapes():
    heatmaps, tags = draw(2)
    for wrong in (
        (heatmaps[:1], tags),
        (heatmaps, tags[0]),
        (heatmaps, tags[:, :, :8]),
        (heatmaps, tags[:0]),
    ):
        with pytest.raises(UserError, match="are not"):
            group(*wrong, rules(2))
    with pytest.raises(UserError, match="at least 3 x 3"):
        group(heatmaps[:, :2], tags[:, :, :2], rules(2))
