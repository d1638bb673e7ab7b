"""Crops: what a sample holds, that it depends on (seed, pass, row) alone, and the stream of keys."""

import itertools
import pickle
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from src.datasets import affine
from src.datasets.annotations import Annotations, Person
from src.datasets.augmentation import Augmentation, Draw
from src.datasets.crops import Batch, PersonCrops, Stream, collate, in_order, load, readable
from src.datasets.images import BadImage, Picture
from src.datasets.skeletons import LSP, Skeleton
from src.datasets.workers import cores
from src.errors import UserError


class Dots:
    """People whose picture is black but for a white pixel at each joint; person 3's picture is broken."""

    name, skeleton = "dots", LSP

    def __init__(self, count: int = 10, broken: int = 3, skeleton: Skeleton = LSP) -> None:
        self.count, self.broken, self.skeleton = count, broken, skeleton

    def __len__(self) -> int:
        return self.count

    def person(self, index: int) -> Person:
        rng = np.random.default_rng(index)
        joints = rng.uniform(60, 240, (self.skeleton.num_joints, 2)).astype(np.float32)
        image = np.zeros((300, 300, 3), np.uint8)
        image[joints[:, 1].astype(int), joints[:, 0].astype(int)] = 255
        visible = np.full(self.skeleton.num_joints, 2, np.int8)

        def read(_: float) -> Picture:
            if index == self.broken:
                raise BadImage("picture 3.jpg is cut short")
            return Picture(image)

        return Person(read, joints, visible, np.array([150.0, 150.0], np.float32), 1.0, 1.25, 0.0, 40.0)


def test_flip_swaps_left_and_right() -> None:
    crops = PersonCrops(Dots(), 128)
    person = crops.people.person(0)
    plain, flipped = crops.crop(person, Draw()), crops.crop(person, Draw(flip=True))
    np.testing.assert_allclose(flipped["joints"][:, 0], 128 - plain["joints"][LSP.flip_order, 0], atol=1e-4)
    np.testing.assert_allclose(flipped["joints"][:, 1], plain["joints"][LSP.flip_order, 1], atol=1e-4)
    np.testing.assert_array_equal(flipped["image"], plain["image"][:, ::-1])


def test_inverse_leads_back_to_the_picture() -> None:
    crops = PersonCrops(Dots(), 128, Augmentation(), seed=1)
    for row in range(3):
        sample = crops[(5, row)]
        assert not isinstance(sample, str)
        back = affine.apply(affine.invert(sample["matrix"]), sample["joints"])
        np.testing.assert_allclose(back, sample["truth"], atol=1e-3)


def test_shift_and_enlarge_are_applied_to_the_raw_box() -> None:
    crops = PersonCrops(Dots(), 100)
    person = crops.people.person(0)._replace(scale=0.8, enlarge=1.25, shift=15.0)
    sample = crops.crop(person, Draw())
    # MPII's rule: 15 x 0.8 = 12 px down, then 0.8 x 1.25 = 1: a box of 200 px
    found = affine.apply(affine.invert(sample["matrix"]), np.array([[50.0, 50.0], [0.0, 0.0]]))
    np.testing.assert_allclose(found, [[150, 162], [50, 62]], atol=1e-9)


def test_a_sample_depends_on_seed_pass_and_row() -> None:
    crops = PersonCrops(Dots(), 64, Augmentation(), seed=7)
    same, other = crops[(1, 0)], crops[(2, 0)]
    again = PersonCrops(Dots(), 64, Augmentation(), seed=7)[(1, 0)]
    assert not isinstance(same, str) and not isinstance(again, str) and not isinstance(other, str)
    np.testing.assert_array_equal(same["image"], again["image"])
    np.testing.assert_array_equal(same["joints"], again["joints"])
    assert not np.array_equal(same["joints"], other["joints"])


def test_augmentation_keeps_to_its_limits() -> None:
    augmentation = Augmentation(scale=0.25, rotation=30, rotate_prob=0.4, flip_prob=0.5, color=0.4)
    draws = [augmentation.draw(np.random.default_rng((0, i))) for i in range(4000)]
    scales, rotations = np.array([d.scale for d in draws]), np.array([d.rotation for d in draws])
    assert scales.min() >= 2**-0.5 and scales.max() <= 2**0.5
    assert np.abs(rotations).max() <= 60
    # shares of 4000 draws: a standard deviation is below 0.008
    assert abs((rotations != 0).mean() - 0.4) < 0.04
    assert abs(np.mean([d.flip for d in draws]) - 0.5) < 0.04
    assert np.abs(np.array([d.color for d in draws]) - 1).max() <= 0.4


def test_stream_passes_through_everybody_and_can_start_anywhere() -> None:
    keys = [key for batch in itertools.islice(Stream(10, 4, seed=3), 5) for key in batch]
    assert sorted(row for times, row in keys if times == 0) == list(range(10))
    assert sorted(row for times, row in keys if times == 1) == list(range(10))
    assert keys[:10] != [(0, row) for _, row in keys[10:]]
    later = [key for batch in itertools.islice(Stream(10, 4, seed=3, start=12), 2) for key in batch]
    assert later == keys[12:]


def test_in_order_covers_or_spreads() -> None:
    assert in_order(5, 2) == [[(0, 0), (0, 1)], [(0, 2), (0, 3)], [(0, 4)]]
    spread = [row for batch in in_order(100, 3, batches=2) for _, row in batch]
    assert spread[0] == 0 and spread[-1] == 99 and len(spread) == 6


def test_bad_pictures_stop_or_are_left_out() -> None:
    crops = PersonCrops(Dots(), 64)
    loader = load(crops, in_order(4, 4), workers=0, device=torch.device("cpu"))
    with pytest.raises(UserError, match=r"cut short.*--skip-bad-images"):
        list(readable(loader, lambda: False, []))
    left_out: list[str] = []
    (batch,) = readable(loader, lambda: True, left_out)
    assert batch["row"].tolist() == [0, 1, 2] and left_out == ["picture 3.jpg is cut short"]


def test_batches_without_any_picture_are_passed_over() -> None:
    left_out: list[str] = []
    loader = load(PersonCrops(Dots(), 64), in_order(5, 1), workers=0, device=torch.device("cpu"))
    rows = [batch["row"].tolist() for batch in readable(loader, lambda: True, left_out)]
    assert rows == [[0], [1], [2], [4]] and len(left_out) == 1


@pytest.mark.parametrize("batches", [[[(0, 0)]], Stream(1, 4, seed=0)], ids=["finite", "endless"])
def test_no_picture_at_all_is_an_error_even_when_skipping(batches: object) -> None:
    loader = load(PersonCrops(Dots(1, broken=0), 64), batches, workers=0, device=torch.device("cpu"))
    with pytest.raises(UserError, match="none of the pictures can be read: picture 3"):
        list(readable(loader, lambda: True, []))


@pytest.mark.filterwarnings("error")
def test_there_are_no_more_workers_than_cores() -> None:
    """PyTorch warns of more."""
    loader = load(PersonCrops(Dots(), 64), in_order(4, 4), workers=10_000, device=torch.device("cpu"))
    assert loader.num_workers == cores() >= 1
    assert load(PersonCrops(Dots(), 64), in_order(4, 4), 0, torch.device("cpu")).num_workers == 0


def test_crops_travel_to_spawned_workers() -> None:
    crops = pickle.loads(pickle.dumps(PersonCrops(Dots(), 64, Augmentation())))
    assert crops[(0, 1)]["image"].shape == (64, 64, 3)


def photographed(folder: Path, count: int, suffix: str = ".jpg") -> Annotations:
    """People in smooth pictures of 600 x 800 pixels, from half as large as a crop of 64 to ten times."""
    rng = np.random.default_rng(0)
    for number in range(count):
        noise = cv2.GaussianBlur(rng.integers(0, 256, (600, 800, 3)).astype(np.uint8), (0, 0), 6)
        picture = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX)
        cv2.imwrite(str(folder / f"{number}{suffix}"), picture, [cv2.IMWRITE_JPEG_QUALITY, 100])
    return Annotations(
        name="photographed",
        skeleton=LSP,
        root=folder,
        images=np.array([f"{number}{suffix}".encode() for number in range(count)]),
        joints=rng.uniform(200, 500, (count, LSP.num_joints, 2)),
        visible=np.full((count, LSP.num_joints), 2),
        center=rng.uniform(250, 450, (count, 2)),
        scale=64 / 200 * np.geomspace(0.5, 10, count),
        enlarge=np.ones(count),
        shift=np.zeros(count),
        norm=np.ones(count),
        index=np.arange(count),
        person_id=np.zeros(count),
    )


def in_full(person: Person) -> Person:
    picture = person.read(1)
    return person._replace(read=lambda _: picture)


def test_reduced_pictures_give_the_same_crops(tmp_path: Path) -> None:
    people = photographed(tmp_path, 8)
    crops = PersonCrops(people, 64, Augmentation())
    for row in range(8):
        draw = Augmentation().draw(np.random.default_rng(row))
        person = people.person(row)
        found = crops.crop(person, draw)
        expected = crops.crop(in_full(person), draw)
        difference = found["image"].astype(int) - expected["image"]
        # decoded at a part of its size or averaged by area: rounded in other places, levels of 255
        assert np.abs(difference).mean() < 1 and abs(difference.mean()) < 0.25
        np.testing.assert_array_equal(found["joints"], expected["joints"])
        np.testing.assert_array_equal(found["truth"], expected["truth"])


def test_a_batch_is_what_torch_would_collate() -> None:
    crops = PersonCrops(Dots(), 64, Augmentation())
    samples = [crops[(0, row)] for row in (0, 1, 3, 2)]
    batch = collate(samples)
    assert batch.pop("bad") == ["picture 3.jpg is cut short"] and batch.pop("taken") == 4
    expected = torch.utils.data.default_collate([sample for sample in samples if not isinstance(sample, str)])
    same_tensors(batch, expected)


def test_only_the_pictures_of_a_batch_are_handed_over_as_shared_memory() -> None:
    batch = collate([PersonCrops(Dots(), 256)[(0, 0)]])
    message = ForkingPickler.dumps(batch)
    again = ForkingPickler.loads(message)
    same_tensors(again, batch)
    assert len(message) < 4096 < batch["image"].nbytes
    assert again["image"].is_shared() and not again["joints"].is_shared()


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "forkserver", "spawn"])
def test_workers_of_every_kind_give_the_same_and_share_the_record(tmp_path: Path, context: str) -> None:
    """What is written into the record here is seen there: however a worker began, it has no copy."""
    people = photographed(tmp_path, 4)
    crops = PersonCrops(people, 64, Augmentation(), seed=2)
    batches = in_order(4, 2) * 8
    expected = list(load(crops, batches[:4], workers=0, device=torch.device("cpu")))
    loader = load(crops, batches, workers=2, device=torch.device("cpu"))
    loader.multiprocessing_context = context
    source = readable(loader, lambda: False, [])
    for batch in expected:
        same_tensors(next(source), batch)
    people.joints[:] += 7
    *_, last = source
    np.testing.assert_allclose(last["truth"], expected[-1]["truth"] + 7, atol=1e-4)


def same_tensors(found: Batch, expected: Batch) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert found[key].dtype == value.dtype
            torch.testing.assert_close(found[key], value, rtol=0, atol=0)
        else:
            assert found[key] == value
