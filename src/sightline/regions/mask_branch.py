"""The mask branch of Mask R-CNN (He et al. 2017, figure 4 right): a small convolutional network on each region.

Legend: R regions, C channels of the pooled maps, K classes, m = 28 cells a side.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightline.geometry.masks import crop_masks
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
        inputs = [channels, *[width] * (depth - 1)]
        self.convolutions = nn.ModuleList(nn.Conv2d(before, width, 3, padding=1) for before in inputs)
        self.upsampling = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.logits = nn.Conv2d(width, classes, 1)
        for layer in (*self.convolutions, self.upsampling):
            assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.bias is not None
            mode: Literal["fan_in", "fan_out"] = "fan_in" if isinstance(layer, nn.Conv2d) else "fan_out"
            nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
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
        hidden = pooled.contiguous(memory_format=torch.channels_last)
        for convolution in self.convolutions:
            hidden = F.relu(convolution(hidden), inplace=True)
        fine = self._upsampled(hidden)  # (R, 14 * 14 * 4, width)
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
    for image, target in enumerate(targets):
        own = (image_index == image).nonzero()[:, 0]
        if not len(own):
            continue
        if target.masks is None:
            raise ValueError("masks can be learned only from targets that have masks")
        object_of = (~target.ignore).nonzero()[:, 0][match[own]]
        crops.append(crop_masks(target.masks, object_of, boxes[own], CELLS))
    return torch.cat(crops)
