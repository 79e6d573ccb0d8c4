"""The bars on a page of statistics about a set, as SVG."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import FuncFormatter

from sightline.data.statistics import Histogram, SplitStatistics
from sightline.evaluation.anchor_coverage import Coverage, Share
from sightline.report.figures import COLOURS, INK, add_legend, axes_for, legend_label, shortened
from sightline.report.plots import MOST_BARS

Splits = Sequence[SplitStatistics]

_SIZES = ("small", "medium", "large")
_MATCHED, _BETWEEN, _MISSED = COLOURS[2], COLOURS[0], COLOURS[5]


def per_image_plot(splits: Splits) -> str:
    """Shares of images by their number of objects; empty without images."""
    histograms = {split.split: split.per_image_histogram for split in splits}
    return _bars("per-image", "Objects an image", "objects", "images", histograms)


def relative_size_plot(splits: Splits) -> str:
    """Shares of objects by the side of their box over that of the image; empty without objects."""
    histograms = {split.split: split.relative_histogram for split in splits}
    label = "square root of box area over image area"
    return _bars("relative", "Size in the image", label, "objects", histograms)


def aspect_plot(splits: Splits) -> str:
    """Shares of objects by width over height; empty without objects."""
    histograms = {split.split: split.aspect_histogram for split in splits}
    return _bars("aspect", "Shape", "width over height", "objects", histograms)


def size_plot(splits: Splits) -> str:
    """Shares of objects by COCO's three sizes; empty without objects."""
    counts = {split.split: (split.sizes.small, split.sizes.medium, split.sizes.large) for split in splits}
    return _grouped("sizes", "Size by COCO's areas", "32² and 96² pixels are the limits", "objects", _SIZES, counts)


def class_plot(split: SplitStatistics, number: int) -> str:
    """Objects of each class of a split on a logarithmic axis; empty without classes.

    Args:
        split: its statistics.
        number: of the split on the page.
    """
    found = sorted(split.classes, key=lambda count: -count.objects)
    if not found:
        return ""
    title = f"{shortened(split.split)}: objects of each class"
    if len(found) > MOST_BARS:
        half = MOST_BARS // 2
        title = f"{shortened(split.split)}: the {half} most and the {half} least frequent of {len(found)} classes"
        found = found[:half] + found[-half:]
    height = 0.9 + 0.22 * max(4, len(found))
    with axes_for(f"classes-{number}", title, "objects", "", caption="Objects of each class", height=height) as canvas:
        rows = np.arange(len(found))
        canvas.axes.barh(rows, [count.objects for count in found], color=COLOURS[number % len(COLOURS)], height=0.7)
        canvas.axes.set_yticks(rows, [shortened(count.name) for count in found])
        # Linear below ten, so that classes without objects have their place.
        canvas.axes.set_xscale("symlog", linthresh=10)
        canvas.axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        canvas.axes.set(xlim=(0, None), ylim=(max(4, len(found)) - 0.4, -0.6))
        canvas.axes.grid(False, axis="y")
    return canvas.svg


def overlap_plot(coverage: Coverage, number: int) -> str:
    """Objects by their best IoU with any anchor, with the thresholds; empty without objects."""
    if not len(coverage.overlaps):
        return ""
    title = "Best IoU of each object with any anchor"
    with axes_for(f"overlap-{number}", title, "IoU", "objects", caption=title) as canvas:
        limits = _limits(coverage)
        for low, high, colour, label in limits:
            inside = coverage.overlaps[(coverage.overlaps >= low) & (coverage.overlaps < high)]
            canvas.axes.hist(inside, bins=_steps(coverage), color=colour, label=label)
        for threshold in (coverage.negative, coverage.positive):
            canvas.axes.axvline(threshold, color=INK, linestyle=":", linewidth=1)
        canvas.axes.set_xlim(0, 1)
        add_legend(canvas.axes)
    return canvas.svg


def coverage_plot(shares: Sequence[Share], number: int) -> str:
    """Bars of what is matched, between and missed; empty without objects.

    Args:
        shares: one bar each, from the top; those without objects are left out.
        number: of the split on the page.
    """
    shown = [share for share in shares if share.objects][: 4 + MOST_BARS]
    if not shown:
        return ""
    height = 0.9 + 0.22 * max(4, len(shown))
    title = "Matched by an anchor"
    caption = "Shares of objects that anchors match"
    with axes_for(f"coverage-{number}", title, "share of objects", "", caption=caption, height=height) as canvas:
        rows, left = np.arange(len(shown)), np.zeros(len(shown))
        for name, colour in (("matched", _MATCHED), ("between", _BETWEEN), ("missed", _MISSED)):
            widths = np.asarray([vars(share)[name] / share.objects for share in shown])
            canvas.axes.barh(rows, widths, left=left, color=colour, height=0.7)
            left = left + widths
        canvas.axes.set_yticks(rows, [shortened(share.name) for share in shown])
        canvas.axes.set(xlim=(0, 1), ylim=(max(4, len(shown)) - 0.4, -0.6))
        canvas.axes.grid(False, axis="y")
    return canvas.svg


def _limits(coverage: Coverage) -> list[tuple[float, float, str, str]]:
    low, high = coverage.negative, coverage.positive
    return [
        (high, 2.0, _MATCHED, f"matched, from {high:g}"),
        (low, high, _BETWEEN, "between"),
        (-1.0, low, _MISSED, f"missed, below {low:g}"),
    ]


def _steps(coverage: Coverage) -> list[float]:
    """Bars that end where the thresholds are."""
    parts = ((0.0, coverage.negative), (coverage.negative, coverage.positive), (coverage.positive, 1.0))
    steps = [np.linspace(a, b, 1 + max(1, round((b - a) / 0.025))) for a, b in parts]
    return [float(edge) for edge in np.unique(np.concatenate(steps))]


def _bars(name: str, title: str, x_label: str, what: str, histograms: Mapping[str, Histogram]) -> str:
    edges = next((histogram.edges for histogram in histograms.values()), ())
    counts = {split: histogram.counts for split, histogram in histograms.items()}
    return _grouped(name, title, x_label, what, [range_text(edges, place) for place in range(len(edges))], counts)


def _grouped(
    name: str, title: str, x_label: str, what: str, bars: Sequence[str], counts: Mapping[str, Sequence[int]]
) -> str:
    """Groups of bars, one a split, as shares of each split."""
    counts = {split: values for split, values in counts.items() if sum(values)}
    if not counts:
        return ""
    with axes_for(name, title, x_label, f"share of {what}", caption=title) as canvas:
        places, width = np.arange(len(bars)), 0.8 / len(counts)
        for number, (split, values) in enumerate(counts.items()):
            shares = np.asarray(values) / sum(values)
            offset = (number - (len(counts) - 1) / 2) * width
            colour = COLOURS[number % len(COLOURS)]
            canvas.axes.bar(places + offset, shares, width, color=colour, label=legend_label(split))
        crowded = len(bars) > 8
        canvas.axes.set_xticks(places, bars, rotation=45 if crowded else 0, ha="right" if crowded else "center")
        canvas.axes.grid(False, axis="x")
        if len(counts) > 1:
            add_legend(canvas.axes)
    return canvas.svg


def range_text(edges: Sequence[float], place: int) -> str:
    """What a bar spans: whole numbers with the last one, others up to the next bar."""
    first = edges[place]
    if place + 1 == len(edges):
        return f"{first:g} or more"
    last = edges[place + 1]
    if not all(float(edge).is_integer() for edge in edges):
        return f"{first:.2g} to {last:.2g}"
    return f"{first:g}" if last == first + 1 else f"{first:g} to {last - 1:g}"
