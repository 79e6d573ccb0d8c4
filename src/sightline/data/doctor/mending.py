"""How single boxes and annotations are repaired; ``repair`` says which.

What a repair does not touch stays as it is written, down to the last decimal.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.classes import Size
from sightline.data.box_conventions import CONVENTIONS, SCALED
from sightline.data.boxes import fit_boxes
from sightline.data.coco_masks import decode, encode
from sightline.data.mask_files import MASK_FILE
from sightline.data.records import usable_segmentation

_SAME_AREA = 1e-3
_TINY = 1.001
_BORDER = 1.0
"""Pixels beyond the border up to which keypoints are left alone."""

Boxes = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MendedBoxes:
    """Boxes as they should be.

    Args:
        boxes: (N, 4) xyxy in pixels.
        keep: (N,) bool: those that have an area in their images.
        cases: (N,) bool by code of finding, in which a box was changed or dropped.
    """

    boxes: Boxes
    keep: NDArray[np.bool_]
    cases: Mapping[str, NDArray[np.bool_]]


def mend_boxes(
    boxes: Boxes, sizes: NDArray[np.int64], form: str, convention: str, held: NDArray[np.bool_]
) -> MendedBoxes:
    """Puts boxes right: read in another convention, corners in order, clipped.

    Args:
        boxes: (N, 4) xyxy as written.
        sizes: (N, 2) (H, W) of the image of each.
        form: name of the format.
        convention: the finding that tells of another convention; empty without one.
        held: (N,) boxes of which nobody knows the image's size: they are neither clipped nor dropped.
    """
    limits = sizes.astype(np.float64)
    read = CONVENTIONS[form][convention](boxes, limits) if convention else boxes.copy()
    turned = (read[:, 2:] < read[:, :2]).any(axis=1) & ~held
    ordered = np.concatenate([np.minimum(read[:, :2], read[:, 2:]), np.maximum(read[:, :2], read[:, 2:])], axis=1)
    read[turned] = ordered[turned]
    fitted = fit_boxes(read, sizes)
    moved = (fitted.cases["box-clipped"] | fitted.cases["box-on-border"]) & ~held
    read[moved] = np.clip(read, 0, limits[:, [1, 0, 1, 0]])[moved]
    cases = {code: found & ~held for code, found in fitted.cases.items() if code != "box-reversed"}
    return MendedBoxes(read, fitted.keep | held, cases | {"box-reversed": turned & fitted.keep})


@dataclass(frozen=True, eq=False)
class Case:
    """What is known of an annotation that is to be written.

    Args:
        codes: findings about it.
        convention: as in :func:`mend_boxes`.
        form: name of the format.
        annotated: (H, W) that the source has for the image; 0, 0 where it has none.
        size: (H, W) that the copy has.
        written: (4,) xyxy as written.
        box: (4,) xyxy as it should be.
        keypoints: how many the classes name.
    """

    codes: frozenset[str]
    convention: str
    form: str
    annotated: Size
    size: Size
    written: Boxes
    box: Boxes
    keypoints: int


def mend_entry(entry: Mapping[str, Any], case: Case) -> dict[str, Any]:
    """COCO's entry of an annotation, repaired; without ids of image and class, and without a box that has changed."""
    mended = {key: value for key, value in entry.items() if key not in ("image_id", "category_id", "bbox")}
    if np.array_equal(case.box, case.written):
        mended["bbox"] = entry["bbox"]
    elif _is_of_box(entry):
        x1, y1, x2, y2 = case.box.tolist()
        mended["area"] = (x2 - x1) * (y2 - y1)
    if entry.get("segmentation") or "crowd-without-rle" in case.codes:
        mended["segmentation"] = _mask(entry.get("segmentation"), case)
    if case.codes & {"mask-malformed", "mask-size-differs"}:
        mended.pop(MASK_FILE, None)
    if entry.get("keypoints"):
        mended |= _keypoints(entry["keypoints"], case)
        if not mended["keypoints"]:
            del mended["keypoints"], mended["num_keypoints"]
    return {key: value for key, value in mended.items() if value is not None or key not in ("area", "keypoints")}


def _is_of_box(entry: Mapping[str, Any]) -> bool:
    """Whether the area is that of the box, as it is where there is no mask."""
    area = entry.get("area")
    return area is not None and abs(area - entry["bbox"][2] * entry["bbox"][3]) <= _SAME_AREA * max(1, abs(area))


def _mask(segmentation: Any, case: Case) -> Any:
    mended = usable_segmentation(segmentation) or []
    if case.codes & {"mask-malformed", "mask-size-differs"}:
        mended = []
    if isinstance(mended, list) and case.convention in SCALED:
        mended = [_scaled(polygon, 2, case) for polygon in mended]
    if isinstance(mended, dict) and case.size != case.annotated and mended["size"] == list(case.annotated):
        mended = _on_canvas(mended, case.annotated, case.size)
    if "crowd-without-rle" in case.codes:
        x1, y1, x2, y2 = case.box.tolist()
        mended = encode(decode(mended or [[x1, y1, x2, y1, x2, y2, x1, y2]], case.size))
    return mended


def _scaled(values: list[float], step: int, case: Case) -> list[float]:
    """Coordinates by the factors by which the boxes are off, where they are off too."""
    points = np.asarray(values, np.float64).reshape(-1, step)
    if case.form != "yolo" and np.abs(points[:, :2]).max(initial=0) > _TINY:
        return values
    limits = np.asarray([case.size], np.float64)
    unit = CONVENTIONS[case.form][case.convention](np.ones((1, 4)), limits)[0, :2]
    points[:, :2] *= unit
    flat: list[float] = points.ravel().tolist()
    return flat


def _on_canvas(runs: dict[str, Any], annotated: Size, size: Size) -> dict[str, Any]:
    """Run lengths of an image of another size: cut, or with nothing added at the right and below."""
    mask = decode(runs, annotated)
    canvas = np.zeros(size, np.bool_)
    height, width = min(annotated[0], size[0]), min(annotated[1], size[1])
    canvas[:height, :width] = mask[:height, :width]
    return encode(canvas)


def _keypoints(points: list[float], case: Case) -> dict[str, Any]:
    kept = points[: 3 * case.keypoints]
    if case.convention in SCALED:
        kept = _scaled(kept, 3, case)
    mended: list[float] = []
    for x, y, visibility in zip(kept[::3], kept[1::3], kept[2::3], strict=True):
        inside = -_BORDER <= x <= case.size[1] + _BORDER and -_BORDER <= y <= case.size[0] + _BORDER
        lost = "keypoint-outside" in case.codes and visibility and not inside
        mended += [0, 0, 0] if lost else [x, y, visibility]
    return {"keypoints": mended, "num_keypoints": sum(v > 0 for v in mended[2::3])}


def without_infinities(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry without keys that hold NaN or infinities, which JSON has no words for."""
    try:
        json.dumps(entry, allow_nan=False)
    except ValueError:
        return {key: value for key, value in entry.items() if _is_finite(value)}
    return dict(entry)


def _is_finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_finite(inner) for inner in value.values())
    if isinstance(value, list):
        return all(_is_finite(inner) for inner in value)
    return not isinstance(value, float) or math.isfinite(value)
