"""Semantic segmentation as label images, written: images/<split>/, masks/<split>/ and classes.txt.

Every pixel has one class. Objects of a class are joined; where classes overlap, the one of less area is on top, crowds
below all else. Pixels without an object get the class called void (or unlabelled, unlabeled, ignore) or background,
where the set has one, else the value 255, which ``classes.txt`` then lists as void. An image without masks is all that
value. Objects without a mask are left out: a filled box would be a wrong mask.

Values are those that the classes had in a set of label images (``value`` in their entries), the names themselves where
all are numbers, or else the places in the list. Up to 255 they are written as 8 bits with PASCAL VOC's colours, above
that all masks are 16-bit grey.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.formats import writing
from sightline.data.formats.label_images import VOID, mask_of, plain_entry, size_of, write_labels
from sightline.data.formats.masks import CLASSES_FILE, MOST, VALUE, VOID_NAMES
from sightline.data.formats.stems import Stems
from sightline.data.formats.writing import Output, image_name
from sightline.data.tables import Tables
from sightline.errors import DataError

CARRIES = frozenset(
    {
        *(
            writing.MASKS,
            writing.MASK_RUNS,
            writing.CLASS_PER_OBJECT,
            writing.UNUSED_CLASSES,
            writing.CLASS_ORDER,
            writing.EMPTY_IMAGES,
        )
    }
)
"""What the format can hold."""


def write(splits: Mapping[str, Tables], output: Output) -> None:
    """Writes a set.

    Args:
        splits: the tables of each split.
        output: where to.

    Raises:
        DataError: a class whose name does not fit on a line, more than 65535 classes, or an image that is missing.
        OSError: the disk is full or the folder cannot be written.
    """
    values = _values(category for tables in splits.values() for category in tables.categories)
    _require_names(values, splits)
    rest = _value_of_the_rest(values)
    wide = max([*values.values(), rest]) > VOID
    if wide and rest > MOST:
        raise DataError(f"label images hold {MOST} classes, not {len(values)}", cure="write another format")
    rest_seen = False
    for split, tables in splits.items():
        for kind in ("images", "masks"):
            (output.folder / kind / split).mkdir(parents=True, exist_ok=True)
        stems = Stems(output.losses, flat=False)
        painter = _Painter(tables, [values[str(c["name"])] for c in tables.categories], rest, output)
        order, first = tables.objects_by_image()
        for row in range(len(tables.images)):
            labels = painter.paint(row, order[first[row] : first[row + 1]].tolist())
            rest_seen |= bool((labels == rest).any())
            _write_picture(tables, row, labels, stems, _Place(split, wide, output))
    if rest_seen and rest not in values.values():
        values["void" if "void" not in values else str(rest)] = rest
    lines = [f"{value} {name}\n" for name, value in sorted(values.items(), key=lambda item: item[1])]
    (output.folder / CLASSES_FILE).write_text("".join(lines), encoding="utf-8", newline="\n")


@dataclass(frozen=True, eq=False)
class _Place:
    """Where the pictures of a split go, and whether their values need 16 bits."""

    split: str
    wide: bool
    output: Output


def _write_picture(tables: Tables, row: int, labels: NDArray[np.int32], stems: Stems, place: _Place) -> None:
    source = tables.image_path(row)
    key = (str(source), hashlib.blake2b(labels.tobytes(), digest_size=16).digest())
    if stems.known(key):
        place.output.losses["image listed twice in one split"] += 1
        return
    name = stems.name(image_name(tables, row).removeprefix(f"{place.split}/"), key)
    place.output.put_image(source, f"images/{place.split}/{name}")
    mask = PurePosixPath(name).with_suffix(".png")
    write_labels(place.output.folder / "masks" / place.split / mask, labels, wide=place.wide)


@dataclass(frozen=True, eq=False)
class _Painter:
    """Makes the label images of a split.

    Args:
        tables: the split.
        values: the value of each class.
        rest: the value of pixels without an object.
        output: where losses are counted.
    """

    tables: Tables
    values: Sequence[int]
    rest: int
    output: Output

    def paint(self, row: int, objects: Sequence[int]) -> NDArray[np.int32]:
        """The (H, W) values of an image."""
        size = size_of(self.tables, row)
        labels = np.full(size, self.rest, np.int32)
        owner = np.full(size, -1, np.int32)
        hurt: set[int] = set()
        masks = self._masks(objects, size)
        for number, (value, mask) in enumerate(masks):
            under = owner[mask & (owner >= 0) & (labels != value)]
            if len(under):
                hurt.update(np.unique(under).tolist())
            labels[mask] = value
            owner[mask] = number
        if hurt:
            self.output.losses["object partly under one of another class"] += len(hurt)
        joined = len(masks) - len({value for value, _ in masks})
        if joined:
            self.output.losses["instances of one class joined"] += joined
        return labels

    def _masks(self, objects: Sequence[int], size: tuple[int, int]) -> list[tuple[int, NDArray[np.bool_]]]:
        """Value and mask of each object, the one that comes to lie on top last."""
        found = []
        for row in objects:
            entry = plain_entry(self.tables, row)
            mask = mask_of(entry, size)
            if mask is None:
                has_one = bool(self.tables.objects.masked[row])
                self.output.losses["mask that cannot be decoded" if has_one else "object without a mask left out"] += 1
                continue
            found.append((bool(entry.get("iscrowd")), int(mask.sum()), self._value(row), mask))
        found.sort(key=lambda item: (not item[0], -item[1]))
        return [(value, mask) for _, _, value, mask in found]

    def _value(self, row: int) -> int:
        return self.values[int(self.tables.objects.labels[row])]


def _values(categories: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The value of each class by name."""
    by_name: dict[str, Any] = {}
    for category in categories:
        by_name.setdefault(str(category["name"]), category.get(VALUE))
    given = list(by_name.values())
    if all(type(v) is int and 0 <= v <= MOST for v in given) and len(set(given)) == len(given):
        return by_name
    numbers = [_number(name) for name in by_name]
    if None not in numbers and len(set(numbers)) == len(numbers):
        return {name: int(name) if name.isdecimal() else VOID for name in by_name}
    void = next((name for name in by_name if name.lower() in VOID_NAMES), None)
    places = {name: place for place, name in enumerate(name for name in by_name if name != void)}
    if void is not None:
        places[void] = VOID if len(places) <= VOID else len(places)
    return places


def _number(name: str) -> int | None:
    """The value that a name is; void has the usual one."""
    if name.isascii() and name.isdecimal() and str(int(name)) == name and int(name) <= MOST:
        return int(name)
    return VOID if name.lower() in VOID_NAMES else None


def _value_of_the_rest(values: Mapping[str, int]) -> int:
    """The value of pixels without an object."""
    for names in (VOID_NAMES, frozenset({"background"})):
        known = [value for name, value in values.items() if name.lower() in names]
        if known:
            return known[0]
    return VOID if VOID not in values.values() else max(values.values()) + 1


def _require_names(values: Mapping[str, int], splits: Mapping[str, Tables]) -> None:
    for name in values:
        if not name or name != name.strip() or any(c in "\n\r" or "\ud800" <= c <= "\udfff" for c in name):
            raise DataError(
                f"class {name!r} does not fit on a line of {CLASSES_FILE}",
                place=next(iter(splits.values())).source,
                cause="blanks at its ends, or line breaks",
                cure="rename the class",
            )
