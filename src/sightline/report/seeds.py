"""The report of several seeds: one page with every metric's mean and spread, and each seed's AP over epochs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.report.figures import COLOURS, INK, add_legend, axes_for, shortened
from sightline.report.html import flat_settings, versions
from sightline.report.page import (
    Cell,
    block,
    cards,
    escape,
    fact_table,
    figures,
    links,
    number,
    page,
    sections,
    sortable_table,
)

Numbers = tuple[float, float, float, float, int]
"""Mean, sample standard deviation, least, greatest, and of how many seeds; NaN where there is none."""

_HEADLINES = {"AP": "AP, IoU 0.50 to 0.95", "AP50": "AP50, IoU 0.50"}
_MOST_CLASSES = 24
_MOST_NAMED = 8


@dataclass(frozen=True, eq=False)
class SeedResult:
    """What one seed gave.

    Args:
        seed: the seed.
        folder: name of its run folder.
        report: path of its own report from the page.
        metrics: of the final judgement, by name; None where one is not defined.
        classes: AP by class; None where it is not defined.
        history: one row a validation.
    """

    seed: int
    folder: str
    report: str
    metrics: Mapping[str, float | None]
    classes: Mapping[str, float | None]
    history: Sequence[Mapping[str, float | str]]


@dataclass(frozen=True, eq=False)
class SeedsReport:
    """What the page tells.

    Args:
        title: of the page.
        place: what the seeds were judged on.
        starts_from: the weights that all seeds start from.
        settings: those of all seeds.
        runs: at least one.
        metrics: by name.
        classes: AP by class.
    """

    title: str
    place: str
    starts_from: str
    settings: Mapping[str, Any]
    runs: Sequence[SeedResult]
    metrics: Mapping[str, Numbers]
    classes: Mapping[str, Numbers]


def render_seeds(report: SeedsReport) -> str:
    """The text of the page."""
    wide = {
        "Metrics": _table("metric", report.metrics, [(run.seed, run.metrics) for run in report.runs]),
        "Seeds side by side": figures(
            [seeds_plot(report.runs, "AP"), seeds_plot(report.runs, "AP50"), classes_plot(report)]
        ),
        "Classes": _table("AP of the class", report.classes, [(run.seed, run.classes) for run in report.runs]),
    }
    narrow = {"Settings of all seeds": fact_table(flat_settings(report.settings)), "Versions": fact_table(versions())}
    titles = [title for title, body in (wide | narrow).items() if body]
    header = f"{_headline(report)}\n{_notes(report)}{links(titles)}"
    return page(report.title, header, f"{sections(wide)}\n{block('columns', [sections(narrow)])}")


def seeds_plot(runs: Sequence[SeedResult], metric: str) -> str:
    """A metric of the validation split over epochs: each seed's line and their mean; empty where nobody measured it."""
    lines = [(run.seed, *_series(run.history, metric)) for run in runs]
    lines = [line for line in lines if line[1]]
    if not lines:
        return ""
    caption = f"Validation {metric} over epochs of each seed, and the mean"
    title = f"{metric} of the validation split"
    with axes_for(f"seeds-{metric}", title, "epoch", metric, caption=caption) as canvas:
        for index, (seed, epochs, values) in enumerate(lines):
            label = f"seed {seed}" if len(lines) <= _MOST_NAMED else None
            colour = COLOURS[index % len(COLOURS)]
            canvas.axes.plot(epochs, values, "-o", color=colour, alpha=0.6, linewidth=1.2, label=label)
        if len(lines) > 1:
            grid = _common_epochs([epochs for _, epochs, _ in lines])
            mean = np.mean([np.interp(grid, epochs, values) for _, epochs, values in lines], axis=0)
            canvas.axes.plot(grid, mean, color=INK, linewidth=2.4, label=f"mean of {len(lines)} seeds")
        canvas.axes.set_ylim(0, 1)
        add_legend(canvas.axes)
    return canvas.svg


def classes_plot(report: SeedsReport) -> str:
    """AP of each class: a dot a seed, a bar for the mean; those whose AP differs most where there are many."""
    found = [(name, numbers) for name, numbers in report.classes.items() if not math.isnan(numbers[0])]
    if not found:
        return ""
    title = "AP of each class, each seed"
    if len(found) > _MOST_CLASSES:
        title = f"AP of the {_MOST_CLASSES} of {len(found)} classes that differ most between seeds"
        found = sorted(found, key=lambda each: each[1][2] - each[1][3])[:_MOST_CLASSES]
    height = 0.9 + 0.24 * max(4, len(found))
    with axes_for("seeds-classes", title, "", "", caption="AP of each class of each seed", height=height) as canvas:
        for row, (name, numbers) in enumerate(found):
            canvas.axes.plot([numbers[0]] * 2, [row - 0.3, row + 0.3], color=INK, linewidth=2.4)
            for index, run in enumerate(report.runs):
                value = run.classes.get(name)
                if value is not None:
                    canvas.axes.plot([value], [row], "o", color=COLOURS[index % len(COLOURS)], markersize=6, alpha=0.7)
        canvas.axes.set_yticks(range(len(found)), [shortened(name) for name, _ in found])
        canvas.axes.set(xlim=(0, 1), ylim=(max(4, len(found)) - 0.4, -0.6))
        canvas.axes.grid(False, axis="y")
    return canvas.svg


def with_deviation(numbers: Numbers, digits: int = 3) -> str:
    """A mean with its deviation, as ``0.593 ± 0.012``."""
    mean, deviation, _, _, count = numbers
    return number(mean, digits) + (f" ± {deviation:.{digits}f}" if count > 1 else "")


def _headline(report: SeedsReport) -> str:
    shown = [
        (with_deviation(report.metrics[name]), text) for name, text in _HEADLINES.items() if name in report.metrics
    ]
    return cards([*shown, (str(len(report.runs)), "seeds")])


def _notes(report: SeedsReport) -> str:
    reports = ", ".join(f'<a href="{escape(run.report)}">seed {run.seed}</a>' for run in report.runs)
    return (
        f"<p>Judged on {escape(report.place)}. Mean ± sample standard deviation (n - 1) over {len(report.runs)} "
        f"seeds. It says how much the seed matters, and nothing of other images.</p>\n"
        f"<p>All seeds start from the same: {escape(report.starts_from)}. A seed decides the weights of layers that "
        "start at random, the order of the images, their augmentation and the system's own draws.</p>\n"
        f"<p>The report of each: {reports}.</p>\n"
    )


def _table(what: str, rows: Mapping[str, Numbers], runs: Sequence[tuple[int, Mapping[str, float | None]]]) -> str:
    columns = (what, "mean", "std", "min", "max", "n", *(f"seed {seed}" for seed, _ in runs))
    return sortable_table(columns, [(name, _cells(name, numbers, runs)) for name, numbers in rows.items()])


def _cells(name: str, numbers: Numbers, runs: Sequence[tuple[int, Mapping[str, float | None]]]) -> list[Cell]:
    cells: list[Cell] = [(value, number(value)) for value in numbers[:4]]
    cells.append((numbers[4], str(numbers[4])))
    return cells + [(values.get(name), number(values.get(name))) for _, values in runs]


def _series(history: Sequence[Mapping[str, float | str]], metric: str) -> tuple[list[float], list[float]]:
    """Epochs and values of the rows that have the metric; epochs of several stages follow each other."""
    epochs: list[float] = []
    values: list[float] = []
    before, last, stage = 0.0, 0.0, None
    for row in history:
        if row.get("stage") != stage:
            before, stage = last, row.get("stage")
        epoch, value = row.get("epoch"), row.get(f"val/{metric}")
        if isinstance(epoch, float):
            last = before + epoch
            if isinstance(value, float) and math.isfinite(value):
                epochs.append(last)
                values.append(value)
    return epochs, values


def _common_epochs(lines: Sequence[Sequence[float]]) -> list[float]:
    """All epochs at which a seed was validated, as far as all seeds have come."""
    first, last = max(line[0] for line in lines), min(line[-1] for line in lines)
    return sorted({epoch for line in lines for epoch in line if first <= epoch <= last} | {first, last})
