"""Precision and recall at each score, exact, and the score threshold at which a detector serves best.

Average precision says how good a ranking is; who uses a detector needs one threshold. The operating point is the score
with the greatest F1 = 2 P R / (P + R) at overlap 0.5 (van Rijsbergen, Information Retrieval, 1979, with equal weights).
The curves here are not interpolated, other than those of coco.py: what they say is what one gets at a threshold.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sightline.classes import Classes
from sightline.evaluation.coco import ignored_objects
from sightline.evaluation.columns import Bools, Floats, Found, Kind, Truth
from sightline.evaluation.matching import Matches


@dataclass(frozen=True)
class OperatingPoint:
    """The score threshold with the greatest F1, and what one gets there.

    Args:
        name: of the class, or "all classes".
        threshold: keep detections with at least this score; NaN without a right detection.
        precision: share of the kept detections that are right; NaN if none is kept.
        recall: share of the objects that are found; NaN without objects.
        f1: harmonic mean of the two, 0 without a right detection; NaN without objects.
    """

    name: str
    threshold: float
    precision: float
    recall: float
    f1: float


def exact_curve(scores: Floats, correct: Bools, objects: int) -> tuple[Floats, Floats, Floats]:
    """Recall, precision and score at each distinct score, falling scores first to last.

    Args:
        scores: (N,) of all counted detections, in any order.
        correct: (N,) which of them found an object.
        objects: objects to find, at least 1.

    Returns:
        Three arrays of one length D <= N; equal scores make one point, for no threshold can part them.
    """
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], np.cumsum(correct[order])
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(scores) else np.zeros(0, np.int64)
    return right[ends] / objects, right[ends] / (ends + 1), scores[ends]


def operating_point(name: str, scores: Floats, correct: Bools, objects: int) -> OperatingPoint:
    """The threshold with the greatest F1; of equal ones the highest.

    Args:
        name: shown with the point.
        scores: (N,) of all counted detections, in any order.
        correct: (N,) which of them found an object.
        objects: objects to find.
    """
    if objects == 0:
        return OperatingPoint(name, math.nan, math.nan, math.nan, math.nan)
    if not correct.any():
        return OperatingPoint(name, math.nan, math.nan, 0.0, 0.0)
    recall, precision, score = exact_curve(scores, correct, objects)
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(np.float64).tiny)
    best = int(f1.argmax())
    return OperatingPoint(name, float(score[best]), float(precision[best]), float(recall[best]), float(f1[best]))


def operating_points(
    truth: Truth, found: Found, matches: Matches, classes: Classes, kind: Kind = "boxes"
) -> tuple[OperatingPoint, tuple[OperatingPoint, ...]]:
    """The one threshold that serves all classes best, and that of each class.

    Args:
        truth: the objects of a split.
        found: the detections.
        matches: of these, as ``matching.match_columns`` gives them.
        classes: what the labels mean.
        kind: what was compared.
    """
    counted = np.flatnonzero(matches.counted)
    by_class = counted[np.argsort(found.labels[counted], kind="stable")]
    labels, scores, correct = found.labels[by_class], found.scores[by_class], matches.correct[by_class]
    objects = np.bincount(truth.labels[~ignored_objects(truth, kind)], minlength=len(classes))
    ends = np.searchsorted(labels, np.arange(len(classes) + 1))
    per_class = tuple(
        operating_point(name, scores[start:stop], correct[start:stop], int(objects[label]))
        for label, (name, (start, stop)) in enumerate(zip(classes.names, pairwise(ends.tolist()), strict=True))
    )
    return operating_point("all classes", scores, correct, int(objects.sum())), per_class
