"""Whether an exported file answers as its network, and how fast both are.

B batch, J joints, K peaks, R input side, h x w maps.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from src import models
from src.errors import UserError
from src.evaluation.cells import decode
from src.inference import exported
from src.inference.exported import COORDINATES, TAGS
from src.inference.exporting import Decoder, Exportable


class Limits(NamedTuple):
    """How far answers may lie apart.

    outputs: as a share of the largest value. joints: in pixels. decoded: heights of what the file decoded,
    beside what its own maps say, as a share of the largest value; cells: the places.
    """

    outputs: float
    joints: float
    decoded: float
    cells: float


# In float16 onnxruntime may show maps and decode them with and without rounding: places of equal height move.
LIMITS = {"float32": Limits(1e-4, 0.1, 1e-6, 1e-4), "float16": Limits(2e-2, 0.5, 2e-3, 1.5)}


class Agreement(NamedTuple):
    """How a file and its network answered for the same pictures.

    outputs: the largest difference of what the network gives, as a share of its largest value. joints: the
    farthest that a joint lies apart, in pixels, of `compared` ones. undecided: further joints whose map has
    cells nearly as high as the highest, or neighbours nearly as high as each other: such a joint may jump.
    """

    outputs: float
    joints: float
    compared: int
    undecided: int


def compare(loaded: models.LoadedModel, content: bytes, images: np.ndarray, name: str) -> Agreement:
    """Run network and file on images (B, R, R, 3) uint8, at once and one alone.

    Raises UserError if the file does not run, if outputs or joints lie farther apart than they may, or if
    what it decoded is not what its own maps say. name: of the file, for messages.
    """
    session = exported.open_session(content, name)
    stored = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    limits, size = LIMITS[stored["precision"]], loaded.input_res
    network = Exportable(loaded, decode=False)
    decoder = Decoder(network.kind, size, loaded.target_mass)
    floats = exported.to_floats(images)
    found = []
    for batch in (floats, floats[:1]):
        answers = _answers(session, batch, name)
        with torch.inference_mode():
            expected = [output.numpy() for output in network(torch.from_numpy(batch))]
        found.append(_agreement(answers[: len(expected)], expected, network.kind, size))
        if stored["decode"] and not _decodes(answers, decoder, limits):
            raise UserError(f"{name} would not decode its maps as PyTorch does")
    outputs, joints, compared, undecided = zip(*found, strict=True)
    agreement = Agreement(float(np.max(outputs)), max(joints), sum(compared), sum(undecided))
    return _within(agreement, limits, name)


@torch.inference_mode()
def compare_networks(
    loaded: models.LoadedModel, other: models.LoadedModel, images: np.ndarray, half: bool, name: str
) -> Agreement:
    """The same for two networks; half: the weights of the other one were in float16."""
    floats = torch.from_numpy(exported.to_floats(images))
    networks = [Exportable(each, decode=False) for each in (loaded, other)]
    truth, answers = ([output.numpy() for output in network(floats)] for network in networks)
    agreement = _agreement(answers, truth, networks[0].kind, loaded.input_res)
    return _within(agreement, LIMITS["float16" if half else "float32"], name)


def _within(agreement: Agreement, limits: Limits, name: str) -> Agreement:
    """The agreement itself. UserError if outputs or joints lie farther apart than they may."""
    if not agreement.outputs <= limits.outputs:
        far = f"{agreement.outputs:.2g} of the largest value apart"
        raise UserError(f"{name} would not answer as its network: {far}")
    if agreement.joints > limits.joints:
        raise UserError(f"{name} would not answer as its network: joints {agreement.joints:.2f} px apart")
    return agreement


def _answers(session: Any, images: np.ndarray, name: str) -> list[np.ndarray]:
    """All outputs of the file; UserError unless there is an answer for each image."""
    try:
        answers = session.run(None, {"images": images})
    except Exception as error:  # onnxruntime's errors have no common class
        raise UserError(f"{name} would not run {len(images)} images at once: {error}") from None
    if any(len(answer) != len(images) for answer in answers):
        raise UserError(f"{name} would not answer for each of {len(images)} images")
    return answers


def _agreement(answers: Sequence[np.ndarray], truth: Sequence[np.ndarray], kind: str, size: int) -> Agreement:
    pairs = list(zip(answers, truth, strict=True))
    outputs = np.max([np.abs(one - other).max() / (np.abs(other).max() or 1) for one, other in pairs])
    one, other = pairs[0]
    if kind == COORDINATES:
        apart = size * np.linalg.norm(one - other, axis=2)
        decided = np.ones(apart.shape, bool)
    else:
        points, others = (decode(maps)[0] * (size / maps.shape[-1]) for maps in (one, other))
        apart = np.linalg.norm(points - others, axis=2)
        doubt = 2 * np.abs(one - other).max((2, 3))
        decided = (_lead(other) > doubt) & (_slope(other) > doubt)
    count = int(decided.sum())
    return Agreement(float(outputs), float(apart[decided].max(initial=0)), count, decided.size - count)


def _lead(maps: np.ndarray) -> np.ndarray:
    """By how much (B, J) the highest cell of each map is higher than the next one."""
    highest = np.partition(maps.reshape(*maps.shape[:2], -1), -2)
    return highest[..., -1] - highest[..., -2]


def _slope(maps: np.ndarray) -> np.ndarray:
    """The smaller of the differences (B, J), across and down, between the neighbours of each highest cell."""
    height, width = maps.shape[2:]
    flat = maps.reshape(*maps.shape[:2], -1)
    y, x = np.divmod(flat.argmax(2), width)
    middle = (y.clip(1, height - 2) * width + x.clip(1, width - 2))[..., None]
    after, before = (
        np.stack([np.take_along_axis(flat, middle + sign * step, 2)[..., 0] for step in (1, width)])
        for sign in (1, -1)
    )
    return np.abs(after - before).min(0)


def _decodes(answers: Sequence[np.ndarray], decoder: Decoder, limits: Limits) -> bool:
    """Whether the file decoded its own maps as PyTorch does. Of equal heights it may take others."""
    kind, size = decoder.kind, decoder.input_res
    count = 2 if kind == TAGS else 1
    outputs = [torch.from_numpy(maps) for maps in answers[:count]]
    pairs = zip(answers[count:], (each.numpy() for each in decoder(*outputs)), strict=True)
    (points, expected), (scores, heights), *_ = pairs
    if kind == COORDINATES:
        return bool(np.abs(points - expected).max() <= limits.joints)
    if kind == TAGS:  # the highest peak of each joint
        lead = heights[..., 0] - heights[..., 1]
        points, expected, scores, heights = (each[:, :, 0] for each in (points, expected, scores, heights))
    else:
        lead = _lead(answers[0])
    doubt = limits.decoded * np.abs(answers[0]).max()
    farthest = np.abs(points - expected)[lead > doubt].max(initial=0)
    near = farthest <= limits.cells * size / answers[0].shape[-1]
    return bool(near and np.abs(scores - heights).max() <= doubt)


Run = Callable[[Tensor], object]


def runs(loaded: models.LoadedModel, content: bytes, name: str) -> Iterator[tuple[str, Run]]:
    """The network in PyTorch and the file in onnxruntime: names, and functions of images (B, 3, R, R)."""
    session = exported.open_session(content, name)

    @torch.inference_mode()
    def eager(images: Tensor) -> object:
        return loaded.network(images)[-1]

    yield "PyTorch", eager
    yield "onnxruntime", lambda images: session.run(None, {"images": images.numpy()})
