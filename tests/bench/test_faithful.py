"""The plain formulation begins where `hgpose/train.py` begins, learns from the same samples, and goes on."""

from pathlib import Path

import pytest
import torch

from bench import faithful
from bench.plain_sample import RADIUS, SIGMA
from src.datasets import readers
from src.datasets.augmentation import Augmentation
from src.datasets.crops import PersonCrops, collate
from src.datasets.skeletons import MPII
from src.datasets.targets import gaussian_heatmaps, target_cells, to_images
from src.utils.experiment import read_rows
from src.utils.runs import read_run
from tests.releases import make_lspet
from tests.task_runner import main_of


@pytest.fixture
def lspet(tmp_path: Path) -> Path:
    """LSPET with 8 people to learn from and 2 to validate with: two steps a pass."""
    make_lspet(tmp_path / "lspet")
    return tmp_path / "lspet"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that learns a step in no time."""
    monkeypatch.setattr(faithful, "SIZES", {"stacks": 1, "feats": 16})
    monkeypatch.setattr(faithful, "RES", 64)


def test_both_formulations_learn_the_same(
    lspet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_process(words: list[str]) -> None:
        precision = (
            [] if "-c" in words else ["--amp", "none"]
        )  # bf16, where the processor has it, rounds more
        main_of("hgpose/train.py")([*words, *precision, "--workers", "0"])

    monkeypatch.setattr(faithful, "train", in_process)
    faithful.main(["--lspet", str(lspet), "--steps", "3", "--exp-dir", str(tmp_path)])
    ours, plain = (
        read_rows(tmp_path / "hgpose" / name / "log.csv") for name in (faithful.OURS, faithful.PLAIN)
    )
    assert [row["step"] for row in ours] == [row["step"] for row in plain] == ["2", "4"]
    # the same weights and samples but pictures to half a pixel, of which a fresh network that normalises over
    # six people makes one to four per cent (four seeds); the samples are compared by themselves
    assert float(ours[0]["train_loss"]) == pytest.approx(float(plain[0]["train_loss"]), rel=0.05)
    assert (tmp_path / "hgpose" / "faithful.png").stat().st_size > 10_000


def test_both_formulations_see_the_same_samples(lspet: Path) -> None:
    people = readers.read("lspet", lspet, "train", skeleton=MPII)
    ours = PersonCrops(people, faithful.RES, Augmentation(), seed=3)
    plain = faithful.PlainPeople(people, seed=3)
    size = faithful.RES // 4
    for key in ((0, 0), (0, 5), (1, 2)):
        batch = collate(ours.__getitems__([key]))
        cells, has_target = target_cells(batch["joints"], batch["visible"], faithful.RES, size)
        picture, heatmaps = plain[key]
        torch.testing.assert_close(gaussian_heatmaps(cells, has_target, size, SIGMA, RADIUS)[0], heatmaps)
        # noise, moved by half a pixel; those of other people are 0.14 apart and more
        assert float((to_images(batch["image"], batch["color"])[0] - picture).abs().mean()) < 0.03


@pytest.mark.slow
def test_plain_goes_on_where_it_was(lspet: Path, tmp_path: Path) -> None:
    faithful.learn_plainly(tmp_path / "straight", lspet, epochs=2, seed=0)
    for epochs in (1, 2, 2):
        faithful.learn_plainly(tmp_path / "pieces", lspet, epochs, seed=0)
    straight, pieces = (torch.load(tmp_path / name / "state.pth") for name in ("straight", "pieces"))
    assert all(torch.equal(straight["network"][key], pieces["network"][key]) for key in straight["network"])
    run = read_run(tmp_path / "pieces", "plain")
    assert run.log["epoch"] == [1, 2] and "1" in faithful.table([run])
