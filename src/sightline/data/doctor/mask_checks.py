"""What is wrong with masks and keypoints: crowds, sizes, emptiness, and masks that do not fit their boxes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from hotcoco import mask as rle
from numpy.typing import NDArray

from sightline.data.doctor.box_checks import about
from sightline.data.findings import Finding
from sightline.data.mask_files import MASK_FILE
from sightline.data.records import usable_segmentation
from sightline.data.tables import Tables
from sightline.errors import DataError

FIT_PIXELS, FIT_SHARE = 3.0, 0.05
"""A side of the mask may miss its box's by so many pixels, or by this share of the box's longer side."""

_OUTSIDE = 1.0


def check_masks(tables: Tables, sizes: NDArray[np.int32]) -> Iterator[Finding]:
    """Findings about the masks of a split.

    Args:
        tables: the split.
        sizes: (M, 2) (H, W) of the images; 0, 0 where nobody knows.
    """
    objects = tables.objects
    for row in np.flatnonzero(objects.masked | objects.ignore).tolist():
        text = tables.details.text(*objects.spans[row].tolist())
        if f'"{MASK_FILE}"'.encode() in text:
            continue  # boxes of label images come from the masks themselves
        entry = tables.object_entry(row)
        segmentation = entry.get("segmentation")
        if entry.get("iscrowd") and not isinstance(segmentation, dict):
            what = "a crowd with polygons" if segmentation else "a crowd without a mask"
            yield about(tables, row, "crowd-without-rle", what)
        height, width = sizes[objects.images[row]].tolist()
        if segmentation and height:
            yield from _about_mask(tables, row, usable_segmentation(segmentation), (height, width))


def _about_mask(tables: Tables, row: int, segmentation: Any, size: tuple[int, int]) -> Iterator[Finding]:
    if isinstance(segmentation, dict) and segmentation["size"] != list(size):
        what = f"run lengths for {segmentation['size']}, but the image has {list(size)} (H, W)"
        yield about(tables, row, "mask-size-differs", what)
        return
    try:
        box = _mask_box(segmentation)
    except (DataError, ValueError, TypeError, OverflowError) as error:
        yield about(tables, row, "value-malformed", f"a mask that cannot be decoded ({error})")
        return
    if box is None:
        yield about(tables, row, "mask-empty", "no pixel is part of the mask")
        return
    own = tables.objects.boxes[row]
    limits = np.asarray([size[1], size[0], size[1], size[0]], np.float64)
    off = float(np.abs(np.clip(own, 0, limits) - np.clip(box, 0, limits)).max())
    if off > max(FIT_PIXELS, FIT_SHARE * float((own[2:] - own[:2]).max())):
        yield about(tables, row, "mask-box-differs", f"the mask's sides are up to {off:.0f} pixels from the box's")


def _mask_box(segmentation: Any) -> NDArray[np.float64] | None:
    """(4,) xyxy around a mask; None where it is empty."""
    if segmentation is None:
        return None
    if isinstance(segmentation, dict):
        runs = segmentation
        if isinstance(runs["counts"], list):
            runs = rle.fr_py_objects(runs, *runs["size"])
        x, y, width, height = np.asarray(rle.to_bbox(runs), np.float64).reshape(-1).tolist()
        return np.asarray([x, y, x + width, y + height]) if width and height else None
    if any(len(polygon) % 2 for polygon in segmentation):
        raise DataError("a polygon with an odd number of coordinates")
    points = np.concatenate([np.asarray(polygon, np.float64).reshape(-1, 2) for polygon in segmentation])
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def check_keypoints(tables: Tables, sizes: NDArray[np.int32]) -> Iterator[Finding]:
    """Labelled keypoints that lie outside their images."""
    keypoints = tables.objects.keypoints
    if keypoints is None:
        return
    limits = sizes[tables.objects.images][:, None, ::-1].astype(np.float32)
    points, known = keypoints[..., :2], (limits > 0).all(axis=2)
    beyond = ((points < -_OUTSIDE) | (points > limits + _OUTSIDE)).any(axis=2) & (keypoints[..., 2] > 0) & known
    for row, place in np.argwhere(beyond).tolist():
        x, y = points[row, place].tolist()
        name = tables.keypoint_names[place]
        yield about(tables, row, "keypoint-outside", f"the keypoint {name} lies at x {x:g}, y {y:g}")
