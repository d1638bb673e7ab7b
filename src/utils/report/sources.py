"""Where the predictions of a run come from: files in its folder, or its best network, run now."""

from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

from src import models
from src.datasets.skeletons import Skeleton
from src.errors import UserError
from src.utils.command import note
from src.utils.device import choose_device
from src.utils.options import BEST, NEWEST, Parser, parse_test, stored_options
from src.utils.report.findings import Settings

Predictions = TypeVar("Predictions")


class Trained(NamedTuple):
    """The network of a run on its device; name: what to call it on the page."""

    loaded: models.LoadedModel
    skeleton: Skeleton
    device: torch.device
    name: str


def scoring_options(
    folder: Path, build: Callable[[Parser], None], dataset: str, settings: Settings
) -> Namespace:
    """The options of test.py for the run in `folder` on one of its data sets. Raises UserError."""
    folder = folder.resolve()
    argv = ["--exp", folder.name, "--exp-dir", str(folder.parent.parent), "--dataset", dataset]
    argv += ["--device", settings.device, "--workers", str(settings.workers)]
    args = parse_test(build, "", folder.parent.name, argv)
    args.input_res = stored_options(folder).get("input-res", args.input_res)
    args.skip_bad_images = True  # the page says how many were looked at
    args.valid_iters = -(-settings.samples // args.batch_size)
    args.batch_size = -(-settings.samples // args.valid_iters)  # as many as asked for, or hardly more
    return args


def predictions_of(
    folder: Path,
    files: Sequence[str],
    settings: Settings,
    read: Callable[[Path], Predictions],
    predict: Callable[[Trained], Predictions],
) -> Predictions:
    """What the first usable one of the `files` in `folder` holds, else what the run's network predicts.

    read: raises UserError for a file that is not of the data set. Such files are left out with a note, and so
    are those that are older than the best checkpoint. Raises UserError if there is no network either.
    """
    for path in _not_outdated(folder, files) if not settings.anew else ():
        try:
            return read(path)
        except UserError as error:
            note(f"{path} is left out: {error}")
    return predict(_trained(folder, choose_device(settings.device)))


def _not_outdated(folder: Path, files: Sequence[str]) -> Iterator[Path]:
    """The files there are, but for those that are older than the best checkpoint."""
    best = folder / BEST
    for path in (folder / name for name in files):
        if not path.is_file():
            continue
        if best.is_file() and path.stat().st_mtime < best.stat().st_mtime:
            note(f"{path} is older than {BEST}, and left out")
        else:
            yield path


def _trained(folder: Path, device: torch.device) -> Trained:
    """The network of the best checkpoint, or of the newest where none has been validated."""
    for path in (folder / BEST, folder / NEWEST):
        if path.is_file():
            loaded = models.load(path, device)
            name = f"{path.name} ({loaded.weights} weights)"
            return Trained(loaded, Skeleton.from_dict(loaded.skeleton), device, name)
    raise UserError(f"{folder} has no checkpoint and no predictions")
