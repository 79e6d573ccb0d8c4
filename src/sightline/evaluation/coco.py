"""COCO's average precision and recall of boxes: twelve numbers, each class, and precision/recall curves.

Source: Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014, and the evaluation protocol of its reference
implementation, pycocotools. The matching and the sums are done by hotcoco, which this file alone knows; it is fed
with arrays in memory, writes no files and prints nothing.

Departures: a number that COCO gives as -1 (no object to find) is NaN here, and ``None`` where it is written to JSON.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import hotcoco
import numpy as np

from sightline.classes import Classes
from sightline.evaluation.columns import Floats, Found, Ints, Truth, found_of, truth_of, xywh

if TYPE_CHECKING:
    from sightline.structures import Detections, Target

METRIC_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""The twelve numbers in the order in which COCO prints them."""

# The same numbers in the same order as they are called in CocoResult.
_FIELDS = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)

DETECTIONS_PER_IMAGE = 100
"""Detections of one class in one image that count, best first."""

# Places in the evaluator's arrays: overlaps 0.5 and 0.75, objects of all sizes, 100 detections an image.
_IOU_50, _IOU_75, _ALL_SIZES, _MOST_DETECTIONS = 0, 5, 0, 2


@dataclass(frozen=True)
class ClassResult:
    """What is known of one class.

    Args:
        name: of the class.
        ap: average precision over the ten overlaps 0.5 to 0.95, in 0..1; NaN without objects.
        ap50: average precision at overlap 0.5.
        ap75: average precision at overlap 0.75.
        ar100: recall averaged over the ten overlaps, with 100 detections an image.
        objects: objects to find, ignored ones not counted.
        detections: detections of the class, all scores.
    """

    name: str
    ap: float
    ap50: float
    ap75: float
    ar100: float
    objects: int
    detections: int


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision over recall of one class at overlap 0.5, as COCO interpolates it at 101 recalls.

    Args:
        name: of the class.
        recall: (101,) 0, 0.01 ... 1; (0,) for a class without objects.
        precision: (101,) highest precision at this recall or a greater one; 0 where the recall is not reached.
        score: (101,) score of the detection with which the recall is reached; 0 where it is not.
    """

    name: str
    recall: Floats
    precision: Floats
    score: Floats


@dataclass(frozen=True)
class CocoResult:
    """COCO's twelve numbers, in 0..1 or NaN where there is nothing to measure, and each class.

    ``ap`` to ``ap_large`` are means over classes of average precision; ``ar1``, ``ar10`` and ``ar100`` mean recalls
    with so many detections an image; ``ar_small`` to ``ar_large`` with 100. Small is under 32 x 32 pixels of area,
    large is over 96 x 96.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float
    per_class: tuple[ClassResult, ...]
    curves: tuple[Curve, ...]
    protocol: str = "COCO bbox"

    def metrics(self) -> dict[str, float | None]:
        """The twelve numbers under COCO's names; ``None`` where there is nothing to measure."""
        return {name: none_if_nan(getattr(self, field)) for name, field in zip(METRIC_NAMES, _FIELDS, strict=True)}


def none_if_nan(value: float) -> float | None:
    """The value, or ``None`` for NaN, which JSON does not have."""
    return None if math.isnan(value) else value


def coco_evaluate(
    targets: "Sequence[Target]",
    detections: "Sequence[Detections]",
    classes: Classes,
    image_ids: Sequence[int] | None = None,
) -> CocoResult:
    """COCO's evaluation of detections against the truth.

    Objects marked ``ignore`` are COCO's crowds: they need not be found, any number of detections may match one, and
    the overlap with one is measured by the share of the detection that it covers. Sizes are told by ``Target.areas``.

    Args:
        targets: the truth, one an image.
        detections: one an image, in the same order and pixels.
        classes: what the labels mean.
        image_ids: of the images, unique; images are taken in the order of their ids, which only matters among equal
            scores. Default: the order given.

    Raises:
        ValueError: lists of different lengths, repeated image ids, or a label that ``classes`` does not have.
    """
    return evaluate_columns(truth_of(targets), found_of(detections), classes, image_ids)


def evaluate_columns(
    truth: Truth, found: Found, classes: Classes, image_ids: Sequence[int] | Ints | None = None
) -> CocoResult:
    """COCO's evaluation of the detections of a split, as :func:`coco_evaluate`.

    Args:
        truth: the objects.
        found: the detections, of the same images.
        classes: what the labels mean.
        image_ids: as for :func:`coco_evaluate`.

    Raises:
        ValueError: as :func:`coco_evaluate`.
    """
    order = _image_order(truth.count, found.count, image_ids)
    for owner, labels in (("target", truth.labels), ("detection", found.labels)):
        if len(labels) and labels.max() >= len(classes):
            raise ValueError(f"a {owner} has label {int(labels.max())}, but there are {len(classes)} classes")
    stats, arrays = _run(truth, found, order, len(classes))
    objects = np.bincount(truth.labels[~truth.ignore], minlength=len(classes))
    counts = np.bincount(found.labels, minlength=len(classes))
    numbers: dict[str, Any] = dict(zip(_FIELDS, stats, strict=True))
    return CocoResult(
        **numbers,
        per_class=tuple(
            _class_result(arrays, label, name, int(objects[label]), int(counts[label]))
            for label, name in enumerate(classes.names)
        ),
        curves=tuple(_curve(arrays, label, name) for label, name in enumerate(classes.names)),
    )


def _image_order(targets: int, detections: int, image_ids: Sequence[int] | Ints | None) -> Ints:
    """The place of each image among the sorted ids: the evaluator then needs no id that a file may hold."""
    if targets != detections:
        raise ValueError(f"{targets} targets but detections of {detections} images")
    if image_ids is None:
        return np.arange(targets)
    if len(image_ids) != targets:
        raise ValueError(f"{targets} targets but {len(image_ids)} image ids")
    unique, order = np.unique(np.asarray(image_ids, dtype=np.int64), return_inverse=True)
    if len(unique) != targets:
        raise ValueError("image ids must be unique")
    return order.astype(np.int64)


def _run(truth: Truth, found: Found, order: Ints, classes: int) -> tuple[list[float], dict[str, Any]]:
    """The twelve numbers, and the evaluator's arrays: precision and scores (T, R, K, A, M), recall (T, K, A, M)."""
    dataset = hotcoco.COCO.from_arrays(
        [{"id": image, "width": 1, "height": 1} for image in range(truth.count)],
        [{"id": label + 1, "name": str(label)} for label in range(classes)],
        order[truth.images],
        truth.labels + 1,
        xywh(truth),
        area=truth.areas,
        iscrowd=truth.ignore,
    )
    rows = np.column_stack([order[found.images], xywh(found), found.scores, found.labels + 1])
    evaluator = hotcoco.COCOeval(dataset, dataset.load_res(rows), "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summary_lines()  # works the numbers out, as summarize() does, but prints nothing
    arrays = evaluator.eval
    if arrays is None:
        raise RuntimeError("hotcoco accumulated nothing")
    return [_nan_if_undefined(float(value)) for value in evaluator.stats], arrays


def _nan_if_undefined(value: float) -> float:
    return math.nan if value < 0 else value


def _mean(values: Floats) -> float:
    """Mean over what is defined; NaN if nothing is."""
    values = values[values > -1]
    return float(values.mean()) if values.size else math.nan


def _class_result(arrays: dict[str, Floats], label: int, name: str, objects: int, detections: int) -> ClassResult:
    precision = arrays["precision"][:, :, label, _ALL_SIZES, _MOST_DETECTIONS]
    recall = arrays["recall"][:, label, _ALL_SIZES, _MOST_DETECTIONS]
    ap, ap50, ap75 = (_mean(values) for values in (precision, precision[_IOU_50], precision[_IOU_75]))
    return ClassResult(name, ap, ap50, ap75, _mean(recall), objects, detections)


def _curve(arrays: dict[str, Floats], label: int, name: str) -> Curve:
    place = (_IOU_50, slice(None), label, _ALL_SIZES, _MOST_DETECTIONS)
    precision, score = arrays["precision"][place], arrays["scores"][place]
    if (precision < 0).all():
        return Curve(name, np.zeros(0), np.zeros(0), np.zeros(0))
    return Curve(name, np.linspace(0, 1, len(precision)), precision.copy(), score.copy())
