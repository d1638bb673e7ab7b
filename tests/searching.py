"""A search of one picture, step by step: what src/evaluation/search.py does in batches."""

import numpy as np
import torch
from torch import nn

from src.datasets import affine
from src.datasets.scenes import letterbox
from src.datasets.targets import to_images
from src.evaluation.grouping import People, group
from src.evaluation.search import Search, maps_of, through


@torch.inference_mode()
def find_people(network: nn.Module, picture: np.ndarray, search: Search) -> People:
    """The people in a picture (H, W, 3) uint8 RGB, joints in its pixels. The network is in eval mode."""
    height, width = picture.shape[:2]
    matrices = [letterbox(width, height, side) for side in search.sides]
    views = [affine.warp(picture, *view) for view in zip(matrices, search.sides, strict=True)]
    images = [to_images(torch.from_numpy(view[None])) for view in views]
    heatmaps, tags = (maps[0].numpy() for maps in maps_of(network, images, search))
    people = group(heatmaps, tags, search.grouping)
    cell = np.float32(search.sides[0] / heatmaps.shape[-1])
    return through(affine.invert(matrices[0]), people._replace(joints=people.joints * cell))
