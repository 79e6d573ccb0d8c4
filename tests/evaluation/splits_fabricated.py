"""Splits with every kind of error in them, as flat columns."""

import numpy as np

from sightline.evaluation.columns import Found, Truth


def split_from(seed, *, images=12, classes=3, ties=True, crowds=True, near=0.8):
    """Objects and detections: hits, shifted and misnamed boxes, repetitions, and boxes of nothing.

    Coordinates are whole numbers and, with ``ties``, scores are tenths, so that equal overlaps and scores abound.
    Some images are empty, some have only detections, and the last class may have no objects.
    """
    rng = np.random.default_rng(seed)
    objects, detections = [], []
    for image in range(images):
        count = int(rng.integers(0, 7))
        corner, side = rng.integers(0, 200, (count, 2)), rng.integers(4, 120, (count, 2))
        boxes = np.concatenate([corner, corner + side], axis=1)
        for box in boxes:
            label = int(rng.integers(0, max(1, classes - int(rng.random() < 0.5))))
            objects.append((image, label, box, bool(crowds and rng.random() < 0.15)))
            copies = int(rng.integers(0, 4))
            detections += [(image, *_detection(rng, box, label, classes, near)) for _ in range(copies)]
        for _ in range(int(rng.integers(0, 3))):
            corner, side = rng.integers(0, 300, 2), rng.integers(4, 90, 2)
            box = np.concatenate([corner, corner + side])
            detections.append((image, box, int(rng.integers(0, classes)), float(rng.random())))
    return truth_from(images, objects), found_from(images, detections, ties)


def _detection(rng, box, label, classes, near):
    side = box[2:] - box[:2]
    spread = rng.choice([0.0, 0.1, 0.35], p=[0.3, 0.4, 0.3])
    moved = box + np.rint(np.tile(side, 2) * rng.normal(0, spread, 4)).astype(int)
    moved[2:] = np.maximum(moved[2:], moved[:2] + 1)
    label = label if rng.random() < near else int(rng.integers(0, classes))
    return moved, label, float(np.clip(rng.normal(0.8 - spread, 0.2), 0.01, 0.98) + 0.01 * rng.random())


def truth_from(images, objects):
    boxes = np.asarray([box for _, _, box, _ in objects], np.float64).reshape(-1, 4)
    return Truth(
        count=images,
        images=np.asarray([image for image, *_ in objects], np.int64),
        labels=np.asarray([label for _, label, *_ in objects], np.int64),
        boxes=boxes,
        areas=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1),
        ignore=np.asarray([ignore for *_, ignore in objects], np.bool_),
        sizes=np.full((images, 2), 400, np.int64),
    )


def found_from(images, detections, ties=False):
    rounded = [(i, box, label, round(score, 1) if ties else score) for i, box, label, score in detections]
    rows = sorted(rounded, key=lambda row: (row[0], -row[3]))
    return Found(
        count=images,
        images=np.asarray([row[0] for row in rows], np.int64),
        labels=np.asarray([row[2] for row in rows], np.int64),
        boxes=np.asarray([row[1] for row in rows], np.float64).reshape(-1, 4),
        scores=np.asarray([row[3] for row in rows], np.float64),
    )


def iou(box, other):
    """Of two boxes, by hand."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    return shared / (sum(areas) - shared)


def covered(box, region):
    """Share of a box that lies in a region."""
    width = min(box[2], region[2]) - max(box[0], region[0])
    height = min(box[3], region[3]) - max(box[1], region[1])
    return max(width, 0) * max(height, 0) / ((box[2] - box[0]) * (box[3] - box[1]))
