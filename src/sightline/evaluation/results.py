"""Results files as COCO has them (cocodataset.org/#format-results), read and written: a JSON list, one row a detection.

A file is read in portions. Where all rows of a portion have the types that COCO names, msgspec reads them with that in
mind; else it is read again row by row (``results_checks``), which says what is wrong and where. So half a million rows
take a fraction of a second, and memory holds columns only. Nothing here imports torch.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import numpy as np

from sightline.classes import Classes
from sightline.data.formats.json_stream import invalid
from sightline.errors import DataError
from sightline.evaluation.columns import Floats, Found, Ints, Kind, xywh
from sightline.evaluation.results_checks import (
    KEYS,
    Columns,
    boxes_of_masks,
    checked_rows,
    notes_on,
    places_of_ids,
    require_finite,
    require_keypoints,
)
from sightline.evaluation.truth import TruthOfSplit
from sightline.files import write_atomically

WINDOW = 1 << 18
"""Bytes read at once: what they become stays in the processor's cache."""

_BETWEEN = 256
"""Bytes between two rows that are looked back over for the comma."""

_BOM = b"\xef\xbb\xbf"


class _Row(msgspec.Struct, gc=False):
    image_id: int
    category_id: int
    score: float


class _Box(_Row, gc=False):
    bbox: tuple[float, float, float, float]


_Side = Annotated[int, msgspec.Meta(ge=-(2**63) + 1, le=2**63 - 1)]


class _Runs(msgspec.Struct, gc=False):
    size: tuple[_Side, _Side]
    counts: str


class _Mask(_Row, gc=False):
    segmentation: _Runs


class _Points(_Row, gc=False):
    keypoints: list[float]


_ROWS: dict[Kind, Any] = {"boxes": list[_Box], "masks": list[_Mask], "keypoints": list[_Points]}
_DECODERS: dict[Kind, Any] = {kind: msgspec.json.Decoder(rows) for kind, rows in _ROWS.items()}
_IMAGE, _CATEGORY, _SCORE, _BBOX = (attrgetter(name) for name in ("image_id", "category_id", "score", "bbox"))
_POINTS = attrgetter("keypoints")


@dataclass(frozen=True, eq=False)
class Results:
    """What a results file holds for a split.

    Args:
        found: the detections.
        kind: what they are judged by.
        without: images of the split without a row: they count as images in which nothing was found.
        notes: sentences on what looks wrong, though it can be judged.
    """

    found: Found
    kind: Kind
    without: int
    notes: tuple[str, ...] = ()


def kinds_of(path: Path) -> tuple[Kind, ...]:
    """What the first row of a results file holds, boxes first; boxes where the file has no rows.

    Raises:
        DataError: no such file, no JSON, or no list of objects.
    """
    with _opened(path) as file:
        text = file.read(WINDOW).removeprefix(_BOM).lstrip()
        _require_list(path, text)
        while True:
            inside = text[1:].lstrip()
            if inside[:1] == b"]":
                return ("boxes",)
            try:
                row, _ = json.JSONDecoder().raw_decode(inside.decode(errors="ignore"))
                break
            except json.JSONDecodeError as error:
                more = file.read(len(text))
                if not more:
                    raise invalid(path, error.msg, len(text) - len(inside) + error.pos) from error
                text += more
    held = tuple(kind for kind, key in KEYS.items() if isinstance(row, dict) and row.get(key) not in (None, []))
    if not held:
        keys = f"it has {', '.join(map(repr, row))}" if isinstance(row, dict) and row else "it is no object { }"
        raise DataError(
            f"the first row has nothing that can be judged; {keys}",
            place=f"{path}, row 0",
            cure="give COCO results: rows with image_id, category_id, score, and bbox, segmentation or keypoints",
        )
    return held


def read_results(path: Path, split: TruthOfSplit, kind: Kind) -> Results:
    """The results of a split.

    Args:
        path: the file.
        split: what they are results of.
        kind: what is judged; rows must hold it.

    Raises:
        DataError: a file that cannot be used: names the row, the likely cause and the cure.
    """
    columns = _columns(path, kind)
    require_finite(path, columns, kind)
    places, labels = places_of_ids(path, split, columns)
    order = _best_first(places, columns.scores, split.truth.count)
    images = places[order]
    found = Found(split.truth.count, images, labels[order], np.zeros((0, 4)), columns.scores[order])
    if kind == "boxes":
        found = _with_boxes(found, columns.numbers[order])
    elif kind == "masks":
        boxes = boxes_of_masks(path, split, columns.masks, places)
        found = replace(_with_boxes(found, boxes[order]), segmentations=[columns.masks[row] for row in order.tolist()])
    else:
        points = require_keypoints(path, split, columns.numbers)[order]
        found = replace(_with_boxes(found, _boxes_around(points)), keypoints=points)
    without = int((np.bincount(images, minlength=split.truth.count) == 0).sum())
    return Results(found, kind, without, notes_on(found, split, kind))


def _best_first(images: Ints, scores: Floats, count: int) -> Ints:
    """Rows by image, best first; equal scores in the order of the file."""
    order = np.argsort(-scores, kind="stable")
    small = images.astype(np.uint16) if count <= np.iinfo(np.uint16).max else images  # these are sorted by counting
    return order[np.argsort(small[order], kind="stable")]


def _with_boxes(found: Found, boxes: Floats) -> Found:
    corners = boxes.copy()
    corners[:, 2:] += corners[:, :2]
    return replace(found, boxes=corners, sides=boxes[:, 2:])


def _boxes_around(points: Floats) -> Floats:
    """(N, 4) x, y, width, height of the box around all keypoints of a detection."""
    least, most = points[:, :, :2].min(axis=1, initial=np.inf), points[:, :, :2].max(axis=1, initial=-np.inf)
    return np.concatenate([least, most - least], axis=1) if points.shape[1] else np.zeros((len(points), 4))


def save_results(path: Path, found: Found, image_ids: Sequence[int], classes: Classes) -> None:
    """Write detections as COCO results, in one move.

    Args:
        path: the file to make or replace.
        found: the detections.
        image_ids: of the images.
        classes: give the original category ids.

    Raises:
        ValueError: ids of more or fewer images.
        OSError: the file cannot be written.
    """
    if len(image_ids) != found.count:
        raise ValueError(f"detections of {found.count} images, but {len(image_ids)} image ids")
    write_atomically(path, msgspec.json.encode(list(_written(found, image_ids, classes))).decode())


def _written(found: Found, image_ids: Sequence[int], classes: Classes) -> Iterator[dict[str, Any]]:
    columns = found.images.tolist(), found.labels.tolist(), xywh(found).tolist(), found.scores.tolist()
    for row, (image, label, box, score) in enumerate(zip(*columns, strict=True)):
        entry = {"image_id": image_ids[image], "category_id": classes.ids[label], "bbox": box, "score": score}
        if found.segmentations is not None:
            entry["segmentation"] = found.segmentations[row]
        if found.keypoints is not None:
            entry["keypoints"] = found.keypoints[row].reshape(-1).tolist()
        yield entry


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        cause = "a folder, not a file" if path.is_dir() else None
        what = f"the results file cannot be read ({error.strerror})"
        raise DataError(what, place=path, cause=cause, cure="give the JSON file of the results") from error


def _require_list(path: Path, text: bytes) -> None:
    if text[:1] == b"[":
        return
    if not text:
        raise DataError("the file is empty", place=path, cause="an interrupted copy", cure="write the results again")
    if text[:1] != b"{":
        raise invalid(path, "expected an opening bracket", 0)
    whole = any(f'"{key}"'.encode() in text for key in ("annotations", "images", "categories"))
    raise DataError(
        "a results file is a list [ ], but this is an object { }",
        place=path,
        cause="it is an annotation file" if whole else None,
        cure="give a list of rows with image_id, category_id, score, and bbox, segmentation or keypoints",
    )


def _columns(path: Path, kind: Kind) -> Columns:
    """All rows of a file."""
    first, parts = 0, [_arrays([], kind)]
    try:
        for text in _portions(path):
            try:
                rows = _DECODERS[kind].decode(text)
                parts.append(_arrays(rows, kind))
            except (msgspec.DecodeError, OverflowError, UnicodeDecodeError):
                rows = _checked(path, json.loads(text), first, kind)
                parts.append(_arrays(rows, kind))
            first += len(rows)
    except (ValueError, RecursionError):  # no JSON, or JSON in which a row's end cannot be told by looking back
        parts = [_arrays(_checked(path, _whole(path), 0, kind), kind)]
    numbers = [part.numbers for part in parts]
    return Columns(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.categories for part in parts]),
        np.concatenate([part.scores for part in parts]),
        numbers=np.concatenate(numbers) if kind == "boxes" else list(chain.from_iterable(numbers)),
        masks=[mask for part in parts for mask in part.masks],
    )


def _checked(path: Path, rows: list[Any], first: int, kind: Kind) -> list[Any]:
    clean: list[Any] = msgspec.convert(checked_rows(path, rows, first, kind), _ROWS[kind])
    return clean


def _arrays(rows: list[Any], kind: Kind) -> Columns:
    count = len(rows)
    numbers: Any = []
    masks: list[dict[str, Any]] = []
    if kind == "boxes":
        numbers = np.fromiter(chain.from_iterable(map(_BBOX, rows)), np.float64, 4 * count).reshape(-1, 4)
    elif kind == "masks":
        masks = [{"size": list(row.segmentation.size), "counts": row.segmentation.counts} for row in rows]
    else:
        numbers = list(map(_POINTS, rows))
    return Columns(
        np.fromiter(map(_IMAGE, rows), np.int64, count),
        np.fromiter(map(_CATEGORY, rows), np.int64, count),
        np.fromiter(map(_SCORE, rows), np.float64, count),
        numbers,
        masks,
    )


def _portions(path: Path) -> Iterator[bytes]:
    """The rows of a file in portions that end between two rows, each with the brackets of a list around it."""
    with _opened(path) as file:
        text = file.read(WINDOW).removeprefix(_BOM).lstrip()
        _require_list(path, text)
        rest = text[1:]
        while block := file.read(WINDOW):
            rest += block
            cut = _last_row_end(rest)
            if cut:
                yield b"[" + rest[:cut] + b"]"
                rest = rest[rest.index(b",", cut) + 1 :]
        yield b"[" + rest


def _last_row_end(text: bytes) -> int:
    """Behind the last closing brace that a comma and an opening brace follow; 0 where there is none."""
    at = len(text)
    while (at := text.rfind(b"{", 0, at)) > 0:
        before = text[max(0, at - _BETWEEN) : at].rstrip()
        if before.endswith(b",") and before[:-1].rstrip().endswith(b"}"):
            return text.rindex(b"}", 0, at) + 1
    return 0


def _whole(path: Path) -> list[Any]:
    """The file at once, by the reader that says best where it breaks JSON's rules."""
    text = path.read_bytes()
    try:
        rows: list[Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise invalid(path, error.msg, len(error.doc[: error.pos].encode())) from error
    except (ValueError, RecursionError) as error:
        raise invalid(path, str(error), 0) from error
    return rows
