"""The tasks have one outline, and what they share beyond it is called, not copied."""

import ast
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from tests.task_runner import ROOT

SCRIPTS = sorted(ROOT.glob("*/train.py"))
PAIRS = list(combinations(SCRIPTS, 2))
MOST = 5  # equal lines in a row


def statements(script: Path) -> list[str]:
    """The lines of a script without imports, comments and documentation."""
    text = script.read_text(encoding="utf-8")
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        documents = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if documents or isinstance(node, ast.Import | ast.ImportFrom):
            assert isinstance(node, ast.stmt)
            left_out.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return [line for number, line in lines if line and line[0] != "#" and number not in left_out]


def blocks(one: list[str], other: list[str]) -> Iterator[list[str]]:
    """The blocks of more than MOST lines that are in both."""
    size = MOST + 1
    seen = {tuple(other[i : i + size]) for i in range(len(other) - MOST)}
    for i in range(len(one) - MOST):
        if tuple(one[i : i + size]) in seen:
            yield one[i : i + size]


def test_blocks_are_found() -> None:
    lines = list("abcdefgh")
    assert list(blocks(lines, ["x", *"abcdef", "y"])) == [list("abcdef")]
    assert not list(blocks(lines, ["x", *"abcde", "y"]))


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "-".join(p.parent.name for p in pair))
def test_no_two_tasks_repeat_a_block(pair: tuple[Path, Path]) -> None:
    """The outline is what stands in all of them."""
    outline = set.intersection(*(set(statements(script)) for script in SCRIPTS))
    one, other = ([line for line in statements(script) if line not in outline] for script in pair)
    assert len(one) > MOST and not list(blocks(one, other))
