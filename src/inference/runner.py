"""What `src.pose` asks of a network, in NumPy alone: so it need not know what runs it.

B batch, J joints, L tag dimension, R input side, h x w maps. Images are (B, R, R, 3) uint8 RGB.
"""

from typing import Protocol

import numpy as np

from src.datasets.skeletons import Skeleton

# Cells: a joint is put where a Gaussian through the map, smoothed by one of this width, has its peak (DARK,
# `src.evaluation.decode`). Unlike a quarter of a cell, that does not jump from frame to frame of a video, nor
# where maps are rounded.
SMOOTHING = 1.0


class Runner(Protocol):
    """A network that is ready to run.

    skeleton: its joints. input_res: R. multi_person: whether it gives tags, which say whose a joint is.
    has_maps: whether it gives heatmaps, and not coordinates alone. calls: how many pay that are made at once,
    each in a thread of its own that has called `share`.
    With `flip_test` the answers are averaged with those for the mirrored images.
    """

    skeleton: Skeleton
    input_res: int
    multi_person: bool
    has_maps: bool
    calls: int

    def share(self, calls: int) -> None:
        """Have what this thread calls take one of so many shares of the processors; 1: all of them."""
        ...

    def joints(self, images: np.ndarray, flip_test: bool) -> tuple[np.ndarray, np.ndarray]:
        """Points (B, J, 2) float32 in pixels of the images, and their scores (B, J) float32.

        Coordinates have no score but 1. Not for networks that give tags.
        """
        ...

    def maps(self, images: np.ndarray, flip_test: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Heatmaps (B, J, h, w) and tags (B, L, J, h, w), float32; None instead of tags where there are none.

        Maps of logits, of a network that learnt with the softmax loss, are given as the heatmaps that they
        stand for, if its file says how (`src.evaluation.decode.as_targets`). With `flip_test` there are twice
        as many tags. Raises UserError for a network of coordinates.
        """
        ...
