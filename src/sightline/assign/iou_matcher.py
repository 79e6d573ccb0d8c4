"""Matching by IoU thresholds: each anchor takes its best ground truth, is background, or is left out.

Faster R-CNN's rule (Ren et al., NeurIPS 2015, section 3.1.2): an anchor is positive when its best IoU is high enough,
or when it is the best anchor of some ground truth; it is background when its best IoU is low; those in between do not
train. Results equal torchvision's Matcher, which takes one image at a time and at least one ground truth.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

BACKGROUND = -1
"""Of an anchor that no ground truth overlaps enough."""

BETWEEN = -2
"""Of an anchor that is neither background nor matched, and does not train."""


@dataclass(frozen=True)
class IoUMatcher:
    """Matches anchors to ground truths.

    Args:
        high: least IoU of a match, in 0..1.
        low: below this best IoU an anchor is background; at most ``high``.
        keep_best: also match every anchor that no other exceeds in IoU with some ground truth, however low. It takes
            its own best ground truth, which need not be the one that it is best for. A ground truth that no anchor
            touches is tied by every anchor that does not touch it, and keeps them all, as in torchvision.

    Raises:
        ValueError: ``low`` above ``high``.
    """

    high: float
    low: float
    keep_best: bool = False

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"IoUMatcher.low must not exceed high, got {self.low} and {self.high}")

    def __call__(self, iou: Tensor) -> Tensor:
        """The ground truth of each anchor.

        Args:
            iou: (..., A, M) of A anchors with M ground truths. Images of one batch with fewer than M are padded with
                columns of -1, which never match.

        Returns:
            (..., A) int64: a column in 0..M-1, the first of equals, or ``BACKGROUND`` or ``BETWEEN``.
        """
        if iou.numel() == 0:
            return torch.full(iou.shape[:-1], BACKGROUND, dtype=torch.int64, device=iou.device)
        best, match = iou.max(dim=-1)
        background, between = best < self.low, best < self.high
        if self.keep_best:
            kept = _ties_a_best(iou)
            background, between = background & ~kept, between & ~kept
        return match.masked_fill_(between, BETWEEN).masked_fill_(background, BACKGROUND)


def _ties_a_best(iou: Tensor) -> Tensor:
    best = iou.amax(dim=-2, keepdim=True)
    best = best.masked_fill(best < 0, torch.inf)
    # Subtract and reduce: both run vectorised, which comparing into a bool matrix does not.
    return (iou - best).amax(dim=-1) == 0
