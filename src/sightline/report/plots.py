"""The curves and bars of a run's report, as SVG.

How they look is ``figures``'s matter.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sightline.evaluation.coco import CocoResult, Curve
from sightline.evaluation.curves import OperatingPoint
from sightline.report.figures import COLOURS, INK, add_legend, axes_for, legend_label, shortened

Row = Mapping[str, object]
"""One epoch of a run's history, by column name."""

MOST_CURVES = 10
"""Classes whose curves are told apart by colour; with more of them all are grey and the mean stands out."""

MOST_BARS = 24
"""Classes that get a bar; of more, the worst and the best halves of this number."""


def loss_plot(history: Sequence[Row]) -> str:
    """Losses over epochs by name: columns ``train/NAME`` as lines, ``val/NAME`` broken; empty without any."""
    found = {key.partition("/")[2] for key in _columns(history) if key.startswith("train/")}
    # A validation column belongs here only if training has the loss too: AP and its kin are drawn elsewhere.
    names = [name for name in _unique(key.partition("/")[2] for key in _columns(history)) if name in found]
    if not any(_series(history, f"train/{name}")[0] for name in names):
        return ""
    with axes_for("loss", "Losses", "epoch", "loss", caption="Training and validation losses over epochs") as canvas:
        for index, name in enumerate(names):
            colour = COLOURS[index % len(COLOURS)]
            canvas.axes.plot(*_series(history, f"train/{name}"), "-o", color=colour, label=legend_label(name))
            validation = _series(history, f"val/{name}")
            if validation[0]:
                canvas.axes.plot(*validation, "--s", color=colour, label=legend_label(f"{name}, validation"))
        canvas.axes.set_ylim(bottom=0)
        add_legend(canvas.axes)
    return canvas.svg


def ap_plot(history: Sequence[Row]) -> str:
    """Validation AP, AP50 and AP75 over epochs; empty without any."""
    names = [name for name in ("AP50", "AP", "AP75") if _series(history, f"val/{name}")[0]]
    if not names:
        return ""
    with axes_for("ap", "Average precision", "epoch", "AP", caption="Validation AP over epochs") as canvas:
        for name, colour in zip(names, COLOURS[1:], strict=False):
            canvas.axes.plot(*_series(history, f"val/{name}"), "-o", color=colour, label=name)
        canvas.axes.set_ylim(0, 1)
        add_legend(canvas.axes)
    return canvas.svg


def learning_rate_plot(history: Sequence[Row]) -> str:
    """The learning rate over epochs; empty where it was not recorded."""
    series = _series(history, "lr")
    if not series[0]:
        return ""
    with axes_for("lr", "Learning rate", "epoch", "learning rate", caption="Learning rate over epochs") as canvas:
        canvas.axes.plot(*series, "-o", color=COLOURS[4])
        canvas.axes.set_ylim(bottom=0)
    return canvas.svg


def pr_plot(curves: Sequence[Curve], points: Sequence[OperatingPoint] = (), measure: str = "IoU") -> str:
    """Precision over recall of each class at overlap 0.5; empty without a class that has objects.

    Args:
        curves: one a class.
        points: one a class or none: the operating points are marked by rings.
        measure: what the overlap is called.
    """
    shown = [curve for curve in curves if len(curve.recall)]
    if not shown:
        return ""
    many = len(shown) > MOST_CURVES
    rings = {point.name: point for point in points if math.isfinite(point.threshold)}
    caption = "Precision over recall at overlap 0.5"
    with axes_for("pr", f"Precision and recall at {measure} 0.5", "recall", "precision", caption=caption) as canvas:
        style: dict[str, Any]
        for index, curve in enumerate(shown):
            colour = INK if many else COLOURS[index % len(COLOURS)]
            style = {"alpha": 0.2, "linewidth": 0.8} if many else {"label": legend_label(curve.name)}
            canvas.axes.plot(curve.recall, curve.precision, color=colour, **style)
            if curve.name in rings and not many:
                ring = rings[curve.name]
                canvas.axes.plot([ring.recall], [ring.precision], "o", color=colour, markersize=7, fillstyle="none")
        if len(shown) > 1:
            mean = np.mean([curve.precision for curve in shown], axis=0)
            style = {"color": COLOURS[4]} if many else {"color": INK, "linestyle": ":", "linewidth": 1.2}
            canvas.axes.plot(shown[0].recall, mean, label=f"mean of {len(shown)} classes", **style)
        canvas.axes.set(xlim=(0, 1.01), ylim=(0, 1.02))
        add_legend(canvas.axes)
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
    with axes_for("classes", title, "", "", caption="AP and AP50 of each class", height=height) as canvas:
        rows = np.arange(len(found))
        canvas.axes.barh(rows, [c.ap50 for c in found], color=COLOURS[1], alpha=0.45, height=0.7, label="AP50")
        canvas.axes.barh(rows, [c.ap for c in found], color=COLOURS[4], height=0.7, label="AP")
        canvas.axes.set_yticks(rows, [shortened(c.name) for c in found])
        canvas.axes.set(xlim=(0, 1), ylim=(max(4, len(found)) - 0.4, -0.6))
        canvas.axes.grid(False, axis="y")
        add_legend(canvas.axes)
    return canvas.svg


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
