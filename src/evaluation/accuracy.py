"""The accuracy that is shown while training: joints found in their heatmap, to a twentieth of its side."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from src.datasets.skeletons import Skeleton
from src.evaluation.decode import argmax_cells
from src.evaluation.grouping import Grouping
from src.utils import distributed
from src.utils.processes import is_main


class HeatmapAccuracy:
    """Joints found and joints counted, summed on the device over an epoch.

    A joint is found if its arg-max cell is within size / 20 cells of the true one: half a tenth of the map,
    as in the stacked hourglass' training. Sums over an epoch, unlike means of batches, do not depend on the
    batch size, and add up over processes: `correct` and `counted` (J,) int64 are all the state there is.
    Each process counts its own people, and `joined` gives the counts of all.

    A map without a positive value is judged by its arg-max like any other: under a softmax loss only the
    differences within a map have a meaning.
    """

    def __init__(self, skeleton: Skeleton, device: torch.device) -> None:
        self.skeleton = skeleton
        self.correct = torch.zeros(skeleton.num_joints, dtype=torch.int64, device=device)
        self.counted = torch.zeros_like(self.correct)

    def reset(self) -> None:
        """Forget what was counted."""
        self.correct.zero_()
        self.counted.zero_()

    @torch.no_grad()
    def update(self, heatmaps: Tensor, cells: Tensor, counts: Tensor) -> None:
        """Count a batch; does not wait for the device.

        heatmaps (B, J, size, size): of the last stage. cells (B, J, 2) int64: where the targets have their
        peaks. counts (B, J) bool: which joints have a target (both are src.datasets.targets.target_cells).
        """
        self._count_near(argmax_cells(heatmaps)[0], cells, counts, heatmaps.shape[3])

    def _count_near(self, found: Tensor, cells: Tensor, counts: Tensor, size: int) -> None:
        """Count joints by the cells where they were found and are, both (B, J, 2), of size x size."""
        self._count((found - cells).square().sum(2) <= (size / 20) ** 2, counts)

    def _count(self, found: Tensor, counts: Tensor) -> None:
        """Count joints (..., J) bool that were found, of those that count."""
        self.correct += (found & counts).flatten(0, -2).sum(0)
        self.counted += counts.flatten(0, -2).sum(0)

    def joined(self) -> "HeatmapAccuracy":
        """What all processes have counted, on the CPU; all of them must ask."""
        everything = HeatmapAccuracy(self.skeleton, torch.device("cpu"))
        everything.correct, everything.counted = distributed.total(torch.stack([self.correct, self.counted]))
        return everything

    def per_joint(self) -> Tensor:
        """The share (J,) of each joint that was found, NaN for one that never counted; on the CPU."""
        return self.correct.cpu() / self.counted.cpu()

    def mean(self) -> float:
        """The plain mean over the skeleton's accuracy joints; NaN if none of them was ever counted."""
        return float(self.per_joint()[list(self.skeleton.accuracy_joints)].nanmean())

    def state_dict(self) -> dict[str, Any]:
        """The counts of all processes, which must all ask."""
        everything = self.joined()
        return {"correct": everything.correct, "counted": everything.counted}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The main process takes up the counts of all; the others begin anew, and so the sum is right."""
        self.reset()
        if is_main():
            self.correct.copy_(state["correct"])
            self.counted.copy_(state["counted"])


class CoordinateAccuracy(HeatmapAccuracy):
    """The same for coordinates: as if each were a peak in the cell that it lies in, of size x size cells."""

    def __init__(self, skeleton: Skeleton, device: torch.device, size: int) -> None:
        super().__init__(skeleton, device)
        self.size = size

    @torch.no_grad()
    def update(self, coordinates: Tensor, cells: Tensor, counts: Tensor) -> None:
        """Count a batch; does not wait for the device.

        coordinates (B, J, 2): of the last stage, in units of the crop. cells (B, J, 2) int64, counts (B, J)
        bool: those of heatmaps of `size` cells a side (src.datasets.targets.target_cells).
        """
        self._count_near((coordinates.float() * self.size).floor(), cells, counts, self.size)


class PeakAccuracy(HeatmapAccuracy):
    """The same for maps of several people: a joint is found if there is a peak of its map where it is.

    A peak is what `Grouping` takes for one: the largest value of its window, above its threshold. It may be
    size / 64 cells away from the joint's cell, rounded, and at least one. Tags play no part in it.
    """

    @torch.no_grad()
    def update(self, heatmaps: Tensor, cells: Tensor, counts: Tensor) -> None:
        """Count a batch; does not wait for the device.

        heatmaps (B, J or more, size, size): of the last stage; what follows the J heatmaps is not looked at.
        cells (B, P, J, 2) int64, counts (B, P, J) bool: of all people.
        """
        heatmaps, size = heatmaps[:, : counts.shape[2]].float(), heatmaps.shape[3]
        largest = F.max_pool2d(heatmaps, Grouping.window, 1, Grouping.window // 2)
        peaks = ((heatmaps == largest) & (heatmaps > Grouping.threshold)).float()
        reach = max(1, round(size / 64))
        near = F.max_pool2d(peaks, 2 * reach + 1, 1, reach).flatten(2)  # (B, J, size²)
        index = torch.where(counts, cells[..., 1] * size + cells[..., 0], 0).transpose(1, 2)
        self._count(near.gather(2, index).transpose(1, 2) > 0, counts)
