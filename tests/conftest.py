"""What tests share: real data beside the checkout, where it exists."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

BESIDE = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Small networks are slower on several threads, and two test processes would fight for the cores."""
    torch.set_num_threads(1)


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """`shared_data("lspet")` is the folder of a real sample; the test skips where there is none."""

    def folder(name: str) -> Path:
        path = BESIDE / "data" / name
        if not path.is_dir():
            pytest.skip(f"no sample of {name} beside the checkout; data/README.md says how to get it")
        return path

    return folder


@pytest.fixture
def shared_fixtures() -> Path:
    """The folder of checkpoint fixtures; the test skips where there is none."""
    path = BESIDE / "fixtures"
    if not path.is_dir():
        pytest.skip("no checkpoint fixtures beside the checkout")
    return path
