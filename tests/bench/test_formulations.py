"""What `make bench` compares does the same work in each formulation."""

import subprocess
import sys

import pytest
import torch

from bench import evaluation, record, startup
from src.datasets.skeletons import MPII


def test_accuracy_is_the_same_in_three_formulations() -> None:
    batch = evaluation.Batch(6, torch.device("cpu"))
    found = batch.count().tolist()
    assert 0 < sum(found) < 6 * MPII.num_joints
    assert found == batch.count_in_pytorch() == batch.count_in_numpy()
    batch.heatmaps = batch.heatmaps.contiguous(memory_format=torch.channels_last)
    assert found == batch.count().tolist()


def test_pck_is_the_same_in_loops() -> None:
    split = evaluation.Split(60)
    mean = split.evaluate().sections["means"]["pckh_mean"].scores[0].percent
    assert 50 < mean < 100
    assert mean == pytest.approx(split.evaluate_in_loops())


def test_dicts_and_record_hold_the_same() -> None:
    flat, people = record.record(7), record.dicts(7)
    assert [str(flat.path(row)) for row in range(7)] == [person["image"] for person in people]
    assert flat.joints.tolist() == [person["joints"] for person in people]
    assert flat.visible.tolist() == [person["visible"] for person in people]
    # sums of float32 and of float64
    assert record.touch(flat) == pytest.approx(record.touch(people), rel=1e-5)


TAKE_MEMORY = """
import mmap
from bench import record
before = record.memory("Private_Dirty")
# from the system itself: the allocator may have kept freed memory
taken = mmap.mmap(-1, 2**24, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(0, len(taken), mmap.PAGESIZE):
    taken[page] = 1
print(record.memory("Private_Dirty") - before)
"""


@pytest.mark.skipif(not record.MEMORY.exists(), reason="memory is read from Linux' /proc")
def test_memory_that_is_taken_is_seen() -> None:
    # in a process that does nothing else: what earlier tests have left may be given back at any moment
    run = subprocess.run([sys.executable, "-c", TAKE_MEMORY], capture_output=True, text=True, check=True)
    assert int(run.stdout) == pytest.approx(2**24, rel=0.1)


def test_commands_are_run_and_their_end_is_looked_at() -> None:
    startup.mistake()
    with pytest.raises(RuntimeError, match="status 2: error: "):
        startup.call("hgpose/train.py", "--stcks", "2")


@pytest.mark.slow
def test_trainings_begin_without_what_only_some_need() -> None:
    """SciPy alone would be a tenth of the time to the first step."""
    code = (
        "import sys, src.utils.setup, src.utils.single_person, src.utils.multi_person;"
        "sys.exit(' '.join({'scipy', 'matplotlib', 'torchvision', 'pandas', 'h5py'} & set(sys.modules)) or 0)"
    )
    startup.python(["-c", code])
