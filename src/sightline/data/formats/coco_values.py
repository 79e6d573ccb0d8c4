"""COCO's entries, value by value: whatever is not as expected is noted with its place in the file."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sightline.data.findings import Findings

FARTHEST = 1e30
"""Numbers beyond are no coordinates; a float32 holds them still."""


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


class EntryChecker:
    """Looks at the values of one file's entries.

    Args:
        path: of the file, for messages.
        findings: where defects are noted.
    """

    def __init__(self, path: Path, findings: Findings) -> None:
        self._path = path
        self._findings = findings

    def image(self, entry: dict[str, Any], place: str) -> tuple[int, str, tuple[int, int]] | None:
        """Id, file name and (H, W) of an image entry, (0, 0) where it has no size; None where it cannot be used."""
        number = self._whole(entry, "id", place)
        name = self._text(entry, "file_name", place)
        size = self._size(entry, place)
        return None if number is None or name is None or size is None else (number, name, size)

    def annotation(self, entry: dict[str, Any], place: str, number: int) -> Row | None:
        """The values of an annotation entry; None where it cannot be used."""
        image_id = self._whole(entry, "image_id", place)
        category_id = self._whole(entry, "category_id", place)
        box = self._numbers(entry, "bbox", place, 4)
        own = self._own_id(entry, place)
        crowd = entry.get("iscrowd") or 0
        if crowd not in (0, 1):
            self.bad(f"{place}.iscrowd", f"must be 0 or 1, got {shortened(crowd)}")
            return None
        area = entry.get("area")
        if area is not None and box is not None and is_finite(area) and area < 0 and min(box[2:]) < 0:
            area = None  # width times height of a reversed box, which is told by itself
        if area is not None and not (is_finite(area) and area >= 0):
            self.bad(f"{place}.area", f"must be a number of at least 0, got {shortened(area)}", area)
            return None
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
            self.bad(place, f"height and width must be at least 1, got {height} and {width}")
            return None
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
                    self.bad(place, f"must hold finite numbers, got {shortened(number)}", number)
                    return None
            return self.masked(value, row)
        self.bad(place, f"must be a list of polygons or run lengths, got {shortened(value)}")
        return None

    def _keypoints(self, value: Any, place: str) -> tuple[float, ...] | None:
        if not value:
            return ()
        place = f"{place}.keypoints"
        if not isinstance(value, list):
            self.bad(place, f"must be a list of numbers, got {shortened(value)}")
            return None
        for number in value:
            if not is_finite(number):
                self.bad(place, f"must hold finite numbers, got {shortened(number)}", number)
                return None
        if not are_triples(value):
            self.bad(place, "must be x, y, visibility (0, 1 or 2) of each keypoint")
            return None
        return tuple(value)

    def _whole(self, entry: dict[str, Any], key: str, place: str) -> int | None:
        value = self._value(entry, key, place)
        if value is _MISSING:
            return None
        if type(value) is not int or abs(value) >= 2**63:
            self.bad(f"{place}.{key}", f"must be a whole number, got {shortened(value)}", value)
            return None
        return value

    def _text(self, entry: dict[str, Any], key: str, place: str) -> str | None:
        value = self._value(entry, key, place)
        if value is _MISSING:
            return None
        if not is_file_name(value):
            self.bad(f"{place}.{key}", f"must be a text, got {shortened(value)}")
            return None
        return str(value)

    def _numbers(self, entry: dict[str, Any], key: str, place: str, length: int) -> list[float] | None:
        value = self._value(entry, key, place)
        if value is _MISSING:
            return None
        where = f"{place}.{key}"
        if not isinstance(value, list) or len(value) != length:
            self.bad(where, f"must be a list of {length} numbers, got {shortened(value)}")
            return None
        for number in value:
            if not is_finite(number):
                self.bad(where, f"must hold finite numbers, got {shortened(number)}", number)
                return None
        return value

    def _value(self, entry: dict[str, Any], key: str, place: str) -> Any:
        if key not in entry:
            self._findings.add("key-missing", f"the key '{key}' is missing", self._path, place)
        return entry.get(key, _MISSING)

    def bad(self, place: str, what: str, number: Any = None) -> None:
        """Notes a bad value; ``number`` is the one that decides whether it is finite."""
        infinite = _is_number(number) and not is_finite(number)
        self._findings.add("number-not-finite" if infinite else "value-malformed", what, self._path, place)

    def masked(self, segmentation: Any, row: int) -> bool:
        """Whether a mask has anything usable; polygons of fewer than three points are noted."""
        if isinstance(segmentation, list):
            short = sum(len(polygon) < 6 for polygon in segmentation)
            if short:
                self._note_short(short, row)
            return len(segmentation) > short
        return segmentation is not None

    def _note_short(self, number: int, row: int) -> None:
        for _ in range(number):
            self._findings.add("polygon-short", "", self._path, f"annotations[{row}].segmentation")


_MISSING: Any = object()


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
    return type(value) in (int, float) and -FARTHEST < value < FARTHEST


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
