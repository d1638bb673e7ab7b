"""Open the people that the options of a run name: a release on disk, or synthetic ones."""

from argparse import Namespace
from pathlib import Path

from src.datasets.annotations import People
from src.datasets.readers import read
from src.datasets.skeletons import MPII, Skeleton
from src.utils.options import ROOT


def open_people(
    options: Namespace, split: str, skeleton: Skeleton | None = None, resolution: int = 256
) -> People:
    """The people of a split (train, valid or test) of `--dataset`, in their own joints or in the skeleton's.

    resolution: of the crops that will be cut, for which synthetic people are drawn. Raises UserError for
    data that are missing or unusable.
    """
    if options.dataset == "synth":
        from src.datasets.synth import SynthPeople

        size = options.synth_size[0] if split == "train" else options.synth_size[1]
        return SynthPeople(split, size, skeleton or MPII, resolution, options.synth_poses)
    folder = data_folder(options)
    return read(options.dataset, folder, split, valid_share=options.valid_share, skeleton=skeleton)


def data_folder(options: Namespace) -> Path:
    """`--data-dir`, or data/<dataset> of the project."""
    return options.data_dir or ROOT / "data" / options.dataset
