"""From a network to an ONNX file that `src.inference.exported` runs.

B batch, J joints, L tag dimension, K peaks, R input side, h x w maps.
"""

import io
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src import models
from src.errors import UserError
from src.evaluation.decode import confidences
from src.evaluation.grouping import Grouping
from src.inference.exported import (
    COORDINATES,
    FORMAT,
    HEATMAPS,
    JOINTS,
    PEAKS,
    SCORES,
    TAGS,
    TARGET_MASS,
)
from src.models.layers import Normalise, PoseNetwork

DEFAULT_OPSET = 17


class Decoder(nn.Module):
    """From maps to points, in operations that every runtime of ONNX knows.

    Without tags the arg-max cell of each map, with the quarter shift of `src.evaluation.decode`; with tags
    the peaks of `src.evaluation.grouping`, each with its tag. Coordinates are only scaled to pixels.
    target_mass: for maps of logits, whose scores are those of `src.evaluation.decode.confidences`.
    """

    def __init__(self, kind: str, input_res: int, target_mass: float | None = None) -> None:
        super().__init__()
        self.kind, self.input_res, self.target_mass = kind, input_res, target_mass

    def forward(self, *outputs: Tensor) -> tuple[Tensor, ...]:
        if self.kind == COORDINATES:
            (coordinates,) = outputs
            ones = coordinates[..., 0].clamp(1, 1)  # ones_like would be so many as images were traced
            return self.input_res * coordinates, ones
        heatmaps = outputs[0]
        cell = self.input_res / int(heatmaps.shape[3])
        flat = heatmaps.flatten(2)
        if self.kind == HEATMAPS:
            cells = flat.argmax(2, keepdim=True)
            scores = flat.gather(2, cells)[..., 0]
            if self.target_mass is not None:
                scores = confidences(heatmaps, scores, self.target_mass)
            return cell * _points(heatmaps, cells)[:, :, 0], scores
        scores, cells = _peaks(heatmaps)
        tags = outputs[1].flatten(3)
        return cell * _points(heatmaps, cells), scores, _at(tags, cells)


def _peaks(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """The heights of the highest peaks and their flat cells, both (B, J, K)."""
    most, window = Grouping.max_people, Grouping.window
    largest = F.max_pool2d(heatmaps, window, stride=1, padding=window // 2)
    heights = torch.where(heatmaps == largest, heatmaps, torch.zeros_like(heatmaps)).flatten(2)
    cells = int(heatmaps.shape[2] * heatmaps.shape[3])
    return heights.topk(min(most, cells), dim=2)


def _at(tags: Tensor, cells: Tensor) -> Tensor:
    """The tags (B, L, J, h w) at cells (B, J, K): (B, L, J, K)."""
    return torch.stack([tags[:, each].gather(2, cells) for each in range(tags.shape[1])], dim=1)


def _points(heatmaps: Tensor, cells: Tensor) -> Tensor:
    """The points (B, J, K, 2) of flat cells (B, J, K): their centres, moved a quarter."""
    height, width = (int(side) for side in heatmaps.shape[2:])  # fixed in the file
    y, x = torch.div(cells, width, rounding_mode="floor"), cells % width
    inner = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)
    middle = y.clamp(1, height - 2) * width + x.clamp(1, width - 2)
    flat = heatmaps.flatten(2)
    slopes = [flat.gather(2, middle + step) - flat.gather(2, middle - step) for step in (1, width)]
    towards = torch.stack(slopes, dim=3).sign() * inner[..., None].to(heatmaps.dtype)
    return torch.stack([x, y], dim=3).to(heatmaps.dtype) + 0.5 + 0.25 * towards


class Exportable(nn.Module):
    """A network with the outputs of its file."""

    def __init__(self, loaded: models.LoadedModel, decode: bool) -> None:
        super().__init__()
        self.network = loaded.network
        self.joints = self.network.config["num_joints"]
        self.kind = kind_of(self.network)
        self.decoder = Decoder(self.kind, loaded.input_res, loaded.target_mass) if decode else None

    @property
    def names(self) -> list[str]:
        """The names of the outputs."""
        names = [HEATMAPS, TAGS] if self.kind == TAGS else [self.kind]
        if self.decoder is not None:
            names += PEAKS if self.kind == TAGS else [JOINTS, SCORES]
        return names

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        output = self.network(images)[-1]
        outputs: tuple[Tensor, ...] = (output,)
        if self.kind == TAGS:
            tags = output[:, self.joints :].unflatten(1, (-1, self.joints))
            outputs = (output[:, : self.joints], tags)
        return outputs if self.decoder is None else (*outputs, *self.decoder(*outputs))


def kind_of(network: PoseNetwork) -> str:
    """What a network gives: HEATMAPS, TAGS (beside these) or COORDINATES."""
    if network.arch in models.REGRESSION:
        return COORDINATES
    return TAGS if network.config.get("tag_dim") else HEATMAPS


def to_onnx(loaded: models.LoadedModel, decode: bool, half: bool, opset: int) -> bytes:
    """The content of the file: a network on the CPU, outputs and metadata as in `src.inference.exported`.

    half: compute in float16; images and outputs stay float32. Raises UserError if the network has an
    operation that `opset` does not know.
    """
    import onnx

    network = Exportable(loaded, decode).eval()
    images = torch.zeros(1, 3, loaded.input_res, loaded.input_res)
    file = io.BytesIO()
    with warnings.catch_warnings(), _without_output():
        warnings.simplefilter("ignore")  # of itself, and of sizes that do not change: those of the image
        try:
            # The other exporter takes minutes for a network, and some packages more.
            torch.onnx.export(
                network, (images,), file, dynamo=False,  # type: ignore[arg-type]
                opset_version=opset,
                input_names=["images"], output_names=network.names,
                dynamic_axes={name: {0: "batch"} for name in ("images", *network.names)},
            )  # fmt: skip
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{loaded.arch} cannot be written with opset {opset}: {reason}") from None
    model = onnx.load_from_string(file.getvalue())
    with torch.inference_mode():
        _tell_sizes(model, [output.shape for output in network(images)])
    if half:
        model = _halved(model)
    normalise = next(each for each in loaded.network.modules() if isinstance(each, Normalise))
    values: dict[str, Any] = {
        "format": FORMAT,
        "arch": loaded.arch,
        "config": loaded.config,
        "skeleton": loaded.skeleton,
        "input_res": loaded.input_res,
        "normalisation": {
            "mean": normalise.mean.flatten().tolist(),
            "std": normalise.std.flatten().tolist(),
        },
        "decode": decode,
        "precision": "float16" if half else "float32",
        TARGET_MASS: loaded.target_mass,
    }
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in values.items()})
    return model.SerializeToString()


@contextmanager
def _without_output() -> Iterator[None]:
    """Keep from the standard output what C++ prints there: the exporter a network that it cannot write."""
    if sys.stdout is None:  # it is closed
        yield
        return
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _tell_sizes(model: Any, shapes: Sequence[torch.Size]) -> None:
    """Give the sizes of outputs but for the batch, which the exporter calls by names of its operations."""
    for output, shape in zip(model.graph.output, shapes, strict=True):
        for dimension, size in zip(output.type.tensor_type.shape.dim[1:], shape[1:], strict=True):
            dimension.dim_value = size


def _halved(model: Any) -> Any:
    """The network in float16; what comes after it stays as it is, and so do images and outputs."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    others = [node.name for node in model.graph.node if not node.name.startswith("/network/")]
    with warnings.catch_warnings():  # about weights that are too small to be told from 0
        warnings.simplefilter("ignore")
        model = convert_float_to_float16(model, keep_io_types=True, node_block_list=others)
    once = {node.name: node for node in model.graph.node}  # what several nodes see is cast for each of them
    del model.graph.node[:]
    model.graph.node.extend(once.values())
    ordered = OnnxModel(model)  # casts stand at the end
    ordered.topological_sort()
    return ordered.model
