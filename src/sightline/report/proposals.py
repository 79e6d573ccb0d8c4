"""The report on proposers: the table of Hosang et al. on one's own images, its curves, and pictures."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sightline.classes import Classes
from sightline.evaluation.perturbations import KINDS
from sightline.evaluation.proposal_recall import AVERAGE_RECALL, COCO_AVERAGE_RECALL
from sightline.evaluation.proposers import ProposerResult
from sightline.evaluation.sizes import SIZES, size_of
from sightline.report import proposal_plots as plots
from sightline.report.html import versions
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
from sightline.report.proposal_pictures import BANDS, ProposalPicture

YES, NO = "yes", "no"
COLUMNS = (
    *("method", "segments", "scores", "any count", "s/image", "proposals", "repeats", "R@0.5", "R@0.7"),
    *("AR", "AR .5:.95", "AP"),
)
"""Heads of the table of proposers."""

_STYLE = " .sortable td:first-child { white-space: nowrap; } "


@dataclass(frozen=True, eq=False)
class ProposalsReport:
    """What the page tells.

    Args:
        title: of the page.
        place: the images, in words.
        results: one a proposer, at least one.
        classes: of the data.
        pictures: by name of the proposer.
        settings: of the command.
        detector: whose AP the last column has, in words; empty without.
    """

    title: str
    place: str
    results: Sequence[ProposerResult]
    classes: Classes
    pictures: Mapping[str, Sequence[ProposalPicture]] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    detector: str = ""


def table_row(result: ProposerResult) -> list[Cell]:
    """A proposer's cells after its name, each with what it is sorted by."""
    proposer, recall = result.proposer, result.recall
    at_50, at_70 = recall.recall((0.5, 0.7)).tolist()
    repeated = None if result.repeatability is None else result.repeatability.mean
    detection = None if result.detection is None else result.detection.result.ap
    flags = (proposer.segments, proposer.scored, proposer.controllable)
    return [
        *((int(flag), YES if flag else NO) for flag in flags),
        (result.seconds, number(result.seconds)),
        (recall.made[-1], number(recall.made[-1], 0)),
        *((value, number(value)) for value in (repeated, at_50, at_70)),
        *((value, number(value)) for value in (recall.average_recall(), recall.coco_average_recall(), detection)),
    ]


def render(report: ProposalsReport) -> str:
    """The text of the page."""
    results = report.results
    largest = max(result.count for result in results)
    wide = {
        "Comparison": _comparison(report),
        "Recall": figures(
            [
                *(plots.recall_over_iou_plot(results, count) for count in sorted({min(100, largest), largest})),
                *(plots.recall_over_count_plot(results, threshold) for threshold in (0.5, 0.7)),
                plots.average_recall_plot(results),
            ]
        ),
        "Repeatability": _repeatability(results),
        "Average recall": _average_recall(results),
        "Classes": _classes(report),
        "Pictures": _pictures(report),
    }
    narrow = {"Settings": fact_table(report.settings), "Versions": fact_table(versions())}
    header = f"{_headline(report)}\n{links(title for title, body in (wide | narrow).items() if body)}"
    return page(report.title, header, f"{sections(wide)}\n{block('columns', [sections(narrow)])}", style=_STYLE)


def _headline(report: ProposalsReport) -> str:
    best = max(report.results, key=lambda result: result.recall.average_recall())
    recall = best.recall
    values = [
        (number(recall.average_recall()), f"best AR, {escape(best.name)}"),
        (number(recall.recall((0.5,))[0]), "its recall at IoU 0.5"),
        (number(best.seconds), "its seconds an image"),
        (f"{recall.images:,}", f"image{'s' * (recall.images != 1)}"),
        (f"{len(recall.labels):,}", f"object{'s' * (len(recall.labels) != 1)}"),
    ]
    return f"<p>{escape(report.place)}</p>\n{cards(values)}"


def _comparison(report: ProposalsReport) -> str:
    table = sortable_table(COLUMNS, [(each.name, table_row(each)) for each in report.results])
    detector = f" The detector is {escape(report.detector)}." if report.detector else ""
    text = (
        "After Hosang et al. 2016, table 1: whether a method has segments and scores and makes any number of proposals "
        "(of a regular grid as many of those asked for as it holds); seconds of an image; the proposals that it made; "
        "repeatability, recall at IoU 0.5 and 0.7 and average recall, 0 to 1; AP of one detector on its proposals."
        f"{detector} {escape(AVERAGE_RECALL)}. AR .5:.95: {escape(COCO_AVERAGE_RECALL)}. Each proposal finds "
        "one object at most. Crowds and difficult objects do not count."
    )
    return f'{table}<p class="soft">{text}</p>\n'


def _repeatability(results: Sequence[ProposerResult]) -> str:
    measured = [result for result in results if result.repeatability is not None]
    if not measured:
        return ""
    rows = []
    for result in measured:
        assert result.repeatability is not None
        values = [result.repeatability.mean, *(result.repeatability.by_kind()[kind] for kind in KINDS)]
        rows.append((result.name, [(value, number(value)) for value in values]))
    images = max(result.repeatability.images for result in measured if result.repeatability is not None)
    text = (
        f'<p class="soft">Area under recall over IoU 0 to 1 of the boxes of an image by those of the same image after '
        f"a change, mean over ten groups of box sizes, on {images:,} image{'s' * (images != 1)}. 1 means that the very "
        "same boxes come again.</p>\n"
    )
    drawn = [plots.repeatability_plot(results), *(plots.change_plot(results, kind) for kind in KINDS)]
    return sortable_table(("method", "mean", *KINDS), rows) + text + figures(drawn)


def _average_recall(results: Sequence[ProposerResult]) -> str:
    counts = sorted({count for result in results for count in result.recall.counts})
    rows = []
    for result in results:
        known = result.recall.counts
        values = [result.recall.average_recall(count) if count in known else None for count in counts]
        sizes = size_of(result.recall.areas)
        values += [result.recall.of(sizes == size).average_recall() for size in range(len(SIZES))]
        rows.append((result.name, [(value, number(value)) for value in values]))
    heads = ("method", *(f"AR@{count:,}" for count in counts), *SIZES)
    text = '<p class="soft">The sizes are COCO\'s: under 32², up to 96² and over 96² pixels of area.</p>\n'
    return sortable_table(heads, rows) + text


def _classes(report: ProposalsReport) -> str:
    """AR of each class by each proposer."""
    results = report.results
    rows = []
    for label, name in enumerate(report.classes.names):
        chosen = [result.recall.of(result.recall.labels == label) for result in results]
        objects = len(chosen[0].labels)
        values: list[Cell] = [(objects, f"{objects:,}")]
        values += [(part.average_recall(), number(part.average_recall())) for part in chosen]
        if objects:
            rows.append((name, values))
    return sortable_table(("AR of the class", "objects", *(escape(result.name) for result in results)), rows)


def _pictures(report: ProposalsReport) -> str:
    if not any(report.pictures.values()):
        return ""
    bands = ", ".join(f'<b style="color: rgb{colour}">{escape(name)}</b>' for _, name, colour in BANDS)
    text = (
        "<p>At the left the nearest proposal of each object, with its IoU, and the object in broken white lines: "
        f"{bands}. At the right the first proposals: the best ones where there are scores. A method that makes any "
        "number and ranks nothing was asked anew for so many. Click on a picture to enlarge it.</p>\n"
    )
    for name, pictures in report.pictures.items():
        text += f"<h3>{escape(name)}</h3>\n{block('pictures', (_figure(picture) for picture in pictures))}"
    return text


def _figure(picture: ProposalPicture) -> str:
    source = base64.b64encode(picture.jpeg).decode("ascii")
    return (
        f'<figure><img src="data:image/jpeg;base64,{source}" alt="Proposals on {escape(picture.name)}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )
