"""A window that shows pictures as they are finished, where there is a display."""

import os
import subprocess
import sys
from contextlib import suppress

import cv2
import numpy as np

from src.errors import UserError

_ENDS = (ord("q"), 27)  # q and Escape
_TITLE = "predict: q ends, any key goes on"
_MOST = 1280, 800  # pixels that it takes of a screen, whose size OpenCV does not tell

# Qt misses fonts, which nothing here needs
os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")


class Window:
    """A window. UserError where none can be shown."""

    def __init__(self) -> None:
        if not cv2.currentUIFramework():
            raise UserError(
                "this OpenCV was built without windows (opencv-python has them, opencv-python-headless has"
                " not); without --show all is written to files"
            )
        if sys.platform.startswith("linux") and not _has_display():
            raise UserError("there is no display to show pictures on; without --show all is written to files")
        cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        self._was_seen = False
        self._shape: tuple[int, ...] = ()

    def show(self, image: np.ndarray, moving: bool) -> bool:
        """Show a picture (H, W, 3) uint8 RGB; False when the user wants no more.

        One of a video makes way for the next, another one stays until a key is hit.
        """
        image = _fitting(image)
        if image.shape != self._shape:
            self._shape = image.shape
            cv2.resizeWindow(_TITLE, image.shape[1], image.shape[0])
        cv2.imshow(_TITLE, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        while True:
            key = cv2.waitKey(1 if moving else 50)
            if key in _ENDS or self._is_gone():
                return False
            if moving or key >= 0:
                return True

    def _is_gone(self) -> bool:
        """Whether the user has closed it, where OpenCV knows: GTK's windows never say that they are seen."""
        try:
            seen = cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # Qt knows a closed window no more
            return True
        self._was_seen |= seen
        return self._was_seen and not seen

    def close(self) -> None:
        with suppress(cv2.error):  # the user has closed it
            cv2.destroyWindow(_TITLE)


def _has_display() -> bool:
    """Whether a window opens. It is tried in a process of its own: Qt ends one that has no display."""
    if not os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY"}:
        return False
    words = [sys.executable, "-c", "import cv2; cv2.namedWindow('trial')"]
    return subprocess.run(words, capture_output=True).returncode == 0


def _fitting(image: np.ndarray) -> np.ndarray:
    """A picture as large as it is shown: OpenCV's windows leave pixels out, which breaks thin lines."""
    height, width = image.shape[:2]
    share = min(1.0, _MOST[0] / width, _MOST[1] / height)
    if share == 1:
        return image
    size = max(1, round(share * width)), max(1, round(share * height))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
