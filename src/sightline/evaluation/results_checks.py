"""What can be wrong with a results file, said with the row, the likely cause and the cure."""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hotcoco import mask as run_lengths
from numpy.typing import NDArray

from sightline.data.class_shift import shift_of
from sightline.data.coco_masks import run_lengths as runs_of
from sightline.data.formats.coco_values import FARTHEST, is_runs, shortened
from sightline.errors import DataError
from sightline.evaluation.columns import Floats, Found, Ints, Kind
from sightline.evaluation.truth import TruthOfSplit, split_with

KEYS: Mapping[Kind, str] = {"boxes": "bbox", "masks": "segmentation", "keypoints": "keypoints"}
"""The key of a row that holds what is judged."""

_COUNTS = re.compile("[0-o]*")
"""The signs of COCO's run lengths."""

_LONGEST_TABLE = 1 << 22
"""Span of ids up to which they are looked up in a table, which is faster than a search."""

_WRITE = "correct the program that wrote the results"
_NOT_A_NUMBER = "a division by zero or a training that diverged"
_BEYOND, _SLIP, _LOOKED_AT = 0.5, 2, 10_000
"""Share of the boxes that reach so many pixels beyond their images from which they look like corners; and how many of
all are looked at."""


@dataclass(frozen=True, eq=False)
class Columns:
    """The rows of a file, in its order.

    Args:
        images: (N,) image ids.
        categories: (N,) category ids.
        scores: (N,).
        numbers: (N, 4) x, y, width, height, or a list of N lists with the keypoints; empty where masks are judged.
        masks: N run lengths; empty where boxes or keypoints are judged.
    """

    images: Ints
    categories: Ints
    scores: Floats
    numbers: Any
    masks: list[dict[str, Any]]


def checked_rows(path: Path, rows: list[Any], first: int, kind: Kind) -> list[dict[str, Any]]:
    """Rows as msgspec would read them.

    Args:
        path: the file, for messages.
        rows: neighbouring elements of its list.
        first: number of the first of them.
        kind: what is judged.

    Raises:
        DataError: the first row that is not as it should be.
    """
    return [_checked(row, f"{path}, row {number}", kind) for number, row in enumerate(rows, first)]


def _checked(row: Any, place: str, kind: Kind) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"must be an object {{ }}, got {shortened(row)}", place=place, cure=_WRITE)
    clean: dict[str, Any] = {key: _whole(row, key, place) for key in ("image_id", "category_id")}
    clean["score"] = _number(_value(row, "score", place), f"{place}, score")
    key = KEYS[kind]
    other = next((name for name, held in KEYS.items() if held in row and row[held] not in (None, [])), None)
    if row.get(key) in (None, []):
        cure = _WRITE if other is None else f"judge what the rows hold, with --task {other}"
        raise DataError(f"the row has no {key}", place=place, cure=cure)
    return clean | {key: _judged(row[key], f"{place}, {key}", kind)}


def _judged(value: Any, place: str, kind: Kind) -> Any:
    if kind == "masks":
        if isinstance(value, dict) and is_runs(value):
            return _runs(value, place)
        raise DataError(
            f"must be run lengths with size and counts, got {shortened(value)}",
            place=place,
            cure="write masks as COCO's run lengths: pycocotools.mask.encode makes them, counts decoded to text",
        )
    count = 4 if kind == "boxes" else 3
    if not isinstance(value, list) or (len(value) != count if kind == "boxes" else len(value) % count):
        form = "a list of x, y, width, height" if kind == "boxes" else "a list of x, y, score of each keypoint"
        raise DataError(f"must be {form}, got {shortened(value)}", place=place, cure=_WRITE)
    return tuple(_number(number, place) for number in value)


def _runs(value: dict[str, Any], place: str) -> dict[str, Any]:
    height, width = value["size"]
    try:
        runs = runs_of(value, (height, width))
    except DataError as error:
        raise DataError(error.what, place=place, cause=error.cause, cure=_WRITE) from error
    counts = runs["counts"]
    return {"size": [height, width], "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts}


def _value(row: dict[str, Any], key: str, place: str) -> Any:
    if key not in row:
        there = f"; it has {', '.join(map(repr, row))}" if row else ""
        raise DataError(f"the key '{key}' is missing{there}", place=place, cure=_WRITE)
    return row[key]


def _whole(row: dict[str, Any], key: str, place: str) -> int:
    value = _value(row, key, place)
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or abs(value) >= 2**63:
        cause = "a name or file name in place of the id" if isinstance(value, str) else None
        what = f"must be a whole number, got {shortened(value)}"
        raise DataError(what, place=f"{place}, {key}", cause=cause, cure=_WRITE)
    return value


def _number(value: Any, place: str) -> float:
    if type(value) not in (int, float):
        raise DataError(f"must be a number, got {shortened(value)}", place=place, cure=_WRITE)
    if not math.isfinite(value):
        raise DataError(f"must be a finite number, got {value}", place=place, cause=_NOT_A_NUMBER, cure=_WRITE)
    return float(value)


def require_finite(path: Path, columns: Columns, kind: Kind) -> None:
    """Refuses scores that are no finite numbers, and boxes that are none or have a negative side.

    Raises:
        DataError: names the first such row.
    """
    wrong = ~np.isfinite(columns.scores)
    _refuse(path, wrong, columns.scores, "score must be a finite number", _NOT_A_NUMBER)
    if kind != "boxes":
        return
    boxes = columns.numbers
    if not -FARTHEST < boxes.min(initial=0) <= boxes.max(initial=0) < FARTHEST:  # faster than a look at each row
        sound = (np.abs(boxes) < FARTHEST).all(axis=1)
        _refuse(path, ~sound, boxes, "bbox must hold finite numbers of a sensible size", _NOT_A_NUMBER)
    if boxes[:, 2:].min(initial=0) < 0:
        cause = "corners that were subtracted the wrong way round"
        _refuse(path, (boxes[:, 2:] < 0).any(axis=1), boxes, "bbox has a width or height below 0", cause)


def _refuse(path: Path, wrong: NDArray[np.bool_], values: NDArray[Any], what: str, cause: str) -> None:
    rows = np.flatnonzero(wrong)
    if len(rows):
        more = f" (and {len(rows) - 1:,} rows more like it)" if len(rows) > 1 else ""
        value = shortened(values[rows[0]].tolist())
        raise DataError(f"{what}, got {value}{more}", place=f"{path}, row {rows[0]}", cause=cause, cure=_WRITE)


def places_of_ids(path: Path, split: TruthOfSplit, columns: Columns) -> tuple[Ints, Ints]:
    """The place of each row's image in the split, and its label.

    Raises:
        DataError: an image or a category that the split does not have.
    """
    images, known = _look_up(columns.images, np.asarray(split.image_ids, np.int64))
    if not known.all():
        raise _unknown_image(path, split, columns.images, known)
    labels, known = _look_up(columns.categories, np.asarray(split.classes.ids, np.int64))
    if not known.all():
        raise _unknown_category(path, split, columns.categories, known)
    return images, labels


def _look_up(values: Ints, ids: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """The place of each value among ids, and whether it is there."""
    least = int(ids.min())
    if int(ids.max()) - least >= _LONGEST_TABLE:
        order = np.argsort(ids, kind="stable")
        rows = order[np.minimum(np.searchsorted(ids, values, sorter=order), len(ids) - 1)]
        return rows, ids[rows] == values
    table = np.full(int(ids.max()) - least + 2, -1, np.int64)  # the last place is for values beyond
    table[ids - least] = np.arange(len(ids))
    inside = (values >= least) & (values <= ids.max())
    rows = table[np.where(inside, values - least, -1)]
    return rows, rows >= 0


def _unknown_image(path: Path, split: TruthOfSplit, values: Ints, known: NDArray[np.bool_]) -> DataError:
    unknown = set(values[~known].tolist())
    other = split_with(split.path, unknown, but=split.split)
    ids = np.asarray(split.image_ids, np.int64)
    if other is not None:
        cause, cure = f"results of the split '{other}'", f"judge them with --split {other}"
    else:
        shift = next((n for n in (1, -1) if np.isin(values + n, ids).all()), 0)
        cause = f"image ids that are shifted by {-shift}" if shift else "results of another set, or of another split"
        cure = f"add {shift} to every image_id" if shift else "give the annotations that the results were made for"
    where, what = _first_unknown(path, values, known)
    text = f"there is no image with the id {what} in the split '{split.split}', whose ids are {_range(ids)}"
    return DataError(text + _of_how_many(known), place=where, cause=cause, cure=cure)


def _unknown_category(path: Path, split: TruthOfSplit, values: Ints, known: NDArray[np.bool_]) -> DataError:
    listed = np.asarray(split.classes.ids, np.int64)
    shift = shift_of(Counter(values.tolist()), split.classes.ids)
    cause, cure = "results of a model with other classes", "write the ids of the annotations' categories"
    if shift:
        cause, cure = f"category ids that are shifted by {-shift}", f"add {shift} to every category_id"
    elif values.min() >= 0 and values.max() <= len(listed):
        cause = "the place of the class in the list instead of its id"
    where, what = _first_unknown(path, values, known)
    text = f"there is no category with the id {what}; the set has {len(listed)}, with ids {_range(listed)}"
    return DataError(text + _of_how_many(known), place=where, cause=cause, cure=cure)


def _first_unknown(path: Path, values: Ints, known: NDArray[np.bool_]) -> tuple[str, int]:
    row = int(np.argmin(known))
    return f"{path}, row {row}", int(values[row])


def _of_how_many(known: NDArray[np.bool_]) -> str:
    return f" ({int((~known).sum()):,} of {len(known):,} rows have such ids)"


def _range(ids: Ints) -> str:
    return f"{ids.min()} to {ids.max()}"


def boxes_of_masks(path: Path, split: TruthOfSplit, masks: list[dict[str, Any]], images: Ints) -> Floats:
    """(N, 4) x, y, width, height of the box around each mask.

    Args:
        path: the file, for messages.
        split: has the sizes of the images.
        masks: run lengths.
        images: (N,) place of each mask's image.

    Raises:
        DataError: run lengths that are none, or of another size than their image.
    """
    if not masks:
        return np.zeros((0, 4))
    sizes = np.asarray([mask["size"] for mask in masks], np.int64)
    due = np.zeros_like(sizes) if split.truth.sizes is None else split.truth.sizes[images]
    wrong = np.flatnonzero((sizes != due).any(axis=1))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"the mask has the size {sizes[row].tolist()} (H, W), but its image {due[row].tolist()}",
            place=f"{path}, row {row}",
            cause="masks of the resized image, or width and height swapped",
            cure="write masks in pixels of the image itself",
        )
    for row, mask in enumerate(masks):
        if not _COUNTS.fullmatch(mask["counts"]):
            raise _broken_mask(path, row, "signs that are none of COCO's")
    try:
        boxes: Floats = run_lengths.to_bbox(masks)
    except ValueError:
        for row, mask in enumerate(masks):
            try:
                run_lengths.to_bbox(mask)
            except ValueError as error:
                raise _broken_mask(path, row, str(error)) from error
        raise
    return boxes


def _broken_mask(path: Path, row: int, why: str) -> DataError:
    return DataError(
        f"the run lengths cannot be read ({why})",
        place=f"{path}, row {row}",
        cause="a text that was cut or changed, or counts of another size",
        cure=_WRITE,
    )


def require_keypoints(path: Path, split: TruthOfSplit, points: list[list[float]]) -> Floats:
    """(N, K, 3) x, y, score.

    Raises:
        DataError: a row with another number of keypoints than the set's, or a number that is not finite.
    """
    count = 0 if split.truth.keypoints is None else split.truth.keypoints.shape[1]
    lengths = np.asarray([len(listed) for listed in points], np.int64)
    wrong = np.flatnonzero(lengths != 3 * count)
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{lengths[row]} numbers, but the set's {count} keypoints have {3 * count}: x, y, score of each",
            place=f"{path}, row {row}, keypoints",
            cure=_WRITE,
        )
    table = np.asarray(points, np.float64).reshape(-1, count, 3)
    sound = np.asarray((np.abs(table) < FARTHEST).all(axis=(1, 2)), np.bool_)
    _refuse(path, ~sound, table, "keypoints must be finite numbers", _NOT_A_NUMBER)
    return table


def notes_on(found: Found, split: TruthOfSplit, kind: Kind) -> tuple[str, ...]:
    """What looks wrong, though it can be judged."""
    if not len(found):
        return ()
    notes = [] if kind != "boxes" else [_note_on_boxes(found, split)]
    low, high = float(found.scores.min()), float(found.scores.max())
    if low < 0 or high > 1:
        notes.append(f"scores reach from {low:g} to {high:g}, not from 0 to 1: calibration is not measured")
    return tuple(note for note in notes if note)


def _note_on_boxes(found: Found, split: TruthOfSplit) -> str:
    sizes = split.truth.sizes
    if sizes is None or not (sizes > 0).all():
        return ""
    if found.boxes.max() <= _SLIP < sizes.min():
        return "no box reaches beyond 2 pixels: COCO's bbox is in pixels, and these look like shares of the image"
    some = slice(None, None, 1 + len(found) // _LOOKED_AT)
    beyond = (found.boxes[some, 2:] > sizes[found.images[some]][:, ::-1] + _SLIP).any(axis=1)
    if beyond.mean() < _BEYOND:
        return ""
    return (
        f"{beyond.mean():.0%} of the boxes reach beyond their images: COCO's bbox is x, y, width, height, "
        "and these look like x1, y1, x2, y2"
    )
