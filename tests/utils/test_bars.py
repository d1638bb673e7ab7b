"""Scores out of files, as a table and as bars of the right heights."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from src.errors import UserError
from src.utils import bars
from src.utils.bars import Scores, draw_bars, read_scores, table

PUBLISHED = Path(__file__).resolve().parents[2] / "hgpose-ae" / "published"

OURS = Scores("ours", {"AP": 0.5, "APM": math.nan, "AR": 1.0})
THEIRS = Scores("theirs $a$", {"AP": 0.593, "AP50": 0.82})


def test_files(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"title": "Mine", "figures": {"AP": 0.5, "APM": None, "AR": 1}}))
    scores = read_scores(path)
    assert scores.label == "Mine" and scores.figures["AP"] == 0.5 and math.isnan(scores.figures["APM"])
    assert read_scores(path, "other").label == "other"
    path.write_text(json.dumps({"figures": {"AP": 0}}))
    assert read_scores(path).label == "mine"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "holds no figures"),
        ('{"figures": {}}', "holds no figures"),
        ('{"figures": {"AP": 59.3}}', "AP is 59.3, not a share from 0 to 1"),
        ('{"figures": {"AP": "high"}}', "AP is 'high', not a share"),
        ("{", "damaged or no JSON"),
    ],
)
def test_files_without_figures(tmp_path, content, message):
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_scores(path)


def test_published_figures_can_be_read():
    scores = [read_scores(path) for path in sorted(PUBLISHED.glob("*.json"))]
    assert {each.figures["AP"] for each in scores} == {0.593, 0.518, 0.566}
    assert len({each.label for each in scores}) == len(scores)


def test_table():
    assert table([OURS, THEIRS]).splitlines() == [
        "               AP    APM     AR   AP50",
        "ours         50.0      –  100.0      –",
        "theirs $a$   59.3      –      –   82.0",
    ]


def test_bars_stand_side_by_side(tmp_path, monkeypatch):
    figures: list[Any] = []
    monkeypatch.setattr(bars, "save_figure", lambda figure, out: figures.append(figure))
    draw_bars([OURS, THEIRS], tmp_path / "bars.png")
    (panel,) = figures[0].axes
    assert [label.get_text() for label in panel.get_xticklabels()] == ["AP", "APM", "AR", "AP50"]
    ours, theirs = panel.containers
    assert [bar.get_height() for bar in ours] == pytest.approx([50, math.nan, 100, math.nan], nan_ok=True)
    assert [bar.get_height() for bar in theirs] == pytest.approx([59.3, math.nan, math.nan, 82], nan_ok=True)
    ends = [bar.get_x() + bar.get_width() for bar in ours]
    assert all(end <= bar.get_x() < end + 0.1 for end, bar in zip(ends, theirs, strict=True))
    (legend,) = figures[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["ours", "theirs $a$"]


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_figures_are_files_and_the_same_again(tmp_path, suffix):
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        draw_bars([OURS, THEIRS], path)
    assert len({path.read_bytes() for path in paths}) == 1
