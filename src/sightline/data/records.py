"""What every format is read into: one record an image, as plain arrays without pixels.

Readers check what they read and count what they repair or drop, by reason. Arrays of all images are cut from one flat
array per field, so that a large set stays cheap.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.structures import Classes, Size

CLIPPED = "box clipped to the image"
NO_AREA = "box without area dropped"
OUTSIDE = "box outside the image dropped"
SIZE_FROM_FILE = "image size missing, read from the file"
SHORT_POLYGON = "polygon with fewer than three points dropped"

_ROUNDING = 0.01
"""Pixels beyond the border that count as the writer's rounding and not as a repair; COCO stores two decimals."""

Segmentation = tuple[Any, ...]
"""One entry an object: a list of COCO polygons, an RLE as a dict, or None. Empty when no object has one."""


@dataclass(frozen=True, eq=False)
class Record:
    """One image and its objects as the annotation file has them.

    Args:
        path: the image file.
        image_id: the id in the annotation file; for formats without ids the image's number, from 1.
        size: (H, W) as annotated, or of the file where the annotation has none.
        boxes: (N, 4) float32, xyxy in pixels, inside the image and with an area.
        labels: (N,) int64 in 0..K-1.
        ignore: (N,) bool; COCO crowds, VOC difficult.
        areas: (N,) float32 in square pixels.
        segmentation: COCO polygons or RLE of each object, undecoded; empty when the source has none.
        keypoints: (N, K, 3) float32 x, y, visibility; None when the source has none.
    """

    path: Path
    image_id: int
    size: Size
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    areas: NDArray[np.float32]
    segmentation: Segmentation = ()
    keypoints: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, eq=False)
class Content:
    """What a reader found in one split.

    Args:
        classes: names and original ids.
        records: one an image, in the file's order.
        findings: what was dropped or repaired, counted by reason.
        keypoint_names: names of the keypoints in order; empty when there are none.
    """

    classes: Classes
    records: tuple[Record, ...]
    findings: Counter[str] = field(default_factory=Counter)
    keypoint_names: tuple[str, ...] = ()


def fit_boxes(
    boxes: NDArray[np.float64], sizes: NDArray[np.int64], findings: Counter[str]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes clipped to their images, and which of them are worth keeping.

    Args:
        boxes: (N, 4) finite xyxy.
        sizes: (N, 2), (H, W) of each box's image.
        findings: where repairs and drops are counted.

    Returns:
        (N, 4) float32 clipped boxes, and (N,) bool: those that have an area inside the image.
    """
    limits = np.maximum(sizes[:, [1, 0, 1, 0]], 1).astype(np.float64)
    inside = np.clip(boxes, 0.0, limits)
    clipped = inside.astype(np.float32)
    ordered = _with_area(boxes)
    overlapping = ordered & _with_area(inside)
    keep = overlapping & _with_area(clipped)
    moved = np.abs(boxes - inside).max(axis=1, initial=0.0) > _ROUNDING
    count(findings, OUTSIDE, ordered & ~overlapping)
    count(findings, NO_AREA, ~ordered | (overlapping & ~keep))
    count(findings, CLIPPED, keep & moved)
    return clipped, keep


def _with_area(boxes: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def count(findings: Counter[str], reason: str, cases: NDArray[np.bool_]) -> None:
    """Adds the number of ``cases`` under ``reason``; reasons without a case stay absent."""
    number = int(cases.sum())
    if number:
        findings[reason] += number


def box_areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) square pixels of (N, 4) xyxy boxes."""
    areas: NDArray[np.float32] = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return areas
