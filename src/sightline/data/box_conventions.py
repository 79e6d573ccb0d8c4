"""Sets whose boxes were written in another convention than their format's.

A box may be read in several ways. Where the way of the format makes boxes that leave their images or have no area, and
another way makes nearly all of them fit, the set was written the other way. Opening such a set would drop most of its
boxes; it is refused, and the finding says how the boxes are meant.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from sightline.data.tables import Tables

Boxes = NDArray[np.float64]
"""(N, 4)."""

_FEWEST = 3
"""Boxes that it takes to speak of a convention."""

_WRONG_SHARE, _RIGHT_SHARE = 0.1, 0.98
"""A convention is wrong when more than a tenth of the boxes make no sense, and another is right when nearly all do."""

_TINY, _FEW_PIXELS = 1.001, 4
"""Coordinates up to here may be shares of an image, unless the image itself is that small."""


@dataclass(frozen=True, eq=False)
class Reading:
    """The boxes of a split as they are meant.

    Args:
        boxes: (N, 4) xyxy in pixels.
        sizes: (N, 2) (H, W) of the image of each; 0, 0 where nobody knows.
        code: the finding that tells of another convention; empty where the boxes are written in the format's.
        share: of the boxes that make sense so.
    """

    boxes: Boxes
    sizes: NDArray[np.int32]
    code: str = ""
    share: float = 1.0


def read_boxes(tables: Tables, sizes: NDArray[np.int32]) -> Reading:
    """The boxes of a split in the convention in which they make sense.

    Args:
        tables: the split.
        sizes: (M, 2) (H, W) of the images; 0, 0 where nobody knows, whose boxes are left alone.
    """
    objects = tables.objects
    limits = sizes[objects.images]
    known = (limits > 0).all(axis=1)
    convention = _other_convention(tables.form, objects.boxes[known], limits[known].astype(np.float64))
    if convention is None:
        return Reading(objects.boxes, limits)
    code, share = convention
    boxes = objects.boxes.copy()
    boxes[known] = CONVENTIONS[tables.form][code](boxes[known], limits[known].astype(np.float64))
    return Reading(boxes, limits, code, share)


def as_corners(boxes: Boxes, _: Boxes) -> Boxes:
    """What x, y, width, height were when they are in truth x1, y1, x2, y2."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def as_sizes(boxes: Boxes, _: Boxes) -> Boxes:
    """What x1, y1, x2, y2 were when they are in truth x, y, width, height."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] + boxes[:, :2]], axis=1)


def as_shares(boxes: Boxes, limits: Boxes) -> Boxes:
    """Boxes in 0..1, in pixels."""
    return boxes * limits[:, [1, 0, 1, 0]]


def as_other_side(boxes: Boxes, limits: Boxes) -> Boxes:
    """Boxes whose x was divided by the height and whose y by the width, put right."""
    ratio = (limits[:, 0] / limits[:, 1])[:, None]
    return np.asarray(boxes * np.concatenate([ratio, 1 / ratio, ratio, 1 / ratio], axis=1))


def as_pixels(boxes: Boxes, limits: Boxes) -> Boxes:
    """Pixels that were read as shares of the image, as pixels."""
    return np.asarray(boxes / limits[:, [1, 0, 1, 0]])


def as_corners_of_centres(boxes: Boxes, _: Boxes) -> Boxes:
    """What centre, width, height were when they are in truth x1, y1, x2, y2."""
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


Convention = Callable[[Boxes, Boxes], Boxes]

CONVENTIONS: Mapping[str, Mapping[str, Convention]] = MappingProxyType(
    {
        "coco": {"boxes-are-corners": as_corners, "boxes-are-normalised": as_shares},
        "voc": {"boxes-are-sizes": as_sizes, "boxes-are-normalised": as_shares},
        "csv": {"boxes-are-sizes": as_sizes, "boxes-are-normalised": as_shares},
        "yolo": {
            "boxes-wrong-side": as_other_side,
            "boxes-are-corners": as_corners_of_centres,
            "boxes-are-pixels": as_pixels,
        },
    }
)
"""How boxes (N, 4) are put right, given the sizes (N, 2) of their images, by format and code of finding.

Where two readings make equal sense the first is taken: boxes that are read as pixels always lie in their images.
"""

SCALED = frozenset({"boxes-are-normalised", "boxes-are-pixels", "boxes-wrong-side"})
"""Conventions that differ by a factor a side, which masks and keypoints may share."""


def _other_convention(form: str, boxes: Boxes, limits: Boxes) -> tuple[str, float] | None:
    """Code of the convention in which the boxes make sense, and the share of them that do; None if it is the form's."""
    if len(boxes) < _FEWEST or form not in CONVENTIONS:
        return None
    tiny = _tiny_share(boxes, limits)
    if form != "yolo" and tiny >= _RIGHT_SHARE:
        return "boxes-are-normalised", tiny
    if 1 - _sensible(boxes, limits).mean() <= _WRONG_SHARE:
        return None
    readings = {code: put_right(boxes, limits) for code, put_right in CONVENTIONS[form].items()}
    # Any box fits when it is made as small as a pixel: pixels that were taken for shares are larger.
    shares = {
        code: float(_sensible(read, limits).mean()) - _tiny_share(read, limits) for code, read in readings.items()
    }
    best = max(shares, key=lambda code: shares[code])
    return (best, shares[best]) if shares[best] >= _RIGHT_SHARE else None


def _tiny_share(boxes: Boxes, limits: Boxes) -> float:
    """Share of the boxes that lie within one pixel of the corner, as shares of an image do."""
    return float(((np.abs(boxes).max(axis=1) <= _TINY) & (limits.min(axis=1) > _FEW_PIXELS)).mean())


def _sensible(boxes: Boxes, limits: Boxes) -> NDArray[np.bool_]:
    """Which boxes have an area and lie in their images, give or take a pixel and a hundredth."""
    slack = 1 + 0.01 * limits
    return np.asarray(
        (boxes[:, 2] > boxes[:, 0])
        & (boxes[:, 3] > boxes[:, 1])
        & (boxes[:, 0] >= -slack[:, 1])
        & (boxes[:, 1] >= -slack[:, 0])
        & (boxes[:, 2] <= limits[:, 1] + slack[:, 1])
        & (boxes[:, 3] <= limits[:, 0] + slack[:, 0])
    )
