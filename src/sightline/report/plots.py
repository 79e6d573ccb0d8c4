"""Curves and bars as SVG that goes straight into a page.

Lines and letters are drawn in the page's own text colour (``currentColor``), so that one picture serves light and
dark pages and paper. Figures are matplotlib's, without its global state; names are written as they are, never as
mathematics.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sightline.evaluation.coco import CocoResult, Curve
from sightline.evaluation.curves import OperatingPoint
from sightline.report.draw import PALETTE

Row = Mapping[str, object]
"""One epoch of a run's history, by column name."""

COLOURS = tuple("#{:02x}{:02x}{:02x}".format(*colour) for colour in PALETTE)

MOST_CURVES = 10
"""Classes whose curves are told apart by colour; with more of them all are grey and the mean stands out."""

MOST_BARS = 24
"""Classes that get a bar; of more, the worst and the best halves of this number."""

_INK = "#010203"  # stands for currentColor until the SVG is written
_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "sightline",
    "text.parse_math": False,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.grid": True,
    "grid.color": _INK,
    "grid.alpha": 0.15,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "figure.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.markersize": 3.5,
}


def loss_plot(history: Sequence[Row]) -> str:
    """Losses over epochs by name: columns ``train/NAME`` as lines, ``val/NAME`` broken; empty without any."""
    found = {key.partition("/")[2] for key in _columns(history) if key.startswith("train/")}
    # A validation column belongs here only if training has the loss too: AP and its kin are drawn elsewhere.
    names = [name for name in _unique(key.partition("/")[2] for key in _columns(history)) if name in found]
    if not any(_series(history, f"train/{name}")[0] for name in names):
        return ""
    with _axes("loss", "Losses", "epoch", "loss", caption="Training and validation losses over epochs") as canvas:
        for index, name in enumerate(names):
            colour = COLOURS[index % len(COLOURS)]
            canvas.axes.plot(*_series(history, f"train/{name}"), "-o", color=colour, label=_label(name))
            validation = _series(history, f"val/{name}")
            if validation[0]:
                canvas.axes.plot(*validation, "--s", color=colour, label=_label(f"{name}, validation"))
        canvas.axes.set_ylim(bottom=0)
        _legend(canvas.axes)
    return canvas.svg


def ap_plot(history: Sequence[Row]) -> str:
    """Validation AP, AP50 and AP75 over epochs; empty without any."""
    names = [name for name in ("AP50", "AP", "AP75") if _series(history, f"val/{name}")[0]]
    if not names:
        return ""
    with _axes("ap", "Average precision", "epoch", "AP", caption="Validation AP over epochs") as canvas:
        for name, colour in zip(names, COLOURS[1:], strict=False):
            canvas.axes.plot(*_series(history, f"val/{name}"), "-o", color=colour, label=name)
        canvas.axes.set_ylim(0, 1)
        _legend(canvas.axes)
    return canvas.svg


def learning_rate_plot(history: Sequence[Row]) -> str:
    """The learning rate over epochs; empty where it was not recorded."""
    series = _series(history, "lr")
    if not series[0]:
        return ""
    with _axes("lr", "Learning rate", "epoch", "learning rate", caption="Learning rate over epochs") as canvas:
        canvas.axes.plot(*series, "-o", color=COLOURS[4])
        canvas.axes.set_ylim(bottom=0)
    return canvas.svg


def pr_plot(curves: Sequence[Curve], points: Sequence[OperatingPoint] = ()) -> str:
    """Precision over recall of each class at overlap 0.5; empty without a class that has objects.

    Args:
        curves: one a class.
        points: one a class or none: the operating points are marked by rings.
    """
    shown = [curve for curve in curves if len(curve.recall)]
    if not shown:
        return ""
    many = len(shown) > MOST_CURVES
    rings = {point.name: point for point in points if math.isfinite(point.threshold)}
    caption = "Precision over recall at overlap 0.5"
    with _axes("pr", "Precision and recall at IoU 0.5", "recall", "precision", caption=caption) as canvas:
        style: dict[str, Any]
        for index, curve in enumerate(shown):
            colour = _INK if many else COLOURS[index % len(COLOURS)]
            style = {"alpha": 0.2, "linewidth": 0.8} if many else {"label": _label(curve.name)}
            canvas.axes.plot(curve.recall, curve.precision, color=colour, **style)
            if curve.name in rings and not many:
                ring = rings[curve.name]
                canvas.axes.plot([ring.recall], [ring.precision], "o", color=colour, markersize=7, fillstyle="none")
        if len(shown) > 1:
            mean = np.mean([curve.precision for curve in shown], axis=0)
            style = {"color": COLOURS[4]} if many else {"color": _INK, "linestyle": ":", "linewidth": 1.2}
            canvas.axes.plot(shown[0].recall, mean, label=f"mean of {len(shown)} classes", **style)
        canvas.axes.set(xlim=(0, 1.01), ylim=(0, 1.02))
        _legend(canvas.axes)
    return canvas.svg


def class_plot(result: CocoResult) -> str:
    """AP and AP50 of each class as bars, best first; empty without a class that has objects."""
    found = sorted((c for c in result.per_class if not math.isnan(c.ap)), key=lambda c: -c.ap)
    if not found:
        return ""
    title = "AP of each class"
    if len(found) > MOST_BARS:
        title = f"AP of the {MOST_BARS // 2} best and the {MOST_BARS // 2} worst of {len(found)} classes"
        found = found[: MOST_BARS // 2] + found[-MOST_BARS // 2 :]
    height = 0.9 + 0.22 * max(4, len(found))
    with _axes("classes", title, "", "", caption="AP and AP50 of each class", height=height) as canvas:
        rows = np.arange(len(found))
        canvas.axes.barh(rows, [c.ap50 for c in found], color=COLOURS[1], alpha=0.45, height=0.7, label="AP50")
        canvas.axes.barh(rows, [c.ap for c in found], color=COLOURS[4], height=0.7, label="AP")
        canvas.axes.set_yticks(rows, [_shortened(c.name) for c in found])
        canvas.axes.set(xlim=(0, 1), ylim=(max(4, len(found)) - 0.4, -0.6))
        canvas.axes.grid(False, axis="y")
        _legend(canvas.axes)
    return canvas.svg


class _Canvas:
    """Axes to draw on, and after the block the finished SVG."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        self.svg = ""


@contextmanager
def _axes(name: str, title: str, x_label: str, y_label: str, *, caption: str, height: float = 3.4) -> Iterator[_Canvas]:
    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(6.2, height), layout="constrained")
        canvas = _Canvas(figure.subplots())
        canvas.axes.set(title=title, xlabel=x_label, ylabel=y_label)
        yield canvas
        canvas.svg = _inline_svg(figure, name, caption)


def _inline_svg(figure: Figure, name: str, caption: str) -> str:
    buffer = StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Without a size of its own the picture takes the width of the page's column.
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    # Ids are unique in one figure only, but a page has several.
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = svg.replace(_INK, "currentColor")
    return svg.replace("<svg", f'<svg role="img" aria-label="{caption}"', 1)


def _legend(axes: Axes) -> None:
    axes.legend(loc="best", ncols=2 if len(axes.get_legend_handles_labels()[0]) > 5 else 1)


def _label(name: str) -> str:
    """A name as the legend shows it: matplotlib leaves out those that begin with an underscore."""
    return f" {_shortened(name)}" if name.startswith("_") else _shortened(name)


def _shortened(name: str, most: int = 28) -> str:
    name = " ".join(name.split())
    return name if len(name) <= most else name[: most - 1] + "…"


def _unique(items: Iterator[str]) -> list[str]:
    return list(dict.fromkeys(items))


def _columns(history: Sequence[Row]) -> list[str]:
    return _unique(key for row in history for key in row)


def _series(history: Sequence[Row], key: str) -> tuple[list[float], list[float]]:
    """Epochs and values of a column, where it has finite numbers; rows without an epoch are counted from 1."""
    x, y = [], []
    for number, row in enumerate(history, start=1):
        value, epoch = row.get(key), row.get("epoch", number)
        if isinstance(value, int | float) and math.isfinite(value) and isinstance(epoch, int | float):
            x.append(float(epoch))
            y.append(float(value))
    return x, y
