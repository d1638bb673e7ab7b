"""What a device is prepared for: memory that stays where it is."""

import subprocess
import sys

import pytest

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
for _ in range(4):
    last = faults()
print(last)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's memory")
def test_memory_of_threads_is_kept() -> None:
    """A thread that computes takes no new pages: 48 MB are 12,000 of them, each time they are given back."""
    command = [sys.executable, "-c", FAULTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2000
