"""Several data sets as one: whose people, in which joints, how often, and from which options."""

import itertools
from argparse import Namespace
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from src.datasets.annotations import MASKED, UNLABELLED, Annotations
from src.datasets.augmentation import Augmentation
from src.datasets.crops import PersonCrops, Stream
from src.datasets.joined import JoinedPeople
from src.datasets.people import data_folder, open_people
from src.datasets.skeletons import FLIC, LSP, MPII, PENN, Skeleton, joint_map
from src.errors import UserError
from tests.releases import make_lspet, make_penn, write_flic_h5, write_mpii_h5, write_mpii_pictures


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """MPII (3 people to train), LSPET (8) and FLIC (3)."""
    root = tmp_path_factory.mktemp("sets")
    write_mpii_h5(root / "mpii", baked=True)
    write_mpii_pictures(root / "mpii")
    make_lspet(root / "lspet")
    write_flic_h5(root / "flic")
    return {name: root / name for name in ("mpii", "lspet", "flic")}


def options(dataset: str | list[str], data_dir: object, **others: object) -> Namespace:
    given = {"valid_share": 0.2, "synth_size": [4, 2], "synth_poses": "all", **others}
    if isinstance(data_dir, dict):
        data_dir = [f"{name}={folder}" for name, folder in data_dir.items()]  # as the options have them
    return Namespace(dataset=dataset, data_dir=data_dir, **given)


def opened(folders: dict[str, Path], skeleton: Skeleton | None = None, **others: object) -> JoinedPeople:
    people = open_people(options(["mpii", "lspet", "flic"], folders, **others), "train", skeleton)
    assert isinstance(people, JoinedPeople)
    return people


def test_people_come_one_set_after_the_other(folders: dict[str, Path]) -> None:
    people = opened(folders)
    alone = [open_people(options(name, folders[name]), "train") for name in folders]
    assert len(people) == 3 + 8 + 3 and people.skeleton is MPII
    assert people.name == " + ".join(each.name for each in alone)
    rows = [(each, row) for each in alone for row in range(len(each))]
    for index, (own, row) in enumerate(rows):
        found, expected = people.person(index), own.person(row)
        source = joint_map(own.skeleton, MPII)
        known = source >= 0
        np.testing.assert_array_equal(found.joints[known], expected.joints[source[known]])
        np.testing.assert_array_equal(found.visible[known], expected.visible[source[known]])
        assert (found.visible[~known] == MASKED).all() and not found.joints[~known].any()
        assert found.joints.dtype == np.float32 and found.visible.dtype == np.int8
        assert found.center.tolist() == expected.center.tolist() and found[4:7] == expected[4:7]
        assert found.read(1).pixels.shape == expected.read(1).pixels.shape
        assert people.locate(index)[0].name == own.name and people.locate(index)[1] == row


def test_unlabelled_is_not_masked(folders: dict[str, Path]) -> None:
    """A joint that LSPET annotates, but not in this person, is background; the pelvis is not to be learnt."""
    people = opened(folders)
    lspet = people.person(3)
    assert (lspet.visible == UNLABELLED).sum() == 1
    assert lspet.visible[[6, 7]].tolist() == [MASKED, MASKED]


def test_in_a_skeleton_of_choice(folders: dict[str, Path]) -> None:
    people = opened(folders, LSP)
    crops = PersonCrops(people, 64, Augmentation(), seed=1)
    samples = crops.__getitems__([(0, row) for row in range(len(people))])
    assert all(not isinstance(sample, str) and sample["joints"].shape == (14, 2) for sample in samples)
    with pytest.raises(UserError, match=r"flic train .* has no joint of skeleton odd; it has left shoulder"):
        odd = Skeleton("odd", ("neck", "head top"), (), (), {}, (0,), (0,), (1.0, 1.0), (0, 1))
        opened(folders, odd)


def test_messages_name_the_set(folders: dict[str, Path]) -> None:
    crops = PersonCrops(opened(folders), 64)
    assert crops.where(4) == "person 1 of lspet train (images/im00002.jpg)"
    assert crops.where(11).startswith("person 0 of flic train (train.h5, sides of the observer) (12-oclock-")


def test_synthetic_people_join_in(folders: dict[str, Path]) -> None:
    people = open_people(options(["lspet", "synth"], {"lspet": folders["lspet"]}), "train", resolution=64)
    assert len(people) == 8 + 4 and people.skeleton is LSP
    drawn = people.person(9)
    assert drawn.joints.shape == (14, 2) and (drawn.visible > MASKED).all()
    assert PersonCrops(people, 64).where(9) == "person 1 of synth train"


def test_one_name_is_as_ever(folders: dict[str, Path]) -> None:
    for dataset in ("lspet", ["lspet"]):
        for data_dir in (folders["lspet"], {"lspet": folders["lspet"]}):
            people = open_people(options(dataset, data_dir), "valid", MPII)
            assert isinstance(people, Annotations) and len(people) == 2 and people.skeleton is MPII
            assert MASKED not in people.visible


def test_options_of_one_release(folders: dict[str, Path], tmp_path: Path) -> None:
    own = open_people(options("flic", folders["flic"], flic_sides="person", penn_compat=True), "train")
    assert "sides of the person" in own.name
    make_penn(tmp_path)
    right, wrong = (
        open_people(options("penn", tmp_path, penn_compat=compat), "train") for compat in (False, True)
    )
    assert right.person(0).center.tolist() != wrong.person(0).center.tolist()
    assert right.skeleton is PENN and own.skeleton is FLIC


def test_folders_by_name(folders: dict[str, Path]) -> None:
    several = options(["mpii", "lspet"], {"lspet": Path("here")})
    assert data_folder(several, "lspet") == Path("here")
    assert data_folder(several, "mpii").parts[-2:] == ("data", "mpii")
    with pytest.raises(UserError, match=r"want a folder each: --data-dir mpii=DIR"):
        open_people(options(["mpii", "lspet"], folders["mpii"]), "train")
    with pytest.raises(UserError, match="--data-dir names lsp, which is not in --dataset mpii lspet"):
        open_people(options(["mpii", "lspet"], {"mpii": Path("x"), "lsp": Path("x")}), "train")
    with pytest.raises(UserError, match="names mpii twice"):
        open_people(options(["mpii", "mpii"], {"mpii": folders["mpii"]}), "train")
    with pytest.raises(UserError, match="lspet has no split 'test'"):
        open_people(options(["mpii", "lspet"], {k: folders[k] for k in ("mpii", "lspet")}), "test")


def test_weights_are_of_several(folders: dict[str, Path]) -> None:
    for weights in ([2.0], [1.0, 2.0]):
        with pytest.raises(UserError, match="--weights is for several data sets"):
            open_people(options(["lspet"], folders["lspet"], weights=weights), "train")
    assert len(open_people(options("lspet", folders["lspet"], weights=[1.0]), "train")) == 8


@pytest.mark.parametrize("weights", [[1, 2], [1, -1, 1], [0, 0, 0], [1, np.inf, 1], [1, np.nan, 1]])
def test_wrong_weights_are_refused(folders: dict[str, Path], weights: list[float]) -> None:
    with pytest.raises(UserError, match="weights"):
        opened(folders, weights=weights)


def test_people_are_drawn_by_their_weights(folders: dict[str, Path]) -> None:
    """Of 3 people with weight 2, 8 with 0.5 and 3 with 0, 10 are drawn a pass; in 40 passes all of the 8."""
    people = opened(folders, weights=[2, 0.5, 0])
    crops = PersonCrops(people, 64, Augmentation(), seed=5)
    stream = crops.stream(batch_size=4, seed=5)
    assert stream.drawn == crops.drawn == 10 and PersonCrops(opened(folders), 64).drawn == 14
    keys = [key for batch in itertools.islice(stream, 100) for key in batch]
    for first in range(0, 400, 10):
        counts = Counter(row for _, row in keys[first : first + 10])
        assert [counts[row] for row in range(3)] == [2, 2, 2]
        assert sum(counts[row] for row in range(3, 11)) == 4 and max(counts.values()) == 2
    assert {row for _, row in keys} == set(range(11))
    assert len(set(keys)) == len(keys)  # who is drawn twice is so in different crops
    twice = [key for key in keys[:10] if key[1] == 0]
    one, other = (crops[key] for key in twice)
    assert isinstance(one, dict) and isinstance(other, dict) and (one["joints"] != other["joints"]).any()


def test_a_weighted_stream_can_start_anywhere() -> None:
    weights = np.random.default_rng(0).uniform(0, 3, 25)
    whole = [key for batch in itertools.islice(Stream(25, 4, 3, weights=weights), 60) for key in batch]
    assert Stream(25, 4, 3, weights=weights).drawn == round(weights.sum())
    for start in (1, 37, 101):
        later = Stream(25, 4, 3, start, weights)
        assert [key for batch in itertools.islice(later, 10) for key in batch] == whole[start : start + 40]
    drawn = Stream(25, 4, 3, weights=weights).drawn
    counts = np.array([[row for _, row in whole[:drawn]].count(row) for row in range(25)])
    scaled = weights * drawn / weights.sum()
    assert (np.abs(counts - scaled) < 1).all()
