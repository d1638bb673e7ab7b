"""Single hourglasses: which network is which, and the cell of the LSTM."""

import pytest
import torch
from torch import nn

from src.models import build
from src.models.hourglass_single import FirstStep

SMALL = {"feats": 8, "depth": 2}


@pytest.mark.parametrize(
    "arch, same, more",
    [
        ("hg-256", "hg-generic", {"stacks": 1}),
        ("hg-512", "hg-256", {}),
        ("hg-single", "hg-stacked", {"stacks": 1}),
        ("hg-single-no-skip-clstm", "hg-single", {"skip": False, "lstm": True}),
    ],
)
def test_names_are_arguments(arch, same, more):
    one, other = build(arch, 5, **SMALL), build(same, 5, **SMALL, **more)
    assert one.config == other.config
    other.load_state_dict(one.state_dict())
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(one.eval()(images)[0], other.eval()(images)[0])


def test_cell_is_the_first_step_of_an_lstm():
    torch.manual_seed(0)
    lstm, cell = nn.LSTM(6, 6, batch_first=True), FirstStep(6)
    x = torch.rand(2, 6, 4, 4)
    used = [*range(6), *range(12, 24)]  # gates in the order input, forget, cell, output
    with torch.no_grad():
        cell.gates.weight.copy_(lstm.weight_ih_l0[used][..., None, None])
        cell.gates.bias.copy_((lstm.bias_ih_l0 + lstm.bias_hh_l0)[used])
        sequences = x.permute(0, 2, 3, 1).reshape(-1, 1, 6)  # every cell of a map is a sequence of length 1
        expected = lstm(sequences)[0].view(2, 4, 4, 6).permute(0, 3, 1, 2)
        torch.testing.assert_close(cell(x), expected)
