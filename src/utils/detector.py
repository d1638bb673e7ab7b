"""Boxes around people, found by a detector of torchvision whose weights lie on this machine already.

Nothing is downloaded: a network is only opened when its weights lie in PyTorch's own cache.
"""

from pathlib import Path

import numpy as np
import torch
import torchvision

from src.errors import UserError, suggest
from src.utils.device import choose_device

PERSON = 1  # COCO's category

# From quick to slow.
NETWORKS = (
    "ssdlite320_mobilenet_v3_large",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
)

Box = tuple[float, float, float, float]


class Detector:
    """A detector in eval mode. `detector(pixels, least)` are the boxes around people, the surest first."""

    def __init__(self, name: str, device: str = "auto") -> None:
        self.name, self.device = name, choose_device(device)
        try:
            network = torchvision.models.get_model(name, weights="DEFAULT", progress=False)
        except Exception as error:  # whatever a damaged file makes of unpickling
            line = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(
                f"{weights_of(name)} does not hold the weights of {name}; remove it ({line})"
            ) from None
        self.network = network.eval().to(self.device)

    @torch.inference_mode()
    def __call__(self, pixels: np.ndarray, least: float) -> list[Box]:
        """Boxes (x, y, width, height) with a score of at least `least` in a picture (H, W, 3) uint8 RGB."""
        image = torch.from_numpy(pixels).to(self.device).permute(2, 0, 1).float() / 255
        (found,) = self.network([image])
        chosen = (found["labels"] == PERSON) & (found["scores"] >= least)
        corners = found["boxes"][chosen].cpu().numpy().astype(float)
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        return [(x, y, width, height) for x, y, width, height in boxes.tolist() if width > 0 and height > 0]


def weights_of(name: str) -> Path:
    """Where the weights of a network lie, if they do: PyTorch's cache."""
    url = torchvision.models.get_model_weights(name).DEFAULT.url  # type: ignore[attr-defined]
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]


def find_detector(name: str = "auto", device: str = "auto") -> Detector | None:
    """The detector of a name; auto: the best whose weights are at hand, None if there are none.

    Raises UserError for weights that are not at hand, or are damaged.
    """
    if name not in ("auto", *NETWORKS):
        known = ", ".join(NETWORKS)
        raise UserError(f"--detector {name} is not known{suggest(name, NETWORKS)}; known: {known}")
    if name != "auto" and not weights_of(name).is_file():
        raise UserError(
            f"the weights of {name} are not at {weights_of(name)}; to download them: python -c 'import"
            f' torchvision; torchvision.models.get_model("{name}", weights="DEFAULT")\''
        )
    there = [each for each in NETWORKS if name in ("auto", each) and weights_of(each).is_file()]
    return Detector(there[-1], device) if there else None
