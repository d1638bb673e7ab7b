"""`python -m src.models`: the table of networks with their sizes."""

import pytest

from src.models.__main__ import main


def test_sizes_are_those_published(capsys):
    main(["hg-256", "simple"])
    head, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["name", "input", "parameters", "multiply-adds", "published", "by"]
    assert [row[:5] for row in rows] == [
        ["hg-256", "256", "3,211,920", "4.278", "G"],
        ["simple", "256", "33,999,440", "7.234", "G"],
    ]
    assert rows[1][5:] == "Xiao, Wu and Wei, ECCV 2018".split()
    main(["deeppose"])
    assert capsys.readouterr().out.splitlines()[1].split()[:4] == ["deeppose", "256", "23,573,600", "5.338"]


@pytest.mark.slow
def test_speed_is_measured(capsys):
    main(["hg-256-no-skip", "ief", "--measure", "--device", "cpu", "--amp", "none"])
    machine, head, *rows = capsys.readouterr().out.splitlines()
    assert machine.startswith("CPU, ") and "float32, 1 at once" in machine
    assert "images/s" in head and len(rows) == 2
    assert all(float(row.split()[5]) > 0 for row in rows)


def test_mistakes_are_one_line(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["hgg"])
    assert stopped.value.code == 2 and "did you mean 'hg'?" in capsys.readouterr().err
