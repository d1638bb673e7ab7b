"""Logs of runs drawn on one figure, and what all figures look like.

Matplotlib is imported on use: it is slow.
"""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from src.utils.files import replacing
from src.utils.runs import Run, best_index, is_accuracy, title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".pdf", ".svg")

# Okabe and Ito's colours, which stay apart with any colour vision; wine for the yellow that white swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#661100")
MARKERS = "os^DvPX"  # seven, so that colour and marker together repeat after 56 runs
# Lines of five kinds tell runs apart in grey, too.
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.6, 1.2, 1.6)), (0, (2.6, 1.4)))
LABEL = 8.0  # points; the size of a label where a line ends
_LINE = 1.25 * LABEL  # from one such label to the next

STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.edgecolor": "#808080",
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "svg.hashsalt": "curves",  # the same data give the same file
    "pdf.fonttype": 42,
}

# What logs call shortly.
_TITLES = {
    "kt": "$k_t$", "measure": "convergence measure", "lr": "learning rate",
    "ap": "AP", "ap50": "AP at OKS 0.5", "ar": "AR",
}  # fmt: skip


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """The mean over `window` values around each, over fewer at the ends (as many on either side)."""
    means = []
    for i in range(len(values)):
        reach = min(window // 2, i, len(values) - 1 - i)
        near = values[i - reach : i + reach + 1]
        means.append(sum(near) / len(near))
    return means


def draw(
    runs: Sequence[Run],
    metrics: Sequence[str],
    out: Path,
    by: str = "epoch",
    smooth: int = 1,
    width: float = 9.0,
    training: bool = True,
) -> None:
    """Write one figure with a panel a metric: validation wide, training thin, a colour and dash a run.

    Where nothing of what is drawn was measured in validation, such as k_t, training is wide. training: False
    leaves it out where there is validation.

    A run's name stands where its line ends, a marker at its best value. out: .png, .pdf or .svg, replaced as
    a whole. by: a key of AXES. smooth: how many measured values each point is the mean of. width: inches;
    panels of a narrow figure stand one above the other. UserError if `out` cannot be written or a run lacks
    the column for `by`.
    """
    import matplotlib
    from matplotlib.figure import Figure

    side_by_side = width >= 3 * len(metrics)
    rows, columns = (1, len(metrics)) if side_by_side else (len(metrics), 1)
    both = training and any(run.solid(metric) in run.log for run in runs for metric in metrics)
    height = max(2.1, 0.56 * width / columns, (len(runs) * _LINE + 50) / 72)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, rows * height + 0.22), dpi=200, layout="constrained")
        panels = list(figure.subplots(rows, columns, squeeze=False).flat)
        ends = [
            _draw_panel(panel, runs, metric, by, smooth, both, training)
            for panel, metric in zip(panels, metrics, strict=True)
        ]
        handles = _style_handles(both, any(best_index(metric, [0]) is not None for metric in metrics))
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
        figure.draw_without_rendering()  # how high panels are is known when they are laid out
        for panel, lines in zip(panels, ends, strict=True):
            label_ends(panel, lines)
        save_figure(figure, out)


def look_of(index: int) -> dict[str, Any]:
    """The colour and the dashes of a run's line."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index % len(DASHES)]}


def _marker_of(index: int) -> dict[str, Any]:
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def _style_handles(both: bool, marked: bool) -> list[Any]:
    """What the legend says of all runs."""
    from matplotlib.lines import Line2D

    grey = "#606060"
    widths = [
        Line2D([], [], color=grey, linewidth=1.8, label="validation"),
        Line2D([], [], color=grey, linewidth=0.8, alpha=0.75, label="training"),
    ]
    best = [Line2D([], [], color=grey, linestyle="", marker=MARKERS[0], markersize=5, label="best")]
    return widths * both + best * marked


class End(NamedTuple):
    """Where a line ends, in data of its panel, and what it is called."""

    label: str
    colour: str
    x: float
    y: float


def label_ends(panel: "Axes", ends: Sequence[End]) -> None:
    """Write names to the right of a panel that is laid out: near the ends of lines, none over another."""
    from matplotlib.lines import Line2D

    if not ends:
        return
    to_panel = panel.transScale + panel.transLimits
    points = [to_panel.transform((end.x, end.y)).tolist() for end in ends]
    figure = panel.get_figure(root=True)
    assert figure is not None
    height = panel.get_window_extent().height * 72 / figure.dpi  # in points
    places = apart([y for _, y in points], _LINE / height)
    for end, (x, y), place in zip(ends, points, places, strict=True):
        lead: Any = {"color": end.colour, "linewidth": 0.6, "alpha": 0.6, "zorder": 1, "clip_on": False}
        panel.add_artist(Line2D([x, 1.0, 1.015], [y, place, place], transform=panel.transAxes, **lead))
        panel.text(
            1.025, place, end.label, transform=panel.transAxes, color=end.colour, fontsize=LABEL,
            verticalalignment="center_baseline", parse_math=False,
        )  # fmt: skip


def apart(places: Sequence[float], gap: float, low: float = 0.0, high: float = 1.0) -> list[float]:
    """Places moved as little as can be to be `gap` apart, in their order, from `low` to `high`.

    The least sum of squared moves: isotonic regression by pooling neighbours. Too many go beyond `high`.
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    pools: list[tuple[float, int]] = []  # the mean of places less the gaps before them, and of how many
    for rank, index in enumerate(order):
        pools.append((places[index] - rank * gap, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (upper, more), (lower, some) = pools.pop(), pools.pop()
            pools.append(((lower * some + upper * more) / (some + more), some + more))
    means = [mean for mean, count in pools for _ in range(count)]
    highest = max(low, high - (len(places) - 1) * gap)
    moved = {index: min(max(means[rank], low), highest) + rank * gap for rank, index in enumerate(order)}
    return [moved[index] for index in range(len(places))]


def _draw_panel(
    panel: "Axes", runs: Sequence[Run], metric: str, by: str, smooth: int, both: bool, training: bool
) -> list[End]:
    """Draw the lines of a metric; returns where the wide ones end."""
    factor = 100 if is_accuracy(metric) else 1
    drawn, ends = list[float](), dict[int, End]()
    for i, run in enumerate(runs):
        look = look_of(i)
        wide = {**look, "linewidth": 1.8, "zorder": 3}
        thin = {**look, "linewidth": 0.8, "alpha": 0.75, "zorder": 2} if both else wide
        lines = ((f"train_{metric}", thin), (run.solid(metric), wide))
        for column, line in lines if training or run.solid(metric) not in run.log else lines[1:]:
            x, values = run.curve(column, by)
            y = [factor * value for value in smoothed(values, smooth)]
            panel.plot(x, y, **line, marker="." if len(x) == 1 else None)  # a line needs two points
            drawn += y
            best = best_index(metric, values) if column == run.solid(metric) else None
            if best is not None:
                marker: dict[str, Any] = {"markersize": 6, "markeredgecolor": "white", "zorder": 4}
                panel.plot(x[best], y[best], **_marker_of(i), **marker)
            if x and line is wide:
                ends[i] = End(run.label, look["color"], x[-1], y[-1])
    panel.set_title(_TITLES.get(metric, title_of(metric)) + (", %" if is_accuracy(metric) else ""))
    panel.set_xlabel(f"{by}s of training" if by in ("minute", "hour") else by)
    panel.margins(x=0.02)
    _scale_axes(panel, drawn, by, share=is_accuracy(metric))
    return list(ends.values())


def _scale_axes(panel: "Axes", values: list[float], by: str, share: bool) -> None:
    """Few clear ticks; a logarithmic y axis where positive values span more than a factor of five.

    So it is on both sides of 0 where values of either sign are far larger than most, as balance is at first.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    if by not in ("minute", "hour"):
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if by == "step":
        panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1000:g}k" if x else "0"))
    if share:
        panel.set_ylim(bottom=max(0.0, panel.get_ylim()[0]))
    elif spans_decades(values):
        decades = math.log10(max(values) / min(values))
        panel.set_yscale("log")
        steps = (1, 1.5, 2, 3, 5, 7) if decades < 1 else (1, 2, 5) if decades < 3 else (1,)
        panel.yaxis.set_major_locator(LogLocator(subs=steps))
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    elif values and 0 < (usual := 10 * statistics.median(map(abs, values))) < max(map(abs, values)):
        panel.set_yscale("symlog", linthresh=10 ** math.ceil(math.log10(usual)))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    else:
        panel.ticklabel_format(axis="y", scilimits=(-2, 4), useMathText=True)


def spans_decades(values: Sequence[float]) -> bool:
    """Whether a logarithmic axis suits values: they are positive and span more than a factor of five.

    Beyond five decades it does not: a rate that falls to nearly nothing would hide all that came before.
    """
    return bool(values) and min(values) > 0 and 5 * min(values) < max(values) < 1e5 * min(values)


def take_literally(legend: Any) -> None:
    """A $ in a name is a $, and no formula."""
    for text in legend.get_texts():
        text.set_parse_math(False)


def save_figure(figure: Any, out: Path) -> None:
    """Write the figure by the suffix of `out`, without a date, in one piece."""
    kind = out.suffix.lower().removeprefix(".")
    undated = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[kind]
    with replacing(out) as part:
        figure.savefig(part, format=kind, metadata=undated)
