"""Weighted box fusion: Solovyev, Wang and Gabruseva, "Weighted boxes fusion: ensembling boxes from different object
detection models", Image and Vision Computing 2021, section 3.

All detections of all members are taken best first. Each joins the cluster of its class whose fused box it overlaps
most, if by more than a threshold, or begins a new one; the fused box is the mean of its cluster, weighted by scores.
In the end scores are scaled down where fewer members saw the object.

Where it says more than the paper: a score counts with its member's weight; of several fused boxes above the threshold
the one with the greatest IoU is taken; scores that ``avg`` with unequal weights carries above 1 are 1.
"""

from dataclasses import dataclass
from typing import Literal, final, get_args

import numpy as np

from sightline.combination.fusion import Floats, Fused, Fusion, Integers, Union, require_share
from sightline.errors import ConfigError

Confidence = Literal["avg", "max", "box_and_model_avg", "absent_model_aware_avg"]


@final
@dataclass(frozen=True)
class WeightedBoxFusion(Fusion):
    """Clusters of detections, each made into one box.

    With s the scores of a cluster of T detections, w their members' weights, N members and W the sum of all weights:

    - ``avg``: sum(w s) / T * min(T, N) / W (section 3, steps 6 and 7).
    - ``max``: max(w s) / max of all weights.
    - ``box_and_model_avg``: sum(w s) / sum(w) * (weights of the members in the cluster) / W.
    - ``absent_model_aware_avg``: sum(w s) / (sum(w) + weights of the members that are not in the cluster).

    Args:
        threshold: IoU above which a detection joins a cluster; the paper found 0.55 best.
        skip: score below which a detection is left out.
        confidence: how a cluster is scored.
    """

    name = "wbf"
    source = "Solovyev et al. 2021, section 3"

    threshold: float = 0.55
    skip: float = 0.0
    confidence: Confidence = "avg"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self, "threshold", self.threshold)
        require_share(self, "skip", self.skip)
        if self.confidence not in get_args(Confidence):
            raise ConfigError(
                f"confidence is {self.confidence!r}", place=self.name, cure=f"give {', '.join(get_args(Confidence))}"
            )

    def fuse(self, union: Union) -> Fused:
        """One box a cluster."""
        weighted = union.scores * union.weights[union.members]
        counted = np.flatnonzero(union.scores >= self.skip)
        owner = np.full(len(weighted), -1)
        boxes = np.zeros((0, 4))
        for label in np.unique(union.labels[counted]):
            chosen = counted[union.labels[counted] == label]
            centres, clusters = _clusters(union.boxes[chosen], weighted[chosen], self.threshold)
            owner[chosen] = clusters + len(boxes)
            boxes = np.concatenate([boxes, centres])
        scores = np.asarray([self._score(union, np.flatnonzero(owner == k)) for k in range(len(boxes))])
        # The union is best first, so that the first of a cluster is its best.
        winners = np.asarray([np.flatnonzero(owner == k)[0] for k in range(len(boxes))], np.int64)
        return Fused(boxes, scores, winners)

    def _score(self, union: Union, cluster: Integers) -> float:
        weights, scores = union.weights[union.members[cluster]], union.scores[cluster]
        total, count = float(union.weights.sum()), len(cluster)
        there = float(union.weights[np.unique(union.members[cluster])].sum())
        summed = float((weights * scores).sum())
        if self.confidence == "max":
            return float((weights * scores).max() / union.weights.max())
        if self.confidence == "box_and_model_avg":
            return summed / float(weights.sum()) * there / total
        if self.confidence == "absent_model_aware_avg":
            return summed / (float(weights.sum()) + total - there)
        return summed / count * min(count, len(union.weights)) / total


def _clusters(boxes: Floats, weights: Floats, threshold: float) -> tuple[Floats, Integers]:
    """The fused boxes of one class (C, 4), and to which of them each box belongs (N,).

    Args:
        boxes: (N, 4), best first.
        weights: (N,) of the boxes; where all of a cluster are 0 its first box stands for it.
        threshold: IoU above which a box joins.
    """
    fused, summed, mass = np.empty((len(boxes), 4)), np.zeros((len(boxes), 4)), np.zeros(len(boxes))
    owner = np.empty(len(boxes), np.int64)
    count = 0
    for index, (box, weight) in enumerate(zip(boxes, weights, strict=True)):
        overlap = _overlap(box, fused[:count])
        at = int(overlap.argmax()) if count else 0
        if count == 0 or overlap[at] <= threshold:
            at, count = count, count + 1
            fused[at] = box
        owner[index] = at
        summed[at] += weight * box
        mass[at] += weight
        if mass[at] > 0:
            fused[at] = summed[at] / mass[at]
    return fused[:count], owner


def _overlap(box: Floats, others: Floats) -> Floats:
    """(N,) IoU of one box with others (N, 4); in plain arrays, because it is asked once a detection."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    inter = np.clip(high - low, 0, None).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - inter
    overlap: Floats = inter / np.maximum(union, np.finfo(np.float64).tiny)
    return overlap
