"""Clips of synthetic people in the layout of Penn Action, to try what is meant for it without the release.

    python -m src.datasets.synth.clips --out DIR

DIR/Penn_Action then holds frames/0001/000001.jpg … and labels/0001.mat …, as if it were unpacked from the
archive: `python data/prepare.py penn --data-dir DIR` cuts the frames. In a clip one person moves from a pose
to another one before a camera that stands still. Half of the clips are of the action "upright", half of
"all".
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from src.datasets.files import save_mat
from src.datasets.skeletons import PENN
from src.datasets.synth.body import LANDMARK_NAMES, sample_build, turned_frames
from src.datasets.synth.camera import Camera, sample_camera
from src.datasets.synth.figure import Body, dress
from src.datasets.synth.poses import sample_pose
from src.datasets.synth.rotation import blend
from src.datasets.synth.scene import VISIBLE, Actor, Labels, Scene, framed
from src.datasets.synth.style import WHOLE
from src.errors import UserError
from src.utils.command import command, note
from src.utils.files import appearing, writable_folder
from src.utils.options import Parser, path, positive
from src.utils.progress import Progress

TEST_EVERY = 3  # clips, of which one is for test
MARGIN = 0.1  # of the box around all points of a person, added on each side
JPEG_QUALITY = 92
_SEED = 20113
_JOINTS = [LANDMARK_NAMES.index(joint) for joint in PENN.joints]

Frame = tuple[np.ndarray, Labels]


def render_clip(number: int, count: int, side: int, poses: str) -> Iterator[Frame]:
    """The frames (side, side, 3) uint8 RGB of clip `number`, with what labels say about each.

    They depend on the arguments alone.
    """
    geometry = _random(number, 0)
    build = sample_build(geometry)
    first, last = (sample_pose(geometry, build, poses).turns for _ in range(2))
    shares = np.linspace(0, 1, count)
    turns = (blend(first, last, np.full(len(first), share)) for share in shares)
    bodies = [Body(build, turned_frames(each, build)) for each in turns]
    standing = np.concatenate([body.points - _ground(body) for body in bodies])
    camera = sample_camera(geometry, (standing.min(0) + standing.max(0)) / 2, poses)
    camera = framed(geometry, camera, standing, side, WHOLE)
    for body in bodies:
        actor = Actor(body, dress(_random(number, 1), body), _before(camera, body))
        rendering = Scene((actor,), side, _random(number, 2), _random(number, 3)).render()
        yield rendering.picture, rendering.labels[0]


def _random(number: int, stream: int) -> np.random.Generator:
    """The random state of a clip for one purpose: it is the same for all frames."""
    return np.random.default_rng((_SEED, number, stream))


def _ground(body: Body) -> np.ndarray:
    """The point (3,) under a body's middle that is as low as its lowest bone."""
    return np.array([0.0, body.frames.origins[:, 1].min(), 0.0])


def _before(camera: Camera, body: Body) -> Camera:
    """The camera as a body sees it that stands on the ground, and not with its hips at one height."""
    return replace(camera, offset=camera.offset - camera.turn @ _ground(body))


def label_fields(labels: Sequence[Labels], side: int, action: str, training: bool) -> dict[str, Any]:
    """The fields of a label file as released: pixels count from 1, a joint that is not seen has no place."""
    points = np.stack([label.points for label in labels])
    seen = np.stack([label.visible for label in labels])[:, _JOINTS] == VISIBLE
    low, high = points.min(1), points.max(1)
    margin = MARGIN * (high - low).max(1, keepdims=True)
    box = np.concatenate([np.maximum(low - margin, 0) + 1, np.minimum(high + margin, side)], axis=1)
    joints = np.where(seen[..., None], points[:, _JOINTS] + 1, 1)
    return {
        "action": action,
        "pose": "front",
        "x": joints[..., 0],
        "y": joints[..., 1],
        "visibility": seen.astype(np.uint8),
        "train": np.array([[1 if training else -1]], np.int16),
        "bbox": box,
        "dimensions": np.array([[side, side, len(labels)]], np.uint16),
        "nframes": len(labels),
    }


def write_clips(folder: Path, clips: int, frames: int, side: int) -> Path:
    """Write Penn_Action with so many clips of so many frames into a folder: wholly, or not at all.

    Returns its path. UserError if it is there already, or cannot be written.
    """
    target = writable_folder(folder) / "Penn_Action"
    if target.exists():
        raise UserError(f"{target} exists already; --out names another folder")
    with appearing(target) as part, Progress("clips", clips) as progress:
        (part / "labels").mkdir()
        for number in range(1, clips + 1):
            poses = "upright" if 2 * number <= clips else "all"
            labels = []
            pictures = writable_folder(part / "frames" / f"{number:04}")
            for place, (picture, label) in enumerate(render_clip(number, frames, side, poses), start=1):
                _write_picture(pictures / f"{place:06}.jpg", picture)
                labels.append(label)
            fields = label_fields(labels, side, poses, training=number % TEST_EVERY > 0)
            save_mat(part / "labels" / f"{number:04}.mat", fields)
            progress.advance(str)
    return target


def _write_picture(target: Path, picture: np.ndarray) -> None:
    """Its folder is not in its place yet, so it is written without further care."""
    pixels = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    target.write_bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())


@command
def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser("Draw clips of synthetic people in the layout of Penn Action.")
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="where Penn_Action/ goes")
    parser.add_argument("--clips", type=positive, default=150, help="how many; a third of them is for test")
    parser.add_argument("--frames", type=positive, default=4, help="of each")
    parser.add_argument("--side", type=positive, default=240, help="of a frame, in pixels")
    options = parser.parse_strictly(sys.argv[1:] if argv is None else argv)
    target = write_clips(options.out, options.clips, options.frames, options.side)
    note(f"{target}: {options.clips * options.frames:,} frames of {options.clips:,} clips")


if __name__ == "__main__":
    main()
