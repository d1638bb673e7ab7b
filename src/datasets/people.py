"""Open the people that the options of a run name: releases on disk, synthetic ones, or both."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from src.datasets.annotations import People
from src.datasets.joined import JoinedPeople
from src.datasets.readers import read
from src.datasets.scene_annotations import ScenePeople
from src.datasets.skeletons import COCO, MPII, Skeleton
from src.errors import UserError
from src.utils.options import ROOT


def open_people(
    options: Namespace, split: str, skeleton: Skeleton | None = None, resolution: int = 256
) -> People:
    """The people of a split (train, valid or test) of `--dataset`, in their own joints or in the skeleton's.

    Of several data sets those of all, joined, by default in the joints of the first; `--weights` says how
    often the people of each are drawn. resolution: of the crops that will be cut, for which synthetic people
    are drawn. Raises UserError for data that are missing or unusable.
    """
    names = [options.dataset] if isinstance(options.dataset, str) else options.dataset
    weights = getattr(options, "weights", None)
    if len(names) == 1:
        if weights not in (None, [1.0]):
            raise UserError("--weights is for several data sets, of whose people some are drawn more often")
        return _open(options, names[0], split, skeleton, resolution)
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UserError(f"--dataset names {', '.join(sorted(twice))} twice; --weights draws one more often")
    first = _open(options, names[0], split, skeleton, resolution, keep=True)
    common = skeleton or first.skeleton
    others = [_open(options, name, split, common, resolution, keep=True) for name in names[1:]]
    return JoinedPeople([first, *others], common, weights)


def _open(
    options: Namespace,
    dataset: str,
    split: str,
    skeleton: Skeleton | None,
    resolution: int,
    keep: bool = False,
) -> People:
    """The people of one data set; keep: those of a release in its own joints, whatever the skeleton."""
    if dataset == "synth":
        from src.datasets.synth import SynthPeople

        return SynthPeople(split, *_drawings(options, split, skeleton or MPII, resolution))
    own = {
        argument: getattr(options, option)
        for argument, option in _OWN.get(dataset, {}).items()
        if hasattr(options, option)
    }
    return read(
        dataset,
        data_folder(options, dataset),
        split,
        valid_share=options.valid_share,
        skeleton=None if keep else skeleton,
        **own,
    )


def _drawings(
    options: Namespace, split: str, skeleton: Skeleton, resolution: int
) -> tuple[int, Skeleton, int, str | list[str], Path | None]:
    """What synthetic people and scenes are made with: how many, their joints, and how they are drawn."""
    size = options.synth_size[0] if split == "train" else options.synth_size[1]
    return size, skeleton, resolution, options.synth_poses, getattr(options, "synth_bank", None)


# Arguments that one reader alone has, and the options that they come from, where a task has these.
_OWN = {
    "penn": {"compat": "penn_compat"},
    "flic": {"sides": "flic_sides"},
    "coco": {"year": "coco_year", "held_out": "valid_ids", "boxes": "boxes", "least_score": "box_score"},
}


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

        return SynthScenes(split, *_drawings(options, split, skeleton or COCO, resolution))
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


def check_joints(people: People | ScenePeople, valid: People | ScenePeople) -> None:
    """UserError unless both splits have the same joints in the same order, as one network has them."""
    if valid.skeleton.joints != people.skeleton.joints:
        raise UserError(
            f"{valid.name} has the joints {', '.join(valid.skeleton.joints)}; those of {people.name} are"
            f" {', '.join(people.skeleton.joints)}"
        )


def data_folder(options: Namespace, dataset: str | None = None) -> Path:
    """The folder of a data set: from `--data-dir`, a folder or one for each name, or data/<dataset>."""
    name, given = dataset or options.dataset, options.data_dir
    if isinstance(given, list):
        given = {each: Path(path) for each, _, path in (text.partition("=") for text in given)}
        names = [options.dataset] if isinstance(options.dataset, str) else options.dataset
        unknown = [each for each in given if each not in names]
        if unknown:
            raise UserError(f"--data-dir names {unknown[0]}, which is not in --dataset {' '.join(names)}")
        given = given.get(name)
    elif given and not isinstance(options.dataset, str) and len(options.dataset) > 1:
        raise UserError(f"several data sets want a folder each: --data-dir {name}=DIR …")
    return given or ROOT / "data" / name
