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
    own = boxes[kept]
    votes = (pairwise_iou(own, boxes) >= threshold) & (groups[kept][:, None] == groups)
    weights = torch.where(votes, scores, torch.zeros_like(scores))
    total = weights.sum(dim=1, keepdim=True)
    # Moved by the mean of differences: a box that all agree on stays what it is, to the last bit.
    moved = (weights[:, :, None] * (boxes - own[:, None])).sum(dim=1) / torch.where(total > 0, total, 1)
    return own + moved
