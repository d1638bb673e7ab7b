"""A live bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Callable

from tqdm import tqdm

from src.utils.command import note
from src.utils.processes import is_main

PLAIN_LINE_SECONDS = 30.0


class Progress:
    """Progress of one epoch of `total` iterations, None if there is no end, of which `done` are done already.

    What stands behind the bar comes from a function, which is called only when the display changes: it may
    read the device. Of several processes only the main one shows anything.
    """

    def __init__(self, title: str, total: int | None, done: int = 0) -> None:
        self.title, self.total, self.done, self.first = title, total, done, done
        self.live = is_main() and sys.stderr is not None and sys.stderr.isatty()
        self.start = self.shown = time.monotonic()
        self.bar = (
            tqdm(total=total, initial=done, desc=title, leave=False, dynamic_ncols=True)
            if self.live
            else None
        )

    def advance(self, describe: Callable[[], str]) -> None:
        """One iteration more."""
        self.done += 1
        now = time.monotonic()
        if self.bar is not None:
            self.bar.update()
            if now - self.shown > 0.5:
                self.bar.set_postfix_str(describe(), refresh=False)
                self.shown = now
        elif is_main() and now - self.shown > PLAIN_LINE_SECONDS:
            of_all, eta = "", ""
            if self.total is not None:
                left = (now - self.start) / (self.done - self.first) * max(0, self.total - self.done)
                of_all, eta = f"/{self.total}", f" ETA {clock(left)}"
            note(f"{self.title} {self.done}{of_all} {describe()}{eta}")
            self.shown = now

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def clock(seconds: float) -> str:
    """Seconds as 1:02:03 or 2:03."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
