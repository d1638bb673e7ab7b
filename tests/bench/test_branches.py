"""The plain forms of parts that branch compute what the networks' forms do."""

import pytest
import torch

from bench import branches
from bench.harness import Case
from src.models.pose_attention import PartAttention
from src.models.pyranet import KINDS, Pyramid


@pytest.mark.parametrize("count, side", [(1, 8), (3, 9)])
def test_pyramids_are_the_same(count: int, side: int) -> None:
    pyramid, x = Pyramid(4, count, KINDS["B"]).eval(), torch.rand(2, 4, side, side)
    torch.testing.assert_close(branches.PlainPyramid(pyramid, side).eval()(x), pyramid(x))


def test_attention_is_the_same() -> None:
    attention, x = PartAttention(4, 3, 5), torch.rand(2, 4, 8, 8)
    torch.nn.init.normal_(attention.bias)
    torch.testing.assert_close(branches.PlainAttention(attention)(x), attention(x))


def test_both_passes_run() -> None:
    attention = PartAttention(4, 3, 5)
    items = list(branches._both("", attention, branches.PlainAttention(attention), torch.rand(1, 4, 8, 8)))
    for item in items:
        assert isinstance(item, Case)
        item.ours(), item.theirs()
    assert len(items) == 2
