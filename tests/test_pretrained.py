"""The network that ships: what its card promises, as far as no photograph is needed."""

import torch

from src import models, pose
from src.datasets.crops import PersonCrops, in_order, load, readable
from src.datasets.skeletons import LSP, Skeleton
from src.datasets.synth import SynthPeople
from src.evaluation.predict import heatmap_accuracy, predict
from src.pretrained import shipped

PEOPLE = 48
LEAST = 0.6  # on 500 drawn people it is SHARE; the deviation of the mean over 48 of them is 3 points


def test_it_is_small_and_opens_by_itself() -> None:
    path = shipped()
    loaded = models.load(path)
    assert path.stat().st_size <= 3e6
    assert sum(parameter.numel() for parameter in loaded.network.parameters()) < 1.5e6
    assert Skeleton.from_dict(loaded.skeleton) == LSP and pose.load(device="cpu").skeleton == LSP


def test_it_finds_joints_of_drawn_people() -> None:
    loaded = models.load(shipped())
    crops = PersonCrops(SynthPeople("valid", PEOPLE, LSP, loaded.input_res), loaded.input_res)
    batches = load(crops, in_order(PEOPLE, 16), 0, torch.device("cpu"))
    found = predict(loaded.network, readable(batches, False, []), torch.device("cpu"))
    size = loaded.input_res // loaded.network.stride
    assert heatmap_accuracy(found, size, LSP.accuracy_joints) > LEAST
