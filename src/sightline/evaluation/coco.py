"""COCO's average precision and recall of boxes, masks and keypoints: its numbers, each class, precision over recall.

Source: Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014, and the evaluation protocol of its reference
implementation, pycocotools. The matching and the sums are done by hotcoco, which this file alone knows; it is fed
with arrays in memory, writes no files and prints nothing. Nothing here imports torch.

Departures: a number that COCO gives as -1 (no object to find) is NaN here, and ``None`` where it is written to JSON.
The ids of annotations play no part (in pycocotools an object with the id 0 can never be found). Results are judged as
if they held only what is judged: the area of a found mask is that of its pixels, that of found keypoints is that of the
box around them, whether or not the results give boxes too.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hotcoco
import numpy as np
from hotcoco import mask as run_lengths

from sightline.classes import Classes
from sightline.evaluation.columns import Bools, Floats, Found, Ints, Kind, Truth, xywh

_OF_REGIONS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")

METRIC_NAMES: Mapping[Kind, tuple[str, ...]] = {
    "boxes": _OF_REGIONS,
    "masks": _OF_REGIONS,
    "keypoints": ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl"),
}
"""The numbers of each kind of result in the order in which COCO prints them."""

DETECTIONS_PER_IMAGE: Mapping[Kind, int] = {"boxes": 100, "masks": 100, "keypoints": 20}
"""Detections of one class in one image that count, best first."""

COCO_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
    *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)
"""Spread of annotators at each of COCO's 17 keypoints, by which distances are measured; nose first, then by pairs."""

UNIFORM_SIGMA = 0.05
"""The spread where a skeleton is not COCO's and nobody gave one."""

_MEASURES: Mapping[Kind, str] = {"boxes": "IoU", "masks": "IoU", "keypoints": "OKS"}
_NAMES: Mapping[Kind, str] = {"boxes": "bbox", "masks": "segm", "keypoints": "keypoints"}

# Places in the evaluator's arrays: overlaps 0.5 and 0.75, objects of all sizes, most detections an image.
_IOU_50, _IOU_75, _ALL_SIZES, _MOST_DETECTIONS = 0, 5, 0, -1


@dataclass(frozen=True)
class ClassResult:
    """What is known of one class.

    Args:
        name: of the class.
        ap: average precision over the ten overlaps 0.5 to 0.95, in 0..1; NaN without objects.
        ap50: average precision at overlap 0.5.
        ap75: average precision at overlap 0.75.
        ar: recall averaged over the ten overlaps, with as many detections an image as the protocol allows.
        objects: objects to find, ignored ones not counted.
        detections: detections of the class, all scores.
    """

    name: str
    ap: float
    ap50: float
    ap75: float
    ar: float
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


@dataclass(frozen=True, eq=False)
class CocoResult:
    """COCO's numbers, in 0..1 or NaN where there is nothing to measure, and each class.

    ``AP`` to ``APl`` are means over classes of average precision; ``AR1``, ``AR10`` and ``AR100`` mean recalls with so
    many detections an image, the other recalls with as many as the protocol allows. Small is under 32 x 32 pixels of
    area, large is over 96 x 96. Keypoints have no small objects.

    Args:
        kind: what was judged.
        numbers: under COCO's names, in its order.
        per_class: one a class.
        curves: one a class.
        protocol: the exact name.
        sigmas: of the keypoints that were judged.
    """

    kind: Kind
    numbers: Mapping[str, float]
    per_class: tuple[ClassResult, ...]
    curves: tuple[Curve, ...]
    protocol: str
    sigmas: tuple[float, ...] = ()

    @property
    def ap(self) -> float:
        """Mean over the classes of average precision, averaged over the overlaps 0.5 to 0.95."""
        return self.numbers["AP"]

    @property
    def ap50(self) -> float:
        """Mean over the classes of average precision at overlap 0.5."""
        return self.numbers["AP50"]

    @property
    def recall_name(self) -> str:
        """What COCO calls the recall with most detections an image: ``AR100``, of keypoints ``AR``."""
        return "AR" if self.kind == "keypoints" else "AR100"

    @property
    def measure(self) -> str:
        """What COCO calls the overlap: ``IoU``, of keypoints ``OKS``."""
        return _MEASURES[self.kind]

    def metrics(self) -> dict[str, float | None]:
        """The numbers under COCO's names; ``None`` where there is nothing to measure."""
        return {name: none_if_nan(value) for name, value in self.numbers.items()}


def none_if_nan(value: float) -> float | None:
    """The value, or ``None`` for NaN, which JSON does not have."""
    return None if math.isnan(value) else value


def evaluate_columns(
    truth: Truth,
    found: Found,
    classes: Classes,
    image_ids: Sequence[int] | Ints | None = None,
    *,
    kind: Kind = "boxes",
    sigmas: Sequence[float] | None = None,
) -> CocoResult:
    """COCO's evaluation of the detections of a split.

    Objects marked ``ignore`` are COCO's crowds: they need not be found, any number of detections may match one, and
    the overlap with one is measured by the share of the detection that it covers. Objects without a visible keypoint
    need not be found either where keypoints are judged. Sizes are told by ``Truth.areas``.

    Args:
        truth: the objects.
        found: the detections, of the same images.
        classes: what the labels mean.
        image_ids: of the images, unique; images are taken in the order of their ids, which only matters among equal
            scores. Default: the order given.
        kind: what is compared: the overlap of boxes, of masks, or the likeness of keypoints (OKS).
        sigmas: one a keypoint. Default: COCO's for 17 keypoints, ``UNIFORM_SIGMA`` for any other number.

    Raises:
        ValueError: columns of different numbers of images, repeated image ids, a label that ``classes`` does not have,
            or columns without the masks or keypoints that are to be judged.
    """
    order = _image_order(truth.count, found.count, image_ids)
    for owner, labels in (("target", truth.labels), ("detection", found.labels)):
        if len(labels) and labels.max() >= len(classes):
            raise ValueError(f"a {owner} has label {int(labels.max())}, but there are {len(classes)} classes")
    spread = None if kind != "keypoints" else keypoint_sigmas(truth, sigmas)
    images = [{"id": int(rank), "height": h, "width": w} for rank, (h, w) in zip(order, _sizes(truth), strict=True)]
    categories = [{"id": label + 1, "name": str(label)} for label in range(len(classes))]
    make = _points_for_evaluator if kind == "keypoints" else _regions_for_evaluator
    stats, arrays = _run(*make(truth, found, order, images, categories, kind), kind, spread)
    objects = np.bincount(truth.labels[~ignored_objects(truth, kind)], minlength=len(classes))
    counts = np.bincount(found.labels, minlength=len(classes))
    return CocoResult(
        kind,
        dict(zip(METRIC_NAMES[kind], stats, strict=True)),
        per_class=_class_results(arrays, classes, objects.tolist(), counts.tolist()),
        curves=tuple(_curve(arrays, label, name) for label, name in enumerate(classes.names)),
        protocol=_protocol(kind, spread),
        sigmas=spread or (),
    )


def ignored_objects(truth: Truth, kind: Kind) -> Bools:
    """(N,) bool, objects that need not be found: crowds, and where keypoints are judged those without a visible one."""
    if kind != "keypoints" or truth.keypoints is None:
        return truth.ignore
    unseen: Bools = np.asarray((truth.keypoints[:, :, 2] <= 0).all(axis=1))
    return truth.ignore | unseen


def keypoint_sigmas(truth: Truth, sigmas: Sequence[float] | None) -> tuple[float, ...]:
    """One spread a keypoint: those given, COCO's for 17 keypoints, or ``UNIFORM_SIGMA``.

    Raises:
        ValueError: truth without keypoints, or sigmas of another number than its keypoints.
    """
    if truth.keypoints is None:
        raise ValueError("the truth has no keypoints")
    count = truth.keypoints.shape[1]
    if sigmas is not None:
        if len(sigmas) != count or not all(sigma > 0 for sigma in sigmas):
            raise ValueError(f"{count} keypoints need as many sigmas above 0, got {len(sigmas)}")
        return tuple(sigmas)
    return COCO_SIGMAS if count == len(COCO_SIGMAS) else (UNIFORM_SIGMA,) * count


def _protocol(kind: Kind, sigmas: tuple[float, ...] | None) -> str:
    name = f"COCO {_NAMES[kind]} AP@[{_MEASURES[kind]}=.50:.95], 101 points, {DETECTIONS_PER_IMAGE[kind]} detections"
    if sigmas is None:
        return name
    if sigmas == COCO_SIGMAS:
        return f"{name}, COCO's 17 sigmas"
    return f"{name}, sigmas all {sigmas[0]:g}" if len(set(sigmas)) == 1 else f"{name}, own sigmas"


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


def _sizes(truth: Truth) -> list[list[int]]:
    return [[1, 1]] * truth.count if truth.sizes is None else truth.sizes.tolist()


_Entries = list[dict[str, Any]]


def _regions_for_evaluator(
    truth: Truth, found: Found, order: Ints, images: _Entries, categories: _Entries, kind: Kind
) -> tuple[hotcoco.COCO, hotcoco.COCO]:
    """Truth and results as the evaluator wants them, from arrays."""
    true_masks, masks = (list(columns.segmentations or ()) if kind == "masks" else None for columns in (truth, found))
    if kind == "masks" and (truth.segmentations is None or found.segmentations is None or truth.sizes is None):
        raise ValueError("masks can be judged only where truth, with the images' sizes, and detections have them")
    dataset = hotcoco.COCO.from_arrays(
        images,
        categories,
        order[truth.images],
        truth.labels + 1,
        xywh(truth),
        area=truth.areas,
        iscrowd=truth.ignore,
        segmentation=true_masks,
    )
    rows = np.empty((len(found), 7))
    rows[:, 0], rows[:, 1:5], rows[:, 5], rows[:, 6] = order[found.images], xywh(found), found.scores, found.labels + 1
    results = dataset.load_res(rows, segmentation=masks)
    if masks:
        results.update_anns(ids=np.arange(1, len(found) + 1), area=run_lengths.area(masks).astype(float))
    return dataset, results


def _points_for_evaluator(
    truth: Truth, found: Found, order: Ints, images: _Entries, categories: _Entries, kind: Kind
) -> tuple[hotcoco.COCO, hotcoco.COCO]:
    """Truth and results with keypoints, which the evaluator takes entry by entry only."""
    del kind
    if truth.keypoints is None or found.keypoints is None:
        raise ValueError("keypoints can be judged only where truth and detections have them")
    visible = (truth.keypoints[:, :, 2] > 0).sum(axis=1).tolist()
    columns = (
        order[truth.images].tolist(),
        (truth.labels + 1).tolist(),
        xywh(truth).tolist(),
        truth.areas.tolist(),
        truth.ignore.tolist(),
        _flat(truth.keypoints),
        visible,
    )
    names = ("image_id", "category_id", "bbox", "area", "iscrowd", "keypoints", "num_keypoints")
    objects = [
        {"id": number, **dict(zip(names, row, strict=True))} for number, row in enumerate(zip(*columns, strict=True), 1)
    ]
    dataset = hotcoco.COCO({"images": images, "categories": categories, "annotations": objects})
    if not len(found):
        return dataset, dataset.load_res(np.zeros((0, 7)))
    fields = order[found.images].tolist(), (found.labels + 1).tolist(), found.scores.tolist(), _flat(found.keypoints)
    rows = [
        {"image_id": image, "category_id": category, "score": score, "keypoints": keypoints}
        for image, category, score, keypoints in zip(*fields, strict=True)
    ]
    return dataset, dataset.load_res(rows)


def _flat(keypoints: Floats) -> list[list[float]]:
    rows: list[list[float]] = keypoints.reshape(len(keypoints), 3 * keypoints.shape[1]).tolist()
    return rows


def _run(
    dataset: hotcoco.COCO, results: hotcoco.COCO, kind: Kind, sigmas: tuple[float, ...] | None
) -> tuple[list[float], dict[str, Any]]:
    """COCO's numbers, and the evaluator's arrays: precision and scores (T, R, K, A, M), recall (T, K, A, M)."""
    evaluator = hotcoco.COCOeval(dataset, results, _NAMES[kind])
    if sigmas is not None:
        evaluator.params.kpt_oks_sigmas = list(sigmas)
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summary_lines()  # works the numbers out, as summarize() does, but prints nothing
    arrays = evaluator.eval
    if arrays is None:
        raise RuntimeError("hotcoco accumulated nothing")
    return [_nan_if_undefined(float(value)) for value in evaluator.stats], arrays


def _nan_if_undefined(value: float) -> float:
    return math.nan if value < 0 else value


def _class_results(
    arrays: dict[str, Floats], classes: Classes, objects: list[int], detections: list[int]
) -> tuple[ClassResult, ...]:
    """All classes; a class is undefined at all overlaps and recalls or at none."""
    precision = arrays["precision"][:, :, :, _ALL_SIZES, _MOST_DETECTIONS]
    recall = arrays["recall"][:, :, _ALL_SIZES, _MOST_DETECTIONS]
    averages = precision.mean(axis=1)
    columns = (averages.mean(axis=0), averages[_IOU_50], averages[_IOU_75], recall.mean(axis=0))
    ap, ap50, ap75, ar = ([_nan_if_undefined(value) for value in column.tolist()] for column in columns)
    rows = zip(classes.names, ap, ap50, ap75, ar, objects, detections, strict=True)
    return tuple(ClassResult(*row) for row in rows)


def _curve(arrays: dict[str, Floats], label: int, name: str) -> Curve:
    place = (_IOU_50, slice(None), label, _ALL_SIZES, _MOST_DETECTIONS)
    precision, score = arrays["precision"][place], arrays["scores"][place]
    if (precision < 0).all():
        return Curve(name, np.zeros(0), np.zeros(0), np.zeros(0))
    return Curve(name, np.linspace(0, 1, len(precision)), precision.copy(), score.copy())
