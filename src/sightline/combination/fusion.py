"""Several results of one image made into one: suppression of the union, box voting, averaging.

Weighted box fusion has its own file. All of them work class by class and treat the results as a set: neither the order
of the members nor that of detections with equal scores matters. A fused detection has one *winner*, the best of those
that were made into it, and takes its mask and its keypoints as they are: only boxes and scores are combined.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sightline.errors import ConfigError
from sightline.geometry.iou import pairwise_iou
from sightline.geometry.nms import batched_nms
from sightline.geometry.voting import VOTING_IOU, vote
from sightline.structures import Detections

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Union:
    """The detections of all members in one image, best first; equal scores by class and place.

    Args:
        boxes: (N, 4) xyxy in pixels of the image.
        scores: (N,) in 0..1, as the members gave them.
        labels: (N,) classes.
        members: (N,) whose detection each is, from 0.
        places: (N,) where in its member's result each is.
        weights: (M,) of the members, above 0.
    """

    boxes: Floats
    scores: Floats
    labels: Integers
    members: Integers
    places: Integers
    weights: Floats

    @property
    def scaled(self) -> Floats:
        """(N,) scores times their member's weight as a share of the greatest: in 0..1."""
        scaled: Floats = self.scores * self.weights[self.members] / self.weights.max()
        return scaled


@dataclass(frozen=True, eq=False)
class Fused:
    """What became of a union.

    Args:
        boxes: (F, 4) xyxy in pixels of the image.
        scores: (F,) in 0..1, in any order.
        winners: (F,) index in the union of the best detection that went into each.
    """

    boxes: Floats
    scores: Floats
    winners: Integers


@dataclass(frozen=True)
class Fusion(ABC):
    """Several results of one image made into one.

    Args:
        detections: largest number of detections that are kept, the best ones.
    """

    name: ClassVar[str]
    """As it is asked for."""
    source: ClassVar[str]
    """Paper and place."""

    detections: int = 100

    def __post_init__(self) -> None:
        if self.detections < 1:
            raise ConfigError(f"detections is {self.detections}", place=self.name, cure="give at least 1")

    @abstractmethod
    def fuse(self, union: Union) -> Fused:
        """What becomes of a union of at least one detection."""

    @final
    def __call__(self, found: Sequence[Detections], weights: Sequence[float] | None = None) -> Detections:
        """One result from those of several members; that of a single member is given back as it is.

        Args:
            found: one result a member, all of the same image, at least one.
            weights: one a member, above 0; None for equal ones. Only their ratios matter.

        Raises:
            ConfigError: weights that do not fit; or some members give masks or keypoints and others do not.
            ValueError: no result, or results of images of different sizes.
        """
        if not found or len({each.size for each in found}) != 1:
            raise ValueError(f"results of one image are fused, got sizes {[each.size for each in found]}")
        shares = require_weights(weights, len(found))
        _require_alike(found)
        if len(found) == 1:
            return found[0]
        union = _united(found, shares)
        if not len(union.scores):
            return found[0]
        fused = self.fuse(union)
        return _as_detections(fused, union, found, self.detections)


def require_weights(weights: Sequence[float] | None, count: int) -> Floats:
    """The weights of ``count`` members as an array; ones for None.

    Raises:
        ConfigError: not one a member, or one that is not above 0 and finite.
    """
    if weights is None:
        return np.ones(count)
    if len(weights) != count:
        raise ConfigError(f"{len(weights)} weights for {count} members", cure="give one weight for each, in order")
    given = np.asarray(weights, np.float64)
    if not (np.isfinite(given) & (given > 0)).all():
        listed = ", ".join(f"{weight:g}" for weight in weights)
        raise ConfigError(f"the weights of the members are {listed}", cure="give numbers above 0; only ratios matter")
    return given


@final
@dataclass(frozen=True)
class NMSUnion(Fusion):
    """The union of all detections with doubles suppressed: of those that overlap, the best stays as it is.

    Args:
        threshold: IoU above which the lesser of two detections of one class falls.
    """

    name = "nms"
    source = "greedy suppression of the union, as He et al. 2016, appendix B, does before voting"

    threshold: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self, "threshold", self.threshold)

    def fuse(self, union: Union) -> Fused:
        """What suppression leaves."""
        kept = _suppressed(union, self.threshold)
        return Fused(union.boxes[kept], union.scaled[kept], kept)


@final
@dataclass(frozen=True)
class BoxVoting(Fusion):
    """The union with doubles suppressed, and what stays moved to the mean of all that voted for it.

    Args:
        threshold: IoU above which the lesser of two detections of one class falls.
        voting: IoU from which a detection votes.
    """

    name = "voting"
    source = "Gidaris and Komodakis 2015, section 4"

    threshold: float = 0.5
    voting: float = VOTING_IOU

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self, "threshold", self.threshold)
        require_share(self, "voting", self.voting)

    def fuse(self, union: Union) -> Fused:
        """What suppression leaves, moved."""
        kept = _suppressed(union, self.threshold)
        boxes, scores, labels = _tensors(union)
        moved = vote(torch.from_numpy(kept), boxes, scores, labels, self.voting)
        return Fused(moved.numpy(), union.scaled[kept], kept)


@final
@dataclass(frozen=True)
class Averaging(Fusion):
    """Of each object the mean box and the mean score over the members; who did not find it gives a score of 0.

    The best detection that is left is taken with all of its class that overlap it; of each member the one that overlaps
    it most counts.

    Args:
        threshold: IoU from which two detections of one class are of the same object.
    """

    name = "average"
    source = "He et al. 2016, appendix B (ensemble), for detections instead of regions"

    threshold: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self, "threshold", self.threshold)

    def fuse(self, union: Union) -> Fused:
        """Weighted means of what belongs together."""
        boxes = torch.from_numpy(union.boxes)
        overlap = pairwise_iou(boxes, boxes).numpy()
        same = (overlap >= self.threshold) & (union.labels[:, None] == union.labels)
        # A detection is of the object of the best one, even if it has no area to overlap with.
        np.fill_diagonal(same, True)
        np.fill_diagonal(overlap, 2.0)
        left = np.ones(len(boxes), np.bool_)
        means, scores, winners = [], [], []
        for best in range(len(boxes)):
            if not left[best]:
                continue
            group = np.flatnonzero(same[best] & left)
            left[group] = False
            counted = _one_a_member(group, union.members, overlap[best])
            weights = union.weights[union.members[counted]]
            means.append(np.average(union.boxes[counted], axis=0, weights=weights))
            scores.append((union.scores[counted] * weights).sum() / union.weights.sum())
            winners.append(best)
        return Fused(np.stack(means), np.asarray(scores), np.asarray(winners))


def require_share(owner: Fusion, name: str, value: float) -> None:
    """Raise ``ConfigError`` unless a setting is from 0 to 1."""
    if not 0 <= value <= 1:
        raise ConfigError(f"{name} is {value:g}", place=owner.name, cure=f"give {name} a number from 0 to 1")


def _one_a_member(group: Integers, members: Integers, overlap: Floats) -> Integers:
    """Of each member's detections in a group the one that overlaps most."""
    ranked = group[np.argsort(-overlap[group], kind="stable")]
    _, first = np.unique(members[ranked], return_index=True)
    return ranked[np.sort(first)]


def _suppressed(union: Union, threshold: float) -> Integers:
    kept: Integers = batched_nms(*_tensors(union), threshold).numpy()
    return kept


def _tensors(union: Union) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, scaled scores and labels."""
    return torch.from_numpy(union.boxes), torch.from_numpy(union.scaled), torch.from_numpy(union.labels)


def _united(found: Sequence[Detections], weights: Floats) -> Union:
    boxes: Floats = np.concatenate([each.boxes.cpu().numpy() for each in found]).astype(np.float64)
    scores: Floats = np.concatenate([each.scores.cpu().numpy() for each in found]).astype(np.float64)
    labels: Integers = np.concatenate([each.labels.cpu().numpy() for each in found])
    counts = [len(each) for each in found]
    members = np.repeat(np.arange(len(found)), counts)
    places = np.concatenate([np.arange(count) for count in counts])
    # The better first; where they are equal nothing decides that depends on the order of the members.
    order = np.lexsort((*boxes.T[::-1], labels, -scores * weights[members]))
    return Union(boxes[order], scores[order], labels[order], members[order], places[order], weights)


def _require_alike(found: Sequence[Detections]) -> None:
    """Masks and keypoints come from all members or from none; who found nothing may have neither."""
    told = [each for each in found if len(each)]
    for name, kinds in (
        ("masks", {each.masks is not None for each in told}),
        ("keypoints", {None if each.keypoints is None else each.keypoints.shape[1] for each in told}),
    ):
        if len(kinds) > 1:
            raise ConfigError(
                f"some of the members give {name} and others do not, or others of them",
                cause="a fused detection takes them from one member",
                cure="combine models of one kind",
            )


def _as_detections(fused: Fused, union: Union, found: Sequence[Detections], most: int) -> Detections:
    scores = np.clip(fused.scores, 0.0, 1.0).astype(np.float32)
    order = np.argsort(-scores, kind="stable")[:most]
    winners = fused.winners[order]
    device = found[0].boxes.device
    source = list(zip(union.members[winners].tolist(), union.places[winners].tolist(), strict=True))
    return Detections(
        torch.from_numpy(fused.boxes[order].astype(np.float32)).to(device),
        torch.from_numpy(scores[order]).to(device),
        torch.from_numpy(union.labels[winners]).to(device),
        found[0].size,
        _rows_of([each.masks for each in found], source, device),
        _rows_of([each.keypoints for each in found], source, device),
    )


def _rows_of(parts: Sequence[Tensor | None], source: Sequence[tuple[int, int]], device: torch.device) -> Tensor | None:
    """The winners' rows of what members give, or do not give; none of the same kind where there are no winners."""
    given = next((part for part in parts if part is not None), None)
    if given is None:
        return None
    rows = [part[place].to(device) for member, place in source if (part := parts[member]) is not None]
    return torch.stack(rows) if rows else given[:0].to(device)
