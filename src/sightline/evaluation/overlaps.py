"""Pairs of a detection and an object of one image: those of its class, or all with their overlaps.

Pairs are made in portions, so that memory does not grow with the split.
"""

from collections.abc import Iterator

import numpy as np

from sightline.evaluation.columns import Floats, Found, Ints, Truth
from sightline.evaluation.likeness import pair_likeness

_PAIRS_AT_ONCE = 1_000_000


def pairs_of_class(truth: Truth, found: Found, rows: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Every pair of a detection and an object of one image and class.

    Args:
        truth: the objects.
        found: the detections, of the same images.
        rows: (N,) rows of ``found`` that take part.

    Yields:
        Rows of ``found`` and rows of ``truth``, each (P,); the pairs of a detection stand together in one portion,
        objects in their order.
    """
    classes = 1 + int(max(truth.labels.max(initial=0), found.labels.max(initial=0)))
    groups = truth.images * classes + truth.labels
    by_group = np.argsort(groups, kind="stable")
    yield from _pairs(rows, found.images[rows] * classes + found.labels[rows], by_group, groups[by_group])


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
    for detection, target in _pairs(rows, found.images[rows], objects, truth.images[objects]):
        yield detection, target, pair_likeness(truth, found, detection, target)


def _pairs(rows: Ints, owners: Ints, objects: Ints, owners_of_objects: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Rows and objects of the same owner, in portions; the owners of objects do not decrease."""
    start = np.searchsorted(owners_of_objects, owners)
    count = np.searchsorted(owners_of_objects, owners, side="right") - start
    portion = np.cumsum(count) // _PAIRS_AT_ONCE
    for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(portion)) + 1):
        own = count[part]
        within = np.arange(own.sum()) - np.repeat(np.cumsum(own) - own, own)
        yield np.repeat(rows[part], own), objects[np.repeat(start[part], own) + within]
