"""What `make bench` measures of every network: both forms run, and speeds are images a second."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from bench import zoo
from bench.harness import Case, Measure, Options, Skipped, Work
from src import models
from src.errors import UserError
from src.models.layers import PoseNetwork

SMALL = {
    "hg": {"stacks": 1, "feats": 8, "depth": 1},
    "deeppose": {"backbone": "resnet10"},
    "ief": {"backbone": "resnet10"},
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few networks, small ones, for small pictures, in this process."""

    def network(arch: str) -> PoseNetwork:
        torch.manual_seed(0)
        return models.build(arch, 16, **SMALL[arch])

    @contextmanager
    def here(build: Callable[[], Work]) -> Iterator[Work]:
        yield build()

    monkeypatch.setattr(zoo, "KNOWN", {arch: zoo.KNOWN[arch]._replace(input_res=64) for arch in SMALL})
    monkeypatch.setattr(zoo, "_network", network)
    monkeypatch.setattr(zoo, "in_process", here)


def test_every_network_has_two_rows(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def both_once(case: Case, seconds: float, fewest: int) -> Measure:
        assert fewest == zoo.PAIRS
        case.ours(), case.theirs()
        return Measure(case.name, case.plain, 0.25, "s", case.goal, theirs=0.5, ratio=2.0)

    monkeypatch.setattr(zoo, "compare", both_once)
    rows = list(zoo.cases(Options("cpu", Path(), Path(), quick=True)))
    names = [row.name for row in rows]
    assert names[:2] == ["hg, training, 1 x 64²", "hg, inference, 1 x 64²"] and len(names) == 2 * len(SMALL)
    for row in rows:
        assert isinstance(row, Measure) and (row.ours, row.theirs, row.unit, row.ratio) == (4, 2, "/s", 2)


def test_only_the_networks_that_are_asked_for(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_measured(case: Case, seconds: float, fewest: int) -> Measure:
        return Measure(case.name, case.plain, 0.25, "s", case.goal, theirs=0.5, ratio=2.0)

    monkeypatch.setattr(zoo, "compare", not_measured)
    rows = zoo.cases(Options("cpu", Path(), Path(), archs=["ief", "hg"]))
    assert [row.name.split(",")[0] for row in rows] == ["ief", "ief", "hg", "hg"]


def test_training_changes_both_networks_alike(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    network = zoo._network
    for arch in SMALL:
        trained = []

        def remembered(arch: str, trained: list[PoseNetwork] = trained) -> PoseNetwork:
            trained.append(network(arch))
            return trained[-1]

        monkeypatch.setattr(zoo, "_network", remembered)
        for ours in (True, False):
            step = zoo._train("cpu", arch, 2, "none", ours, steps=1)
            torch.manual_seed(1)  # for the steps of a path
            step()
        one, other = (dict(each.named_parameters()) for each in trained)
        before = dict(network(arch).named_parameters())
        assert any(not torch.equal(value, before[name]) for name, value in one.items())
        head = next(name for name in one if name.startswith("head") and name.endswith("weight"))
        # a first step of RMSprop goes by the signs of gradients; few are so small that these differ
        alike = torch.isclose(one[head], other[head], rtol=1e-3, atol=1e-5)
        assert alike.float().mean() > 0.95


def test_a_network_that_fails_is_told_and_the_others_are_measured(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_one(case: Case, seconds: float, fewest: int) -> Measure:
        if case.name.startswith("hg, training"):
            raise UserError("its process ended with exit code -9")
        return Measure(case.name, case.plain, 0.25, "s", case.goal, theirs=0.5, ratio=2.0)

    monkeypatch.setattr(zoo, "compare", fail_one)
    failed, *others = zoo.cases(Options("cpu", Path(), Path(), quick=True))
    assert failed == Skipped("hg, training, 1 x 64²", "its process ended with exit code -9")
    assert len(others) == 2 * len(SMALL) - 1 and all(isinstance(row, Measure) for row in others)
