"""The furniture of a page that is one HTML file: its frame, sections, cards and tables.

Style and script are inside the file. Whatever comes from users passes through :func:`escape`.
"""

import html
import math
from collections.abc import Iterable, Mapping, Sequence

from sightline.report.style import SCRIPT, STYLE

NOT_MEASURED = "n/a"

Cell = tuple[object, str]
"""What a cell is sorted by, and its text; None sorts last."""


def page(title: str, header: str, main: str, *, style: str = "", script: str = SCRIPT) -> str:
    """The text of a whole page.

    Args:
        title: plain text; of the window, and above everything else.
        header: HTML under the title.
        main: HTML of all the rest.
        style: rules beside those that all pages share.
        script: what runs in it.
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{STYLE}{style}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{header}
</header>
<main>
{main}</main>
<script>{script}</script>
</body>
</html>
"""


def escape(value: object) -> str:
    """Plain text as HTML, also within quotes; halves of characters in names of files become question marks."""
    return html.escape(str(value), quote=True).encode("utf-8", "replace").decode()


def links(titles: Iterable[str]) -> str:
    """A line of links to sections."""
    inside = "".join(f'<a href="#{_anchor(title)}">{title}</a>' for title in titles)
    return f"<nav>{inside}</nav>"


def sections(bodies: Mapping[str, str]) -> str:
    """Sections by title; those without a body are left out."""
    return "\n".join(
        f'<section id="{_anchor(title)}"><h2>{title}</h2>\n{body}</section>' for title, body in bodies.items() if body
    )


def block(kind: str, parts: Iterable[str]) -> str:
    """Parts in a ``div`` of a class; nothing where all are empty."""
    inside = "\n".join(part for part in parts if part)
    return f'<div class="{kind}">\n{inside}\n</div>\n' if inside else ""


def cards(values: Iterable[tuple[str, str]]) -> str:
    """Large numbers with what they are."""
    return block("cards", (f'<div class="card"><b>{value}</b><span>{text}</span></div>' for value, text in values))


def figures(svgs: Sequence[str]) -> str:
    """Plots side by side."""
    return block("plots", svgs)


def fact_table(facts: Mapping[str, object]) -> str:
    """Names with their values, as plain text; nothing for none."""
    rows = "\n".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in facts.items())
    return f'<table class="facts"><tbody>\n{rows}\n</tbody></table>\n' if rows else ""


def sortable_table(columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Cell]]]) -> str:
    """A table that a click on a column sorts; nothing without rows.

    Args:
        columns: HTML of the heads.
        rows: plain text of the first cell, and what the others are.
    """
    if not rows:
        return ""
    head = "".join(f"<th>{name}</th>" for name in columns)
    body = "\n".join(f"<tr><td>{escape(name)}</td>{_cells(cells)}</tr>" for name, cells in rows)
    return (
        f'<div class="scroll"><table class="sortable"><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>'
        "</div>\n"
    )


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many decimals, or that there is none."""
    return NOT_MEASURED if value is None or math.isnan(value) else f"{value:,.{digits}f}"


def _cells(cells: Sequence[Cell]) -> str:
    return "".join(_cell(cell) for cell in cells)


def _cell(cell: Cell) -> str:
    value, text = cell
    nothing = value is None or (isinstance(value, float) and math.isnan(value))
    key = "" if nothing else f"{value:.6g}" if isinstance(value, float) else escape(value)
    return f'<td data-value="{key}">{text}</td>'


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")
