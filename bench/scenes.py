"""A multi-person training sample, from the file to network input, target and mask.

The plain pipeline does all of it in the worker, in floats, with each Gaussian computed on the whole map. Here
the worker gives bytes and joints, and what the device makes of a batch is counted in. One process, one core.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from bench.harness import Case, Item, Options, Work
from bench.sample import one_core
from src.datasets.affine import between_centers
from src.datasets.augmentation import SceneAugmentation, SceneDraw
from src.datasets.coco import read_scenes
from src.datasets.crops import Stream, collate
from src.datasets.scene_annotations import SceneAnnotations
from src.datasets.scenes import Scenes, letterbox
from src.datasets.skeletons import COCO
from src.datasets.synth import SynthScenes
from src.datasets.targets import people_heatmaps, target_cells, to_images

BATCH, DRAWN = 8, 24
LONG_SIDE = 640  # pixels, of most of COCO's pictures
RES, SIZE, SIGMA, RADIUS = 512, 128, 2.0, 6
PLAIN = "OpenCV, float, Gaussians on whole maps"
AUGMENTATION = SceneAugmentation()

Sample = tuple[Tensor, Tensor, Tensor]


def cases(options: Options) -> Iterator[Item]:
    """Samples of COCO's pictures if they are there, else of drawn ones."""
    with tempfile.TemporaryDirectory() as folder, one_core():
        people = pictures(options.coco, Path(folder))
        name = f"multi-person sample, {RES} px ({people.name})"
        yield Case(name, PLAIN, prepare(people), prepare_plainly(people), goal=2.5)


def pictures(coco: Path, folder: Path, drawn: int = DRAWN) -> SceneAnnotations:
    """COCO's pictures with people, or as many drawn ones, which are written to the folder."""
    if (coco / "images").is_dir():
        return replace(read_scenes(coco, "train").for_training(), name="COCO")
    source, rows = SynthScenes("train", drawn, COCO, LONG_SIDE), np.arange(drawn)
    for row in rows:
        pixels = cv2.cvtColor(source.scene(int(row)).read(1).pixels, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f"{row}.jpg"), pixels)
    images = np.array([f"{row}.jpg" for row in rows], np.bytes_)
    return replace(source.truth(rows), name="drawn", root=folder, images=images)


def prepare(people: SceneAnnotations) -> Work:
    """The next batch as this project prepares it."""
    scenes, batches = Scenes(people, RES, AUGMENTATION), iter(Stream(len(people), BATCH, seed=0))

    def work() -> Sample:
        return on_device(collate([scenes[key] for key in next(batches)]))

    return work


def on_device(batch: dict[str, Tensor]) -> Sample:
    """Network input, target and mask of a batch."""
    cells, labelled = target_cells(batch["joints"], batch["visible"], RES, SIZE)
    target = people_heatmaps(cells, labelled, SIZE, SIGMA, RADIUS)
    return to_images(batch["image"], batch["color"]), target, batch["mask"].float()


def prepare_plainly(people: SceneAnnotations) -> Work:
    """The same batch in the plain formulation."""
    batches = iter(Stream(len(people), BATCH, seed=0))

    def work() -> list[Tensor]:
        keys = next(batches)
        draws = [AUGMENTATION.draw(np.random.default_rng((0, *key))) for key in keys]
        return default_collate(
            [sample(people, row, draw) for (_, row), draw in zip(keys, draws, strict=True)]
        )

    return work


def sample(people: SceneAnnotations, row: int, draw: SceneDraw) -> Sample:
    """Picture (3, R, R) in [0, 1], heatmaps (J, h, w) and mask (h, w), all float32, of one picture."""
    scene = people.scene(row)
    matrix = letterbox(scene.width, scene.height, RES, draw)
    image: Any = cv2.imread(str(people.path(row)))
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.float32) / 255
    image = cv2.warpAffine(image, between_centers(matrix), (RES, RES))
    image = np.clip(image * np.array(draw.color, np.float32), 0, 1)
    usable: Any = np.ones((scene.height, scene.width), np.float32)
    if scene.ignored is not None:
        usable -= scene.ignored
    usable = cv2.warpAffine(usable, between_centers(matrix * SIZE / RES), (SIZE, SIZE))

    heatmaps = np.zeros((people.skeleton.num_joints, SIZE, SIZE), np.float32)
    order = people.skeleton.flip_order if draw.flip else range(len(heatmaps))
    x, y = np.arange(SIZE), np.arange(SIZE)[:, None]
    for joints, visible in zip(scene.joints, scene.visible, strict=True):
        cells = np.floor((joints @ matrix[:, :2].T + matrix[:, 2]) * SIZE / RES)
        for heatmap, joint in zip(heatmaps, order, strict=True):
            cell = cells[joint]
            if visible[joint] and (cell >= 0).all() and (cell < SIZE).all():
                gaussian = np.exp(-((x - cell[0]) ** 2 + (y - cell[1]) ** 2) / (2 * SIGMA**2))
                gaussian[np.maximum(abs(x - cell[0]), abs(y - cell[1])) > RADIUS] = 0
                np.maximum(heatmap, gaussian, out=heatmap)
    pictures = torch.from_numpy(image.transpose(2, 0, 1).copy())
    return pictures, torch.from_numpy(heatmaps), torch.from_numpy((usable > 0.5).astype(np.float32))
