"""The plain Python use: checkpoints and exported files find the same people, the latter without PyTorch."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from src import models, pose, pretrained
from src.datasets import affine
from src.datasets.targets import gaussian_mass
from src.errors import UserError
from src.evaluation import cells
from src.evaluation.search import Search
from src.models.checkpoint import describe, save_checkpoint
from src.utils.device import autocast
from tests.exporting import FIVE, loaded
from tests.searching import find_people

ROOT = Path(__file__).resolve().parents[1]
SIDE = 64
KINDS = {
    "single": ("hg", {"stacks": 1, "feats": 8, "depth": 2}),
    "logits": ("hg", {"stacks": 1, "feats": 8, "depth": 2}),
    "several": ("hg", {"stacks": 1, "feats": 8, "depth": 2, "tag_dim": 2}),
    "coordinates": ("deeppose", {"backbone": "resnet10"}),
}
Files = dict[str, Path]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A checkpoint of each kind, whose outputs differ from place to place more than rounding does."""
    folder = tmp_path_factory.mktemp("networks")
    files = {}
    for kind, (arch, config) in KINDS.items():
        network = loaded(arch, SIDE, **config).network
        if kind == "several":  # peaks stand out, and tags differ
            nn.init.normal_(network.heads[0].weight, std=1.0)
        files[kind] = folder / f"{kind}.pth"
        mass = gaussian_mass(1.0, 3) if kind == "logits" else None
        save_checkpoint(files[kind], describe(network, FIVE.to_dict(), SIDE, mass))
    return files


@pytest.fixture(scope="module")
def exported(checkpoints: Files, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The exported files of these, with their decoding; and that of one without."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from src.inference.exporting import to_onnx

    folder = tmp_path_factory.mktemp("exported")
    files = {}
    for kind, path in checkpoints.items():
        files[kind] = folder / f"{kind}.onnx"
        files[kind].write_bytes(to_onnx(models.load(path), decode=True, half=False, opset=17))
    files["maps"] = folder / "maps.onnx"
    files["maps"].write_bytes(to_onnx(models.load(checkpoints["single"]), False, False, 17))
    return files


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [
        rng.integers(0, 256, (height, width, 3), np.uint8) for height, width in ((70, 90), (64, 64), (33, 20))
    ]


def assert_same(found: list[pose.Pose], expected: list[pose.Pose]) -> None:
    """The same people in the same order, joints to a tenth of a pixel: what is promised for float32."""
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one.joints.dtype == one.score.dtype == np.float32
        np.testing.assert_allclose(one.joints, other.joints, rtol=0, atol=0.1)
        np.testing.assert_allclose(one.score, other.score, rtol=0, atol=1e-4)


@pytest.mark.parametrize("flip_test", [True, False])
@pytest.mark.parametrize("kind", [*KINDS, "maps"])
def test_exported_file_finds_the_same_people(kind, flip_test, checkpoints, exported, pictures):
    model = pose.load(checkpoints["single" if kind == "maps" else kind], device="cpu")
    file = pose.load(exported[kind], device="cpu")
    assert file.skeleton == model.skeleton == FIVE
    assert (file.input_res, file.multi_person) == (model.input_res, model.multi_person)
    several = kind == "several"
    boxes = None if several else [(10.0, 5.0, 30.0, 50.0), (0.0, 0.0, 20.0, 20.0)]
    assert model.multi_person == several
    for picture in pictures:
        assert_same(file(picture, flip_test=flip_test), model(picture, flip_test=flip_test))
        assert_same(
            pose.predict(file, picture, boxes, flip_test), pose.predict(model, picture, boxes, flip_test)
        )


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # importing it fails
import numpy as np
from src import pose
model = pose.load(sys.argv[1], device="cpu")
people = pose.predict(model, np.load(sys.argv[2]))
np.savez(sys.argv[3], joints=[p.joints for p in people], score=[p.score for p in people])
"""


@pytest.mark.parametrize("kind", ["single", pytest.param("several", marks=pytest.mark.slow)])
def test_exported_file_needs_no_pytorch(kind, exported, checkpoints, pictures, tmp_path):
    np.save(tmp_path / "picture.npy", pictures[0])
    arguments = [str(exported[kind]), str(tmp_path / "picture.npy"), str(tmp_path / "people.npz")]
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *arguments], cwd=ROOT, check=True)
    found = np.load(tmp_path / "people.npz")
    people = [pose.Pose(*person) for person in zip(found["joints"], found["score"], strict=True)]
    assert_same(people, pose.predict(pose.load(checkpoints[kind], device="cpu"), pictures[0]))


def test_several_pictures_share_batches(checkpoints, pictures):
    model = pose.load(checkpoints["single"], device="cpu")
    boxes = [None, [(5.0, 5.0, 20.0, 30.0), (0.0, 0.0, 9.0, 9.0), (30.0, 30.0, 30.0, 30.0)], []]
    seen: list[int] = []
    model.runner.network.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    together = pose.predict_many(model, pictures, boxes, flip_test=False, batch_size=3)
    assert seen == [3, 1] and [len(people) for people in together] == [1, 3, 0]
    for picture, own, people in zip(pictures[:2], boxes, together, strict=False):
        assert_same(people, pose.predict(model, picture, own, flip_test=False))
    assert pose.predict_many(model, []) == []


def test_several_pictures_of_several_people(checkpoints, pictures):
    model = pose.load(checkpoints["several"], device="cpu")
    for picture, people in zip(pictures, pose.predict_many(model, pictures), strict=True):
        assert_same(people, pose.predict(model, picture))


def test_people_are_those_of_a_search(checkpoints, pictures):
    """With normalisations as they were learnt, and PyTorch's geometry; the surest first."""
    own = models.load(checkpoints["several"])
    search = Search.of(FIVE, SIDE, 16)
    people = find_people(own.network, pictures[0], search)
    order = np.argsort(-people.person_score, kind="stable")
    expected = [pose.Pose(people.joints[each], people.score[each]) for each in order]
    assert_same(pose.predict(pose.load(checkpoints["several"], device="cpu"), pictures[0]), expected)


def test_maps_lie_over_the_picture(checkpoints, exported, pictures):
    """A joint is where a Gaussian through its map has its peak, near the highest cell."""
    box = (20.0, 10.0, 40.0, 30.0)
    for path in (checkpoints["single"], exported["single"]):
        model = pose.load(path, device="cpu")
        heatmaps, tags, matrix = pose.maps(model, pictures[0], box)
        assert heatmaps.shape == (5, 16, 16) and heatmaps.dtype == np.float32 and tags is None
        (person,) = pose.predict(model, pictures[0], [box], flip_test=False)
        points, scores = cells.decode(heatmaps[None], dark_sigma=1.0)
        np.testing.assert_allclose(person.joints, affine.apply(matrix, points[0]), rtol=0, atol=1e-2)
        np.testing.assert_allclose(person.score, scores[0], rtol=1e-4)
        assert np.abs(points - np.floor(points) - 0.5).max() > 0.01, "some are not in the middle of a cell"


def test_scores_of_logits_are_heights_of_the_targets_they_stand_for(checkpoints, exported, pictures):
    """The joints are those of the logits, logarithms as they are; the score is that of the softmax, by its
    definition.
    """
    raw = pose.maps(pose.load(checkpoints["single"], device="cpu"), pictures[0])
    parts = np.exp(raw.heatmaps.reshape(5, -1).astype(np.float64))
    peaks = gaussian_mass(1.0, 3) * parts.max(1) / parts.sum(1)
    points, _ = cells.decode(raw.heatmaps[None], target_mass=1.0, dark_sigma=1.0)
    for path in (checkpoints["logits"], exported["logits"]):
        model = pose.load(path, device="cpu")
        (person,) = model(pictures[0], flip_test=False)
        np.testing.assert_allclose(person.joints, affine.apply(raw.matrix, points[0]), rtol=0, atol=0.1)
        np.testing.assert_allclose(person.score, peaks.clip(max=1), rtol=1e-3)
        np.testing.assert_allclose(pose.maps(model, pictures[0]).heatmaps.max((1, 2)), peaks, rtol=1e-3)


def test_tags_beside_maps(checkpoints, exported, pictures):
    one, other = (
        pose.maps(pose.load(files["several"], "cpu"), pictures[0]) for files in (checkpoints, exported)
    )
    assert one.tags.shape == (5, 16, 16, 2), "two dimensions, and none of the mirrored picture"
    np.testing.assert_allclose(one.tags, other.tags, rtol=0, atol=1e-4 * np.abs(one.tags).max())
    np.testing.assert_allclose(one.matrix, [[90 / 16, 0, 0], [0, 90 / 16, -10]], atol=1e-9)


def test_reduced_precision_is_that_of_autocast(checkpoints):
    """Weights cast once give what autocast gives, which casts them each time; the last layers apart."""
    model = pose.load(checkpoints["single"], device="cpu", amp="bf16")
    images = torch.rand(2, 3, SIDE, SIDE)
    with torch.inference_mode(), autocast(torch.device("cpu"), "bf16"):
        expected = models.load(checkpoints["single"]).network(images)[-1]
    with torch.inference_mode():
        answer = model.runner(images)[-1]
    assert exact_layers(model.runner.network) == {"heads.0", "stacks.0.project.conv"}
    assert answer.dtype == torch.float32
    # two roundings of 8 bits apart in each of some 20 layers
    assert float((answer - expected).abs().max()) < 0.1 * float(expected.abs().max())


def test_layers_between_stacks_stay_in_float32(tmp_path):
    """And the one before the last heatmaps. A transposed convolution in that place is no such layer."""
    between = {"heads.0", "merge_features.0", "merge_heatmaps.0", "heads.1", "stacks.1.project.conv"}
    sizes = {"hg": {"stacks": 2, "feats": 8, "depth": 1}, "simple": {"backbone": "resnet10"}}
    for (arch, config), expected in zip(sizes.items(), (between, {"head"}), strict=True):
        network = loaded(arch, SIDE, **config).network
        save_checkpoint(tmp_path / "it.pth", describe(network, FIVE.to_dict(), SIDE))
        model = pose.load(tmp_path / "it.pth", device="cpu", amp="bf16")
        assert exact_layers(model.runner.network) == expected


def exact_layers(network: nn.Module) -> set[str]:
    """The names, as the network has them, of convolutions in float32."""
    return {
        name.removesuffix(".layer")
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.weight.dtype == torch.float32
    }


def test_without_a_name_the_network_that_ships_is_opened(checkpoints, pictures, monkeypatch):
    monkeypatch.setattr(pretrained, "FOLDER", checkpoints["single"].parent / "none")
    with pytest.raises(UserError, match="no network ships with this copy"):
        pose.load()
    monkeypatch.setattr(pretrained, "FOLDER", checkpoints["single"].parent)  # the last by name: single.pth
    expected = pose.load(checkpoints["single"], device="cpu")
    assert_same(pose.load(device="cpu")(pictures[0]), expected(pictures[0]))


def test_model_is_a_function(checkpoints, pictures):
    model = pose.load(checkpoints["coordinates"], device="cpu")
    assert_same(model(pictures[0]), pose.predict(model, pictures[0]))


@pytest.mark.parametrize(
    ("kind", "ask", "said"),
    [
        ("single", lambda model, image: model(image / 255), r"uint8 RGB, not \(70, 90, 3\) float64"),
        ("single", lambda model, image: model(image[..., 0]), r"not \(70, 90\) uint8"),
        ("single", lambda model, image: model(image, [(1, 1, 0, 5)]), r"box \(1, 1, 0, 5\) has no area"),
        ("single", lambda model, image: model(image, [(1, 1, 1e-200, 1e-200)]), "has no area"),
        ("single", lambda model, image: model(image, [(0, 0, 1e200, 1e200)]), "larger than pictures are"),
        ("single", lambda model, image: model(image, (1, 1, 5, 5)), "a box is .* and not 1"),
        ("single", lambda model, image: model(image, [(1, 1, 5)]), r"a box is .* and not \(1, 1, 5\)"),
        ("several", lambda model, image: model(image, [(1, 1, 5, 5)]), "takes no boxes"),
        ("single", lambda model, image: pose.predict_many(model, [image], []), "0 lists of boxes are not"),
        ("coordinates", pose.maps, "deeppose gives coordinates, and no maps"),
        ("single", lambda model, _: model("no/such.jpg"), "picture no/such.jpg is missing"),
    ],
)
def test_wrong_questions(kind, ask: Callable[..., object], said, checkpoints, exported, pictures):
    for files in (checkpoints, exported):
        with pytest.raises(UserError, match=said):
            ask(pose.load(files[kind], device="cpu"), pictures[0])
