"""The compiled part of associative embedding: its loss and its grouping.

`python build.py` in this folder builds it, and so does installing the project where a compiler is found. All
of it has a plain form as well. POSE_AE_BACKEND says which is used: `extension`, `plain`, or `auto`, which is
the extension where it is built from the source that lies here.
"""

import functools
import importlib
import os
from types import ModuleType
from typing import NamedTuple

from src.errors import UserError, suggest
from src.extensions.AE.build import NAME, fingerprint

VARIABLE = "POSE_AE_BACKEND"
BACKENDS = ("auto", "extension", "plain")
_REMEDY = "`python build.py` in src/extensions/AE builds it"


class Choice(NamedTuple):
    """The compiled module, with cffi's `ffi` and `lib`, or None for the plain form.

    wanted: one of BACKENDS. why: the reason in a few words.
    """

    module: ModuleType | None
    wanted: str
    why: str


@functools.cache
def choose() -> Choice:
    """What POSE_AE_BACKEND asks for and this installation has, for all of a process.

    Raises UserError for another value, and where the extension is asked for but cannot be used.
    """
    wanted = os.environ.get(VARIABLE) or "auto"
    if wanted not in BACKENDS:
        raise UserError(f"{VARIABLE} is {', '.join(BACKENDS)}, not {wanted!r}{suggest(wanted, BACKENDS)}")
    if wanted == "plain":
        return Choice(None, wanted, f"{VARIABLE} is plain")
    module, why = find()
    if wanted == "extension" and module is None:
        raise UserError(f"{VARIABLE} is extension, but {why}")
    return Choice(module, wanted, why)


def find() -> tuple[ModuleType | None, str]:
    """The extension if it can be used, and what is known of it."""
    try:
        module = importlib.import_module(NAME)
    except ModuleNotFoundError:
        return None, f"the extension is not built; {_REMEDY}"
    except ImportError as error:
        return None, f"the extension cannot be loaded: {error}; {_REMEDY} anew"
    if module.ffi.string(module.lib.ae_fingerprint).decode() != fingerprint():
        return None, f"the extension is not of the present source; {_REMEDY} anew"
    return module, "built from the present source"
