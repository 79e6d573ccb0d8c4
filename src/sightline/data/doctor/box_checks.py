"""What is wrong with boxes: each by itself, two of one object, and all of a set together (``box_conventions``)."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from sightline.data.box_conventions import SCALED, Boxes, Reading
from sightline.data.boxes import fit_boxes
from sightline.data.findings import Finding
from sightline.data.formats.label_images import mask_of, plain_entry
from sightline.data.tables import Tables

ABSURD_ASPECT = 30.0
"""Longer side over shorter side from which a box is looked at; a knife in COCO has 21."""

TINY_SIDE = 2.0
"""Pixels of a side up to which a box is looked at."""

SAME_OVERLAP = 0.95
"""Overlap (IoU) from which two boxes of one class in one image are one annotation twice."""

_SAME_PIXELS = 1.0
"""Pixels by which keypoints of one annotation twice may differ."""

_TILE = 1024
"""Boxes that are compared with others at a time."""


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
    yield from _shapes(tables, rows[fitted.keep], fitted.boxes[fitted.keep].astype(np.float64))


def about(tables: Tables, row: int, code: str, what: str) -> Finding:
    """A finding about one object."""
    file, where = tables.locate_object(row)
    return Finding(code, what, file, where, _image(tables, row), row=row)


def _image(tables: Tables, row: int) -> str:
    return str(tables.image_path(int(tables.objects.images[row])))


def _shown(box: Boxes, limit: Boxes) -> str:
    x1, y1, x2, y2 = (f"{value:g}" for value in box.round(2))
    return f"x {x1} to {x2}, y {y1} to {y2} in an image {limit[1]:.0f} wide and {limit[0]:.0f} high"


def _shapes(tables: Tables, rows: NDArray[np.int64], boxes: Boxes) -> Iterator[Finding]:
    """Boxes that nobody draws on purpose."""
    sides = boxes[:, 2:] - boxes[:, :2]
    short, long = sides.min(axis=1, initial=np.inf), sides.max(axis=1, initial=0)
    for code, cases in {"box-tiny": short <= TINY_SIDE, "box-aspect": long > ABSURD_ASPECT * short}.items():
        for place in np.flatnonzero(cases).tolist():
            width, height = sides[place].tolist()
            yield about(tables, int(rows[place]), code, f"a box {width:g} wide and {height:g} high")


# Duplicates.


def check_duplicates(tables: Tables, reading: Reading) -> Iterator[Finding]:
    """Annotations of one class in one image with nearly the same box, mask and keypoints as one that stays.

    Args:
        tables: the split; its crowds are left out.
        reading: its boxes, as :func:`read_boxes` gave them, and the sizes of its images.
    """
    for rows in _by_image_and_class(tables):
        gone: set[int] = set()
        for firsts, row in _pairs(reading.boxes, rows):
            stay = (first for first in firsts if first not in gone)
            found = next((first for first in stay if _same_shape(tables, reading, first, row)), None)
            if found is not None:
                gone.add(row)
                where = tables.locate_object(found)[1]
                yield about(tables, row, "annotation-duplicate", f"the same class and box as {where}")


def _pairs(boxes: Boxes, rows: NDArray[np.int64]) -> Iterator[tuple[list[int], int]]:
    """Rows of boxes that nearly equal some before them, with those."""
    for start in range(0, len(rows), _TILE):
        stop = min(start + _TILE, len(rows))
        same = _overlap(boxes[rows[:stop]], boxes[rows[start:stop]]) >= SAME_OVERLAP
        same &= np.arange(stop)[:, None] < np.arange(start, stop)[None, :]
        for place in np.flatnonzero(same.any(axis=0)).tolist():
            yield rows[np.flatnonzero(same[:, place])].tolist(), int(rows[start + place])


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


def _same_shape(tables: Tables, reading: Reading, first: int, second: int) -> bool:
    """Whether masks and keypoints agree too, where both have some: a ring and what it holds share a box and no mask."""
    exact = reading.code in SCALED
    if not _same_points(tables, first, second, 0.0 if exact else _SAME_PIXELS):
        return False
    if not (tables.objects.masked[first] and tables.objects.masked[second]):
        return True
    one, other = (plain_entry(tables, row) for row in (first, second))
    height, width = reading.sizes[second].tolist()
    if exact or not (height and width):
        return bool(one.get("segmentation") == other.get("segmentation"))
    masks = [mask_of(entry, (height, width)) for entry in (one, other)]
    if masks[0] is None or masks[1] is None:
        return bool(one.get("segmentation") == other.get("segmentation"))
    union = int((masks[0] | masks[1]).sum())
    return not union or int((masks[0] & masks[1]).sum()) >= SAME_OVERLAP * union


def _same_points(tables: Tables, first: int, second: int, slack: float) -> bool:
    keypoints = tables.objects.keypoints
    if keypoints is None:
        return True
    one, other = keypoints[first], keypoints[second]
    if not (one[:, 2].any() and other[:, 2].any()):
        return True
    known = one[:, 2] > 0
    near = np.abs(one[known, :2] - other[known, :2]).max(initial=0) <= slack
    return bool(near) and bool((one[:, 2] == other[:, 2]).all())
