"""How well proposals cover objects: recall against IoU and against count, and average recall.

Source: Hosang, Benenson, Dollar and Schiele, "What makes for effective detection proposals?", PAMI 2016, section 4.
Proposals have no classes, so an object of any class is found by any proposal that overlaps it enough.

Each proposal finds one object at most. Pairs are made greedily, as the paper does for repeatability: the pair of an
object and a proposal with the greatest IoU is taken, both leave, and so on. The paper's formula for average recall
speaks of the closest proposal instead, which lets one proposal find two objects; the number here is never greater, and
the same wherever no two objects want one proposal. COCO's AR pairs in order of score, anew at each threshold, and is a
number of its own. Ignored objects (crowds, difficult ones) take no part.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from sightline.classes import Classes
from sightline.evaluation.coco import none_if_nan
from sightline.evaluation.columns import Bools, Floats, Ints
from sightline.evaluation.sizes import SIZES, size_of
from sightline.geometry.iou import pairwise_iou
from sightline.structures import Target

THRESHOLDS = np.linspace(0.5, 1.0, 51)
"""IoU at which recall is drawn."""

COCO_THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""IoU of COCO's average recall; the last digits of these numbers are those of pycocotools."""

AVERAGE_RECALL = "AR: twice the area under recall over IoU 0.5 to 1 (Hosang et al. 2016)"
COCO_AVERAGE_RECALL = "mean recall at IoU 0.50, 0.55 ... 0.95, the thresholds of COCO's AR"

_LADDER = (1, 3, 10, 30, 100, 300, 1000, 3000, 10000)


@dataclass(frozen=True, eq=False)
class ProposalRecall:
    """How the objects of a split are covered by the first so many proposals of their images.

    Args:
        counts: (C,) how many of the best proposals an image were looked at, increasing.
        overlaps: (C, N) IoU of each object with a proposal of its own among those; 0 where none is left for it.
        labels: (N,) class of each object.
        areas: (N,) in square pixels.
        made: (C,) mean number of proposals an image; less than the count where a proposer has no more to give.
        images: that were looked at.
    """

    counts: tuple[int, ...]
    overlaps: Floats
    labels: Ints
    areas: Floats
    made: tuple[float, ...]
    images: int

    def recall(self, thresholds: Floats | Sequence[float], count: int | None = None) -> Floats:
        """(T,) share of the objects with at least these IoU; NaN without objects.

        Args:
            thresholds: (T,) in 0..1.
            count: one of ``counts``; None for the largest.
        """
        return recall_at(self._row(count), thresholds)

    def average_recall(self, count: int | None = None) -> float:
        """Of the first ``count`` proposals: :data:`AVERAGE_RECALL`."""
        return average_recall(self._row(count))

    def coco_average_recall(self, count: int | None = None) -> float:
        """Of the first ``count`` proposals: :data:`COCO_AVERAGE_RECALL`."""
        return _mean(self.recall(COCO_THRESHOLDS, count))

    def of(self, chosen: Bools) -> "ProposalRecall":
        """The same of some of the objects, (N,) bool."""
        parts = self.overlaps[:, chosen], self.labels[chosen], self.areas[chosen]
        return ProposalRecall(self.counts, *parts, self.made, self.images)

    def to_dict(self, classes: Classes) -> dict[str, Any]:
        """Plain values for JSON; numbers that are not defined are None."""
        whole = {"objects": len(self.labels), "images": self.images}
        by_class = {name: _facts(self.of(self.labels == label)) for label, name in enumerate(classes.names)}
        sizes = size_of(self.areas)
        by_size = {name: _facts(self.of(sizes == size)) for size, name in enumerate(SIZES)}
        return {
            **whole,
            "by_count": [self._at(count, made) for count, made in zip(self.counts, self.made, strict=True)],
            "recall_over_iou": {
                "iou": THRESHOLDS.round(2).tolist(),
                **{str(count): _plain(self.recall(THRESHOLDS, count)) for count in self.counts},
            },
            "by_class": by_class,
            "by_size": by_size,
        }

    def _at(self, count: int, made: float) -> dict[str, Any]:
        at_50, at_70 = _plain(self.recall((0.5, 0.7), count))
        return {
            "count": count,
            "proposals_per_image": made,
            "recall_50": at_50,
            "recall_70": at_70,
            "AR": none_if_nan(self.average_recall(count)),
            "AR_at_coco_thresholds": none_if_nan(self.coco_average_recall(count)),
        }

    def _row(self, count: int | None) -> Floats:
        row: Floats = self.overlaps[-1 if count is None else self.counts.index(count)]
        return row


def counts_up_to(most: int) -> tuple[int, ...]:
    """The counts at which proposals are judged when ``most`` were asked for an image: 1, 3, 10, 30 ... and ``most``."""
    return (*(count for count in _LADDER if count < most), most)


def proposal_recall(targets: Sequence[Target], proposals: Sequence[Tensor], counts: Sequence[int]) -> ProposalRecall:
    """How well proposals cover the objects of a split.

    Args:
        targets: one an image.
        proposals: (P, 4) boxes of each image, in pixels of it, best first.
        counts: how many of the first ones to look at; at least one count.

    Raises:
        ValueError: proposals of more or fewer images, or counts that do not increase from at least 1.
    """
    if not counts or counts[0] < 1 or list(counts) != sorted(set(counts)):
        raise ValueError(f"counts must increase from at least 1, got {list(counts)}")
    return asked_recall(targets, {count: [boxes[:count] for boxes in proposals] for count in counts})


def asked_recall(targets: Sequence[Target], asked: Mapping[int, Sequence[Tensor]]) -> ProposalRecall:
    """How well proposals cover the objects of a split that were asked for anew with each count.

    Args:
        targets: one an image.
        asked: by the count that was asked for, in increasing order: (P, 4) boxes of each image, in pixels of it.

    Raises:
        ValueError: proposals of more or fewer images.
    """
    counted = [target.select(~target.ignore) for target in targets]
    overlaps = []
    for proposals in asked.values():
        if len(targets) != len(proposals):
            raise ValueError(f"got proposals of {len(proposals)} images for {len(targets)} targets")
        pairs = zip(counted, proposals, strict=True)
        found = [matched_overlaps(pairwise_iou(own.boxes.double(), boxes.double()).numpy()) for own, boxes in pairs]
        overlaps.append(np.concatenate([np.zeros(0), *found]))
    labels = np.concatenate([np.zeros(0, np.int64), *(own.labels.numpy() for own in counted)])
    areas = np.concatenate([np.zeros(0), *(own.areas.double().numpy() for own in counted)])
    made = tuple(sum(map(len, proposals)) / max(1, len(proposals)) for proposals in asked.values())
    return ProposalRecall(tuple(asked), np.stack(overlaps), labels, areas, made, len(targets))


def matched_overlaps(pairs: Floats) -> Floats:
    """The overlap of each row with a column of its own, by greedy pairing over the whole matrix.

    Among equal overlaps the first row comes first, and for it the first column.

    Args:
        pairs: (M, P) overlaps in 0..1.

    Returns:
        (M,); 0 where no column is left that overlaps.
    """
    rows, columns = pairs.shape
    result = np.zeros(rows)
    if not rows or not columns:
        return result
    free = np.ones(columns, np.bool_)
    best = pairs.argmax(axis=1)
    waiting = [(-pairs[row, column], row, int(column)) for row, column in enumerate(best)]
    heapq.heapify(waiting)
    while waiting:
        overlap, row, column = heapq.heappop(waiting)
        if overlap == 0:
            break
        if free[column]:
            free[column] = False
            result[row] = -overlap
            continue
        # Its column went to a better pair: it waits again with the best of those that are left.
        left = np.where(free, pairs[row], 0.0)
        column = int(left.argmax())
        heapq.heappush(waiting, (-left[column], row, column))
    return result


def recall_at(overlaps: Floats, thresholds: Floats | Sequence[float]) -> Floats:
    """(T,) share of objects (N,) whose overlap is at least each threshold; NaN without objects."""
    if not len(overlaps):
        return np.full(len(thresholds), np.nan)
    ordered = np.sort(overlaps)
    # pycocotools lets an overlap count that falls short of the threshold by no more than rounding.
    below = np.searchsorted(ordered, np.asarray(thresholds, np.float64) - 1e-10, side="left")
    share: Floats = 1 - below / len(ordered)
    return share


def average_recall(overlaps: Floats) -> float:
    """Twice the area under recall over IoU 0.5 to 1 of objects (N,): the mean of 2 max(IoU - 0.5, 0).

    Source: Hosang et al. 2016, section 4.3. NaN without objects.
    """
    return _mean(2 * np.maximum(overlaps - 0.5, 0.0))


def _facts(part: ProposalRecall) -> dict[str, Any]:
    at_50, at_70 = _plain(part.recall((0.5, 0.7)))
    average = none_if_nan(part.average_recall())
    return {"objects": len(part.labels), "recall_50": at_50, "recall_70": at_70, "AR": average}


def _plain(values: Floats) -> list[float | None]:
    return [none_if_nan(value) for value in values.tolist()]


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
