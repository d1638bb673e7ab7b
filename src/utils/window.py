"""A window that shows pictures as they are finished, where there is a display."""

import os
import sys

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

    def show(self, image: np.ndarray, moving: bool) -> bool:
        """Show a picture (H, W, 3) uint8 RGB; False when the user wants no more.

        One of a video makes way for the next, another one stays until a key is hit.
        """
        cv2.imshow(_TITLE, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        while True:
            key = cv2.waitKey(1 if moving else 50)
            if key in _ENDS or cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) < 1:
                return False
            if moving or key >= 0:
                return True

    def close(self) -> None:
        cv2.destroyWindow(_TITLE)
