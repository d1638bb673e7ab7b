"""A file that `tools/export.py` wrote, run with onnxruntime: NumPy in and out, and no PyTorch.

Whatever runs such a file finds in it

    images            (batch, 3, R, R) float32 RGB in [0, 1], to be fed
    heatmaps          (batch, J, h, w) float32
    tags              (batch, L, J, h, w) float32, of a network of associative embedding
    coordinates       (batch, J, 2) float32 in units of the crop, instead of heatmaps, of a regression network

and with --decode also, for other programs (here maps are decoded, as those of a checkpoint are)

    joints, scores    (batch, J, 2) in pixels of the images, (batch, J); one person each
    peaks             (batch, J, K, 2) in pixels, of a network of associative embedding: the highest peaks
    peak_scores       (batch, J, K), the highest first; 0 where there are no more peaks
    peak_tags         (batch, L, J, K)

and in its metadata, as JSON: `format`, `arch`, `config`, `skeleton`, `input_res`, `normalisation` (mean and
std of R, G and B, which the file itself subtracts and divides by), `decode`, `precision`; and `target_mass`,
null but for heatmaps that are logits (`src.evaluation.decode.as_targets`).
"""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from src.datasets.skeletons import Skeleton
from src.errors import UserError
from src.evaluation.cells import as_targets, decode
from src.inference.runner import SMOOTHING

FORMAT = 1
METADATA = {
    "format": int,
    "arch": str,
    "config": dict,
    "skeleton": dict,
    "input_res": int,
    "normalisation": dict,
    "decode": bool,
    "precision": str,
}
TARGET_MASS = "target_mass"  # not in older files
HEATMAPS, TAGS, COORDINATES = "heatmaps", "tags", "coordinates"
JOINTS, SCORES = "joints", "scores"
PEAKS = ("peaks", "peak_scores", "peak_tags")
INSTALL = "pip install onnxruntime, or this project with its extra: pip install -e '.[export]'"

# mirrored coordinates, in units of the crop: (1 - x, y)
_TURNED, _EDGE = np.array([-1, 1], np.float32), np.array([1, 0], np.float32)

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class Exported:
    """An exported network (`src.inference.runner`)."""

    # onnxruntime's threads are those of the session, and a free one does what others have not begun
    calls = 1

    def __init__(self, path: str | Path, device: str = "auto", amp: str = "none") -> None:
        """Raises UserError as `src.pose.load` does."""
        if amp not in ("none", "auto"):
            raise UserError(
                f"{path} has its own precision, which --fp16 of tools/export.py chooses: not {amp}"
            )
        self.session = open_session(_content(path), str(path), device)
        self.metadata = _metadata(self.session, path)
        self.skeleton = _skeleton(self.metadata["skeleton"], path)
        self.input_res: int = self.metadata["input_res"]
        self.target_mass: float | None = self.metadata[TARGET_MASS]
        self._flip_order = self.skeleton.flip_order
        outputs = {output.name: output.shape for output in self.session.get_outputs()}
        self.multi_person = TAGS in outputs
        self.has_maps = COORDINATES not in outputs
        self._output = HEATMAPS if self.has_maps else COORDINATES
        self._require_fit(outputs, path)

    def share(self, calls: int) -> None:
        pass

    def joints(self, images: np.ndarray, flip_test: bool) -> tuple[np.ndarray, np.ndarray]:
        output = self._averaged(to_floats(images), flip_test)
        if not self.has_maps:
            return output * np.float32(self.input_res), np.ones(output.shape[:2], np.float32)
        points, scores = decode(output, self.target_mass, SMOOTHING)
        return points * np.float32(self.input_res / output.shape[-1]), scores

    def maps(self, images: np.ndarray, flip_test: bool) -> tuple[np.ndarray, np.ndarray | None]:
        if not self.has_maps:
            raise UserError(f"{self.metadata['arch']} gives coordinates, and no maps")
        floats = to_floats(images)
        if not self.multi_person:
            heatmaps = self._averaged(floats, flip_test)
            return heatmaps if self.target_mass is None else as_targets(heatmaps, self.target_mass), None
        heatmaps, tags = self.run(floats, [HEATMAPS, TAGS])
        if flip_test:
            mirrored, mirrored_tags = self.run(_mirrored(floats), [HEATMAPS, TAGS])
            heatmaps = _average(heatmaps, _mirrored(mirrored)[:, self._flip_order])
            tags = np.concatenate([tags, _mirrored(mirrored_tags)[:, :, self._flip_order]], axis=1)
        return heatmaps, tags

    def run(self, images: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        """Some outputs of the file for images (B, 3, R, R) float32 in [0, 1]."""
        return self.session.run(list(outputs), {"images": images})

    def _averaged(self, images: np.ndarray, flip_test: bool) -> np.ndarray:
        """The heatmaps or coordinates, averaged with the mirror's, if asked."""
        (output,) = self.run(images, [self._output])
        if not flip_test:
            return output
        (mirrored,) = self.run(_mirrored(images), [self._output])
        mirrored = mirrored[:, self._flip_order]
        if not self.has_maps:
            return _average(output, mirrored * _TURNED + _EDGE)
        return _average(output, _mirrored(mirrored))

    def _require_fit(self, outputs: dict[str, list[Any]], path: str | Path) -> None:
        """UserError unless what the file takes and gives is what its metadata says."""
        given = [(each.name, each.type, each.shape[1:]) for each in self.session.get_inputs()]
        fits = given == [("images", "tensor(float)", [3, self.input_res, self.input_res])]
        joints = outputs.get(self._output, [])[1:2]
        if not fits or joints != [self.skeleton.num_joints]:
            raise UserError(f"{path} is damaged: its network is not the one that its metadata tells of")


def to_floats(images: np.ndarray) -> np.ndarray:
    """Bytes (B, R, R, 3) as floats (B, 3, R, R) in [0, 1]."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)) / np.float32(255)


def _mirrored(maps: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(maps[..., ::-1])


def _average(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one + other) * np.float32(0.5)


def open_session(content: bytes, name: str, device: str = "cpu") -> Any:
    """An onnxruntime session for the content of a file; `name` is for messages.

    Like PyTorch it takes as many threads as OMP_NUM_THREADS says.
    """
    try:
        import onnxruntime
    except ImportError:
        raise UserError(f"{name} needs onnxruntime: {INSTALL}") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised anyway
    threads = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = int(threads) if threads.isdecimal() else 0
    providers = _providers(device, onnxruntime.get_available_providers())
    try:
        session = onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no common class
        reason = shorten(str(error).rpartition(" : ")[2], 100)
        raise UserError(f"{name} is damaged, or is no ONNX file ({reason})") from None
    if device.startswith("cuda") and session.get_providers()[0] != _CUDA:
        raise UserError(f"onnxruntime cannot use {device} here; try --device auto or cpu")
    return session


def _providers(device: str, available: Sequence[str]) -> list[Any]:
    """What onnxruntime calls a device, and what it falls back on for what that cannot do."""
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and not number.isdecimal()):
        raise UserError(f"an exported file runs on --device auto, cpu or cuda, not {device}")
    if kind == "cpu" or (kind == "auto" and _CUDA not in available):
        return [_CPU]
    if _CUDA not in available:
        raise UserError(
            f"this onnxruntime cannot use {device} (pip install onnxruntime-gpu); try --device cpu"
        )
    return [(_CUDA, {"device_id": int(number or 0)}), _CPU]


def _content(path: str | Path) -> bytes:
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; give the file in it") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if not content:
        raise UserError(f"{path} is an empty file; export or copy it again")
    return content


def _metadata(session: Any, path: str | Path) -> dict[str, Any]:
    """What the file says of itself; UserError if it is not one of this project, or says nonsense."""
    stored = session.get_modelmeta().custom_metadata_map
    missing = [key for key in METADATA if key not in stored]
    if missing:
        raise UserError(
            f"{path} is an ONNX file of other code: it does not say its {', '.join(missing)};"
            " tools/export.py CHECKPOINT --out FILE.onnx writes files that do"
        )
    try:
        metadata = {key: json.loads(stored.get(key, "null")) for key in (*METADATA, TARGET_MASS)}
    except json.JSONDecodeError:
        raise UserError(f"{path} is damaged: its metadata is no JSON") from None
    if metadata["format"] != FORMAT:
        raise UserError(f"{path} has format {metadata['format']!r}; this version reads {FORMAT}")
    for key, kind in METADATA.items():
        if type(metadata[key]) is not kind:
            raise UserError(f"{path} is damaged: its {key} is {shorten(repr(metadata[key]), 40)}")
    mass = metadata[TARGET_MASS]
    if mass is not None and not (type(mass) is float and 0 < mass < math.inf):
        raise UserError(f"{path} is damaged: its {TARGET_MASS} is {shorten(repr(mass), 40)}")
    return metadata


def _skeleton(stored: dict[str, Any], path: str | Path) -> Skeleton:
    try:
        return Skeleton.from_dict(stored)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (TypeError, ValueError, AttributeError, KeyError):
        raise UserError(f"{path} is damaged: its skeleton is none") from None
