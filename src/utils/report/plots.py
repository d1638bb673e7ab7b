"""The interactive figures of the page: what Plotly is asked to draw, as HTML without its library.

Colours are those of src/utils/curves.py. What the runs look like the page says once, above; so there are no
legends where lines are runs. Plotly takes names for HTML: they are escaped.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from src.evaluation.failures import KINDS
from src.utils.curves import COLOURS, spans_decades
from src.utils.report.findings import Findings
from src.utils.runs import AXES, Run, is_accuracy

INK, GRID = "#33373d", "#e6e8eb"
_BINS = 40
_DASHES = ("solid", "dash", "dot", "dashdot")

# Of KINDS: what is right is pale, what differs stands out; told apart with any colour vision, and in grey.
KIND_COLOURS = ("#d9e6ee", "#7fb2d4", "#E69F00", "#7b3294", "#3a3a3a")


def colour(run: int) -> str:
    """That of the lines of a run, by its number."""
    return COLOURS[run % len(COLOURS)]


class Plots:
    """Makes figures as HTML, each with an id of its own: the same runs give the same page."""

    def __init__(self) -> None:
        self._count = 0

    def _html(self, traces: Sequence[dict[str, Any]], height: int = 260, **layout: Any) -> str:
        """A figure whose width is that of the page."""
        from plotly.graph_objects import Figure
        from plotly.io import to_html

        self._count += 1
        axis = {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": "#aab0b7", "automargin": True}
        common = {
            "template": "none",
            "height": height,
            "margin": {"l": 44, "r": 16, "t": 8, "b": 38},  # r: half of the last label of an axis
            "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12,
                     "color": INK},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#aab0b7", "activecolor": INK},
            "showlegend": False,
            "dragmode": False,  # a finger scrolls the page
            "hovermode": "x unified",
            "hoverlabel": {"font": {"size": 11}, "namelength": 40},
        }  # fmt: skip
        for name in ("xaxis", "yaxis"):
            layout[name] = {**axis, **layout.get(name, {})}
        config = {"displaylogo": False,
                  "modeBarButtons": [["zoom2d", "pan2d", "resetScale2d", "toImage"]]}  # fmt: skip
        return to_html(
            Figure(list(traces), {**common, **layout}),
            config=config,
            include_plotlyjs=False,
            full_html=False,
            div_id=f"plot-{self._count}",
        )

    def curves(self, runs: Sequence[Run], metric: str) -> str:
        """One metric over epochs: validation solid, training dashed; "" if no run has measured it.

        Each point knows its epoch, iteration, minutes and hours, over which the page can have them drawn.
        """
        factor = 100 if is_accuracy(metric) else 1
        traces, values = [], list[float]()
        both = any(f"valid_{metric}" in run.log for run in runs)
        for number, run in enumerate(runs):
            for column in dict.fromkeys((f"train_{metric}", run.solid(metric))):
                places = [i for i, value in enumerate(run.log.get(column, [])) if np.isfinite(value)]
                if not places:
                    continue
                y = [factor * run.log[column][i] for i in places]
                values += y
                dashed = both and column.startswith("train_")
                kind = ", training" if dashed else ""
                traces.append(
                    {
                        "type": "scatter",
                        "mode": "lines+markers" if len(y) == 1 else "lines",
                        "name": escape(run.label) + kind,
                        "x": [run.log["epoch"][i] for i in places],
                        "y": y,
                        "customdata": [_when(run, i) for i in places],
                        "line": {"color": colour(number), "width": 1.3 if dashed else 2.2,
                                 "dash": "dash" if dashed else "solid"},
                        "opacity": 0.7 if dashed else 1,
                        "hovertemplate": "%{y:.1f} %" if factor == 100 else "%{y:.4g}",
                    }
                )  # fmt: skip
        scale = "log" if not is_accuracy(metric) and spans_decades(values) else "linear"
        form = {"tickformat": "~g", "dtick": _log_ticks(values)} if scale == "log" else {}
        y_axis = {"type": scale, **form, **({"rangemode": "tozero"} if factor == 100 else {})}
        return self._html(traces, xaxis={"title": {"text": "epoch"}}, yaxis=y_axis) if traces else ""

    def thresholds(self, findings: Sequence[tuple[int, str, Findings]]) -> str:
        """PCK over the threshold: a line a run, and the mean or a part of the body to choose.

        findings: the number, the label and the findings of runs that are scored alike. A single run has all
        parts in one figure.
        """
        names = list(dict.fromkeys(name for _, _, each in findings for name in each.curves))
        alone = len(findings) == 1
        traces = [
            {
                "type": "scatter",
                "mode": "lines",
                "name": _part(name) if alone else escape(label),
                "x": each.thresholds,
                "y": [None if value != value else value for value in each.curves[name]],
                "line": _part_line(place, names) if alone else {"color": colour(number), "width": 2.2},
                "visible": alone or name == names[0],
                "hovertemplate": "%{y:.1f} %",
            }
            for place, name in enumerate(names)
            for number, label, each in findings
            if name in each.curves
        ]
        shown = [name for name in names for _, _, each in findings if name in each.curves]
        menu = {
            "buttons": [
                {"label": _part(name), "method": "restyle",
                 "args": ["visible", [one == name for one in shown]]}
                for name in names
            ],
            "x": 0.01, "y": 0.99, "xanchor": "left", "yanchor": "top", "bgcolor": "white",
        }  # fmt: skip
        choice = {"showlegend": True, "legend": {"font": {"size": 11}}} if alone else {"updatemenus": [menu]}
        unit = findings[0][2].unit
        return self._html(
            traces,
            330,
            xaxis={"title": {"text": f"threshold, {unit}"}, "rangemode": "tozero", "hoverformat": ".2f"},
            yaxis={"range": [0, 100], "title": {"text": "% correct"}},
            **choice,
        )

    def errors(self, findings: Sequence[tuple[int, str, Findings]]) -> str:
        """Histograms of errors in shares of the joints; the last bar has all that is farther off."""
        unit, limit = findings[0][2].unit, findings[0][2].limit
        findings = [entry for entry in findings if len(entry[2].errors)]
        if not findings:
            return ""
        errors = np.concatenate([each.errors for _, _, each in findings])
        end = float(6 * limit) if limit else float(np.quantile(errors, 0.97)) or 1.0
        edges = np.linspace(0, end, _BINS + 1)
        middles = ((edges[:-1] + edges[1:]) / 2).tolist()
        traces = []
        for number, label, each in findings:
            counts, _ = np.histogram(np.minimum(each.errors, np.nextafter(end, 0)), edges)
            share = 100 * counts / len(each.errors)
            look = {"line": {"color": colour(number), "width": 2, "shape": "hvh"}}
            filled = {"fill": "tozeroy"} if len(findings) == 1 else {}
            traces.append(
                {"type": "scatter", "mode": "lines", "name": escape(label), "x": middles,
                 "y": share.tolist(), "hovertemplate": "%{y:.1f} %", **look, **filled}
            )  # fmt: skip
        marks: dict[str, Any] = {"annotations": [_note(end, f"{end:.2g} and more", "right", "bottom")]}
        if limit:
            marks["annotations"].append(_note(limit, f" right up to {limit:g}", "left", "top"))
            line = {"color": INK, "width": 1, "dash": "dot"}
            ends = {"x0": limit, "x1": limit, "y0": 0, "y1": 1, "yref": "paper"}
            marks["shapes"] = [{"type": "line", "line": line, **ends}]
        return self._html(
            traces,
            280,
            margin={"l": 44, "r": 16, "t": 22, "b": 38},
            xaxis={"title": {"text": f"error, {unit}"}, "hoverformat": ".3f", "range": [0, end]},
            yaxis={"title": {"text": "% of joints"}, "rangemode": "tozero"},
            **marks,
        )

    def kinds(self, findings: Findings) -> str:
        """A bar for each joint of what is right, near, inverted, swapped and missed; "" if none counts."""
        rows = np.flatnonzero(findings.counted)[::-1].tolist()
        if not rows:
            return ""
        traces = [
            {
                "type": "bar",
                "orientation": "h",
                "name": kind,
                "y": [escape(findings.joints[row]) for row in rows],
                "x": findings.kinds[rows, place].tolist(),
                "marker": {"color": shade, "line": {"color": "white", "width": 0.5}},
                "hovertemplate": "%{x:.1f} %",
            }
            for place, (kind, shade) in enumerate(zip(KINDS, KIND_COLOURS, strict=True))
        ]
        return self._html(
            traces,
            50 + 21 * len(rows),
            barmode="stack",
            bargap=0.18,
            hovermode="y unified",
            xaxis={"range": [0, 100], "title": {"text": "% of joints"}},
        )  # fmt: skip


def _log_ticks(values: Sequence[float]) -> int | str:
    """Where a logarithmic axis has ticks: at decades, or where these are few, between them, too."""
    return 1 if max(values) > 50 * min(values) else "D2"


def _note(x: float, text: str, xanchor: str, yanchor: str) -> dict[str, Any]:
    """A word at the upper end of a figure."""
    place = {"x": x, "y": 1, "yref": "paper", "xanchor": xanchor, "yanchor": yanchor}
    return {**place, "text": text, "showarrow": False, "font": {"size": 11}}


def _when(run: Run, place: int) -> list[float | None]:
    """The epoch, iteration, minutes and hours of a row of the log."""
    values = (
        (run.log[column][place] / unit) if column in run.log else None for column, unit in AXES.values()
    )
    return [value if value is None or np.isfinite(value) else None for value in values]


def _part(name: str) -> str:
    return "mean" if name.endswith("_mean") else escape(name)


def _part_line(place: int, names: Sequence[str]) -> dict[str, Any]:
    """The mean black and wide, the parts in colours and dashes."""
    if names[place].endswith("_mean"):
        return {"color": "#000000", "width": 3}
    others = [each for each in COLOURS if each != "#000000"]
    return {"color": others[(place - 1) % len(others)], "width": 1.8, "dash": _DASHES[place % len(_DASHES)]}
