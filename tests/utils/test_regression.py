"""What networks of coordinates learn, how they are judged, and how their answers are read."""

from argparse import Namespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from src.datasets.augmentation import Augmentation
from src.datasets.crops import PersonCrops, in_order, load
from src.datasets.skeletons import MPII
from src.datasets.synth import SynthPeople
from src.errors import UserError
from src.evaluation.accuracy import CoordinateAccuracy, HeatmapAccuracy
from src.evaluation.predict import heatmap_accuracy, predict
from src.models import build
from src.utils.regression import CoordinateObjective, accuracy_of, mean_pose, start_from_mean, supervision_of

CPU = torch.device("cpu")
RES, SIZE = 64, 16
OPTIONS = Namespace(input_res=RES, loss="l1", stage_weights=None, compile="none", amp="none", accumulate=1)


class Oracle(nn.Module):
    """Gives the coordinates it was told, batch after batch, moved by `shift` of the crop."""

    def __init__(self, batches: list[dict[str, Tensor]], shift: float = 0.0) -> None:
        super().__init__()
        self.answers = [batch["joints"] / RES + shift for batch in batches]

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.answers.pop(0)]


def crops(people: int = 6, augmentation: Augmentation | None = None) -> PersonCrops:
    return PersonCrops(SynthPeople("valid", people, MPII, RES), RES, augmentation)


def batches(people: int = 6, size: int = 4) -> list[dict[str, Tensor]]:
    return list(load(crops(people), in_order(people, size), workers=0, device=CPU))


def test_true_coordinates_lead_back_to_the_picture() -> None:
    found = predict(Oracle(batches()), batches(), CPU)
    np.testing.assert_allclose(found.coords, found.truth, rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.heatmap, found.target, rtol=0, atol=1e-5)
    assert heatmap_accuracy(found, SIZE, MPII.accuracy_joints) == 1
    assert (found.score == 1).all()


def test_the_mirrored_picture_is_turned_back() -> None:
    class Both(nn.Module):
        """The truth for a picture, and for the mirrored one that of mirrored people, 2 px to their right."""

        def __init__(self) -> None:
            super().__init__()
            straight = [batch["joints"] / RES for batch in batches()]
            mirrored = [joints[:, MPII.flip_order] * torch.tensor([-1, 1]) + torch.tensor([1, 0])
                        for joints in straight]  # fmt: skip
            moved = [joints + torch.tensor([2 / RES, 0]) for joints in mirrored]
            self.answers = [pose for pair in zip(straight, moved, strict=True) for pose in pair]

        def forward(self, images: Tensor) -> list[Tensor]:
            return [self.answers.pop(0)]

    found = predict(Both(), batches(), CPU, MPII.flip_order)
    # two pixels to the right in the mirrored crop are two to the left here, and one is left of the mean
    expected = found.target - np.array([1, 0]) * SIZE / RES
    np.testing.assert_allclose(found.heatmap, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shift", [0.0, 0.03])
def test_accuracy_is_that_of_peaks_in_the_same_cells(shift: float) -> None:
    objective = CoordinateObjective(OPTIONS)
    accuracy = accuracy_of(crops(), CPU)
    assert isinstance(accuracy, CoordinateAccuracy) and accuracy.size == SIZE
    peaks = HeatmapAccuracy(MPII, CPU)
    for batch, answer in zip(batches(), Oracle(batches(), shift).answers, strict=True):
        batch = objective.supervised(batch)
        accuracy.update(answer, batch["cells"], batch["has_target"])
        maps = torch.zeros(*answer.shape[:2], SIZE, SIZE)
        cells = (answer * SIZE).floor().long().clamp(0, SIZE - 1)
        person, joint = torch.meshgrid(*map(torch.arange, answer.shape[:2]), indexing="ij")
        maps[person, joint, cells[..., 1], cells[..., 0]] = 1
        peaks.update(maps, batch["cells"], batch["has_target"])
    assert torch.equal(accuracy.counted, peaks.counted)
    if shift == 0:
        assert torch.equal(accuracy.correct, accuracy.counted)
    else:  # at the border a peak cannot lie outside
        assert (accuracy.correct - peaks.correct).abs().sum() <= 2
        assert 0 < accuracy.mean() < 1
    found = predict(Oracle(batches(), shift), batches(), CPU)
    assert heatmap_accuracy(found, SIZE, MPII.accuracy_joints) == pytest.approx(accuracy.mean(), rel=1e-6)


def test_labelled_joints_count_wherever_they_are() -> None:
    joints = torch.tensor([[[16.0, 32.0], [-8.0, 70.0], [float("nan"), 5.0], [3.0, 3.0]]])
    batch = {"joints": joints, "visible": torch.tensor([[2, 1, 0, -1]])}
    objective = CoordinateObjective(OPTIONS)
    batch = objective.supervised(batch)
    target, weight = objective.truth(batch)
    assert batch["has_target"].tolist() == [[True, False, False, False]]
    assert weight.tolist() == [[1, 1, 0, 0]]
    assert target.tolist() == [[[0.25, 0.5], [-0.125, 1.09375], [0, 0], [0, 0]]]
    losses = objective.losses([target + 0.1, target - 0.1], target, weight, total=weight.sum())
    assert losses["loss"].item() == pytest.approx(0.2)


def test_mean_pose() -> None:
    augmented = crops(12, Augmentation(0.25, 30, 0.4, 0.5, 0.0))
    mean = mean_pose(augmented)
    samples = [augmented[0, row] for row in range(12)]
    joints = np.stack([sample["joints"] for sample in samples]) / RES  # type: ignore[index]
    labelled = np.stack([sample["visible"] for sample in samples]) > 0  # type: ignore[index]
    for joint in range(16):
        expected = joints[labelled[:, joint], joint].mean(0)
        np.testing.assert_allclose(mean[joint], expected, rtol=0, atol=1e-6)
    network = build("ief", 16, backbone="resnet10")
    start_from_mean(network, augmented)
    assert torch.equal(network.get_buffer("mean_pose.pose"), mean)
    start_from_mean(build("deeppose", 16, backbone="resnet10"), augmented)  # has none


def test_nobody_labelled_is_in_the_middle() -> None:
    lacking = crops(3)
    lacking.pose = lambda key: {  # type: ignore[method-assign]
        "joints": np.full((16, 2), 9.0, np.float32),
        "visible": np.zeros(16, np.int8),
    }
    assert (mean_pose(lacking) == 0.5).all()


def test_the_path_is_learnt_and_the_last_step_is_judged() -> None:
    torch.manual_seed(0)
    network = build("ief", 16, backbone="resnet10", steps=3)
    supervision = supervision_of(network, OPTIONS, CPU)
    (batch,) = batches(4)
    batch = supervision.rendered(supervision.objective.supervised(batch))
    total = batch["weight"].sum()
    network.eval()
    pose, losses = supervision.evaluate(network, batch["images"], total, *batch["truth"])
    last = network(batch["images"])[-1]
    target, weight = batch["truth"]
    expected = ((last - target).abs().mean(2) * weight).sum() / total
    assert torch.equal(pose, last)
    torch.testing.assert_close(losses["loss"], expected)
    torch.manual_seed(1)
    _, losses = supervision.learner(batch["images"], total, *batch["truth"])
    torch.manual_seed(1)
    poses, following = network.along_path(batch["images"], target, weight > 0)  # type: ignore[operator]
    torch.testing.assert_close(losses["loss"], ((poses - following).abs().mean(2) * weight).sum() / total)
    losses["loss"].backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    weighted = Namespace(**{**vars(OPTIONS), "stage_weights": [1, 1, 1]})
    with pytest.raises(UserError, match="--stage-weights is for deeppose"):
        supervision_of(network, weighted, CPU)
