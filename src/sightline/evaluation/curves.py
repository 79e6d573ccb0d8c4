"""Precision and recall at each score, exact, and the score threshold at which a detector serves best.

Average precision says how good a ranking is; who uses a detector needs one threshold. The operating point is the score
with the greatest F1 = 2 P R / (P + R) at overlap 0.5 (van Rijsbergen, Information Retrieval, 1979, with equal weights).
The curves here are not interpolated, other than those of coco.py: what they say is what one gets at a threshold.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.evaluation.matching import Matches
from sightline.structures import Classes, Detections, Target

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


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
    targets: Sequence[Target], detections: Sequence[Detections], matches: Sequence[Matches], classes: Classes
) -> tuple[OperatingPoint, tuple[OperatingPoint, ...]]:
    """The one threshold that serves all classes best, and that of each class.

    Args:
        targets: the truth, one an image.
        detections: one an image.
        matches: of these, as ``matching.match`` gives them.
        classes: what the labels mean.
    """
    counted = _concatenate([m.counted for m in matches], np.bool_)
    scores = _concatenate([d.scores.cpu().numpy() for d in detections], np.float64)[counted]
    labels = _concatenate([d.labels.cpu().numpy() for d in detections], np.int64)[counted]
    correct = _concatenate([m.correct for m in matches], np.bool_)[counted]
    to_find = _concatenate([t.labels[~t.ignore].cpu().numpy() for t in targets], np.int64)
    objects: Ints = np.bincount(to_find, minlength=len(classes))
    per_class = tuple(
        operating_point(name, scores[labels == label], correct[labels == label], int(objects[label]))
        for label, name in enumerate(classes.names)
    )
    return operating_point("all classes", scores, correct, int(objects.sum())), per_class


def _concatenate(parts: Sequence[npt.NDArray[np.generic]], dtype: type[np.generic]) -> npt.NDArray[np.generic]:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)
