"""Predictions over crops: back in the picture, averaged with the mirror, and scored as training does."""

import numpy as np
import torch
from torch import Tensor, nn

from src.datasets.crops import PersonCrops, PersonViews, in_order, load
from src.datasets.skeletons import MPII
from src.datasets.synth import SynthPeople
from src.datasets.targets import gaussian_heatmaps, target_cells
from src.evaluation.accuracy import HeatmapAccuracy
from src.evaluation.predict import heatmap_accuracy, predict

CPU = torch.device("cpu")
RES, SIZE = 64, 16


class Oracle(nn.Module):
    """Draws the heatmaps it was told, batch after batch, some of them shifted by a number of cells."""

    def __init__(self, batches: list[dict[str, Tensor]], shift: int) -> None:
        super().__init__()
        self.answers = []
        for batch in batches:
            cells, has_target = target_cells(batch["joints"], batch["visible"], RES, SIZE)
            cells[:, ::2] += shift
            self.answers.append(gaussian_heatmaps(cells, torch.ones_like(has_target), SIZE, 1.0, 3))

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.answers.pop(0)]


def batches(people: int = 6, size: int = 4) -> list[dict[str, Tensor]]:
    crops = PersonCrops(SynthPeople("valid", people, MPII, RES), RES)
    return list(load(crops, in_order(people, size), workers=0, device=CPU))


def test_perfect_maps_lead_back_to_the_picture() -> None:
    found = predict(Oracle(batches(), shift=0), batches(), CPU)
    inside = ((found.target >= 0) & (found.target < SIZE)).all(2) & (found.visible > 0)
    # half a cell's diagonal is the most that a cell's centre is away from what lies in it
    reach = np.hypot(0.5, 0.5) * 200 * 1.25 * found.scale / SIZE
    error = np.linalg.norm(found.coords - found.truth, axis=2)
    assert (error[inside] <= np.broadcast_to(reach[:, None], error.shape)[inside] + 1e-3).all()
    assert found.row.tolist() == list(range(6))
    assert heatmap_accuracy(found, SIZE, MPII.accuracy_joints) == 1


def test_mixed_precision_is_for_the_network_alone() -> None:
    """Equal maps have equal joints, whatever the network was computed in."""
    exact, mixed = (
        predict(Oracle(batches(), shift=0), batches(), CPU, amp=amp, dark_sigma=1.0)
        for amp in ("none", "bf16")
    )
    np.testing.assert_array_equal(exact.heatmap, mixed.heatmap)


def test_accuracy_of_predictions_is_that_of_training() -> None:
    loaded, answers = batches(), Oracle(batches(), shift=1).answers
    accuracy = HeatmapAccuracy(MPII, CPU)
    for batch, heatmaps in zip(loaded, answers, strict=True):
        accuracy.update(heatmaps, *target_cells(batch["joints"], batch["visible"], RES, SIZE))
    found = predict(Oracle(batches(), shift=1), batches(), CPU)
    mean = heatmap_accuracy(found, SIZE, MPII.accuracy_joints)
    assert 0 < mean < 1  # a cell of 16 is more than a twentieth of the side: shifted joints are lost
    np.testing.assert_allclose(mean, accuracy.mean(), rtol=1e-6)


class Coarse(nn.Module):
    """A map of the picture's brightness, of a quarter of its size."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [nn.functional.avg_pool2d(images.mean(1, keepdim=True), 4).expand(-1, 16, -1, -1)]


def test_views_show_the_same_crop_and_their_maps_are_averaged() -> None:
    """At one scale alone nothing changes; at two, maps lie over each other and are kept as averaged."""
    people, kept = SynthPeople("valid", 3, MPII, RES), list[Tensor]()
    views = list(load(PersonViews(people, (2 * RES, RES)), in_order(3, 2), workers=0, device=CPU))
    large = list(load(PersonCrops(people, 2 * RES), in_order(3, 2), workers=0, device=CPU))
    small = list(load(PersonCrops(people, RES), in_order(3, 2), workers=0, device=CPU))
    for both, one, other in zip(views, large, small, strict=True):
        assert torch.equal(both["image"][0], one["image"]) and torch.equal(both["image"][1], other["image"])
        assert torch.equal(both["matrix"], one["matrix"])
    found = predict(Coarse(), views, CPU, keep=lambda _, maps: kept.append(maps))
    assert kept[0].shape == (2, 16, 2 * SIZE, 2 * SIZE)
    alone = [Coarse()(batch["image"].permute(0, 3, 1, 2) / 255)[0] for batch in (large[0], small[0])]
    enlarged = nn.functional.interpolate(alone[1], scale_factor=2, mode="bilinear")
    torch.testing.assert_close(kept[0], (alone[0] + enlarged) / 2, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found.truth, predict(Coarse(), large, CPU).truth)
    assert found.heatmap.max() > SIZE  # cells are those of the largest
