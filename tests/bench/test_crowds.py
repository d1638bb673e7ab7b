"""Several processes learn from crowds: no hang, and what one process learns. bench/crowds.py takes longer."""

from pathlib import Path

import pytest
import torch

from bench import crowds


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="PyTorch without distributed training")
def test_two_processes_learn_from_crowds_what_one_learns(tmp_path: Path) -> None:
    found = crowds.compare(tmp_path, steps=120)
    assert found.last < 0.8 * found.first  # it learns
    assert found.losses <= 1e-6  # they are stored to seven digits
    assert found.weights <= 1e-9  # float64, the same numbers added in another order
