"""Files that are not exported networks are refused in one line, and what runs them is asked for."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src import pose
from src.errors import UserError
from tests.exporting import loaded

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def content() -> bytes:
    """An exported network."""
    from src.inference.exporting import to_onnx

    return to_onnx(loaded("hg", 32, stacks=1, feats=16, depth=1), decode=False, half=False, opset=17)


def refusal(path: Path, **settings: str) -> str:
    with pytest.raises(UserError) as raised:
        pose.load(path, **settings)
    message = str(raised.value)
    assert "\n" not in message and str(path) in message
    return message


def changed(content: bytes, **properties: Any) -> bytes:
    """The file with other metadata; None takes an entry out."""
    model = onnx.load_from_string(content)
    stored = {entry.key: entry.value for entry in model.metadata_props}
    stored |= {key: json.dumps(value) for key, value in properties.items()}
    del model.metadata_props[:]
    kept = {key: text for key, text in stored.items() if properties.get(key, "") is not None}
    onnx.helper.set_model_props(model, kept)
    return model.SerializeToString()


def elsewhere(_: bytes) -> bytes:
    """A file of another program."""
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "other", value[:1], value[1:])
    opsets = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


WRONG: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "is an empty file; export or copy it again"),
    "text": (lambda _: b"no network at all\n" * 9, "is damaged, or is no ONNX file"),
    "cut short": (lambda whole: whole[: len(whole) // 2], "is damaged, or is no ONNX file"),
    "other code": (elsewhere, "is an ONNX file of other code: it does not say its format, arch, config"),
    "no skeleton": (lambda whole: changed(whole, skeleton=None), "does not say its skeleton"),
    "newer": (lambda whole: changed(whole, format=2), "has format 2; this version reads 1"),
    "another kind": (lambda whole: changed(whole, input_res="32"), "is damaged: its input_res is '32'"),
    "another size": (lambda whole: changed(whole, input_res=64), "its network is not the one that its"),
    "odd scale": (lambda whole: changed(whole, target_mass=-1.0), "is damaged: its target_mass is -1.0"),
    "half a skeleton": (lambda whole: changed(whole, skeleton={"name": "x"}), "a stored skeleton lacks"),
    "odd skeleton": (
        lambda whole: changed(whole, skeleton=dict.fromkeys(
            ("name", "joints", "flip_pairs", "limbs", "groups", "accuracy_joints", "mean_joints", "sigmas",
             "torso"), 1)),
        "is damaged: its skeleton is none",
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_files(wrong: str, content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make, said = WRONG[wrong]
    path = tmp_path / "network.onnx"
    path.write_bytes(make(content))
    assert said in refusal(path)
    assert capfd.readouterr() == ("", ""), "onnxruntime says nothing by itself"


def test_metadata_that_is_no_json(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(content.replace(b'"stacks"', b"'stacks'"))
    assert "is damaged: its metadata is no JSON" in refusal(path)


def test_a_file_that_does_not_tell_of_logits_is_of_heatmaps(content: bytes, tmp_path: Path) -> None:
    """As those are that were written before it was told."""
    path = tmp_path / "network.onnx"
    for properties, mass in (({"target_mass": None}, None), ({}, None), ({"target_mass": 6.5}, 6.5)):
        path.write_bytes(changed(content, **properties))
        assert pose.load(path).runner.target_mass == mass  # type: ignore[attr-defined]


def test_wrong_paths(tmp_path: Path) -> None:
    assert "there is no file" in refusal(tmp_path / "missing.onnx")
    (tmp_path / "folder.onnx").mkdir()
    assert "is a folder" in refusal(tmp_path / "folder.onnx")


def test_wrong_settings(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(content)
    assert "has its own precision" in refusal(path, amp="bf16")
    assert pose.load(path, amp="auto").skeleton.num_joints == 5
    for device in ("tpu", "cuda:x"):
        with pytest.raises(UserError, match=f"runs on --device auto, cpu or cuda, not {device}"):
            pose.load(path, device=device)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "needs onnxruntime: pip install onnxruntime" in refusal(path)
