"""A window that the user closes ends quietly, whatever draws it."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from src.errors import UserError
from src.utils import window
from src.utils.window import Window
from tests.task_runner import ROOT

Open = Callable[..., Window]
PICTURE = np.zeros((4, 4, 3), np.uint8)
FRAMEWORK = window.cv2.currentUIFramework()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Open:
    """opened(…) is a window that answers so, one after the other, when it is asked whether it is seen."""

    def gone(*_: object) -> None:
        raise window.cv2.error("NULL guiReceiver (please create a window)")

    def make(*answers: float | None) -> Window:
        left = iter(answers)
        fakes: dict[str, Callable[..., Any]] = {
            "currentUIFramework": lambda: "QT", "namedWindow": lambda *_: None, "imshow": lambda *_: None,
            "resizeWindow": lambda *_: None,
            "waitKey": lambda _: -1, "destroyWindow": gone,
            "getWindowProperty": lambda *_: gone() if (answer := next(left)) is None else answer,
        }  # fmt: skip
        for name, fake in fakes.items():
            monkeypatch.setattr(window.cv2, name, fake, raising=False)
        monkeypatch.setattr(window, "_has_display", lambda: True)
        return Window()

    return make


@pytest.mark.parametrize("closed", [0.0, -1.0, None])  # None: an error, as Qt has it
def test_a_window_that_was_closed_wants_no_more(opened: Open, closed: float | None) -> None:
    shown = opened(1.0, closed)
    assert shown.show(PICTURE, moving=True)
    assert not shown.show(PICTURE, moving=True)
    shown.close()


def test_a_window_is_as_large_as_the_picture_within_limits(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps what size the user gave it as long as pictures of one size follow each other."""
    shown, sizes, pictures = opened(*[1.0] * 5), list[tuple[int, ...]](), list[tuple[int, ...]]()
    monkeypatch.setattr(window.cv2, "resizeWindow", lambda _, *size: sizes.append(size), raising=False)
    monkeypatch.setattr(
        window.cv2, "imshow", lambda _, image: pictures.append(image.shape[1::-1]), raising=False
    )
    for height, width in ((480, 640), (480, 640), (2000, 1000), (1000, 4000), (6000, 2)):
        assert shown.show(np.zeros((height, width, 3), np.uint8), moving=True)
    assert sizes == [(640, 480), (400, 800), (1280, 320), (1, 800)]
    assert pictures == [(640, 480), *sizes]


def test_an_opencv_without_windows_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window.cv2, "currentUIFramework", lambda: "", raising=False)
    with pytest.raises(UserError, match=r"this OpenCV was built without windows .*headless"):
        Window()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays have names on Linux alone")
@pytest.mark.parametrize("display", [None, ":93", "nowhere.invalid:0"])
def test_a_display_that_cannot_be_reached_is_none(
    monkeypatch: pytest.MonkeyPatch, display: str | None
) -> None:
    """Qt would end the process."""
    monkeypatch.setattr(window.cv2, "currentUIFramework", lambda: "QT", raising=False)
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    if display is not None:
        monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(UserError, match="there is no display"):
        Window()


SHOWN = """
import numpy as np
from src.utils.window import Window
opened = Window()
assert all(opened.show(np.zeros((240, 320, 3), np.uint8), moving=True) for _ in range(3))
opened.close()
"""


@pytest.mark.skipif(
    shutil.which("xvfb-run") is None or not FRAMEWORK, reason="needs Xvfb, and windows in OpenCV"
)
def test_a_window_opens_where_there_is_a_display() -> None:
    """Of a server that does not begin anew when the look for a display ends, as if it had other clients."""
    server = "-screen 0 1280x1024x24 -noreset"
    words = ["xvfb-run", "-a", "-s", server, sys.executable, "-c", SHOWN]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_window_that_never_says_that_it_is_seen_stays(opened: Open) -> None:
    shown = opened(-1.0, -1.0, -1.0)
    assert all(shown.show(PICTURE, moving=True) for _ in range(3))
