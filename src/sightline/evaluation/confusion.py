"""What is taken for what: objects that are missed, detections of nothing, objects found under another class's name.

The matrix is that of one score threshold, for confusion is what a user sees who has chosen one. Matching knows classes
only as a preference: detections choose in order of their scores; each takes the free object of its own class with the
greatest IoU, and if none overlaps enough the free object of another class with the greatest. So a detection whose class
is right is never called confused because the box of another object lies closer, as happens where matching is by
overlap alone (a rider and a horse).

A detection that finds no object of its class but lies on an ignored one of its class, by the rule of matching.py, is
left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sightline.evaluation.columns import Found, Ints, Truth, sides_of
from sightline.evaluation.matching import greedy_choice, rank_in_group
from sightline.evaluation.overlaps import pairs_in_images
from sightline.evaluation.sizes import SIZES, size_of


@dataclass(frozen=True)
class ClassConfusion:
    """What happens to the objects of one class, and to the detections of it.

    Args:
        name: of the class.
        objects: to find.
        found: found under their own name.
        missed: not found by any detection.
        confused_with: other classes under whose names objects of this one were found, with how many, most first.
        false_alarms: detections of this class where there is no object that is still free.
    """

    name: str
    objects: int
    found: int
    missed: int
    confused_with: tuple[tuple[str, int], ...]
    false_alarms: int


@dataclass(frozen=True)
class SizeConfusion:
    """What happens to the objects of one size, whatever their classes, and where there is nothing of this size.

    Args:
        name: small, medium or large.
        objects: to find.
        found: found under their own name.
        missed: not found by any detection.
        confused: found under another class's name.
        false_alarms: detections whose own boxes are of this size, where there is no object that is still free.
    """

    name: str
    objects: int
    found: int
    missed: int
    confused: int
    false_alarms: int


@dataclass(frozen=True, eq=False)
class Confusion:
    """A confusion matrix with a row and a column for the background.

    Args:
        names: of the K classes.
        counts: (K + 1, K + 1); row: class of the object, the last for no object; column: class that was detected, the
            last for none. The last of all is 0.
        threshold: score from which detections count.
        iou: least overlap of a match.
        left_out: detections on ignored objects.
        by_size: small, medium and large.
    """

    names: tuple[str, ...]
    counts: Ints
    threshold: float
    iou: float
    left_out: int
    by_size: tuple[SizeConfusion, ...]

    @property
    def per_class(self) -> tuple[ClassConfusion, ...]:
        """One a class."""
        return tuple(self._class(label, name) for label, name in enumerate(self.names))

    @property
    def most_confused(self) -> tuple[tuple[str, str, int], ...]:
        """Class of the object, class that was detected, how many; most first, no class with itself."""
        inner = self.counts[:-1, :-1]
        pairs = [(int(row), int(column)) for row, column in np.argwhere(inner > 0) if row != column]
        pairs.sort(key=lambda pair: (-inner[pair], pair))
        return tuple((self.names[row], self.names[column], int(inner[row, column])) for row, column in pairs)

    def to_dict(self) -> dict[str, object]:
        """What ``metrics.json`` holds under ``confusion``: the cells that are not 0, ``None`` for the background."""
        labels: list[str | None] = [*self.names, None]
        cells = [
            {"object": labels[row], "detected": labels[column], "count": int(self.counts[row, column])}
            for row, column in np.argwhere(self.counts > 0)
        ]
        return {
            "threshold": self.threshold,
            "IoU": self.iou,
            "cells": cells,
            "left_out": self.left_out,
            "by_size": [vars(size) for size in self.by_size],
        }

    def _class(self, label: int, name: str) -> ClassConfusion:
        row = self.counts[label]
        others = [(self.names[other], int(row[other])) for other in range(len(self.names)) if other != label]
        confused = tuple(sorted((pair for pair in others if pair[1]), key=lambda pair: -pair[1]))
        return ClassConfusion(
            name, int(row.sum()), int(row[label]), int(row[-1]), confused, int(self.counts[-1, label])
        )


def confusion(truth: Truth, found: Found, names: Sequence[str], threshold: float, iou: float = 0.5) -> Confusion:
    """The confusion matrix at a score threshold.

    Args:
        truth: the objects.
        found: the detections, of the same images.
        names: of the classes, in label order.
        threshold: detections with at least this score count.
        iou: least overlap of a match, in 0..1.

    Raises:
        ValueError: columns of different numbers of images.
    """
    if truth.count != found.count:
        raise ValueError(f"{truth.count} targets but detections of {found.count} images")
    background = len(names)
    rows = np.flatnonzero(found.scores >= threshold)
    chosen = _choose(truth, found, rows, iou)
    detected = found.labels[rows]
    left_out = (chosen >= 0) & np.append(truth.ignore, False)[chosen]
    matched, alarms = (chosen >= 0) & ~left_out, chosen < 0
    missed = ~truth.ignore
    missed[chosen[matched]] = False
    nothing = np.int64(background)
    true = [truth.labels[chosen[matched]], np.full(alarms.sum(), nothing), truth.labels[missed]]
    given = [detected[matched], detected[alarms], np.full(missed.sum(), nothing)]
    cells = np.concatenate(true) * (background + 1) + np.concatenate(given)
    counts = np.bincount(cells, minlength=(background + 1) ** 2).reshape(background + 1, background + 1)
    right = truth.labels[chosen[matched]] == detected[matched]
    by_size = _by_size(
        truth, found, (chosen[matched][right], np.flatnonzero(missed), chosen[matched][~right]), rows[alarms]
    )
    return Confusion(tuple(names), counts, threshold, iou, int(left_out.sum()), by_size)


def _by_size(truth: Truth, found: Found, objects: tuple[Ints, Ints, Ints], alarms: Ints) -> tuple[SizeConfusion, ...]:
    """Of the rows of objects that are found, missed and confused, and of the detections that are false alarms."""
    sides = sides_of(found, alarms)
    sizes = [size_of(truth.areas[rows]) for rows in objects] + [size_of(sides[:, 0] * sides[:, 1])]
    counts = np.stack([np.bincount(size, minlength=len(SIZES)) for size in sizes], axis=1).tolist()
    return tuple(
        SizeConfusion(name, found_ones + missed + confused, found_ones, missed, confused, false_alarms)
        for name, (found_ones, missed, confused, false_alarms) in zip(SIZES, counts, strict=True)
    )


def _choose(truth: Truth, found: Found, rows: Ints, iou: float) -> Ints:
    """The object of each of some detections, -1 for none."""
    rank = np.zeros(len(found), np.int64)
    rank[rows] = rank_in_group(found.images[rows])
    portions = []
    for detection, target, overlap in pairs_in_images(truth, found, np.arange(len(truth)), rows):
        own, ignored = found.labels[detection] == truth.labels[target], truth.ignore[target]
        enough = (overlap >= min(iou, 1 - 1e-10)) & (own | ~ignored)
        preference = own.astype(np.int64) * np.where(ignored, 1, 2)
        portions.append((detection[enough], target[enough], overlap[enough], preference[enough]))
    detection, target, overlap, preference = (np.concatenate(parts) for parts in zip(*portions, strict=True))
    return greedy_choice(detection, target, overlap, preference, rank, truth.ignore)[0][rows]
