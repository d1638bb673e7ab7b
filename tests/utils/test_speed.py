"""What `auto` chooses, that it is stored, and that none of it changes what is learnt."""

import json
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from src import models
from src.errors import UserError
from src.losses.heatmap import heatmap_softmax
from src.models.layers import PoseNetwork
from src.utils import speed
from src.utils.device import autocast, place
from src.utils.speed import activation_bytes, settle
from tests.task_runner import TINY, main_of

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def auto(**given: str) -> Namespace:
    names = ("amp", "compile", "channels_last", "grad_checkpoint")
    return Namespace(**dict.fromkeys(names, "auto") | given, input_res=64)


def small(**config: int) -> PoseNetwork:
    torch.manual_seed(0)
    return models.build("hg", 5, **{"stacks": 2, "feats": 8, "depth": 2} | config)


def machine(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int] = (9, 0), **cpu: bool) -> None:
    """Pretend to have a GPU of that capability, and a CPU that can what is said to be true."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: cpu.get("amx", False))
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: cpu.get("avx512_bf16", False))
    monkeypatch.setattr(speed, "_has_triton", lambda: True)
    monkeypatch.setattr(speed, "_memory", lambda device: 10**10)


@pytest.mark.parametrize(
    "device, capability, cpu, steps, expected",
    [
        (CPU, (0, 0), {}, 10**6, "none none always none"),
        (CPU, (0, 0), {"avx512_bf16": True}, 10**6, "bf16 none always none"),
        (CPU, (0, 0), {"amx": True}, 10, "bf16 none always none"),
        (GPU, (9, 0), {}, 10**6, "bf16 default always none"),
        (GPU, (8, 0), {}, 10, "bf16 none always none"),
        (GPU, (7, 5), {}, 10**6, "fp16 default always none"),
        (GPU, (6, 1), {}, 10**6, "none none always none"),
        (torch.device("mps"), (0, 0), {}, 10**6, "none none none none"),
    ],
)
def test_auto_takes_what_pays_and_says_why(monkeypatch, device, capability, cpu, steps, expected) -> None:
    machine(monkeypatch, capability, **cpu)
    options = auto()
    line = settle(options, small(), device, 4, steps)
    chosen = (options.amp, options.compile, options.channels_last, options.grad_checkpoint)
    assert " ".join(chosen) == expected
    assert line.startswith(f"speed: amp {chosen[0]} (") and line.count("(") == 4 and "\n" not in line


def test_what_is_given_stays(monkeypatch) -> None:
    machine(monkeypatch, amx=True)
    options = auto(amp="none", channels_last="none", grad_checkpoint="always")
    line = settle(options, small(), CPU, 4, 10**6)
    assert (options.amp, options.channels_last, options.grad_checkpoint) == ("none", "none", "always")
    assert "amp none (as set), compile none (gains nothing on a CPU), channels-last none (as set)" in line


def test_activations_are_kept_unless_they_fill_the_memory(monkeypatch) -> None:
    network = small()
    machine(monkeypatch)
    needed = activation_bytes(network, 4, 64)
    for memory, expected in ((needed / 0.59, "none"), (needed / 0.61, "always")):
        monkeypatch.setattr(speed, "_memory", lambda device, memory=memory: memory)
        options = auto(amp="none")
        settle(options, network, CPU, 4, 10)
        assert options.grad_checkpoint == expected


def test_activations_are_counted_on_a_small_image() -> None:
    network = small()
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = network(torch.rand(3, 3, 64, 64))
    for tensor in [*network.parameters(), *network.buffers()]:
        kept.pop(tensor.untyped_storage().data_ptr(), None)
    held = sum(storage.nbytes() for storage in kept.values())
    del outputs
    # the statistics of a normalisation do not grow with images: that is the difference
    assert activation_bytes(network, 3, 64) == pytest.approx(held, rel=0.02)
    assert network.training


def test_choices_are_stored_and_kept(tmp_path: Path, monkeypatch, capsys) -> None:
    train = main_of("hgpose/train.py")
    train(["--exp-dir", str(tmp_path), "--exp", "a", *TINY, "--epochs", "1", "--grad-checkpoint", "always"])
    assert "channels-last always (faster convolutions), grad-checkpoint always (as set)" in (
        capsys.readouterr().err
    )
    options = json.loads((tmp_path / "hgpose" / "a" / "options.json").read_text())["options"]
    chosen = {key: options[key] for key in ("amp", "compile", "channels-last", "grad-checkpoint")}
    assert "auto" not in chosen.values() and chosen["grad-checkpoint"] == "always"
    machine(monkeypatch, avx512_bf16=True, amx=True)  # another machine
    train(["--exp-dir", str(tmp_path), "-c", "a", "--epochs", "2"])
    options = json.loads((tmp_path / "hgpose" / "a" / "options.json").read_text())["options"]
    assert {key: options[key] for key in chosen} == chosen


@pytest.mark.slow
@pytest.mark.parametrize("amp, checkpointing", [("bf16", True), ("none", False)])
def test_the_same_is_learnt(amp: str, checkpointing: bool) -> None:
    """200 steps on the same four pictures: the curves lie on each other, down to where learning has come."""

    def curve(amp: str, channels_last: str, checkpointing: bool) -> torch.Tensor:
        network = place(small(stacks=1), CPU, channels_last)
        network.grad_checkpoint = checkpointing
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(4, 3, 32, 32, generator=generator)
        target = torch.rand(4, 5, 8, 8, generator=generator) ** 50  # a few peaks a map
        losses = []
        for _ in range(200):
            with autocast(CPU, amp):
                loss = heatmap_softmax(network(images), target)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.detach())
        return torch.stack(losses)

    plain, other = curve("none", "none", False), curve(amp, "always", checkpointing)
    fallen = plain[0] - plain[-1]
    assert fallen > 0.5  # it learns
    # sums in another order, or 8 bits of mantissa in bf16, lead apart within a run, by little; which of them
    # hardly matters, since Adam's first steps make the last bit of a gradient near 0 as large as any
    assert (plain - other).abs().mean() < 0.03 * fallen


def test_an_unknown_precision_is_one_line() -> None:
    with pytest.raises(UserError, match=r"amp 'bfloat16' is not known \(did you mean 'bf16'\?\)"):
        speed.precision("bfloat16", CPU)
