"""Reading pictures of any kind as RGB bytes, and refusing broken ones."""

from pathlib import Path

import cv2
import numpy as np

from src.errors import UserError

# A picture's orientation tag is ignored: annotations were made on the stored pixels.
_READ_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


class BadImage(UserError):
    """A picture that is missing, empty, cut short or of no known format."""


def read_image(path: Path | str) -> np.ndarray:
    """A picture as (H, W, 3) uint8 RGB; grey, CMYK, 16-bit pictures and those with alpha are converted.

    Raises BadImage (a UserError) if the file is missing, cut short or not a picture.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise BadImage(f"picture {path} is missing") from None
    except OSError as error:
        raise BadImage(f"picture {path} cannot be read: {error.strerror}") from None
    return decode_image(data, str(path))


def decode_image(data: bytes, name: str) -> np.ndarray:
    """The bytes of a picture file as (H, W, 3) uint8 RGB; `name` is for the message of a BadImage."""
    if not data:
        raise BadImage(f"picture {name} is an empty file; copy or download it again")
    if _is_cut_short(data):
        raise BadImage(f"picture {name} is cut short (its end is missing); copy or download it again")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _READ_FLAGS)
    except cv2.error:  # e.g. more pixels than OpenCV takes
        image = None
    if image is None:
        raise BadImage(f"picture {name} is damaged, or of a format that OpenCV does not read")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _is_cut_short(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end marker: OpenCV fills the missing part with grey, silently."""
    if data.startswith(b"\xff\xd8"):
        # The end marker must follow the last start of a scan; an embedded thumbnail has markers of its own.
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-1024:]
    return False
