"""What tests share: real data beside the checkout, where it exists; the compiled extension."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from src.extensions import AE
from src.extensions.AE.build import NAME, build, load
from tests.compiler import HAS_COMPILER

BESIDE = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Small networks are slower on several threads, and two test processes would fight for the cores."""
    torch.set_num_threads(1)


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """`shared_data("lspet")` is the folder of a real sample; the test skips where there is none."""

    def folder(name: str) -> Path:
        path = BESIDE / "data" / name
        if not path.is_dir():
            pytest.skip(f"no sample of {name} beside the checkout; data/README.md says how to get it")
        return path

    return folder


@pytest.fixture
def shared_fixtures() -> Path:
    """The folder of checkpoint fixtures; the test skips where there is none."""
    path = BESIDE / "fixtures"
    if not path.is_dir():
        pytest.skip("no checkpoint fixtures beside the checkout")
    return path


@pytest.fixture(scope="session")
def extension(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The compiled extension of the present source, built where it is not; skips without a compiler.

    POSE_TEST_EXTENSION names the file of another build of it to be tested.
    """
    if path := os.environ.get("POSE_TEST_EXTENSION"):
        return load(Path(path))
    module, why = AE.find()
    if module is None and not HAS_COMPILER:
        pytest.skip(f"{why}; there is no compiler")
    return module or load(build(tmp_path_factory.mktemp("extension")))


@pytest.fixture(params=["plain", "extension"])
def ae_form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both forms of associative embedding, each chosen for a test by POSE_AE_BACKEND."""
    if request.param == "extension":
        monkeypatch.setitem(sys.modules, NAME, request.getfixturevalue("extension"))
    monkeypatch.setenv(AE.VARIABLE, request.param)
    AE.choose.cache_clear()
    yield request.param
    AE.choose.cache_clear()
