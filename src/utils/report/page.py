"""The page itself: one HTML file with its styles, Plotly's library, figures and pictures in it."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from src.utils.report.findings import Shown, Table


def page(title: str, head: str, sections: Sequence[tuple[str, str]]) -> str:
    """The whole file. sections: headings, and what is below them as HTML."""
    from plotly.offline import get_plotlyjs

    names = [name for name, _ in sections]
    links = "".join(f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name in names)
    body = "".join(f'<h2 id="{_anchor(name)}">{escape(name)}</h2>\n{content}\n' for name, content in sections)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{_beside('page.css')}</style>\n"
        f"<script>{get_plotlyjs()}</script>\n</head>\n<body>\n"
        f"<header>\n{head}\n</header>\n<nav><div>{links}</div></nav>\n<main>\n{body}</main>\n"
        f"<script>{_beside('page.js')}</script>\n</body>\n</html>\n"
    )


def _beside(name: str) -> str:
    """The text of a file in this folder."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def key(label: str, colour: str) -> str:
    """A run's name beside the colour of its lines."""
    return f'<span class="key"><i style="border-color: {colour}"></i>{escape(label)}</span>'


def keys(pairs: Iterable[tuple[str, str]]) -> str:
    """A line that says what has which colour."""
    return f'<div class="keys">{"".join(key(name, colour) for name, colour in pairs)}</div>'


def card(content: str, heading: str = "", kind: str = "") -> str:
    """A white box; heading: plain text. kind: a further class."""
    head = f"<h3>{escape(heading)}</h3>" if heading else ""
    return f'<div class="card {kind}">{head}{content}</div>'


def cards(contents: Iterable[str], beside: bool = False) -> str:
    """Boxes beside each other where there is room: of one width, or as wide as what is in them.

    Of the latter those of the kind "grow" take what room there is.
    """
    return f'<div class="cards{" beside" if beside else ""}">{"".join(contents)}</div>'


def paragraph(text: str) -> str:
    """Plain text in a soft colour."""
    return f'<p class="soft">{escape(text)}</p>'


def details(summary: str, content: str) -> str:
    """HTML that is hidden below a line of plain text, until the reader asks for it."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def terms(pairs: Iterable[tuple[str, str]]) -> str:
    """A list of terms and what there is to say about each, both plain text."""
    rows = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in pairs)
    return f"<dl>{rows}</dl>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """Cells are HTML; the first of a row is its heading."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll"><table>{title}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def percentages(scores: Table, caption: str) -> str:
    """A table of one run, with how many each figure is of.

    Columns that say no more than the first are left out.
    """

    def informs(place: int) -> bool:
        return any(row[place] != row[0] and not math.isnan(row[place]) for row in scores.rows.values())

    informative = [place for place in range(len(scores.columns)) if not place or informs(place)]
    rows = [
        [escape(name), *(_percent(row[place]) for place in informative), *_count(scores, name)]
        for name, row in scores.rows.items()
    ]
    head = ["", *(scores.columns[place] for place in informative), *(["of"] if scores.counts else [])]
    return table(head, rows, caption)


def _count(scores: Table, name: str) -> list[str]:
    return [f"{scores.counts[name]:,}"] if scores.counts else []


def percentages_beside(tables: Sequence[Table], heads: Sequence[str], caption: str) -> str:
    """The first column of each run's table, under `heads` (HTML); the highest figure of a row is bold."""
    rows = []
    for name in dict.fromkeys(name for each in tables for name in each.rows):
        known = [each.rows[name][0] if name in each.rows else math.nan for each in tables]
        there = {value for value in known if not math.isnan(value)}
        best = max(there) if len(there) > 1 else None
        rows.append([escape(name), *(_percent(value, bold=value == best) for value in known)])
    return table(["", *heads], rows, caption)


def _percent(value: float, bold: bool = False) -> str:
    if math.isnan(value):
        return "–"
    return f"<b>{value:.1f}</b>" if bold else f"{value:.1f}"


def gallery(pictures: Sequence[Shown], wide: bool) -> str:
    """Pictures with their captions, as many in a row as fit."""
    each = "".join(
        f'<figure><img alt="{escape(shown.name)}" title="{escape(shown.name)}"'
        f' src="data:image/jpeg;base64,{shown.data}">'
        f"<figcaption>{escape(shown.caption)}</figcaption></figure>"
        for shown in pictures
    )
    return f'<div class="pictures{" wide" if wide else ""}">{each}</div>'
