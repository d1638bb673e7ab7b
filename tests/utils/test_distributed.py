"""Several processes learn what one would learn, and they live and die together."""

import csv
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from src.datasets.annotations import MASKED
from src.datasets.crops import Stream, in_order, in_step
from src.errors import UserError
from src.utils import distributed
from src.utils.device import choose_device
from src.utils.optimization import parts_of
from src.utils.processes import is_main, own_share, processes
from tests.task_runner import ROOT, TINY

SHORT = """--input-res 64 --workers 0 --amp none --log-every 2 --ema 0.5 --synth-size 24 5 --batch-size 4
           --iters 3 --epochs 2 --optimizer sgd --momentum 0.9""".split()
EXACT = ["--feats", "16", "--depth", "3", "--stacks", "1", *SHORT]


@pytest.fixture
def one_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process as torchrun starts the second of three, but that it has not met the others."""
    values = {
        "RANK": "1",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "3",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": "1",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_one_process_has_nobody_to_meet() -> None:
    values = {"loss": torch.ones(())}
    assert processes() == 1 and is_main() and own_share(5) == 5
    assert distributed.means(values) is values
    assert distributed.joined([1, 2]) == [1, 2]
    assert list(distributed.Shares([[1, 2], [3]], 2)) == [[1, 2], [3]]
    assert not torch.distributed.is_initialized()


def test_shares_join_to_the_batches(monkeypatch: pytest.MonkeyPatch, one_of_three: None) -> None:
    batches = [*itertools.islice(Stream(20, 6, seed=1), 5), *in_order(8, 6)]
    shares = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        shares += list(distributed.Shares(batches, 6))
    joined = [key for share in shares for key in share]
    assert sorted(joined) == sorted(key for batch in batches for key in batch)
    assert [len(share) for share in shares] == [2] * 19  # of the last batch, of 2, one process has all


def test_a_batch_that_cannot_be_shared_is_refused(one_of_three: None) -> None:
    assert own_share(6) == 2
    with pytest.raises(UserError, match=r"--batch-size 7 .* 3 of them cannot share it equally; 9 would do"):
        own_share(7)


def test_each_process_has_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch, one_of_three: None) -> None:
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="--device cuda or cpu, not cuda:0"):
        choose_device("cuda:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"1 GPUs are not enough .* --nproc-per-node 1"):
        choose_device("cuda")


def test_synchronised_batch_normalisation_is_for_gpus() -> None:
    with pytest.raises(UserError, match="--sync-batchnorm works between GPUs"):
        distributed.synchronise(nn.BatchNorm2d(3), torch.device("cpu"))


def test_fillers_keep_the_number_of_batches() -> None:
    batches = [{"visible": torch.ones(2, 3), "taken": 6}, {"visible": torch.ones(1, 3), "taken": 2}]
    filled = list(in_step(batches, 2))
    assert [batch["taken"] for batch in filled] == [2, 2, 2, 2]
    counts = [bool((batch["visible"] > MASKED).all()) for batch in filled]
    assert counts == [False, False, True, True]


def test_parts_exchange_gradients_once() -> None:
    """What DistributedDataParallel is told during each part, for learners that are none, too."""
    told = []

    class Learner(nn.parallel.DistributedDataParallel):
        def __init__(self) -> None:
            nn.Module.__init__(self)

        @property
        def require_backward_grad_sync(self) -> bool:
            return True

        @require_backward_grad_sync.setter
        def require_backward_grad_sync(self, value: bool) -> None:
            told.append(value)

    for _ in parts_of({"image": torch.zeros(5)}, 3, Learner(), print):
        told.append(None)
    assert told == [False, None, True, False, None, True, None]


# From here on whole runs, of two processes or one, in folders of their own.

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def start(folder: Path, *argv: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *argv], cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )


def run(folder: Path, *argv: str, status: int = 0) -> str:
    """What a command said on stderr."""
    process = start(folder, *argv)
    _, said = process.communicate(timeout=600)
    assert process.returncode == status, said
    return said


def state(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoint.pth", weights_only=True)


def rows(path: Path) -> dict[str, dict[str, str]]:
    """The rows of a log by iteration, but for their times."""
    with open(path, newline="") as file:
        return {row["step"]: row | {"seconds": ""} for row in csv.DictReader(file)}


ADVERSARY = """--modules 1 --d-stacks 1 --d-feats 8 --d-modules 1 --d-depth 2 --lr 0.03 --lr-d 1e-3
               --lambda-g 0.1 --kt-init 0.5 --lambda-kt 1e-5 --d-updates 2"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "task, options, in_parts",
    [
        # batches with unreadable pictures, parts of a batch, and validation that leaves one process nothing
        ("hgpose", "--loss mse --mask-unlabelled --lr 0.03 --skip-bad-images", "--accumulate 2"),
        ("hgpose", "--loss softmax --lr 1", ""),
        (
            "hgpose",
            "--depth 1 --input-res 32 --lr 0.1 --iters 6 --epochs 1 --valid-every 0",
            "--compile default",
        ),
        ("advpose", f"{ADVERSARY} --mask-unlabelled --skip-bad-images", "--accumulate 2"),
        ("advpose-ae", f"{ADVERSARY} --arch hg --skip-bad-images", ""),
        (
            "regpose",
            "--backbone resnet10 --cascade 1 --lr 0.03 --skip-bad-images --loss smooth",
            "--accumulate 2",
        ),
        # of a path of one step none is drawn
        ("regpose", "--arch ief --backbone resnet10 --network steps=1 --lr 0.1", "--compile default"),
    ],
    ids=["mse", "softmax", "compiled", "advpose", "advpose-ae", "deeppose", "ief-compiled"],
)
def test_two_processes_learn_what_one_learns(tmp_path: Path, task: str, options: str, in_parts: str) -> None:
    exact = [str(ROOT / "tests" / "exact.py"), f"{task}/train.py", "--exp-dir", "."]
    own, common = in_parts.split(), [*(SHORT if task == "regpose" else EXACT), *options.split()]
    run(tmp_path, *exact, "--exp", "alone", *common)
    run(tmp_path, *TORCHRUN, *exact, "--exp", "shared", *common, *own, "--max-iters", "4")
    before = state(tmp_path / task / "shared")["position"]
    assert before["seen"] == 4 * before["step"]
    run(tmp_path, *exact, "-c", "shared", *common, "--max-iters", "0")  # what is left, one process does

    alone, shared = tmp_path / task / "alone", tmp_path / task / "shared"
    first, *_, last = (float(row["loss"]) for row in rows(alone / "steps.csv").values())
    assert last < 0.99 * first  # it learns
    expected, found = state(alone), state(shared)
    # some thousand roundings in float64; Adam, which the discriminator has, divides by small gradients
    for name, roundings in (("model", 1e-12), ("ema", 1e-12), ("discriminator", 1e-10)):
        for key, value in expected.get(name, {}).items():
            difference = (found[name][key] - value).abs().max()
            assert difference <= roundings * value.abs().max(), key
    if "adversary" in expected:
        k, again = (each["adversary"]["equilibrium"]["k"] for each in (expected, found))
        assert 0 < k < 1 and k != 0.5 and abs(k - again) < 1e-12
    for name in ("log.csv", "steps.csv"):
        whole = rows(shared / name)
        for step, row in rows(alone / name).items():
            assert row == whole[step]  # to seven digits


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the second process in /proc")
def test_a_signal_to_one_process_stops_both_and_the_run_goes_on(tmp_path: Path) -> None:
    train = [*TORCHRUN, str(ROOT / "hgpose" / "train.py"), "--exp-dir", "."]
    options = [
        *TINY,
        "--iters",
        "10",
        "--epochs",
        "2",
        "--optimizer",
        "adam",
        "--ema",
        "0.9",
        "--workers",
        "1",
    ]
    run(tmp_path, *train, *options, "--exp", "straight")
    process = start(tmp_path, *train, *options, "--exp", "stopped")
    folder = tmp_path / "hgpose" / "stopped"
    deadline = time.monotonic() + 600
    while not (folder / "steps.csv").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(second_process(process.pid), signal.SIGTERM)
    _, said = process.communicate(timeout=600)
    step = state(folder)["position"]["step"]
    assert 0 < step < 20
    assert said.count(f"SIGTERM: stopped after iteration {step}, saved; -c stopped goes on") == 1

    run(tmp_path, *train, "-c", "stopped")
    straight, stopped = state(tmp_path / "hgpose" / "straight"), state(folder)
    for name in ("model", "ema"):
        assert all(torch.equal(value, stopped[name][key]) for key, value in straight[name].items())
    assert rows(folder / "log.csv") == rows(tmp_path / "hgpose" / "straight" / "log.csv")


def second_process(torchrun: int) -> int:
    children = Path(f"/proc/{torchrun}/task/{torchrun}/children").read_text().split()
    return next(int(pid) for pid in children if b"\0RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes())


@pytest.mark.slow
def test_ctrl_c_on_torchrun_saves(tmp_path: Path) -> None:
    options = [*TINY, "--iters", "100000", "--workers", "1", "--exp-dir", ".", "--exp", "a"]
    process = start(tmp_path, *TORCHRUN, str(ROOT / "hgpose" / "train.py"), *options)
    folder = tmp_path / "hgpose" / "a"
    deadline = time.monotonic() + 600
    while not (folder / "steps.csv").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=600)
    step = state(folder)["position"]["step"]
    assert step > 0 and f"SIGINT: stopped after iteration {step}, saved" in said


@pytest.mark.slow
def test_an_error_in_one_process_ends_both_with_one_message(tmp_path: Path) -> None:
    exact = [str(ROOT / "tests" / "exact.py"), "hgpose/train.py", "--exp-dir", ".", *EXACT]
    script = [*TORCHRUN, *exact, "--exp", "a"]
    # with this seed the second process comes to an unreadable picture in the second batch
    said = run(tmp_path, *script, "--seed", "1", "--no-skip-bad-images", status=1)
    errors = re.findall(r"^error: .*", said, flags=re.MULTILINE)
    assert errors == ["error: picture 22 is cut short; --skip-bad-images leaves such pictures out"]
    assert state(tmp_path / "hgpose" / "a")["position"]["step"] == 0
    said = run(tmp_path, *script, status=1)  # only the main process looks for the folder
    assert said.count("error: ") == said.count("error: experiment 'a' exists already") == 1
