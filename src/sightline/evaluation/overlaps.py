"""Overlaps of detections with the objects of their image, whatever the classes.

Pairs are made in portions, so that memory does not grow with the split.
"""

from collections.abc import Iterator

import numpy as np

from sightline.evaluation.columns import Floats, Found, Ints, Truth
from sightline.evaluation.likeness import pair_likeness

_PAIRS_AT_ONCE = 1_000_000


def pairs_in_images(truth: Truth, found: Found, objects: Ints, rows: Ints) -> Iterator[tuple[Ints, Ints, Floats]]:
    """Every pair of a detection and an object of one image, with their overlap in 0..1: IoU, or for ignored
    objects the covered share of the detection.

    Args:
        truth: the objects.
        found: the detections, of the same images.
        objects: (M,) rows of ``truth`` that take part, not decreasing.
        rows: (N,) rows of ``found`` that take part.

    Yields:
        Rows of ``found``, rows of ``truth`` and overlap, each (P,); the pairs of a detection stand together in one
        portion, objects in their order.
    """
    owners = truth.images[objects]
    start = np.searchsorted(owners, found.images[rows])
    count = np.searchsorted(owners, found.images[rows], side="right") - start
    portion = np.cumsum(count) // _PAIRS_AT_ONCE
    for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(portion)) + 1):
        pairs = int(count[part].sum())
        detection = np.repeat(rows[part], count[part])
        within = np.arange(pairs) - np.repeat(np.cumsum(count[part]) - count[part], count[part])
        target = objects[np.repeat(start[part], count[part]) + within]
        yield detection, target, pair_likeness(truth, found, detection, target)
