"""Run a network over single-person crops: joints in the pictures, beside the truth that came with them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from src.datasets import affine
from src.datasets.annotations import UNLABELLED
from src.datasets.crops import Batch
from src.datasets.targets import to_images
from src.evaluation.decode import decode, flip_average, flip_average_points
from src.models.layers import PoseNetwork
from src.utils.device import autocast, to_device


class Found(NamedTuple):
    """Predictions for N people, and what was known of them.

    coords (N, J, 2) picture pixels, 0-based; heatmap (N, J, 2) the same joints in heatmap cells, target
    (N, J, 2) the true ones there; score (N, J) the map's value, 1 where there is no map; row (N,) the
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
) -> Found:
    """The predictions of the last stage, in the order of `batches`.

    With `flip_order` (the skeleton's) they are averaged with those of the mirrored picture. amp: the
    network's precision, as `src.utils.device.autocast` takes it.
    """
    network.eval()
    with autocast(device, amp):
        parts = list(_each(network, batches, device, flip_order))
    return Found(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def located(
    network: nn.Module, images: Tensor, flip_order: list[int] | None = None
) -> tuple[Tensor, Tensor, float]:
    """The joints in images (B, 3, H, W), averaged with the mirror's, if asked; for heatmaps and coordinates.

    Returns points (B, J, 2) in cells, scores (B, J), and the side of a cell in pixels. Coordinates are in
    cells of as many pixels as those of most heatmaps, and have no score but 1.
    """
    output = network(images)[-1].float()
    is_heatmap = output.ndim == 4
    if flip_order is not None:
        average = flip_average if is_heatmap else flip_average_points
        output = average(output, network(images.flip(3))[-1].float(), flip_order)
    if is_heatmap:
        return *decode(output), images.shape[-1] / output.shape[-1]
    size = images.shape[-1] // PoseNetwork.stride
    return size * output, torch.ones_like(output[..., 0]), images.shape[-1] / size


def _each(
    network: nn.Module, batches: Iterable[Batch], device: torch.device, flip_order: list[int] | None
) -> Iterator[Found]:
    for batch in batches:
        images = to_images(to_device({"image": batch["image"]}, device)["image"])
        *parts, stride = located(network, images, flip_order)
        points, score = (part.cpu().numpy() for part in parts)
        known = {key: batch[key].numpy() for key in ("matrix", "row", "truth", "visible", "norm", "scale")}
        to_picture = affine.invert(known.pop("matrix"))
        coords = affine.apply(to_picture, points * stride).astype(np.float32)
        yield Found(coords, points, batch["joints"].numpy() / stride, score, **known)


def heatmap_accuracy(found: Found, size: int, joints: Sequence[int]) -> float:
    """The accuracy that training shows (src.evaluation.accuracy), of predictions: the mean over `joints`.

    size: cells of a heatmap's side. NaN if none of the joints counts.
    """
    cells, target = np.floor(found.heatmap), np.floor(found.target)
    counted = (found.visible > UNLABELLED) & ((target >= 0) & (target < size)).all(2)
    near = ((cells - target) ** 2).sum(2) <= (size / 20) ** 2
    seen = counted.sum(0)[list(joints)]
    shares = (near & counted).sum(0)[list(joints)] / np.where(seen > 0, seen, 1)
    return float(shares[seen > 0].mean()) if (seen > 0).any() else float("nan")
