"""Synthetic people: the same on every call, labelled from one body, hidden where something covers them."""

import pickle
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

from src.datasets import affine
from src.datasets.skeletons import COCO, LSP, MPII, PENN, SKELETONS, Skeleton
from src.datasets.synth import SynthPeople, __main__
from src.datasets.synth.body import (
    BONE,
    LANDMARK_DEPTHS,
    LANDMARK_NAMES,
    LIMB_ANGLES,
    LIMB_LIMITS,
    SPINE_LIMITS,
    TRUNK_ANGLES,
    Build,
    Pose,
    landmarks,
    pose_frames,
    sample_build,
)
from src.datasets.synth.camera import FACING, Camera, sample_camera
from src.datasets.synth.figure import Body, dress, sample_body
from src.datasets.synth.poses import BASES, POSES, sample_pose
from src.datasets.synth.render import Drawing, Layer, Light, draw, lay_over
from src.datasets.synth.rotation import IDENTITY, X, Y, Z, blend, matrix, spin
from src.datasets.synth.scene import (
    BOX_OVER_JOINTS,
    HIDDEN,
    OUTSIDE,
    SCENERY,
    VISIBLE,
    framed,
    sample_scene,
)
from src.datasets.synth.style import STYLES
from src.datasets.synth.surface import ARM, RING, TRUNK, cut
from src.errors import UserError

RES = 96  # pixels; small, to be quick
SIDE = 108  # of pictures at that resolution
EXPECTED = [(127.208, 230.262), (153.056, 56.221), (136.840, 147.088)]  # some joints of the first person


def people(
    split: str = "train", skeleton: Skeleton = MPII, resolution: int = RES, size: int = 1000
) -> SynthPeople:
    return SynthPeople(split, size, skeleton, resolution)


def build_of(seed: int = 0) -> Build:
    return sample_build(np.random.default_rng(seed))


def standing(**angles: float) -> Pose:
    """A body at attention, arms hanging, but for the given angles of both sides or of the trunk."""
    trunk = [angles.get(name, 0.0) for name in TRUNK_ANGLES]
    limb = [angles.get(name.replace(" ", "_"), 0.0) for name in LIMB_ANGLES]
    return Pose(np.array(trunk), np.array([limb, limb]))


def camera_at(yaw: float, focal: float = 100.0, distance: float = 5.0, side: int = 128) -> Camera:
    turned = FACING @ matrix(spin(IDENTITY, Y, yaw))
    return Camera(turned, np.array([0, 0, distance]), focal, np.full(2, side / 2), 0.0, 0.0)


DAYLIGHT = Light(np.array([0.0, -0.7, -0.7]), 0.5, np.ones(3), (0, 0))


# ------------------------------------------------------------------------------------- the source of people


def test_a_person_has_the_shapes_and_types_of_the_contract():
    source = people()
    person = source.person(3)
    assert len(source) == 1000 and source.name == "synth train" and source.skeleton is MPII
    picture = person.read(1).pixels
    assert picture.shape == (SIDE, SIDE, 3) and picture.dtype == np.uint8
    assert person.joints.shape == (MPII.num_joints, 2) and person.joints.dtype == np.float32
    assert person.visible.dtype == np.int8 and set(person.visible.tolist()) <= {OUTSIDE, HIDDEN, VISIBLE}
    assert person.center.dtype == np.float32 and person.enlarge == 1.25 and person.shift == 0
    assert person.norm > 0


def test_a_person_depends_on_nothing_but_split_index_and_resolution():
    source = people()
    before = source.person(5)
    source.person(6)  # no history
    for again in (source.person(5), people(size=6).person(5), pickle.loads(pickle.dumps(source)).person(5)):
        np.testing.assert_array_equal(before.read(1).pixels, again.read(1).pixels)
        for old, new in zip(before[1:], again[1:], strict=True):
            np.testing.assert_array_equal(old, new)


def test_joints_are_those_of_every_machine():
    """Stored numbers: a change of drawing must not move the joints of anybody."""
    joints = people(resolution=256).person(0).joints
    np.testing.assert_allclose(joints[[0, 9, 15]], EXPECTED, atol=0.01)


def test_splits_and_indices_differ():
    drawn = [people(split).person(i).joints for split in ("train", "valid", "test") for i in range(4)]
    for one, other in combinations(drawn, 2):
        assert np.abs(one - other).max() > 1


def test_joints_grow_with_the_resolution():
    for index in range(6):
        small, large = (people(resolution=resolution).person(index) for resolution in (64, 128))
        np.testing.assert_allclose(large.joints, 2 * small.joints, rtol=1e-5, atol=1e-3)  # float32
        inside = (small.visible > OUTSIDE) & (large.visible > OUTSIDE)
        assert (inside == (small.visible > OUTSIDE)).all()
        assert (small.visible == large.visible).mean() > 0.7  # drawn on pixels of another size


def test_skeletons_are_read_off_one_body():
    drawn = {name: people(skeleton=skeleton).person(7) for name, skeleton in SKELETONS.items()}
    for one, other in combinations(drawn, 2):
        np.testing.assert_array_equal(drawn[one].read(1).pixels, drawn[other].read(1).pixels)
        for joint in set(SKELETONS[one].joints) & set(SKELETONS[other].joints):
            a, b = SKELETONS[one].joints.index(joint), SKELETONS[other].joints.index(joint)
            np.testing.assert_array_equal(drawn[one].joints[a], drawn[other].joints[b])
            assert drawn[one].visible[a] == drawn[other].visible[b]


def test_only_mpii_has_a_norm_and_it_is_the_size_of_a_head():
    assert np.isnan(people(skeleton=LSP).person(0).norm)
    for index in range(20):
        person = people(skeleton=MPII).person(index)
        neck, top = person.joints[MPII.index("neck")], person.joints[MPII.index("head top")]
        if np.linalg.norm(neck - top) > 8:  # seen from above a head hides its neck
            assert 0.35 < person.norm / np.linalg.norm(neck - top) < 1.6


def test_the_box_is_the_one_around_the_labelled_joints():
    for index in range(30):
        person = people(skeleton=LSP).person(index)
        shown = person.joints[person.visible > OUTSIDE]
        np.testing.assert_allclose(person.center, (shown.max(0) + shown.min(0)) / 2, atol=1e-3)
        assert person.scale * 200 == pytest.approx(1.1 * (shown.max(0) - shown.min(0)).max(), rel=1e-4)


def test_labelled_joints_lie_in_the_picture_and_in_the_crop():
    cut_off = 0
    for index in range(60):
        person = people(skeleton=COCO).person(index)
        inside = ((person.joints >= 0) & (person.joints < SIDE)).all(1)
        np.testing.assert_array_equal(person.visible > OUTSIDE, inside)
        crop = affine.crop_matrix(person.center, person.scale * person.enlarge, RES)
        placed = affine.apply(crop, person.joints[inside])
        assert placed.min() > 0 and placed.max() < RES
        cut_off += not inside.all()
    assert 0 < cut_off < 20  # a tenth on average


def test_joints_are_visible_hidden_and_outside_in_sensible_shares():
    flags = np.concatenate([people(skeleton=PENN).person(index).visible for index in range(60)])
    assert 0.5 < (flags == VISIBLE).mean() < 0.9
    assert 0.08 < (flags == HIDDEN).mean() < 0.4


def test_unknown_splits_indices_and_joints_are_refused():
    with pytest.raises(UserError, match=r"no split 'trian'.*did you mean 'train'"):
        people("trian")
    with pytest.raises(IndexError, match="10 samples"):
        people(size=10).person(10)
    strange = replace(LSP, joints=("tail", *LSP.joints[1:]))
    with pytest.raises(UserError, match="joints tail of skeleton lsp"):
        people(skeleton=strange)


# ----------------------------------------------------------------------------------- body, poses and camera


def test_a_turn_by_a_quaternion_is_that_of_its_matrix():
    for axis, expected in (
        (X, [[1, 0, 0], [0, 0, -1], [0, 1, 0]]),
        (Y, [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]),
        (Z, [[0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    ):
        np.testing.assert_allclose(matrix(spin(IDENTITY, axis, 90.0)), expected, atol=1e-12)
    first, second = spin(IDENTITY, X, 20.0), spin(IDENTITY, X, 80.0)
    halfway = blend(first, second, np.array(0.5))
    np.testing.assert_allclose(matrix(halfway), matrix(spin(IDENTITY, X, 50.0)), atol=1e-12)


def test_somebody_at_attention_has_their_joints_in_order():
    build = build_of()
    points = dict(zip(LANDMARK_NAMES, landmarks(pose_frames(standing(), build), build), strict=True))
    heights = [
        points[name][1] for name in ("head top", "nose", "neck", "left hip", "left knee", "left ankle")
    ]
    assert heights == sorted(heights, reverse=True)
    for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "eye", "ear"):
        left, right = points[f"left {name}"], points[f"right {name}"]
        assert left[0] > 0  # x runs to the person's left
        np.testing.assert_allclose(right, left * (-1, 1, 1), atol=1e-12)
    assert points["nose"][2] > points["left ear"][2]
    stature = points["head top"][1] - points["left ankle"][1]
    assert 0.85 < stature < 2.1


@pytest.mark.parametrize(
    ("angles", "joint", "axis", "sign"),
    [
        ({"raise": 90}, "left wrist", 0, 1),  # to the side
        ({"raise": 90, "swing": 90}, "left wrist", 2, 1),  # to the front
        ({"raise": 178}, "left wrist", 1, 1),  # overhead
        ({"elbow": 90}, "left wrist", 2, 1),
        ({"flex": 90}, "left knee", 2, 1),
        ({"knee": 90}, "left ankle", 2, -1),
        ({"spread": 60}, "left knee", 0, 1),
        ({"bend": 60}, "head top", 2, 1),
        ({"turn": 60}, "nose", 0, 1),
    ],
)
def test_angles_move_joints_the_way_their_names_say(angles, joint, axis, sign):
    build = build_of()
    rest = landmarks(pose_frames(standing(), build), build)[LANDMARK_NAMES.index(joint)]
    moved = landmarks(pose_frames(standing(**angles), build), build)[LANDMARK_NAMES.index(joint)]
    assert sign * (moved - rest)[axis] > 0.05


def test_bones_keep_their_lengths_in_every_pose():
    rng = np.random.default_rng(1)
    for _ in range(20):
        build = sample_build(rng)
        origins = sample_pose(rng, build).origins
        for side in ("left", "right"):
            thigh = origins[BONE[f"{side} shank"]] - origins[BONE[f"{side} thigh"]]
            assert np.linalg.norm(thigh) == pytest.approx(build.thigh * build.stature)
            forearm = origins[BONE[f"{side} hand"]] - origins[BONE[f"{side} forearm"]]
            assert np.linalg.norm(forearm) == pytest.approx(build.forearm * build.stature)


def test_limits_hold_and_base_poses_respect_them():
    wild = Pose(np.full(8, 400.0), np.full((2, len(LIMB_ANGLES)), -400.0)).within_limits()
    np.testing.assert_array_equal(wild.trunk[2:], SPINE_LIMITS[:, 1])
    np.testing.assert_array_equal(wild.limbs, np.broadcast_to(LIMB_LIMITS[:, 0], wild.limbs.shape))
    for basis in BASES:
        pose = Pose(basis.trunk, basis.limbs)
        np.testing.assert_array_equal(pose.within_limits().limbs, basis.limbs)
        np.testing.assert_array_equal(pose.within_limits().trunk, basis.trunk)


def test_a_mirrored_pose_is_the_mirrored_body():
    rng = np.random.default_rng(2)
    build = build_of(2)
    low, high = LIMB_LIMITS.T
    pose = Pose(rng.normal(0, 20, 8), rng.uniform(low, high, (2, len(LIMB_ANGLES))))
    body, mirror = (landmarks(pose_frames(p, build), build) for p in (pose, pose.mirrored()))
    swapped = [
        LANDMARK_NAMES.index(name.replace("left", "*").replace("right", "left").replace("*", "right"))
        for name in LANDMARK_NAMES
    ]
    np.testing.assert_allclose(mirror[swapped], body * (-1, 1, 1), atol=1e-12)


@pytest.mark.parametrize(("yaw", "order"), [(0, 1), (180, -1)])
def test_left_is_the_persons_own(yaw, order):
    """Who faces the camera has the left shoulder at the larger x; from behind it is the right one."""
    build = build_of()
    points = landmarks(pose_frames(standing(), build), build)
    camera = camera_at(yaw)
    x = camera.project(camera.see(points))[:, 0]
    left, right = (x[LANDMARK_NAMES.index(f"{side} shoulder")] for side in ("left", "right"))
    assert order * (left - right) > 2


# ---------------------------------------------------------------------------------------- drawing and labels


def drawing_of(yaw: float, **angles: float) -> tuple[Body, Camera, Drawing]:
    build = build_of(4)
    body = Body(build, pose_frames(standing(**angles), build))
    quads = dress(np.random.default_rng(0), body)
    camera = camera_at(yaw)
    drawing = draw(quads, camera, DAYLIGHT, (128, 128), body.points, LANDMARK_DEPTHS)
    assert drawing is not None
    return body, camera, drawing


def hidden_names(drawing: Drawing) -> set[str]:
    return {name for name, hidden in zip(LANDMARK_NAMES, drawing.hidden, strict=True) if hidden}


def test_a_body_hides_its_far_side():
    front, back, left_side = (hidden_names(drawing_of(yaw)[2]) for yaw in (0, 180, -90))
    assert not front & {"nose", "left eye", "right eye", "left knee", "right ankle", "left shoulder"}
    assert {"nose", "left eye", "right eye"} <= back
    assert {"right shoulder", "right hip", "right ear"} <= left_side
    assert not left_side & {"left shoulder", "left hip", "left knee", "left ear"}


def test_a_person_is_drawn_where_their_joints_are():
    body, camera, drawing = drawing_of(0, **{"raise": 60})
    inner = [
        LANDMARK_NAMES.index(name) for name in ("left elbow", "right wrist", "left knee", "thorax", "head")
    ]
    assert drawing.layer.covers(camera.project(camera.see(body.points))[inner]).all()
    assert not drawing.layer.covers(np.array([[1.0, 1.0], [126.0, 126.0], [-5.0, 3.0]])).any()


def test_surfaces_look_outwards():
    """Corners of quads go round counter-clockwise seen from outside: wrong winding would show insides."""
    for seed in range(12):  # all kinds of hair and clothes
        body = Body(
            build_of(seed), pose_frames(standing(**{"raise": 40, "flex": 15, "spread": 10}), build_of(seed))
        )
        quads = dress(np.random.default_rng(seed), body)
        corners = quads.vertices[quads.corners]
        normal = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
        rings = quads.vertices[: len(quads.vertices) // RING * RING].reshape(-1, RING, 3).mean(1)
        bands = quads.corners[:, 0] // RING < len(rings) - 5  # not the face
        inside = rings[np.minimum(quads.corners[:, 0] // RING, len(rings) - 1)]
        outwards = (normal * (corners.mean(1) - inside)).sum(1)[bands] > 0
        assert outwards.mean() > 0.95  # ends of tubes and folds may lean the other way


def test_from_every_side_the_surface_has_no_holes():
    for yaw in range(0, 360, 45):
        alpha = drawing_of(yaw, **{"raise": 50})[2].layer.alpha
        shape = (alpha > 127).astype(np.uint8)
        contours, hierarchy = cv2.findContours(shape, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        holes = [cv2.contourArea(c) for c, h in zip(contours, hierarchy[0], strict=True) if h[3] >= 0]
        assert sum(area for area in holes if area < 30) < 15  # between arm and trunk there is a large one


def test_layers_blend_into_the_picture_and_are_cut_at_its_edge():
    picture = np.full((4, 4, 3), 100, np.uint8)
    alpha = np.array([[255, 128], [0, 255]], np.uint8)
    color = np.stack([alpha // 255 * 200] * 3, axis=-1).astype(np.uint8)
    lay_over(picture, Layer(color, alpha, 3, -1))
    assert picture[0, 3].tolist() == [100, 100, 100]  # the clear pixel; the others are outside
    lay_over(picture, Layer(color, alpha, 0, 0))
    assert picture[0, 0].tolist() == [200] * 3 and picture[0, 1].tolist() == [50] * 3
    lay_over(picture, Layer(color, alpha, 9, 9))
    assert picture[2:, 2:].min() == 100


def test_what_is_drawn_over_a_joint_hides_it(monkeypatch):
    """The same scene with and without a board before the person."""
    import src.datasets.synth.scene as scene

    board = Layer(np.zeros((60, SIDE, 3), np.uint8), np.full((60, SIDE), 255, np.uint8), 0, 60)
    flags = []
    for layers in ([], [(board, SCENERY)]):
        monkeypatch.setattr(scene, "_foreground", lambda *_, layers=layers: layers)
        geometry, look = np.random.default_rng(8), np.random.default_rng(9)
        labels = sample_scene(geometry, look, RES).render().labels
        flags.append(labels[0])
    free, covered = flags
    below = free.points[:, 1] >= 60
    assert below.any() and not below.all()
    assert (covered.visible[below] < VISIBLE).all()
    np.testing.assert_array_equal(free.visible[~below], covered.visible[~below])
    assert (free.visible[below] == VISIBLE).any()


@pytest.mark.parametrize(("profile", "at"), [(ARM, 0.4), (ARM, 1.9), (TRUNK, 0.95), (TRUNK, 2.9)])
def test_a_hem_moves_two_rings_and_keeps_the_shape(profile, at):
    result = cut(profile, at)
    assert len(result) == len(profile)
    steps = np.diff(result[:, 0])
    assert (steps >= 0).all() or (steps <= 0).all()
    assert np.sum(np.abs(result[:, 0] - at) < 0.01) >= 2
    order = np.argsort(profile[:, 0], kind="stable")
    width = np.interp(result[:, 0], profile[order, 0], profile[order, 2])
    free = result[:, 1] == 0  # round ends have several rings at one place
    np.testing.assert_allclose(result[free, 2], width[free], atol=0.002)  # of 0.05 to 0.16


# ----------------------------------------------------------------------------------------------- the sheet


def test_the_sheet_is_written(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    __main__.main(f"--out {out} --count 3 --columns 2 --resolution 64 --joints".split())
    assert np.asarray(cv2.imread(str(out))).shape == (128, 128, 3)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("--count 0", "from 1"),
        ("--out x.bmp", "must end in .png"),
        ("--out no/such/x.png", "cannot be written"),
    ],
)
def test_a_sheet_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, mistake: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        __main__.main(["--out", "x.png", *f"--count 1 --resolution 64 {mistake}".split()])
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not list(tmp_path.iterdir())


def test_upright_people_stand_before_the_camera() -> None:
    """Head over hips over feet, whole in the picture, and the left shoulder to the right in it."""
    people = SynthPeople("train", 40, MPII, 64, poses="upright")
    joints = np.stack([people.person(i).joints for i in range(40)])
    visible = np.stack([people.person(i).visible for i in range(40)])
    height = {
        name: joints[:, MPII.index(name), 1] for name in ("head top", "pelvis", "right ankle", "left ankle")
    }
    assert (height["head top"] < height["pelvis"]).all()
    assert (height["pelvis"] < np.maximum(height["right ankle"], height["left ankle"])).all()
    assert (visible > OUTSIDE).all()
    left, right = (joints[:, MPII.index(f"{side} shoulder"), 0] for side in ("left", "right"))
    assert (left > right).mean() > 0.9  # a twisted trunk may turn a few


def test_acrobats_are_upside_down_more_often() -> None:
    """A seventh of all poses has the neck below the pelvis, of acrobats nearly a third."""

    def inverted(poses: str) -> float:
        rng = np.random.default_rng(0)
        bodies = [sample_body(rng, poses) for _ in range(300)]
        neck, pelvis = (LANDMARK_NAMES.index(name) for name in ("neck", "pelvis"))
        return float(np.mean([body.points[neck, 1] < body.points[pelvis, 1] for body in bodies]))

    assert inverted("upright") == 0
    assert 0.05 < inverted("all") < 0.2 < inverted("acrobatic") < 0.4  # the deviation of each is about 0.025


def test_acrobats_are_folded_up_and_fill_their_crops() -> None:
    """The trunk takes more of a crop, and the knees come nearer to the shoulders, than of all people."""

    def of(poses: str) -> tuple[float, float]:
        people = [SynthPeople("train", 200, LSP, 64, poses=poses).person(row) for row in range(200)]
        joints = np.stack([person.joints for person in people])
        crops = 200 * np.array([person.scale for person in people])
        shoulder, hip, knee = (
            joints[:, [LSP.index(f"left {joint}"), LSP.index(f"right {joint}")]].mean(1)
            for joint in ("shoulder", "hip", "knee")
        )
        trunk, folded = (np.linalg.norm(shoulder - other, axis=1) for other in (hip, knee))
        return float(np.median(trunk / crops)), float(np.median(folded / trunk))

    (trunk, knees), (usual_trunk, usual_knees) = of("acrobatic"), of("all")
    assert trunk > 1.02 * usual_trunk and knees < usual_knees - 0.05  # in older drawings neither was so


def test_acrobats_are_photographed_with_more_contrast() -> None:
    """As photographs have it (src/datasets/synth/style.py): dark pixels, and details of one pixel."""

    def of(poses: str) -> tuple[float, float]:
        people = SynthPeople("train", 60, LSP, 128, poses=poses)
        grey = [cv2.cvtColor(people._rendering(row).picture, cv2.COLOR_RGB2GRAY) for row in range(60)]
        fine = [float(np.std(each - cv2.GaussianBlur(each.astype(float), (0, 0), 1))) for each in grey]
        return float(np.mean([(each < 20).mean() for each in grey])), float(np.median(fine))

    (dark, fine), (usually_dark, usually_fine) = of("acrobatic"), of("all")
    assert dark > 1.5 * usually_dark and fine > 1.3 * usually_fine


def test_every_set_of_poses_has_a_style() -> None:
    assert set(STYLES) == set(POSES)


@pytest.mark.parametrize("poses", POSES)
def test_crops_and_pictures_contain_each_other(poses: str) -> None:
    """All joints of those who are not cut off are in the picture; a crop is within it, or all around it."""
    style, side = STYLES[poses]._replace(cut_off=0.0), 64
    rng, beyond = np.random.default_rng(0), 0
    for _ in range(100):
        body = sample_body(rng, poses)
        camera = sample_camera(rng, body.points.mean(0), poses)
        camera = framed(rng, camera, body.points, side, style)
        flat = camera.project(camera.see(body.points))
        low, high = flat.min(0), flat.max(0)
        assert (low > 0).all() and (high < side).all()
        half = BOX_OVER_JOINTS * (high - low).max() / 2
        ends = np.array([(low + high) / 2 - half, (low + high) / 2 + half])
        within = (ends[0] > -1e-6).all() and (ends[1] < side + 1e-6).all()
        around = (ends[0] < 1e-6).all() and (ends[1] > side - 1e-6).all()
        assert within or around
        beyond += around
    assert bool(beyond) == (style.largest > 1)


def test_unknown_poses_are_refused() -> None:
    with pytest.raises(UserError, match=r"no poses 'uprigh' \(did you mean 'upright'\?\)"):
        SynthPeople("train", 1, MPII, poses="uprigh")
