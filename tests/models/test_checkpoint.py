"""Checkpoint files: whole or not at all, read without executing anything, and starting from other weights."""

import argparse
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from src.errors import UserError
from src.models import build, load
from src.models.checkpoint import describe, load_weights, read_checkpoint, save_checkpoint
from tests.models import hostile

SMALL = {"stacks": 2, "feats": 8, "depth": 1}
SKELETON = {"name": "five", "joints": ["a", "b", "c", "d", "e"]}


def checkpoint(num_joints=5, **config):
    return describe(build("hg", num_joints, **{**SMALL, **config}), SKELETON, 16)


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_all_that_a_training_stores_comes_back(tmp_path):
    network = build("hg", 5, **SMALL)
    optimizer = torch.optim.Adam(network.parameters())
    sum(output.sum() for output in network(torch.rand(2, 3, 8, 8))).backward()
    optimizer.step()
    extra = {
        "optimizer": optimizer.state_dict(),
        "random": random.getstate(),
        "generator": torch.get_rng_state(),
        "seeds": 2**127 + 1,
        "bytes": b"\x00\xff",
        "best": None,
        "lr": 2.5e-4,
    }
    save_checkpoint(tmp_path / "a.pth", describe(network, SKELETON, 16) | extra)
    stored = read_checkpoint(tmp_path / "a.pth")
    assert [stored[key] for key in ("random", "seeds", "bytes", "best", "lr")] == [
        extra[key] for key in ("random", "seeds", "bytes", "best", "lr")
    ]
    optimizer.load_state_dict(stored["optimizer"])
    assert all(torch.equal(stored["model"][name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("value", [np.float64(1), argparse.Namespace(), Path("x"), [np.zeros(2)], {1: {2}}])
def test_only_plain_values_are_saved(tmp_path, value):
    with pytest.raises(TypeError, match=r"checkpoint\['options'\]"):
        save_checkpoint(tmp_path / "a.pth", checkpoint() | {"options": value})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    save_checkpoint(path, checkpoint())
    before = path.read_bytes()

    def full_disk(state, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(UserError, match=r"a\.pth cannot be written: No space left on device"):
        save_checkpoint(path, checkpoint())
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]


def test_unusable_files_are_told_apart(tmp_path):
    path = tmp_path / "a.pth"
    with pytest.raises(UserError, match="there is no checkpoint"):
        read_checkpoint(path)
    with pytest.raises(UserError, match="is a folder"):
        read_checkpoint(tmp_path)
    for content in (b"", b"not a checkpoint\n" * 50, b"\x80\x02}q\x00."):
        path.write_bytes(content)
        with pytest.raises(UserError, match="damaged, or is no PyTorch checkpoint"):
            read_checkpoint(path)
    path.rename(tmp_path / "a.onnx")
    with pytest.raises(UserError, match="is an exported file; what it was made of is wanted"):
        read_checkpoint(tmp_path / "a.onnx")
    for whole in (torch.zeros(3), {"state_dict": {"conv1.weight": torch.zeros(3)}}):
        torch.save(whole, path)
        with pytest.raises(UserError, match=r"not a checkpoint of this project; .*tools/convert\.py"):
            read_checkpoint(path)


def test_versions_and_missing_entries_are_named(tmp_path):
    path = tmp_path / "a.pth"
    save_checkpoint(path, checkpoint() | {"format": 2})
    with pytest.raises(UserError, match="format 2; this version reads 1"):
        read_checkpoint(path)
    save_checkpoint(path, {"format": 1, "arch": "hg", "config": {}, "model": {}})
    with pytest.raises(UserError, match="it lacks skeleton, input_res"):
        read_checkpoint(path)


def test_an_impossible_network_is_refused_before_it_takes_memory(tmp_path):
    for name, content in hostile.impossible_networks().items():
        path = tmp_path / f"{name}.pth"
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{name}.pth: "):
            load(path)


def test_what_scales_logits_is_kept_and_looked_at(tmp_path):
    """Files from before it was stored are read as those of networks whose maps are no logits."""
    path, stored = tmp_path / "a.pth", checkpoint()
    assert stored.pop("target_mass") is None
    for content, expected in ((stored, None), (stored | {"target_mass": 6.25}, 6.25)):
        save_checkpoint(path, content)
        assert load(path).target_mass == expected
    for wrong in (0.0, float("nan"), float("inf"), "6"):
        save_checkpoint(path, stored | {"target_mass": wrong})
        with pytest.raises(UserError, match=f"a damaged checkpoint: target_mass is '?{wrong}"):
            load(path)


def test_a_skeleton_of_other_joints_is_refused(tmp_path):
    save_checkpoint(tmp_path / "a.pth", checkpoint(num_joints=7))
    with pytest.raises(UserError, match=r"damaged checkpoint: its skeleton has 5 joints, its network 7"):
        load(tmp_path / "a.pth")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_file_is_damaged(tmp_path, zipped, share):
    path = tmp_path / "a.pth"
    torch.save(checkpoint(), path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(UserError, match="damaged"):
        read_checkpoint(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_file_is_executed(tmp_path, zipped):
    path, touched = tmp_path / "a.pth", tmp_path / "touched"
    torch.save(checkpoint() | {"extra": Bomb(touched)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"holds (posix|nt)\.system, .*nothing was executed"):
        read_checkpoint(path)
    assert not touched.exists()


def test_a_foreign_object_is_named(tmp_path):
    torch.save(checkpoint() | {"options": argparse.Namespace(lr=1)}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"holds argparse\.Namespace, .*tools/convert\.py"):
        read_checkpoint(tmp_path / "a.pth")


def test_equal_networks_load_whole():
    stored, network = checkpoint(), build("hg", 5, **SMALL)
    report = load_weights(network, stored, strict=True)
    assert len(report.loaded) == len(stored["model"])
    assert all(torch.equal(value, stored["model"][name]) for name, value in network.state_dict().items())
    assert str(report) == f"{len(stored['model'])} tensors loaded"


def test_other_joints_make_every_joint_layer_anew():
    stored, network = checkpoint(num_joints=7), build("hg", 5, **SMALL)
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    report = load_weights(network, stored)
    joint_layers = {"heads.0", "heads.1", "merge_heatmaps.0"}
    assert set(report.remade) == {f"{layer}.{part}" for layer in joint_layers for part in ("weight", "bias")}
    assert not report.missing and not report.unused
    for name, value in network.state_dict().items():
        assert torch.equal(value, fresh[name] if name in report.remade else stored["model"][name]), name
    assert "made anew for other joints (heads.0, heads.1, merge_heatmaps.0)" in str(report)


def test_more_or_fewer_stacks_are_said():
    report = load_weights(build("hg", 5, **SMALL), checkpoint(stacks=1))
    assert report.missing and not report.unused and all(".1." in n or "merge" in n for n in report.missing)
    report = load_weights(build("hg", 5, **{**SMALL, "stacks": 1}), checkpoint())
    assert report.unused and not report.missing and "not used" in str(report)


def test_the_average_is_what_training_starts_from():
    average, network = checkpoint()["model"], build("hg", 5, **SMALL)
    load_weights(network, checkpoint() | {"ema": average})
    assert torch.equal(network.state_dict()["heads.0.weight"], average["heads.0.weight"])


def test_what_does_not_fit_leaves_the_network_alone():
    network = build("hg", 5, **SMALL)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(UserError, match="of architecture other, the network is hg"):
        load_weights(network, checkpoint() | {"arch": "other"})
    with pytest.raises(UserError, match=r"of another size \(feats 16, here 8\)"):
        load_weights(network, checkpoint(feats=16))
    with pytest.raises(UserError, match="does not fit the network exactly: 6 for other joints"):
        load_weights(network, checkpoint(num_joints=7), strict=True)
    with pytest.raises(UserError, match=r"does not fit the network exactly \(stacks 3, here 2\)"):
        load_weights(network, checkpoint(stacks=3), strict=True)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
