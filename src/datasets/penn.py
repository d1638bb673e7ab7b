"""Penn Action: people at sports in short videos, of which every frame has 13 joints.

Zhang, Zhu and Derpanis, "From actemes to action: a strongly-supervised representation for detailed action
understanding", ICCV 2013.

The release has a folder of frames and a label file for each clip. Networks for single persons were trained on
clips that are cut to one window each, in which the person stays from the first frame to the last. The reader
finds that window, and what follows from it, in the labels; `crop_clips` cuts the frames. Labels that are cut
already have a window that is the whole frame, so they are read alike.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np

from src.datasets.affine import PERSON_PIXELS
from src.datasets.annotations import UNLABELLED, VISIBLE, Annotations
from src.datasets.files import check_codes, check_shape, load_lines, load_mat, save_mat
from src.datasets.images import read_image
from src.datasets.release import Release
from src.datasets.skeletons import PENN as SKELETON
from src.datasets.workers import cores
from src.errors import UserError
from src.utils.files import appearing, writable_folder, write_text
from src.utils.progress import Progress

ENLARGE, SHIFT = 1.25, 15.0  # the crop of a person over the reference box, as for MPII
VALID_SHARE = 0.092  # of the training clips of each action
CROPPED = "penn_action_cropped"  # the folder of cut clips
VALID_LIST = "valid_ind.txt"  # numbers of the validation clips
JPEG_QUALITY = 95

_LABELS = (f"{CROPPED}/labels", "labels", "Penn_Action/labels")
_FIELDS = ("action", "x", "y", "visibility", "train", "bbox", "dimensions")
_J = SKELETON.num_joints
_FAR = 1e6  # pixels; no frame is that large
_TELLING = slice(3, _J)  # all joints but head and shoulders, one of which a frame must show


class Clip(NamedTuple):
    """The labels of one clip of n frames. Coordinates count from 1, in the clip's window.

    number: that of its files. corner (2,), size (2,): the window in the frames, x and y of its first pixel
    (from 1), width and height; whole: whether it is all of a frame. joints (n, 13, 2), visible (n, 13) bool,
    box (n, 4): corners of the person's box, NaN where the release lacks it. source: the fields of the file.
    """

    number: int
    action: str
    training: bool
    corner: np.ndarray
    size: np.ndarray
    whole: bool
    joints: np.ndarray
    visible: np.ndarray
    box: np.ndarray
    source: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.number:04}"

    @property
    def used(self) -> np.ndarray:
        """The frames, from 0, that show more than head and shoulders."""
        return np.flatnonzero(self.visible[:, _TELLING].any(1))


@dataclass(frozen=True)
class Sportspeople(Annotations):
    """People in the frames of clips. action (N,) bytes: what the clip shows, such as b"tennis_serve"."""

    DTYPES: ClassVar[Mapping[str, Any]] = {**Annotations.DTYPES, "action": None}

    action: np.ndarray


def read_penn(data_dir: Path, split: str, valid_share: float = 0.0, compat: bool = False) -> Annotations:
    """The frames of a split, cut to their clip's window; those that show no limb are left out.

    The box is the window. compat: its centre has x and y exchanged, as when the published networks were
    trained: that of a window of w x h pixels is then (h / 2, w / 2). norm is the longer side of the person's
    box in the frame, of the window where there is no box. A joint that is not visible has no annotated
    place. `valid_share` is not used: the validation clips are those of `validation_clips`.
    """
    folder = PENN.find(data_dir, _LABELS)
    clips = read_clips(folder)
    held_out = set(_held_out(folder.parent / VALID_LIST, clips))
    of_split = {
        "train": lambda clip: clip.training and clip.number not in held_out,
        "valid": lambda clip: clip.training and clip.number in held_out,
        "test": lambda clip: not clip.training,
    }[split]
    first = np.cumsum([0, *(len(clip.joints) for clip in clips)])
    parts = [
        _columns(clip, start, compat) for clip, start in zip(clips, first, strict=False) if of_split(clip)
    ]
    if not parts:
        raise UserError(f"penn {split} has no people")
    cut = folder.parent if all(clip.whole for clip in clips) else data_dir / CROPPED
    columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return Sportspeople(name=f"penn {split}", skeleton=SKELETON, root=cut / "frames", **columns)


def _columns(clip: Clip, first: int, compat: bool) -> dict[str, np.ndarray]:
    """The used frames of a clip, whose first frame has the place `first` in the release, as Annotations."""
    used, longest = clip.used, clip.size.max()
    visible, box = clip.visible[used], clip.box[used]
    center = (clip.size[::-1] + 1) // 2 if compat else (clip.size + 1) / 2
    side = (box[:, 2:] - box[:, :2]).max(1)
    return {
        "images": np.array([_frame(clip, frame) for frame in used], np.bytes_),
        "joints": np.where(visible[..., None], clip.joints[used] - 1, 0),
        "visible": np.where(visible, VISIBLE, UNLABELLED),
        "center": np.tile(center - 1.0, (len(used), 1)),
        "scale": np.full(len(used), longest / PERSON_PIXELS),
        "enlarge": np.full(len(used), ENLARGE),
        "shift": np.full(len(used), SHIFT),
        "norm": np.where(side > 0, side, longest),
        "index": first + used,
        "person_id": np.zeros(len(used)),
        "action": np.full(len(used), clip.action.encode()),
    }


def _frame(clip: Clip, frame: int) -> str:
    """The picture of a frame, which counts from 0, below the folder of frames."""
    return f"{clip.name}/{frame + 1:06}.jpg"


# ---------------------------------------------------------------------------------------------- label files


def read_clips(folder: Path) -> list[Clip]:
    """The label files 0001.mat … of a folder, in their order. UserError for one that is not as released."""
    paths = sorted(path for path in folder.glob("*.mat") if path.stem.isdecimal())
    if not paths:
        raise UserError(f"penn: {folder} holds no label files 0001.mat …; {PENN.how_to_get(folder.parent)}")
    return [_read_clip(path) for path in paths]


def _read_clip(path: Path) -> Clip:
    fields = load_mat(path, _FIELDS, ["pose", "nframes"])
    count = len(fields["x"])
    for key in ("x", "y", "visibility"):
        check_shape(fields[key], (count, _J), key, path)
    for key, shape in {"bbox": (None, 4), "dimensions": (1, 3), "train": (1, 1)}.items():
        check_shape(fields[key], shape, key, path)
    check_codes(fields["train"], (-1, 1), "train", path)
    check_codes(fields["visibility"], (0, 1), "visibility", path)
    if fields["action"].dtype.kind != "U" or fields["action"].size != 1:
        raise UserError(f"{path}: action is no text; is it the right file?")
    # They may be bytes, which would overflow.
    joints = np.stack([fields["x"], fields["y"]], axis=2).astype(np.float64)
    box = fields["bbox"].astype(np.float64)
    if not 0 < len(box) <= count:
        raise UserError(f"{path}: {len(box)} boxes for {count} frames; is it the right file?")
    corner, size, frame = _window(box, fields["dimensions"], path)
    offset = corner - 1
    missing = np.full((count - len(box), 4), np.nan)
    return Clip(
        number=int(path.stem),
        action=str(fields["action"].item()),
        training=fields["train"].item() == 1,
        corner=corner,
        size=size,
        whole=bool((size == frame).all()),
        joints=joints - offset,
        visible=fields["visibility"] > 0,
        box=np.concatenate([box - np.tile(offset, 2), missing]),
        source=fields,
    )


def _window(box: np.ndarray, dimensions: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What all boxes (n, 4) of a clip span: its first pixel, from 1, and its size; and the frame's size."""
    if not (np.isfinite(dimensions).all() and (np.abs(box) < _FAR).all()):
        raise UserError(f"{path}: bbox or dimensions hold what is no number of pixels; is it the right file?")
    first, last = _rounded(box[:, :2].min(0)), _rounded(box[:, 2:].max(0))
    frame = _rounded(dimensions[0, 1::-1])
    if (first < 1).any() or (last < first).any() or (last > frame).any():
        raise UserError(
            f"{path}: the boxes span {_pixels(first)} to {_pixels(last)}, which is no part of a frame of"
            f" {_pixels(frame)} pixels; is it the right file?"
        )
    return first, last - first + 1, frame


def _pixels(values: np.ndarray) -> str:
    return f"{values[0]} x {values[1]}"


def _rounded(values: np.ndarray) -> np.ndarray:
    """Whole numbers, halves upwards: those of the release's tools. NumPy rounds halves to even ones."""
    return np.floor(values + 0.5).astype(np.int64)


# --------------------------------------------------------------------------------------- validation clips


def validation_clips(clips: Iterable[Clip]) -> list[int]:
    """The numbers of the clips that published work holds out of the training clips.

    Of each action, in order of first appearance, the last 9.2 % of the training clips that have a used frame.
    """
    by_action: dict[str, list[int]] = {}
    for clip in clips:
        if clip.training and len(clip.used):
            by_action.setdefault(clip.action, []).append(clip.number)
    held_out: list[int] = []
    for numbers in by_action.values():
        held_out += numbers[len(numbers) - int(_rounded(np.array(VALID_SHARE * len(numbers)))) :]
    return held_out


def _held_out(path: Path, clips: Sequence[Clip]) -> list[int]:
    """The validation clips: those of a list, if there is one, else those of published work."""
    if not path.is_file():
        return validation_clips(clips)
    try:
        listed = [int(line) for line in load_lines(path)]
    except ValueError:
        raise UserError(f"{path} must hold the number of one clip a line") from None
    unknown = set(listed) - {clip.number for clip in clips if clip.training}
    if unknown:
        raise UserError(
            f"{path} names clips that are no training clips: {len(unknown)} of {len(listed)}, such as"
            f" {min(unknown)}"
        )
    return listed


# ------------------------------------------------------------------------------------------- cutting clips


def crop_clips(data_dir: Path) -> str:
    """Write penn_action_cropped: the clips cut to their windows, their labels, and the validation list.

    A clip's frames appear all at once, so a call that was broken off goes on with the next clip; the labels
    come last. Clips are cut on all processors. Raises UserError for frames that are missing or unreadable.
    """
    folder, target = PENN.find(data_dir, _LABELS), data_dir / CROPPED
    clips = read_clips(folder)
    if all(clip.whole for clip in clips):
        return f"{folder.parent} is there already, cut to windows"
    frames = folder.parent / "frames"
    if not frames.is_dir():
        raise PENN.missing(data_dir, [str(frames.relative_to(data_dir))])
    made = writable_folder(target / "frames")
    for left in (*target.glob(".*.part"), *made.glob(".*.part")):  # by a call that was killed
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    ahead = [clip for clip in clips if not (made / clip.name).is_dir()]
    with (
        ThreadPoolExecutor(cores()) as threads,
        Progress("clips", len(clips), len(clips) - len(ahead)) as progress,
    ):
        for _ in threads.map(lambda clip: _crop_clip(clip, frames / clip.name, made / clip.name), ahead):
            progress.advance(str)
    held_out = _held_out(folder.parent / VALID_LIST, clips)
    write_text(target / VALID_LIST, "".join(f"{number}\n" for number in held_out))
    with appearing(target / "labels") as part:
        for clip in clips:
            save_mat(part / f"{clip.name}.mat", _cut_fields(clip))
    count = sum(len(clip.joints) for clip in clips)
    unlabelled = {path.name for path in frames.iterdir()} - {clip.name for clip in clips}
    said = f"; folders of frames without labels, left out: {len(unlabelled)}" if unlabelled else ""
    return f"{target} written: {count:,} frames of {len(clips):,} clips{said}"


def _crop_clip(clip: Clip, source: Path, target: Path) -> None:
    """Cut the frames of one clip."""
    if not source.is_dir():
        raise UserError(f"penn: clip {clip.name} has labels, but no frames: there is no folder {source}")
    with appearing(target) as part:
        for frame in range(len(clip.joints)):
            name = Path(_frame(clip, frame)).name
            _crop_frame(source / name, part / name, clip)


def _crop_frame(source: Path, target: Path, clip: Clip) -> None:
    """Cut one frame. It is written without further care: its folder is not in its place yet."""
    pixels = read_image(source)
    (left, top), (right, bottom) = clip.corner - 1, clip.corner - 1 + clip.size
    if right > pixels.shape[1] or bottom > pixels.shape[0]:
        raise UserError(
            f"penn: {source} is {pixels.shape[1]} x {pixels.shape[0]} pixels large, too small for the window"
            f" of its labels, which ends at {right} x {bottom}"
        )
    window = cv2.cvtColor(pixels[top:bottom, left:right], cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", window, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done, "an encoder that OpenCV has does not fail on uint8 pictures"
    target.write_bytes(data.tobytes())


def _cut_fields(clip: Clip) -> dict[str, Any]:
    """The fields of a clip's label file in its window."""
    known = np.isfinite(clip.box).all(1)
    width, height = clip.size
    return clip.source | {
        "x": clip.joints[..., 0],
        "y": clip.joints[..., 1],
        "bbox": clip.box[known],
        "dimensions": np.array([[height, width, len(clip.joints)]]),
    }


PENN = Release(
    dataset="penn",
    source="Penn_Action.tar.gz of the Penn Action data set (http://dreamdragon.github.io/PennAction), unpack"
    " it and run `python data/prepare.py penn`",
    layout=f"Penn_Action/frames/ and Penn_Action/labels/, or what was made of them, {CROPPED}/",
    read=read_penn,
    prepare=crop_clips,
)
