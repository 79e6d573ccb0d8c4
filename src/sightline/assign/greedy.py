"""The lectures' assignment: first every ground truth gets an anchor, then anchors that overlap enough join.

Take the highest IoU of the matrix, assign that ground truth to that anchor, strike the row and the column, and repeat
until every ground truth has an anchor. Each anchor left takes its best ground truth if their IoU reaches a threshold,
and is background otherwise.
"""

import torch
from torch import Tensor

from sightline.assign.iou_matcher import BACKGROUND


def greedy_assignment(iou: Tensor, threshold: float) -> Tensor:
    """The ground truth of each anchor, each ground truth having at least one anchor as long as anchors last.

    Args:
        iou: (A, M) of A anchors with M ground truths, 0 or more; a column of -1 is padding and is never assigned. Of
            equal entries the one of the lower anchor, then of the lower ground truth, comes first.
        threshold: least IoU, in 0..1, at which an anchor that no ground truth chose takes its best one.

    Returns:
        (A,) int64: a column in 0..M-1, or ``BACKGROUND``.
    """
    anchors, truths = iou.shape
    if anchors == 0 or truths == 0:
        return torch.full((anchors,), BACKGROUND, dtype=torch.int64, device=iou.device)
    best, match = iou.max(dim=1)
    match.masked_fill_(best < threshold, BACKGROUND)
    left = iou.clone()
    columns = torch.arange(truths, device=iou.device)
    while True:
        # Pairs that are the best of both their row and their column can all be struck in one round: greedy takes each
        # of them sooner or later, because what could displace one would have to lie in its row or column.
        best, rows = left.max(dim=0)
        mutual = (left[rows].argmax(dim=1) == columns) & (best >= 0)
        if not mutual.any():
            return match
        match[rows[mutual]] = columns[mutual]
        left[rows[mutual]] = -1
        left[:, mutual] = -1
