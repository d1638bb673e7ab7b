"""The accuracy that training shows and PCK of a validation split, against loops over people and joints."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from bench.harness import Case, Item, Measure, Options, clock
from src.datasets.annotations import UNLABELLED
from src.datasets.skeletons import MPII
from src.datasets.targets import gaussian_heatmaps, target_cells
from src.evaluation.accuracy import HeatmapAccuracy
from src.evaluation.protocols import Result, Truth, evaluate
from src.utils.device import choose_device

SIZE = 64  # of a heatmap's side
VALIDATION = 2958  # people of MPII's validation split


def cases(options: Options) -> Iterator[Item]:
    """Accuracy of a batch in both orders of memory in which networks give it; PCKh of a split."""
    batch = Batch(64, choose_device(options.device))
    found = batch.count().tolist()
    assert found == batch.count_in_pytorch() == batch.count_in_numpy(), "the formulations disagree"
    name = "accuracy of 64 x 16 maps"
    yield Case(name, "PyTorch, map by map", batch.count, batch.count_in_pytorch, goal=10)
    yield Case(name, "NumPy, map by map", batch.count, batch.count_in_numpy)
    batch.heatmaps = batch.heatmaps.contiguous(memory_format=torch.channels_last)
    yield Case(f"{name}, channels last", "PyTorch, map by map", batch.count, batch.count_in_pytorch)

    split = Split(VALIDATION)
    mean = split.evaluate().sections["means"]["pckh_mean"].scores[0].percent
    # one joint of 38,000 at the very threshold may be rounded to either side
    assert math.isclose(mean, split.evaluate_in_loops(), abs_tol=0.005), "the formulations disagree"
    name, plain = f"all of PCKh for {VALIDATION:,} people", "NumPy, joint by joint: the mean alone"
    ours, theirs = clock(split.evaluate, options.seconds), clock(split.evaluate_in_loops, 0)
    yield Measure(name, plain, ours, "s", goal=0.003, at_most=True, theirs=theirs)


class Batch:
    """Heatmaps as a network gives them, and the targets: noise, in which half of the joints are found."""

    def __init__(self, people: int, device: torch.device) -> None:
        random = torch.Generator().manual_seed(0)
        joints = torch.rand(people, MPII.num_joints, 2, generator=random) * SIZE
        visible = torch.rand(joints.shape[:2], generator=random) < 0.9
        cells, has_target = target_cells(joints, visible, SIZE, SIZE)
        everywhere = torch.ones_like(has_target)
        noise = torch.rand(*joints.shape[:2], SIZE, SIZE, generator=random)
        hints = gaussian_heatmaps(cells, everywhere, SIZE, sigma=1, radius=3)
        seen = torch.rand(joints.shape[:2], generator=random) < 0.5
        self.heatmaps: Tensor = (noise + hints * seen[..., None, None]).to(device)
        self.target = gaussian_heatmaps(cells, has_target, SIZE, sigma=1, radius=3).to(device)
        self.cells, self.has_target = cells.to(device), has_target.to(device)
        self.accuracy = HeatmapAccuracy(MPII, device)

    def count(self) -> Tensor:
        """How many of each joint are found, (J,) on the CPU: as in training, where the cells are known."""
        self.accuracy.reset()
        self.accuracy.update(self.heatmaps, self.cells, self.has_target)
        return self.accuracy.correct.cpu()

    def count_in_pytorch(self) -> list[int]:
        """The same, from the maps alone, as tensors."""
        correct = [0] * self.heatmaps.shape[1]
        for person in range(self.heatmaps.shape[0]):
            for joint in range(self.heatmaps.shape[1]):
                if self.has_target[person, joint]:
                    found = divmod(int(self.heatmaps[person, joint].argmax()), SIZE)
                    true = divmod(int(self.target[person, joint].argmax()), SIZE)
                    correct[joint] += math.dist(found, true) <= SIZE / 20
        return correct

    def count_in_numpy(self) -> list[int]:
        """The same as arrays."""
        heatmaps, target, counts = (x.cpu().numpy() for x in (self.heatmaps, self.target, self.has_target))
        correct = [0] * heatmaps.shape[1]
        for person in range(heatmaps.shape[0]):
            for joint in range(heatmaps.shape[1]):
                if counts[person, joint]:
                    found = np.array(np.unravel_index(heatmaps[person, joint].argmax(), (SIZE, SIZE)))
                    true = np.array(np.unravel_index(target[person, joint].argmax(), (SIZE, SIZE)))
                    correct[joint] += int(np.linalg.norm(found - true) <= SIZE / 20)
        return correct


class Split:
    """People with head sizes, and predictions a few pixels off."""

    def __init__(self, people: int) -> None:
        random = np.random.default_rng(0)
        shape = (people, MPII.num_joints)
        joints = random.uniform(0, 1000, (*shape, 2)).astype(np.float32)
        visible = random.choice(np.arange(3, dtype=np.int8), shape, p=[0.1, 0.2, 0.7])
        self.truth = Truth(joints, visible, random.uniform(20, 90, people).astype(np.float32), MPII, "people")
        self.predictions = (joints + random.normal(0, 15, joints.shape)).astype(np.float32)

    def evaluate(self) -> Result:
        """Everything that `test.py` prints and draws: joints, groups, means, by visibility, 51 thresholds."""
        return evaluate("pckh", self.predictions, self.truth)

    def evaluate_in_loops(self) -> float:
        """The pooled percentage of the joints that the mean of MPII goes over."""
        truth, correct, counted = self.truth, 0, 0
        for person in range(len(self.predictions)):
            for joint in MPII.mean_joints:
                if truth.visible[person, joint] > UNLABELLED:
                    offset = self.predictions[person, joint] - truth.joints[person, joint]
                    counted += 1
                    correct += bool(np.linalg.norm(offset) <= 0.5 * truth.norm[person])
        return 100 * correct / counted
