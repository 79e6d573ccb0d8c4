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
from typing import TYPE_CHECKING

import numpy as np

from sightline.evaluation.coco import DETECTIONS_PER_IMAGE
from sightline.evaluation.columns import Bools, Floats, Found, Ints, Truth, found_of, image_slices, truth_of

if TYPE_CHECKING:
    from sightline.structures import Detections, Target


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


def match(targets: "Sequence[Target]", detections: "Sequence[Detections]", iou: float = 0.5) -> tuple[Matches, ...]:
    """The matches of each image.

    Args:
        targets: the truth, one an image.
        detections: one an image, in the same order and pixels.
        iou: least overlap of a match, in 0..1.

    Raises:
        ValueError: lists of different lengths.
    """
    truth, found = truth_of(targets), found_of(detections)
    return matches_of_images(match_columns(truth, found, iou), truth, found)


def matches_of_images(whole: Matches, truth: Truth, found: Found) -> tuple[Matches, ...]:
    """The matches of a whole split, image by image; ``object_of`` then holds places among the image's objects."""
    return tuple(
        Matches(
            np.where(whole.object_of[rows] >= 0, whole.object_of[rows] - owned.start, -1),
            whole.overlap[rows],
            whole.counted[rows],
            whole.found[owned],
        )
        for rows, owned in zip(image_slices(found), image_slices(truth), strict=True)
    )


def match_columns(truth: Truth, found: Found, iou: float = 0.5) -> Matches:
    """The matches of a whole split; ``object_of`` holds rows of ``truth``.

    Args:
        truth: the objects.
        found: the detections, of the same images.
        iou: least overlap of a match, in 0..1.

    Raises:
        ValueError: columns of different numbers of images.
    """
    if truth.count != found.count:
        raise ValueError(f"{truth.count} targets but detections of {found.count} images")
    classes = 1 + max((int(labels.max()) for labels in (truth.labels, found.labels) if len(labels)), default=0)
    objects = _Boxes(truth.images * classes + truth.labels, truth.boxes)
    boxes = _Boxes(found.images * classes + found.labels, found.boxes)
    rank = rank_in_group(boxes.group)
    pairs = _pairs(boxes, objects, truth.ignore, rank, iou)
    chosen, overlap = greedy_choice(*pairs, ~truth.ignore[pairs[1]], rank, truth.ignore)
    to_ignored = (chosen >= 0) & truth.ignore[chosen] if len(truth) else np.zeros(len(chosen), np.bool_)
    counted = (rank < DETECTIONS_PER_IMAGE) & ~to_ignored
    found_objects = np.zeros(len(truth), np.bool_)
    found_objects[chosen[(chosen >= 0) & counted]] = True
    return Matches(chosen, overlap, counted, found_objects)


@dataclass(frozen=True, eq=False)
class _Boxes:
    """Detections or objects of all images in one table, image after image."""

    group: Ints  # image * classes + label
    boxes: Floats


def rank_in_group(group: Ints) -> Ints:
    """The place of each row among the rows of its group: 0 for the first."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - np.searchsorted(ordered, ordered)
    return rank


def _pairs(found: _Boxes, objects: _Boxes, ignored: Bools, rank: Ints, iou: float) -> tuple[Ints, Ints, Floats]:
    """Detection, object and overlap of every pair in one image and class that overlaps enough."""
    by_group = np.argsort(objects.group, kind="stable")
    groups = objects.group[by_group]
    allowed = np.flatnonzero(rank < DETECTIONS_PER_IMAGE)
    start = np.searchsorted(groups, found.group[allowed])
    count = np.searchsorted(groups, found.group[allowed], side="right") - start
    detection = np.repeat(allowed, count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    target = by_group[np.repeat(start, count) + within]
    overlap = pair_overlap(found.boxes[detection], objects.boxes[target], ignored[target])
    # The reference lets an overlap of 1 - 1e-10 pass for 1.
    enough = overlap >= min(iou, 1 - 1e-10)
    return detection[enough], target[enough], overlap[enough]


def pair_overlap(boxes: Floats, others: Floats, ignored: Bools) -> Floats:
    """IoU of pairs of a detection and an object, each (P, 4); for ignored objects the covered share of the detection.

    Returns:
        (P,) in 0..1; 0 where both have no area.
    """
    shared = np.minimum(boxes[:, 2:], others[:, 2:]) - np.maximum(boxes[:, :2], others[:, :2])
    intersection = np.clip(shared, 0, None).prod(axis=1)
    area, other_area = (b[:, 2:] - b[:, :2] for b in (boxes, others))
    whole: Floats = area.prod(axis=1)
    union = np.where(ignored, whole, whole + other_area.prod(axis=1) - intersection)
    result: Floats = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return result


def greedy_choice(
    detection: Ints, target: Ints, overlap: Floats, preference: Ints | Bools, rank: Ints, ignored: Bools
) -> tuple[Ints, Floats]:
    """The object that each detection chooses, and the overlap with it.

    Args:
        detection: (P,) detections that may choose.
        target: (P,) object that each may choose.
        overlap: (P,) of the two.
        preference: (P,) what is greater is chosen first, whatever the overlap.
        rank: (N,) turn of each detection; those with the same turn share no object.
        ignored: (M,) objects that stay free.

    Returns:
        (N,) object, -1 for none, and (N,) overlap, 0 for none.
    """
    # Sorted so that the best choice of a detection is the last of its rows.
    order = np.lexsort((target, overlap, preference, detection, rank[detection]))
    detection, target, overlap = detection[order], target[order], overlap[order]
    chosen = np.full(len(rank), -1)
    chosen_overlap = np.zeros(len(rank))
    taken = np.zeros(len(ignored), np.bool_)
    turns = rank[detection]
    for start, stop in pairwise(np.searchsorted(turns, np.arange(turns[-1] + 2)) if len(turns) else ()):
        rows = np.arange(start, stop)[~taken[target[start:stop]]]
        if len(rows) == 0:
            continue
        last = np.append(detection[rows[1:]] != detection[rows[:-1]], True)
        rows = rows[last]
        chosen[detection[rows]] = target[rows]
        chosen_overlap[detection[rows]] = overlap[rows]
        taken[target[rows]] = ~ignored[target[rows]]
    return chosen, chosen_overlap
