"""What a network answers after it has been exported."""

import io

import numpy as np
import pytest
import torch
from torch import Tensor, nn


def assert_exports_to_onnx(network: nn.Module, images: Tensor) -> None:
    """The ONNX file of a network answers as it does itself, to 1e-4 of the largest value of each stage."""
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    for _ in range(3):
        network(images)  # moves the statistics
    network.eval()
    with torch.inference_mode():
        expected = network(images)
    file = io.BytesIO()
    torch.onnx.export(network, (images,), file, dynamo=False)
    session = runtime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    for output, answer in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(output, answer.numpy(), rtol=0, atol=1e-4 * float(answer.abs().max()))
