"""Greedy non-maximum suppression, over all boxes or inside each of many groups.

Take the box of the highest score, drop all others whose IoU with it is greater than the threshold, repeat with what is
left until nothing is. Among equal scores the lower index comes first.

One group is torchvision's C++ kernel. Many groups are one stable sort, one split and one call of that kernel a group.
torchvision's ``batched_nms`` instead moves the groups apart by adding offsets to the coordinates when boxes are few,
which costs float32 precision with large images or many groups, and searches all boxes once a group when they are many.
"""

import torch
from torch import Tensor
from torchvision.ops import nms as suppress


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Greedy non-maximum suppression.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,) of any range, in the dtype of the boxes.
        threshold: a box is dropped when its IoU with a kept, better one is greater than this.

    Returns:
        int64 indices of the boxes kept, best first.
    """
    kept: Tensor = suppress(boxes, scores, threshold)
    return kept


def batched_nms(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Greedy non-maximum suppression inside each group; boxes of different groups never touch each other.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,) of any range, in the dtype of the boxes.
        groups: (N,) int64; any numbers, one for each class, image or level, or combination of them.
        threshold: a box is dropped when its IoU with a kept, better one of its group is greater than this.

    Returns:
        int64 indices of the boxes kept, best first over all groups.
    """
    if len(boxes) == 0:
        return torch.empty(0, dtype=torch.int64, device=boxes.device)
    by_score = scores.argsort(descending=True, stable=True)
    ranks = groups[by_score].argsort(stable=True)
    grouped = by_score[ranks]
    counts = torch.unique_consecutive(groups[grouped], return_counts=True)[1].tolist()
    parts = zip(*(torch.split(part, counts) for part in (boxes[grouped], scores[grouped], ranks)), strict=True)
    kept = torch.cat([rank[suppress(box, score, threshold)] for box, score, rank in parts])
    return by_score[kept.sort().values]
