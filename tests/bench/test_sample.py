"""The plain pipelines that samples are measured against make the same samples."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bench import pictures, sample
from src.datasets.annotations import Annotations

NOWHERE = Path("nowhere")


@pytest.fixture(params=["small", "large"])
def people(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Annotations:
    monkeypatch.setattr(pictures, "COUNT", 4)
    return getattr(pictures, request.param)(NOWHERE, tmp_path)


@pytest.mark.parametrize("pipeline", ["with_opencv", "with_skimage"])
def test_plain_pipelines_agree(people: Annotations, pipeline: str) -> None:
    if pipeline == "with_skimage":
        pytest.importorskip("skimage", reason="scikit-image comes with pip install '.[bench]'")
    images, heatmaps = sample.prepare(people, 4)()
    plain_images, plain_heatmaps = sample.prepare_plainly(pipeline, people, 4)()
    assert images.shape == plain_images.shape and plain_images.dtype == torch.float32
    # they place pixels up to a half beside ours, and OpenCV's skips some where a picture shrinks
    assert (images - plain_images).abs().mean() < 0.02
    torch.testing.assert_close(heatmaps, plain_heatmaps, rtol=0, atol=1e-6)
    assert heatmaps.amax((2, 3)).sum() > 30  # of 56 joints: most have a target


def test_coco_is_enlarged(tmp_path: Path, shared_data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "COUNT", 3)
    people = pictures.large(shared_data("coco"), tmp_path)
    for row in range(3):
        person = people.person(row)
        picture = person.read(1).pixels
        assert max(picture.shape[:2]) == 1280
        inside = person.joints[person.visible > 0]
        assert (inside >= 0).all() and (inside <= np.array(picture.shape[1::-1])).all()
