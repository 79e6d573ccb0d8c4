"""COCO's image and annotation entries, chunk by chunk into columns.

Two ways lead to the same columns. Where every entry of a chunk has the types that COCO names, msgspec reads them with
that in mind, 20 times as fast as a check of each value. Where one has not, the chunk is read again entry by entry, each
value is checked, and whatever is not as expected is noted with its place.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from sightline.data.findings import Findings
from sightline.data.formats.json_stream import Chunk, invalid

_FARTHEST = 1e30
"""Numbers beyond are no coordinates; a float32 holds them still."""


_Id = Annotated[int, msgspec.Meta(ge=-(2**63) + 1, le=2**63 - 1)]
_Side = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class _Image(msgspec.Struct, gc=False):
    id: _Id
    file_name: str
    height: _Side | None = None
    width: _Side | None = None


class _Runs(msgspec.Struct, gc=False):
    size: tuple[_Id, _Id]
    counts: str | list[_Id]


class _Annotation(msgspec.Struct, gc=False):
    """All of an annotation is looked at."""

    image_id: _Id
    category_id: _Id
    bbox: tuple[float, float, float, float]
    id: _Id | None = None
    area: float | None = None
    iscrowd: Literal[0, 1] | None = None
    difficult: int | bool | None = None
    segmentation: list[list[float]] | _Runs | None = None
    keypoints: list[float] | None = None


class _Unmasked(msgspec.Struct, gc=False):
    """The same, but masks are passed over: they are looked at when somebody asks for them."""

    image_id: _Id
    category_id: _Id
    bbox: tuple[float, float, float, float]
    id: _Id | None = None
    area: float | None = None
    iscrowd: Literal[0, 1] | None = None
    difficult: int | bool | None = None
    segmentation: msgspec.Raw = msgspec.Raw(b"null")
    keypoints: list[float] | None = None


_NOTHING = frozenset({b"null", b"[]"})
_LONGEST_NOTHING = 4
_BEGINNINGS = frozenset(b"n[{")
_BOX, _AREA, _ID, _KEYPOINTS = (attrgetter(name) for name in ("bbox", "area", "id", "keypoints"))
_IMAGE_ID, _CATEGORY_ID, _MASK = (attrgetter(name) for name in ("image_id", "category_id", "segmentation"))
_FLAGS = attrgetter("iscrowd", "difficult")
_IMAGES = msgspec.json.Decoder(list[_Image])
_ANNOTATIONS = msgspec.json.Decoder(list[_Annotation])
_ONE = msgspec.json.Decoder(_Annotation)
_UNMASKED = msgspec.json.Decoder(list[_Unmasked])
_WATCHED = {
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation", "keypoints"),
}


class Row(NamedTuple):
    """One annotation as columns need it."""

    image_id: int
    category_id: int
    bbox: tuple[float, ...]
    id: int
    area: float
    ignore: bool
    masked: bool
    keypoints: tuple[float, ...]


@dataclass
class ImageColumns:
    """What was read of the images so far."""

    ids: list[int] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    spans: list[NDArray[np.int64]] = field(default_factory=list)


@dataclass
class ObjectColumns:
    """What was read of the annotations so far, one array a chunk."""

    numbers: list[NDArray[np.int64]] = field(default_factory=list)
    """(n, 5): image_id, category_id, id, ignore, masked."""
    boxes: list[NDArray[np.float64]] = field(default_factory=list)
    areas: list[NDArray[np.float64]] = field(default_factory=list)
    rows: list[NDArray[np.int64]] = field(default_factory=list)
    spans: list[NDArray[np.int64]] = field(default_factory=list)
    keypoints: list[tuple[int, NDArray[np.float32]]] = field(default_factory=list)
    """Row among all that were read, and (3 K) numbers, of the annotations that have any."""
    count: int = 0

    def join_classes(self, joined: Mapping[int, int]) -> None:
        """Gives objects of some category ids other ones."""
        for number, other in joined.items():
            for numbers in self.numbers:
                numbers[numbers[:, 1] == number, 1] = other


class ColumnReader:
    """Reads chunks of one file.

    Args:
        path: of the file, for messages.
        findings: where defects are noted.
    """

    def __init__(self, path: Path, findings: Findings) -> None:
        self.images = ImageColumns()
        self.objects = ObjectColumns()
        self._path = path
        self._findings = findings

    def add_images(self, chunk: Chunk) -> None:
        """Reads a chunk of the list ``images``."""
        entries = self._typed(chunk, _IMAGES)
        if entries is None or not all(is_file_name(entry.file_name) for entry in entries):
            self._add_checked_images(chunk)
            return
        columns = self.images
        columns.ids += [entry.id for entry in entries]
        columns.files += [entry.file_name for entry in entries]
        columns.sizes += [(e.height, e.width) if e.height and e.width else (0, 0) for e in entries]
        columns.rows += range(chunk.first, chunk.first + len(entries))
        columns.spans.append(chunk.spans)

    def add_annotations(self, chunk: Chunk) -> None:
        """Reads a chunk of the list ``annotations``."""
        entries = self._typed(chunk, _ANNOTATIONS if self._findings.thorough else _UNMASKED)
        count = 0 if entries is None else len(entries)
        boxes = np.fromiter(chain.from_iterable(map(_BOX, entries or ())), np.float64, 4 * count).reshape(-1, 4)
        areas = np.asarray([math.nan if area is None else area for area in map(_AREA, entries or ())], np.float64)
        masked = None if entries is None else self._which_masked(chunk, entries)
        if entries is None or masked is None or not _are_plain(boxes, areas, entries):
            self._add_rows(list(self._checked_rows(chunk)))
            return
        numbers = np.empty((count, 5), np.int64)
        numbers[:, 0] = np.fromiter(map(_IMAGE_ID, entries), np.int64, count)
        numbers[:, 1] = np.fromiter(map(_CATEGORY_ID, entries), np.int64, count)
        numbers[:, 2] = [-1 if number is None else number for number in map(_ID, entries)]
        numbers[:, 3] = [crowd == 1 or difficult == 1 for crowd, difficult in map(_FLAGS, entries)]
        numbers[:, 4] = masked
        points = [(place, listed) for place, listed in enumerate(map(_KEYPOINTS, entries)) if listed]
        rows = np.arange(chunk.first, chunk.first + count)
        self._extend(numbers, boxes, areas, rows, chunk.spans, points)

    def _typed(self, chunk: Chunk, decoder: msgspec.json.Decoder[list[Any]]) -> list[Any] | None:
        """The entries, or None where a closer look is needed: other types, or keys that come twice."""
        try:
            entries = decoder.decode(chunk.text)
            if not chunk.text.isascii():  # texts that are passed over were not looked at
                chunk.text.decode()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        count = len(entries)
        watched = _WATCHED[chunk.key] if self._findings.thorough else ()
        twice = any(chunk.text.count(f'"{key}"'.encode()) > count for key in watched)
        return None if twice or count != len(chunk.spans) else entries

    def _which_masked(self, chunk: Chunk, entries: Sequence[Any]) -> list[bool] | None:
        """Which entries have a mask; None where a closer look is needed."""
        if self._findings.thorough:
            return [self._masked(entry.segmentation, row) for row, entry in enumerate(entries, chunk.first)]
        views = [memoryview(raw) for raw in map(_MASK, entries)]
        if any(view[0] not in _BEGINNINGS for view in views):
            return None
        masked = [len(view) > _LONGEST_NOTHING or bytes(view) not in _NOTHING for view in views]
        for place in chunk.suspects:
            start, length = chunk.spans[place].tolist()
            begin = start - chunk.offset + 1
            try:
                entry = _ONE.decode(chunk.text[begin : begin + length])
            except msgspec.DecodeError:
                return None
            masked[place] = self._masked(entry.segmentation, chunk.first + place)
        return masked

    def _masked(self, segmentation: list[list[float]] | _Runs | None, row: int) -> bool:
        if isinstance(segmentation, list):
            short = sum(len(polygon) < 6 for polygon in segmentation)
            if short:
                self._note_short(short, row)
            return len(segmentation) > short
        return segmentation is not None

    def _note_short(self, number: int, row: int) -> None:
        for _ in range(number):
            self._findings.add("polygon-short", "", self._path, f"annotations[{row}].segmentation")

    def _extend(
        self,
        numbers: NDArray[np.int64],
        boxes: NDArray[np.float64],
        areas: NDArray[np.float64],
        rows: NDArray[np.int64],
        spans: NDArray[np.int64],
        keypoints: Sequence[tuple[int, Sequence[float]]],
    ) -> None:
        objects = self.objects
        objects.numbers.append(numbers)
        objects.boxes.append(boxes)
        objects.areas.append(areas)
        objects.rows.append(rows)
        objects.spans.append(spans)
        objects.keypoints += [(objects.count + place, np.asarray(points, np.float32)) for place, points in keypoints]
        objects.count += len(numbers)

    # The closer look.

    def _entries(self, chunk: Chunk) -> list[Any]:
        twice: list[str] = []
        try:
            entries: list[Any] = json.loads(chunk.text, object_pairs_hook=lambda pairs: as_dict(pairs, twice))
        except json.JSONDecodeError as error:
            inside = len(error.doc[: error.pos].encode())
            raise invalid(self._path, error.msg, chunk.offset + inside - 1) from error
        except (ValueError, RecursionError) as error:
            raise invalid(self._path, str(error), chunk.offset) from error
        if twice:
            self._note_twice(chunk)
        return entries

    def _note_twice(self, chunk: Chunk) -> None:
        for place, (start, length) in enumerate(chunk.spans.tolist()):
            begin = start - chunk.offset + 1
            twice: list[str] = []
            json.loads(
                chunk.text[begin : begin + length], object_pairs_hook=lambda pairs, twice=twice: as_dict(pairs, twice)
            )
            for key in twice:
                where = f"{chunk.key}[{chunk.first + place}].{key}"
                self._findings.add(
                    "json-duplicate-key", f"the key '{key}' comes twice; the last one counts", self._path, where
                )

    def _objects(self, chunk: Chunk) -> Iterator[tuple[int, dict[str, Any], str, NDArray[np.int64]]]:
        """Row, entry, place and span of each element that is an object; others are noted."""
        spans = iter(chunk.spans)
        for row, entry in enumerate(self._entries(chunk), chunk.first):
            place = f"{chunk.key}[{row}]"
            span = next(spans) if isinstance(entry, dict | list) else None
            if isinstance(entry, dict) and span is not None:
                yield row, entry, place, span
            else:
                self._bad(place, "must be an object { }")

    def _add_checked_images(self, chunk: Chunk) -> None:
        columns = self.images
        spans = []
        for row, entry, place, span in self._objects(chunk):
            number = self._whole(entry, "id", place)
            name = self._text(entry, "file_name", place)
            size = self._size(entry, place)
            if number is None or name is None or size is None:
                continue
            columns.ids.append(number)
            columns.files.append(name)
            columns.sizes.append(size)
            columns.rows.append(row)
            spans.append(span)
        columns.spans.append(np.asarray(spans, np.int64).reshape(-1, 2))

    def _checked_rows(self, chunk: Chunk) -> Iterator[tuple[int, Row, NDArray[np.int64]]]:
        for row, entry, place, span in self._objects(chunk):
            if "caption" in entry and "bbox" not in entry:
                self._findings.add("caption-ignored", "", self._path, place)
                continue
            checked = self._row(entry, place, row)
            if checked is not None:
                yield row, checked, span

    def _add_rows(self, found: list[tuple[int, Row, NDArray[np.int64]]]) -> None:
        numbers = [(r.image_id, r.category_id, r.id, r.ignore, r.masked) for _, r, _ in found]
        self._extend(
            np.asarray(numbers, np.int64).reshape(-1, 5),
            np.asarray([row.bbox for _, row, _ in found], np.float64).reshape(-1, 4),
            np.asarray([row.area for _, row, _ in found], np.float64),
            np.asarray([number for number, _, _ in found], np.int64),
            np.asarray([span for _, _, span in found], np.int64).reshape(-1, 2),
            [(place, row.keypoints) for place, (_, row, _) in enumerate(found) if row.keypoints],
        )

    def _row(self, entry: dict[str, Any], place: str, number: int) -> Row | None:
        image_id = self._whole(entry, "image_id", place)
        category_id = self._whole(entry, "category_id", place)
        box = self._numbers(entry, "bbox", place, 4)
        own = self._own_id(entry, place)
        crowd = entry.get("iscrowd") or 0
        if crowd not in (0, 1):
            return self._bad(f"{place}.iscrowd", f"must be 0 or 1, got {shortened(crowd)}")
        area = entry.get("area")
        if area is not None and not (is_finite(area) and area >= 0):
            return self._bad(f"{place}.area", f"must be a number of at least 0, got {shortened(area)}", area)
        masked = self._segmentation(entry.get("segmentation"), place, number)
        points = self._keypoints(entry.get("keypoints"), place)
        if image_id is None or category_id is None or box is None or own is None or masked is None or points is None:
            return None
        ignore = bool(crowd) or entry.get("difficult") in (1, True)
        return Row(image_id, category_id, tuple(box), own, math.nan if area is None else area, ignore, masked, points)

    def _own_id(self, entry: dict[str, Any], place: str) -> int | None:
        return -1 if entry.get("id") is None else self._whole(entry, "id", place)

    def _size(self, entry: dict[str, Any], place: str) -> tuple[int, int] | None:
        if not entry.get("height") or not entry.get("width"):
            return 0, 0
        height, width = self._whole(entry, "height", place), self._whole(entry, "width", place)
        if height is None or width is None:
            return None
        if not (1 <= height < 2**31 and 1 <= width < 2**31):
            return self._bad(place, f"height and width must be at least 1, got {height} and {width}")
        return height, width

    def _segmentation(self, value: Any, place: str, row: int) -> bool | None:
        place = f"{place}.segmentation"
        if value is None or value == []:
            return False
        if isinstance(value, dict) and is_runs(value):
            return True
        if isinstance(value, list) and all(isinstance(polygon, list) for polygon in value):
            for number in (n for polygon in value for n in polygon):
                if not _is_number(number) or not math.isfinite(_as_float(number)):
                    return self._bad(place, f"must hold finite numbers, got {shortened(number)}", number)
            return self._masked(value, row)
        return self._bad(place, f"must be a list of polygons or run lengths, got {shortened(value)}")

    def _keypoints(self, value: Any, place: str) -> tuple[float, ...] | None:
        if not value:
            return ()
        place = f"{place}.keypoints"
        if not isinstance(value, list):
            return self._bad(place, f"must be a list of numbers, got {shortened(value)}")
        for number in value:
            if not is_finite(number):
                return self._bad(place, f"must hold finite numbers, got {shortened(number)}", number)
        if not are_triples(value):
            return self._bad(place, "must be x, y, visibility (0, 1 or 2) of each keypoint")
        return tuple(value)

    def _whole(self, entry: dict[str, Any], key: str, place: str) -> int | None:
        value = self._value(entry, key, place)
        if value is _MISSING:
            return None
        if type(value) is not int or abs(value) >= 2**63:
            return self._bad(f"{place}.{key}", f"must be a whole number, got {shortened(value)}", value)
        return value

    def _text(self, entry: dict[str, Any], key: str, place: str) -> str | None:
        value = self._value(entry, key, place)
        if value is _MISSING:
            return None
        if not is_file_name(value):
            return self._bad(f"{place}.{key}", f"must be a text, got {shortened(value)}")
        return str(value)

    def _numbers(self, entry: dict[str, Any], key: str, place: str, length: int) -> list[float] | None:
        value = self._value(entry, key, place)
        if value is _MISSING:
            return None
        where = f"{place}.{key}"
        if not isinstance(value, list) or len(value) != length:
            return self._bad(where, f"must be a list of {length} numbers, got {shortened(value)}")
        for number in value:
            if not is_finite(number):
                return self._bad(where, f"must hold finite numbers, got {shortened(number)}", number)
        return value

    def _value(self, entry: dict[str, Any], key: str, place: str) -> Any:
        if key not in entry:
            self._findings.add("key-missing", f"the key '{key}' is missing", self._path, place)
        return entry.get(key, _MISSING)

    def _bad(self, place: str, what: str, number: Any = None) -> None:
        """Notes a bad value; ``number`` is the one that decides whether it is finite."""
        infinite = _is_number(number) and not is_finite(number)
        self._findings.add("number-not-finite" if infinite else "value-malformed", what, self._path, place)


_MISSING: Any = object()


def _are_plain(boxes: NDArray[np.float64], areas: NDArray[np.float64], entries: Sequence[Any]) -> bool:
    """Whether all numbers are of a sensible size."""
    if (np.abs(boxes) >= _FARTHEST).any() or (areas < 0).any() or (areas >= _FARTHEST).any():
        return False
    return all(are_triples(points) and all(map(is_finite, points)) for points in map(_KEYPOINTS, entries) if points)


def is_file_name(value: Any) -> bool:
    """Whether a JSON value is a text that can name a file."""
    if not isinstance(value, str) or not value or "\0" in value:
        return False
    if value.isascii():
        return True
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def is_finite(value: Any) -> bool:
    """Whether a JSON value is a number that a float32 can hold."""
    # A JSON integer may be larger than any float; bool is a number to Python but not to COCO.
    return type(value) in (int, float) and -_FARTHEST < value < _FARTHEST


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def is_runs(value: dict[str, Any]) -> bool:
    """Whether a JSON object has the form of COCO's run lengths."""
    size, counts = value.get("size"), value.get("counts")
    return (
        isinstance(size, list)
        and len(size) == 2
        and all(type(n) is int and abs(n) < 2**63 for n in size)
        and (
            isinstance(counts, str)
            or (isinstance(counts, list) and all(type(n) is int and abs(n) < 2**63 for n in counts))
        )
    )


def are_triples(points: Sequence[float]) -> bool:
    """Whether numbers are x, y, visibility of keypoints."""
    return len(points) % 3 == 0 and all(v in (0, 1, 2) for v in points[2::3])


def shortened(value: Any) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def as_dict(pairs: list[tuple[str, Any]], twice: list[str]) -> dict[str, Any]:
    """A JSON object from its pairs; keys that come again are added to ``twice``."""
    entry = dict(pairs)
    if len(entry) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                twice.append(key)
            seen.add(key)
    return entry
