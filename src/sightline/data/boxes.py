"""Which boxes of a file can be used, and what has to be done to them: clipped, or dropped."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 0.01
"""Pixels beyond the border that count as the writer's rounding and not as a repair; COCO stores two decimals."""

_BORDER = 1.0
"""Pixels beyond the border that tools leave by counting pixels from 1 or including the last one."""


@dataclass(frozen=True, eq=False)
class FittedBoxes:
    """Boxes fitted to their images.

    Args:
        boxes: (N, 4) float32 xyxy, clipped.
        keep: (N,) bool: those that have an area inside the image.
        cases: (N,) bool by code of finding: where each applies. No box is in two of them.
    """

    boxes: NDArray[np.float32]
    keep: NDArray[np.bool_]
    cases: dict[str, NDArray[np.bool_]]


def fit_boxes(boxes: NDArray[np.float64], sizes: NDArray[np.integer[Any]]) -> FittedBoxes:
    """Fits boxes to their images.

    Args:
        boxes: (N, 4) finite xyxy.
        sizes: (N, 2), (H, W) of each box's image.
    """
    limits = np.maximum(sizes[:, [1, 0, 1, 0]], 1).astype(np.float64)
    inside = np.clip(boxes, 0.0, limits)
    clipped = inside.astype(np.float32)
    reversed_ = (boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])
    ordered = _with_area(boxes)
    overlapping = ordered & _with_area(inside)
    keep = overlapping & _with_area(clipped)
    moved = np.abs(boxes - inside).max(axis=1, initial=0.0)
    cases = {
        "box-reversed": reversed_,
        "box-no-area": (~ordered & ~reversed_) | (overlapping & ~keep),
        "box-outside": ordered & ~overlapping,
        "box-on-border": keep & (moved > _ROUNDING) & (moved <= _BORDER),
        "box-clipped": keep & (moved > _BORDER),
    }
    return FittedBoxes(clipped, keep, cases)


def _with_area(boxes: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def box_areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) square pixels of (N, 4) xyxy boxes."""
    areas: NDArray[np.float32] = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return areas
