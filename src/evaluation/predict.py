"""Run a network over single-person crops: joints in the pictures, beside the truth that came with them."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from src.datasets import affine
from src.datasets.crops import Batch
from src.datasets.targets import to_images
from src.evaluation.decode import decode, flip_average
from src.utils.device import to_device


class Found(NamedTuple):
    """Predictions for N people, and what was known of them.

    coords (N, J, 2) picture pixels, 0-based; heatmap (N, J, 2) the same joints in heatmap cells; score (N, J)
    the map's value there; row (N,) the person's place in the split; truth (N, J, 2), visible (N, J),
    norm (N,), scale (N,) as annotated.
    """

    coords: np.ndarray
    heatmap: np.ndarray
    score: np.ndarray
    row: np.ndarray
    truth: np.ndarray
    visible: np.ndarray
    norm: np.ndarray
    scale: np.ndarray


@torch.inference_mode()
def predict(
    network: nn.Module, batches: Iterable[Batch], device: torch.device, flip_order: list[int] | None = None
) -> Found:
    """The predictions of the last stage, in the order of `batches`.

    With `flip_order` (the skeleton's) the maps are averaged with those of the mirrored picture.
    """
    network.eval()
    parts = list(_each(network, batches, device, flip_order))
    return Found(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def heatmaps_of(network: nn.Module, images: Tensor, flip_order: list[int] | None = None) -> Tensor:
    """The last stage's maps (B, J, h, w) of images (B, 3, H, W); averaged with the mirror's, if asked."""
    heatmaps = network(images)[-1].float()
    if flip_order is None:
        return heatmaps
    return flip_average(heatmaps, network(images.flip(3))[-1].float(), flip_order)


def _each(
    network: nn.Module, batches: Iterable[Batch], device: torch.device, flip_order: list[int] | None
) -> Iterator[Found]:
    for batch in batches:
        images = to_images(to_device({"image": batch["image"]}, device)["image"])
        heatmaps = heatmaps_of(network, images, flip_order)
        points, score = (part.cpu().numpy() for part in decode(heatmaps))
        crop = points * (images.shape[-1] / heatmaps.shape[-1])
        known = {key: batch[key].numpy() for key in ("inverse", "row", "truth", "visible", "norm", "scale")}
        coords = affine.apply(known.pop("inverse"), crop).astype(np.float32)
        yield Found(coords, points, score, **known)
