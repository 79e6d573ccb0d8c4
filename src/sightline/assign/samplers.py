"""Which of the labelled anchors or proposals train: a random few, with a bounded share of positives.

Fast R-CNN, section 2.3 (Girshick, ICCV 2015) and Faster R-CNN, section 3.1.3 (Ren et al., NeurIPS 2015): most regions
are background, so that training on all of them would drown the objects.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class BalancedSampler:
    """Draws positives and negatives uniformly at random, without replacement.

    Args:
        count: how many to draw of each image; fewer where there are fewer.
        positive_fraction: largest share of positives among ``count``, in 0..1; negatives fill the rest.

    Raises:
        ValueError: a negative count, or a share outside 0..1.
    """

    count: int
    positive_fraction: float

    def __post_init__(self) -> None:
        if self.count < 0 or not 0 <= self.positive_fraction <= 1:
            raise ValueError(f"BalancedSampler needs count >= 0 and positive_fraction in 0..1, got {self}")

    def __call__(self, labels: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Draw from each row.

        Args:
            labels: (..., A) int64; 1 positive, 0 negative, -1 neither.
            keys: random numbers of the labels' shape, uniform in 0..1; the highest are drawn.

        Returns:
            Two bool masks of the labels' shape: the positives and the negatives drawn.
        """
        most = int(self.count * self.positive_fraction)
        positive = _highest(keys, labels == 1, torch.tensor(most, device=labels.device), most)
        room = self.count - positive.sum(dim=-1, keepdim=True)
        return positive, _highest(keys, labels == 0, room, self.count)


def _highest(keys: Tensor, eligible: Tensor, number: Tensor, most: int) -> Tensor:
    """The ``number`` eligible entries of each row with the highest keys, as a mask; ``most`` bounds ``number``."""
    values, indices = keys.masked_fill(~eligible, -1).topk(min(most, keys.shape[-1]), dim=-1)
    ranks = torch.arange(values.shape[-1], device=keys.device)
    return torch.zeros_like(eligible).scatter_(-1, indices, (values >= 0) & (ranks < number))
