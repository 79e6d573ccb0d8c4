"""Intersection over union, and its generalised form that also tells boxes apart that do not touch.

IoU is the Jaccard index of two boxes. GIoU is IoU minus the share of the smallest enclosing box that neither covers:
Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019, algorithm 1. A box without area (x2 <= x1 or
y2 <= y1) has IoU 0 with everything, itself included; nothing here gives NaN for finite boxes, nor do the gradients.
"""

import torch
from torch import Tensor

SMALLEST_AREA = 1e-20
"""Square units below which a union counts as empty: far below any box, yet its inverse is finite in float32."""

Coordinates = tuple[Tensor, Tensor, Tensor, Tensor]


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of every box of one set with every box of another.

    Args:
        a: (..., N, 4) boxes, xyxy.
        b: (..., M, 4) boxes, xyxy; leading dimensions broadcast against those of ``a``.

    Returns:
        (..., N, M) in 0..1. Its longer axis is the contiguous one, so a few ground truths against many anchors come
        as a transposed view: reductions over the ground truths are then several times as fast.
    """
    if a.shape[-2] > b.shape[-2]:
        return pairwise_iou(b, a).mT
    inter, union = _inter_and_union(*_against_each_other(a, b))
    return inter.div_(union.clamp_(min=SMALLEST_AREA))


def pairwise_giou(a: Tensor, b: Tensor) -> Tensor:
    """GIoU, in -1..1, of every box of ``a`` (..., N, 4) with every box of ``b`` (..., M, 4): (..., N, M)."""
    if a.shape[-2] > b.shape[-2]:
        return pairwise_giou(b, a).mT
    return _giou(*_against_each_other(a, b))


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU, in 0..1, of the boxes of ``a`` (..., 4) with those of ``b`` (..., 4) one by one: (...)."""
    inter, union = _inter_and_union(*_one_by_one(a, b))
    return inter.div_(union.clamp_(min=SMALLEST_AREA))


def paired_giou(a: Tensor, b: Tensor) -> Tensor:
    """GIoU, in -1..1, of the boxes of ``a`` (..., 4) with those of ``b`` (..., 4) one by one: (...)."""
    return _giou(*_one_by_one(a, b))


def _against_each_other(a: Tensor, b: Tensor) -> tuple[Coordinates, Coordinates]:
    # Coordinates are laid out one after the other first: the passes below then read contiguous memory.
    columns, rows = a.mT.contiguous().unsqueeze(-1), b.mT.contiguous().unsqueeze(-2)
    return _four(columns, -3), _four(rows, -3)


def _one_by_one(a: Tensor, b: Tensor) -> tuple[Coordinates, Coordinates]:
    return _four(a, -1), _four(b, -1)


def _four(coordinates: Tensor, dim: int) -> Coordinates:
    x1, y1, x2, y2 = coordinates.unbind(dim)
    return x1, y1, x2, y2


def _inter_and_union(a: Coordinates, b: Coordinates) -> tuple[Tensor, Tensor]:
    # In place where the memory is our own: with 200,000 anchors the time goes into fresh pages, not into arithmetic.
    width = torch.minimum(a[2], b[2]).sub_(torch.maximum(a[0], b[0])).clamp_(min=0)
    height = torch.minimum(a[3], b[3]).sub_(torch.maximum(a[1], b[1])).clamp_(min=0)
    inter = width.mul_(height)
    return inter, (_area(a) + _area(b)).sub_(inter)


def _area(box: Coordinates) -> Tensor:
    return (box[2] - box[0]).clamp_(min=0) * (box[3] - box[1]).clamp_(min=0)


def _giou(a: Coordinates, b: Coordinates) -> Tensor:
    inter, union = _inter_and_union(a, b)
    width = torch.maximum(a[2], b[2]).sub_(torch.minimum(a[0], b[0])).clamp_(min=0)
    height = torch.maximum(a[3], b[3]).sub_(torch.minimum(a[1], b[1])).clamp_(min=0)
    hull = width.mul_(height)
    # Rounding can make the union the larger of the two by a hair, which would carry the result above 1.
    gap = (hull - union).clamp_(min=0)
    return inter.div_(union.clamp_(min=SMALLEST_AREA)) - gap.div_(hull.clamp_(min=SMALLEST_AREA))
