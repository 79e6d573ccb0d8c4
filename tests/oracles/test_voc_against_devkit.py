"""VOC's average precision against a loop written from the definition of its development kits (VOCevaldet, VOCap)."""

import math

import numpy as np
import pytest

from sightline.classes import Classes
from sightline.evaluation.columns import Found, Truth
from sightline.evaluation.voc import average_precision, voc_evaluate

CASES = 2_000


def devkit_overlap(box, other):
    """Of integer pixel boxes, counted from 1, whose last row and column belong to them."""
    width = min(box[2], other[2]) - max(box[0], other[0]) + 1
    height = min(box[3], other[3]) - max(box[1], other[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (box, other)]
    return width * height / (sum(areas) - width * height)


def devkit_ap(objects, detections):
    """AP of one class by both rules.

    objects: per image a list of (box, difficult); detections: (image, score, box) in the order of the results file.
    """
    count = sum(not difficult for image in objects for _, difficult in image)
    if count == 0:
        return math.nan, math.nan
    taken = [[False] * len(image) for image in objects]
    true, false = [], []
    for image, _, box in sorted(detections, key=lambda row: -row[1]):
        best, at = -math.inf, None
        for place, (other, _) in enumerate(objects[image]):
            overlap = devkit_overlap(box, other)
            if overlap > best:
                best, at = overlap, place
        if best < 0.5:
            true.append(0), false.append(1)
        elif objects[image][at][1]:
            true.append(0), false.append(0)
        elif taken[image][at]:
            true.append(0), false.append(1)
        else:
            taken[image][at] = True
            true.append(1), false.append(0)
    hits, misses = 0, 0
    curve = []  # hits so far, and precision where it is a number
    for right, wrong in zip(true, false, strict=True):
        hits, misses = hits + right, misses + wrong
        if hits + misses:
            curve.append((hits, hits / (hits + misses)))
    eleven = 0.0
    for tenths in range(11):
        eleven += max([precision for reached, precision in curve if 10 * reached >= tenths * count], default=0.0) / 11
    recall = [0.0, *(reached / count for reached, _ in curve), 1.0]
    precision = [0.0, *(value for _, value in curve), 0.0]
    for place in range(len(precision) - 2, -1, -1):
        precision[place] = max(precision[place], precision[place + 1])
    area = sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))
    return eleven, area


def make_case(seed):
    """Objects of each image and class, and detections, in the kit's pixels."""
    rng = np.random.default_rng(seed)
    images, classes = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    objects = [[[] for _ in range(images)] for _ in range(classes)]
    detections = [[] for _ in range(classes)]
    for label in range(classes):
        share = rng.choice([0.0, 0.3, 1.0], p=[0.5, 0.4, 0.1])
        for image in range(images if rng.random() < 0.85 else 0):
            for _ in range(int(rng.choice([0, 1, 2, 5]))):
                corner, side = rng.integers(1, 40, 2), rng.integers(0, 30, 2)
                objects[label][image].append(((*corner, *(corner + side)), bool(rng.random() < share)))
        for image in range(images):
            for _ in range(int(rng.choice([0, 1, 4, 12]))):
                own = objects[label][image]
                box = np.array(own[rng.integers(len(own))][0]) if own else rng.integers(1, 40, 4)
                box = box + rng.integers(-4, 5, 4) * (rng.random() < 0.7)
                box = (*np.minimum(box[:2], box[2:]).tolist(), *np.maximum(box[:2], box[2:]).tolist())
                detections[label].append((image, round(float(rng.random()), int(rng.choice([1, 6]))), box))
    return images, classes, objects, detections


def as_columns(images, classes, objects, detections):
    truth = [
        (image, label, box, difficult)
        for image in range(images)
        for label in range(classes)
        for box, difficult in objects[label][image]
    ]
    found = [
        (image, -score, order, label, box)
        for label in range(classes)
        for order, (image, score, box) in enumerate(detections[label])
    ]
    found.sort(key=lambda row: row[:2])
    boxes = np.array([row[2] for row in truth], np.float64).reshape(-1, 4)
    other = np.array([row[4] for row in found], np.float64).reshape(-1, 4)
    corners = np.array([1.0, 1, 0, 0])  # a VOC folder is read so: pixel 1 begins at 0
    return (
        Truth(
            images,
            np.array([row[0] for row in truth], np.int64),
            np.array([row[1] for row in truth], np.int64),
            boxes - corners,
            np.ones(len(truth)),
            np.array([row[3] for row in truth], np.bool_),
        ),
        Found(
            images,
            np.array([row[0] for row in found], np.int64),
            np.array([row[3] for row in found], np.int64),
            other - corners,
            np.array([-row[1] for row in found], np.float64),
        ),
    )


@pytest.mark.parametrize("chunk", range(4))
def test_both_rules_are_those_of_the_development_kit(chunk):
    defined = 0
    for seed in range(chunk, CASES, 4):
        images, classes, objects, detections = make_case(seed)
        truth, found = as_columns(images, classes, objects, detections)
        ours = voc_evaluate(truth, found, Classes(tuple(f"class {label}" for label in range(classes))))
        means = [[], []]
        for label in range(classes):
            by_image = sorted(detections[label], key=lambda row: row[0])
            expected = devkit_ap(objects[label], by_image)
            for values, year, value in zip(means, ("voc07", "voc12"), expected, strict=True):
                got = ours[year].per_class[label].ap
                assert got == pytest.approx(value, abs=1e-12, nan_ok=True), f"case {seed}, class {label}, {year}"
                if not math.isnan(value):
                    values.append(value)
                    defined += 1
        for values, year in zip(means, ("voc07", "voc12"), strict=True):
            assert ours[year].mean_ap == pytest.approx(np.mean(values) if values else math.nan, nan_ok=True)
    assert defined > CASES // 4


def one_class(boxes, difficult, found, scores):
    count = len(boxes)
    zeros = np.zeros(count, np.int64)
    truth = Truth(1, zeros, zeros, np.array(boxes, float), np.ones(count), np.array(difficult))
    rows = np.zeros(len(found), np.int64)
    return truth, Found(1, rows, rows, np.array(found, float).reshape(-1, 4), np.array(scores))


def ap(*case):
    return {year: result.per_class[0].ap for year, result in voc_evaluate(*one_class(*case), Classes(("cat",))).items()}


def test_worked_by_hand():
    # Of two objects one is found first, then a wrong detection, then the other: precisions 1, 1/2, 2/3.
    boxes = [[0, 0, 10, 10], [20, 0, 30, 10]]
    found = [[0, 0, 10, 10], [50, 50, 60, 60], [20, 0, 30, 10]]
    assert ap(boxes, [False, False], found, [0.9, 0.8, 0.7]) == {
        "voc07": pytest.approx((6 * 1 + 5 * 2 / 3) / 11),
        "voc12": pytest.approx((1 + 2 / 3) / 2),
    }


def test_an_overlap_of_exactly_one_half_is_enough():
    assert ap([[0, 0, 10, 10]], [False], [[0, 0, 10, 5]], [0.5])["voc12"] == 1.0
    assert ap([[0, 0, 10, 10]], [False], [[0, 0, 10, 4.99]], [0.5])["voc12"] == 0.0


def test_a_second_detection_is_wrong_even_where_another_object_is_near():
    # COCO would give the second detection the second object, which it overlaps by more than half too.
    boxes = [[0, 0, 10, 10], [0, 0, 10, 8]]
    assert ap(boxes, [False, False], [[0, 0, 10, 10], [0, 0, 10, 10]], [0.9, 0.8])["voc12"] == 0.5


def test_difficult_objects_neither_count_nor_cost():
    boxes = [[0, 0, 10, 10], [20, 0, 30, 10]]
    found = [[20, 0, 30, 10], [20, 0, 30, 10], [0, 0, 10, 10]]
    assert ap(boxes, [False, True], found, [0.9, 0.8, 0.7])["voc12"] == 1.0
    assert math.isnan(ap(boxes, [True, True], found, [0.9, 0.8, 0.7])["voc07"])


@pytest.mark.parametrize("objects", [10, 20, 30, 70])
def test_recalls_are_compared_as_fractions(objects):
    # 3 of 10 is 0.3, but 3 * 0.1 is more: in floating point the fourth of the eleven recalls would not be reached.
    right = np.ones(3 * objects // 10, np.bool_)
    assert average_precision(right, objects, "voc07") == pytest.approx(4 / 11)


def test_there_is_no_limit_of_detections():
    found = [[50, 50, 60, 60]] * 150 + [[0, 0, 10, 10]]
    assert ap([[0, 0, 10, 10]], [False], found, np.linspace(1, 0.5, 151))["voc12"] == pytest.approx(1 / 151)


def test_undefined_classes_are_left_out_of_the_mean():
    truth, found = one_class([[0, 0, 10, 10]], [False], [[0, 0, 10, 10]], [0.9])
    result = voc_evaluate(truth, found, Classes(("cat", "dog")))["voc07"]
    assert (result.mean_ap, result.metrics()) == (1.0, {"mAP": 1.0})
    assert math.isnan(result.per_class[1].ap)
    empty = Truth(1, *[np.zeros(0, np.int64)] * 2, np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.bool_))
    assert voc_evaluate(empty, found, Classes(("cat",)))["voc12"].metrics() == {"mAP": None}
