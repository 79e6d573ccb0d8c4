"""The mask branch of Mask R-CNN (He et al. 2017, figure 4 right): a small convolutional network on each region.

Legend: R regions, C channels of the pooled maps, K classes, m = 28 cells a side.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightline.geometry.masks import crop_masks
from sightline.regions.convolutions import convolutions, started, through
from sightline.regions.sampling import matched_objects
from sightline.structures import Target

POOLED = 14
"""Cells along each side of the maps that the branch looks at."""
CELLS = 2 * POOLED
"""m: cells along each side of a mask."""


class MaskBranch(nn.Module):
    """Four 3x3 convolutions, one 2x2 transposed one, and K maps of m x m, of which the one of a class is computed.

    Args:
        channels: C.
        classes: K.
        width: channels between.
        depth: 3x3 convolutions.
    """

    def __init__(self, channels: int, classes: int, width: int = 256, depth: int = 4) -> None:
        super().__init__()
        self.convolutions = convolutions(channels, width, depth)
        self.upsampling = started(nn.ConvTranspose2d(width, width, 2, stride=2))
        self.logits = nn.Conv2d(width, classes, 1)
        # Every pixel begins at one half: scaled by the number of classes, few classes would begin with great losses.
        nn.init.normal_(self.logits.weight, std=0.001)
        assert self.logits.bias is not None
        nn.init.zeros_(self.logits.bias)

    def forward(self, pooled: Tensor, labels: Tensor) -> Tensor:
        """What each region's mask of one class looks like.

        Args:
            pooled: (R, C, 14, 14).
            labels: (R,) int64, the class of each.

        Returns:
            (R, m, m) float32 logits.
        """
        fine = self._upsampled(through(self.convolutions, pooled))  # (R, 14 * 14 * 4, width)
        weight, bias = self.logits.weight.flatten(1), self.logits.bias
        assert bias is not None
        logits = torch.bmm(fine, weight[labels][:, :, None])[..., 0] + bias[labels][:, None]
        tiled = logits.float().view(-1, POOLED, POOLED, 2, 2)
        return tiled.transpose(2, 3).reshape(-1, CELLS, CELLS)

    def _upsampled(self, hidden: Tensor) -> Tensor:
        """The transposed convolution as one matrix product: its windows do not overlap; order (y, x, dy, dx)."""
        weight, bias = self.upsampling.weight, self.upsampling.bias
        assert bias is not None
        rows = hidden.permute(0, 2, 3, 1).flatten(0, 2)
        spread = F.linear(rows, weight.permute(2, 3, 1, 0).flatten(0, 2), bias.repeat(4))
        return F.relu(spread, inplace=True).view(len(hidden), 4 * POOLED * POOLED, len(bias))


def true_masks(targets: Sequence[Target], match: Tensor, boxes: Tensor, image_index: Tensor) -> Tensor:
    """What the masks of objects look like in regions that found them.

    Args:
        targets: of the batch, with masks where there are objects.
        match: (S,) int64, the object of each region among those of its image that count.
        boxes: (S, 4) the regions, in pixels of the batch.
        image_index: (S,) int64, not decreasing.

    Returns:
        (S, m, m) float32 in 0..1.

    Raises:
        ValueError: a target without masks.
    """
    crops = [boxes.new_zeros(0, CELLS, CELLS)]
    for target, own, objects in matched_objects(targets, match, image_index):
        if target.masks is None:
            raise ValueError("masks can be learned only from targets that have masks")
        crops.append(crop_masks(target.masks, objects, boxes[own], CELLS))
    return torch.cat(crops)
