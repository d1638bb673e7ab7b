"""A checkpoint in use: calls at once share the processors, waste none, and answer as one after the other."""

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import torch

from src import models
from src.datasets.skeletons import MPII
from src.inference.checkpoint import Checkpoint
from src.utils.ahead import side_by_side

CPU = torch.device("cpu")


@pytest.fixture
def network() -> Iterator[Checkpoint]:
    """A small hourglass, opened where there are four threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    torch.manual_seed(0)
    built = models.build("hg", MPII.num_joints, stacks=1, feats=8, depth=2).eval()
    config = built.config
    yield Checkpoint(models.LoadedModel(built, "hg", config, MPII.to_dict(), 64, weights="model"), CPU)
    torch.set_num_threads(before)


def test_threads_share_the_processors_and_give_them_back(network: Checkpoint) -> None:
    def threads_of(calls: int) -> int:
        network.share(calls)
        return torch.get_num_threads()

    assert network.calls == 4
    for calls, own in ((2, 2), (3, 1), (8, 1)):
        assert list(side_by_side(threads_of, [calls], 1, lambda: None)) == [own]
    assert torch.get_num_threads() == 4
    network.share(1)
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [4]


def test_calls_at_once_give_what_calls_in_turn_give(network: Checkpoint) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (12, 2, 64, 64, 3), np.uint8)
    look = partial(network.maps, flip_test=True)
    together = side_by_side(look, pictures, 2, lambda: network.share(2))
    for (heatmaps, _), (expected, _) in zip(together, map(look, pictures), strict=True):
        np.testing.assert_allclose(heatmaps, expected, atol=1e-5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_a_forked_process_answers(network: Checkpoint) -> None:
    """As those of multiprocessing do; the threads of its parent are not in it."""
    pictures = np.zeros((2, 64, 64, 3), np.uint8)
    network.maps(pictures, flip_test=False)
    child = os.fork()
    if not child:
        try:
            network.maps(pictures, flip_test=False)
            os._exit(0)
        finally:
            os._exit(1)
    deadline = time.monotonic() + 60
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.05)
    if ended == (0, 0):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended == (child, 0)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch was built without oneDNN")
def test_a_call_that_has_one_processor_leaves_onednn_what_is_large(network: Checkpoint) -> None:
    network.share(4)
    with torch.profiler.profile(record_shapes=True) as profile:
        network.maps(np.zeros((8, 128, 128, 3), np.uint8), flip_test=False)
    calls = profile.key_averages(group_by_input_shape=True)
    sizes = {
        name: [math.prod(call.input_shapes[0]) for call in calls if call.key == f"aten::{name}"]
        for name in ("_slow_conv2d_forward", "mkldnn_convolution")
    }
    assert max(sizes["mkldnn_convolution"]) > 20480
    assert sizes["_slow_conv2d_forward"], "small maps"
    assert max(sizes["_slow_conv2d_forward"]) <= 20480
