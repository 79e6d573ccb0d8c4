"""Figures as SVG that goes straight into a page.

Lines and letters are drawn in the page's own text colour (``currentColor``), so that one picture serves light and
dark pages and paper. Figures are matplotlib's, without its global state; names are written as they are, never as
mathematics.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sightline.report.draw import PALETTE

COLOURS = tuple("#{:02x}{:02x}{:02x}".format(*colour) for colour in PALETTE)
"""The colours of the classes as text."""

INK = "#010203"  # stands for currentColor until the SVG is written
_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "sightline",
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.markersize": 3.5,
}


class Canvas:
    """Axes to draw on, and after the block the finished SVG."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        self.svg = ""


@contextmanager
def axes_for(
    name: str, title: str, x_label: str, y_label: str, *, caption: str, height: float = 3.4
) -> Iterator[Canvas]:
    """Axes for one figure of a page.

    Args:
        name: of the figure; no other on the page has it.
        title: above it.
        x_label: of the x axis.
        y_label: of the y axis.
        caption: what it shows, for readers that cannot see it; no quotes.
        height: in inches at a width of 6.2.
    """
    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(6.2, height), layout="constrained")
        canvas = Canvas(figure.subplots())
        canvas.axes.set(title=title, xlabel=x_label, ylabel=y_label)
        yield canvas
        canvas.svg = _inline_svg(figure, name, caption)


def _inline_svg(figure: Figure, name: str, caption: str) -> str:
    buffer = StringIO()
    with warnings.catch_warnings():
        # Letters that matplotlib's font lacks are only measured wrong: the reader's browser has its own fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Without a size of its own the picture takes the width of the page's column.
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    # Ids are unique in one figure only, but a page has several.
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = svg.replace(INK, "currentColor")
    return svg.replace("<svg", f'<svg role="img" aria-label="{caption}"', 1)


def add_legend(axes: Axes) -> None:
    """Adds a legend of what has a label, in two columns where there is much."""
    axes.legend(loc="best", ncols=2 if len(axes.get_legend_handles_labels()[0]) > 5 else 1)


def legend_label(name: str) -> str:
    """A name as the legend shows it: matplotlib leaves out those that begin with an underscore."""
    return f" {shortened(name)}" if name.startswith("_") else shortened(name)


def shortened(name: str, most: int = 28) -> str:
    """A name on one line, cut with an ellipsis where it is longer than ``most`` characters."""
    name = " ".join(name.split())
    return name if len(name) <= most else name[: most - 1] + "…"
