"""Weights for other joints: the last layers are made anew, or keep the rows of joints of the same name."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from src.datasets.skeletons import COCO, FLIC, LSP, MPII, PENN, Skeleton
from src.errors import UserError
from src.models import build
from src.models.checkpoint import LoadReport, describe, load_weights
from src.models.layers import PoseNetwork
from tests.task_runner import main_of

SMALL = {"stacks": 2, "feats": 16, "depth": 1}  # as wide as MPII has joints


def network(arch: str, skeleton: Skeleton, config: dict[str, Any]) -> PoseNetwork:
    """A network whose weights are all different, with the buffers of normalisations."""
    made = build(arch, skeleton.num_joints, **config)
    for tensor in made.state_dict().values():
        if tensor.is_floating_point():
            tensor.normal_()
    return made


def transferred(
    arch: str, source: Skeleton, target: Skeleton, **config: Any
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor], LoadReport]:
    """The weights stored, those of the network before and after, and the report."""
    torch.manual_seed(0)
    checkpoint = describe(network(arch, source, config), source.to_dict(), 64)
    other = network(arch, target, config)
    fresh = {name: value.clone() for name, value in other.state_dict().items()}
    report = load_weights(other, checkpoint, joints=target.joints, transfer=True)
    return checkpoint["model"], fresh, other.state_dict(), report


def assert_rows(old: Tensor, fresh: Tensor, found: Tensor, source: Skeleton, target: Skeleton) -> None:
    """Rows (J, …) of joints in both skeletons are the old ones, others the fresh ones."""
    for row, joint in enumerate(target.joints):
        expected = old[source.joints.index(joint)] if joint in source.joints else fresh[row]
        assert torch.equal(found[row], expected), joint


@pytest.mark.parametrize(("source", "target"), [(MPII, PENN), (PENN, MPII), (COCO, FLIC)])
def test_stacks_keep_the_joints_of_the_same_name(source: Skeleton, target: Skeleton) -> None:
    old, fresh, found, report = transferred("hg", source, target, **SMALL)
    for name in ("heads.0.weight", "heads.0.bias", "heads.1.weight", "heads.1.bias"):
        assert_rows(old[name], fresh[name], found[name], source, target)
    name = "merge_heatmaps.0.weight"  # sees the joints: its columns
    columns = (tensor.transpose(0, 1) for tensor in (old[name], fresh[name], found[name]))
    assert_rows(*columns, source, target)
    joint_layers = ("heads", "merge_heatmaps")
    for name, value in found.items():
        if not name.startswith(joint_layers) or name == "merge_heatmaps.0.bias":
            assert torch.equal(value, old[name]), name
    assert set(report.kept) == set(source.joints) & set(target.joints)
    assert set(report.fresh) == set(target.joints) - set(source.joints)


def test_what_is_kept_is_said() -> None:
    report = transferred("hg", MPII, PENN, **SMALL)[-1]
    said = str(report)
    assert "6 with the rows of the same joints (heads.0, heads.1, merge_heatmaps.0)" in said
    assert said.endswith("left ankle; joints made anew: head") and "made anew for" not in said
    assert len(report.kept) == 12


def test_tags_follow_their_joints() -> None:
    for arch, further in (("hg-ae", {"increase": 4}), ("hg", {"tag_dim": 2})):
        old, fresh, found, _ = transferred(arch, COCO, FLIC, **SMALL, **further)
        blocks = 1 + further.get("tag_dim", 1)
        for name in ("heads.1.weight", "heads.0.bias"):
            each = (tensor.chunk(blocks) for tensor in (old[name], fresh[name], found[name]))
            for parts in zip(*each, strict=True):
                assert_rows(*parts, COCO, FLIC)
        name = "merge_heatmaps.0.weight"
        each = (tensor.transpose(0, 1).chunk(blocks) for tensor in (old[name], fresh[name], found[name]))
        for parts in zip(*each, strict=True):
            assert_rows(*parts, COCO, FLIC)


def test_coordinates_follow_their_joints() -> None:
    old, fresh, found, _ = transferred("deeppose", MPII, LSP, backbone="resnet10", cascade=1)
    for name in ("head.weight", "head.bias", "closer_heads.0.weight"):
        pairs = (tensor.unflatten(0, (-1, 2)) for tensor in (old[name], fresh[name], found[name]))
        assert_rows(*pairs, MPII, LSP)
    old, fresh, found, _ = transferred("ief", MPII, LSP, backbone="resnet10")
    assert_rows(*(tensors["mean_pose.pose"] for tensors in (old, fresh, found)), MPII, LSP)
    drawn = [tensors["entry_of_pose.weight"].transpose(0, 1) for tensors in (old, fresh, found)]
    assert_rows(*(maps[:-1] for maps in drawn), MPII, LSP)
    assert torch.equal(drawn[0][-1], drawn[2][-1])  # the marker is in both


def test_attention_factors_and_bodies() -> None:
    config = {"stacks": 2, "feats": 16, "depth": 1, "modules": 1, "kernel": 3, "whole": 1}
    old, fresh, found, _ = transferred("pose-attention", MPII, LSP, **config)
    for name in ("heads.0.weight", "heads.1.gates.evidence.weight", "heads.1.gates.message.bias",
                 "heads.1.score.weight", "heads.1.bias"):  # fmt: skip
        assert_rows(old[name], fresh[name], found[name], MPII, LSP)
    old, fresh, found, _ = transferred("hg-topdown", MPII, LSP, **SMALL, latent=4)
    name = "factors.1.conv.weight"  # transposed: (inputs, J, …)
    assert_rows(*(tensors[name].transpose(0, 1) for tensors in (old, fresh, found)), MPII, LSP)
    for name in ("factors.0.norm.weight", "factors.0.norm.running_var"):
        assert_rows(old[name], fresh[name], found[name], MPII, LSP)
    torch.manual_seed(0)
    source = network("dlcm", MPII, {"feats": 40, "depth": 1, "bones": MPII.bones, "parts": MPII.parts})
    target = network("dlcm", LSP, {"feats": 40, "depth": 1, "bones": LSP.bones, "parts": LSP.parts})
    old = source.state_dict()
    fresh = {name: value.clone() for name, value in target.state_dict().items()}
    load_weights(target, describe(source, MPII.to_dict(), 64), joints=LSP.joints, transfer=True)
    before, first, after = (tensors["heads.1.weight"] for tensors in (old, fresh, target.state_dict()))
    assert_rows(before[:16], first[:14], after[:14], MPII, LSP)
    assert torch.equal(after[14:], first[14:])  # bones of another body


def test_a_chain_of_other_joints_keeps_no_feedback() -> None:
    *_, report = transferred("chained", MPII, PENN, backbone="resnet10", feats=4)
    assert not report.transferred and not report.kept and len(report.fresh) == 13


def test_as_many_joints_of_other_names_are_other_joints() -> None:
    renamed = [f"{joint}?" if row < 2 else joint for row, joint in enumerate(MPII.joints)]
    checkpoint = describe(network("hg", MPII, SMALL), MPII.to_dict(), 64)
    for transfer in (False, True):
        other = network("hg", MPII, SMALL)
        before = other.state_dict()["heads.0.weight"].clone()
        report = load_weights(other, checkpoint, joints=renamed, transfer=transfer)
        after = other.state_dict()["heads.0.weight"]
        assert torch.equal(after[:2], before[:2])
        assert torch.equal(after[2:], checkpoint["model"]["heads.0.weight"][2:]) is transfer
        assert report.fresh == (tuple(renamed[:2]) if transfer else ())


def test_strict_refuses_other_joints() -> None:
    checkpoint = describe(network("hg", MPII, SMALL), MPII.to_dict(), 64)
    for skeleton in (PENN, MPII):
        other = network("hg", skeleton, SMALL)
        joints = [joint.upper() for joint in skeleton.joints]
        with pytest.raises(
            UserError, match=r"exactly: 6 for other joints \(heads.0, heads.1, merge_"
        ) as error:
            load_weights(other, checkpoint, strict=True, joints=joints)
        assert "anew" not in str(error.value)
    report = load_weights(network("hg", MPII, SMALL), checkpoint, strict=True, joints=MPII.joints)
    assert not report.differences


@pytest.mark.parametrize(("arch", "config"), [("hg", SMALL), ("deeppose", {"backbone": "resnet10"})])
def test_joints_out_of_a_file_may_be_anything(arch: str, config: dict[str, Any]) -> None:
    source, target = network(arch, MPII, config), network(arch, PENN, config)
    for joints in (None, [], 5, "abc", ["a"] * 3, [{}] * 16, {"a": 1}):
        checkpoint = describe(source, {"joints": joints}, 64)
        assert not load_weights(target, checkpoint, joints=PENN.joints, transfer=True).kept


START = """--stacks 1 --feats 16 --depth 3 --input-res 64 --synth-size 4 4 --batch-size 4 --workers 0
           --epochs 0""".split()


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def train(*argv: str) -> str:
        """What is said on stderr; a mistake ends it."""
        with suppress(SystemExit):
            main_of("hgpose/train.py")(["--exp-dir", str(tmp_path), *START, *argv])
        return capsys.readouterr().err

    train("--exp", "mpii")
    file = str(tmp_path / "hgpose" / "mpii" / "best.pth")
    assert "joints made anew: head\n" in train(
        "--exp", "penn", "--skeleton", "penn", "--load-model", file, "--transfer-head"
    )
    # what names a start is not inherited
    assert "is finished" in train("--exp", "penn", "--continue")
    said = train("--exp", "lsp", "--skeleton", "lsp", "--load-model", file, "--strict")
    assert (
        said
        == f"error: {file}: the checkpoint does not fit the network exactly: 2 for other joints (heads.0)\n"
    )
    assert train("--exp", "x", "--strict") == "error: --strict is about --load-model FILE: give that, too\n"
    said = train("--exp", "x", "--load-model", file, "--strict", "--transfer-head")
    assert said.startswith("error: --strict wants a checkpoint for the same joints")
    assert {path.name for path in (tmp_path / "hgpose").iterdir()} == {"mpii", "penn"}
