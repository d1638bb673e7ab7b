"""Damaged files of data sets are read or refused in one line; `python -m bench.fuzz` tries many more."""

import random
import tempfile
from pathlib import Path

import pytest

from bench import fuzz

FILES = 12  # of each kind: more than 200 in all


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_damaged_files_are_read_or_refused(name: str) -> None:
    for content, end in fuzz.trials(name, range(FILES), seed=1):
        assert end in fuzz.GOOD, f"{content[:200]!r}: {end}"


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_whole_files_are_read(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fuzz.TARGETS[name].make(Path(folder))
        fuzz.TARGETS[name].read(Path(folder))


def test_changes_are_those_of_the_seed() -> None:
    data = bytes(range(256)) * 4 + b"imgname 123 center -4.5"
    first, same, other = (fuzz.changed(data, random.Random(seed)) for seed in (1, 1, 2))
    assert first == same != other != data


@pytest.mark.slow
def test_a_process_that_dies_is_a_failure() -> None:
    ends, wrong = fuzz.run(fuzz.Chunk("coco list", range(3), seed=1))
    assert sum(ends.values()) == 3 and not ends[fuzz.FAILED] and not wrong
    ends, wrong = fuzz.run(fuzz.Chunk("no such kind", range(1), seed=1))
    assert ends == {fuzz.FAILED: 1} and "its process ended" in wrong[0]
