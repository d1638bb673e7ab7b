"""Outlines as masks: as pycocotools makes them, and never an error."""

import json
from typing import Any

import numpy as np
import pytest
from pycocotools import mask
from pycocotools.coco import COCO

from src.datasets.outlines import bounds, outline_of, union

WIDTH, HEIGHT = 40, 30
BOX = np.array([4.0, 6.0, 10.0, 8.0])


def of(segmentation: Any) -> np.ndarray:
    return union([(json.dumps(segmentation).encode(), BOX)], WIDTH, HEIGHT)


def of_pycocotools(segmentation: Any) -> np.ndarray:
    truth = COCO()
    truth.imgs = {1: {"width": WIDTH, "height": HEIGHT}}
    return truth.annToMask({"image_id": 1, "segmentation": segmentation}).astype(bool)


@pytest.mark.parametrize(
    "segmentation",
    [
        [[3.5, 2, 30, 5.25, 20, 25]],
        [[1, 1, 10, 1, 10, 10, 1, 10], [20, 20, 30, 20, 30, 29]],
        {"counts": [100, 50, 300, 20, WIDTH * HEIGHT - 470], "size": [HEIGHT, WIDTH]},
    ],
    ids=["polygon", "two", "runs"],
)
def test_masks_are_those_of_pycocotools(segmentation: Any) -> None:
    found = of(segmentation)
    assert found.shape == (HEIGHT, WIDTH) and found.dtype == bool and found.any()
    np.testing.assert_array_equal(found, of_pycocotools(segmentation))


def test_compressed_runs_and_back() -> None:
    covered = np.zeros((HEIGHT, WIDTH), bool)
    covered[3:9, 10:22] = True
    np.testing.assert_array_equal(union([(outline_of(covered), BOX)], WIDTH, HEIGHT), covered)
    assert bounds(covered) == (10, 3, 12, 6)
    assert mask.area(json.loads(outline_of(covered))) == 72


def test_several_outlines_are_joined() -> None:
    shapes = [[[1, 1, 9, 1, 9, 9]], [[5, 5, 20, 5, 20, 20]], {"counts": [900, 300], "size": [HEIGHT, WIDTH]}]
    joined = union([(json.dumps(shape).encode(), BOX) for shape in shapes], WIDTH, HEIGHT)
    np.testing.assert_array_equal(joined, of(shapes[0]) | of(shapes[1]) | of(shapes[2]))


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"7", b"[]", b"[[]]", b"[[1, 2, 3, 4]]", b"[1, 2, 3, 4, 5, 6]", b"[[1, 2, 3, 4, 5]]",
        b'[["a", 1, 2, 3, 4, 5]]', b"[[NaN, 2, 3, 4, 5, 6]]", b"[null]", b"{}",
        b'{"counts": [3], "size": [2, 2]}', b'{"counts": [3], "size": [30, 40]}',
        b'{"counts": [3, 99999], "size": [30, 40]}', b'{"counts": [-3, 1203], "size": [30, 40]}',
        b'{"counts": null, "size": [30, 40]}', b'{"counts": ["1"], "size": [30, 40]}',
        b'{"counts": [1], "size": 3}', b'{"counts": "zzzz", "size": [30, 40]}',
    ],
)  # fmt: skip
def test_a_damaged_outline_is_replaced_by_the_box(text: bytes) -> None:
    """A run of days shall not end at it."""
    covered = union([(text, BOX)], WIDTH, HEIGHT)
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[6:14, 4:14] = True
    np.testing.assert_array_equal(covered, expected)


def test_what_is_outside_the_picture_is_cut_off() -> None:
    np.testing.assert_array_equal(of([[-1e9, -1e9, 1e9, -1e9, 1e9, 1e9, -1e9, 1e9]]), True)
    assert not union([(b"", np.array([1e6, 1e6, 5, 5]))], WIDTH, HEIGHT).any()
    assert not union([(b"", np.zeros(4))], WIDTH, HEIGHT).any()
