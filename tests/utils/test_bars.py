"""Scores out of files, as a table and as bars of the right heights."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from src.errors import UserError
from src.utils import bars
from src.utils.bars import Scores, draw_bars, draw_curves, latex, markdown, read_all, table

PUBLISHED = Path(__file__).resolve().parents[2] / "hgpose-ae" / "published"


def read_scores(path: Path, label: str | None = None) -> Scores:
    """The first scores in a file."""
    (scores,) = read_all([path], [label] if label else None, None)
    return scores


OURS = Scores("ours", {"AP": 0.5, "APM": math.nan, "AR": 1.0})
THEIRS = Scores("theirs $a$", {"AP": 0.593, "AP50": 0.82})


def test_files(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"title": "Mine", "figures": {"AP": 0.5, "APM": None, "AR": 1}}))
    scores = read_scores(path)
    assert scores.label == "Mine" and scores.figures["AP"] == 0.5 and math.isnan(scores.figures["APM"])
    assert read_scores(path, "other").label == "other"
    again = Scores("Mine", {"AP": 0.5}, {"AP": (0.4, 0.6)})
    path.write_text(json.dumps(again.content()))
    assert read_scores(path) == again and "50.0 (40.0–60.0)" in table([again])
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


def protocol(name: str, mean: float, interval: list[float] | None = None) -> dict[str, Any]:
    """What test.py --json writes about one protocol."""
    key = f"{name.replace('-', '_')}_mean"
    row = {"all": mean, "all_count": 9, "visible": 1.0} | ({"all_interval": interval} if interval else {})
    return {
        "protocol": name,
        "groups": {"Wrist": {"all": None, "all_count": 0}},
        "means": {key: row},
        "curves": {"threshold": [0, 0.1], key: [0, mean], "Wrist": [None, None], "neck": [0, 9]},
    }


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Files of two runs, by one protocol and by two."""
    paths = [tmp_path / "one.json", tmp_path / "two_b.json"]
    paths[0].write_text(json.dumps(protocol("pck-box", 25.0, [20.0, 30.0])))
    paths[1].write_text(json.dumps(protocol("pck", 75.0) | {"further": [protocol("pck-box", 50.0)]}))
    return paths


def test_files_of_protocols(two):
    one, other = read_all(two, None, None)
    assert one.label == "one" and one.intervals == {"mean": (0.2, 0.3)}
    assert one.figures["mean"] == 0.25 and math.isnan(one.figures["Wrist"]) and other.figures["mean"] == 0.5
    assert read_scores(two[1], "x").figures["mean"] == 0.75 and read_scores(two[1], "x").label == "x"
    with pytest.raises(UserError, match=r"one\.json holds no figures by --protocol pck$"):
        read_all(two, None, "pck")
    two[0].write_text(json.dumps({"figures": {"AP": 0.1}}))
    with pytest.raises(UserError, match=r"no protocol in common .*one.json: ap; .*two_b.json: pck, pck-box"):
        read_all(two, None, None)


@pytest.mark.parametrize(
    "change",
    [
        {"means": {"pck_mean": {}}, "groups": {}},
        {"means": {"pck_mean": {"all": 1.0, "all_interval": ["a", "b"]}}},
        {"means": {"pck_mean": {"all": 1.0, "all_interval": 3}}},
        {"means": {"pck_mean": {"all": [1]}}},
        {"means": 1},
        {"curves": [1]},
        {"curves": {"threshold": ["a"]}},
        {"further": [1]},
        {"groups": 1, "figures": {"AP": 1}, "intervals": {"AP": 1}},
        {"further": 1},
    ],
)
def test_damaged_files_of_protocols(tmp_path, change):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(protocol("pck", 1.0) | change))
    with pytest.raises(UserError, match=r"a\.json"):
        read_all([path], None, None)


def test_tables_for_papers(two):
    scores = read_all(two, None, None)
    assert table(scores).splitlines() == [
        "                    one  two_b",
        "Wrist                 –      –",
        "mean   25.0 (20.0–30.0)   50.0",
    ]
    assert markdown(scores).splitlines() == [
        "|  | Wrist | mean |",
        "| --- | ---: | ---: |",
        "| one | – | 25.0 (20.0–30.0) |",
        "| two_b | – | **50.0** |",
    ]
    assert latex(scores).splitlines() == [
        r"\begin{tabular}{lrr}",
        r" & Wrist & mean \\",
        r"\hline",
        r"one & – & 25.0 (20.0–30.0) \\",
        r"two\_b & – & \textbf{50.0} \\",
        r"\end{tabular}",
    ]
    strange = [Scores("a|b^c\\ 5%", {"AP": 0.5})]
    assert r"a\|b^c\ 5%" in markdown(strange)
    assert r"a|b\textasciicircum{}c\textbackslash{} 5\%" in latex(strange)
    assert "**" not in markdown(strange), "one run is not the best of several"
    tied = [Scores(label, {"AP": 0.5, "AR": ar}) for label, ar in (("a", 0.2), ("b", 0.3), ("c", 0.3))]
    assert markdown(tied).splitlines()[2:] == [
        "| a | 50.0 | 20.0 |",
        "| b | 50.0 | **30.0** |",
        "| c | 50.0 | **30.0** |",
    ]


def test_curves_over_the_threshold(two, tmp_path, monkeypatch):
    figures: list[Any] = []
    monkeypatch.setattr(bars, "save_figure", lambda figure, out: figures.append(figure))
    scores = read_all(two, None, None)
    draw_curves(scores, [], tmp_path / "curves.png")
    draw_curves(scores, ["neck", "Wrist", "pck_box_mean"], tmp_path / "curves.png", width=4.5)
    titles = [[panel.get_title("left") for panel in figure.axes] for figure in figures]
    assert titles == [["pck box mean", "Wrist"], ["neck", "Wrist", "pck box mean"]]
    first = figures[0].axes[0].lines
    assert [list(line.get_ydata()) for line in first] == [[0, 25], [0, 50]]
    assert list(first[0].get_xdata()) == [0, 0.1]
    (legend,) = figures[1].legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "two_b"]
    assert len({str(line.get_linestyle()) + str(line._dash_pattern) for line in first}) == 2  # also in grey
    draw_curves(scores, ["pck_box_mean"], tmp_path / "curves.png")
    assert [text.get_text() for text in figures[2].axes[0].texts] == ["one", "two_b"]  # where they end
    assert not figures[2].legends
    with pytest.raises(UserError, match=r"no run has a curve of 'nek' .did you mean 'neck'"):
        draw_curves(scores, ["nek"], tmp_path / "curves.png")
