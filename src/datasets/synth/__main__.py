"""A contact sheet of synthetic people, as networks see them, without gaps.

    python -m src.datasets.synth --out sheet.png [--joints]

`python data/browse.py synth` draws one with captions.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence

import numpy as np

from src.datasets.augmentation import Draw
from src.datasets.crops import PersonCrops
from src.datasets.skeletons import SKELETONS, skeleton
from src.datasets.synth import POSES, SPLITS, SynthPeople
from src.utils.command import command, note
from src.utils.options import Parser, count, one_of, path, positive
from src.utils.pictures import draw_pose, save_image


@command
def main(argv: Sequence[str] | None = None) -> None:
    options = parse(sys.argv[1:] if argv is None else argv)
    rows = range(options.first, options.first + options.count)
    joints = skeleton(options.skeleton)
    people = SynthPeople(options.split, rows.stop, joints, options.resolution, options.poses)
    crops = PersonCrops(people, options.resolution)
    save_image(options.out, sheet([picture(crops, row, options.joints) for row in rows], options.columns))
    note(f"{options.out}: {options.count:,} people")


def parse(argv: Sequence[str]) -> Namespace:
    parser = Parser("Draw a contact sheet of synthetic people.")
    parser.add_argument("--out", type=path, required=True, metavar="FILE", help=".jpg or .png")
    parser.add_argument("--count", type=positive, default=40, help="how many people")
    parser.add_argument("--first", type=count, default=0, help="number of the first of them")
    parser.add_argument("--columns", type=positive, default=8, help="people in a row")
    parser.add_argument("--split", choices=SPLITS, default="train")
    parser.add_argument("--poses", type=one_of(list(POSES)), default="all", help=", ".join(POSES))
    parser.add_argument("--resolution", type=positive, default=256, help="pixels of a crop")
    parser.add_argument("--skeleton", type=one_of(list(SKELETONS)), default="mpii", help=", ".join(SKELETONS))
    parser.add_argument("--joints", action="store_true", help="draw the joints; a ring: hidden")
    return parser.parse_strictly(argv)


def picture(crops: PersonCrops, row: int, joints: bool) -> np.ndarray:
    """The crop (R, R, 3) of a person, with joints, if asked."""
    sample = crops.crop(crops.people.person(row), Draw())
    if not joints:
        return sample["image"]
    return draw_pose(sample["image"], sample["joints"], crops.people.skeleton, visible=sample["visible"])


def sheet(pictures: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Pictures (R, R, 3) in rows, the last of which black ones fill."""
    columns = min(columns, len(pictures))
    cells = [*pictures, *[np.zeros_like(pictures[0])] * (-len(pictures) % columns)]
    return np.vstack([np.hstack(cells[first : first + columns]) for first in range(0, len(cells), columns)])


if __name__ == "__main__":
    main()
