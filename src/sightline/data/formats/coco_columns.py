"""COCO's image and annotation entries, chunk by chunk into columns.

Two ways lead to the same columns. Where every entry of a chunk has the types that COCO names, msgspec reads them with
that in mind, 20 times as fast as a check of each value. Where one has not, the chunk is read again entry by entry, each
value is checked, and whatever is not as expected is noted with its place.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from sightline.data.findings import Findings
from sightline.data.formats.coco_values import (
    FARTHEST,
    EntryChecker,
    Row,
    are_triples,
    as_dict,
    is_file_name,
    is_finite,
)
from sightline.data.formats.json_stream import Chunk, invalid

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


class _Unmasked(msgspec.Struct, gc=False):
    """An annotation whose mask is passed over: it is looked at when somebody asks for it."""

    image_id: _Id
    category_id: _Id
    bbox: tuple[float, float, float, float]
    id: _Id | None = None
    area: float | None = None
    iscrowd: Literal[0, 1] | None = None
    difficult: int | bool | None = None
    segmentation: msgspec.Raw = msgspec.Raw(b"null")
    keypoints: list[float] | None = None


class _Annotation(_Unmasked, gc=False):
    """All of an annotation is looked at."""

    segmentation: list[list[float]] | _Runs | None = None  # type: ignore[assignment]  # the text, or what it holds


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
        self._checker = EntryChecker(path, findings)

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
        plain = entries is not None and _are_plain(boxes, areas, entries)
        masked = self._which_masked(chunk, entries) if entries is not None and plain else None
        if entries is None or masked is None:
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
            return [self._checker.masked(entry.segmentation, row) for row, entry in enumerate(entries, chunk.first)]
        views = [memoryview(raw) for raw in map(_MASK, entries)]
        if any(view[0] not in _BEGINNINGS for view in views):
            return None
        masked = [len(view) > _LONGEST_NOTHING or bytes(view) not in _NOTHING for view in views]
        try:
            suspects = [_ONE.decode(self._text_of(chunk, place)) for place in chunk.suspects]
        except msgspec.DecodeError:
            return None
        for place, entry in zip(chunk.suspects, suspects, strict=True):
            masked[place] = self._checker.masked(entry.segmentation, chunk.first + place)
        return masked

    def _text_of(self, chunk: Chunk, place: int) -> bytes:
        start, length = chunk.spans[place].tolist()
        begin = start - chunk.offset + 1
        return chunk.text[begin : begin + length]

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
            entries: list[Any] = json.loads(chunk.text, object_pairs_hook=partial(as_dict, twice=twice))
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
            json.loads(chunk.text[begin : begin + length], object_pairs_hook=partial(as_dict, twice=twice))
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
                self._checker.bad(place, "must be an object { }")

    def _add_checked_images(self, chunk: Chunk) -> None:
        columns = self.images
        spans = []
        for row, entry, place, span in self._objects(chunk):
            image = self._checker.image(entry, place)
            if image is None:
                continue
            number, name, size = image
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
            checked = self._checker.annotation(entry, place, row)
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


def _are_plain(boxes: NDArray[np.float64], areas: NDArray[np.float64], entries: Sequence[Any]) -> bool:
    """Whether all numbers are of a sensible size."""
    if (np.abs(boxes) >= FARTHEST).any() or (areas < 0).any() or (areas >= FARTHEST).any():
        return False
    return all(are_triples(points) and all(map(is_finite, points)) for points in map(_KEYPOINTS, entries) if points)
