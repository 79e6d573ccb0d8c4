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

from sightline.evaluation.coco import DETECTIONS_PER_IMAGE, ignored_objects, keypoint_sigmas
from sightline.evaluation.columns import Bools, Floats, Found, Ints, Kind, Truth, found_of, image_slices, truth_of
from sightline.evaluation.likeness import pair_likeness
from sightline.evaluation.overlaps import pairs_of_class

if TYPE_CHECKING:
    from sightline.structures import Detections, Target


@dataclass(frozen=True, eq=False)
class Matches:
    """The matches of one image.

    Args:
        object_of: (N,) index of the object that each detection matched, -1 for none.
        overlap: (N,) overlap with that object in 0..1; 0 for none.
        counted: (N,) False for a detection that matched an ignored object, or that comes after the best of its
            class that the protocol allows; True for all others, right or wrong.
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


def match_columns(
    truth: Truth, found: Found, iou: float = 0.5, *, kind: Kind = "boxes", sigmas: Sequence[float] | None = None
) -> Matches:
    """The matches of a whole split; ``object_of`` holds rows of ``truth``.

    Args:
        truth: the objects.
        found: the detections, of the same images.
        iou: least overlap (of keypoints: likeness) of a match, in 0..1.
        kind: what is compared.
        sigmas: of the keypoints, as for ``coco.evaluate_columns``.

    Raises:
        ValueError: columns of different numbers of images, or without the masks or keypoints that are to be compared.
    """
    if truth.count != found.count:
        raise ValueError(f"{truth.count} targets but detections of {found.count} images")
    spread = keypoint_sigmas(truth, sigmas) if kind == "keypoints" else ()
    classes = 1 + int(found.labels.max(initial=0))
    rank = rank_in_group(found.images * classes + found.labels)
    near = []
    for detection, target in pairs_of_class(truth, found, np.flatnonzero(rank < DETECTIONS_PER_IMAGE[kind])):
        overlap = pair_likeness(truth, found, detection, target, kind, spread)
        # The reference lets an overlap of 1 - 1e-10 pass for 1.
        enough = overlap >= min(iou, 1 - 1e-10)
        near.append((detection[enough], target[enough], overlap[enough]))
    detection, target, overlap = (np.concatenate(parts) for parts in zip(*near, strict=True))
    ignored = ignored_objects(truth, kind)
    chosen, overlap = greedy_choice(detection, target, overlap, ~ignored[target], rank, truth.ignore)
    to_ignored = (chosen >= 0) & ignored[chosen] if len(truth) else np.zeros(len(chosen), np.bool_)
    counted = (rank < DETECTIONS_PER_IMAGE[kind]) & ~to_ignored
    found_objects = np.zeros(len(truth), np.bool_)
    found_objects[chosen[(chosen >= 0) & counted]] = True
    return Matches(chosen, overlap, counted, found_objects)


def rank_in_group(group: Ints) -> Ints:
    """The place of each row among the rows of its group: 0 for the first."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - np.searchsorted(ordered, ordered)
    return rank


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
