"""What `make bench` says of joints in reduced precision: of which ones, and without a network nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bench import inference
from bench.harness import Measure, Options, Skipped
from src import models, pretrained
from src.datasets.skeletons import MPII
from src.models.checkpoint import describe, save_checkpoint


def test_a_map_with_a_second_peak_is_not_clear() -> None:
    maps = np.zeros((1, 4, 16, 16), np.float32)
    maps[0, :, 5, 5] = 1
    maps[0, 0, 5, 6] = 0.9  # of the same peak
    maps[0, 1, 12, 2] = 0.6
    maps[0, 2, 12, 2] = 0.4
    maps[0, 3, 5, 5 + inference.PEAK + 1] = 0.5
    assert inference._clear(maps).tolist() == [[True, False, True, False]]


def test_joints_of_the_network_that_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    (row,) = inference._displaced(torch.device("cpu"), 2, None)
    assert isinstance(row, Skipped)
    torch.manual_seed(0)
    network = models.build("hg", MPII.num_joints, stacks=1, feats=8, depth=1)
    save_checkpoint(tmp_path / "small.pth", describe(network, MPII.to_dict(), 64))
    float32, *bf16 = inference._displaced(torch.device("cpu"), 2, None)
    assert isinstance(float32, Measure) and float32.met and float32.unit == "px"
    units = [row.unit for row in bf16 if isinstance(row, Measure)]  # this network is hardly sure of a joint
    assert units in (["px", "%"], ["px", "px", "%"])


@pytest.mark.parametrize("amp, goal", [("none", None), ("bf16", 0.5)])
def test_bf16_has_goals_only_where_it_is_taken(
    monkeypatch: pytest.MonkeyPatch, amp: str, goal: float | None
) -> None:
    given: list[float | None] = []
    monkeypatch.setattr(inference, "best_amp", lambda _: (amp, "this processor"))
    monkeypatch.setattr(inference, "in_turn", lambda *_, **__: iter(()))
    monkeypatch.setattr(inference, "_displaced", lambda *rest: given.append(rest[-1]) or iter([None]))
    next(inference.cases(Options("cpu", Path(), Path(), quick=True)))
    assert given == [goal]
