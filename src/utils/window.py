"""A window that shows pictures as they are finished, where there is a display."""

import os
import sys
from contextlib import suppress

import cv2
import numpy as np

from src.errors import UserError

_ENDS = (ord("q"), 27)  # q and Escape
_TITLE = "predict: q ends, any key goes on"


class Window:
    """A window. UserError where none can be shown."""

    def __init__(self) -> None:
        if not cv2.currentUIFramework():
            raise UserError(
                "this OpenCV was built without windows (opencv-python has them, opencv-python-headless has"
                " not); without --show all is written to files"
            )
        if sys.platform.startswith("linux") and not os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY"}:
            raise UserError("there is no display to show pictures on; without --show all is written to files")
        cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        self._was_seen = False

    def show(self, image: np.ndarray, moving: bool) -> bool:
        """Show a picture (H, W, 3) uint8 RGB; False when the user wants no more.

        One of a video makes way for the next, another one stays until a key is hit.
        """
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
