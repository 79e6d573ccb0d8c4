"""Why a detector's average precision is not 1: its errors by kind, and the AP that each kind costs.

Source: Bolya, Foley, Hays, Hoffman: TIDE, A General Toolbox for Identifying Object Detection Errors, ECCV 2020. Every
wrong detection is of one of five kinds (section 2.2, figure 2), by its greatest IoU with objects of its own class and
of others; objects that were not found, and that no error of class or place is about, are missed. What a kind costs is
AP50 after this kind alone was put right, less AP50 as it is (sections 2.3 and 2.4): the costs do not add up.

Where the paper leaves several kinds open, the first of localisation, classification, duplicate, background, both is
taken, as its authors' toolbox does. Ignored objects, and detections that matched one, are no errors.

Departures from the toolbox (docs/differences.md): of two detections of one object the better scored stays, as the paper
has it; classes without objects do not enter the mean, as in COCO; a class in which nothing is left to find counts as 1
if nothing was wrongly found in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from sightline.evaluation.average_precision import average_precision, mean_of_defined
from sightline.evaluation.coco import none_if_nan
from sightline.evaluation.columns import Bools, Floats, Found, Ints, Truth, xywh
from sightline.evaluation.matching import match_columns
from sightline.evaluation.overlaps import pairs_in_images
from sightline.evaluation.sizes import SIZES, size_of

FOREGROUND, BACKGROUND = 0.5, 0.1
"""IoU from which an object counts as found, and below which a detection has nothing to do with it (the paper's)."""

ErrorKind = Literal["classification", "localisation", "both", "duplicate", "background", "missed"]
KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)
"""The kinds of errors in the paper's order; all but the last are wrong detections."""

_CLASS, _PLACE, _BOTH, _DUPLICATE, _BACKGROUND = range(5)
_RIGHT, _NEITHER = -1, -2

PROTOCOL = "TIDE, boxes, foreground IoU 0.5, background IoU 0.1; dAP is AP50 that would be gained"
"""What the numbers are."""


@dataclass(frozen=True, eq=False)
class Classified:
    """What each detection and each object of a split is.

    Args:
        kind: (N,) place of the error's kind in :data:`KINDS`; -1 for a right detection, -2 for one that neither counts
            nor costs.
        object_of: (N,) row of the object that a right detection found, or that an error is about: the object of its
            class (localisation, duplicate) or of another (classification) with the greatest IoU, or of any class
            (both); -1 for none.
        missed: (M,) objects that are missed.
        found: (M,) objects that are found.
    """

    kind: Ints
    object_of: Ints
    missed: Bools
    found: Bools


@dataclass(frozen=True)
class ErrorSummary:
    """The errors of a split, a class or a size.

    Args:
        name: "all", the class, or small, medium, large (as COCO has them: under 32², under 96² and from 96² pixels).
        objects: to find.
        ap50: as it is, in 0..1; NaN without objects. Of "all" and of a size: the mean over the classes with objects.
        counts: errors by kind.
        costs: AP50 that each kind costs; NaN without objects.
        false_positive_cost: AP50 that all wrong detections together cost.
        false_negative_cost: AP50 that all objects which were not found cost.
    """

    name: str
    objects: int
    ap50: float
    counts: Mapping[ErrorKind, int]
    costs: Mapping[ErrorKind, float]
    false_positive_cost: float
    false_negative_cost: float

    def to_dict(self) -> dict[str, object]:
        """Plain values, ``None`` where there is nothing to measure."""
        kinds = {kind: {"count": self.counts[kind], "dAP": none_if_nan(self.costs[kind])} for kind in KINDS}
        special = {
            "all wrong detections": {"dAP": none_if_nan(self.false_positive_cost)},
            "all that was not found": {"dAP": none_if_nan(self.false_negative_cost)},
        }
        return {
            "name": self.name,
            "objects": self.objects,
            "AP50": none_if_nan(self.ap50),
            "kinds": kinds,
            "special": special,
        }


@dataclass(frozen=True)
class Errors:
    """The errors of a split: of all, of each class, of each size.

    An error belongs to the class that was detected, and a missed object to its own. It is of the size of the object
    that it is about, or of its own box's if it is about none; AP50 of a size is over the detections and objects of this
    size, so that it need not be COCO's.
    """

    overall: ErrorSummary
    by_class: tuple[ErrorSummary, ...]
    by_size: tuple[ErrorSummary, ...]

    def to_dict(self) -> dict[str, object]:
        """What ``metrics.json`` holds under ``errors``."""
        return {
            "protocol": PROTOCOL,
            **self.overall.to_dict(),
            "by_class": [summary.to_dict() for summary in self.by_class],
            "by_size": [summary.to_dict() for summary in self.by_size],
        }


def classify(truth: Truth, found: Found) -> Classified:
    """The kind of each detection of a split, and which objects are missed.

    Args:
        truth: the objects.
        found: the detections, of the same images.

    Raises:
        ValueError: columns of different numbers of images.
    """
    matches = match_columns(truth, found, FOREGROUND)
    kind = np.where(matches.counted, _BACKGROUND, _NEITHER)
    kind[matches.correct] = _RIGHT
    object_of = np.where(matches.correct, matches.object_of, -1)
    wrong = np.flatnonzero(kind == _BACKGROUND)
    counting = np.flatnonzero(~truth.ignore)
    own, own_iou, other, other_iou = _nearest(truth, found, counting, wrong)
    options = [
        (_PLACE, (own_iou >= BACKGROUND) & (own_iou < FOREGROUND), own),
        (_CLASS, other_iou >= FOREGROUND, other),
        (_DUPLICATE, own_iou >= FOREGROUND, own),
        (_BACKGROUND, np.maximum(own_iou, other_iou) < BACKGROUND, np.full(len(wrong), -1)),
    ]
    fits = [fit for _, fit, _ in options]
    kind[wrong] = np.select(fits, [place for place, _, _ in options], _BOTH)
    object_of[wrong] = np.select(fits, [objects for _, _, objects in options], other)
    about = object_of[(kind == _CLASS) | (kind == _PLACE)]
    missed = ~matches.found & ~truth.ignore
    missed[about] = False
    return Classified(kind, object_of, missed, matches.found)


def _nearest(truth: Truth, found: Found, objects: Ints, rows: Ints) -> tuple[Ints, Floats, Ints, Floats]:
    """The object of its own class that each detection overlaps most, their IoU, and the same for other classes.

    Of equal overlaps the first object; -1 and 0 where nothing overlaps.
    """
    nearest = np.full((2, len(found)), -1)
    most = np.zeros((2, len(found)))
    for detection, target, iou in pairs_in_images(truth, found, objects, rows):
        if len(detection) == 0:
            continue
        same = found.labels[detection] == truth.labels[target]
        first = np.flatnonzero(np.append(True, detection[1:] != detection[:-1]))
        pairs = np.diff(np.append(first, len(detection)))
        for which, among in enumerate((same, ~same)):
            overlap = np.where(among, iou, 0.0)
            greatest = np.maximum.reduceat(overlap, first)
            attained = (overlap == np.repeat(greatest, pairs)) & (overlap > 0)
            place = np.minimum.reduceat(np.where(attained, np.arange(len(detection)), len(detection)), first)
            some = greatest > 0
            nearest[which, detection[first[some]]] = target[place[some]]
            most[which, detection[first]] = greatest
    return nearest[0, rows], most[0, rows], nearest[1, rows], most[1, rows]


def errors_of(truth: Truth, found: Found, names: Sequence[str], turns: Ints | None = None) -> Errors:
    """The errors of a split and what each kind costs.

    Args:
        truth: the objects.
        found: the detections, of the same images.
        names: of the classes, in label order.
        turns: (count,) turn of each image, which decides among equal scores; default: the images' order.

    Raises:
        ValueError: columns of different numbers of images.
    """
    classified = classify(truth, found)
    ranking = _Ranking.of(truth, found, classified, len(names), turns)
    as_is = ranking.average_precisions()
    fixed = [ranking.fixed(kind).average_precisions() for kind in range(len(KINDS))]
    fixed += [ranking.without_false_positives().average_precisions(), ranking.without_misses().average_precisions()]
    places = [np.flatnonzero(classified.kind == kind) for kind in range(len(KINDS) - 1)]
    detection_sizes = _sizes_of(truth, found, classified)
    labels = [found.labels[rows] for rows in places] + [truth.labels[classified.missed]]
    sizes = [detection_sizes[rows] for rows in places] + [size_of(truth.areas[classified.missed])]
    of_class = [np.bincount(owners, minlength=len(names)) for owners in labels]
    of_size = [np.bincount(owners, minlength=len(SIZES)) for owners in sizes]

    def summary(name: str, index: int | None, by_size: bool) -> ErrorSummary:
        objects = ranking.judged.sum(axis=1 if by_size else 0)
        table = of_size if by_size else of_class
        counts = [int(count.sum() if index is None else count[index]) for count in table]
        ap, *after = (_chosen(part, index, by_size) for part in (as_is, *fixed))
        costs = [value - ap for value in after]
        return ErrorSummary(
            name,
            int(objects.sum() if index is None else objects[index]),
            ap,
            dict(zip(KINDS, counts, strict=True)),
            dict(zip(KINDS, costs, strict=False)),
            *costs[len(KINDS) :],
        )

    return Errors(
        summary("all", None, False),
        tuple(summary(name, label, False) for label, name in enumerate(names)),
        tuple(summary(name, size, True) for size, name in enumerate(SIZES)),
    )


def _chosen(precisions: tuple[Floats, Floats], index: int | None, by_size: bool) -> float:
    """One number of the APs of all classes and of all sizes and classes."""
    by_class, by_size_and_class = precisions
    if index is None:
        return mean_of_defined(by_class)
    return mean_of_defined(by_size_and_class[index]) if by_size else float(by_class[index])


def _sizes_of(truth: Truth, found: Found, classified: Classified) -> Ints:
    """(N,) place in :data:`sizes.SIZES` of each detection: of the object that it is about, or else of its box."""
    sides = xywh(found)[:, 2:]
    sizes = size_of(sides[:, 0] * sides[:, 1])
    about = classified.object_of >= 0
    sizes[about] = size_of(truth.areas[classified.object_of[about]])
    return sizes


@dataclass(frozen=True, eq=False)
class _Ranking:
    """The detections that count, best first, and what there is to find: as it is, or after errors were put right.

    Args:
        scores: (R,) not increasing.
        kind: (R,) as in :class:`Classified`.
        object_of: (R,) as in :class:`Classified`.
        labels: (R,) class under which each counts.
        sizes: (R,) size under which each counts.
        correct: (R,) which are right.
        objects: (3, K) objects to find, by size and class.
        judged: (3, K) objects to find as it is.
        missed: (3, K) objects that are missed.
        found: (3, K) objects that are found.
        truth_labels: (M,) class of each object.
    """

    scores: Floats
    kind: Ints
    object_of: Ints
    labels: Ints
    sizes: Ints
    correct: Bools
    objects: Ints
    judged: Ints
    missed: Ints
    found: Ints
    truth_labels: Ints

    @classmethod
    def of(cls, truth: Truth, found: Found, classified: Classified, classes: int, turns: Ints | None) -> "_Ranking":
        rows = np.flatnonzero(classified.kind != _NEITHER)
        owners = found.images[rows]
        rows = rows[np.lexsort((owners if turns is None else turns[owners], -found.scores[rows]))]
        groups = size_of(truth.areas) * classes + truth.labels

        def table(among: Bools) -> Ints:
            counts = np.bincount(groups[among], minlength=len(SIZES) * classes)
            return counts.reshape(len(SIZES), classes).astype(np.int64)

        judged = table(~truth.ignore)
        return cls(
            scores=found.scores[rows],
            kind=classified.kind[rows],
            object_of=classified.object_of[rows],
            labels=found.labels[rows],
            sizes=_sizes_of(truth, found, classified)[rows],
            correct=classified.kind[rows] == _RIGHT,
            objects=judged,
            judged=judged,
            missed=table(classified.missed),
            found=table(classified.found),
            truth_labels=truth.labels,
        )

    def fixed(self, kind: int) -> "_Ranking":
        """With the errors of one kind put right (section 2.3 of the paper)."""
        if kind in (_CLASS, _PLACE):
            return self._corrected(kind)
        if kind == KINDS.index("missed"):
            return replace(self, objects=self.judged - self.missed)
        return self._kept(self.kind != kind)

    def without_false_positives(self) -> "_Ranking":
        """Without all wrong detections."""
        return self._kept(self.kind == _RIGHT)

    def without_misses(self) -> "_Ranking":
        """With nothing to find but what is found."""
        return replace(self, objects=self.found)

    def average_precisions(self) -> tuple[Floats, Floats]:
        """AP50 of each class, (K,), and of each size and class, (3, K); NaN where there was nothing to find."""
        sizes, classes = self.judged.shape
        groups = self.sizes * classes + self.labels
        wrong = np.bincount(groups[~self.correct], minlength=sizes * classes).reshape(sizes, classes)
        by_class = average_precision(self.labels, self.correct, self.objects.sum(axis=0))
        by_size = average_precision(groups, self.correct, self.objects.reshape(-1)).reshape(sizes, classes)
        return (
            _settled(by_class, self.judged.sum(axis=0), wrong.sum(axis=0)),
            _settled(by_size, self.judged, wrong),
        )

    def _corrected(self, kind: int) -> "_Ranking":
        """Errors of class or place become right detections of their objects; of several of one object the best stays.

        Of equal scores the detection that was right already.
        """
        claims = np.flatnonzero((self.kind == kind) | (self.kind == _RIGHT))
        objects = self.object_of[claims]
        order = np.lexsort((self.kind[claims] != _RIGHT, -self.scores[claims], objects))
        ordered = objects[order]
        best = claims[order[np.append(True, ordered[1:] != ordered[:-1])[: len(order)]]]
        correct = np.zeros(len(self.kind), np.bool_)
        correct[best] = True
        labels = np.where(correct, self.truth_labels[self.object_of], self.labels) if len(best) else self.labels
        dropped = np.zeros(len(self.kind), np.bool_)
        dropped[claims] = True
        return replace(self, labels=labels, correct=correct)._kept(~dropped | correct)

    def _kept(self, rows: Bools) -> "_Ranking":
        return replace(
            self,
            scores=self.scores[rows],
            kind=self.kind[rows],
            object_of=self.object_of[rows],
            labels=self.labels[rows],
            sizes=self.sizes[rows],
            correct=self.correct[rows],
        )


def _settled(precision: Floats, judged: Ints, wrong: Ints) -> Floats:
    """AP of classes that had something to find; where nothing is left, 1 without wrong detections and 0 with some."""
    emptied = np.isnan(precision) & (judged > 0)
    return np.where(judged > 0, np.where(emptied, wrong == 0, precision), np.nan).astype(np.float64)
