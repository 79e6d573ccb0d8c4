"""The report of a run: one HTML file that opens without network, on screen, in the dark and on paper.

Style, script, plots and pictures are inside the file. Everything that comes from users (names, paths, notes) is
escaped. What was not measured is left out or says "n/a".
"""

import base64
import importlib.metadata
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sightline.evaluation.bootstrap import Comparison
from sightline.evaluation.coco import ClassResult, CocoResult, ignored_objects
from sightline.evaluation.cost import Cost
from sightline.evaluation.curves import OperatingPoint
from sightline.evaluation.evaluate import Evaluation
from sightline.files import write_atomically
from sightline.model_file import Calibration
from sightline.report import plots
from sightline.report.combination import combination_facts
from sightline.report.error_sections import STYLE, calibration_section, comparison_section, wrong_section
from sightline.report.gallery import Picture
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
from sightline.version import __version__

_PACKAGES = ("torch", "torchvision", "numpy", "pillow", "hotcoco")


def versions() -> dict[str, str]:
    """Versions of Sightline, Python and the packages that results depend on."""
    found = {"sightline": __version__, "python": platform.python_version()}
    return found | {name: importlib.metadata.version(name) for name in _PACKAGES}


@dataclass(frozen=True, eq=False)
class ReportData:
    """What a report tells.

    Args:
        title: of the page.
        config: settings by name; nested ones are shown with dots.
        history: one row an epoch (epoch, lr, train/NAME, val/NAME ...); empty without training.
        evaluation: what the headline, the curves and the class table come from.
        cost: of one prediction, or None.
        pictures: as ``gallery.gallery`` makes them.
        findings: what was dropped and repaired in the data, counted by reason.
        notes: sentences shown under the headline.
        calibration: where the model's temperature comes from, or None.
        comparison: with another model, or None.
        combination: how a combined system looked, as ``metrics.json`` has it; None for one model as it is.
        versions: of the software.
    """

    title: str
    config: Mapping[str, object]
    history: Sequence[Mapping[str, object]]
    evaluation: Evaluation
    cost: Cost | None = None
    gallery: tuple[Picture, ...] = ()
    findings: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    calibration: Calibration | None = None
    comparison: Comparison | None = None
    combination: Mapping[str, object] | None = None
    versions: Mapping[str, str] = field(default_factory=versions)


def write_report(path: Path, report: ReportData) -> None:
    """Write the report as one file, in one move.

    Raises:
        OSError: the file cannot be written.
    """
    write_atomically(path, render(report))


def render(report: ReportData) -> str:
    """The report as the text of an HTML page."""
    wide = {
        "Compared with": comparison_section(report.comparison),
        "Protocols": _protocols(report.evaluation),
        "Precision and recall": _curves(report.evaluation),
        **{f"Judged by {each.kind}": _further(each) for each in report.evaluation.also},
        "Classes": _class_table(report.evaluation),
        "What is wrong": wrong_section(report.evaluation) if report.evaluation.result.kind == "boxes" else "",
        "Calibration": calibration_section(report.evaluation, report.calibration),
        "Predictions": _pictures(report),
        "Training": figures(
            (plots.loss_plot(report.history), plots.ap_plot(report.history), plots.learning_rate_plot(report.history))
        ),
    }
    narrow = {
        "Combination": fact_table(combination_facts(report.combination)),
        "Cost": _cost(report.cost),
        "Configuration": fact_table(flat_settings(report.config)),
        "Data": _data(report),
        "Versions": fact_table(report.versions),
    }
    titles = [title for title, body in (wide | narrow).items() if body]
    notes = "".join(f"<p>{escape(note)}</p>" for note in report.notes)
    main = f"{sections(wide)}\n{block('columns', [sections(narrow)])}"
    return page(report.title, f"{_headline(report)}\n{notes}{links(titles)}", main, style=STYLE)


def _quantity(value: float) -> str:
    """A large number with a unit: 41.3 M."""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:.3g}"


def _headline(report: ReportData) -> str:
    result, cost = report.evaluation.result, report.cost
    measure = result.measure
    values = [(number(result.ap), f"AP, {measure} 0.50 to 0.95"), (number(result.ap50), f"AP50, {measure} 0.50")]
    values += [(number(each.ap), f"AP of {each.kind}") for each in report.evaluation.also]
    values.append((number(report.evaluation.operating_point.f1), "F1 at the best threshold"))
    if cost is not None:
        values += [(number(cost.milliseconds, 1), "ms an image"), (_quantity(cost.parameters), "parameters")]
    values.append((f"{report.evaluation.truth.count:,}", "images evaluated"))
    return cards(values)


def flat_settings(config: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Settings with dotted names for nested ones."""
    flat: dict[str, object] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= flat_settings(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
    return flat


def _numbers(result: CocoResult) -> str:
    """COCO's numbers in one row."""
    metrics = [(name, number(value)) for name, value in result.metrics().items()]
    names, values = "".join(f"<th>{name}</th>" for name, _ in metrics), "".join(f"<td>{v}</td>" for _, v in metrics)
    return (
        f'<div class="scroll"><table class="numbers"><thead><tr>{names}</tr></thead>'
        f"<tbody><tr>{values}</tr></tbody></table></div>\n"
    )


def _further(result: CocoResult) -> str:
    """The numbers and the classes of masks or keypoints, which are judged beside boxes."""
    columns = ("class", "AP", "AP50", "AP75", result.recall_name)
    rows: list[tuple[str, list[Cell]]] = [
        (found.name, [(value, number(value)) for value in (found.ap, found.ap50, found.ap75, found.ar)])
        for found in result.per_class
    ]
    return f'{_numbers(result)}<p class="soft">{escape(result.protocol)}.</p>\n{sortable_table(columns, rows)}'


def _curves(evaluation: Evaluation) -> str:
    result = evaluation.result
    point = evaluation.operating_point
    sizes = "m and l are objects of 32² to 96² and of over 96² pixels of area"
    if result.kind != "keypoints":
        sizes = (
            "s, m and l are objects under 32², up to 96² and over 96² pixels of area; AR1, AR10 and AR100 allow so "
            "many detections an image"
        )
    few = sum(found.objects > 0 for found in result.per_class) <= plots.MOST_CURVES
    text = ""
    if not math.isnan(point.threshold):
        text = (
            f"<p>At scores of at least <b>{point.threshold:.2f}</b> F1 is greatest: precision {point.precision:.3f}, "
            f"recall {point.recall:.3f}, F1 {point.f1:.3f} over all classes."
            f"{' Rings mark the best score of each class.' if few else ''}</p>"
        )
    return (
        f'{_numbers(result)}<p class="soft">{escape(result.protocol)}: {sizes}.</p>\n'
        + text
        + figures(
            (plots.pr_plot(result.curves, evaluation.class_operating_points, result.measure), plots.class_plot(result))
        )
    )


def _protocols(evaluation: Evaluation) -> str:
    """The same detections by each protocol, where there are several."""
    means = evaluation.means()
    if len(means) < 2:
        return ""
    names = [result.protocol for result in evaluation.voc_results]
    by_voc = zip(*(result.per_class for result in evaluation.voc_results), strict=True)
    rows: list[tuple[str, list[Cell]]] = [("all classes", [(value, number(value)) for value in means.values()])]
    for found, of_class in zip(evaluation.result.per_class, by_voc, strict=True):
        values = [found.ap] * (len(means) > len(names)) + [each.ap for each in of_class]
        rows.append((found.name, [(value, number(value)) for value in values]))
    return sortable_table(("class", *means), rows)


def _class_table(evaluation: Evaluation) -> str:
    result = evaluation.result
    pairs = zip(result.per_class, evaluation.class_operating_points, strict=True)
    columns = (
        *("class", "AP", "AP50", "AP75", result.recall_name, "objects", "detections"),
        *("best F1", "at score", "precision", "recall"),
    )
    table = sortable_table(columns, [(found.name, _class_cells(found, point)) for found, point in pairs])
    text = (
        '<p class="soft">Click on a column to sort. Precision and recall are those at the score with the best '
        f"F1, at {result.measure} 0.50.</p>\n"
    )
    return table + text if table else ""


def _class_cells(found: ClassResult, point: OperatingPoint) -> list[Cell]:
    cells: list[Cell] = [(value, number(value)) for value in (found.ap, found.ap50, found.ap75, found.ar)]
    cells += [(float(value), f"{value:,}") for value in (found.objects, found.detections)]
    cells += [(point.f1, number(point.f1)), (point.threshold, number(point.threshold, 2))]
    return [*cells, (point.precision, number(point.precision)), (point.recall, number(point.recall))]


_KINDS = {"best": "Best", "worst": "Worst", "random": "At random"}


def _pictures(report: ReportData) -> str:
    if not report.gallery:
        return ""
    threshold, measure = report.evaluation.shown_threshold, report.evaluation.result.measure
    text = (
        f"<p>Truth at the left, detections with a score of at least {threshold:.2f} at the right. Broken lines: missed "
        "objects at the left, wrong detections at the right; names in brackets do not count. Images are ranked by F1 "
        f"at {measure} 0.50. Click on a picture to enlarge it.</p>\n"
    )
    for kind, title in _KINDS.items():
        pictures = block("pictures", (_figure(picture, measure) for picture in report.gallery if picture.kind == kind))
        text += f"<h3>{title}</h3>\n{pictures}" if pictures else ""
    return text


def _figure(picture: Picture, measure: str) -> str:
    source = base64.b64encode(picture.jpeg).decode("ascii")
    name = escape(picture.name)
    caption = (
        f"{name}: F1 {picture.f1:.2f}; {picture.found} of {picture.objects} objects found, "
        f"{picture.wrong} wrong; mean {measure} {number(picture.overlap if picture.found else None, 2)}"
    )
    return (
        f'<figure><img src="data:image/jpeg;base64,{source}" alt="Truth and detections of {name}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _cost(cost: Cost | None) -> str:
    if cost is None:
        return ""
    low, high = cost.quartiles
    memory = NOT_MEASURED if cost.peak_memory_mb is None else f"{cost.peak_memory_mb:,.0f} MB"
    return fact_table(
        {
            "time of one image": f"{cost.milliseconds:.1f} ms, median of {cost.repeats}; "
            f"half of them {low:.1f} to {high:.1f} ms",
            **_parts_of_time(cost),
            "parameters": f"{cost.parameters:,} ({cost.trainable:,} trainable)",
            "operations of one forward": f"{_quantity(cost.flops)}FLOP (a multiply-add is 2)",
            "peak memory" if cost.device.startswith("cuda") else "memory beside the weights": memory,
            "image, as prepared": f"{_size(cost.image_size)}, {_size(cost.prepared_size)} (height x width)",
            "device": f"{cost.device}, {cost.threads} threads, {cost.precision}",
        }
    )


def _parts_of_time(cost: Cost) -> dict[str, str]:
    """The two parts of a prediction, where a proposer stands before the network."""
    if cost.proposal_milliseconds is None or cost.given_milliseconds is None:
        return {}
    return {
        "of this, proposals": _half(cost.proposal_milliseconds, cost.proposal_quartiles),
        "with proposals given": _half(cost.given_milliseconds, cost.given_quartiles),
    }


def _half(median: float, quartiles: tuple[float, float] | None) -> str:
    """A time with the middle half of the measurements."""
    return f"{median:.1f} ms" + (
        "" if quartiles is None else f"; half of them {quartiles[0]:.1f} to {quartiles[1]:.1f} ms"
    )


def _data(report: ReportData) -> str:
    evaluation = report.evaluation
    facts: dict[str, object] = {
        "images evaluated": f"{evaluation.truth.count:,}",
        "objects": f"{len(evaluation.truth):,}",
        "of these ignored": f"{int(ignored_objects(evaluation.truth, evaluation.result.kind).sum()):,}",
        "classes": f"{len(evaluation.classes):,}",
    }
    if evaluation.seconds_per_image is not None:
        facts["reading and predicting"] = f"{evaluation.seconds_per_image * 1e3:.1f} ms an image"
    findings = {reason: f"{count:,}" for reason, count in report.findings.items()}
    found = fact_table(findings) or '<p class="soft">Nothing was dropped or repaired.</p>\n'
    return f"{fact_table(facts)}<h3>Dropped and repaired</h3>\n{found}"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
