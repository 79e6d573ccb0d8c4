"""Boxes as tensors: areas, sides, clipping and the four common forms.

A box is (x1, y1, x2, y2) in absolute pixels unless a name says otherwise; leading dimensions are free, zero boxes are
legal, and every function is differentiable and leaves its input alone.
"""

import torch
from torch import Tensor

from sightline.structures import Size


def sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Widths and heights of boxes (..., 4), each (...), in the boxes' units; negative where x2 < x1 or y2 < y1."""
    return boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]


def areas(boxes: Tensor) -> Tensor:
    """Areas (...) of boxes (..., 4) in square units; 0 where x2 <= x1 or y2 <= y1."""
    width, height = sides(boxes)
    return width.clamp(min=0) * height.clamp(min=0)


def clip(boxes: Tensor, size: Size) -> Tensor:
    """Boxes (..., 4) cut to an image of ``size`` (H, W) pixels; those outside become boxes without area on its edge."""
    height, width = size
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack((x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)), dim=-1)


def clip_each(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes (..., 4) cut each to a size of its own: ``sizes`` (..., 2) is (H, W) and broadcasts."""
    return torch.minimum(boxes.clamp(min=0), sizes[..., [1, 0, 1, 0]])


def at_least(boxes: Tensor, minimum: float) -> Tensor:
    """Bool (...): whether both sides of boxes (..., 4) are at least ``minimum``, in the boxes' units."""
    width, height = sides(boxes)
    return (width >= minimum) & (height >= minimum)


def xyxy_to_xywh(boxes: Tensor) -> Tensor:
    """Corners (x1, y1, x2, y2) to (x1, y1, width, height), the form of COCO's files; (..., 4) both."""
    return torch.cat((boxes[..., :2], boxes[..., 2:] - boxes[..., :2]), dim=-1)


def xywh_to_xyxy(boxes: Tensor) -> Tensor:
    """The inverse of ``xyxy_to_xywh``; (..., 4) both."""
    return torch.cat((boxes[..., :2], boxes[..., :2] + boxes[..., 2:]), dim=-1)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """Corners (x1, y1, x2, y2) to (centre x, centre y, width, height); (..., 4) both."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat(((low + high) / 2, high - low), dim=-1)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """The inverse of ``xyxy_to_cxcywh``; (..., 4) both."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centre - half, centre + half), dim=-1)
