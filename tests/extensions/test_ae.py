"""The extension of associative embedding: built in two ways, chosen, and run under a checker of memory."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from src.errors import UserError
from src.extensions import AE
from src.extensions.AE import build
from tests.compiler import HAS_COMPILER
from tests.task_runner import ROOT

FILE = "_compiled" + sysconfig.get_config_var("EXT_SUFFIX")
NO_COMPILER = {"CC": "/nowhere/cc"}

needs_compiler = pytest.mark.skipif(not HAS_COMPILER, reason="no compiler")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of the project as far as the extension is concerned; returns the extension's folder."""
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    ignored = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__", ".build-*")
    shutil.copytree(ROOT / "src" / "extensions", tmp_path / "src" / "extensions", ignore=ignored)
    return tmp_path / "src" / "extensions" / "AE"


def run(folder: Path, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *argv],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=900,
    )


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != "__pycache__"}


@needs_compiler
def test_build_in_place_says_what_it_built(folder):
    before = files(folder)
    done = run(folder, "build.py")
    assert done.returncode == 0, done.stderr
    assert f"built {FILE}" in done.stdout and "checked: pull 0.95125, push 0.284891" in done.stdout
    assert files(folder) == before | {FILE}


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("double share", "double shore", "CompileError"),
        ("*pull += weight", "*pull -= weight", "computes"),
        ("= 2 * weight * residual", "= 3 * weight * residual", "wrong slopes"),
        ("return status;", "return 7;", "status 7"),
    ],
)
def test_a_build_that_fails_or_computes_wrongly_replaces_nothing(folder, right, wrong, message):
    (folder / FILE).write_text("older")
    before = files(folder)
    source = folder / "loss.c"
    assert right in source.read_text()
    source.write_text(source.read_text().replace(right, wrong))
    done = run(folder, "build.py")
    assert done.returncode == 1 and "error: the extension was not built" in done.stderr
    assert message in done.stderr
    assert files(folder) == before and (folder / FILE).read_text() == "older"


def test_without_a_compiler_building_fails_but_installing_does_not(folder):
    done = run(folder, "build.py", **NO_COMPILER)
    assert done.returncode == 1 and "error: the extension was not built" in done.stderr
    done = run(folder.parents[2], "setup.py", "build_ext", "--inplace", **NO_COMPILER)
    assert done.returncode == 0, done.stderr
    assert 'building extension "src.extensions.AE._compiled" failed' in done.stdout + done.stderr
    assert FILE not in files(folder)


@needs_compiler
def test_installing_writes_the_file_that_building_writes(folder):
    done = run(folder.parents[2], "setup.py", "-q", "build_ext", "--inplace")
    assert done.returncode == 0 and FILE in files(folder), done.stderr
    module = build.load(folder / FILE)
    assert module.ffi.string(module.lib.ae_fingerprint).decode() == build.fingerprint()


@pytest.fixture
def choose(monkeypatch):
    """`AE.choose` for a value of POSE_AE_BACKEND, with nothing remembered."""

    def chosen(value: str) -> AE.Choice:
        monkeypatch.setenv(AE.VARIABLE, value)
        AE.choose.cache_clear()
        return AE.choose()

    yield chosen
    AE.choose.cache_clear()


def test_a_mistyped_backend_is_told(choose):
    with pytest.raises(UserError, match=r"extension, plain, not 'extention' \(did you mean 'extension'"):
        choose("extention")


def test_the_extension_is_chosen_where_it_is(choose, extension, monkeypatch):
    monkeypatch.setitem(sys.modules, build.NAME, extension)
    for value in ("auto", "", "extension"):
        assert choose(value).module is extension
    assert choose("plain") == (None, "plain", "POSE_AE_BACKEND is plain")


def test_a_build_of_another_source_is_not_used(choose, extension, monkeypatch):
    monkeypatch.setitem(sys.modules, build.NAME, extension)
    monkeypatch.setattr(AE, "fingerprint", lambda: "another")
    assert choose("auto").module is None and "not of the present source" in choose("auto").why
    with pytest.raises(UserError, match=r"not of the present source; `python build\.py`"):
        choose("extension")


def test_without_a_build_the_plain_form_computes(choose, monkeypatch):
    monkeypatch.setattr(AE, "NAME", "src.extensions.AE.nothing")
    assert choose("auto").module is None and "not built; `python build.py`" in choose("auto").why
    with pytest.raises(UserError, match="is extension, but the extension is not built"):
        choose("extension")


def test_a_build_that_cannot_be_loaded_is_told(choose, monkeypatch, tmp_path):
    (tmp_path / f"broken{sysconfig.get_config_var('EXT_SUFFIX')}").write_bytes(b"no library")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(AE, "NAME", "broken")
    assert choose("auto").module is None and "cannot be loaded" in choose("auto").why


def sanitizer() -> str:
    """What is to be loaded before all else for AddressSanitizer; nothing if gcc has it not."""
    if not HAS_COMPILER or shutil.which("gcc") is None or not sys.platform.startswith("linux"):
        return ""
    libraries = ("libasan.so", "libstdc++.so.6")  # without the second it finds no exceptions of C++
    paths = [
        subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
        for name in libraries
    ]
    return " ".join(paths) if all(map(os.path.isabs, paths)) else ""


OVERRUN = """
import sys
from pathlib import Path
from src.extensions.AE.build import load
module = load(Path(sys.argv[1]))
ffi, lib = module.ffi, module.lib
cells, labelled = ffi.new("int64_t[]", [3, 0]), ffi.new("uint8_t[]", [1])
batch = ffi.new("ae_batch *", [1, 1, 1, 1, 4, 1, [4, 4, 4, 4, 1], 1, cells, labelled])
outputs = [ffi.new("double[]", size) for size in (1, 1, 2)]
lib.ae_loss(batch, ffi.new("double[]", int(sys.argv[2])), *outputs)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sanitizer(), reason="no AddressSanitizer")
def test_memory_is_used_as_it_may_be(tmp_path):
    """Run what tests the extension on a build that ends at the first wrong access, or undefined result."""
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover", "-fno-omit-frame-pointer", "-g"]
    built = str(build.build(tmp_path, flags))
    environment = {
        "POSE_TEST_EXTENSION": built,
        "LD_PRELOAD": sanitizer(),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python leaves much to the end of the process
    }
    assert run(ROOT, "-c", OVERRUN, built, "4", **environment).returncode == 0
    noticed = run(ROOT, "-c", OVERRUN, built, "3", **environment)
    assert noticed.returncode != 0 and "heap-buffer-overflow" in noticed.stderr

    tested = ["-k", "extension and not compile", "tests/losses", "tests/evaluation"]
    done = run(ROOT, "-m", "pytest", "-s", "-m", "not slow", *tested, **environment)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout + done.stderr
