"""Draw a contact sheet of a data set with its annotated joints: the first thing to do with new data.

python data/browse.py DATASET --data-dir DIR [--split valid] [--count 24] [--out sheet.jpg]
python data/browse.py coco --data-dir DIR --scenes      whole pictures with everybody in them
python data/browse.py synth                             synthetic people; nothing need be downloaded

The person's left is orange, the right blue; joints that are hidden are rings. Where nothing is learnt from, a
scene is dark.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from src.datasets.readers import RELEASES, VALID_SHARE, release
from src.errors import UserError
from src.utils.command import CommandParser, command
from src.utils.options import count, one_of, path, positive, share

HERE = Path(__file__).resolve().parent
SYNTH_SIZE = 20_000  # how many synthetic people there are to choose from
NAMES = [*RELEASES, "synth"]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(__doc__)
    parser.add_argument("dataset", type=one_of(NAMES), metavar="DATASET", help=", ".join(NAMES))
    parser.add_argument("--data-dir", type=path, metavar="DIR", help="its folder; none: data/<dataset>")
    parser.add_argument("--split", default="train", choices=("train", "valid", "test"))
    parser.add_argument("--scenes", action="store_true", help="whole pictures, of coco and synth")
    parser.add_argument("--count", type=positive, default=24, metavar="N", help="how many people or pictures")
    parser.add_argument("--seed", type=count, default=0, help="which ones; another seed shows others")
    parser.add_argument("--side", type=positive, default=256, help="of each square, in pixels")
    parser.add_argument("--columns", type=positive, default=6, help="squares in a row")
    parser.add_argument(
        "--valid-share", type=share, default=VALID_SHARE, help="share held out where there is no split"
    )
    parser.add_argument("--out", type=path, metavar="FILE", help=".jpg or .png; none: <dataset>.jpg")
    options = parser.parse_args(argv)
    options.out = options.out or path(f"{options.dataset}.jpg")
    # What open_people and open_scenes ask of the options of a run.
    fixed = {"synth_size": [SYNTH_SIZE] * 2, "synth_poses": "all", "mask_people": True, "empty_share": 0.0}
    return argparse.Namespace(**vars(options), **fixed, coco_year=None, valid_ids=None)


def browse(options: argparse.Namespace) -> int:
    """Write the sheet; returns how many people or pictures the split has."""
    import numpy as np

    from src.utils.pictures import contact_sheet, save_image

    samples = open_samples(options)
    rows = np.random.default_rng(options.seed).permutation(len(samples))[: options.count]
    images, captions = [], []
    for row in np.sort(rows).tolist():
        sample = samples[0, row]
        if isinstance(sample, str):  # why there is no picture
            raise UserError(sample)
        images.append(drawn(sample, samples.people.skeleton))
        captions.append(" ".join((str(row), *name_of(samples.people, row))))
    save_image(options.out, contact_sheet(images, captions, options.columns))
    return len(samples)


def open_samples(options: argparse.Namespace) -> Any:
    """Crops of people, or whole pictures, without augmentation."""
    from src.datasets.crops import PersonCrops
    from src.datasets.people import open_people, open_scenes
    from src.datasets.scenes import Scenes

    if not options.scenes:
        return PersonCrops(open_people(options, options.split, resolution=options.side), options.side)
    if options.dataset != "synth" and not release(options.dataset).scenes:
        raise UserError(f"{options.dataset} has no whole pictures to show; --scenes is for coco and synth")
    return Scenes(open_scenes(options, options.split, resolution=options.side), options.side, stride=1)


def drawn(sample: dict[str, Any], skeleton: Any) -> Any:
    """The picture (S, S, 3) of a sample with the joints of the person, or of the people, in it."""
    from src.utils.pictures import draw_pose

    image, num_joints = sample["image"], skeleton.num_joints
    if "mask" in sample:
        image = image // (2 - sample["mask"][..., None])
    joints = sample["joints"].reshape(-1, num_joints, 2)
    for points, visible in zip(joints, sample["visible"].reshape(-1, num_joints), strict=True):
        image = draw_pose(image, points, skeleton, visible=visible)
    return image


def name_of(people: Any, row: int) -> list[str]:
    """The file of a picture in the folder of pictures; what is drawn has none."""
    images = getattr(people, "images", None)
    return [] if images is None else [images[row].decode(errors="replace").removeprefix("images/")]


@command
def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    total = browse(options)
    what = "pictures" if options.scenes else "people"
    shown = f"{min(options.count, total):,} of {total:,} {what}"
    print(f"{options.out}: {shown} of {options.dataset} {options.split}")


if __name__ == "__main__":
    main()
