"""The sections of a report on what is wrong: errors and confusions, calibration, and another model beside this one."""

import math

from sightline.evaluation.bootstrap import LEAST_IMAGES, Comparison, Difference
from sightline.evaluation.confusion import Confusion
from sightline.evaluation.errors import KINDS, Errors, ErrorSummary
from sightline.evaluation.evaluation import Evaluation
from sightline.model_file import Calibration
from sightline.report.error_plots import comparison_plot, error_plot, reliability_plot
from sightline.report.page import NOT_MEASURED, Cell, escape, figures, number, sortable_table

MOST_IN_MATRIX = 30
"""Classes with which the whole matrix is shown; of more, the pairs that are confused most."""

MOST_PAIRS = 30

_BLUE, _ORANGE, _STRONGEST = "0,114,178", "213,94,0", 0.6

STYLE = """
.plots > div { align-self: center; }
.matrix { width: auto; } .matrix th, .matrix td, .matrix th:first-child, .matrix td:first-child { text-align: center;
  white-space: nowrap; min-width: 2.6rem; } .matrix tbody th:first-child { text-align: right; }
.matrix tbody th { position: sticky; left: 0; background: var(--paper); }
.matrix td.none { color: var(--soft); }
.matrix thead .names th { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left; padding: .5rem .3rem;
  position: static; }
.matrix thead .names th:first-child { writing-mode: horizontal-tb; transform: none; text-align: right;
  vertical-align: bottom; }
"""


def wrong_section(evaluation: Evaluation) -> str:
    """Errors by kind, class and size, and what is taken for what; empty without objects and detections."""
    errors, confusion = evaluation.errors, evaluation.confusion
    if math.isnan(errors.overall.ap50) and not confusion.counts.any():
        return ""
    return _errors(errors) + _confusions(confusion)


def _errors(errors: Errors) -> str:
    if math.isnan(errors.overall.ap50):
        return ""
    explained = (
        '<p class="soft">Errors as TIDE tells them apart (Bolya et al. 2020). <b>Classification</b>: an object found '
        "under another class's name, IoU at least 0.5. <b>Localisation</b>: the right name, IoU 0.1 to 0.5. "
        "<b>Both</b>: wrong name and IoU 0.1 to 0.5. <b>Duplicate</b>: an object that a better scored detection had "
        "found. <b>Background</b>: no object there. <b>Missed</b>: an object that was not found, and that no error of "
        "classification or localisation is about; all objects of a class that is never detected are among these, but "
        "for those found under another name. The numbers count detections, and objects that were missed. Classes "
        "without objects here are no part of AP50, but what is wrongly found of them is counted. A gain is what AP50 "
        "would win if the errors of this kind alone were put right; gains do not add up. All scores count: errors with "
        "low scores cost little.</p>\n"
    )
    beginning = _beside(error_plot(errors.overall), explained)
    return (
        f"{beginning}<h3>Errors by size</h3>\n{_error_table('size', errors.by_size)}"
        f"<h3>Errors by class</h3>\n{_error_table('class', errors.by_class)}"
        '<p class="soft">Gain of AP50, and errors in brackets. An error is of the size of the object that it is about, '
        "or of its own if it is about none; small is under 32² pixels of area, large from 96². An error counts for the "
        "class that was detected; where the name was wrong, the object's class gains too.</p>\n"
    )


def _error_table(what: str, summaries: tuple[ErrorSummary, ...]) -> str:
    rows = [(summary.name, _error_cells(summary)) for summary in summaries]
    return sortable_table((what, "objects", "AP50", *KINDS), rows)


def _error_cells(summary: ErrorSummary) -> list[Cell]:
    cells: list[Cell] = [(float(summary.objects), f"{summary.objects:,}"), (summary.ap50, number(summary.ap50))]
    for kind in KINDS:
        cost, count = summary.costs[kind], summary.counts[kind]
        # A class without objects has no AP to gain, but wrong detections all the same.
        text = f"{number(cost)} ({count:,})" if count or not math.isnan(cost) else NOT_MEASURED
        cells.append((cost, text))
    return cells


def _confusions(confusion: Confusion) -> str:
    few = len(confusion.names) <= MOST_IN_MATRIX
    left_out = f" {confusion.left_out:,} detections on ignored objects are left out." if confusion.left_out else ""
    text = (
        f"<p>Detections with a score of at least {confusion.threshold:.2f}, found at IoU {confusion.iou:g}: each takes "
        f"an object of its own class if it can, and one of another if not.{left_out}</p>\n"
    )
    body = _matrix(confusion) if few else _pairs(confusion)
    return f"<h3>What is taken for what</h3>\n{text}{body}{_class_confusions(confusion)}{_size_confusions(confusion)}"


def _matrix(confusion: Confusion) -> str:
    heads = "".join(f"<th>{escape(name)}</th>" for name in confusion.names)
    body = "\n".join(
        f"<tr><th>{escape(name)}</th>{_matrix_row(confusion, row)}</tr>"
        for row, name in enumerate((*confusion.names, "no object"))
    )
    return (
        '<div class="scroll"><table class="matrix"><thead>'
        f'<tr class="names"><th>object ↓ &nbsp; detected →</th>{heads}<th>missed</th></tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>\n"
        '<p class="soft">Blue: right; orange: wrong. The stronger, the greater the share of the row.</p>\n'
    )


def _matrix_row(confusion: Confusion, row: int) -> str:
    counts = confusion.counts[row].tolist()
    total = max(1, sum(counts))
    cells = []
    for column, count in enumerate(counts):
        if row == column == len(confusion.names):
            cells.append("<td></td>")
        elif count == 0:
            cells.append('<td class="none">0</td>')
        else:
            colour = _BLUE if row == column else _ORANGE
            cells.append(f'<td style="background:rgba({colour},{_STRONGEST * count / total:.3f})">{count:,}</td>')
    return "".join(cells)


def _pairs(confusion: Confusion) -> str:
    pairs = confusion.most_confused
    if not pairs:
        return "<p>No object was found under another class's name.</p>\n"
    rows: list[tuple[str, list[Cell]]] = [
        (true, [(given, escape(given)), (float(count), f"{count:,}")]) for true, given, count in pairs[:MOST_PAIRS]
    ]
    more = f'<p class="soft">The first {MOST_PAIRS} of {len(pairs):,} pairs.</p>\n' if len(pairs) > MOST_PAIRS else ""
    return sortable_table(("object", "detected as", "how many"), rows) + more


def _class_confusions(confusion: Confusion) -> str:
    rows: list[tuple[str, list[Cell]]] = []
    for found in confusion.per_class:
        most = ", ".join(f"{escape(name)} ({count:,})" for name, count in found.confused_with[:3])
        confused = sum(count for _, count in found.confused_with)
        counts = (found.objects, found.found, found.missed, confused)
        cells: list[Cell] = [(float(count), f"{count:,}") for count in counts]
        cells += [
            (float(confused) if confused else None, most or "-"),
            (float(found.false_alarms), f"{found.false_alarms:,}"),
        ]
        rows.append((found.name, cells))
    columns = ("class", "objects", "found", "missed", "confused", "most often with", "false alarms")
    return sortable_table(columns, rows)


def _size_confusions(confusion: Confusion) -> str:
    rows: list[tuple[str, list[Cell]]] = []
    for size in confusion.by_size:
        counts = (size.objects, size.found, size.missed, size.confused, size.false_alarms)
        rows.append((size.name, [(float(count), f"{count:,}") for count in counts]))
    text = '<p class="soft">A false alarm is of the size of its own box.</p>\n'
    return sortable_table(("size", "objects", "found", "missed", "confused", "false alarms"), rows) + text


def calibration_section(evaluation: Evaluation, calibration: Calibration | None) -> str:
    """Whether scores mean what they say; empty without detections or where scores are no shares of 1.

    Args:
        evaluation: what is judged.
        calibration: where the model's temperature comes from, if it is known.
    """
    after, before = evaluation.reliability, evaluation.reliability_before
    if after is None or after.detections == 0:
        return ""
    earlier = "" if before is None else f" ({before.ece:.3f} at temperature 1)"
    text = (
        f"<p>Expected calibration error <b>{after.ece:.3f}</b>{earlier} over {after.detections:,} detections in "
        f"{len(after.counts)} bins of equal width (Guo et al. 2017); Brier score {after.brier:.3f}, negative "
        f"log-likelihood {after.nll:.3f}. A detection is right if it found an object at an overlap of 0.5.</p>\n"
    )
    return _beside(reliability_plot(after, before), text + _temperature(calibration))


def _temperature(calibration: Calibration | None) -> str:
    if calibration is None:
        return ""
    place = f"{calibration.detections:,} detections of {calibration.data}, split {calibration.split}"
    note = f" {calibration.note[:1].upper()}{calibration.note[1:]}." if calibration.note else ""
    if calibration.temperature == 1.0:
        return f"<p>The model's temperature is 1 ({escape(place)}).{escape(note)}</p>\n"
    change = ""
    if calibration.ece_before is not None and calibration.ece_after is not None:
        change = f": the error there was {calibration.ece_before:.3f} and became {calibration.ece_after:.3f}"
    return (
        f"<p>The model divides the log-odds of its scores by <b>{calibration.temperature:.3f}</b>, which was fitted to "
        f"{escape(place + change)}.{escape(note)}</p>\n"
    )


def comparison_section(comparison: Comparison | None) -> str:
    """Another model beside this one; empty where there is none."""
    if comparison is None:
        return ""
    a, b = (escape(name) for name in comparison.models)
    ap = comparison.overall[0]
    text = (
        f"<p><b>A</b>: {a}. <b>B</b>: {b}.</p>\n<p>{sentence_on(ap, comparison.level)}</p>\n"
        f'<p class="soft">{comparison.method.capitalize()} of {comparison.level:.0%}: {comparison.resamples:,} times '
        f"{comparison.images:,} of the {comparison.images:,} images were drawn with replacement (unit: "
        f"{comparison.unit}, seed {comparison.seed}). It holds the luck of the images and not that of training. Of "
        f"fewer than {LEAST_IMAGES} images with objects it would be too narrow, and no verdict is given. Of "
        "twenty classes that do not differ one is expected to seem to.</p>\n"
    )
    rows = [(found.name, _difference_cells(found)) for found in (*comparison.overall, *comparison.per_class)]
    columns = ("", "A", "B", "difference", "from", "to", "A better in", "B better in", "verdict")
    return _beside(comparison_plot(comparison), text) + sortable_table(columns, rows)


def _beside(svg: str, text: str) -> str:
    """A plot, and what there is to say of it at its side where the page is wide enough."""
    return figures((svg, f"<div>\n{text}</div>")) if svg else text


def sentence_on(found: Difference, level: float) -> str:
    """What the difference of two models comes to, in plain words."""
    if math.isnan(found.low):
        return f"{found.name}: nothing to compare."
    verdict = found.in_words()
    verdict = verdict[:1].upper() + verdict[1:]
    return (
        f"{verdict} in {found.name}: {found.difference:+.3f} ({level:.0%} interval {found.low:+.3f} to "
        f"{found.high:+.3f}); A is better in {found.a_better:.1%} of the resamples, B in {found.b_better:.1%}."
    )


def _difference_cells(found: Difference) -> list[Cell]:
    cells: list[Cell] = [(found.a, number(found.a)), (found.b, number(found.b))]
    signed = (found.difference, found.low, found.high)
    cells += [(value, NOT_MEASURED if math.isnan(value) else f"{value:+.3f}") for value in signed]
    shares = (found.a_better, found.b_better)
    cells += [(value, NOT_MEASURED if math.isnan(value) else f"{value:.1%}") for value in shares]
    return [*cells, (found.verdict, found.in_words())]
