"""Loading is inert: whatever a checkpoint file holds, it is refused in a line, and nothing of it runs."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.models import hostile
from tests.task_runner import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory by Linux's means"),
]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process that may take 2 GB more than it has made of all the files; see hostile.py."""
    folder = tmp_path_factory.mktemp("hostile")
    groups = {
        "call": hostile.calls(folder / "mark"),
        "lie": hostile.lies(),
        "network": hostile.impossible_networks(),
        "names": hostile.old_names(),
    }
    for group, files in groups.items():
        for name, content in files.items():
            (folder / f"{group} {name.replace('/', ' ')}.pth").write_bytes(content)
    command = [sys.executable, "-m", "tests.models.hostile", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) | {"ran": (folder / "mark").exists()}


def test_all_are_refused_in_a_line(outcome: dict[str, Any]) -> None:
    for way, said in outcome["said"].items():
        assert len(said) > 75
        for file, line in said.items():
            if way == "read_checkpoint" and file.startswith("network "):
                assert line == "opened"  # only opening the network shows what is wrong
                continue
            assert file in line or "no skeleton has" in line, (way, file, line)
            assert line.strip().count("\n") == 0 and len(line) < 500, (way, file, line)
            # neither accepted, nor a traceback, nor refused only because memory ran out
            assert not line.startswith(("opened", "raised")) and "memory than there is" not in line, (
                way,
                file,
                line,
            )


def test_what_would_run_is_named(outcome: dict[str, Any]) -> None:
    for way, said in outcome["said"].items():
        for file, line in said.items():
            assert "nothing was executed" in line or not file.startswith("call "), (way, file, line)


def test_nothing_runs_and_memory_stays_small(outcome: dict[str, Any]) -> None:
    assert outcome["events"] == [] and not outcome["ran"]
    assert outcome["megabytes"] < 300  # measured: below 10
