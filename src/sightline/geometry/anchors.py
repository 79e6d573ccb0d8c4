"""Anchors: boxes of a few sizes and shapes, laid over every step of a feature map.

Two families. ``cell_anchors`` and ``grid`` make those of Faster R-CNN (Ren et al., NeurIPS 2015, section 3.1.1), every
size with every ratio, in absolute pixels, in torchvision's order, so that its weights fit. ``multibox_prior`` makes
those of the lectures and of SSD's MultiBox: n + m - 1 a pixel, in relative coordinates.

Mind the two meanings of "ratio": height / width in the first family, width / height in the second.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from sightline.structures import Size

PairOrder = Literal["sizes_first", "ratios_first"]


def cell_anchors(sizes: Sequence[float], ratios: Sequence[float], *, rounded: bool = False) -> Tensor:
    """The anchors of one step, centred at the origin.

    Args:
        sizes: square roots of the areas, in pixels.
        ratios: height / width.
        rounded: whether corners are rounded to whole pixels (halves to even), as torchvision's weights expect.

    Returns:
        (len(sizes) * len(ratios), 4) float32, xyxy; all sizes of the first ratio, then those of the next.
    """
    root = torch.tensor(ratios, dtype=torch.float32).sqrt()[:, None]
    edge = torch.tensor(sizes, dtype=torch.float32)
    width, height = (1 / root * edge).flatten(), (root * edge).flatten()
    anchors = torch.stack((-width, -height, width, height), dim=1) / 2
    return anchors.round() if rounded else anchors


def grid(cell: Tensor, size: Size, stride: float | tuple[float, float], *, offset: float = 0.0) -> Tensor:
    """The anchors of one step, repeated over a feature map.

    Args:
        cell: (A, 4) anchors centred at the origin, xyxy.
        size: (H, W) of the feature map in steps.
        stride: pixels a step, or (along y, along x).
        offset: where in a step its anchors are centred, as a share of the step: 0 is its corner, torchvision's way;
            0.5 its middle.

    Returns:
        (H * W * A, 4) in the dtype and on the device of ``cell``: row by row, in a row from left to right, at each step
        all of ``cell`` in order.
    """
    along_y, along_x = stride if isinstance(stride, tuple) else (stride, stride)
    y = (torch.arange(size[0], dtype=cell.dtype, device=cell.device) + offset) * along_y
    x = (torch.arange(size[1], dtype=cell.dtype, device=cell.device) + offset) * along_x
    y, x = torch.meshgrid(y, x, indexing="ij")
    centres = torch.stack((x, y, x, y), dim=-1)
    return (centres[:, :, None, :] + cell).reshape(-1, 4)


def size_ratio_pairs(sizes: Sequence[float], ratios: Sequence[float], order: PairOrder) -> list[tuple[float, float]]:
    """The n + m - 1 pairs of a size and a ratio that contain the first size or the first ratio.

    The lectures give two orders: ``sizes_first`` is (s1, r1), (s2, r1) ... (sn, r1), (s1, r2) ... (s1, rm), and
    ``ratios_first`` is (s1, r1), (s1, r2) ... (s1, rm), (s2, r1) ... (sn, r1). Weights fit only the order that they
    were trained with. No sizes or no ratios give no pairs.
    """
    if not sizes or not ratios:
        return []
    by_size = [(size, ratios[0]) for size in sizes[1:]]
    by_ratio = [(sizes[0], ratio) for ratio in ratios[1:]]
    rest = by_size + by_ratio if order == "sizes_first" else by_ratio + by_size
    return [(sizes[0], ratios[0]), *rest]


def multibox_prior(
    size: Size, sizes: Sequence[float], ratios: Sequence[float], order: PairOrder = "ratios_first"
) -> Tensor:
    """The lectures' anchors: at the middle of every pixel of a map, the pairs of ``size_ratio_pairs``.

    An anchor is s * sqrt(r) wide and s / sqrt(r) high (one of the lectures prints the width with a division). Both are
    shares of the map's *height*, so that r is width / height as seen in pixels and a ratio of 1 is a square on a map of
    any aspect; in relative coordinates the width is therefore s * sqrt(r) * H / W. On a square map this is the plain
    "w s sqrt(r) by h s / sqrt(r)". Anchors may reach over the border.

    Args:
        size: (H, W) of the map.
        sizes: shares of the map's height, in (0, 1].
        ratios: width / height.
        order: of the pairs at each pixel.

    Returns:
        (H * W * (n + m - 1), 4) float32, xyxy where 0..1 spans the image; row by row, from left to right.
    """
    height, width = size
    pairs = size_ratio_pairs(sizes, ratios, order)
    half_sides = [(s * math.sqrt(r) * height / width / 2, s / math.sqrt(r) / 2) for s, r in pairs]
    cell = torch.tensor([(-w, -h, w, h) for w, h in half_sides], dtype=torch.float32).reshape(-1, 4)
    return grid(cell, size, (1 / height, 1 / width), offset=0.5)
