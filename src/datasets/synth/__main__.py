"""A contact sheet of synthetic people: python -m src.datasets.synth --out sheet.png [--joints]."""

import argparse
from pathlib import Path

import cv2
import numpy as np

from src.datasets import affine
from src.datasets.annotations import Person
from src.datasets.skeletons import SKELETONS, Skeleton
from src.datasets.synth import POSES, SPLITS, SynthPeople

_LEFT, _RIGHT, _MIDDLE = (60, 140, 255), (255, 90, 60), (90, 220, 90)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m src.datasets.synth", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the picture to write")
    parser.add_argument("--count", type=int, default=40, help="how many people")
    parser.add_argument("--first", type=int, default=0, help="number of the first of them")
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--split", choices=SPLITS, default="train")
    parser.add_argument("--poses", choices=POSES, default="all")
    parser.add_argument("--resolution", type=int, default=256, help="pixels of a crop")
    parser.add_argument("--skeleton", choices=list(SKELETONS), default="mpii")
    parser.add_argument("--joints", action="store_true", help="draw the joints; hollow: hidden")
    options = parser.parse_args()
    skeleton, size = SKELETONS[options.skeleton], options.first + options.count
    people = SynthPeople(options.split, size, skeleton, options.resolution, options.poses)
    crops = []
    for index in range(options.first, options.first + options.count):
        crops.append(_crop(people.person(index), people.skeleton, options.resolution, options.joints))
    crops += [np.zeros_like(crops[0])] * (-len(crops) % options.columns)
    rows = [
        np.hstack(crops[first : first + options.columns]) for first in range(0, len(crops), options.columns)
    ]
    cv2.imwrite(str(options.out), np.vstack(rows)[..., ::-1])


def _crop(person: Person, skeleton: Skeleton, resolution: int, joints: bool) -> np.ndarray:
    matrix = affine.crop_matrix(person.center, person.scale * person.enlarge, resolution)
    crop = affine.warp(person.read(1).pixels, matrix, resolution)
    if joints:
        _draw_joints(crop, affine.apply(matrix, person.joints), person.visible, skeleton)
    return crop


def _draw_joints(crop: np.ndarray, joints: np.ndarray, visible: np.ndarray, skeleton: Skeleton) -> None:
    places = np.rint(joints).astype(int).tolist()
    for a, b in skeleton.limbs:
        if visible[a] and visible[b]:
            cv2.line(crop, places[a], places[b], _color(skeleton.joints[b]), 1, cv2.LINE_AA)
    for joint, place in enumerate(places):
        if visible[joint]:
            thickness = cv2.FILLED if visible[joint] == 2 else 1
            cv2.circle(crop, place, 3, _color(skeleton.joints[joint]), thickness, cv2.LINE_AA)


def _color(joint: str) -> tuple[int, int, int]:
    return _LEFT if joint.startswith("left") else _RIGHT if joint.startswith("right") else _MIDDLE


if __name__ == "__main__":
    main()
