"""The report of a comparison: one page with the table of all systems, plots, intervals and the same images."""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sightline.evaluation.bootstrap import LEAST_IMAGES, Comparison
from sightline.evaluation.voc import PROTOCOLS
from sightline.report.comparison_data import (
    QUALITY_AND_TIME,
    SIZE,
    Column,
    ComparedSystem,
    LectureRow,
    base_of,
    delta,
    duration,
    milliseconds,
    quartile_keys,
    ratios,
    shown_columns,
)
from sightline.report.comparison_pictures import Panel, SameImage
from sightline.report.comparison_plots import curves_plot, differences_plot, speed_plot, training_plot
from sightline.report.draw import row_length
from sightline.report.html import flat_settings, versions
from sightline.report.page import (
    NOT_MEASURED,
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

_STYLE = """
.same { display: grid; grid-template-columns: repeat(var(--row), minmax(0, 1fr)); gap: .8rem; }
@media screen and (max-width: 48rem) { .same { grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); } }
.failed { color: #b3261e; } @media screen and (prefers-color-scheme: dark) { .failed { color: #f2998f; } }
"""

_LONGEST_ROW = 7
"""Pictures side by side at most: the truth and six systems."""


@dataclass(frozen=True, eq=False)
class ComparisonReport:
    """What the page tells.

    Args:
        title: of the page.
        place: what all were judged on.
        systems: the rows.
        lectures: ratios beside reported ones; empty where those systems are not there.
        comparisons: intervals of differences.
        pictures: the same images as all see them.
        settings: of the comparison.
    """

    title: str
    place: str
    systems: Sequence[ComparedSystem]
    lectures: Sequence[LectureRow]
    comparisons: Sequence[Comparison]
    pictures: Sequence[SameImage]
    settings: Mapping[str, Any]


def render_comparison(report: ComparisonReport) -> str:
    """The text of the page."""
    systems = report.systems
    wide = {
        "Table": _tables(systems),
        "Beside the lectures": _lectures(report.lectures),
        "Accuracy against time": figures([speed_plot(systems), training_plot(systems)]),
        "Precision, recall and differences": figures([curves_plot(systems), differences_plot(report.comparisons)])
        + _differences(report.comparisons),
        "Classes": _classes(systems),
        "The same images": _pictures(report.pictures),
    }
    narrow = {"Settings": fact_table(flat_settings(report.settings)), "Versions": fact_table(versions())}
    titles = [title for title, body in (wide | narrow).items() if body]
    header = f"{_headline(report)}\n{_notes(report)}{links(titles)}"
    return page(report.title, header, f"{sections(wide)}\n{block('columns', [sections(narrow)])}", style=_STYLE)


def _headline(report: ComparisonReport) -> str:
    judged = [system for system in report.systems if system.mean("AP") is not None]
    best = max(judged, key=lambda system: system.mean("AP") or 0.0, default=None)
    timed = [system for system in judged if system.mean("milliseconds") is not None]
    fastest = min(timed, key=lambda system: system.mean("milliseconds") or 0.0, default=None)
    shown = [(str(len(report.systems)), "systems")]
    if best is not None:
        shown.append((_with_deviation(best, "AP", number), f"best AP: {escape(best.name)}"))
    if fastest is not None:
        shown.append((milliseconds(fastest.mean("milliseconds") or 0.0), f"fastest image: {escape(fastest.name)}"))
    return cards(shown)


def _notes(report: ComparisonReport) -> str:
    several = max((len(system.runs) for system in report.systems), default=0) > 1
    text = f"<p>Judged on {escape(report.place)}, all by one evaluation.</p>\n"
    if several:
        text += (
            "<p>Mean ± sample standard deviation (n - 1) over the seeds. Curves, differences and images are those of "
            "the first seed.</p>\n"
        )
    for system in report.systems:
        if system.state == "failed":
            text += f'<p class="failed"><b>{escape(system.name)}</b> failed: {escape(system.message)}</p>\n'
        elif system.state == "interrupted":
            text += f"<p>{escape(system.name)} was interrupted.</p>\n"
        elif system.state == "waiting":
            text += f"<p>{escape(system.name)} waits for its turn.</p>\n"
        for warning in system.warnings:
            text += f"<p>Warning, {escape(system.name)}: {escape(warning)}.</p>\n"
    if any(system.state != "finished" for system in report.systems):
        text += (
            "<p>The same command, with <code>--resume</code> and the folder of this page as <code>--out</code>, goes "
            "on with what is not finished and tries again what failed.</p>\n"
        )
    reports = ", ".join(
        f'<a href="{escape(run.report)}">{escape(run.folder)}</a>' for system in report.systems for run in system.runs
    )
    return text + (f"<p>The report of each: {reports}.</p>\n" if reports else "")


def _tables(systems: Sequence[ComparedSystem]) -> str:
    """Both tables, and what their columns mean."""
    groups = [shown_columns(systems, group) for group in (QUALITY_AND_TIME, SIZE)]
    if not any(groups):
        return ""
    meanings = "; ".join(f"<b>{column.title}</b>: {escape(column.meaning)}" for group in groups for column in group)
    return (
        _quality_and_time(systems, groups[0])
        + _sizes(systems, groups[1])
        + f'<p class="soft">{meanings}; <b>x</b>: times as fast as the slowest row; <b>Δ</b>: less the row it is '
        "compared with. Times are those of this machine; of a prediction the median of several, and where the pointer "
        "rests on it the half in the middle.</p>\n" + _variants(systems)
    )


def _quality_and_time(systems: Sequence[ComparedSystem], columns: Sequence[Column]) -> str:
    heads = ["system"]
    for column in columns:
        heads += [_head(column), *([column.ratio] if column.ratio else [])]
        heads += ["Δ AP", "compared with"] if column.key == "AP" else []
    fast = {column.key: ratios(systems, column.key) for column in columns if column.ratio}
    rows: list[tuple[str, list[Cell]]] = []
    for place, system in enumerate(systems):
        base = base_of(systems, system)
        cells: list[Cell] = []
        for column in columns:
            cells.append(_mean(system, column))
            if column.ratio:
                cells.append(_times(fast[column.key][place]))
            if column.key == "AP":
                cells.append(_signed(delta(systems, system, "AP")))
                cells.append(("", "") if base is None else (base.name, escape(base.name)))
        rows.append((system.name, cells))
    return sortable_table(heads, rows)


def _sizes(systems: Sequence[ComparedSystem], columns: Sequence[Column]) -> str:
    rows = [(system.name, [_mean(system, column) for column in columns]) for system in systems]
    return "<h3>Size and memory</h3>\n" + sortable_table(("system", *map(_head, columns)), rows) if columns else ""


def _head(column: Column) -> str:
    return f'<span title="{escape(column.meaning)}">{column.title}</span>'


def _mean(system: ComparedSystem, column: Column) -> Cell:
    mean, text = system.mean(column.key), _with_deviation(system, column.key, column.show)
    first, third = (system.mean(key) for key in quartile_keys(column.key))
    if first is None or third is None:
        return mean, text
    return mean, f'<span title="half of them {column.show(first)} to {column.show(third)}">{text}</span>'


def _variants(systems: Sequence[ComparedSystem]) -> str:
    """What each row is, where its name does not say it."""
    facts = {system.name: _what(system) for system in systems if system.settings or system.name != system.model}
    return f"<h3>What the rows are</h3>\n{fact_table(facts)}" if facts else ""


def _what(system: ComparedSystem) -> str:
    kinds = {"train": "", "given": "the model file of ", "trained": "the weights of "}
    settings = ", ".join(f"{name}={value}" for name, value in flat_settings(system.settings).items())
    return kinds[system.way] + system.model + (f" with {settings}" if settings else "")


def _lectures(rows: Sequence[LectureRow]) -> str:
    if not rows:
        return ""
    columns = (
        *("system", "training: times as fast", "reported", "an image: times as fast", "reported"),
        *("with proposals given: times as fast", "reported", "VOC07 mAP", "reported"),
    )
    table = sortable_table(columns, [(row.system, _lecture_cells(row)) for row in rows])
    return (
        table + '<p class="soft">Reported: R-CNN, Fast R-CNN and Faster R-CNN with VGG-16 on PASCAL VOC 2007 (Girshick '
        "2015, table 4; Ren et al. 2015). Ratios are to the slowest of these rows; seconds of other machines, other "
        f"images and other backbones cannot be compared, and neither can average precision. {PROTOCOLS['voc07']}.</p>\n"
    )


def _lecture_cells(row: LectureRow) -> list[Cell]:
    cells: list[Cell] = []
    for (own, theirs, value), unit in ((row.train, 3600.0), (row.test, 1.0), (row.given, 1.0)):
        shown = NOT_MEASURED if value is None else duration(value * unit)
        cells += [_times(own), (theirs, NOT_MEASURED if theirs is None else f"{theirs:.3g} x ({shown})")]
    own_ap, their_ap = row.mean_ap
    return [*cells, (own_ap, number(own_ap)), (their_ap, number(their_ap))]


def _differences(comparisons: Sequence[Comparison]) -> str:
    if not comparisons:
        return ""
    rows = []
    for each in comparisons:
        for found in each.overall:
            cells: list[Cell] = [
                (found.name, found.name),
                *(_signed(v) for v in (found.difference, found.low, found.high)),
            ]
            verdict = found.in_words(*each.models)
            rows.append((f"{each.models[0]} less {each.models[1]}", [*cells, (verdict, escape(verdict))]))
    first = comparisons[0]
    text = (
        f'<p class="soft">{first.method.capitalize()} of {first.level:.0%}: {first.resamples:,} times {first.images:,} '
        f"of the {first.images:,} images were drawn with replacement (seed {first.seed}), the same for all systems. It "
        f"holds the luck of the images and not that of training: several seeds tell that. Of fewer than {LEAST_IMAGES} "
        "images with objects it would be too narrow, and no verdict is given. Of twenty pairs that do not differ one "
        "is expected to seem to.</p>\n"
    )
    columns = ("pair", "metric", "difference", "from", "to", "verdict")
    return sortable_table(columns, rows) + text


def _classes(systems: Sequence[ComparedSystem]) -> str:
    names = list(dict.fromkeys(name for system in systems for run in system.runs for name in run.classes))
    judged = [system for system in systems if system.runs]
    rows: list[tuple[str, list[Cell]]] = [
        (name, [(system.class_mean(name), number(system.class_mean(name))) for system in judged]) for name in names
    ]
    return sortable_table(("AP of the class", *(escape(system.name) for system in judged)), rows)


def _pictures(pictures: Sequence[SameImage]) -> str:
    if not pictures:
        return ""
    text = (
        "<p>Each system shows what it finds at the score that serves it best; broken lines are wrong detections, names "
        "in brackets do not count. Click on a picture to enlarge it.</p>\n"
    )
    for picture in pictures:
        figures = "\n".join(_figure(picture.name, panel) for panel in picture.panels)
        row = row_length(len(picture.panels), _LONGEST_ROW)
        text += f"<h3>{escape(picture.name)}: {picture.why}</h3>\n"
        text += f'<div class="same" style="--row: {row}">\n{figures}\n</div>\n'
    return text


def _figure(name: str, panel: Panel) -> str:
    source = base64.b64encode(panel.jpeg).decode("ascii")
    title = escape(panel.title)
    return (
        f'<figure><img src="data:image/jpeg;base64,{source}" alt="{escape(name)}: {title}">'
        f"<figcaption><b>{title}</b>: {panel.caption}</figcaption></figure>"
    )


def _with_deviation(system: ComparedSystem, key: str, show: Callable[[float], str]) -> str:
    mean, deviation = system.mean(key), system.deviation(key)
    if mean is None:
        return NOT_MEASURED
    return show(mean) + ("" if not deviation else f" ± {show(deviation)}")


def _signed(value: float | None) -> Cell:
    return value, NOT_MEASURED if value is None or math.isnan(value) else f"{value:+.3f}"


def _times(value: float | None) -> Cell:
    return value, NOT_MEASURED if value is None else f"{value:.3g} x"
