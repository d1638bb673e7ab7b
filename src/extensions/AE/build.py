"""Build the extension in place: `python build.py` in this folder. Installing the project does the same.

All C files of the folder become one module, `_compiled`, through cffi; `declarations.h` says what Python may
call. The module keeps a fingerprint of its source, by which a stale one is noticed.
"""

import hashlib
import importlib.machinery
import importlib.util
import os
import re
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).resolve().parent
NAME = "src.extensions.AE._compiled"
# A product fused with a sum would round differently on some processors. Nobody looks at errno or at traps:
# without them square roots and comparisons become vectors, with the same results.
_GNU_FLAGS = ("-O3", "-Wall", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
FLAGS = ("/O2",) if sys.platform == "win32" else _GNU_FLAGS


def fingerprint() -> str:
    """A hash of the source as it lies here."""
    parts = (path.name.encode() + b"\0" + path.read_bytes() for path in _sources())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def builder(optional: bool = True, flags: Sequence[str] = ()) -> Any:
    """What setup.py builds, as a `cffi.FFI`. optional: a failure is a warning of setuptools, not an error.

    flags: for compiler and linker, beside FLAGS.
    """
    from cffi import FFI  # here, so that a training that asks for the fingerprint does not wait for it

    header, *files = _sources()
    declared = re.sub(r"^#.*", "", header.read_text("utf-8"), flags=re.MULTILINE)
    stamp = f'static const char ae_fingerprint[65] = "{fingerprint()}";'
    ffi = FFI()
    ffi.cdef(declared + "static const char ae_fingerprint[65];")
    ffi.set_source(
        NAME,
        "\n".join([*(f'#include "{path.name}"' for path in files), stamp]),
        include_dirs=[str(HERE)],
        extra_compile_args=[*FLAGS, *flags],
        extra_link_args=list(flags),
        optional=optional,
        py_limited_api=False,  # else the file would have another name when setup.py builds it
    )
    return ffi


def build(folder: Path = HERE, flags: Sequence[str] = ()) -> Path:
    """Compile the extension into a folder, from where it takes the place of an older one when it has passed
    `check` (with `flags` it is not checked: such a build may need a program of its own). Returns its path.

    Raises cffi's or the compiler's errors, and RuntimeError if its answers are wrong.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".build-") as scratch:
        built = Path(builder(optional=False, flags=flags).compile(tmpdir=scratch))
        if not flags:
            check(load(built))
        path = folder / built.name
        os.replace(built, path)  # a process that has the old one open keeps it
    return path


def load(path: Path) -> ModuleType:
    """The compiled module in a file."""
    loader = importlib.machinery.ExtensionFileLoader(NAME, str(path))
    spec = importlib.util.spec_from_file_location(NAME, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def check(module: ModuleType) -> tuple[float, float]:
    """Have the module compute a loss known from the authors' code; returns pull and push.

    Tags 0.1 x in a row of cells, one person at cells 3 and 22, another at 10 and 30. Raises RuntimeError if
    the values are others, or do not change as the slopes say.
    """
    ffi, lib = module.ffi, module.lib
    cells = ffi.new("int64_t[]", [3, 0, 22, 0, 10, 0, 30, 0])
    labelled = ffi.new("uint8_t[]", [1] * 4)
    batch = ffi.new("ae_batch *", [1, 1, 2, 1, 32, 2, [64, 64, 32, 32, 1], 1, cells, labelled])
    pull, push, slopes = (ffi.new("double[]", size) for size in (1, 1, 8))

    def loss(tags: list[float]) -> tuple[float, float]:
        if status := lib.ae_loss(batch, ffi.new("double[]", tags), pull, push, slopes):
            raise RuntimeError(f"the built extension fails with status {status}")
        return pull[0], push[0]

    step, tags = 1e-6, [0.1 * x for x in range(32)] * 2
    values = loss(tags)
    rises = (slopes[0] * step, slopes[1] * step)  # by the tag of the first person's first joint
    tags[3] += step
    moved = loss(tags)
    known = (0.95125, 0.284891)
    wrong = [a for a, b in zip(values, known, strict=True) if abs(a - b) > 1e-6]
    wrong += [c for a, b, c in zip(values, moved, rises, strict=True) if abs(b - a - c) > 1e-9]
    if wrong:
        raise RuntimeError(f"the built extension computes {values}, not {known}, or wrong slopes {rises}")
    return values


def _sources() -> list[Path]:
    """The header and the C files."""
    return [HERE / "declarations.h", *sorted(HERE.glob("*.c"))]


def main() -> None:
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "the platform's compiler"
    files = " ".join(path.name for path in _sources())
    print(f"{files}: {compiler} {' '.join(FLAGS)}", flush=True)
    try:
        path = build()
    except Exception as error:  # of cffi, setuptools, the compiler; all of them mean the same here
        raise SystemExit(f"error: the extension was not built: {error}") from error
    pull, push = check(load(path))
    print(f"built {path.name}, {path.stat().st_size:,} bytes, source {fingerprint()[:12]}")
    print(f"checked: pull {pull:.5f}, push {push:.6f}, as they should be")


if __name__ == "__main__":
    main()
