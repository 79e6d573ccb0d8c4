"""How alike a detection and an object are, pair by pair: overlap of boxes, overlap of masks, likeness of keypoints.

Sources: the overlaps of pycocotools; for keypoints the object keypoint similarity (OKS) of COCO's keypoint challenge,
cocodataset.org/#keypoints-eval: the mean of exp(-d^2 / (2 s^2 k^2)) over the object's visible keypoints, where d is
the distance, s^2 the object's area and k twice the spread (sigma) of annotators at this keypoint. An object without a
visible keypoint is measured by how far the detection's points lie outside of its box, enlarged by its own sides all
around.

Departure: two boxes without area overlap by 0, where pycocotools divides 0 by 0 and takes the result for a match.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hotcoco import primitives

from sightline.evaluation.columns import Bools, Floats, Found, Ints, Kind, Truth, sides_of, xywh


def pair_likeness(
    truth: Truth, found: Found, detection: Ints, target: Ints, kind: Kind = "boxes", sigmas: Sequence[float] = ()
) -> Floats:
    """How alike detections and objects are.

    Args:
        truth: the objects.
        found: the detections.
        detection: (P,) rows of ``found``.
        target: (P,) rows of ``truth``, of the same images.
        kind: what is compared.
        sigmas: one a keypoint.

    Returns:
        (P,) in 0..1.

    Raises:
        ValueError: columns without the masks or keypoints that are to be compared.
    """
    if kind == "boxes":
        # Of each row once: a detection is in as many pairs as its image has objects.
        areas = _area(sides_of(found, slice(None)))[detection], _area(sides_of(truth, slice(None)))[target]
        return pair_overlap(found.boxes[detection], truth.boxes[target], truth.ignore[target], areas)
    if kind == "masks":
        return _mask_overlap(truth, found, detection, target)
    return _keypoint_likeness(truth, found, detection, target, np.asarray(sigmas))


def pair_overlap(boxes: Floats, others: Floats, ignored: Bools, areas: tuple[Floats, Floats] | None = None) -> Floats:
    """IoU of pairs of a detection and an object; for ignored objects the covered share of the detection.

    Args:
        boxes: (P, 4) xyxy of the detections.
        others: (P, 4) xyxy of the objects.
        ignored: (P,) objects that are ignored.
        areas: (P,) each, of the detections and of the objects, where they are known more exactly than from corners.

    Returns:
        (P,) in 0..1; 0 where both have no area.
    """
    shared = np.minimum(boxes[:, 2:], others[:, 2:]) - np.maximum(boxes[:, :2], others[:, :2])
    intersection = _area(np.maximum(shared, 0, out=shared))
    own, other = areas or (_area(boxes[:, 2:] - boxes[:, :2]), _area(others[:, 2:] - others[:, :2]))
    union: Floats = np.where(ignored, own, own + other - intersection)
    result: Floats = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return result


def _area(sides: Floats) -> Floats:
    # Several times as fast as prod(axis=1), and the same number.
    area: Floats = sides[:, 0] * sides[:, 1]
    return area


def _mask_overlap(truth: Truth, found: Found, detection: Ints, target: Ints) -> Floats:
    """IoU of masks, or the covered share; detections and objects of one image and class are compared at once."""
    if truth.segmentations is None or found.segmentations is None:
        raise ValueError("masks can be compared only where truth and detections have them")
    group = truth.images[target] * (1 + int(truth.labels.max(initial=0))) + truth.labels[target]
    order = np.argsort(group, kind="stable")
    result = np.zeros(len(target))
    for own in np.split(order, np.flatnonzero(np.diff(group[order])) + 1) if len(order) else ():
        rows, row_of = np.unique(detection[own], return_inverse=True)
        columns, column_of = np.unique(target[own], return_inverse=True)
        table = primitives.mask_iou(
            _picked(found.segmentations, rows), _picked(truth.segmentations, columns), truth.ignore[columns]
        )
        result[own] = table[row_of, column_of]
    return np.nan_to_num(result)


def _picked(items: Sequence[Any], rows: Ints) -> list[Any]:
    return [items[row] for row in rows.tolist()]


def _keypoint_likeness(truth: Truth, found: Found, detection: Ints, target: Ints, sigmas: Floats) -> Floats:
    if truth.keypoints is None or found.keypoints is None:
        raise ValueError("keypoints can be compared only where truth and detections have them")
    points, true = found.keypoints[detection, :, :2], truth.keypoints[target]
    visible: Bools = np.asarray(true[:, :, 2] > 0)
    unseen: Bools = np.logical_not(visible.any(axis=1, keepdims=True))
    corner, sides = np.split(xywh(truth)[target][:, None], 2, axis=2)
    beyond = np.clip(corner - sides - points, 0, None) + np.clip(points - (corner + 2 * sides), 0, None)
    apart = np.where(unseen[:, :, None], beyond, points - true[:, :, :2])
    area = truth.areas[target][:, None] + np.spacing(1)
    each = np.exp(-(apart**2).sum(axis=2) / (2 * sigmas) ** 2 / area / 2)
    used = visible | unseen
    result: Floats = (each * used).sum(axis=1) / used.sum(axis=1)
    return result
