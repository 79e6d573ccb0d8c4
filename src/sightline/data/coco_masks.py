"""COCO's three ways to write a mask (polygons, uncompressed and compressed run lengths) to and from pixels.

hotcoco does the work with the rules of pycocotools; here are the checks that it leaves to its caller. Nothing here
imports torch.
"""

from typing import Any

import numpy as np
from hotcoco import mask as rle
from numpy.typing import NDArray

from sightline.classes import Size
from sightline.errors import DataError

_FARTHEST = 1e5
"""Polygon points beyond this many pixels are refused: rasterising walks along every edge."""


def decode(segmentation: Any, size: Size) -> NDArray[np.bool_]:
    """The mask of one object, (H, W) bool; arguments and errors as :func:`run_lengths`."""
    runs = run_lengths(segmentation, size)
    try:
        return np.ascontiguousarray(rle.decode(runs)).astype(np.bool_)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"the segmentation cannot be decoded ({error})") from error


def run_lengths(segmentation: Any, size: Size) -> dict[str, Any]:
    """The mask of one object as compressed run lengths, ``{"size": [H, W], "counts": ...}``.

    Args:
        segmentation: a list of polygons [x1, y1, x2, y2, ...] in pixels, whose union is the object; or
            ``{"size": [H, W], "counts": ...}`` with run lengths down the columns as a list, or as COCO's string.
        size: (H, W) of the image.

    Raises:
        DataError: not such a thing, or of another image size; the caller knows the place and adds it.
    """
    height, width = size
    try:
        if isinstance(segmentation, dict):
            return _checked_run_lengths(segmentation, size)
        if isinstance(segmentation, list) and segmentation:
            polygons = [_polygon(p) for p in segmentation]
            merged: dict[str, Any] = rle.merge(rle.fr_py_objects(polygons, height, width))
            return merged
        raise DataError("a segmentation must be a list of polygons or a run-length dict")
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"the segmentation cannot be decoded ({error})") from error


def encode(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """The compressed run lengths of a (H, W) mask, ready for JSON: ``{"size": [H, W], "counts": text}``."""
    runs = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in runs["size"]], "counts": runs["counts"].decode("ascii")}


def _polygon(points: Any) -> list[float]:
    if not isinstance(points, list) or len(points) < 6 or len(points) % 2:
        raise DataError("a polygon must be a list of at least three x, y pairs")
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all() or np.abs(values).max() > _FARTHEST:
        raise DataError("a polygon must consist of finite pixel coordinates")
    return points


def _checked_run_lengths(segmentation: dict[str, Any], size: Size) -> dict[str, Any]:
    if segmentation.get("size") != list(size):
        raise DataError(
            f"the run lengths are for an image of size {segmentation.get('size')}, but this one has {list(size)}",
            cause="the image was resized or turned after it was annotated",
        )
    counts = segmentation.get("counts")
    if isinstance(counts, list):
        if not all(type(n) is int and n >= 0 for n in counts) or sum(counts) != size[0] * size[1]:
            raise DataError("run lengths must be whole numbers that add up to the image's pixels")
        runs: dict[str, Any] = rle.fr_py_objects({"size": list(size), "counts": counts}, *size)
        return runs
    if not isinstance(counts, str):
        raise DataError("run lengths must be a list of numbers or COCO's string")
    return {"size": list(size), "counts": counts}
