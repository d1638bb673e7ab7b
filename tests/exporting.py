"""Small networks as checkpoints, and what they answer after they have been exported."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from src import models
from src.datasets.skeletons import Skeleton
from src.models.layers import PoseNetwork

FIVE = Skeleton(
    name="five",
    joints=("head", "left hand", "right hand", "left foot", "right foot"),
    flip_pairs=((1, 2), (3, 4)),
    limbs=((0, 1), (0, 2), (0, 3), (0, 4)),
    groups={},
    accuracy_joints=(0,),
    mean_joints=(0,),
    sigmas=(0.1,) * 5,
    torso=(1, 4),
)


def loaded(arch: str, side: int, **config: Any) -> models.LoadedModel:
    """A network of five joints whose statistics have moved, as `src.models.load` gives one."""
    torch.manual_seed(0)
    network = models.build(arch, FIVE.num_joints, **config)
    return in_use(network, torch.rand(2, 3, side, side))


def in_use(network: PoseNetwork, images: Tensor) -> models.LoadedModel:
    """A network after a few pictures, in eval mode, with what belongs to it."""
    for _ in range(3):
        network(images)
    return models.LoadedModel(
        network.eval(), network.arch, network.config, FIVE.to_dict(), images.shape[-1], weights="model"
    )


def assert_exports_to_onnx(network: PoseNetwork, images: Tensor) -> None:
    """The ONNX file of a network answers as it does itself, for several images and for one, in both types."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from src.inference.agreement import compare
    from src.inference.exporting import to_onnx

    model = in_use(network, images)
    pictures = (255 * images).byte().permute(0, 2, 3, 1).numpy()
    with torch.inference_mode():
        largest = float(network(images)[-1].abs().max())
    for half in (False, True)[: 1 + (largest > 1e-3)]:  # float16 hardly tells less apart
        content = to_onnx(model, decode=True, half=half, opset=17)
        compare(model, content, np.ascontiguousarray(pictures), "file")  # raises where they differ
