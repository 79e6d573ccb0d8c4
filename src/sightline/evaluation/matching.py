"""Which detection found which object, by COCO's greedy rule, for all images and classes at once.

Source: the matching of pycocotools. In each image and class the detections choose in order of their scores; each takes
the object with the greatest overlap that is still free, and among equal overlaps the later one. A detection that finds
no free object may match an ignored one, of which it must cover a share of itself; such a detection neither counts as
right nor as wrong, and ignored objects stay free.

The evaluator of coco.py matches by the same rule, but keeps the result to itself; pictures, operating points and error
analysis need it. Images and classes do not touch each other, so all of them take their first choice together, then
all their second, and so on: at most 100 rounds, each without a loop over images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from sightline.evaluation.coco import DETECTIONS_PER_IMAGE
from sightline.structures import Detections, Target

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Matches:
    """The matches of one image.

    Args:
        object_of: (N,) index of the object that each detection matched, -1 for none.
        overlap: (N,) overlap with that object in 0..1; 0 for none.
        counted: (N,) False for a detection that matched an ignored object, or that comes after the 100 best of its
            class; True for all others, right or wrong.
        found: (M,) whether an object that counts was found; False for ignored ones.
    """

    object_of: Ints
    overlap: Floats
    counted: Bools
    found: Bools

    @property
    def correct(self) -> Bools:
        """(N,) detections that found an object that counts."""
        return self.counted & (self.object_of >= 0)


@dataclass(frozen=True, eq=False)
class _Objects:
    """Detections or objects of all images in one table, image after image."""

    group: Ints  # image * classes + label
    boxes: Floats
    first: Ints  # row at which each image starts


def match(targets: Sequence[Target], detections: Sequence[Detections], iou: float = 0.5) -> tuple[Matches, ...]:
    """The matches of each image.

    Args:
        targets: the truth, one an image.
        detections: one an image, in the same order and pixels.
        iou: least overlap of a match, in 0..1.

    Raises:
        ValueError: lists of different lengths.
    """
    if len(targets) != len(detections):
        raise ValueError(f"{len(targets)} targets but detections of {len(detections)} images")
    labels = [item.labels for item in targets] + [item.labels for item in detections]
    classes = 1 + max((int(each.max()) for each in labels if len(each)), default=0)
    objects, found = _table(targets, classes), _table(detections, classes)
    ignored: Bools = np.concatenate([np.zeros(0, np.bool_), *(target.ignore.cpu().numpy() for target in targets)])
    rank = _rank_in_group(found.group)
    chosen, overlap = _greedy(*_pairs(found, objects, ignored, rank, iou), rank, ignored)
    to_ignored = (chosen >= 0) & ignored[chosen] if len(ignored) else np.zeros(len(chosen), np.bool_)
    counted = (rank < DETECTIONS_PER_IMAGE) & ~to_ignored
    found_objects = np.zeros(len(ignored), np.bool_)
    found_objects[chosen[(chosen >= 0) & counted]] = True
    return tuple(
        Matches(
            np.where(chosen[rows] >= 0, chosen[rows] - first, -1), overlap[rows], counted[rows], found_objects[owned]
        )
        for rows, owned, first in zip(_slices(found.first), _slices(objects.first), objects.first, strict=False)
    )


def _table(items: Sequence[Target] | Sequence[Detections], classes: int) -> _Objects:
    counts = [len(item) for item in items]
    labels = torch.cat([torch.zeros(0, dtype=torch.int64), *(item.labels.cpu() for item in items)]).numpy()
    boxes = torch.cat([torch.zeros(0, 4), *(item.boxes.cpu() for item in items)]).numpy().astype(np.float64)
    images = np.repeat(np.arange(len(items)), counts)
    return _Objects(images * classes + labels, boxes, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def _slices(first: Ints) -> list[slice]:
    return [slice(start, stop) for start, stop in pairwise(first)]


def _rank_in_group(group: Ints) -> Ints:
    """The place of each row among the rows of its group: 0 for the first."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - np.searchsorted(ordered, ordered)
    return rank


def _pairs(found: _Objects, objects: _Objects, ignored: Bools, rank: Ints, iou: float) -> tuple[Ints, Ints, Floats]:
    """Detection, object and overlap of every pair in one image and class that overlaps enough."""
    by_group = np.argsort(objects.group, kind="stable")
    groups = objects.group[by_group]
    allowed = np.flatnonzero(rank < DETECTIONS_PER_IMAGE)
    start = np.searchsorted(groups, found.group[allowed])
    count = np.searchsorted(groups, found.group[allowed], side="right") - start
    detection = np.repeat(allowed, count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    target = by_group[np.repeat(start, count) + within]
    overlap = _overlap(found.boxes[detection], objects.boxes[target], ignored[target])
    # The reference lets an overlap of 1 - 1e-10 pass for 1.
    enough = overlap >= min(iou, 1 - 1e-10)
    return detection[enough], target[enough], overlap[enough]


def _overlap(boxes: Floats, others: Floats, ignored: Bools) -> Floats:
    """IoU of pairs, or for ignored objects the covered share of the detection."""
    shared = np.minimum(boxes[:, 2:], others[:, 2:]) - np.maximum(boxes[:, :2], others[:, :2])
    intersection = np.clip(shared, 0, None).prod(axis=1)
    area, other_area = (b[:, 2:] - b[:, :2] for b in (boxes, others))
    whole: Floats = area.prod(axis=1)
    union = np.where(ignored, whole, whole + other_area.prod(axis=1) - intersection)
    result: Floats = intersection / union
    return result


def _greedy(detection: Ints, target: Ints, overlap: Floats, rank: Ints, ignored: Bools) -> tuple[Ints, Floats]:
    """The object that each detection chooses, or -1, and the overlap with it."""
    # Sorted so that the best choice of a detection is the last of its rows.
    order = np.lexsort((target, overlap, ~ignored[target], detection, rank[detection]))
    detection, target, overlap = detection[order], target[order], overlap[order]
    chosen = np.full(len(rank), -1)
    chosen_overlap = np.zeros(len(rank))
    taken = np.zeros(len(ignored), np.bool_)
    rounds = np.searchsorted(rank[detection], np.arange(DETECTIONS_PER_IMAGE + 1))
    for start, stop in pairwise(rounds):
        rows = np.arange(start, stop)[~taken[target[start:stop]]]
        if len(rows) == 0:
            continue
        last = np.append(detection[rows[1:]] != detection[rows[:-1]], True)
        rows = rows[last]
        chosen[detection[rows]] = target[rows]
        chosen_overlap[detection[rows]] = overlap[rows]
        taken[target[rows]] = ~ignored[target[rows]]
    return chosen, chosen_overlap
