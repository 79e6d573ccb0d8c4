"""From what is said of regions to detections of a whole batch, before they are told image by image."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sightline.geometry.boxes import at_least, clip_each
from sightline.geometry.coding import BoxCoder
from sightline.geometry.nms import batched_nms
from sightline.geometry.voting import vote
from sightline.proposals.proposals import Proposals, rank_in_group
from sightline.regions.config import AnswerConfig
from sightline.structures import Detections, ImageBatch, Size

SMALLEST_SIDE = 1e-2
"""Pixels of the batch that each side of a box has at least."""


def best_of(
    boxes: Tensor, scores: Tensor, groups: Tensor, image_index: Tensor, *, images: int, threshold: float, most: int
) -> Tensor:
    """Which candidates suppression leaves, ordered by image and best first within each.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        groups: (N,) int64; only those of one group, an image's class, suppress each other.
        image_index: (N,) int64, in any order.
        images: how many there are.
        threshold: IoU above which the lesser of two falls.
        most: of an image.

    Returns:
        (D,) int64 places among the candidates.
    """
    best = batched_nms(boxes, scores, groups, threshold)
    best = best[image_index[best].sort(stable=True).indices]
    return best[rank_in_group(image_index[best], images) < most]


@dataclass(frozen=True, eq=False)
class Found:
    """D boxes of B images with classes and scores: candidates in any order, or the detections that ``kept`` leaves.

    Detections are ordered by image and best first within each; so they have to be for ``per_image``.

    Args:
        boxes: (D, 4) float32 xyxy in pixels of the batch.
        scores: (D,) float32 in 0..1.
        labels: (D,) int64, without a background.
        image_index: (D,) int64; of detections not decreasing.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    image_index: Tensor

    def __len__(self) -> int:
        return len(self.boxes)

    def counts(self, batch: ImageBatch) -> list[int]:
        """How many there are in each image."""
        counts: list[int] = torch.bincount(self.image_index, minlength=len(batch)).tolist()
        return counts

    def per_image(self, batch: ImageBatch) -> list[Detections]:
        """One result an image, in pixels of the images that went in."""
        counts = self.counts(batch)
        parts = zip(*(torch.split(part, counts) for part in (self.boxes, self.scores, self.labels)), strict=True)
        return [
            Detections(batch.to_original(boxes, index), scores, labels, batch.original_sizes[index])
            for index, (boxes, scores, labels) in enumerate(parts)
        ]


def candidates(
    regions: Proposals, scores: Tensor, deltas: Tensor, coder: BoxCoder, sizes: Sequence[Size], threshold: float
) -> Found:
    """Every region in every class that it scores above the threshold in: decoded, clipped, in the order of the regions.

    Args:
        regions: R boxes.
        scores: (R, K) in 0..1.
        deltas: (R, K, 4) in the coding of ``coder`` against the regions.
        coder: decodes them.
        sizes: (H, W) of each image in pixels of the batch.
        threshold: that a score must exceed.
    """
    region, label = (scores > threshold).nonzero(as_tuple=True)
    scores, image_index = scores[region, label], regions.image_index[region]
    boxes = coder.decode(deltas[region, label], regions.boxes[region])
    boxes = clip_each(boxes, boxes.new_tensor(list(sizes))[image_index])
    keep = at_least(boxes, SMALLEST_SIDE)
    return Found(boxes[keep], scores[keep], label[keep], image_index[keep])


def kept(every: Found, config: AnswerConfig, classes: int, images: int) -> Found:
    """What suppression within each class leaves of candidates, the best ones of each image.

    With ``voting`` what is kept is moved to the mean of what voted for it.

    Args:
        every: candidates, in any order.
        config: how far doubles may overlap, how many stay, whether there is a vote.
        classes: K.
        images: B.
    """
    boxes, scores, index = every.boxes, every.scores, every.image_index
    groups = index * classes + every.labels
    threshold, most = config.nms_threshold, config.detections
    best = best_of(boxes, scores, groups, index, images=images, threshold=threshold, most=most)
    placed = vote(best, boxes, scores, groups) if config.voting else boxes[best]
    return Found(placed, scores[best], every.labels[best], index[best])
