"""Search whole pictures for people: a network at one or several scales, then grouping.

    search = Search.of(skeleton, input_res=512, multiple=64, scales=(2, 1, 0.5))
    people = dict(find_all(network, batches, search, device))  # batches of SceneViews(scenes, search.sides)

At each scale the picture fills a square. Heatmaps of several scales are resized to the largest and averaged;
tags mean something beside those of the same scale only, so they are taken from one, that nearest to 1. With
flip the network sees the mirrored pictures as well: heatmaps are averaged, tags get twice the dimensions, so
the distances between people grow by about √2.

B batch, J joints, L tag dimension, R input side, h x w maps.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.datasets import affine
from src.datasets.augmentation import SceneDraw
from src.datasets.crops import Batch
from src.datasets.scene_annotations import Scene, ScenePeople
from src.datasets.scenes import Scenes, letterbox
from src.datasets.skeletons import Skeleton
from src.datasets.targets import to_images
from src.errors import UserError
from src.evaluation.decode import flip_average
from src.evaluation.grouping import Grouping, People, group
from src.utils.device import autocast

LARGEST_SIDE = 16384  # pixels of an input: OpenCV draws no picture of twice that side


@dataclass(frozen=True)
class Search:
    """How pictures are searched.

    grouping: how people are put together. sides: of the network's square inputs, the largest first.
    tags_of: which of these the tags are taken from. flip_order: the skeleton's, to look at the mirrored
    pictures, too. amp: the network's precision, as `src.utils.device.autocast` takes it.
    """

    grouping: Grouping
    sides: tuple[int, ...]
    tags_of: int = 0
    flip_order: list[int] | None = None
    amp: str = "none"

    @classmethod
    def of(
        cls,
        skeleton: Skeleton,
        input_res: int,
        multiple: int,
        scales: Sequence[float] = (1.0,),
        flip_test: bool = True,
        amp: str = "none",
        **grouping: Any,
    ) -> "Search":
        """The search at `scales` times `input_res` pixels, rounded up to multiples of `multiple`.

        multiple: what the network asks for (src.models.architecture). flip_test: look at mirrored pictures,
        too. grouping: settings of Grouping beside the joint order. Raises UserError for scales that are no
        positive numbers.
        """
        sides = sides_of(input_res, multiple, scales)
        falling = sorted(scales, reverse=True)
        tags_of = min(range(len(falling)), key=lambda place: abs(math.log(falling[place])))
        order = skeleton.flip_order if flip_test else None
        return cls(Grouping.of(skeleton, **grouping), sides, tags_of, order, amp)


def sides_of(input_res: int, multiple: int, scales: Sequence[float]) -> tuple[int, ...]:
    """`scales` times `input_res` pixels, rounded up to multiples of `multiple`, the largest first.

    Raises UserError for scales that are no positive numbers, and for one beyond all pictures.
    """
    if not scales or not all(0 < scale < math.inf for scale in scales):
        raise UserError(f"scales are positive numbers, such as 2 1 0.5, not {' '.join(map(str, scales))}")
    falling = sorted(scales, reverse=True)
    if input_res * falling[0] > LARGEST_SIDE:
        raise UserError(f"a scale of {falling[0]:g} times {input_res} pixels is more than {LARGEST_SIDE:,}")
    return tuple(max(1, math.ceil(round(input_res * scale / multiple, 6))) * multiple for scale in falling)


class SceneViews(Scenes):
    """Whole pictures as a search takes them, for the loader of src/datasets/crops.py.

    A sample is a dict: image, a list with (R, R, 3) uint8 RGB for each of `sides`, which fall; inverse (2, 3)
    float64 from the first of these to the picture; row int64.
    """

    def __init__(self, people: ScenePeople, sides: Sequence[int]) -> None:
        super().__init__(people, sides[0])
        self.sides = sides

    def sample(self, scene: Scene, draw: SceneDraw) -> Batch:
        """The sample of a scene; `draw` changes nothing. Raises BadImage."""
        matrices = [letterbox(scene.width, scene.height, side) for side in self.sides]
        picture = scene.read(affine.shrinkage(matrices[0]))
        views = [
            affine.warp(picture.pixels, affine.from_reduced(matrix, picture.reduction), side)
            for matrix, side in zip(matrices, self.sides, strict=True)
        ]
        return {"image": views, "inverse": affine.invert(matrices[0])}


def find_all(
    network: nn.Module, batches: Iterable[Batch], search: Search, device: torch.device
) -> Iterator[tuple[int, People]]:
    """Row and people, joints in the picture's pixels, of each picture in batches of SceneViews."""
    network.eval()
    for batch in batches:
        found = _search(network, batch["image"], search, device)
        for row, inverse, people in zip(batch["row"].tolist(), batch["inverse"].numpy(), found, strict=True):
            yield row, through(inverse, people)


def through(matrix: np.ndarray, people: People) -> People:
    """The people with their joints mapped by a matrix (2, 3)."""
    return people._replace(joints=affine.apply(matrix, people.joints).astype(np.float32))


@torch.inference_mode()
def _search(
    network: nn.Module, views: Sequence[Tensor], search: Search, device: torch.device
) -> list[People]:
    """The people in B pictures, joints in pixels of the first of the views (B, R, R, 3) uint8."""
    images = (to_images(view.to(device, non_blocking=True)) for view in views)
    with autocast(device, search.amp):
        heatmaps, tags = (maps.cpu().numpy() for maps in maps_of(network, images, search))
    cell = search.sides[0] / heatmaps.shape[-1]
    found = (group(*maps, search.grouping) for maps in zip(heatmaps, tags, strict=True))
    return [people._replace(joints=people.joints * np.float32(cell)) for people in found]


def maps_of(network: nn.Module, images: Iterable[Tensor], search: Search) -> tuple[Tensor, Tensor]:
    """Heatmaps (B, J, h, w) and tags (B, L, J, h, w), float32, of images (B, 3, R, R), one for each side.

    The maps are of the size of the first; with flip L is twice that of the network.
    """
    parts = [_of_one_scale(network, image, search) for image in images]
    size = parts[0][0].shape[2:]
    heatmaps = torch.stack([resized(heatmaps, size) for heatmaps, _ in parts]).mean(0)
    tags = parts[search.tags_of][1]
    return heatmaps, resized(tags.flatten(1, 2), size).unflatten(1, tags.shape[1:3])


def resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (B, J, h, w) at another size (h, w), bilinear."""
    if maps.shape[2:] == torch.Size(size):
        return maps
    return F.interpolate(maps, list(size), mode="bilinear", align_corners=False)


def _of_one_scale(network: nn.Module, images: Tensor, search: Search) -> tuple[Tensor, Tensor]:
    joints = len(search.grouping.joint_order)
    heatmaps, tags = split_maps(network(images)[-1], joints)
    if search.flip_order is None:
        return heatmaps, tags
    of_mirrored, mirrored_tags = split_maps(network(images.flip(3))[-1], joints)
    restored = torch.stack([mirrored_tags[:, :, joint] for joint in search.flip_order], dim=2).flip(4)
    return flip_average(heatmaps, of_mirrored, search.flip_order), torch.cat([tags, restored], dim=1)


def split_maps(maps: Tensor, joints: int) -> tuple[Tensor, Tensor]:
    """Maps (B, J + L J, h, w) of a network as heatmaps and tags (B, L, J, h, w), in float32."""
    return maps[:, :joints].float(), maps[:, joints:].float().unflatten(1, (-1, joints))
