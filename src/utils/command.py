"""How every command line ends: 0, or one line and status 2 for what the user can mend."""

import functools
import os
import sys
from collections.abc import Callable, Sequence

from src.errors import UserError

Main = Callable[[Sequence[str] | None], None]


def command(main: Main) -> Callable[..., None]:
    """Wrap `main(argv)`: a UserError becomes `error: …` on stderr and exit status 2, Ctrl-C status 130."""

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> None:
        try:
            main(argv)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from None
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise SystemExit(130) from None
        except BrokenPipeError:  # e.g. `… | head`: what is still to be flushed goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1) from None

    return wrapped


def note(text: str) -> None:
    """Tell the user something that is no result: one line on stderr."""
    print(text, file=sys.stderr, flush=True)
