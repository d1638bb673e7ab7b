"""What networks are run on: pictures, folders, patterns, videos, cameras, lists of all these.

    for source in find_sources(["walk.mp4", "holiday/", "*.png", "0"]):
        for frame in source.frames():
            frame.pixels, frame.seconds

A folder stands for the pictures and videos that lie in it, in the order of their names; "-" for the lines of
the standard input; a whole number that is no file for a camera.
"""

import glob
import math
import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from src.datasets.images import read_upright, silent_opencv
from src.errors import UserError
from src.utils.files import is_utf8, require_utf8

PICTURES = frozenset(
    ".jpg .jpeg .jpe .png .bmp .tif .tiff .webp .jp2 .avif .gif .ppm .pgm .pbm".split()
)  # what is taken from a folder; others are tried when they are named
VIDEOS = frozenset(
    ".mp4 .m4v .mov .qt .avi .divx .mkv .webm .mpg .mpeg .m2v .vob .wmv .asf .flv .f4v .ts .mts .m2ts .mxf"
    " .dv .3gp .3g2 .ogv .ogm".split()
)

MOST_PIXELS = 25_000_000  # of a picture; larger ones are shrunk
# Frames a second, where a file tells none, or nonsense; a higher one is believed if frames come so.
USUAL_RATE, HIGHEST_RATE = 30.0, 240.0
PROBED = 32  # frames of a video that are looked at for how evenly they come
UNEVEN = 0.3  # how much of a frame's time between two may be missing or too much in an even video
LONGEST_STILL = 300.0  # seconds between two frames; more is a mistake of the file
ENOUGH = 0.98  # share of the announced frames with which a video is whole: some containers only estimate

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what goes wrong is told in one line, and by us


class Frame(NamedTuple):
    """A picture, or one of a video.

    pixels (h, w, 3) uint8 RGB. number: from 0. seconds: since the first frame. width, height: of the picture
    in full; pixels may be shrunk.
    """

    pixels: np.ndarray
    number: int
    seconds: float
    width: int
    height: int

    @property
    def scale(self) -> np.ndarray:
        """How many pixels of the whole picture fall on one of `pixels`: (2,)."""
        height, width = self.pixels.shape[:2]
        return np.array([self.width / width, self.height / height])


class Source(ABC):
    """Something that gives frames.

    name: as the user knows it. stem: for the names of what is made of it. path: the file, if it is one.
    live: whether frames are lost that nobody takes.
    """

    live = False

    def __init__(self, name: str, stem: str, path: Path | None = None) -> None:
        self.name, self.stem, self.path = name, stem, path

    @property
    def rate(self) -> float | None:
        """Frames a second of a video, None of a picture; of an uneven one enough for its shortest gap."""
        return None

    @property
    def count(self) -> int | None:
        """How many frames there are, as far as that is known; None for one without end."""
        return 1

    @abstractmethod
    def frames(self) -> Generator[Frame, None, None]:
        """The frames, one after the other. UserError, also after some of them, for what cannot be read.

        Closing it lets go of the file or camera.
        """


class PictureFile(Source):
    """A file with one picture, turned as its orientation tag says."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), path.stem, path)

    def frames(self) -> Generator[Frame, None, None]:
        picture = read_upright(self.name, MOST_PIXELS)
        yield Frame(picture.pixels, 0, 0.0, picture.width, picture.height)


class Video(Source):
    """A video file, turned as it says itself. Its frames need not be equally far from each other in time."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), path.stem, path)

    @cached_property
    def _header(self) -> tuple[float, int, float]:
        """The rate, how many frames are announced, 0 if that cannot be known, and how many seconds."""
        with _capture(self.name) as capture:
            rate = capture.get(cv2.CAP_PROP_FPS)
            count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
            times = np.array(list(islice(_times(capture), PROBED)))
            if not (math.isfinite(rate) and (0 < rate <= HIGHEST_RATE or _is_even(rate, np.diff(times)))):
                rate = USUAL_RATE
            return _fitting(rate, times), count, count / rate

    @property
    def rate(self) -> float:
        return self._header[0]

    @property
    def count(self) -> int:
        return self._header[1]

    def frames(self) -> Generator[Frame, None, None]:
        self._refuse_empty()
        number, seconds = 0, 0.0
        with _capture(self.name) as capture:
            if not capture.isOpened():
                require_utf8(os.path.abspath(self.name))
                raise UserError(f"video {self.name} is damaged, cut short, or of a format that is not known")
            for number, (told, pixels) in enumerate(_timed(capture), start=1):
                if number > 1:  # time goes on, even where the file does not tell how
                    seconds = told if 0 < told - seconds < LONGEST_STILL else seconds + 1 / self.rate
                yield Frame(pixels, number - 1, seconds, pixels.shape[1], pixels.shape[0])
        if not number:
            raise UserError(f"video {self.name} has no frame that can be read")
        rate, count, duration = self._header
        if number < ENOUGH * count and seconds + 1.5 / rate < ENOUGH * duration:
            raise UserError(f"video {self.name} breaks off after {number} of {count} frames")

    def _refuse_empty(self) -> None:
        try:
            empty = not os.path.getsize(self.name)
        except OSError as error:
            raise UserError(f"video {self.name} cannot be read: {error.strerror}") from None
        if empty:
            raise UserError(f"video {self.name} is an empty file; copy or download it again")


class Camera(Source):
    """A camera by its number. What nobody takes in time is lost."""

    live = True

    def __init__(self, number: int) -> None:
        super().__init__(f"camera {number}", f"camera-{number}")
        self.number = number

    @property
    def rate(self) -> float:
        return USUAL_RATE  # few cameras keep to what they tell

    @property
    def count(self) -> None:
        return None

    def frames(self) -> Generator[Frame, None, None]:
        with _capture(self.number) as capture:
            if not capture.isOpened():
                raise UserError(f"there is no {self.name}, or another program has it; they count from 0")
            start = time.monotonic()
            for number, (_, pixels) in enumerate(_timed(capture)):
                seconds = time.monotonic() - start
                yield Frame(pixels, number, seconds, pixels.shape[1], pixels.shape[0])
        raise UserError(f"{self.name} gives no pictures any more")


@contextmanager
def _capture(what: str | int) -> Iterator[cv2.VideoCapture]:
    """OpenCV's reader of a file or a camera, without its own words on what goes wrong."""
    with silent_opencv():
        capture = cv2.VideoCapture(what) if isinstance(what, int) else _file_capture(os.path.abspath(what))
        try:
            yield capture
        finally:
            capture.release()


def _file_capture(path: str) -> cv2.VideoCapture:
    """The reader of a file; of a whole path, since a name such as 10:30.mp4 is taken for an address.

    It is not opened where the path is not UTF-8.
    """
    return cv2.VideoCapture(path) if is_utf8(path) else cv2.VideoCapture()


def _timed(capture: cv2.VideoCapture) -> Iterator[tuple[float, np.ndarray]]:
    """The frames (H, W, 3) uint8 RGB, each with its time in seconds as the file has it, the first at 0."""
    start = None
    while True:
        there, pixels = capture.read()
        if not there:
            return
        told = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        start = told if start is None else start
        yield told - start, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _times(capture: cv2.VideoCapture) -> Iterator[float]:
    """The times of the frames in seconds."""
    while capture.grab():
        yield capture.get(cv2.CAP_PROP_POS_MSEC) / 1000


def _fitting(rate: float, times: np.ndarray) -> float:
    """The rate that a file tells, if its frames come so; else, as that is a mean, one that misses none."""
    gaps = np.diff(times)
    gaps = gaps[gaps >= 1 / HIGHEST_RATE]
    if not len(gaps) or _is_even(rate, gaps):
        return rate
    return round(1 / float(gaps.min()), 3)


def _is_even(rate: float, gaps: np.ndarray) -> bool:
    """Whether frames come at a rate, as the seconds between them tell; not if there are none."""
    return len(gaps) > 0 and bool(np.abs(gaps * rate - 1).max() < UNEVEN)


def find_sources(names: Iterable[str], listed: Iterable[str] = ()) -> list[Source]:
    """The sources that are meant by names; `listed` has those, one a line, that "-" stands for.

    Raises UserError for a name that means nothing, a folder without pictures, an empty list.
    """
    found: list[Source] = []
    for name in names:
        if name != "-":
            found += _named(name)
            continue
        lines = [line.strip() for line in listed if line.strip()]
        if not lines:
            raise UserError("the list on the standard input names nothing")
        found += [source for line in lines for source in _named(line)]
    return found


def _named(name: str) -> Sequence[Source]:
    if not name:
        raise UserError("the name of a source is empty; . is the present folder")
    path = Path(name)
    try:
        if not path.exists() and name.startswith("~"):
            path = Path(os.path.expanduser(name))
        if path.is_dir():
            return _in_folder(path)
        if path.exists():
            return [_of_file(path)]
    except (OSError, ValueError) as error:  # too long a name, a zero byte
        why = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{name[:80]!r} is no name of a file: {why}") from None
    if re.fullmatch(r"[0-9]{1,4}", name):
        return [Camera(int(name))]
    if glob.has_magic(name):
        paths = [Path(match) for match in sorted(glob.glob(str(path), recursive=True), key=_natural)]
        files = [path for path in paths if path.is_file()]
        if not files:
            raise UserError(f"no file has a name like {name}{', only folders have' if paths else ''}")
        return [_of_file(path) for path in files]
    raise UserError(
        f"there is no {name}; a picture, a folder, a pattern, a video, the number of a camera, or - is wanted"
    )


def _in_folder(folder: Path) -> list[Source]:
    try:
        names = sorted((path.name for path in folder.iterdir()), key=_natural)
    except OSError as error:
        raise UserError(f"folder {folder} cannot be read: {error.strerror}") from None
    wanted = PICTURES | VIDEOS
    paths = [folder / name for name in names if not name.startswith(".")]
    paths = [path for path in paths if path.suffix.lower() in wanted and path.is_file()]
    if not paths:
        raise UserError(f"folder {folder} has no pictures and no videos; folders in it are not looked into")
    return [_of_file(path) for path in paths]


def _of_file(path: Path) -> Source:
    return Video(path) if path.suffix.lower() in VIDEOS else PictureFile(path)


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that puts 2.jpg before 10.jpg."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]
