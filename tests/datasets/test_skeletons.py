"""What skeletons know of their joints beside their names."""

import dataclasses

import pytest

from src.datasets.skeletons import COCO, LSP, MPII, SKELETONS


def test_order_of_ease_goes_from_the_head_to_the_ankles():
    assert MPII.order_of_ease == [9, 8, 7, 12, 13, 6, 2, 3, 11, 14, 10, 15, 1, 4, 0, 5]
    assert COCO.order_of_ease == [0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16]


@pytest.mark.parametrize("name", SKELETONS)
def test_order_of_ease_has_every_joint_once(name):
    skeleton = SKELETONS[name]
    assert sorted(skeleton.order_of_ease) == list(range(skeleton.num_joints))


def test_joints_of_other_bodies_are_last_and_as_they_are_numbered():
    joints = ("tail", "left rear paw", "nose", *MPII.joints[3:])
    animal = dataclasses.replace(MPII, name="animal", joints=joints)
    assert animal.order_of_ease[-2:] == [0, 1]


def test_bones_and_parts_of_the_compositional_model():
    assert len(MPII.bones) == 12 and len(LSP.bones) == 9
    assert MPII.parts == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]
    assert LSP.parts == [[0, 1], [2, 3], [4, 5], [6, 7], [8]]


@pytest.mark.parametrize("name", SKELETONS)
def test_parts_share_out_the_bones_that_meet(name):
    skeleton = SKELETONS[name]
    assert sorted(bone for part in skeleton.parts for bone in part) == list(range(len(skeleton.bones)))
    for part in skeleton.parts:
        assert len(part) == 1 or set(skeleton.bones[part[0]]) & set(skeleton.bones[part[1]])
    assert set(skeleton.bones) <= set(skeleton.limbs) | {(3, 6)}
