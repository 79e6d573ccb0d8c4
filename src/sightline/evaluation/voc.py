"""Pascal VOC's average precision of boxes: of 2007 at 11 recalls, of 2010 to 2012 the area under the curve.

Source: the development kits of VOC2007 and VOC2012 (VOCevaldet.m, VOCap.m), and Everingham et al., The Pascal Visual
Object Classes (VOC) Challenge, IJCV 2010, section 4.2. The detections of a class, best first over all images, each
belong to the object of their image that they overlap most, found already or not, difficult or not; of equal overlaps to
the first. With an overlap of 0.5 or more a detection is right if it is the first of its object; a later one is wrong;
one of a difficult object does not count. With less it is wrong. Difficult objects need not be found. The number of
detections is not limited.

Departures: the kit's boxes are whole pixels that both belong to the box, so that it adds 1 to every width and height.
Here boxes are continuous, and a VOC folder is read so that widths are the kit's (``data.formats.voc``): nothing is
added. The kit compares recalls with multiples of 0.1 in floating point, by which a recall of exactly 0.3 may fall below
0.3; here they are compared as fractions. Equal scores are taken in the order of images and rows.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np

from sightline.classes import Classes
from sightline.evaluation.coco import none_if_nan
from sightline.evaluation.columns import Bools, Floats, Found, Ints, Truth
from sightline.evaluation.likeness import pair_overlap
from sightline.evaluation.overlaps import pairs_of_class

Year = Literal["voc07", "voc12"]

PROTOCOLS: Mapping[Year, str] = {
    "voc07": "VOC2007 AP@.50, 11 points",
    "voc12": "VOC2012 AP@.50, area under the curve",
}
"""The exact names."""

LEAST_OVERLAP = 0.5
"""Overlap from which a detection belongs to an object."""


@dataclass(frozen=True)
class VocClass:
    """What is known of one class.

    Args:
        name: of the class.
        ap: average precision, in 0..1; NaN without objects that count.
        objects: objects to find, difficult ones not counted.
        detections: detections of the class.
    """

    name: str
    ap: float
    objects: int
    detections: int


@dataclass(frozen=True, eq=False)
class VocResult:
    """Average precision by one of VOC's protocols.

    Args:
        year: which.
        per_class: one a class.
    """

    year: Year
    per_class: tuple[VocClass, ...]

    @property
    def protocol(self) -> str:
        """The exact name."""
        return PROTOCOLS[self.year]

    @property
    def short_name(self) -> str:
        """For a column of a table: VOC2007."""
        return self.protocol.split()[0]

    @property
    def mean_ap(self) -> float:
        """The mean over the classes that have objects; NaN where none has."""
        defined = [found.ap for found in self.per_class if not math.isnan(found.ap)]
        return float(np.mean(defined)) if defined else math.nan

    def metrics(self) -> dict[str, float | None]:
        """``mAP``; ``None`` where there is nothing to measure."""
        return {"mAP": none_if_nan(self.mean_ap)}

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON, ``None`` where there is nothing to measure."""
        per_class = [{**vars(found), "ap": none_if_nan(found.ap)} for found in self.per_class]
        return {"metrics": self.metrics(), "per_class": [{"AP": row.pop("ap"), **row} for row in per_class]}


def voc_evaluate(truth: Truth, found: Found, classes: Classes) -> dict[Year, VocResult]:
    """VOC's evaluation of the boxes of a split, by both rules.

    Args:
        truth: the objects; those with ``ignore`` are VOC's difficult ones.
        found: the detections, of the same images.
        classes: what the labels mean.

    Raises:
        ValueError: columns of different numbers of images.
    """
    if truth.count != found.count:
        raise ValueError(f"{truth.count} targets but detections of {found.count} images")
    right, counted = voc_matches(truth, found)
    order = np.lexsort((-found.scores, found.labels))
    order = order[counted[order]]
    ends = np.searchsorted(found.labels[order], np.arange(len(classes) + 1)).tolist()
    objects = np.bincount(truth.labels[~truth.ignore], minlength=len(classes)).tolist()
    detections = np.bincount(found.labels, minlength=len(classes)).tolist()
    hits = [right[order[start:stop]] for start, stop in pairwise(ends)]
    return {
        year: VocResult(
            year,
            tuple(
                VocClass(name, average_precision(hits[label], objects[label], year), objects[label], detections[label])
                for label, name in enumerate(classes.names)
            ),
        )
        for year in get_args(Year)
    }


def voc_matches(truth: Truth, found: Found) -> tuple[Bools, Bools]:
    """Which detections are right, and which count at all, each (N,) in rows of ``found``."""
    near = []
    for detection, target in pairs_of_class(truth, found, np.arange(len(found))):
        overlap = pair_overlap(found.boxes[detection], truth.boxes[target], np.zeros(len(detection), np.bool_))
        enough = overlap >= LEAST_OVERLAP
        near.append((detection[enough], target[enough], overlap[enough]))
    detection, target, overlap = (np.concatenate(parts) for parts in zip(*near, strict=True))
    order = np.lexsort((-target, overlap, detection))
    best = order[np.append(detection[order][1:] != detection[order][:-1], True)[: len(order)]]
    rows, objects = detection[best], target[best]
    # Rows of an image are best first, so the first row of an object is its best detection.
    _, first = np.unique(objects, return_index=True)
    right, counted = np.zeros(len(found), np.bool_), np.ones(len(found), np.bool_)
    right[rows[first]] = True
    counted[rows[truth.ignore[objects]]] = False
    return right & counted, counted


def average_precision(right: Bools, objects: int, year: Year) -> float:
    """Average precision of one class.

    Args:
        right: (N,) which detections are right, best first; those that do not count are left out.
        objects: objects to find.
        year: the rule: the mean of the highest precisions at recalls of at least 0, 0.1 ... 1, or the area under the
            curve of the highest precision at each recall or a greater one.

    Returns:
        In 0..1; NaN without objects.
    """
    if objects == 0:
        return math.nan
    hits: Ints = np.cumsum(right)
    precision: Floats = hits / np.arange(1, len(hits) + 1)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    if year == "voc12":
        return float(envelope[:-1][right].sum() / objects)
    reached = np.searchsorted(10 * hits, np.arange(11) * objects)
    return float(envelope[reached].mean())
