"""The report of a run: one HTML file that opens without network, on screen, in the dark and on paper.

Style, script, plots and pictures are inside the file. Everything that comes from users (names, paths, notes) is
escaped. What was not measured is left out or says "n/a".
"""

import base64
import html
import importlib.metadata
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sightline.evaluation.coco import ClassResult
from sightline.evaluation.cost import Cost
from sightline.evaluation.curves import OperatingPoint
from sightline.evaluation.evaluate import Evaluation
from sightline.files import write_atomically
from sightline.report import plots
from sightline.report.gallery import Picture, shown_threshold
from sightline.report.style import SCRIPT, STYLE
from sightline.version import __version__

NOT_MEASURED = "n/a"

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
        "Precision and recall": _curves(report.evaluation),
        "Classes": _class_table(report.evaluation),
        "Predictions": _pictures(report),
        "Training": _figures(
            (plots.loss_plot(report.history), plots.ap_plot(report.history), plots.learning_rate_plot(report.history))
        ),
    }
    narrow = {
        "Cost": _cost(report.cost),
        "Configuration": _facts(_flat(report.config)),
        "Data": _data(report),
        "Versions": _facts(report.versions),
    }
    titles = [title for title, body in (wide | narrow).items() if body]
    links = "".join(f'<a href="#{_anchor(title)}">{title}</a>' for title in titles)
    notes = "".join(f"<p>{_escape(note)}</p>" for note in report.notes)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_escape(report.title)}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{_escape(report.title)}</h1>
{_headline(report)}
{notes}<nav>{links}</nav>
</header>
<main>
{_sections(wide)}
{_block("columns", [_sections(narrow)])}</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _escape(value: object) -> str:
    return html.escape(str(value), quote=True)


def _sections(bodies: Mapping[str, str]) -> str:
    return "\n".join(
        f'<section id="{_anchor(title)}"><h2>{title}</h2>\n{body}</section>' for title, body in bodies.items() if body
    )


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _number(value: float | None, digits: int = 3) -> str:
    return NOT_MEASURED if value is None or math.isnan(value) else f"{value:,.{digits}f}"


def _quantity(value: float) -> str:
    """A large number with a unit: 41.3 M."""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:.3g}"


def _headline(report: ReportData) -> str:
    result, cost = report.evaluation.result, report.cost
    cards = [(_number(result.ap), "AP, IoU 0.50 to 0.95"), (_number(result.ap50), "AP50, IoU 0.50")]
    cards.append((_number(report.evaluation.operating_point.f1), "F1 at the best threshold"))
    if cost is not None:
        cards += [(_number(cost.milliseconds, 1), "ms an image"), (_quantity(cost.parameters), "parameters")]
    cards.append((f"{len(report.evaluation.targets):,}", "images evaluated"))
    return _block("cards", (f'<div class="card"><b>{value}</b><span>{text}</span></div>' for value, text in cards))


def _block(kind: str, parts: Iterable[str]) -> str:
    inside = "\n".join(part for part in parts if part)
    return f'<div class="{kind}">\n{inside}\n</div>\n' if inside else ""


def _figures(svgs: Sequence[str]) -> str:
    return _block("plots", svgs)


def _facts(facts: Mapping[str, object]) -> str:
    rows = "\n".join(f"<tr><td>{_escape(name)}</td><td>{_escape(value)}</td></tr>" for name, value in facts.items())
    return f'<table class="facts"><tbody>\n{rows}\n</tbody></table>\n' if rows else ""


def _flat(config: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Settings with dotted names for nested ones."""
    flat: dict[str, object] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
    return flat


def _curves(evaluation: Evaluation) -> str:
    result = evaluation.result
    metrics = [(name, _number(value)) for name, value in result.metrics().items()]
    names, values = "".join(f"<th>{name}</th>" for name, _ in metrics), "".join(f"<td>{v}</td>" for _, v in metrics)
    point = evaluation.operating_point
    few = sum(found.objects > 0 for found in result.per_class) <= plots.MOST_CURVES
    text = ""
    if not math.isnan(point.threshold):
        text = (
            f"<p>At scores of at least <b>{point.threshold:.2f}</b> F1 is greatest: precision {point.precision:.3f}, "
            f"recall {point.recall:.3f}, F1 {point.f1:.3f} over all classes."
            f"{' Rings mark the best score of each class.' if few else ''}</p>"
        )
    return (
        f'<div class="scroll"><table class="numbers"><thead><tr>{names}</tr></thead>'
        f"<tbody><tr>{values}</tr></tbody></table></div>\n"
        f'<p class="soft">{_escape(result.protocol)}: s, m and l are objects under 32², up to 96² and over 96² pixels '
        f"of area; AR1, AR10 and AR100 allow so many detections an image.</p>\n"
        + text
        + _figures((plots.pr_plot(result.curves, evaluation.class_operating_points), plots.class_plot(result)))
    )


_CLASS_COLUMNS = (
    *("class", "AP", "AP50", "AP75", "AR100", "objects", "detections"),
    *("best F1", "at score", "precision", "recall"),
)


def _class_table(evaluation: Evaluation) -> str:
    rows = zip(evaluation.result.per_class, evaluation.class_operating_points, strict=True)
    body = "\n".join(_class_row(found, point) for found, point in rows)
    if not body:
        return ""
    head = "".join(f"<th>{name}</th>" for name in _CLASS_COLUMNS)
    return (
        f'<div class="scroll"><table class="sortable"><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>'
        '</div>\n<p class="soft">Click on a column to sort. Precision and recall are those at the score with the best '
        "F1, at IoU 0.50.</p>\n"
    )


def _class_row(found: ClassResult, point: OperatingPoint) -> str:
    cells = [(value, _number(value)) for value in (found.ap, found.ap50, found.ap75, found.ar100)]
    cells += [(float(value), f"{value:,}") for value in (found.objects, found.detections)]
    cells += [(point.f1, _number(point.f1)), (point.threshold, _number(point.threshold, 2))]
    cells += [(point.precision, _number(point.precision)), (point.recall, _number(point.recall))]
    inside = "".join(
        f'<td data-value="{"" if math.isnan(value) else f"{value:.6g}"}">{text}</td>' for value, text in cells
    )
    return f"<tr><td>{_escape(found.name)}</td>{inside}</tr>"


_KINDS = {"best": "Best", "worst": "Worst", "random": "At random"}


def _pictures(report: ReportData) -> str:
    if not report.gallery:
        return ""
    threshold = shown_threshold(report.evaluation)
    text = (
        f"<p>Truth at the left, detections with a score of at least {threshold:.2f} at the right. Broken lines: missed "
        "objects at the left, wrong detections at the right; names in brackets do not count. Images are ranked by F1 "
        "at IoU 0.50. Click on a picture to enlarge it.</p>\n"
    )
    for kind, title in _KINDS.items():
        pictures = _block("pictures", (_figure(picture) for picture in report.gallery if picture.kind == kind))
        text += f"<h3>{title}</h3>\n{pictures}" if pictures else ""
    return text


def _figure(picture: Picture) -> str:
    source = base64.b64encode(picture.jpeg).decode("ascii")
    caption = (
        f"image {picture.image_id}: F1 {picture.f1:.2f}; {picture.found} of {picture.objects} objects found, "
        f"{picture.wrong} wrong; mean IoU {_number(picture.overlap if picture.found else None, 2)}"
    )
    return (
        f'<figure><img src="data:image/jpeg;base64,{source}" alt="Truth and detections of image {picture.image_id}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _cost(cost: Cost | None) -> str:
    if cost is None:
        return ""
    low, high = cost.quartiles
    memory = NOT_MEASURED if cost.peak_memory_mb is None else f"{cost.peak_memory_mb:,.0f} MB"
    return _facts(
        {
            "time of one image": f"{cost.milliseconds:.1f} ms, median of {cost.repeats}; "
            f"half of them {low:.1f} to {high:.1f} ms",
            "parameters": f"{cost.parameters:,} ({cost.trainable:,} trainable)",
            "operations of one forward": f"{_quantity(cost.flops)}FLOP (a multiply-add is 2)",
            "peak memory": memory,
            "image, as prepared": f"{_size(cost.image_size)}, {_size(cost.prepared_size)} (height x width)",
            "device": f"{cost.device}, {cost.threads} threads, {cost.precision}",
        }
    )


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _data(report: ReportData) -> str:
    evaluation = report.evaluation
    facts: dict[str, object] = {
        "images evaluated": f"{len(evaluation.targets):,}",
        "objects": f"{sum(len(target) for target in evaluation.targets):,}",
        "of these ignored": f"{sum(int(target.ignore.sum()) for target in evaluation.targets):,}",
        "classes": f"{len(evaluation.classes):,}",
    }
    if evaluation.seconds_per_image is not None:
        facts["reading and predicting"] = f"{evaluation.seconds_per_image * 1e3:.1f} ms an image"
    findings = {reason: f"{count:,}" for reason, count in report.findings.items()}
    found = _facts(findings) or '<p class="soft">Nothing was dropped or repaired.</p>\n'
    return f"{_facts(facts)}<h3>Dropped and repaired</h3>\n{found}"
