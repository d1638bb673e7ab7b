"""A checkpoint, run with PyTorch."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from src import models
from src.datasets.skeletons import Skeleton
from src.datasets.targets import to_images
from src.errors import UserError
from src.evaluation.decode import as_targets
from src.evaluation.predict import located
from src.evaluation.search import Search, maps_of
from src.inference.runner import SMOOTHING
from src.models.folding import fold
from src.utils.device import AMP_TYPES, autocast, choose_device, favour_onednn
from src.utils.speed import precision

# The threads of a process that forks are not in its child, which would wait for them without end.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))

_EXACT = ("head", "heads", "merge_features", "merge_heatmaps")  # layers


class Checkpoint(nn.Module):
    """The network of a checkpoint as it is fastest (`src.inference.runner`).

    Normalisations are folded into convolutions, whose weights are in the precision they compute in; that of
    a few layers is float32. The layout in memory is that of `src.models.load`.
    """

    def __init__(self, loaded: models.LoadedModel, device: torch.device, amp: str = "none") -> None:
        """loaded: on the device; its network is used up. amp: none, bf16 or fp16."""
        super().__init__()
        self.device, self.amp = device, amp
        self.network = fold(loaded.network)
        if amp != "none":
            _lower(self.network, AMP_TYPES[amp])
        favour_onednn(self.network)
        self.skeleton = Skeleton.from_dict(loaded.skeleton)
        self.input_res = loaded.input_res
        self.target_mass = loaded.target_mass
        self.multi_person = bool(loaded.config.get("tag_dim"))
        self.has_maps = self.network.arch not in models.REGRESSION
        self.calls = torch.get_num_threads() if device.type == "cpu" else 1

    def share(self, calls: int) -> None:
        if self.device.type == "cpu":
            torch.set_num_threads(max(1, self.calls // calls))

    def forward(self, images: Tensor) -> list[Tensor]:
        """The output of every stage for images (B, 3, R, R) in [0, 1] on the device."""
        with autocast(self.device, self.amp):
            return self.network(images)

    @torch.inference_mode()
    def joints(self, images: np.ndarray, flip_test: bool) -> tuple[np.ndarray, np.ndarray]:
        order = self.skeleton.flip_order if flip_test else None
        points, scores, stride = located(self, self._images(images), order, self.target_mass, SMOOTHING)
        return points.cpu().numpy() * np.float32(stride), scores.cpu().numpy()

    @torch.inference_mode()
    def maps(self, images: np.ndarray, flip_test: bool) -> tuple[np.ndarray, np.ndarray | None]:
        if not self.has_maps:
            raise UserError(f"{self.network.arch} gives coordinates, and no maps")
        search = Search.of(self.skeleton, self.input_res, 1, flip_test=flip_test)
        heatmaps, tags = maps_of(self, [self._images(images)], search)
        if self.target_mass is not None:
            heatmaps = as_targets(heatmaps, self.target_mass)
        return heatmaps.cpu().numpy(), tags.cpu().numpy() if self.multi_person else None

    def _images(self, images: np.ndarray) -> Tensor:
        return to_images(torch.from_numpy(images).to(self.device))


class _Exact(nn.Module):
    """A layer in float32, also within autocast."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer.float()

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.layer(x.float())


def _lower(network: nn.Module, dtype: torch.dtype) -> None:
    """Cast the weights of convolutions, which autocast would do anew in each use, but for some of size 1.

    These are the ones that give heatmaps, those between stacks, and the last one before the heatmaps. In two
    stacks that takes a tenth more time, and joints stay three times as near to those of float32.
    """
    convolutions = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    }
    exact = {name for name in convolutions if name in _EXACT or name.rpartition(".")[0] in _EXACT}
    last = [name for name in convolutions if name not in exact][-1:]
    exact.update(name for name in last if convolutions[name].kernel_size == (1, 1))
    for name, module in convolutions.items():
        if name in exact:
            parent, _, own = name.rpartition(".")
            setattr(network.get_submodule(parent), own, _Exact(module))
        else:
            module.to(dtype)


def open_checkpoint(path: str | Path, device: str, amp: str) -> Checkpoint:
    """The network of a checkpoint of any task; UserError as `src.pose.load`."""
    chosen = choose_device(device)
    return Checkpoint(models.load(path, chosen), chosen, precision(amp, chosen))
