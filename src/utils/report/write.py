"""A report: logs, options and predictions of runs on one page that needs nothing beside itself."""

import importlib.util
import json
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from src.errors import UserError
from src.evaluation.failures import KINDS
from src.utils.command import note
from src.utils.files import write_text
from src.utils.options import OPTIONS_FILE
from src.utils.report import page
from src.utils.report.findings import RANKS, Findings, Settings
from src.utils.report.plots import KIND_COLOURS, Plots, colour
from src.utils.runs import (
    AXES,
    Run,
    differing_options,
    is_accuracy,
    label_of,
    metrics_of,
    read_run,
    shown,
    summarise,
    title_of,
    word,
)

MOST_PICTURES = 120  # on the page, about 2 MB of them; several runs share them

_NOT_DRAWN = ("epoch", "step", "seconds")
_FIRST = ("accuracy", "ap", "loss", "lr")
_EXPLAINED = {
    "ap": "average precision (AP)", "ap50": "AP at an OKS of 0.5", "ar": "average recall (AR)",
    "lr": "learning rate", "pull": "pull: tags of one person together", "push": "push: tags of people apart",
    "heatmap": "loss of the heatmaps", "kt": "k_t: weight of predicted maps",
    "measure": "convergence measure", "balance": "balance of energies", "real": "energy of real maps",
    "fake": "energy of predicted maps", "content": "loss against the truth",
    "adversarial": "loss against the discriminator",
}  # fmt: skip

Alike = list[tuple[int, str, Findings]]


@dataclass(frozen=True)
class _Subject:
    """A run, all of options.json, and what is found out about its predictions for each data set."""

    run: Run
    stored: dict[str, Any]
    findings: list[Findings]


def require_plotly() -> None:
    """UserError if Plotly is not installed."""
    if importlib.util.find_spec("plotly") is None:
        raise UserError("a report is drawn with Plotly, which is not installed: pip install -e '.[report]'")


def write_report(folders: Sequence[Path], labels: Sequence[str], out: Path, settings: Settings) -> None:
    """Write the report about the runs in `folders`, called `labels`, to `out`: wholly, or not at all.

    About 5 MB are Plotly's library, a picture adds 15 to 40 kB. Raises UserError for a run without rows in
    its log, without checkpoint and predictions, or whose data are missing.
    """
    require_plotly()
    runs = [_started(folder, label) for folder, label in zip(folders, labels, strict=True)]
    datasets = [_datasets(run) if settings.samples else [] for run in runs]
    share = MOST_PICTURES // (len(RANKS) * max(1, sum(map(len, datasets))))
    settings = replace(settings, pictures=max(1, min(settings.pictures, share)))
    text = _page([_subject(run, names, settings) for run, names in zip(runs, datasets, strict=True)])
    write_text(out, text)
    note(f"report: {out} ({out.stat().st_size / 1e6:.1f} MB)")


def write_run_report(folder: Path, options: Namespace) -> None:
    """Write report.html into the folder of a run that has ended. Raises UserError as `write_report`."""
    settings = Settings(device=options.device, workers=options.workers)
    write_report([folder], [label_of(folder)], folder / "report.html", settings)


def _started(folder: Path, label: str) -> Run:
    """The run in a folder, which has a row in its log."""
    run = read_run(folder, label)
    if not run.started:
        raise UserError(
            f"{folder / 'log.csv'} has no row yet: there is nothing to report before the first epoch"
        )
    return run


def _datasets(run: Run) -> list[str]:
    """What the run learnt from."""
    names = run.options.get("dataset", "synth")
    return names if isinstance(names, list) else [names]


def _subject(run: Run, datasets: Sequence[str], settings: Settings) -> _Subject:
    return _Subject(run, _stored(run.folder), [_examined(run, dataset, settings) for dataset in datasets])


def _stored(folder: Path) -> dict[str, Any]:
    """What options.json has; {} if there is none."""
    path = folder / OPTIONS_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _examined(run: Run, dataset: str, settings: Settings) -> Findings:
    """What the predictions of a run for one of its data sets show."""
    # imported here: the networks that they import are not needed for logs and options
    from src.utils.report.people import examine_people
    from src.utils.report.scenes import examine_scenes

    examine = examine_scenes if "tag-dim" in run.options else examine_people
    try:
        return examine(run.folder, dataset, settings)
    except UserError as error:
        raise UserError(f"{run.label}: {error}; --samples 0 reports on logs and options alone") from None


def _page(subjects: Sequence[_Subject]) -> str:
    plots, named = Plots(), len(subjects) > 1
    runs = [subject.run for subject in subjects]
    sections = [("Curves", _curves(runs, plots))]
    if alike := _alike(subjects):
        sections += [
            ("Scores", _each(alike, lambda group: _scores(group, plots, named))),
            ("Errors", _each(alike, lambda group: _errors(group, plots, named)) + _meaning()),
            ("Pictures", _each(alike, lambda group: _pictures(group, named))),
        ]
    sections.append(("Runs", _about(subjects)))
    title = ", ".join(run.label for run in runs)
    return page.page(f"Report: {title}", _head(runs), sections)


def _head(runs: Sequence[Run]) -> str:
    """The title and a line about each run."""
    metric = "ap" if all("valid_ap" in run.log for run in runs) else "accuracy"
    rows = [
        [
            page.key(row.run, colour(number)),
            f"{row.epoch:g}",
            shown(metric, row.best),
            "–" if row.best_epoch is None else f"{row.best_epoch:g}",
            shown(metric, row.last),
            "–" if row.hours is None else f"{row.hours:.2f}",
        ]
        for number, row in enumerate(summarise(runs, metric))
    ]
    name = "AP" if metric == "ap" else "accuracy"
    head = ["", "epochs", "best", "at epoch", "last", "hours"]
    return f"<h1>{escape(_title(runs))}</h1>{page.card(page.table(head, rows, f'Validation {name}'))}"


def _title(runs: Sequence[Run]) -> str:
    return runs[0].label if len(runs) == 1 else f"{len(runs)} runs"


# Curves.


def _curves(runs: Sequence[Run], plots: Plots) -> str:
    """A figure for each metric of the logs."""
    metrics = [name for name in metrics_of(runs) if _is_drawn(name)]
    ordered = [*(name for name in _FIRST if name in metrics), *(n for n in metrics if n not in _FIRST)]
    drawn = ((metric, plots.curves(runs, metric)) for metric in ordered)
    each = [
        page.card(figure, _EXPLAINED.get(metric, title_of(metric)) + _percent_sign(metric), "curve")
        for metric, figure in drawn
        if figure
    ]
    return _switch() + page.paragraph("Validation is solid, training dashed.") + page.cards(each)


def _is_drawn(metric: str) -> bool:
    return metric not in _NOT_DRAWN and not metric.startswith(("train_", "valid_", "acc_"))


def _percent_sign(metric: str) -> str:
    return ", %" if is_accuracy(metric) else ""


def _switch() -> str:
    """What the curves are drawn over, to choose."""
    names = {"epoch": "epoch", "step": "iteration", "minute": "minutes", "hour": "hours"}
    choices = "".join(
        f'<label><input type="radio" name="over" value="{place}" data-name="{names[axis]}"'
        f"{' checked' if not place else ''}> {names[axis]}</label>"
        for place, axis in enumerate(AXES)
    )
    return f'<div class="switch soft">over {choices}</div>'


# Predictions.


def _alike(subjects: Sequence[_Subject]) -> dict[str, Alike]:
    """The findings by what is scored, and how; figures of others are not to be compared."""
    groups: dict[str, Alike] = {}
    for number, subject in enumerate(subjects):
        for findings in subject.findings:
            groups.setdefault(findings.title, []).append((number, subject.run.label, findings))
    return groups


def _each(groups: dict[str, Alike], make: Callable[[Alike], str]) -> str:
    """What `make` has to say about each group, under its title."""
    return "".join(f"<h3>{escape(title)}</h3>{make(group)}" for title, group in groups.items())


def _scores(group: Alike, plots: Plots, named: bool) -> str:
    """Where predictions come from, tables side by side, and curves over the threshold in the room left.

    named: whether runs are called by their names, since there are several; so below.
    """
    sources = [
        (f"{label}: " if named else "") + "; ".join([each.source, *each.notes]) + "."
        for _, label, each in group
    ]
    curves = plots.thresholds(group) if any(each.curves for _, _, each in group) else ""
    drawn = [page.card(curves, "Correct joints over the threshold", "grow")] if curves else []
    captions = dict.fromkeys(caption for _, _, each in group for caption in each.tables)
    tables = [page.card(_table(group, caption)) for caption in captions]
    return "".join(map(page.paragraph, sources)) + page.cards([*tables, *drawn], beside=True)


def _table(group: Alike, caption: str) -> str:
    """A table of one run, or one column of it for each of several that have it."""
    if len(group) == 1:
        return page.percentages(group[0][2].tables[caption], caption)
    group = [entry for entry in group if caption in entry[2].tables]
    heads = [page.key(label, colour(number)) for number, label, _ in group]
    return page.percentages_beside([each.tables[caption] for _, _, each in group], heads, caption)


def _errors(group: Alike, plots: Plots, named: bool) -> str:
    """The distribution of errors, and what is wrong with each joint."""
    histogram = plots.errors(group)
    first = [page.card(histogram, "Distribution of errors")] if histogram else []
    kinds = [
        page.card(
            _KINDS_KEY + figure + _kinds_table(each),
            "What is wrong" + (f": {label}" if named else ""),
        )
        for _, label, each in group
        if (figure := plots.kinds(each))
    ]
    return page.cards([*first, *kinds]) if first or kinds else page.paragraph("Nobody was found.")


def _meaning() -> str:
    return page.cards([page.card(page.terms(KINDS.items()) + page.paragraph(_SOURCE), "The kinds")])


_KINDS_KEY = page.keys((kind, shade) for kind, shade in zip(KINDS, KIND_COLOURS, strict=True))
_SOURCE = (
    "After Ronchi and Perona, “Benchmarking and error diagnosis in multi-instance pose estimation” (ICCV"
    " 2017), who call them good, jitter, inversion, swap and miss: right and near end at similarities"
    " of 0.85 and 0.5. For PCK right ends at the threshold, and near at 2.07 times it, the same ratio of"
    " distances."
)


def _kinds_table(findings: Findings) -> str:
    rows = [
        [escape(name), *(f"{share:.1f}" for share in findings.kinds[joint]), f"{findings.counted[joint]:,}"]
        for joint, name in enumerate(findings.joints)
        if findings.counted[joint]
    ]
    return page.details("as a table", page.table(["%", *KINDS, "of"], rows))


def _pictures(group: Alike, named: bool) -> str:
    """The best, typical and worst of each run, and what their lines mean."""
    whole = group[0][2].limit is None  # pictures, not people cut out of them
    parts = []
    for number, label, each in group:
        heading = f"<h3>{page.key(label, colour(number))}</h3>" if named else ""
        galleries = "".join(
            f"<h3>{rank}</h3>{page.gallery(shown, whole)}" for rank, shown in each.pictures.items() if shown
        )
        parts.append(page.card(heading + (galleries or page.paragraph("There are none."))))
    colours = "Each person has a colour." if whole else "Limbs are orange on the left, blue on the right."
    legend = page.paragraph(f"Thin white lines are the annotation. {colours}")
    return f'{legend}<div class="stack">{"".join(parts)}</div>'


# Options, and what ran them.


def _about(subjects: Sequence[_Subject]) -> str:
    """The options in which runs differ, and what made each."""
    runs = [subject.run for subject in subjects]
    parts = []
    differing = differing_options(runs) if len(runs) > 1 else []
    if differing:
        heads = [page.key(run.label, colour(number)) for number, run in enumerate(runs)]
        rows = [
            [f"--{option}", *(escape(word(run.options.get(option))) for run in runs)] for option in differing
        ]
        parts.append(page.card(page.table(["", *heads], rows), "Options that differ", "options"))
    parts += [_run(subject, number, len(runs) > 1) for number, subject in enumerate(subjects)]
    return f'<div class="stack">{"".join(parts)}</div>'


def _run(subject: _Subject, number: int, named: bool) -> str:
    """What made a run, and all of its options."""
    run, stored = subject.run, subject.stored
    versions = stored.get("versions", {})
    facts = {
        "task": stored.get("task"),
        "device": stored.get("device"),
        "commit": stored.get("commit"),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "folder": str(run.folder.resolve()),
    }
    command = stored.get("command") or _again(subject)
    options = [(f"--{key}", word(value)) for key, value in stored.get("options", {}).items()]
    return page.card(
        (f"<h3>{page.key(run.label, colour(number))}</h3>" if named else "")
        + f"<pre>{escape(command)}</pre>"
        + page.terms((name, fact) for name, fact in facts.items() if fact)
        + page.details(f"all {len(options)} options", page.terms(options))
    )


def _again(subject: _Subject) -> str:
    """A command that trains with the same options."""
    path = subject.run.folder.resolve() / OPTIONS_FILE
    return f"cd {subject.stored.get('task', 'TASK')} && python train.py --exp again --config {path}"
