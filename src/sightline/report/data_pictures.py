"""Which images of a set are shown, and what is shown on each: the annotations exactly as they are written.

Nothing is clipped, dropped or put right, so that what a finding points to can be seen where it is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sightline.data.decode import decode_image
from sightline.data.findings import Finding
from sightline.data.records import usable_segmentation
from sightline.data.segmentation import decode_segmentation
from sightline.data.tables import Tables
from sightline.errors import DataError
from sightline.structures import Size

LARGEST_SIDE = 640
"""Pixels of the longer side of a picture at most."""

Box = tuple[float, float, float, float]
_Place = tuple[str, int]


@dataclass(frozen=True, eq=False)
class Choice:
    """An image that is to be shown.

    Args:
        split: its split; empty where no split lists it.
        row: its row in the tables of the split; None where no split lists it.
        path: the image file.
        findings: what was found about it.
    """

    split: str
    row: int | None
    path: Path
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, eq=False)
class Chosen:
    """The images that are to be shown.

    Args:
        choices: in order of splits and of the images in them.
        matching: how many images there were to choose from.
        unseen: findings that no picture shows: of whole files, say.
    """

    choices: tuple[Choice, ...]
    matching: int
    unseen: int = 0


@dataclass(frozen=True, eq=False)
class ShownObject:
    """One object on a picture, in pixels of the whole image.

    Args:
        name: of its class.
        place: of its class among all that are shown; it picks the colour.
        box: xyxy as written.
        ignore: whether it is a crowd or difficult.
        flagged: whether a finding points to it.
        mask: (h, w) bool in the size of the picture, or None.
        polygons: the same as COCO polygons, where it is written so.
        keypoints: (K, 3) x, y, visibility, or None.
        skeleton: pairs of keypoints that a line joins, from 0.
    """

    name: str
    place: int
    box: Box
    ignore: bool = False
    flagged: bool = False
    mask: Tensor | None = None
    polygons: tuple[Sequence[float], ...] = ()
    keypoints: NDArray[np.float32] | None = None
    skeleton: tuple[tuple[int, int], ...] = ()

    @property
    def area(self) -> float:
        """Square pixels of the box, whichever way round it is written."""
        return abs((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


@dataclass(frozen=True, eq=False)
class DataPicture:
    """One image of a set with all that is written about it.

    Args:
        name: of the file, from the folder of the images.
        split: it is in.
        image: (3, h, w) uint8, scaled down to ``LARGEST_SIDE``.
        size: (H, W) of the whole image.
        objects: as written.
        findings: what was found about the image.
        remarks: what else there is to say: a damaged file, a mask that cannot be drawn.
    """

    name: str
    split: str
    image: Tensor
    size: Size
    objects: tuple[ShownObject, ...]
    findings: tuple[Finding, ...] = ()
    remarks: tuple[str, ...] = ()


def class_names(tables: Mapping[str, Tables]) -> tuple[str, ...]:
    """The names of all splits' classes, each once, in order of first appearance."""
    return tuple(dict.fromkeys(category["name"] for split in tables.values() for category in split.categories))


def choose(
    tables: Mapping[str, Tables],
    count: int,
    *,
    seed: int = 0,
    classes: Sequence[str] = (),
    findings: Iterable[Finding] | None = None,
) -> Chosen:
    """Draws images at random from those that are asked for.

    Args:
        tables: the splits to choose from.
        count: images at most.
        seed: of the draw.
        classes: only images with an object of one of these; none for all.
        findings: only images that these point to; None for all.
    """
    places = [place for split in tables for place in _places(split, tables[split], classes)]
    known: dict[_Place, tuple[Finding, ...]] = {}
    strays: list[Choice] = []
    unseen = 0
    if findings is None:
        places = _once(tables, places)
    else:
        known, strays, unseen = _located(tables, findings)
        places = [place for place in places if place in known]
    if classes:
        strays = []
    candidates: list[_Place | Choice] = [*places, *strays]
    drawn = np.sort(np.random.default_rng(seed).permutation(len(candidates))[:count]).tolist()
    choices = (candidates[number] for number in drawn)
    found = tuple(c if isinstance(c, Choice) else _choice(tables, c, known.get(c, ())) for c in choices)
    return Chosen(found, len(candidates), unseen)


def all_masked(tables: Mapping[str, Tables], choices: Iterable[Choice]) -> bool:
    """Whether there are objects on some images, and every one that counts has a mask."""
    found = False
    for choice in choices:
        if choice.row is None:
            continue
        objects = tables[choice.split].objects
        rows = _rows(tables[choice.split], choice.row)
        rows = rows[~objects.ignore[rows]]
        if not objects.masked[rows].all():
            return False
        found = found or len(rows) > 0
    return found


def read_picture(choice: Choice, tables: Tables | None, names: Sequence[str], *, masks: bool) -> DataPicture:
    """An image with its annotations.

    Args:
        choice: which one.
        tables: its split; None where no split lists it.
        names: of all classes that are shown.
        masks: whether masks are read.

    Raises:
        DataError: the image cannot be read.
    """
    decoded = decode_image(choice.path, on_damage="salvage", at_least=LARGEST_SIDE // 2)
    image = scaled(decoded.image, LARGEST_SIDE)
    remarks = list(decoded.remarks)
    if tables is None or choice.row is None:
        return DataPicture(choice.path.name, choice.split, image, decoded.size, (), choice.findings, tuple(remarks))
    flagged = {finding.row for finding in choice.findings}
    small = (image.shape[1], image.shape[2])
    objects = []
    for row in _rows(tables, choice.row).tolist():
        polygons: tuple[Sequence[float], ...] = ()
        mask = None
        if masks and tables.objects.masked[row]:
            try:
                polygons, mask = _mask(tables.object_entry(row), decoded.size, small)
            except DataError as error:
                remarks.append(f"{tables.locate_object(row)[1]}: the mask is not drawn: {error.what}")
        objects.append(_object(tables, row, names, row in flagged, polygons, mask))
    name = tables.images.files[choice.row]
    return DataPicture(name, choice.split, image, decoded.size, tuple(objects), choice.findings, tuple(remarks))


def scaled(image: Tensor, largest: int) -> Tensor:
    """A picture, (3, h, w) uint8, whose longer side is at most so many pixels."""
    factor = largest / max(image.shape[1:])
    if factor >= 1:
        return image
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[2] * factor)))
    resized = F.interpolate(image[None].float(), size=size, mode="bilinear", antialias=True)[0]
    return resized.round().clamp(0, 255).to(torch.uint8)


def visible_box(box: Box, size: Size) -> Box:
    """A box as it can be drawn on an image: in order, on the canvas, and never too thin to be seen.

    Args:
        box: xyxy, whatever is written.
        size: (H, W) of the image.
    """
    height, width = size
    thinnest = min(max(height, width) / 100, height, width)
    x1, x2 = _visible_range(box[0], box[2], width, thinnest)
    y1, y2 = _visible_range(box[1], box[3], height, thinnest)
    return x1, y1, x2, y2


def _visible_range(one: float, other: float, limit: float, thinnest: float) -> tuple[float, float]:
    first, last = (min(max(value, 0.0), limit) for value in sorted((one, other)))
    lacking = thinnest - (last - first)
    if lacking <= 0:
        return first, last
    first = min(max(first - lacking / 2, 0.0), limit - thinnest)
    return first, first + thinnest


def _places(split: str, tables: Tables, classes: Sequence[str]) -> list[_Place]:
    if not classes:
        return [(split, row) for row in range(len(tables.images))]
    labels = [label for label, category in enumerate(tables.categories) if category["name"] in classes]
    rows = np.unique(tables.objects.images[np.isin(tables.objects.labels, labels)])
    return [(split, row) for row in rows.tolist()]


def _once(tables: Mapping[str, Tables], places: Sequence[_Place]) -> list[_Place]:
    """Without images that an earlier split has from the same annotation file, as VOC's trainval has."""
    seen: set[str] = set()
    kept = []
    for split, row in places:
        own = tables[split].images.sources
        if len(own):
            if own[row] in seen:
                continue
            seen.add(own[row])
        kept.append((split, row))
    return kept


def _located(
    tables: Mapping[str, Tables], findings: Iterable[Finding]
) -> tuple[dict[_Place, tuple[Finding, ...]], list[Choice], int]:
    """Findings by the image that shows them, those about files that no split lists, and how many have no image."""
    rows = {
        split: {f"{part.image_root / name}": row for row, name in enumerate(part.images.files.to_list())}
        for split, part in tables.items()
    }
    listed: dict[_Place, list[Finding]] = {}
    others: dict[str, list[Finding]] = {}
    unseen = 0
    for finding in findings:
        places = _places_of(finding, tables, rows)
        for place in places:
            listed.setdefault(place, []).append(finding)
        if not places and finding.image:
            others.setdefault(finding.image, []).append(finding)
        elif not places:
            unseen += 1
    strays = [Choice(found[0].split, None, Path(path), tuple(found)) for path, found in others.items()]
    return {place: tuple(found) for place, found in listed.items()}, strays, unseen


def _places_of(finding: Finding, tables: Mapping[str, Tables], rows: Mapping[str, Mapping[str, int]]) -> list[_Place]:
    splits = [split for split in tables if finding.split in ("", split)]
    if finding.row is not None and finding.split in tables:
        return [(finding.split, int(tables[finding.split].objects.images[finding.row]))]
    path = str(Path(finding.image)) if finding.image else ""
    return [(split, rows[split][path]) for split in splits if path in rows[split]]


def _choice(tables: Mapping[str, Tables], place: _Place, findings: tuple[Finding, ...]) -> Choice:
    split, row = place
    return Choice(split, row, tables[split].image_path(row), findings)


def _rows(tables: Tables, image: int) -> NDArray[np.int64]:
    return np.flatnonzero(tables.objects.images == image)


def _mask(entry: Mapping[str, Any], size: Size, small: Size) -> tuple[tuple[Sequence[float], ...], Tensor | None]:
    segmentation = usable_segmentation(entry.get("segmentation"))
    if segmentation is None:
        return (), None
    mask = decode_segmentation(segmentation, size)
    if size != small:
        mask = F.interpolate(mask[None, None].to(torch.uint8), size=small, mode="nearest-exact")[0, 0].bool()
    return (tuple(segmentation) if isinstance(segmentation, list) else ()), mask


def _object(
    tables: Tables,
    row: int,
    names: Sequence[str],
    flagged: bool,
    polygons: tuple[Sequence[float], ...],
    mask: Tensor | None,
) -> ShownObject:
    objects = tables.objects
    category = tables.categories[int(objects.labels[row])]
    x1, y1, x2, y2 = objects.boxes[row].tolist()
    points = None if objects.keypoints is None else objects.keypoints[row]
    if points is not None and not (points[:, 2] > 0).any():
        points = None
    return ShownObject(
        category["name"],
        names.index(category["name"]),
        (x1, y1, x2, y2),
        bool(objects.ignore[row]),
        flagged,
        mask,
        polygons,
        points,
        () if points is None else _skeleton(category, len(points)),
    )


def _skeleton(category: Mapping[str, Any], count: int) -> tuple[tuple[int, int], ...]:
    """COCO's pairs, which count from 1, as pairs that count from 0; those of points that do not exist are left out."""
    pairs = category.get("skeleton") or []
    sound = [p for p in pairs if isinstance(p, list) and len(p) == 2 and all(type(n) is int for n in p)]
    return tuple((a - 1, b - 1) for a, b in sound if 1 <= a <= count and 1 <= b <= count)
