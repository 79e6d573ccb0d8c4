"""Box voting: what survived suppression is moved to the mean of all that voted for it.

Gidaris and Komodakis, "Object detection via a multi-region and semantic segmentation-aware CNN model", ICCV 2015,
section 4: the neighbours of a kept box are the boxes of its class, itself included, whose IoU with it is at least 0.5;
the new box is their mean, weighted by their scores. The score stays.
"""

import torch
from torch import Tensor

from sightline.geometry.iou import pairwise_iou

VOTING_IOU = 0.5
"""IoU from which a box votes (section 4 of the paper)."""


def vote(kept: Tensor, boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float = VOTING_IOU) -> Tensor:
    """The boxes that stay, each moved to the mean of its neighbours.

    Args:
        kept: (M,) int64 indices of the boxes that stay.
        boxes: (N, 4) xyxy, those before suppression.
        scores: (N,) not negative; a score of 0 has no vote, and where nobody has one the box stays where it is.
        groups: (N,) int64, one number for each class of each image; boxes of different groups do not vote.
        threshold: IoU from which a box votes.

    Returns:
        (M, 4), in the order of ``kept``.
    """
    placed, owner = boxes[kept], groups[kept]
    # Group by group: all pairs of a batch with hundreds of thousands of candidates do not fit the memory.
    for group in sorted(set(owner.tolist())):
        here, voters = owner == group, groups == group
        placed[here] = _voted(placed[here], boxes[voters], scores[voters], threshold)
    return placed


def _voted(own: Tensor, boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Boxes (M, 4) moved by those (N, 4) of their group."""
    weights = torch.where(pairwise_iou(own, boxes) >= threshold, scores, torch.zeros_like(scores))
    total = weights.sum(dim=1, keepdim=True)
    # Moved by the mean of differences: a box that all agree on stays what it is, to the last bit.
    return own + (weights[:, :, None] * (boxes - own[:, None])).sum(dim=1) / torch.where(total > 0, total, 1)
