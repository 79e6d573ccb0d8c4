"""Pooling of regions: RoIPool (Girshick 2015, section 2.1) and RoIAlign (He et al. 2017, section 3).

``roi_align`` writes every output cell as a weighted sum of rows of one table that holds all positions of all maps of
all images, and takes all regions in one call (``embedding_bag``): no loop over images or levels, and channels lie side
by side in memory, which is what channels-last maps give for free. Numbers agree with torchvision's ``roi_align`` with
``aligned=False`` (Mask R-CNN's own, without the half-pixel shift of later code) up to rounding.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
import torchvision.ops
from torch import Tensor

from sightline.structures import FeatureMaps


def pyramid_levels(
    boxes: Tensor, strides: Sequence[int], *, canonical_size: float = 224.0, canonical_stride: int = 16
) -> Tensor:
    """The level that a region is pooled from: k = k0 + floor(log2(sqrt(w h) / 224)) (Lin et al. 2017, equation 1).

    Args:
        boxes: (R, 4) xyxy in pixels of the batch.
        strides: of the levels, each twice the one before.
        canonical_size: side of a region, in pixels, that belongs to ``canonical_stride``.
        canonical_stride: 16, ResNet's C4.

    Returns:
        (R,) int64 indices into ``strides``.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).sqrt()
    first = torch.tensor(strides[0] / canonical_stride).log2().item()
    # The small addition keeps a region of exactly the canonical size on its level in spite of rounding.
    level = torch.floor(torch.log2(sides / canonical_size) + 1e-6) - first
    return level.clamp(0, len(strides) - 1).to(torch.int64)


def _axis(start: Tensor, length: Tensor, size: Tensor, cells: int, samples: int) -> tuple[Tensor, Tensor]:
    """Bilinear samples along one axis.

    Args:
        start: (R,) where the regions begin, in steps of the map.
        length: (R,) how long they are.
        size: (R,) int64 length of the map that each lies on.
        cells: of the output.
        samples: a cell.

    Returns:
        (R, cells, 2 * samples) int64 positions on the map, and their weights, which sum to 1 a cell inside the map.
    """
    cell = (length / cells)[:, None, None]
    whole = torch.arange(cells, device=start.device)[None, :, None]
    part = torch.arange(samples, device=start.device)[None, None, :] + 0.5
    position = start[:, None, None] + whole * cell + part * cell / samples
    last = (size - 1)[:, None, None]
    inside = (position >= -1) & (position <= size[:, None, None])
    position = position.clamp(min=0)
    lower = torch.minimum(position.to(torch.int64), last)
    upper = torch.minimum(lower + 1, last)
    fraction = torch.where(lower >= last, 0.0, position - lower)
    weights = torch.stack([(1 - fraction) * inside, fraction * inside], dim=-1) / samples
    positions = torch.stack([lower, upper], dim=-1)
    return positions.flatten(2), weights.flatten(2)


def roi_align(
    features: FeatureMaps, boxes: Tensor, image_index: Tensor, levels: Tensor, *, size: int = 7, samples: int = 2
) -> Tensor:
    """RoIAlign of every region on its level.

    Args:
        features: maps of one number of channels C.
        boxes: (R, 4) xyxy in pixels of the batch.
        image_index: (R,) int64, the image of each region.
        levels: (R,) int64, the level of each region.
        size: cells of the output along each side.
        samples: a cell along each side.

    Returns:
        (R, C, size, size), the mean of samples x samples bilinear samples a cell; in channels-last memory.
    """
    channels = features.maps[0].shape[1]
    table = torch.cat([m.permute(0, 2, 3, 1).reshape(-1, channels) for m in features])
    heights, widths, strides = boxes.new_tensor(
        [[h, w, s] for (h, w), s in zip(features.sizes, features.strides, strict=True)]
    ).T
    heights, widths = heights.to(torch.int64), widths.to(torch.int64)
    rows = heights * widths
    first = (rows * features.maps[0].shape[0]).cumsum(0) - rows * features.maps[0].shape[0]

    scaled = boxes * (1 / strides)[levels][:, None]
    # A region thinner than one step is widened to it, as in the paper's code; without that its samples coincide.
    length = (scaled[:, 2:] - scaled[:, :2]).clamp(min=1)
    width = widths[levels]
    x, x_weight = _axis(scaled[:, 0], length[:, 0], width, size, samples)
    y, y_weight = _axis(scaled[:, 1], length[:, 1], heights[levels], size, samples)
    start = first[levels] + image_index * rows[levels]
    index = (start[:, None, None] + y * width[:, None, None])[:, :, None, :, None] + x[:, None, :, None, :]
    weight = y_weight[:, :, None, :, None] * x_weight[:, None, :, None, :]
    bag = (2 * samples) ** 2
    pooled: Tensor = _WeightedRows.apply(table, index.reshape(-1, bag), weight.reshape(-1, bag).to(table.dtype))
    return pooled.view(len(boxes), size, size, channels).permute(0, 3, 1, 2)


class _WeightedRows(torch.autograd.Function):
    """Weighted sums of rows of a table; torch's own gradient of this takes three times as long on the processor.

    The gradient of a row is a weighted sum of the gradients of the bags that the row is in: the same operation on the
    transposed index, which is found by one sort.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(index, weight)
        ctx.rows = len(table)
        return F.embedding_bag(index, table, per_sample_weights=weight, mode="sum")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        index, weight = ctx.saved_tensors
        flat = index.flatten()
        order = flat.to(torch.int32).argsort()
        counts = torch.bincount(flat, minlength=ctx.rows)
        table = F.embedding_bag(
            order // index.shape[1],
            gradient.contiguous(),
            offsets=counts.cumsum(0) - counts,
            per_sample_weights=weight.flatten()[order],
            mode="sum",
        )
        return table, None, None


def roi_pool(features: Tensor, boxes: Tensor, image_index: Tensor, *, stride: int, size: int = 7) -> Tensor:
    """RoIPool: the maximum of each of size x size cells, with edges rounded to whole steps of the map.

    Args:
        features: (B, C, H, W).
        boxes: (R, 4) xyxy in pixels of the batch.
        image_index: (R,) int64, the image of each region.
        stride: pixels of the batch that one step on the map spans.
        size: cells of the output along each side.

    Returns:
        (R, C, size, size).
    """
    # The kernel has no bfloat16, and coordinates need more than its eight bits.
    regions = torch.cat([image_index[:, None].to(boxes.dtype), boxes], dim=1).float()
    pooled: Tensor = torchvision.ops.roi_pool(features.float(), regions, (size, size), 1 / stride)
    return pooled.to(features.dtype)
