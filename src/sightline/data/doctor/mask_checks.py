"""What is wrong with masks and keypoints: crowds, sizes, emptiness, and masks that do not fit their boxes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from hotcoco import mask as rle
from numpy.typing import NDArray

from sightline.data.box_conventions import SCALED, Reading
from sightline.data.coco_masks import decode
from sightline.data.doctor.box_checks import about
from sightline.data.findings import Finding
from sightline.data.mask_files import MASK_FILE, read_labels
from sightline.data.records import usable_segmentation
from sightline.data.tables import Tables
from sightline.errors import DataError

FIT_PIXELS, FIT_SHARE = 3.0, 0.05
"""A side of the mask may miss its box's by so many pixels, or by this share of the box's longer side."""

_OUTSIDE = 1.0
_THIN = 2.0
"""Pixels; a polygon that is no wider may hold no pixel."""

_FARTHEST = 1e5
"""Pixels beyond which polygons are not drawn."""


def check_masks(tables: Tables, reading: Reading) -> Iterator[Finding]:
    """Findings about the masks of a split.

    Args:
        tables: the split.
        reading: its boxes and the sizes of its images. Where all boxes are off by a factor, their masks may be too, and
            the two are not compared.
    """
    objects = tables.objects
    rows = np.flatnonzero(objects.masked | objects.ignore)
    picture = _Picture("")
    for row, text in zip(rows.tolist(), tables.details.each(objects.spans[rows]), strict=True):
        entry = json.loads(text)
        if MASK_FILE in entry:
            if tables.form == "voc":  # other formats' label images are read with the set
                path, value = entry[MASK_FILE]["path"], entry[MASK_FILE]["value"]
                picture = picture if picture.path == path else _look_at(path)
                yield from _about_value(tables, row, picture, value, reading)
            continue
        segmentation = entry.get("segmentation")
        if tables.form == "coco" and entry.get("iscrowd") and not isinstance(segmentation, dict):
            what = "a crowd with polygons" if segmentation else "a crowd without a mask"
            yield about(tables, row, "crowd-without-rle", what)
        segmentation = usable_segmentation(segmentation)
        if segmentation is not None and reading.sizes[row].all() and reading.code not in SCALED:
            yield from _about_mask(tables, row, segmentation, reading)


@dataclass(frozen=True)
class _Picture:
    """A label image: its size (H, W) and values, or why it cannot be read."""

    path: str
    size: tuple[int, ...] = ()
    values: frozenset[int] = frozenset()
    damage: str = ""


def _look_at(path: str) -> _Picture:
    try:
        labels = read_labels(path)
    except DataError as error:
        return _Picture(path, damage=error.what)
    return _Picture(path, labels.shape, frozenset(np.unique(labels).tolist()))


def _about_value(tables: Tables, row: int, picture: _Picture, value: int, reading: Reading) -> Iterator[Finding]:
    size = tuple(reading.sizes[row].tolist())
    if picture.damage:
        yield about(tables, row, "mask-malformed", f"{picture.path}: {picture.damage}")
    elif all(size) and picture.size != size:
        what = f"{picture.path} has {list(picture.size)}, but the image has {list(size)} (H, W)"
        yield about(tables, row, "mask-size-differs", what)
    elif value not in picture.values:
        yield about(tables, row, "mask-empty", f"no pixel of {picture.path} has the value {value}")


def _about_mask(tables: Tables, row: int, segmentation: Any, reading: Reading) -> Iterator[Finding]:
    height, width = reading.sizes[row].tolist()
    size = height, width
    if isinstance(segmentation, dict) and segmentation["size"] != list(size):
        what = f"run lengths for {segmentation['size']}, but the image has {list(size)} (H, W)"
        yield about(tables, row, "mask-size-differs", what)
        return
    try:
        box = _mask_box(segmentation, size)
    except (DataError, ValueError, TypeError, OverflowError) as error:
        yield about(tables, row, "mask-malformed", getattr(error, "what", None) or str(error))
        return
    if box is None:
        yield about(tables, row, "mask-empty", "no pixel is part of the mask")
        return
    own = reading.boxes[row]
    limits = np.asarray([width, height, width, height], np.float64)
    off = float(np.abs(np.clip(own, 0, limits) - np.clip(box, 0, limits)).max())
    if off > max(FIT_PIXELS, FIT_SHARE * float((own[2:] - own[:2]).max())):
        yield about(tables, row, "mask-box-differs", f"the mask's sides are up to {off:.0f} pixels from the box's")


def _mask_box(segmentation: Any, size: tuple[int, int]) -> NDArray[np.float64] | None:
    """(4,) xyxy around a mask; None where it is empty."""
    if isinstance(segmentation, dict):
        runs = segmentation
        if isinstance(runs["counts"], list):
            if min(runs["counts"], default=0) < 0 or sum(runs["counts"]) != size[0] * size[1]:
                raise DataError("run lengths must be whole numbers that add up to the image's pixels")
            runs = rle.fr_py_objects(runs, *size)
        x, y, width, height = np.asarray(rle.to_bbox(runs), np.float64).reshape(-1).tolist()
        return np.asarray([x, y, x + width, y + height]) if width and height else None
    if any(len(polygon) % 2 for polygon in segmentation):
        raise DataError("a polygon with an odd number of coordinates")
    points = np.concatenate([np.asarray(polygon, np.float64).reshape(-1, 2) for polygon in segmentation])
    if np.abs(points).max() > _FARTHEST:
        raise DataError("a polygon must consist of pixel coordinates")
    if np.ptp(points, axis=0).min() <= _THIN and not decode(segmentation, size).any():
        return None
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def check_keypoints(tables: Tables, reading: Reading) -> Iterator[Finding]:
    """Labelled keypoints that lie outside their images; not where all coordinates are off by a factor."""
    keypoints = tables.objects.keypoints
    if keypoints is None or reading.code in SCALED:
        return
    limits = reading.sizes[:, None, ::-1].astype(np.float32)
    points, known = keypoints[..., :2], (limits > 0).all(axis=2)
    beyond = ((points < -_OUTSIDE) | (points > limits + _OUTSIDE)).any(axis=2) & (keypoints[..., 2] > 0) & known
    for row, place in np.argwhere(beyond).tolist():
        x, y = points[row, place].tolist()
        name = tables.keypoint_names[place]
        yield about(tables, row, "keypoint-outside", f"the keypoint {name} lies at x {x:g}, y {y:g}")
