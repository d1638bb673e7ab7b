"""What an exported file holds, its decoding, and that a file which answers differently is noticed."""

import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

from src.errors import UserError
from src.evaluation.decode import decode
from src.evaluation.grouping import Grouping, _peaks
from src.inference.agreement import compare
from src.inference.exporting import Decoder, to_onnx
from tests.exporting import FIVE, loaded

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
SIZES = {"stacks": 1, "feats": 16, "depth": 1}


def pictures(side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)


def test_joints_are_those_of_decoding():
    maps = torch.randint(0, 4, (30, 3, 5, 6)).float()  # with many ties, and maxima at borders
    joints, scores = Decoder("heatmaps", input_res=24)(maps)
    points, values = decode(maps)
    torch.testing.assert_close(joints, 4 * points, rtol=0, atol=0)
    torch.testing.assert_close(scores, values, rtol=0, atol=0)


def test_scores_of_logits_are_those_of_decoding():
    maps = torch.randn(4, 3, 8, 8, generator=torch.manual_seed(0))
    joints, scores = Decoder("heatmaps", input_res=32, target_mass=6.25)(maps)
    points, values = decode(maps, 6.25)
    assert 0 < values.min() < 0.9 and values.max() <= 1
    torch.testing.assert_close(joints, 4 * points, rtol=0, atol=0)
    torch.testing.assert_close(scores, values)


def test_peaks_are_those_of_grouping():
    torch.manual_seed(0)
    heatmaps, tags = torch.rand(2, 5, 16, 16), torch.randn(2, 3, 5, 16, 16)
    points, scores, peak_tags = (part.numpy() for part in Decoder("tags", 64)(heatmaps, tags))
    assert points.shape == (2, 5, 30, 2) and scores.shape == (2, 5, 30) and peak_tags.shape == (2, 3, 5, 30)
    settings = Grouping.of(FIVE)
    for image in range(2):
        expected = _peaks(heatmaps[image].numpy(), tags[image].numpy(), settings)
        for joint, peaks in enumerate(expected):
            count = len(peaks.score)
            assert 0 < count < 30, "all peaks are seen, and so are places without"
            np.testing.assert_array_equal(scores[image, joint, :count], peaks.score)
            assert (scores[image, joint, count:] <= settings.threshold).all()
            np.testing.assert_array_equal(peak_tags[image, :, joint, :count], peaks.tag.astype(np.float32))
            cells = np.stack(np.divmod(peaks.cell, 16)[::-1], axis=1) + 0.5
            assert np.abs(points[image, joint, :count] / 4 - cells).max() <= 0.25


def test_coordinates_in_pixels():
    joints, scores = Decoder("coordinates", input_res=200)(torch.tensor([[[0.5, 0.25]]]))
    assert joints.tolist() == [[[100.0, 50.0]]] and scores.tolist() == [[1.0]]


@pytest.mark.parametrize("half", [False, True])
def test_file_tells_all_that_it_needs(half):
    model = loaded("hg", 32, tag_dim=2, **SIZES)
    model.network.normalise.set((0.5, 0.25, 0), (1, 2, 4))
    content = to_onnx(model, decode=True, half=half, opset=15)
    file = onnx.load_from_string(content)
    onnx.checker.check_model(file, full_check=True)
    assert file.opset_import[0].version == 15
    stored = {entry.key: json.loads(entry.value) for entry in file.metadata_props}
    assert stored["skeleton"] == FIVE.to_dict() and stored["config"]["tag_dim"] == 2
    assert stored["normalisation"] == {"mean": [0.5, 0.25, 0], "std": [1, 2, 4]}
    assert (stored["arch"], stored["input_res"], stored["decode"]) == ("hg", 32, True)
    assert stored["precision"] == ("float16" if half else "float32")
    names = ["heatmaps", "tags", "peaks", "peak_scores", "peak_tags"]
    assert [output.name for output in file.graph.output] == names
    ends = [*file.graph.input, *file.graph.output]
    assert all(each.type.tensor_type.elem_type == onnx.TensorProto.FLOAT for each in ends)
    sizes = [[each.dim_param or each.dim_value for each in end.type.tensor_type.shape.dim] for end in ends]
    maps, peaks = [5, 8, 8], [5, 30]
    assert sizes == [
        ["batch", *shape] for shape in ([3, 32, 32], maps, [2, *maps], [*peaks, 2], peaks, [2, *peaks])
    ]
    weights = {each.data_type for each in file.graph.initializer if each.dims and len(each.dims) == 4}
    assert weights == {onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT}
    agreement = compare(model, content, pictures(32), "file")
    assert 0 < agreement.outputs < (2e-2 if half else 1e-4) and agreement.joints == 0
    assert agreement.compared + agreement.undecided == 4 * 5  # three images at once, and one alone


def test_other_answers_are_noticed():
    model = loaded("hg", 32, **SIZES)
    content = to_onnx(model, decode=False, half=False, opset=17)
    with torch.no_grad():
        model.network.heads[0].weight *= 1.001
    with pytest.raises(UserError, match=r"file would not answer as its network: 0.\d+ of the largest"):
        compare(model, content, pictures(32), "file")


class OneImage(nn.Module):
    """A part of a network that would be written for as many images as it was traced with."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("place", torch.zeros(1, 1, 8, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.place.expand(int(x.shape[0]), -1, -1, -1)], dim=1)[:, :-1]


def test_a_batch_of_one_size_is_noticed():
    model = loaded("hg", 32, **SIZES)
    model.network.stacks[0] = nn.Sequential(model.network.stacks[0], OneImage())
    content = to_onnx(model, decode=False, half=False, opset=17)
    with pytest.raises(UserError, match="file would not run 3 images at once"):
        compare(model, content, pictures(32), "file")


def test_an_operation_that_the_opset_lacks(capfd):
    """Said in a line, and the network is not printed."""
    model = loaded("deeppose", 64, backbone="resnet10", cascade=1)
    with pytest.raises(UserError, match=r"deeppose cannot be written with opset 13: .*grid_sampl.*16"):
        to_onnx(model, decode=False, half=False, opset=13)
    print("the output is there again", flush=True)
    assert capfd.readouterr() == ("the output is there again\n", "")


def test_a_closed_output_is_none_of_its_business(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert to_onnx(loaded("hg", 32, **SIZES), decode=False, half=False, opset=17)
