"""The one error that a user can mend: a line that says what is wrong, where, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Wrong input or options. Command lines print it as `error: …` and exit with status 2."""


def suggest(word: str, known: Iterable[str]) -> str:
    """The text " (did you mean 'x'?)" with the known word nearest to `word`, or "" when none is near."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{near[0]}'?)" if near else ""
