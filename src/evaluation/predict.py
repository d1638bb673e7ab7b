"""Run a network over single-person crops: joints in the pictures, beside the truth that came with them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from src.datasets import affine
from src.datasets.annotations import UNLABELLED
from src.datasets.crops import Batch
from src.datasets.targets import to_images
from src.evaluation.decode import decode, flip_average, flip_average_points
from src.evaluation.search import resized
from src.models.layers import PoseNetwork
from src.utils.device import autocast, to_device

Keep = Callable[[Batch, Tensor], None]  # what is done with a batch and the maps for it


class Found(NamedTuple):
    """Predictions for N people, and what was known of them.

    coords (N, J, 2) picture pixels, 0-based; heatmap (N, J, 2) the same joints in heatmap cells, target
    (N, J, 2) the true ones there; score (N, J) as `decode` gives it, 1 where there is no map; row (N,) the
    person's place in the split; truth (N, J, 2), visible (N, J), norm (N,), scale (N,) as annotated.
    """

    coords: np.ndarray
    heatmap: np.ndarray
    target: np.ndarray
    score: np.ndarray
    row: np.ndarray
    truth: np.ndarray
    visible: np.ndarray
    norm: np.ndarray
    scale: np.ndarray


@torch.inference_mode()
def predict(
    network: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    flip_order: list[int] | None = None,
    amp: str = "none",
    target_mass: float | None = None,
    dark_sigma: float | None = None,
    keep: Keep | None = None,
) -> Found:
    """The predictions of the last stage, in the order of `batches`: of PersonCrops, or of PersonViews.

    With `flip_order` (the skeleton's) they are averaged with those of the mirrored picture. amp: the
    network's precision, as `src.utils.device.autocast` takes it. target_mass: of `src.models.LoadedModel`.
    dark_sigma: as in `decode`. keep: gets each batch with what the network gave, averaged.
    """
    network.eval()
    parts = _each(network, batches, device, flip_order, amp, target_mass, dark_sigma, keep)
    return Found(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def located(
    network: nn.Module,
    images: Tensor,
    flip_order: list[int] | None = None,
    target_mass: float | None = None,
    dark_sigma: float | None = None,
) -> tuple[Tensor, Tensor, float]:
    """The joints in images (B, 3, H, W), averaged with the mirror's, if asked; for heatmaps and coordinates.

    Returns points (B, J, 2) in cells, scores (B, J), and the side of a cell in pixels. Coordinates are in
    cells of as many pixels as those of most heatmaps, and have no score but 1. target_mass: for maps of
    logits, which are averaged as such. dark_sigma: as in `decode`.
    """
    return _joints(_output(network, images, flip_order), images.shape[-1], target_mass, dark_sigma)


def _output(network: nn.Module, images: Tensor, flip_order: list[int] | None) -> Tensor:
    """What the last stage gives, averaged with what it gives for the mirrored pictures."""
    output = network(images)[-1].float()
    if flip_order is None:
        return output
    average = flip_average if output.ndim == 4 else flip_average_points
    return average(output, network(images.flip(3))[-1].float(), flip_order)


def _joints(
    output: Tensor, side: int, target_mass: float | None, dark_sigma: float | None = None
) -> tuple[Tensor, Tensor, float]:
    """As `located`, of an output for pictures of `side` pixels."""
    if output.ndim == 4:
        return *decode(output, target_mass, dark_sigma), side / output.shape[-1]
    size = side // PoseNetwork.stride
    return size * output, torch.ones_like(output[..., 0]), side / size


def _each(
    network: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    flip_order: list[int] | None,
    amp: str,
    target_mass: float | None,
    dark_sigma: float | None,
    keep: Keep | None,
) -> Iterator[Found]:
    for batch in batches:
        views = batch["image"] if isinstance(batch["image"], list) else [batch["image"]]
        images = (to_images(to_device({"image": view}, device)["image"]) for view in views)
        with autocast(device, amp):  # the network alone: places within a cell want float32
            outputs = [_output(network, each, flip_order) for each in images]
        output = outputs[0]
        if len(views) > 1:
            output = torch.stack([resized(each, output.shape[2:]) for each in outputs]).mean(0)
        if keep:
            keep(batch, output)
        *parts, stride = _joints(output, views[0].shape[1], target_mass, dark_sigma)
        points, score = (part.cpu().numpy() for part in parts)
        known = {key: batch[key].numpy() for key in ("matrix", "row", "truth", "visible", "norm", "scale")}
        to_picture = affine.invert(known.pop("matrix"))
        coords = affine.apply(to_picture, points * stride).astype(np.float32)
        yield Found(coords, points, batch["joints"].numpy() / stride, score, **known)


def heatmap_accuracy(found: Found, size: int, joints: Sequence[int]) -> float:
    """The accuracy that training shows (src.evaluation.accuracy), of predictions: the mean over `joints`.

    size: cells of a heatmap's side. NaN if none of the joints counts.
    """
    near, counted = found_in_maps(found, size)
    seen = counted.sum(0)[list(joints)]
    shares = near.sum(0)[list(joints)] / np.where(seen > 0, seen, 1)
    return float(shares[seen > 0].mean()) if (seen > 0).any() else float("nan")


def found_in_maps(found: Found, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Which joints are found in a heatmap of `size` cells a side, and which of them count: (N, J) bool."""
    cells, target = np.floor(found.heatmap), np.floor(found.target)
    counted = (found.visible > UNLABELLED) & ((target >= 0) & (target < size)).all(2)
    return (((cells - target) ** 2).sum(2) <= (size / 20) ** 2) & counted, counted
