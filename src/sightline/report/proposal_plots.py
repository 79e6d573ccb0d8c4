"""The curves by which proposers are compared (Hosang et al. 2016, figures 4, 7 and 8), as SVG."""

from collections.abc import Sequence

import numpy as np

from sightline.evaluation.perturbations import KINDS
from sightline.evaluation.proposal_recall import THRESHOLDS
from sightline.evaluation.proposers import ProposerResult
from sightline.report.figures import COLOURS, Canvas, add_legend, axes_for, legend_label

_MARKERS = "osD^vPX*"


def recall_over_iou_plot(results: Sequence[ProposerResult], count: int) -> str:
    """Recall over IoU of the first ``count`` proposals of each proposer that was judged at this count; or empty."""
    shown = [(index, result) for index, result in enumerate(results) if count in result.recall.counts]
    if not shown:
        return ""
    title = f"Recall over IoU, {count:,} proposals an image"
    caption = f"Recall over IoU of each proposer at {count} proposals"
    with axes_for(f"iou-{count}", title, "IoU", "recall", caption=caption) as canvas:
        for index, result in shown:
            curve = result.recall.recall(THRESHOLDS, count)
            canvas.axes.plot(THRESHOLDS, curve, color=_colour(index), label=legend_label(result.name))
        canvas.axes.set(xlim=(0.5, 1.0), ylim=(0, 1.02))
        add_legend(canvas.axes)
    return canvas.svg


def recall_over_count_plot(results: Sequence[ProposerResult], threshold: float) -> str:
    """Recall at an IoU over the number of proposals."""
    title = f"Recall at IoU {threshold:g} over proposals"
    name = f"count-{round(100 * threshold)}"
    with axes_for(name, title, "proposals an image", "recall", caption=f"{title} of each proposer") as canvas:
        for index, result in enumerate(results):
            counts = result.recall.counts
            values = [result.recall.recall((threshold,), count)[0] for count in counts]
            _line_over_count(canvas, index, result, values)
        _count_axis(canvas)
    return canvas.svg


def average_recall_plot(results: Sequence[ProposerResult]) -> str:
    """Average recall over the number of proposals."""
    title = "Average recall over proposals"
    with axes_for("ar", title, "proposals an image", "AR", caption=f"{title} of each proposer") as canvas:
        for index, result in enumerate(results):
            values = [result.recall.average_recall(count) for count in result.recall.counts]
            _line_over_count(canvas, index, result, values)
        _count_axis(canvas)
    return canvas.svg


def repeatability_plot(results: Sequence[ProposerResult]) -> str:
    """Mean repeatability under each kind of change as bars; empty where nobody measured it."""
    shown = [(index, result) for index, result in enumerate(results) if result.repeatability is not None]
    if not shown:
        return ""
    caption = "Repeatability of each proposer under each kind of change"
    height = 0.9 + 0.16 * len(KINDS) * (len(shown) + 1)
    with axes_for("repeatability", "Repeatability", "", "", caption=caption, height=height) as canvas:
        width = 0.8 / len(shown)
        for place, (index, result) in enumerate(shown):
            assert result.repeatability is not None
            values = result.repeatability.by_kind()
            rows = np.arange(len(KINDS)) + width * (place - (len(shown) - 1) / 2)
            found = [values.get(kind, np.nan) for kind in KINDS]
            canvas.axes.barh(rows, found, color=_colour(index), height=width * 0.9, label=legend_label(result.name))
        canvas.axes.set_yticks(range(len(KINDS)), list(KINDS))
        # Room for the legend below the bars.
        canvas.axes.set(xlim=(0, 1), ylim=(len(KINDS) - 0.3 + 0.25 * len(shown), -0.6))
        canvas.axes.grid(False, axis="y")
        canvas.axes.legend(loc="lower right", ncols=2)
    return canvas.svg


def change_plot(results: Sequence[ProposerResult], kind: str) -> str:
    """Repeatability over the levels of one kind of change; empty where nobody measured it."""
    shown = [(index, result) for index, result in enumerate(results) if result.repeatability is not None]
    if not shown:
        return ""
    changes = [result.repeatability.kinds()[kind] for _, result in shown if result.repeatability is not None]
    name = kind.replace(" ", "-").lower()
    title, unit = kind[0].upper() + kind[1:], changes[0][0].perturbation.unit
    caption = f"Repeatability over {kind}"
    with axes_for(f"change-{name}", title, unit, "repeatability", caption=caption, height=2.8) as canvas:
        for (index, result), levels in zip(shown, changes, strict=True):
            x = [change.perturbation.level for change in levels]
            y = [change.repeatability for change in levels]
            marker = _MARKERS[index % len(_MARKERS)]
            canvas.axes.plot(x, y, marker=marker, color=_colour(index), label=legend_label(result.name))
        if kind in ("scale", "salt and pepper"):
            canvas.axes.set_xscale("log", base=2 if kind == "scale" else 10)
            canvas.axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        canvas.axes.set_ylim(0, 1.02)
        add_legend(canvas.axes)
    return canvas.svg


def _line_over_count(canvas: Canvas, index: int, result: ProposerResult, values: Sequence[float]) -> None:
    # Where a proposer has no more to give its line ends: at the number that it made. 0 has no place on the axis.
    made = [number or np.nan for number in result.recall.made]
    marker = _MARKERS[index % len(_MARKERS)]
    canvas.axes.plot(made, values, marker=marker, color=_colour(index), label=legend_label(result.name))


def _count_axis(canvas: Canvas) -> None:
    canvas.axes.set_xscale("log")
    canvas.axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    canvas.axes.set_ylim(0, 1.02)
    add_legend(canvas.axes)


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]
