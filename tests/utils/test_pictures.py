"""Drawings: the right colour at the right place, and nothing where nothing is known."""

from pathlib import Path

import numpy as np
import pytest

from src.datasets.images import read_image
from src.datasets.skeletons import LSP, SKELETONS, Skeleton
from src.errors import UserError
from src.evaluation.grouping import People
from src.utils import pictures
from src.utils.pictures import (
    draw_people,
    draw_pose,
    map_colours,
    maps_overlay,
    people_grid,
    prediction_grid,
    save_image,
    tags_overlay,
)

HAND = Skeleton("hand", ("palm", "left finger", "right finger"), ((1, 2),), (), {}, (), (), (1, 1, 1), (1, 2))
GREY = np.full((100, 120, 3), 90, np.uint8)


def pose(**places: tuple[float, float]) -> np.ndarray:
    """Joints of an LSP person, NaN but for those named."""
    joints = np.full((LSP.num_joints, 2), np.nan)
    for name, place in places.items():
        joints[LSP.index(name.replace("_", " "))] = place
    return joints


def drawn_center(image: np.ndarray) -> np.ndarray:
    """Middle of what was drawn on GREY, in continuous (x, y); antialiased pixels count by their share."""
    weight = np.abs(image.astype(float) - GREY).sum(2)
    rows, columns = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


@pytest.mark.parametrize("place", [(40.5, 30.5), (40.0, 31.0), (77.25, 60.75)])
def test_a_joint_is_drawn_where_it_is_to_a_fraction_of_a_pixel(place: tuple[float, float]) -> None:
    image = draw_pose(GREY, pose(left_knee=place), LSP, thickness=4)
    # OpenCV places in 16ths of a pixel; half a pixel would be the old mistake
    np.testing.assert_allclose(drawn_center(image), place, atol=0.13)
    assert tuple(image[int(place[1]), int(place[0])]) == pictures.LEFT


def test_a_limb_is_drawn_between_its_joints_in_the_colour_of_its_side() -> None:
    joints = pose(right_hip=(30.5, 20.5), right_knee=(30.5, 80.5), left_hip=(90.5, 20.5))
    image = draw_pose(GREY, joints, LSP, thickness=3)
    assert tuple(image[50, 30]) == pictures.RIGHT
    assert tuple(image[20, 60]) == pictures.TRUNK  # hip to hip
    assert tuple(image[50, 90]) == (90, 90, 90)  # no left knee, no thigh


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)
def test_colours_change_sides_with_the_joints(skeleton: Skeleton) -> None:
    other = {pictures.LEFT: pictures.RIGHT, pictures.RIGHT: pictures.LEFT, pictures.TRUNK: pictures.TRUNK}
    flip = skeleton.flip_order
    for joint in range(skeleton.num_joints):
        mirrored = pictures.joint_colour(skeleton, flip[joint])
        assert mirrored == other[pictures.joint_colour(skeleton, joint)]
    for a, b in skeleton.limbs:
        mirrored = pictures.limb_colour(skeleton, (flip[a], flip[b]))
        assert mirrored == other[pictures.limb_colour(skeleton, (a, b))]


def test_unknown_joints_are_left_out() -> None:
    joints = np.where(np.isnan(pose(left_knee=(40, 40))), 70.0, pose(left_knee=(40, 40)))
    keep = np.arange(LSP.num_joints) == LSP.index("left knee")
    expected = draw_pose(GREY, pose(left_knee=(40, 40)), LSP)
    np.testing.assert_array_equal(draw_pose(GREY, joints, LSP, scores=keep * 0.8, threshold=0.3), expected)
    np.testing.assert_array_equal(draw_pose(GREY, joints, LSP, visible=2 * keep), expected)
    np.testing.assert_array_equal(draw_pose(GREY, pose(), LSP), GREY)


def test_a_hidden_joint_is_a_ring() -> None:
    visible = np.ones(LSP.num_joints, np.int8)
    image = draw_pose(GREY, pose(left_knee=(40.5, 40.5)), LSP, visible=visible, thickness=6)
    assert tuple(image[40, 40]) == pictures.EDGE
    assert tuple(image[40, 45]) == pictures.LEFT


def test_the_picture_given_is_not_changed_and_far_joints_do_no_harm() -> None:
    before = GREY.copy()
    image = draw_pose(GREY, pose(left_hip=(50.5, 50.5), left_knee=(1e12, 50.5)), LSP)
    np.testing.assert_array_equal(GREY, before)
    assert tuple(image[50, 100]) == pictures.LEFT  # the thigh leaves the picture to the right


def test_a_grid_scales_joints_with_their_pictures() -> None:
    """One wide and one tall picture, both of an odd size: the knee is drawn where its pixel went."""
    wide, tall = np.full((50, 100, 3), 90, np.uint8), np.full((200, 80, 3), 90, np.uint8)
    wide[10:15, 80:85] = tall[150:160, 20:30] = (0, 200, 0)  # where the knees are
    joints = np.stack([pose(left_knee=(82.5, 12.5)), pose(left_knee=(25, 155))])
    sheet = prediction_grid([wide, tall], joints, None, LSP, columns=2, cell=100)
    plain = prediction_grid([wide, tall], np.full_like(joints, np.nan), None, LSP, columns=2, cell=100)
    assert sheet.shape == (104, 206, 3)
    changed = (sheet != plain).any(2)
    green = (plain == (0, 200, 0)).all(2)
    assert green.sum() >= 2 * 4 * 4
    for half in (slice(0, 103), slice(103, 206)):
        # the dot covers the whole mark, around the same middle
        assert changed[:, half][green[:, half]].all()
        dot, mark = (np.argwhere(where[:, half]).mean(0) for where in (changed, green))
        np.testing.assert_allclose(dot, mark, atol=0.5)


def test_a_grid_counts_the_joints_within_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    captions: list[str] = []

    def note_caption(image: np.ndarray, caption: str) -> np.ndarray:
        captions.append(caption)
        return image

    monkeypatch.setattr(pictures, "_framed", note_caption)
    truth = np.full((2, LSP.num_joints, 2), 40.0)
    predicted = truth.copy()
    predicted[:, :4, 0] += 5.9  # a twentieth of the longer side, 120, is 6
    predicted[:, 4:7, 0] += 6.1
    visible = np.full((2, LSP.num_joints), 2)
    visible[1, 6:] = 0
    prediction_grid([GREY, GREY], predicted, truth, LSP, 2, visible=visible)
    prediction_grid([GREY, GREY], predicted, truth, LSP, 2, visible=visible, tolerance=np.array([6.2, 5.0]))
    expected = ["11 of 14", "4 of 6", "14 of 14", "0 of 6"]
    assert captions == [f"{count} joints right" for count in expected]


def test_a_grid_has_its_rows() -> None:
    joints = np.full((5, LSP.num_joints, 2), 20.0)
    sheet = prediction_grid([GREY] * 5, joints, joints, LSP, columns=2, cell=80)
    assert sheet.shape == (3 * (80 + 14 + 2) + 2, 2 * 82 + 2, 3)
    assert (sheet[-50:, -50:] == pictures.PAPER).all()  # the sixth place is empty
    with pytest.raises(UserError, match="at least one picture"):
        prediction_grid([], joints[:0], None, LSP, columns=2)


def people(*persons: tuple[float, np.ndarray], score: float = 1.0) -> People:
    """People by their score and their joints."""
    joints = np.array([joints for _, joints in persons], np.float32).reshape(-1, LSP.num_joints, 2)
    person_score = np.array([sure for sure, _ in persons], np.float32)
    return People(joints, np.full(joints.shape[:2], score, np.float32), person_score)


def test_everybody_has_a_colour_and_the_surest_is_on_top() -> None:
    at, beside = pose(left_knee=(40.5, 40.5)), pose(left_knee=(40.5, 70.5))
    crowd = people((0.9, at), (0.5, at), (0.7, beside))
    image = draw_people(GREY, crowd, LSP, thickness=6)
    assert tuple(image[40, 40]) == pictures.PEOPLE[0] and tuple(image[70, 40]) == pictures.PEOPLE[2]
    many = people(*((0.5, pose(left_knee=(5 + 11 * place, 50))) for place in range(10)))
    image = draw_people(GREY, many, LSP, thickness=2)
    drawn = [tuple(image[50, 5 + 11 * place]) for place in range(10)]
    assert drawn == [pictures.PEOPLE[place % 8] for place in range(10)] and len(set(drawn)) == 8


def test_nobody_and_unsure_joints_are_not_drawn() -> None:
    alone = (0.9, pose(left_knee=(40, 40)))
    for image in (
        draw_people(GREY, people(), LSP),
        draw_people(GREY, people((0.9, pose())), LSP),
        draw_people(GREY, people(alone, score=0.2), LSP, threshold=0.3),
    ):
        np.testing.assert_array_equal(image, GREY)
        assert image is not GREY
    assert (draw_people(GREY, people(alone, score=0.3), LSP, threshold=0.3) != GREY).any()


def test_a_grid_of_people_scales_them_with_their_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sure ones are drawn where they are, and counted beside those annotated."""
    captions: list[str] = []
    framed = pictures._framed

    def note_caption(image: np.ndarray, caption: str) -> np.ndarray:
        captions.append(caption)
        return framed(image, caption)

    monkeypatch.setattr(pictures, "_framed", note_caption)
    wide, tall = np.full((50, 100, 3), 90, np.uint8), np.full((200, 100, 3), 90, np.uint8)
    found = [people((0.9, pose(left_knee=(80, 10))), (0.1, pose(left_knee=(20, 10)))), people()]
    joints = np.stack([pose(left_hip=(51, 20), left_knee=(51, 180)), np.zeros((LSP.num_joints, 2))])
    visible = np.zeros((2, LSP.num_joints), np.int8)
    visible[0] = 2
    truth = [(joints[:0], visible[:0]), (joints, visible)]
    sheet = people_grid([wide, tall], found, truth, LSP, columns=2, cell=100)
    assert sheet.shape == (100 + 14 + 4, 206, 3)
    assert captions == ["1 found, 0 annotated", "0 found, 1 annotated"]
    # 100 x 50 px lie in the middle of the first cell, 50 x 100 px, half of the picture, in that of the second
    assert tuple(sheet[2 + 25 + 10, 2 + 80]) == pictures.PEOPLE[0] and tuple(sheet[37, 22]) == (90, 90, 90)
    assert (sheet[2 + 50, 104 + 25 + 25] > 200).all()  # the middle of the thigh, white
    with pytest.raises(UserError, match="at least one picture"):
        people_grid([], [], [], LSP, columns=2)


def test_a_heatmap_lies_over_its_cells() -> None:
    heatmaps = np.zeros((3, 8, 8), np.float32)
    heatmaps[1, 2, 5] = 1.0  # covers x 80…96, y 32…48 of the picture
    heatmaps[2] = -0.5
    fill = np.array([[16.0, 0, 0], [0, 16.0, 0]])
    dark = maps_overlay(np.full((128, 128, 3), 100, np.uint8), [(heatmaps, fill)], HAND)
    brightness = dark.sum(2).astype(float) - 3 * 60
    rows, columns = np.nonzero(brightness > 0.9 * brightness.max())
    assert abs(rows.mean() + 0.5 - 40) < 1 and abs(columns.mean() + 0.5 - 88) < 1
    assert (dark[100:, :40] == 60).all()


def test_a_picture_comes_back_from_its_file(tmp_path: Path) -> None:
    image = draw_pose(GREY, pose(left_knee=(40, 40), left_hip=(80, 20)), LSP)
    save_image(tmp_path / "pose.png", image)
    np.testing.assert_array_equal(read_image(tmp_path / "pose.png"), image)
    save_image(tmp_path / "pose.JPG", GREY)
    assert np.abs(read_image(tmp_path / "pose.JPG").astype(int) - GREY).max() <= 2  # JPEG rounds
    assert {path.name for path in tmp_path.iterdir()} == {"pose.png", "pose.JPG"}


def test_a_picture_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must end in \.png"):
        save_image(tmp_path / "pose.gif", GREY)
    with pytest.raises(UserError, match="cannot be written: No such file"):
        save_image(tmp_path / "missing" / "pose.png", GREY)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match="cannot be written: Is a directory"):
        save_image(tmp_path / "folder.png", GREY)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_a_picture_too_large_for_a_jpeg_is_one_line(tmp_path: Path) -> None:
    image = np.zeros((1, 65_501, 3), np.uint8)
    with pytest.raises(UserError, match=r"a\.jpg cannot be written: a JPEG has at most 65,500 pixels a side"):
        save_image(tmp_path / "a.jpg", image)
    save_image(tmp_path / "a.png", image)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_the_picture_shows_through_what_is_not_sure() -> None:
    """The knee covers it wholly from a score of 0.8, by a fifth at 0, by three at 0.4; so do limbs."""
    joints = pose(left_hip=(30.5, 20.5), left_knee=(30.5, 80.5))
    shares = {}
    for score in (0.0, 0.4, 0.8, 7.0):
        scores = np.full(LSP.num_joints, score)
        image = draw_pose(GREY, joints, LSP, scores=scores, thickness=5, fade=True).astype(float)
        for what, (y, x) in {"joint": (80, 30), "limb": (50, 30)}.items():
            shares[what, score] = np.mean((image[y, x] - GREY[y, x]) / (np.array(pictures.LEFT) - GREY[y, x]))
        assert tuple(image[50, 60]) == (90, 90, 90)
    for what in ("joint", "limb"):
        found = [shares[what, score] for score in (0.0, 0.4, 0.8, 7.0)]
        np.testing.assert_allclose(found, [0.2, 0.6, 1, 1], atol=0.03)


def test_the_sure_and_those_who_are_not_faded_look_alike() -> None:
    """Outside of what is smoothed at edges, where the cover is smoothed, too."""
    joints = pose(left_hip=(30.5, 20.5), left_knee=(30.5, 80.5), right_hip=(90.2, 20.5))
    sure = draw_pose(GREY, joints, LSP, scores=np.ones(LSP.num_joints), thickness=5, fade=True)
    plain = draw_pose(GREY, joints, LSP, thickness=5)
    assert (sure != plain).any(2).mean() < 0.04
    assert np.abs(sure.astype(int) - plain).max() < 60


@pytest.mark.parametrize("place", [(-500.0, 50.0), (119.0, 99.0), (0.0, 0.0)])
def test_faded_joints_may_lie_outside(place: tuple[float, float]) -> None:
    joints = pose(left_hip=place, left_knee=(1e7, 1e7))
    image = draw_pose(GREY, joints, LSP, scores=np.full(LSP.num_joints, 0.5), fade=True)
    assert image.shape == GREY.shape


def test_people_may_have_colours_of_their_own() -> None:
    joints = np.stack([pose(left_knee=(30.5, 50.5)), pose(left_knee=(90.5, 50.5))])
    scores = np.ones((2, LSP.num_joints), np.float32)
    people = People(joints, scores, np.array([0.5, 0.9]))
    image = draw_people(GREY, people, LSP, thickness=5, colours=[pictures.PEOPLE[3], None])
    assert tuple(image[50, 30]) == pictures.PEOPLE[3]
    assert tuple(image[50, 90]) == pictures.LEFT


def test_maps_of_parts_lie_where_they_were_seen() -> None:
    """Two boxes of 8 cells of 4 pixels, a peak in each; beside them the picture is dark."""
    heatmaps = np.zeros((3, 8, 8), np.float32)
    heatmaps[0, 2, 5] = 1.0
    views = [(heatmaps, np.array([[4.0, 0, x], [0, 4.0, y]])) for x, y in ((8, 16), (70, 50))]
    shown = maps_overlay(GREY, views, HAND)
    for x, y in ((8 + 22, 16 + 10), (70 + 22, 50 + 10)):
        assert shown[y, x].sum() > shown[y, x - 12].sum() + 200
    assert tuple(shown[90, 10]) == (54, 54, 54)


def test_a_map_has_the_colour_of_its_joint() -> None:
    """Beside each other and in one cell, where that of the higher prevails; no colour is there twice."""
    heatmaps = np.zeros((LSP.num_joints, 8, 8), np.float32)
    knee, elbow = LSP.index("left knee"), LSP.index("right elbow")
    heatmaps[knee, 2, 1] = heatmaps[elbow, 2, 6] = heatmaps[elbow, 6, 3] = 1.0
    heatmaps[knee, 6, 3] = 0.2
    shown = maps_overlay(GREY, [(heatmaps, np.array([[15.0, 0, 0], [0, 12.5, 0]]))], LSP).astype(float)
    colours = map_colours(LSP)
    for (row, column), joint in (((2, 1), knee), ((2, 6), elbow), ((6, 3), elbow)):
        middle = shown[int(12.5 * (row + 0.5)), int(15 * (column + 0.5))]
        assert np.abs(middle - colours[joint]).max() < 30
    for skeleton in SKELETONS.values():
        apart = map_colours(skeleton)[:, None] - map_colours(skeleton)
        assert np.linalg.norm(apart, axis=2)[~np.eye(len(apart), dtype=bool)].min() > 10


def test_tags_colour_people() -> None:
    """Peaks with a low, a high and again the low tag, in one joint or another; there may be two numbers."""
    heatmaps, tags = np.zeros((2, 8, 8), np.float32), np.zeros((2, 8, 8), np.float32)
    for joint, row, column, tag in ((0, 1, 1, -3.0), (1, 6, 1, 5.0), (1, 1, 6, -3.0)):
        heatmaps[joint, row, column], tags[joint, row, column] = 0.9, tag
    fill = np.array([[15.0, 0, 0], [0, 12.5, 0]])
    shown = tags_overlay(GREY, heatmaps, tags, fill).astype(int)
    low, high, also_low = shown[18, 22], shown[81, 22], shown[18, 97]
    assert np.abs(low - also_low).max() < 10 and np.abs(low - high).max() > 80
    twice = np.stack([tags, -tags], axis=-1)
    np.testing.assert_array_equal(tags_overlay(GREY, heatmaps, twice, fill), shown)


def test_where_nothing_is_seen_tags_have_no_colour() -> None:
    empty = np.zeros((2, 8, 8), np.float32)
    shown = tags_overlay(GREY, empty, empty, np.array([[15.0, 0, 0], [0, 12.5, 0]]))
    assert (shown == 54).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_maps_of_a_network_that_has_diverged_have_no_colour(value: float) -> None:
    maps, fill = np.full((3, 8, 8), value, np.float32), np.array([[15.0, 0, 0], [0, 12.5, 0]])
    with np.errstate(invalid="raise"):
        assert (tags_overlay(GREY, maps, maps, fill) == 54).all()
        assert (maps_overlay(GREY, [(maps, fill)], HAND) == 54).all()


def test_limbs_are_as_wide_as_sizes_say() -> None:
    """And not as their joints lie, of which one may be out of sight in the next frame."""
    near, far = (pose(left_hip=(30.5, 20.5), left_knee=(30.5, y)) for y in (40.5, 90.5))
    widths = []
    for joints in (near, far):
        people = People(joints[None], np.ones((1, LSP.num_joints)), np.ones(1))
        image = draw_people(GREY, people, LSP, sizes=[700.0], colours=[None])
        widths.append(int((image[30] == pictures.LEFT).all(1).sum()))
    assert widths[0] == widths[1] and 7 <= widths[0] <= 8  # 7, of which edges are smoothed
