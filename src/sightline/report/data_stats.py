"""The statistics of a set as one HTML page: bars, tables, and what a model's anchors do not cover."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from sightline.data.decode import read_image
from sightline.data.statistics import ClassCount, SplitStatistics, Spread, images_of_objects
from sightline.errors import DataError
from sightline.evaluation.anchor_coverage import Coverage, Share
from sightline.report import data_plots as plots
from sightline.report.contact_sheet import FLAGGED
from sightline.report.data_pictures import LARGEST_SIDE, scaled, visible_box
from sightline.report.draw import draw, encode
from sightline.report.page import (
    Cell,
    block,
    cards,
    escape,
    fact_table,
    figures,
    links,
    page,
    sections,
    sortable_table,
)

_QUALITY = 82

_MOST_NAMED = 3
"""Objects of a picture that get a label: labels hide what is small."""

_STYLE = """
.plots { grid-template-columns: repeat(auto-fill, minmax(min(100%, 27rem), 1fr)); } .columns h3 { margin-top: 0; }
"""


@dataclass(frozen=True, eq=False)
class WorstPicture:
    """An image with the objects on it that anchors cover worst.

    Args:
        jpeg: the picture.
        caption: what is on it.
    """

    jpeg: bytes
    caption: str


@dataclass(frozen=True, eq=False)
class StatsPage:
    """What the page tells.

    Args:
        title: of the page.
        splits: their statistics.
        model: what the anchors are of, in words; empty without.
        coverage: by split; empty without a model.
        worst: pictures by split.
    """

    title: str
    splits: tuple[SplitStatistics, ...]
    model: str = ""
    coverage: Mapping[str, Coverage] = field(default_factory=dict)
    worst: Mapping[str, Sequence[WorstPicture]] = field(default_factory=dict)


def render(stats: StatsPage) -> str:
    """The statistics as the text of an HTML page."""
    splits = stats.splits
    bodies = {
        "Splits": _splits(splits),
        "Objects": figures(
            (
                *(plots.per_image_plot(splits), plots.size_plot(splits)),
                *(plots.relative_size_plot(splits), plots.aspect_plot(splits)),
            )
        ),
        "Classes": _classes(splits),
        "Anchors": _coverage(stats),
    }
    totals = (
        (f"{sum(split.images for split in splits):,}", "images"),
        (f"{sum(split.objects for split in splits):,}", "objects"),
        (f"{len(_names(splits)):,}", "classes"),
        (f"{len(splits):,}", "splits" if len(splits) != 1 else "split"),
    )
    header = f"{cards(totals)}\n{links(title for title, body in bodies.items() if body)}"
    return page(stats.title, header, f"{sections(bodies)}\n", style=_STYLE)


def spread_text(spread: Spread | None, digits: int = 0) -> str:
    """Least, median and most of numbers."""
    if spread is None:
        return "-"
    return " / ".join(f"{value:,.{digits}f}" for value in (spread.least, spread.median, spread.most))


def split_facts(split: SplitStatistics) -> dict[str, str]:
    """What there is to say about a split, by name."""
    sizes, images = split.sizes, split.image_sizes
    total = max(1, split.objects)
    facts = {
        "images": f"{split.images:,}",
        "of these without objects": f"{split.empty_images:,}",
        "objects": f"{split.objects:,}",
        "ignored (crowds, difficult)": f"{split.ignored:,}",
        "with a mask": f"{split.masks:,}",
        "with keypoints": f"{split.with_keypoints:,}",
        "labelled keypoints": f"{split.keypoints:,}",
        "classes with objects": f"{sum(count.objects > 0 for count in split.classes):,} of {len(split.classes):,}",
        "objects an image": spread_text(split.per_image),
        "mean of that": "-" if split.per_image is None else f"{split.per_image.mean:,.2f}",
        "small, under 32² pixels": f"{sizes.small:,} ({sizes.small / total:.1%})",
        "medium": f"{sizes.medium:,} ({sizes.medium / total:.1%})",
        "large, over 96² pixels": f"{sizes.large:,} ({sizes.large / total:.1%})",
        "side over the image's": spread_text(split.relative, 3),
        "width over height": spread_text(split.aspect, 2),
    }
    if images is not None:
        facts["image heights"] = spread_text(images.heights)
        facts["image widths"] = spread_text(images.widths)
        facts["different image sizes"] = f"{images.different:,}"
    return facts


def worst_pictures(coverage: Coverage, count: int = 6) -> tuple[WorstPicture, ...]:
    """The images with the objects that are covered worst, at most so many; those that cannot be read are passed over.

    Each shows all its objects among the hundred worst.
    """
    index, owners = coverage.index, images_of_objects(coverage.index)
    by_image: dict[int, list[int]] = {}
    for place in coverage.worst(100).tolist():
        by_image.setdefault(int(owners[coverage.objects[place]]), []).append(place)
    pictures: list[WorstPicture] = []
    for image, places in by_image.items():
        if len(pictures) == count:
            break
        try:
            pixels = read_image(index.image_root / index.files[image])
        except DataError:
            continue
        pictures.append(_worst_picture(coverage, pixels, index.files[image], places))
    return tuple(pictures)


def _worst_picture(coverage: Coverage, pixels: torch.Tensor, name: str, places: Sequence[int]) -> WorstPicture:
    index, rows = coverage.index, coverage.objects[list(places)]
    size = (pixels.shape[1], pixels.shape[2])
    image = scaled(pixels, LARGEST_SIDE)
    factor = torch.tensor([image.shape[2] / size[1], image.shape[1] / size[0]] * 2)
    found = [(x1, y1, x2, y2) for x1, y1, x2, y2 in index.boxes[rows].tolist()]
    boxes = torch.tensor([visible_box(box, size) for box in found])
    overlaps = coverage.overlaps[list(places)].tolist()
    classes = [index.classes.names[label] for label in index.labels[rows].tolist()]
    names = [f"{kind} {overlap:.2f}" for kind, overlap in zip(classes, overlaps, strict=True)]
    labels = [*names[:_MOST_NAMED], *[""] * len(names[_MOST_NAMED:])]
    drawn = draw(image, boxes * factor, labels, colours=[FLAGGED] * len(names))
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return WorstPicture(encode(drawn, "JPEG", _QUALITY), f"{name}: best IoU of {', '.join(names[:8])}{more}")


def _names(splits: Sequence[SplitStatistics]) -> list[str]:
    return list(dict.fromkeys(count.name for split in splits for count in split.classes))


def _splits(splits: Sequence[SplitStatistics]) -> str:
    parts = (f"<section><h3>{escape(split.split)}</h3>{fact_table(split_facts(split))}</section>" for split in splits)
    text = '<p class="soft">Where three numbers stand they are the smallest, the median and the largest.</p>\n'
    return text + block("columns", parts)


def class_rows(splits: Sequence[SplitStatistics]) -> list[tuple[str, list[ClassCount | None]]]:
    """Each class with its counts in every split, None where the split does not have it; most frequent first."""
    by_split = [{count.name: count for count in split.classes} for split in splits]
    rows = [(name, [counts.get(name) for counts in by_split]) for name in _names(splits)]
    return sorted(rows, key=lambda row: -sum(count.objects for count in row[1] if count is not None))


def _classes(splits: Sequence[SplitStatistics]) -> str:
    columns = ["class"]
    for split in splits:
        columns += [f"{escape(split.split)}: objects", "images"]
    rows: list[tuple[str, list[Cell]]] = []
    for name, counts in class_rows(splits):
        cells: list[Cell] = []
        for count in counts:
            values = (None, None) if count is None else (count.objects, count.images)
            cells += [(value, "-" if value is None else f"{value:,}") for value in values]
        rows.append((name, cells))
    return sortable_table(columns, rows) + figures([plots.class_plot(split, n) for n, split in enumerate(splits)])


def _coverage(stats: StatsPage) -> str:
    text = ""
    for number, (split, coverage) in enumerate(stats.coverage.items()):
        shares = (coverage.overall(), *coverage.by_size(), *coverage.by_class())
        svgs = figures((plots.overlap_plot(coverage, number), plots.coverage_plot(shares, number)))
        pictures = block("pictures", (_figure(picture) for picture in stats.worst.get(split, ())))
        worst = f"<h3>{escape(split)}: covered worst</h3>\n{pictures}" if pictures else ""
        said = escape(coverage_text(coverage, stats.model))
        text += f"<h3>{escape(split)}</h3>\n<p>{said}</p>\n{svgs}{_shares(shares)}{worst}"
    return text


def coverage_text(coverage: Coverage, model: str) -> str:
    """What is meant by matched, between and missed, in sentences."""
    every = len(coverage.index.image_ids)
    looked = f"{coverage.images_looked_at:,} of {every:,} images" if coverage.images_looked_at < every else "all images"
    rest = " Of an object that is not matched one anchor alone learns: the best." if coverage.keeps_best else ""
    return (
        f"Anchors of {model} against the objects of {looked}. Matched: an anchor overlaps the object with an IoU of at "
        f"least {coverage.positive:g} and is taught to find it. Missed: none has {coverage.negative:g}.{rest}"
    )


def share_cells(share: Share) -> list[str]:
    """What is matched, between and missed as percentages; dashes without objects."""
    parts = (share.matched, share.between, share.missed)
    return [f"{part / share.objects:.1%}" if share.objects else "-" for part in parts]


def _shares(shares: Sequence[Share]) -> str:
    rows: list[tuple[str, list[Cell]]] = []
    for share in shares:
        parts = (share.matched, share.between, share.missed)
        values = [part / share.objects if share.objects else None for part in parts]
        cells: list[Cell] = [(share.objects, f"{share.objects:,}"), *zip(values, share_cells(share), strict=True)]
        rows.append((share.name, cells))
    return sortable_table(("objects that are", "objects", "matched", "between", "missed"), rows)


def _figure(picture: WorstPicture) -> str:
    source = base64.b64encode(picture.jpeg).decode("ascii")
    return (
        f'<figure><img src="data:image/jpeg;base64,{source}" alt="{escape(picture.caption)}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )
