"""The releases that can be read, by name. A new one is one file with a Release and one line in RELEASES.

Their modules are imported on use: this table costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.errors import UserError, suggest

if TYPE_CHECKING:
    from src.datasets.annotations import Annotations
    from src.datasets.release import Release
    from src.datasets.skeletons import Skeleton

RELEASES = {
    "lsp": "src.datasets.lsp:LSP",
    "lspet": "src.datasets.lsp:LSPET",
    "mpii": "src.datasets.mpii:MPII",
    "lsp_mpii": "src.datasets.lsp_mpii:LSP_MPII",
    "coco": "src.datasets.coco:COCO",
    "flic": "src.datasets.flic:FLIC",
    "penn": "src.datasets.penn:PENN",
}
VALID_SHARE = 0.2  # what is held out by default of a release without a validation split


def release(dataset: str) -> Release:
    """A release by name; UserError, with the nearest name, if there is none."""
    if dataset not in RELEASES:
        known = ", ".join(RELEASES)
        raise UserError(f"there is no data set {dataset!r}{suggest(dataset, RELEASES)}; known: {known}")
    module, name = RELEASES[dataset].split(":")
    return getattr(import_module(module), name)


def read(
    dataset: str,
    data_dir: Path,
    split: str,
    *,
    valid_share: float = VALID_SHARE,
    skeleton: Skeleton | None = None,
    **own: Any,
) -> Annotations:
    """One split (train, valid or test) of the release in `data_dir`, in its own joints or in `skeleton`'s.

    valid_share: what a release without a validation split holds out. own: arguments that the reader of this
    release has beyond, such as `compat` of penn. Pictures need not exist: they are read when people are.
    Raises UserError for unknown names, for files that are missing or damaged, and for people to train or
    validate on who have no labelled joint.
    """
    import numpy as np

    source = release(dataset)
    splits = (*source.splits, *source.unannotated)
    if split not in splits:
        known = ", ".join(splits)
        raise UserError(f"{dataset} has no split {split!r}{suggest(split, splits)}; it has {known}")
    with np.errstate(over="ignore", invalid="ignore"):  # what is no finite number then is refused
        people = source.read(Path(data_dir), split, valid_share, **own)
    if not len(people):
        raise UserError(f"{people.name} has no people")
    if split != "test":
        people.require_joints()
    return people.with_skeleton(skeleton) if skeleton else people
