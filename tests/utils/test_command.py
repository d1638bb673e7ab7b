"""What wraps every program."""

import os
import subprocess
import sys

import pytest

from tests.task_runner import ROOT

PROGRAM = "from src.utils.command import command\ncommand(lambda argv: print('done'))()"


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes the output")
def test_a_program_ends_well_with_its_output_closed() -> None:
    words = ["sh", "-c", '"$0" -c "$1" >&-', sys.executable, PROGRAM]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes the output")
def test_a_program_does_its_work_where_nobody_can_be_told() -> None:
    program = """
from src.utils.command import command, note
from src.utils.progress import Progress

def main(argv):
    note("this is no result")
    with Progress("work", 1) as progress:
        progress.advance(str)
    print("done")

command(main)()
"""
    words = ["sh", "-c", '"$0" -c "$1" 2>&-', sys.executable, program]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "done\n")


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict"])
def test_a_name_that_cannot_be_shown_is_printed_as_python_writes_it(encoding: str) -> None:
    program = "from src.utils.command import command\ncommand(lambda argv: print('caf\\udce9'))()"
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, env=environment)
    assert (ended.returncode, ended.stdout.strip()) == (0, rb"caf\udce9")
