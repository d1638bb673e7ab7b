"""Reading pictures of any kind as RGB bytes, and refusing broken ones."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from src.errors import UserError

_UPRIGHT = cv2.IMREAD_COLOR_RGB
# Of data sets the orientation tag is ignored: annotations were made on the stored pixels.
_AS_STORED = _UPRIGHT | cv2.IMREAD_IGNORE_ORIENTATION

# With the flag for RGB these reduce and do not make grey.
_REDUCING_FLAGS = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG"  # how such files begin
_SCAN, _END = b"\xff\xda", b"\xff\xd9"  # markers of a JPEG: of pixels, and after the last of them


class BadImage(UserError):
    """A picture that is missing, empty, cut short or of no known format."""


class Picture(NamedTuple):
    """A picture (h, w, 3) uint8 RGB as it was read: pixel k covers [k r, (k + 1) r) of the file's, r its
    `reduction`. Where r does not divide a side of the file's, the last pixel goes beyond its edge.
    """

    pixels: np.ndarray
    reduction: int = 1


class Upright(NamedTuple):
    """A picture (h, w, 3) uint8 RGB as it is looked at, and the width and height that it has in full."""

    pixels: np.ndarray
    width: int
    height: int


def picture_path(root: Path, name: bytes) -> Path:
    """Where a picture of a release lies. Its name may come from Windows; what is no UTF-8 is replaced."""
    return root / name.decode(errors="replace").replace("\\", "/")


def read_image(path: Path | str) -> np.ndarray:
    """A picture as (H, W, 3) uint8 RGB; grey, CMYK, 16-bit pictures and those with alpha are converted.

    Raises BadImage (a UserError) if the file is missing, cut short or not a picture.
    """
    return read_reduced(path, 1).pixels


def read_reduced(path: Path | str, shrink: float) -> Picture:
    """A picture that will be shrunk by the factor `shrink`, and so need not be read in full.

    A JPEG is decoded at an eighth, a quarter or half of its size, if that is not less than what is wanted:
    two to three times as fast, and averaged over the pixels left out. Others are read whole. Raises BadImage.
    """
    return _decode(_read(path), str(path), shrink)


def read_upright(path: Path | str, most_pixels: int) -> Upright:
    """A picture of anybody's: turned as its orientation tag says, and shrunk if it is larger than wanted.

    A JPEG of more than `most_pixels` is shrunk while it is decoded, as in `read_reduced`; others after that.
    Raises BadImage.
    """
    data = _read(path)
    width, height = _jpeg_size(data)
    pixels, reduction = _decode(data, str(path), math.ceil(math.sqrt(width * height / most_pixels)), _UPRIGHT)
    if reduction == 1:
        height, width = pixels.shape[:2]
    elif pixels.shape[1] != -(-width // reduction):
        width, height = height, width  # it lay on its side
    excess = math.sqrt(pixels.shape[0] * pixels.shape[1] / most_pixels)
    if excess > 1:
        size = [max(1, int(side / excess)) for side in pixels.shape[1::-1]]
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return Upright(pixels, width, height)


def _read(path: Path | str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except FileNotFoundError:
        raise BadImage(f"picture {path} is missing") from None
    except OSError as error:
        raise BadImage(f"picture {path} cannot be read: {error.strerror}") from None
    except ValueError:  # a zero byte
        raise BadImage(f"picture {str(path)!r} has no name that a file can have") from None


def _decode(data: bytes, name: str, shrink: float, flags: int = _AS_STORED) -> Picture:
    """The bytes of a picture file, decoded; `name` is for the message of a BadImage."""
    if not data:
        raise BadImage(f"picture {name} is an empty file; copy or download it again")
    if _is_cut_short(data):
        raise BadImage(f"picture {name} is cut short (its end is missing); copy or download it again")
    reduction = 1
    if data.startswith(_JPEG):  # of other formats OpenCV reads all, and then takes a few of the pixels
        reduction = max(step for step in _REDUCING_FLAGS if step <= max(shrink, 1))
    try:
        with silent_opencv():
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags | _REDUCING_FLAGS[reduction])
    except cv2.error:  # e.g. more pixels than OpenCV takes
        pixels = None
    if pixels is None:
        raise BadImage(f"picture {name} is damaged, or of a format that OpenCV does not read")
    return Picture(pixels, reduction)


@contextmanager
def silent_opencv() -> Iterator[None]:
    """Without OpenCV's own words on what goes wrong: that is told in one line, and by us."""
    logging = cv2.utils.logging
    level = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)


def _is_cut_short(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end marker: OpenCV fills the missing part with grey, silently."""
    if data.startswith(_JPEG):
        # No scan may start after the last end marker; an embedded thumbnail has markers of its own.
        end = data.rfind(_END)
        if end < 0 or data.find(_SCAN, end) < 0:
            return end < 0
        # Or a video lies behind the picture, whose bytes look like markers.
        first = next((at for kind, at in _segments(data) if kind == _SCAN[1]), None)
        return first is None or data.find(_END, first) < 0
    if data.startswith(_PNG):
        return b"IEND" not in data[-1024:]
    return False


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height of the stored pixels as the header of a JPEG has them; 0, 0 of another file."""
    for kind, at in _segments(data):
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):  # a frame, and no table
            height, width = (int.from_bytes(data[at + k : at + k + 2], "big") for k in (5, 7))
            return width, height
    return 0, 0


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """The kinds of the segments of a JPEG, up to its first pixels, and where each begins; none of another."""
    at, kind = 2 if data.startswith(_JPEG) else len(data), 0
    while kind != _SCAN[1] and at + 9 <= len(data) and data[at] == 0xFF:
        kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if kind != 0xFF:
            yield kind, at
        at += 1 if kind == 0xFF else 2 + length  # bytes of 0xFF may fill the gap before a marker
