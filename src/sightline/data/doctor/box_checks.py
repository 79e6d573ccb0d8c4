"""What is wrong with boxes: each by itself, and all of a set together when it was written in another convention.

A box may be read in several ways. Where the way of the format makes boxes that leave their images or have no area, and
another way makes nearly all of them fit, the set was written the other way. One finding then says so, in place of one a
box.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.boxes import fit_boxes
from sightline.data.findings import Finding
from sightline.data.tables import Tables

ABSURD_ASPECT = 30.0
"""Longer side over shorter side from which a box is looked at; a knife in COCO has 21."""

SAME_OVERLAP = 0.95
"""Overlap (IoU) from which two boxes of one class in one image are one annotation twice."""

_FEWEST = 3
"""Boxes that it takes to speak of a convention."""

_WRONG_SHARE, _RIGHT_SHARE = 0.1, 0.98
"""A convention is wrong when more than a tenth of the boxes make no sense, and another is right when nearly all do."""

_TINY, _FEW_PIXELS = 1.001, 4
"""Coordinates up to here may be shares of an image, unless the image itself is that small."""

_TILE = 1024
"""Boxes that are compared with others at a time."""

Boxes = NDArray[np.float64]


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


def check_boxes(tables: Tables, reading: Reading) -> Iterator[Finding]:
    """Findings about the boxes of a split, as :func:`read_boxes` gave them."""
    rows = np.flatnonzero((reading.sizes > 0).all(axis=1))
    if reading.code:
        what = f"{reading.share:.0%} of {len(rows):,} boxes fit their images only when they are read so"
        yield Finding(reading.code, what, str(tables.source), image=_image(tables, int(rows[0])), row=int(rows[0]))
    boxes, limits = reading.boxes[rows], reading.sizes[rows].astype(np.float64)
    fitted = fit_boxes(boxes, reading.sizes[rows])
    for code, cases in fitted.cases.items():
        for place in np.flatnonzero(cases).tolist():
            yield about(tables, int(rows[place]), code, _shown(boxes[place], limits[place]))
    yield from _aspects(tables, rows[fitted.keep], fitted.boxes[fitted.keep].astype(np.float64))


def about(tables: Tables, row: int, code: str, what: str) -> Finding:
    """A finding about one object."""
    file, where = tables.locate_object(row)
    return Finding(code, what, file, where, _image(tables, row), row=row)


def _image(tables: Tables, row: int) -> str:
    return str(tables.image_path(int(tables.objects.images[row])))


def _shown(box: Boxes, limit: Boxes) -> str:
    x1, y1, x2, y2 = (f"{value:g}" for value in box.round(2))
    return f"x {x1} to {x2}, y {y1} to {y2} in an image {limit[1]:.0f} wide and {limit[0]:.0f} high"


def _aspects(tables: Tables, rows: NDArray[np.int64], boxes: Boxes) -> Iterator[Finding]:
    sides = boxes[:, 2:] - boxes[:, :2]
    aspect = sides.max(axis=1, initial=0) / np.maximum(sides.min(axis=1, initial=np.inf), 1e-9)
    for place in np.flatnonzero(aspect > ABSURD_ASPECT).tolist():
        width, height = sides[place].tolist()
        yield about(tables, int(rows[place]), "box-aspect", f"a box {width:g} wide and {height:g} high")


# Conventions.


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


# Duplicates.


def check_duplicates(tables: Tables, boxes: Boxes) -> Iterator[Finding]:
    """Annotations of one class in one image that have nearly the same box; crowds are left out.

    Args:
        tables: the split.
        boxes: (N, 4) as :func:`read_boxes` gave them.
    """
    for rows in _by_image_and_class(tables):
        for first, row in _pairs(boxes, rows):
            if _same_mask(tables, first, row):
                where = tables.locate_object(first)[1]
                yield about(tables, row, "annotation-duplicate", f"the same class and box as {where}")


def _pairs(boxes: Boxes, rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Rows of boxes that nearly equal one before them, with the first of those."""
    for start in range(0, len(rows), _TILE):
        stop = min(start + _TILE, len(rows))
        same = _overlap(boxes[rows[:stop]], boxes[rows[start:stop]]) >= SAME_OVERLAP
        same &= np.arange(stop)[:, None] < np.arange(start, stop)[None, :]
        for place in np.flatnonzero(same.any(axis=0)).tolist():
            yield int(rows[int(np.argmax(same[:, place]))]), int(rows[start + place])


def _by_image_and_class(tables: Tables) -> Iterable[NDArray[np.int64]]:
    """Rows of the objects that share image and class, where there are several."""
    objects = tables.objects
    candidates = np.flatnonzero(~objects.ignore)
    key = objects.images[candidates] * max(1, len(tables.categories)) + objects.labels[candidates]
    order = np.argsort(key, kind="stable")
    cuts = np.flatnonzero(np.diff(key[order])) + 1
    return (np.sort(rows) for rows in np.split(candidates[order], cuts) if len(rows) > 1)


def _overlap(boxes: Boxes, others: Boxes) -> NDArray[np.float64]:
    """(N, M) IoU; 0 with boxes that have no area."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    one, other = (np.clip(some[:, 2:] - some[:, :2], 0, None).prod(axis=1) for some in (boxes, others))
    union = one[:, None] + other[None, :] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def _same_mask(tables: Tables, first: int, second: int) -> bool:
    """Whether two objects have the same mask, or one has none: a ring and what it holds share a box and no mask."""
    if not (tables.objects.masked[first] and tables.objects.masked[second]):
        return True
    one, other = (_mask_size(tables.object_entry(row)) for row in (first, second))
    return min(one, other) > 0 and min(one, other) / max(one, other) > SAME_OVERLAP


def _mask_size(entry: dict[str, Any]) -> float:
    area = entry.get("area")
    return float(area) if area is not None else 1.0
