"""The page itself: one HTML file with its styles, Plotly's library, figures and pictures in it."""

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
    return f'<p class="soft">{escape(text)}</p>'


def details(summary: str, content: str) -> str:
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


def percentages(tables: Sequence[Table], heads: Sequence[str], caption: str, count: str) -> str:
    """Tables of runs side by side; of a single one with how many each figure is of, called `count`.

    A single run shows its columns, but for those that say no more than the first. Several show the first one
    of each, under `heads` (HTML), and the highest figure of a row is bold.
    """
    alone = len(tables) == 1
    names = list(dict.fromkeys(name for each in tables for name in each.rows))
    columns = list(tables[0].columns) if alone else list(heads)
    counted = tables[0].counts if alone else {}
    rows = []
    for name in names:
        known = (
            tables[0].rows[name] if alone else [each.rows.get(name, (float("nan"),))[0] for each in tables]
        )
        there = [value for value in known if value == value]
        differ = not alone and len(set(there)) > 1
        cells = [_percent(value, bold=differ and value == max(there)) for value in known]
        rows.append([escape(name), *cells, *([f"{counted[name]:,}"] if counted else [])])
    same = {place for place in range(1, len(columns)) if all(row[place + 1] in (row[1], "–") for row in rows)}
    shown = [place for place in range(len(columns)) if not alone or place not in same]
    kept = [[row[0], *(row[place + 1] for place in shown), *row[len(columns) + 1 :]] for row in rows]
    head = ["", *(columns[place] for place in shown), *([count] if counted else [])]
    return table(head, kept, caption)


def _percent(value: float, bold: bool) -> str:
    if value != value:
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
