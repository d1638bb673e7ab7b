"""Run the command lines of tasks: in this process where errors are looked at, in another one otherwise."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]

# A network and a data set so small that an epoch takes a second
TINY = """--stacks 1 --feats 16 --depth 3 --input-res 64 --synth-size 24 8 --batch-size 4
          --iters 3 --valid-iters 1 --workers 0 --log-every 2""".split()


def load_script(path: Path) -> ModuleType:
    """A script as a module. Each task has its own `opts`, so that of another task is forgotten first."""
    sys.modules.pop("opts", None)
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(f"script_{path.parent.name}_{path.stem}", path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(path.parent))


def main_of(script: str) -> Callable[[list[str]], None]:
    """`main_of("hgpose/train.py")(argv)` runs it here; a mistake of the user is SystemExit(2)."""
    return load_script(ROOT / script).main


def run_script(script: str, *argv: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
    """Run a script as a user does, from its folder; stdout and stderr are captured."""
    path = ROOT / script
    return subprocess.run(
        [sys.executable, path.name, *argv], cwd=path.parent, capture_output=True, text=True, timeout=timeout
    )
