"""What a device is prepared for: memory that stays where it is, convolutions where they are fast."""

import subprocess
import sys
from copy import deepcopy

import pytest
import torch
from torch import nn

from src.utils.device import favour_onednn
from src.utils.options import ROOT

FAULTS = """
import threading, resource
import torch
from src.utils.device import keep_memory

def work():
    for _ in range(4):  # blocks as a network's maps
        maps = [torch.ones(1 << 20) for _ in range(12)]
        del maps

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_memory()
torch.set_num_threads(1)
print(min(faults() for _ in range(8)))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's memory")
def test_memory_of_threads_is_kept() -> None:
    """A thread that computes takes hardly any new pages; else 7,000 to 40,000 of the 49,000 that it fills.

    The least of eight times, for where free memory lies in pieces a few blocks of 1,000 pages are new now and
    then.
    """
    command = [sys.executable, "-c", FAULTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2000


@pytest.mark.parametrize(("kernel", "stride", "groups"), [(1, 1, 1), (1, 2, 1), (1, 1, 4), (3, 1, 1)])
def test_convolutions_by_onednn_answer_and_learn_alike(kernel: int, stride: int, groups: int) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(8, 16, kernel, stride, kernel // 2, groups=groups))
    favoured = deepcopy(plain)
    favour_onednn(favoured)
    for side in (8, 64):  # the second is large
        images = torch.rand(4, 8, side, side)
        answers = [network(images) for network in (plain, favoured)]
        torch.testing.assert_close(*answers)
        for answer in answers:
            answer.square().mean().backward()
        torch.testing.assert_close(favoured[0].weight.grad, plain[0].weight.grad)
        torch.testing.assert_close(favoured[0].bias.grad, plain[0].bias.grad)
    assert list(favoured.state_dict()) == list(plain.state_dict())
    again = deepcopy(favoured)
    again.load_state_dict(plain.state_dict())
    torch.testing.assert_close(again(images), answers[0])
