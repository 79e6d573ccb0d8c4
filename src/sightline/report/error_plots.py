"""What is wrong, as SVG: errors by what they cost, scores against what they come to, differences of two models.

How they look is ``figures``'s matter.
"""

import math
from collections.abc import Sequence

import numpy as np

from sightline.evaluation.bootstrap import Comparison, Difference
from sightline.evaluation.calibration import Reliability
from sightline.evaluation.errors import KINDS, ErrorSummary
from sightline.report.figures import COLOURS, INK, add_legend, axes_for, shortened
from sightline.report.plots import MOST_BARS

_WRONG, _RIGHT, _ALL = COLOURS[5], COLOURS[4], INK


def error_plot(errors: ErrorSummary) -> str:
    """What each kind of error costs, as bars with counts; empty without objects."""
    if math.isnan(errors.ap50):
        return ""
    rows: list[tuple[str, float, str]] = [(kind, errors.costs[kind], f"{errors.counts[kind]:,}") for kind in KINDS]
    rows += [
        ("all wrong detections", errors.false_positive_cost, f"{sum(errors.counts[kind] for kind in KINDS[:-1]):,}"),
        ("all that was not found", errors.false_negative_cost, ""),
    ]
    names, costs, counts = zip(*rows, strict=True)
    caption = "AP50 that each kind of error costs"
    title = f"AP50 is {errors.ap50:.3f}; without the errors of one kind it gains"
    with axes_for("errors", title, "gain of AP50", "", caption=caption, height=3.2) as canvas:
        places = np.arange(len(rows)) + 0.4 * (np.arange(len(rows)) >= len(KINDS))
        colours = [_WRONG] * len(KINDS) + [_ALL] * 2
        bars = canvas.axes.barh(places, np.maximum(costs, 0), color=colours, height=0.7)
        for bar, faint in zip(bars, [1.0] * len(KINDS) + [0.45] * 2, strict=True):
            bar.set_alpha(faint)
        labels = [
            f"{cost:.3f} ({count} errors)" if count else f"{cost:.3f}"
            for cost, count in zip(costs, counts, strict=True)
        ]
        canvas.axes.bar_label(bars, labels, fontsize=9, padding=4)
        canvas.axes.set_yticks(places, names)
        canvas.axes.set(xlim=(0, max(0.02, *costs) * 1.45), ylim=(places[-1] + 0.6, -0.6))
        canvas.axes.grid(False, axis="y")
    return canvas.svg


def reliability_plot(after: Reliability, before: Reliability | None = None) -> str:
    """The share that is right over the score, with how many detections there are; empty without any.

    Args:
        after: as they come out.
        before: at temperature 1, where the model has another.
    """
    if after.detections == 0:
        return ""
    title, caption = "Of the detections with a score, how many are right", "Share of right detections over their score"
    with axes_for("reliability", title, "score", "share that is right", caption=caption) as canvas:
        axes = canvas.axes
        width = after.edges[1] - after.edges[0]
        middles = after.edges[:-1] + width / 2
        heights = after.counts / after.counts.max() * 0.22
        label = f"detections (at most {after.counts.max():,} in a bin)"
        axes.bar(middles, heights, width=width * 0.9, color=INK, alpha=0.14, label=label)
        axes.plot([0, 1], [0, 1], ":", color=INK, linewidth=1.2, label="as it should be")
        if before is not None:
            label = f"at temperature 1, ECE {before.ece:.3f}"
            axes.plot(*_filled(before), "--s", color=_WRONG, linewidth=1.4, label=label)
        axes.plot(*_filled(after), "-o", color=_RIGHT, label=f"scores as they come, ECE {after.ece:.3f}")
        axes.set(xlim=(0, 1.01), ylim=(0, 1.02))
        add_legend(axes)
    return canvas.svg


def _filled(found: Reliability) -> tuple[list[float], list[float]]:
    filled = found.counts > 0
    return found.scores[filled].tolist(), found.right[filled].tolist()


def comparison_plot(comparison: Comparison) -> str:
    """Differences of two models with their intervals; empty where nothing could be compared.

    Of many classes those that differ most are drawn.
    """
    shown = [found for found in comparison.overall if not math.isnan(found.low)]
    classes = [found for found in comparison.per_class if not math.isnan(found.low)]
    if not shown:
        return ""
    most = MOST_BARS
    title = f"A less B, with intervals of {comparison.level:.0%}"
    if len(classes) > most:
        title += f"; the {most} of {len(classes)} classes that differ most"
        classes = sorted(classes, key=lambda found: -abs(found.difference))[:most]
    height = 1.2 + 0.24 * max(4, len(shown) + len(classes))
    caption = "Differences of average precision of two models"
    with axes_for("comparison", title, "difference of AP", "", caption=caption, height=height) as canvas:
        axes = canvas.axes
        places = np.arange(len(shown) + len(classes)) + 0.4 * (np.arange(len(shown) + len(classes)) >= len(shown))
        for place, found in zip(places, [*shown, *classes], strict=True):
            colour = _RIGHT if found.verdict in ("A is better", "B is better") else INK
            axes.plot([found.low, found.high], [place, place], "-", color=colour, linewidth=2.2)
            axes.plot([found.difference], [place], "o", color=colour, markersize=5)
        axes.axvline(0, color=INK, linewidth=1, linestyle=":")
        axes.set_yticks(places, [shortened(name) for name in _names(shown, classes)])
        axes.set(ylim=(max(4.0, places[-1]) + 0.6, -0.6))
        axes.grid(False, axis="y")
    return canvas.svg


def _names(shown: Sequence[Difference], classes: Sequence[Difference]) -> list[str]:
    return [found.name for found in shown] + [f"{found.name} (AP)" for found in classes]
