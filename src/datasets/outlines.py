"""Outlines as COCO stores them, polygons or run lengths, as masks of a picture."""

import json
import math
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from pycocotools import mask

_FEWEST = 6  # numbers of a polygon: three corners


def union(outlines: Iterable[tuple[bytes, np.ndarray]], width: int, height: int) -> np.ndarray:
    """Where any of the outlines covers a picture: (height, width) bool.

    An outline is the JSON text of a `segmentation` and a box (x, y, width, height), which stands in for a
    text that is empty or not usable: no run of days shall end at a damaged one.
    """
    covered = np.zeros((height, width), np.uint8)
    polygons: list[list[float]] = []
    for text, box in outlines:
        shape = _parsed(text)
        runs = _decoded(shape, covered.shape) if isinstance(shape, dict) else None
        if runs is not None:
            covered |= runs
        else:
            polygons += _polygons(shape, width, height) or _polygons([_corners(box)], width, height)
    if polygons:
        covered |= mask.decode(mask.merge(mask.frPyObjects(polygons, height, width)))
    return covered.view(bool)


def outline_of(covered: np.ndarray) -> bytes:
    """The JSON text of the run lengths of a mask (H, W) bool."""
    runs = mask.encode(np.asfortranarray(covered.view(np.uint8)))
    return json.dumps({"size": list(covered.shape), "counts": runs["counts"].decode()}).encode()


def bounds(covered: np.ndarray) -> tuple[int, int, int, int]:
    """The box (x, y, width, height) around what a mask (H, W) bool covers."""
    x, y, width, height = cv2.boundingRect(covered.view(np.uint8))
    return x, y, width, height


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _polygons(shape: Any, width: int, height: int) -> list[list[float]]:
    """Those of a list of polygons [x, y, x, y, …] that have an area, within the picture."""
    limits = np.array([width, height])
    found = []
    for polygon in shape if isinstance(shape, list) else ():
        try:
            corners = np.array(polygon, np.float64).reshape(-1, 2)
        except (TypeError, ValueError):
            continue
        if corners.size >= _FEWEST and np.isfinite(corners).all():
            found.append(np.clip(corners, 0, limits).ravel().tolist())
    return found


def _corners(box: np.ndarray) -> list[float]:
    x, y, width, height = box.tolist()
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def _decoded(runs: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray | None:
    """The mask of run lengths, compressed or not; None if they are damaged or of another size."""
    try:
        counts = runs["counts"]
        if tuple(runs["size"]) != shape:
            return None
        if isinstance(counts, str):
            covered = mask.decode(runs)
            return covered if covered.sum() == mask.area(runs) else None  # too few leave pixels undefined
        if sum(counts) != math.prod(shape):
            return None
        down_columns = np.repeat(np.arange(len(counts), dtype=np.uint8) & 1, counts)
        return down_columns.reshape(shape[::-1]).T
    except Exception:  # pycocotools raises errors of many types
        return None
