"""What a heatmap network of one person learns: joints, and a compositional one bones and parts as well."""

from argparse import Namespace
from collections.abc import Sequence

from torch import Tensor

from src.datasets.crops import Batch
from src.losses.composition import composed, compositional
from src.losses.heatmap import LOSSES
from src.models.dlcm import DLCM
from src.models.layers import PoseNetwork
from src.utils.single_person import HeatmapObjective
from src.utils.supervision import Losses


def objective_of(network: PoseNetwork, options: Namespace) -> HeatmapObjective:
    """The objective for a network, by what its stages predict."""
    if isinstance(network, DLCM):
        return CompositionObjective(options, network)
    return HeatmapObjective(options, network.stride)


class CompositionObjective(HeatmapObjective):
    """Each stage against the heatmaps of joints, and those of the bones or parts of its level."""

    def __init__(self, options: Namespace, network: DLCM) -> None:
        super().__init__(options, network.stride)
        self.bones, self.parts, self.levels = network.bones, network.parts, network.levels

    def truth(self, batch: Batch) -> tuple[Tensor, ...]:
        """Heatmaps and their weights: of joints, (B, J, h, w) and (B, J), then of bones, then of parts."""
        sigma, radius = self.options.sigma, self.radius
        cells, has_target = batch["cells"], batch["has_target"]
        structure = composed(cells, has_target, self.bones, self.parts, self.size, sigma, radius)
        return (*super().truth(batch), *structure)

    def losses(self, outputs: Sequence[Tensor], *truth: Tensor, total: Tensor) -> Losses:
        """The loss, summed over stages."""
        targets, weights = truth[::2], truth[1::2]
        loss, stage_weights = LOSSES[self.options.loss], self.options.stage_weights
        return {"loss": compositional(loss, outputs, targets, weights, total, self.levels, stage_weights)}
