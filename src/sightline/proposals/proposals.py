"""What every proposer gives: class-free boxes of a batch, in one flat structure."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Proposals:
    """Boxes of B images, ordered by image and, within an image, best first.

    Args:
        boxes: (R, 4) float32 xyxy in pixels of the batch.
        scores: (R,) float32; comparable within an image.
        image_index: (R,) int64, not decreasing.
        images: B.
    """

    boxes: Tensor
    scores: Tensor
    image_index: Tensor
    images: int

    @classmethod
    def of(cls, boxes: Sequence[Tensor]) -> "Proposals":
        """Those that came with a batch, one (P_i, 4) tensor an image, best first; they have no scores but 1.

        Raises:
            ValueError: no image has any, because none had a proposer.
        """
        if not boxes:
            raise ValueError("the batch has no proposals: give the system a proposer, or the batch proposals")
        every = torch.cat(list(boxes))
        counts = torch.tensor([len(each) for each in boxes], device=every.device)
        index = torch.repeat_interleave(torch.arange(len(boxes), device=every.device), counts)
        return cls(every, every.new_ones(len(every)), index, len(boxes))

    def counts(self) -> Tensor:
        """(B,) int64 boxes of each image."""
        return torch.bincount(self.image_index, minlength=self.images)


def rank_in_group(groups: Tensor, count: int) -> Tensor:
    """The place of each element among those of its group, 0 for the first.

    Args:
        groups: (N,) int64, not decreasing.
        count: of groups.
    """
    sizes = torch.bincount(groups, minlength=count)
    starts = sizes.cumsum(0) - sizes
    return torch.arange(len(groups), device=groups.device) - starts[groups]
