"""Open the people that the options of a run name: a release on disk, or synthetic ones."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from src.datasets.annotations import People
from src.datasets.readers import read
from src.datasets.scene_annotations import ScenePeople
from src.datasets.skeletons import COCO, MPII, Skeleton
from src.errors import UserError
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


def open_scenes(
    options: Namespace,
    split: str,
    skeleton: Skeleton | None = None,
    resolution: int = 512,
    pictures: bool = True,
    everything: bool = False,
) -> ScenePeople:
    """The pictures of a split of `--dataset` with everybody in them: of "train", those to learn from.

    skeleton: that of a network, which must be the data set's. resolution: of the input, for which synthetic
    scenes are drawn. pictures: whether the folder of the pictures must be there; scoring does without.
    everything: all of "train", as it is to be scored. Raises UserError for data that are missing or unusable.
    """
    if options.dataset == "synth":
        from src.datasets.synth import SynthScenes

        size = options.synth_size[0] if split == "train" else options.synth_size[1]
        return SynthScenes(split, size, skeleton or COCO, resolution, options.synth_poses)
    from src.datasets.coco import COCO as RELEASE
    from src.datasets.coco import read_scenes

    folder = data_folder(options)
    record = read_scenes(folder, split, options.valid_share, options.coco_year, options.valid_ids)
    if pictures and not record.root.is_dir():
        raise RELEASE.missing(folder, [str(record.root.relative_to(folder))])
    if skeleton and skeleton.joints != record.skeleton.joints:
        raise UserError(
            f"{record.name} has the joints {', '.join(record.skeleton.joints)}; those of the network are"
            f" {', '.join(skeleton.joints)}"
        )
    record = replace(record, mask_people=options.mask_people)
    learns = split == "train" and not everything
    return record.for_training(options.empty_share) if learns else record


def data_folder(options: Namespace) -> Path:
    """`--data-dir`, or data/<dataset> of the project."""
    return options.data_dir or ROOT / "data" / options.dataset
