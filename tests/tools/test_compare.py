"""The figure and the table of runs: right values, logs in any state, one line for what is wrong."""

import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from src.utils import curves
from tests.task_runner import load_script

PATH = Path(__file__).resolve().parents[2] / "tools" / "compare.py"


compare = load_script(PATH)


def row(epoch: int, accuracy: float | str, **more: Any) -> dict[str, Any]:
    """A row of log.csv, as hgpose writes it; "" is an epoch without validation."""
    train = 0.01 * epoch
    head = {"epoch": epoch, "step": 100 * epoch, "seconds": 180.0 * epoch, "lr": 0.001}
    losses = {"train_loss": 1 / epoch, "train_accuracy": train, "valid_loss": accuracy and 2 / epoch}
    return {**head, **losses, "valid_accuracy": accuracy, **more}


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write(name, rows, **options) makes a run in tmp_path/exp and returns its folder."""

    def run(name: str, rows: list[dict[str, Any]], **options: Any) -> Path:
        folder = tmp_path / "exp" / name
        folder.mkdir(parents=True, exist_ok=True)
        if rows:
            with open(folder / "log.csv", "w", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        stored = {"task": name.split("/")[0], "options": {"exp": name, **options}, "device": "cpu"}
        (folder / "options.json").write_text(json.dumps(stored))
        return folder

    return run


@pytest.fixture
def two(write: Write) -> None:
    """Two tasks with different columns, the second validated every other epoch."""
    rows = [row(epoch, accuracy) for epoch, accuracy in enumerate([0.1, 0.415, 0.3], 1)]
    write("hgpose/a", rows, lr=0.001, **{"batch-size": 16, "epochs": 3, "workers": 0})
    rows = [row(1, "", k_t=0.0), row(2, 0.25, k_t=0.1), row(3, "", k_t=0.2), row(4, 0.5, k_t=0.15)]
    write("advpose/b", rows, lr=0.0005, gamma=0.9, **{"batch-size": 16, "epochs": 4, "workers": 2})


class Outcome:
    """What a command line did: its exit status, and what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
        self.status: int | str | None = 0
        capsys.readouterr()
        try:
            compare.main(arguments)
        except SystemExit as stopped:
            self.status = stopped.code
        self.out, self.err = capsys.readouterr()


Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str, out: str = "figure.png") -> Outcome:
        where = ["--out", str(tmp_path / out), "--exp-dir", str(tmp_path / "exp")]
        return Outcome(capsys, [*arguments, *where])

    return call


def test_the_table_has_best_values_and_differing_options(two: None, run: Run, tmp_path: Path) -> None:
    outcome = run("hgpose/a", "advpose/b", "--json", str(tmp_path / "table.json"))
    assert outcome.status == 0
    assert [line.split() for line in outcome.out.splitlines()] == [
        "run epoch best valid accuracy at epoch last hours lr epochs".split(),
        "hgpose/a 3 41.5 % 2 30.0 % 0.15 0.001 3".split(),
        "advpose/b 4 50.0 % 4 50.0 % 0.20 0.0005 4".split(),
    ]
    first = json.loads((tmp_path / "table.json").read_text())["runs"][0]
    assert (first["best"], first["best_epoch"], first["last"], first["hours"]) == (0.415, 2, 0.3, 0.15)
    assert first["options"] == {"lr": 0.001, "epochs": 3}


def test_the_best_loss_is_the_lowest(two: None, run: Run) -> None:
    lines = run("hgpose/a", "advpose/b", "--metric", "loss").out.splitlines()
    assert lines[1].split()[:4] == ["hgpose/a", "3", "0.6667", "3"]
    assert lines[2].split()[:4] == ["advpose/b", "4", "0.5", "4"]


def test_a_metric_that_only_some_runs_have(two: None, run: Run) -> None:
    outcome = run("hgpose/a", "advpose/b", "--metric", "k_t", "accuracy", "lr")
    assert outcome.status == 0
    assert outcome.out.splitlines()[1].split()[:5] == ["hgpose/a", "3", "–", "–", "–"]
    assert outcome.out.splitlines()[2].split()[:5] == ["advpose/b", "4", "–", "–", "0.15"]  # no best k_t


HEADS = {"png": b"\x89PNG\r\n", "pdf": b"%PDF", "svg": b"<?xml"}


@pytest.mark.parametrize("suffix", HEADS)
def test_the_suffix_gives_the_format(two: None, run: Run, tmp_path: Path, suffix: str) -> None:
    name = f"new/folder/figure.{suffix}"
    assert run("hgpose/a", "advpose/b", out=name).status == 0
    first = (tmp_path / name).read_bytes()
    assert first.startswith(HEADS[suffix])
    run("hgpose/a", "advpose/b", out=name)
    assert (tmp_path / name).read_bytes() == first  # the same logs, the same file
    assert [path.name for path in (tmp_path / "new/folder").iterdir()] == [f"figure.{suffix}"]


def lines_of(panel: Any, width: float) -> dict[str, tuple[list[float], list[float]]]:
    """x and y of a panel's curves of a width, by colour."""
    return {
        line.get_color(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in panel.get_lines()
        if line.get_linewidth() == width and len(line.get_xdata()) > 1
    }


VALIDATION, TRAINING = 1.8, 0.8  # widths


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are drawn, which are not written."""
    drawn: list[Any] = []
    monkeypatch.setattr(curves, "save_figure", lambda figure, out: drawn.append(figure))
    return drawn


def test_curves_have_the_logged_points(two: None, run: Run, figures: list[Any]) -> None:
    run("hgpose/a", "advpose/b", "--by", "hour")
    accuracy, loss = figures[0].axes
    a, b = curves.COLOURS[:2]
    assert lines_of(accuracy, VALIDATION)[a] == pytest.approx(np.array([[0.05, 0.1, 0.15], [10, 41.5, 30]]))
    assert lines_of(accuracy, VALIDATION)[b] == pytest.approx(np.array([[0.1, 0.2], [25, 50]]))
    assert lines_of(accuracy, TRAINING)[a] == pytest.approx(np.array([[0.05, 0.1, 0.15], [1, 2, 3]]))
    assert lines_of(loss, VALIDATION)[b][1] == pytest.approx([1, 0.5])
    assert loss.get_yscale() == "log" and accuracy.get_yscale() == "linear"  # losses from 2 down to 0.25
    text = [entry.get_text() for entry in figures[0].legends[0].get_texts()]
    assert text == ["validation", "training", "best"]
    assert [text.get_text() for text in accuracy.texts] == ["hgpose/a", "advpose/b"]
    assert [text.get_color() for text in loss.texts] == [a, b]


def test_names_stand_at_the_ends_of_lines_and_not_on_each_other(
    write: Write, run: Run, figures: list[Any]
) -> None:
    ends = [0.5, 0.501, 0.502, 0.2, 0.499, 0.5, 0.9, 0.0]
    for i, end in enumerate(ends):
        write(f"hgpose/run{i}", [row(1, 0.1), row(2, end)])
    run(*(f"hgpose/run{i}" for i in range(len(ends))), "--metric", "accuracy", "--width", "4")
    (panel,) = figures[0].axes
    figures[0].draw_without_rendering()
    boxes = {text.get_text(): text.get_window_extent() for text in panel.texts}
    assert set(boxes) == {f"hgpose/run{i}" for i in range(len(ends))}
    by_height = sorted(boxes, key=lambda name: boxes[name].y0)
    for below, above in pairwise(by_height):
        assert boxes[below].y1 <= boxes[above].y0 + 1  # pixels: a letter's foot may touch
    accuracies = [ends[int(name[-1])] for name in by_height]
    assert accuracies == sorted(accuracies)
    frame = panel.get_window_extent()
    assert all(box.x0 > frame.x1 and box.x1 <= figures[0].bbox.x1 for box in boxes.values())
    middle = (boxes["hgpose/run6"].y0 + boxes["hgpose/run6"].y1) / 2  # who is alone stays where the line ends
    assert abs(middle - panel.transData.transform((2, 90))[1]) < 4


def test_places_move_as_little_as_can_be() -> None:
    assert curves.apart([0.1, 0.9], 0.1) == [0.1, 0.9]
    assert curves.apart([0.5, 0.5, 0.5], 0.1) == pytest.approx([0.4, 0.5, 0.6])
    assert curves.apart([0.98, 1.0], 0.1) == pytest.approx([0.9, 1.0])  # the border stops them
    assert curves.apart([0.52, 0.5], 0.1) == pytest.approx([0.56, 0.46])  # in their order
    assert curves.apart([0.0, 0.3, 0.33], 0.1) == pytest.approx([0.0, 0.265, 0.365])
    assert curves.apart([], 0.1) == []


def test_an_axis_is_logarithmic_where_that_shows_more() -> None:
    assert curves.spans_decades([1, 6]) and not curves.spans_decades([1, 4])
    assert not curves.spans_decades([0, 6]) and not curves.spans_decades([])
    assert not curves.spans_decades([1e-3, 5e-4, 1e-10])  # a cosine that ends near 0


def test_smoothing_is_a_centred_mean_that_keeps_the_ends() -> None:
    assert curves.smoothed([1, 2, 6, 4, 5], 3) == pytest.approx([1, 3, 4, 5, 5])
    assert curves.smoothed([1, 2, 6], 1) == [1, 2, 6]
    line = np.linspace(0, 1, 9)
    np.testing.assert_allclose(curves.smoothed(line.tolist(), 5), line)  # no lag


@pytest.mark.parametrize("count, width", [(1, 3.4), (8, 9.0)])
def test_figures_of_one_and_of_many_runs(
    write: Write, run: Run, tmp_path: Path, count: int, width: float
) -> None:
    for i in range(count):
        write(f"hgpose/run{i}", [row(1, 0.1)])  # a single point each
    assert run(*(f"hgpose/run{i}" for i in range(count)), "--width", str(width)).status == 0
    image = cv2.imread(str(tmp_path / "figure.png"))
    assert image is not None and image.shape[1] == round(200 * width)
    assert (image[:, [0, -1]] == 255).all()  # nothing is cut off at the sides


def test_runs_differ_in_colour_and_in_grey() -> None:
    looks = [curves.look_of(i) for i in range(40)]
    assert len({str(sorted(look.items(), key=str)) for look in looks}) == 40
    for i in range(len(curves.DASHES)):  # any five in a row have dashes of their own
        assert len({str(look["linestyle"]) for look in looks[i : i + 5]}) == 5


@pytest.mark.parametrize("tail", ["4,400", "4,400,720,0.001,0.25,0.04,0.5,0.9", "4,400\n", "\n"])
def test_a_half_written_last_row_is_left_out(write: Write, run: Run, tail: str) -> None:
    folder = write("hgpose/a", [row(1, 0.1), row(2, 0.2), row(3, 0.3)])
    with open(folder / "log.csv", "a") as file:
        file.write(tail)
    outcome = run("hgpose/a")
    assert outcome.status == 0
    assert outcome.out.splitlines()[1].split()[:3] == ["hgpose/a", "3", "30.0"]


def test_a_path_and_labels_name_runs(two: None, run: Run, tmp_path: Path) -> None:
    outcome = run(str(tmp_path / "exp/hgpose/a"), "advpose/b/", "--labels", "wide $ net", "b")
    assert [line.split("  ")[0].strip() for line in outcome.out.splitlines()[1:]] == ["wide $ net", "b"]
    assert run(str(tmp_path / "exp/hgpose/a")).out.splitlines()[1].startswith("hgpose/a ")


WRONG = [
    (["hgpose/aa"], "there is no run 'hgpose/aa' in", "did you mean 'hgpose/a'?"),
    (["b"], "there is no run 'b' in", "did you mean 'advpose/b'?"),
    (["hgpose"], "there is no run 'hgpose' in", ""),
    (["zzzzzz"], "there are advpose/b, hgpose/a, hgpose/new", ""),
    (["hgpose/new"], "hgpose/new/log.csv has no row yet; --watch waits", ""),
    (["hgpose/a", "--metric", "acuracy"], "no run logs a column 'acuracy'", "did you mean 'accuracy'?"),
    (["hgpose/a", "--labels", "x", "y"], "--labels names 2 runs, but there are 1", ""),
    (["hgpose/a", "--by", "hours"], "there is no 'hours'", "did you mean 'hour'?"),
    (["hgpose/a", "--smoth", "3"], "there is no option --smoth", "did you mean '--smooth'?"),
    (["hgpose/a", "--watch", "hgpose/b"], "--watch: a number above 0 is wanted", ""),
]


@pytest.mark.parametrize("arguments, what, hint", WRONG, ids=lambda value: str(value)[:30])
def test_wrong_arguments_are_one_line(
    two: None, write: Write, run: Run, tmp_path: Path, arguments: list[str], what: str, hint: str
) -> None:
    write("hgpose/new", [])
    outcome = run(*arguments)
    assert outcome.status == 2
    assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 1
    assert what in outcome.err and hint in outcome.err
    assert not (tmp_path / "figure.png").exists()


def test_a_figure_that_cannot_be_written_is_one_line(two: None, run: Run, tmp_path: Path) -> None:
    assert "must end in one of .png, .pdf, .svg" in run("hgpose/a", out="figure.gif").err
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    for out, message in [("file/figure.png", "cannot be made"), ("folder.png", "Is a directory")]:
        outcome = run("hgpose/a", out=out)
        assert outcome.status == 2 and message in outcome.err and outcome.err.count("\n") == 1
    assert not list(tmp_path.glob(".*part"))


LOGS = [
    (b"", "has no row yet"),
    (b"epoch,step,train_loss,valid_accuracy\n", "has no row yet"),
    (b"hello world\n1\n", "is no log of a run"),
    (b"epoch,step,train_loss,valid_accuracy\n1,10,much,0.5\n", "row 1, train_loss: 'much' is no number"),
    (b"epoch,step,train_loss,valid_accuracy\n1,10\n2,20,1,0.5\n", "row 1 has 2 cells, the header 4"),
    (b"\xff\xfe\x00epoch\n", "cannot be read"),
]


@pytest.mark.parametrize("content, message", LOGS)
def test_a_damaged_log_is_one_line(write: Write, run: Run, content: bytes, message: str) -> None:
    (write("hgpose/a", []) / "log.csv").write_bytes(content)
    outcome = run("hgpose/a")
    assert outcome.status == 2 and outcome.err.count("\n") == 1
    assert message in outcome.err and "log.csv" in outcome.err


def test_a_log_without_times_is_drawn_by_epoch_only(write: Write, run: Run) -> None:
    write("hgpose/a", [{"epoch": 1, "valid_accuracy": 0.5}])
    assert run("hgpose/a", "--metric", "accuracy").status == 0
    outcome = run("hgpose/a", "--metric", "accuracy", "--by", "hour")
    assert outcome.status == 2 and "has no column 'seconds', which --by hour needs" in outcome.err


def test_damaged_options_are_one_line_and_missing_ones_no_matter(two: None, run: Run, tmp_path: Path) -> None:
    stored = tmp_path / "exp/hgpose/a/options.json"
    stored.write_text("{")
    outcome = run("hgpose/a", "advpose/b")
    assert outcome.status == 2 and "options.json is damaged" in outcome.err
    stored.unlink()
    assert run("hgpose/a", "advpose/b").status == 0


def test_watching_waits_for_rows_draws_anew_and_ends_with_ctrl_c(
    write: Write, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = tmp_path / "figure.png"
    write("hgpose/a", [])
    write("hgpose/b", [])
    states = []

    def training(seconds: float) -> None:
        """What happens while the tool sleeps."""
        assert seconds == 3
        states.append(figure.stat().st_mtime_ns if figure.exists() else None)
        if len(states) == 1:
            write("hgpose/a", [row(1, 0.1)])
        elif len(states) == 3:  # between 2 and 3, nothing happens
            write("hgpose/b", [row(1, "")])
        elif len(states) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", training)
    outcome = run("hgpose/a", "hgpose/b", "--watch", "3")
    assert outcome.status == 0
    assert states[0] is None
    assert states[1] == states[2] != states[3]
    tables = [line.split()[0] for line in outcome.out.splitlines()]
    assert tables == ["run", "hgpose/a", "run", "hgpose/a", "hgpose/b"]
    lines = outcome.err.splitlines()
    assert lines[0] == "waiting for the first epoch of hgpose/a, hgpose/b"
    assert lines[1].startswith("waiting for the first epoch of hgpose/b")
    assert lines[-1] == "stopped watching"


def test_help_imports_nothing_slow() -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{str(PATH)!r}, '--help']\n"
        f"try: runpy.run_path({str(PATH)!r}, run_name='__main__')\n"
        "except SystemExit as stopped: assert stopped.code == 0\n"
        "slow = {'torch', 'matplotlib', 'numpy', 'cv2'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--watch" in done.stdout


def scores(folder: Path, name: str, **figures: float) -> str:
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"title": f"{name} title", "figures": figures}))
    return str(path)


def test_files_of_scores_become_bars(tmp_path, capsys):
    files = [scores(tmp_path, "mine", AP=0.25), scores(tmp_path, "other", AP=0.593, AR=0.7)]
    out, table = tmp_path / "figures" / "bars.png", tmp_path / "table.json"
    compare.main([*files, "--out", str(out), "--json", str(table)])
    assert cv2.imread(str(out)) is not None
    printed = capsys.readouterr().out
    assert "mine title" in printed and "59.3" in printed
    assert json.loads(table.read_text())["scores"][1] == {
        "label": "other title",
        "figures": {"AP": 0.593, "AR": 0.7},
    }
    compare.main([*files, "--out", str(out), "--labels", "a", "b"])
    assert "title" not in capsys.readouterr().out


def test_files_of_pck_become_curves_and_a_table(tmp_path, capsys):
    curves = {"threshold": [0, 0.5], "pckh_mean": [0, 50], "Wrist": [0, 40]}
    files = {tmp_path / "a.json": 50.0, tmp_path / "b.json": 40.0}
    for file, reached in files.items():
        means = {"pckh_mean": {"all": reached, "all_count": 4}}
        file.write_text(json.dumps({"protocol": "pckh", "groups": {}, "means": means, "curves": curves}))
    arguments = [*map(str, files), "--out", str(tmp_path / "c.png"), "--metric", "Wrist", "--table", "md"]
    compare.main(arguments)
    assert cv2.imread(str(tmp_path / "c.png")) is not None
    assert "| a | **50.0** |\n| b | 40.0 |" in capsys.readouterr().out


def test_failures_beside_other_protocols(tmp_path, capsys):
    """One protocol of several has neither groups nor curves."""
    row, file = {"all": 40.0, "all_count": 4}, tmp_path / "a.json"
    curves = {"threshold": [0, 0.5], "pckh_mean": [0, 40]}
    failures = {"protocol": "failures", "curves": {"threshold": []}, "parts": {"Torso": row}}
    failures["means"] = {"failures_near": row}
    first = {"protocol": "pckh", "groups": {}, "means": {"pckh_mean": row}, "curves": curves}
    file.write_text(json.dumps(first | {"further": [failures]}))
    arguments = [str(file), "--out", str(tmp_path / "c.png"), "--table", "md"]
    compare.main(arguments)
    assert "|  | mean |" in capsys.readouterr().out
    compare.main([*arguments, "--protocol", "failures"])
    assert "|  | near | Torso too long |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["{file}", "--metric", "Wrist"], "--metric: these files have no curves"),
        (["hgpose/a", "--table", "md"], "--protocol and --table are for JSON files"),
        (["{file}", "--protocol", "pck"], "mine.json holds no figures by --protocol pck"),
        (["{file}", "hgpose/a"], "mine.json holds scores: these are drawn alone"),
        (["{file}", "--watch"], "mine.json holds scores: these are drawn alone"),
        (["{file}", "--labels", "a", "b"], "--labels names 2 runs, but there are 1"),
        (["none.json"], "none.json cannot be read"),
    ],
)
def test_scores_that_cannot_be_drawn(tmp_path, capsys, argv, message):
    file = scores(tmp_path, "mine", AP=0.25)
    with pytest.raises(SystemExit) as end:
        compare.main([*(word.format(file=file) for word in argv), "--out", str(tmp_path / "bars.png")])
    assert end.value.code == 2
    assert message in capsys.readouterr().err
