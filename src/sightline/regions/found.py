"""Detections of a whole batch in one flat structure, before they are told image by image."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sightline.geometry.nms import batched_nms
from sightline.proposals.proposals import rank_in_group
from sightline.structures import Detections, ImageBatch


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
    """D detections of B images, ordered by image and best first within each.

    Args:
        boxes: (D, 4) float32 xyxy in pixels of the batch.
        scores: (D,) float32 in 0..1.
        labels: (D,) int64, without a background.
        image_index: (D,) int64, not decreasing.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    image_index: Tensor

    def __len__(self) -> int:
        return len(self.boxes)

    def per_image(self, batch: ImageBatch) -> list[Detections]:
        """One result an image, in pixels of the images that went in."""
        counts = torch.bincount(self.image_index, minlength=len(batch)).tolist()
        parts = zip(*(torch.split(part, counts) for part in (self.boxes, self.scores, self.labels)), strict=True)
        return [
            Detections(batch.to_original(boxes, index), scores, labels, batch.original_sizes[index])
            for index, (boxes, scores, labels) in enumerate(parts)
        ]
