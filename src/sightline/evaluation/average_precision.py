"""Average precision of matched detections, as COCO interpolates it: for analyses that change or weigh what was matched.

coco.py gives the numbers that are reported; what is computed here from the same matches agrees with them within 1e-10.
The precision at a recall is the highest at this recall or a greater one, and the average is over the 101 recalls
0, 0.01 ... 1. It is enough to look at the right detections: a wrong one never raises precision and reaches no recall.
"""

import numpy as np

from sightline.evaluation.columns import Bools, Floats, Ints

RECALLS = np.linspace(0, 1, 101)
"""The recalls at which precision is read."""


def interpolated_precision(group: Ints, right: Floats, counted: Floats, objects: Floats) -> Floats:
    """Average precision of each group.

    Args:
        group: (R,) group of each right detection, 0..G-1, not decreasing; best first within a group.
        right: (R,) weight of the right detections of the group, up to this one and with it.
        counted: (R,) weight of all detections of the group that count, right and wrong, up to this one and with it.
        objects: (G,) weight of the objects to find.

    Returns:
        (G,) in 0..1, exact to 4e-12 for up to 10,000 groups; NaN where there is nothing to find.
    """
    tiny = np.finfo(np.float64).tiny
    precision = right / np.maximum(counted, tiny)
    # Two apart for each group, so that the maximum from the end does not reach over into the group before.
    apart = 2.0 * group
    envelope = np.maximum.accumulate((precision - apart)[::-1])[::-1] + apart
    reached = np.searchsorted(RECALLS, right / np.maximum(objects[group], tiny), side="right")
    first = np.append(True, group[1:] != group[:-1])[: len(group)]
    before = np.where(first, 0, np.append(0, reached[:-1])[: len(group)])
    total = np.bincount(group, weights=envelope * (reached - before), minlength=len(objects))
    return np.where(objects > 0, total / len(RECALLS), np.nan)


def average_precision(group: Ints, correct: Bools, objects: Ints) -> Floats:
    """Average precision of each group of detections that are sorted by score.

    Args:
        group: (N,) group of each detection that counts, 0..G-1, in any order.
        correct: (N,) which of them found an object.
        objects: (G,) objects to find.

    Rows are best first: of two in one group the one with the greater score comes earlier.

    Returns:
        (G,) in 0..1; NaN where there is nothing to find.
    """
    # Numbers of 16 bits are sorted by their digits, ten times as fast.
    small = np.uint16 if len(objects) < 2**16 else np.int64
    order = np.argsort(group.astype(small), kind="stable")
    group, correct = group[order], correct[order]
    start = np.searchsorted(group, np.arange(len(objects)))[group]
    counted = np.arange(1, len(group) + 1) - start
    right = np.cumsum(correct)
    right = right - np.append(0, right)[start]
    return interpolated_precision(
        group[correct],
        right[correct].astype(np.float64),
        counted[correct].astype(np.float64),
        objects.astype(np.float64),
    )


def mean_of_defined(values: Floats) -> float:
    """The mean of what is not NaN; NaN if nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
