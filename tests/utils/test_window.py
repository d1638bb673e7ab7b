"""A window that the user closes ends quietly, whatever draws it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from src.utils import window
from src.utils.window import Window

Open = Callable[..., Window]
PICTURE = np.zeros((4, 4, 3), np.uint8)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Open:
    """opened(…) is a window that answers so, one after the other, when it is asked whether it is seen."""

    def gone(*_: object) -> None:
        raise window.cv2.error("NULL guiReceiver (please create a window)")

    def make(*answers: float | None) -> Window:
        left = iter(answers)
        fakes: dict[str, Callable[..., Any]] = {
            "currentUIFramework": lambda: "QT", "namedWindow": lambda *_: None, "imshow": lambda *_: None,
            "waitKey": lambda _: -1, "destroyWindow": gone,
            "getWindowProperty": lambda *_: gone() if (answer := next(left)) is None else answer,
        }  # fmt: skip
        for name, fake in fakes.items():
            monkeypatch.setattr(window.cv2, name, fake, raising=False)
        monkeypatch.setenv("DISPLAY", ":0")
        return Window()

    return make


@pytest.mark.parametrize("closed", [0.0, -1.0, None])  # None: an error, as Qt has it
def test_a_window_that_was_closed_wants_no_more(opened: Open, closed: float | None) -> None:
    shown = opened(1.0, closed)
    assert shown.show(PICTURE, moving=True)
    assert not shown.show(PICTURE, moving=True)
    shown.close()


def test_a_window_that_never_says_that_it_is_seen_stays(opened: Open) -> None:
    shown = opened(-1.0, -1.0, -1.0)
    assert all(shown.show(PICTURE, moving=True) for _ in range(3))
