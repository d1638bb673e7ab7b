"""The page about runs: it holds what it should, needs nothing beside itself, and mistakes are one line."""

import base64
import importlib.util
import json
import os
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from src.utils.report.findings import RANKS, ranked
from tests.releases import make_lsp, make_lspet
from tests.task_runner import TINY, main_of

pytest.importorskip("plotly", reason="reports are drawn with Plotly: pip install -e '.[report]'")

report = main_of("tools/report.py")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Experiments with tiny runs of two tasks, both with predictions, the first with a report."""
    exp_dir = tmp_path_factory.mktemp("exp")
    where = ["--exp", "tiny", "--exp-dir", str(exp_dir)]
    main_of("hgpose/train.py")([*where, *TINY, "--epochs", "2", "--report"])
    main_of("hgpose-ae/train.py")([*where, *TINY, "--epochs", "2", "--network", "increase=8"])
    for task in ("hgpose", "hgpose-ae"):
        main_of(f"{task}/test.py")([*where, "--workers", "0", "--no-flip-test"])
    return exp_dir


@pytest.fixture
def experiments(trained: Path, tmp_path: Path) -> Path:
    """A copy of them to change."""
    large = shutil.ignore_patterns("previous.pth", "tensorboard")
    return Path(shutil.copytree(trained, tmp_path / "exp", ignore=large))


class Outcome:
    """What a command line did: its exit status, and what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
        self.status: int | str | None = 0
        capsys.readouterr()
        try:
            report(arguments)
        except SystemExit as stopped:
            self.status = stopped.code
        self.out, self.err = capsys.readouterr()


Run = Callable[..., Outcome]


@pytest.fixture
def run(experiments: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> Outcome:
        where = ["--exp-dir", str(experiments), "--workers", "0", "--device", "cpu", "--samples", "4"]
        return Outcome(capsys, [*where, *arguments])

    return call


class Page(HTMLParser):
    """What is in a page: its text without scripts, its headings, pictures and whatever it would load."""

    VOID = ("meta", "link", "img", "input")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.words, self.headings, self.pictures = "", list[str](), list[str]()
        self.loaded, self.plots, self._open = list[str](), 0, list[str]()
        self.feed(path.read_text(encoding="utf-8"))
        assert not self._open, "each tag is closed"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.plots += "plotly-graph-div" in (values.get("class") or "")
        source = values.get("src") or (values.get("href") if tag == "link" else None) or ""
        if tag == "img":
            self.pictures.append(source)
        elif source and not source.startswith("data:"):
            self.loaded.append(source)
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("h1", "h2", "h3"):
            self.headings.append(data)
        if not self._open or self._open[-1] not in ("script", "style"):
            self.words += f" {data.strip()}"


def test_a_run_may_have_a_name_that_is_no_utf8(run: Run, experiments: Path) -> None:
    name = os.fsdecode(b"jos\xe9")
    try:
        (experiments / "hgpose" / "tiny").rename(experiments / "hgpose" / name)
    except (OSError, UnicodeError):
        pytest.skip("this file system wants UTF-8")
    out = experiments / "page.html"
    assert run(f"hgpose/{name}", "--samples", "0", "--out", str(out)).status == 0
    assert "hgpose/jos\\udce9" in Page(out).words


def test_the_network_is_run_on_as_many_as_asked_for(run: Run, experiments: Path) -> None:
    """Here six, which is no number of whole batches of four."""
    out = experiments / "six.html"
    assert run("hgpose-ae/tiny", "--anew", "--samples", "6", "--out", str(out)).status == 0
    assert re.search(r"run on 6 of \d+ pictures", Page(out).words)


def test_a_finished_run_writes_its_own_report(trained: Path) -> None:
    page = Page(trained / "hgpose/tiny/report.html")
    assert {"hgpose/tiny", "Curves", "Scores", "Errors", "Pictures", "Runs", "accuracy, %"} < set(
        page.headings
    )
    assert "best.pth (model weights), run on 8 of 8 people" in page.words
    assert "Mean (14 joints, by count)" in page.words and "right ankle" in page.words
    assert page.plots == 6  # accuracy, loss, rate; thresholds; errors; kinds
    assert not page.loaded  # it needs nothing beside itself
    for source in page.pictures:
        data = base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (240, 240, 3)
    assert len(page.pictures) == 6  # of 8 people two of each rank
    assert (trained / "hgpose/tiny/report.html").stat().st_size < 6e6


def test_runs_of_two_tasks_on_one_page(run: Run, experiments: Path) -> None:
    out = experiments / "new/both.html"
    outcome = run("hgpose/tiny", "hgpose-ae/tiny", "--out", str(out), "--labels", "<a> & b", "c")
    assert outcome.status == 0, outcome.err
    page = Page(out)
    assert {"2 runs", "PCKh@0.5 of synth valid", "AP of synth valid", "Options that differ"} < set(
        [*page.headings, *re.findall(r"Options that differ", page.words)]
    )
    assert "<a> & b" in page.words  # and no tag
    assert "AP75" in page.words and "results.json" in page.words and "preds.h5, 4 of its 8" in page.words
    content = out.read_bytes()
    run("hgpose/tiny", "hgpose-ae/tiny", "--out", str(out), "--labels", "<a> & b", "c")
    assert out.read_bytes() == content  # the same runs give the same page


def test_each_of_several_data_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_lsp(tmp_path / "lsp")
    make_lspet(tmp_path / "lspet")
    data = ["--data-dir", f"lspet={tmp_path}/lspet", f"lsp={tmp_path}/lsp", "--valid-share", "0.4"]
    where = ["--exp", "both", "--exp-dir", str(tmp_path)]
    main_of("hgpose/train.py")([*where, "--dataset", "lspet", "lsp", *data, *TINY, "--epochs", "1"])
    main_of("hgpose/test.py")([*where, "--dataset", "lsp", "--workers", "0", "--no-flip-test"])
    options = ["--workers", "0", "--device", "cpu", "--pictures", "1"]
    outcome = Outcome(capsys, ["hgpose/both", "--exp-dir", str(tmp_path), *options])
    assert outcome.status == 0 and "preds.h5 is left out: it is not of lspet valid" in outcome.err
    page = Page(tmp_path / "hgpose/both/report.html")
    titles = [each for each in page.headings if each.startswith("PCK@0.2 of")]
    assert titles == 3 * ["PCK@0.2 of lspet valid", "PCK@0.2 of lsp valid"]  # scores, errors, pictures
    assert "run on 4 of 4 people" in page.words and "preds.h5, 3 people" in page.words
    assert page.words.count("Single joints") == 2 and page.plots == 9 and len(page.pictures) == 6


@pytest.mark.parametrize("task", ["hgpose", "hgpose-ae"])
def test_the_network_is_run_where_no_predictions_are_stored(run: Run, experiments: Path, task: str) -> None:
    folder = experiments / task / "tiny"
    for name in ("preds.h5", "results.json"):
        (folder / name).unlink(missing_ok=True)
    (folder / "best.pth").unlink()  # a run that has begun: its newest checkpoint will do
    assert run(f"{task}/tiny").status == 0
    assert "checkpoint.pth (model weights), run on 4 of 8" in Page(folder / "report.html").words


def test_foreign_and_old_predictions_are_left_out(run: Run, experiments: Path) -> None:
    folder = experiments / "hgpose/tiny"
    shutil.copyfile(folder / "preds.h5", folder / "final_preds.h5")
    (folder / "preds.h5").write_bytes(b"no predictions")
    outcome = run("hgpose/tiny")
    assert "preds.h5 is left out" in outcome.err and "final_preds.h5" in Page(folder / "report.html").words
    best = (folder / "best.pth").stat()
    os.utime(folder / "preds.h5", ns=(best.st_mtime_ns - 10**9, best.st_mtime_ns - 10**9))
    assert "preds.h5 is older than best.pth, and left out" in run("hgpose/tiny").err
    stored = json.loads((folder / "options.json").read_text())
    stored["options"]["synth-size"] = [24, 5]  # now they are of people whom the split does not have
    (folder / "options.json").write_text(json.dumps(stored))
    outcome = run("hgpose/tiny")
    assert "final_preds.h5 is left out: it is not of synth valid" in outcome.err
    assert "run on 4 of 5 people" in Page(folder / "report.html").words


def test_logs_and_options_alone(run: Run, experiments: Path) -> None:
    folder = experiments / "hgpose/tiny"
    for path in [*folder.glob("*.pth"), *folder.glob("preds.*")]:
        path.unlink()
    outcome = run("hgpose/tiny")
    assert outcome.status == 2
    assert "has no checkpoint and no predictions; --samples 0 reports on logs and options" in outcome.err
    assert run("hgpose/tiny", "--samples", "0").status == 0
    page = Page(folder / "report.html")
    assert "Scores" not in page.headings and page.plots == 3 and "--batch-size" in page.words


def _without_rows(folder: Path) -> None:
    log = folder / "log.csv"
    log.write_text(log.read_text().splitlines()[0] + "\n")


WRONG: list[tuple[list[str], Callable[[Path], Any], str]] = [
    (["hgpose/tinny"], lambda folder: None, "did you mean 'hgpose/tiny'?"),
    (["hgpose/tiny"], _without_rows, "log.csv has no row yet: there is nothing to report"),
    (["hgpose/tiny"], lambda folder: (folder / "log.csv").unlink(), "log.csv has no row yet"),
    (["hgpose/tiny"], lambda folder: (folder / "options.json").write_text("{"), "options.json is damaged"),
    (["hgpose/tiny", "hgpose-ae/tiny"], lambda folder: None, "--out says where the report about several"),
    (["hgpose/tiny", "--out", "page.pdf"], lambda folder: None, "page.pdf must end in .html"),
    (["hgpose/tiny", "--labels", "a", "b"], lambda folder: None, "--labels names 2 runs, but there are 1"),
    (["hgpose/tiny", "--pictures", "0"], lambda folder: None, "--pictures: a whole number from 1 is wanted"),
    (["hgpose/tiny", "--picture", "3"], lambda folder: None, "did you mean '--pictures'?"),
    (
        ["hgpose/tiny"],
        lambda folder: (folder / "report.html").mkdir(),
        "report.html cannot be written: it is a folder",
    ),
]


@pytest.mark.parametrize(("arguments", "change", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_what_is_wrong_is_one_line(
    run: Run, experiments: Path, arguments: list[str], change: Callable[[Path], Any], message: str
) -> None:
    (experiments / "hgpose/tiny/report.html").unlink()
    change(experiments / "hgpose/tiny")
    outcome = run(*arguments)
    assert outcome.status == 2 and outcome.err.startswith("error: ") and outcome.err.count("\n") == 1
    assert message in outcome.err
    assert not list(experiments.glob("**/*.part"))


def test_without_plotly_a_line_names_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "plotly" else find(name, *a)
    )
    outcome = run("hgpose/tiny")
    assert (
        outcome.status == 2 and "pip install -e '.[report]'" in outcome.err and outcome.err.count("\n") == 1
    )


def test_ranks_show_nobody_twice() -> None:
    bad = np.array([0.5, 0.1, np.nan, 0.9, 0.3, 0.7, 0.2])
    everybody = np.ones(7, bool)
    assert ranked(bad, everybody, 2) == {"Best": [1, 6], "Typical": [4, 0], "Worst": [3, 5]}
    for count in (1, 2, 3, 9):
        for people in range(8):
            shown = [*chain(*ranked(bad[:people], everybody[:people], count).values())]
            assert len(set(shown)) == len(shown) and set(RANKS) == set(ranked(bad, everybody, count))
    assert ranked(bad, bad > 0.6, 1)["Worst"] == [] and ranked(bad, bad > 0.6, 1)["Best"] == [5, 3]


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_a_browser_draws_it_without_complaint(run: Run, experiments: Path, width: int, height: int) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright to open the page with")
    out = experiments / "both.html"
    assert run("hgpose/tiny", "hgpose-ae/tiny", "--out", str(out)).status == 0
    installed = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with playwright.sync_playwright() as tools:
        try:
            browser = tools.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no Chromium to open the page with: {str(error).splitlines()[0]}")
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(0)  # machines differ
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if "http" in request.url[:5] else None)
        page.goto(out.as_uri())
        plots = page.evaluate("document.querySelectorAll('.plotly-graph-div').length")
        drawn = page.evaluate("document.querySelectorAll('.plotly-graph-div .plot-container').length")
        lines = "document.querySelectorAll('.curve')[0].querySelectorAll('path.js-line').length"
        assert plots == drawn > 6 and page.evaluate(lines) == 4  # two runs, training and validation
        page.locator("input[name=over]").nth(1).check()
        assert page.evaluate("document.querySelector('.curve .plotly-graph-div').data[0].x") == [3, 6]
        assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing sticks out
        assert not said
        browser.close()
