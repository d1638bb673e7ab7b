"""The annotation record: what it refuses, how it is cut and converted, and that its arrays are shared."""

import multiprocessing
import pickle
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest

from src.datasets.annotations import HIDDEN, UNLABELLED, VISIBLE, Annotations
from src.datasets.skeletons import COCO, LSP, MPII
from src.errors import UserError
from tests.releases import HEIGHT, WIDTH, write_picture


@pytest.fixture
def people(tmp_path: Path) -> Annotations:
    rng = np.random.default_rng(0)
    count, joints = 4, LSP.num_joints
    write_picture(tmp_path / "images" / "b.jpg")
    return Annotations(
        name="toy train",
        skeleton=LSP,
        root=tmp_path,
        images=np.array([b"images/a.jpg", b"images/b.jpg", b"images/c.jpg", b"images/c.jpg"]),
        joints=rng.uniform(0, 60, (count, joints, 2)),
        visible=np.full((count, joints), VISIBLE),
        center=np.full((count, 2), 30.0),
        scale=np.arange(1.0, 5.0),
        enlarge=np.full(count, 1.25),
        shift=np.zeros(count),
        norm=np.full(count, np.nan),
        index=np.array([0, 1, 2, 2]),
        person_id=np.array([0, 0, 0, 1]),
    )


def test_dtypes_are_fixed(people: Annotations) -> None:
    assert people.joints.dtype == people.center.dtype == people.scale.dtype == people.norm.dtype == np.float32
    assert people.visible.dtype == np.int8 and people.index.dtype == people.person_id.dtype == np.int64


@pytest.mark.parametrize("field", ["joints", "visible", "center", "scale", "norm", "index"])
def test_wrong_shapes_are_refused(people: Annotations, field: str) -> None:
    with pytest.raises(UserError, match=f"toy train: {field} has shape .*, expected"):
        replace(people, **{field: getattr(people, field)[:-1]})


@pytest.mark.parametrize(
    ("field", "where", "value", "message"),
    [
        ("joints", (2, 5, 0), np.nan, "a joint that is not a finite number"),
        ("joints", (2, 5, 1), np.inf, "a joint that is not a finite number"),
        ("center", (2, 1), np.nan, "a centre that is not a finite number"),
        ("scale", 2, 0.0, "a scale that is not positive, or not finite"),
        ("scale", 2, np.inf, "a scale that is not positive, or not finite"),
        ("scale", 2, np.nan, "a scale that is not positive, or not finite"),
    ],
)
def test_values_out_of_range_name_the_person(
    people: Annotations, field: str, where: tuple[int, ...] | int, value: float, message: str
) -> None:
    array = getattr(people, field).copy()
    array[where] = value
    with pytest.raises(UserError, match=rf"person 2 \(images/c.jpg\) has {message} \(1 of 4 people\)"):
        replace(people, **{field: array})


def test_an_unlabelled_joint_may_be_anything(people: Annotations) -> None:
    joints, visible = people.joints.copy(), people.visible.copy()
    joints[1, 3], visible[1, 3] = np.nan, UNLABELLED
    assert len(replace(people, joints=joints, visible=visible)) == 4


def test_people_without_joints_are_named(people: Annotations) -> None:
    people.require_joints()
    visible = people.visible.copy()
    visible[1] = UNLABELLED
    with pytest.raises(UserError, match=r"toy train: person 1 \(images/b.jpg\) has no labelled joint"):
        replace(people, visible=visible).require_joints()


def test_person_comes_with_the_picture(people: Annotations) -> None:
    person = people.person(1)
    assert person.read(1).pixels.shape == (HEIGHT, WIDTH, 3)
    assert (person.joints == people.joints[1]).all() and person.scale == 2 and person.enlarge == 1.25
    with pytest.raises(UserError, match=r"a\.jpg is missing"):
        people.person(0).read(1)


def test_select_keeps_order(people: Annotations) -> None:
    chosen = people.select(np.array([2, 0]), "two")
    assert chosen.name == "two" and chosen.scale.tolist() == [3, 1]
    assert chosen.images.tolist() == [b"images/c.jpg", b"images/a.jpg"]
    assert len(people.select(people.scale > 10)) == 0


def test_other_skeletons_take_joints_by_name(people: Annotations) -> None:
    visible = people.visible.copy()
    visible[:, LSP.index("neck")] = HIDDEN
    converted = replace(people, visible=visible).with_skeleton(MPII)
    for joint in MPII.joints:
        place = MPII.index(joint)
        if joint in LSP.joints:
            assert (converted.joints[:, place] == people.joints[:, LSP.index(joint)]).all()
            assert (converted.visible[:, place] == visible[:, LSP.index(joint)]).all()
        else:
            assert (converted.visible[:, place] == UNLABELLED).all()
    assert (people.with_skeleton(COCO).visible[:, COCO.index("nose")] == UNLABELLED).all()


def test_pickled_whole(people: Annotations) -> None:
    again = pickle.loads(pickle.dumps(people))
    assert again.name == people.name and again.root == people.root and again.skeleton == people.skeleton
    for field in ("images", "joints", "visible", "center", "scale", "index"):
        assert (getattr(again, field) == getattr(people, field)).all()


def test_workers_share_the_arrays(people: Annotations) -> None:
    """What travels to a worker is a handle: a change on the other side is seen here."""
    message = ForkingPickler.dumps(people)
    other = multiprocessing.reduction.ForkingPickler.loads(message)
    other.scale[0] = 7
    assert people.scale[0] == 7
    assert len(message) < people.joints.nbytes + 4096
