"""Tables of boxes, written: <split>.csv with a line an object, images/<split>/ and classes.csv, for csv_boxes.py.

The columns are filename, width, height, class, xmin, ymin, xmax, ymax, in pixels and as the boxes are, fractions and
what leaves the image included. An image without objects has one row without class and box. Names with commas, quotes
and line breaks are quoted by the rules of RFC 4180. ``classes.csv`` keeps the order of the classes and those without
objects.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.formats import writing
from sightline.data.formats.csv_classes import CLASS_LISTS
from sightline.data.formats.label_images import plain_entry, size_of
from sightline.data.formats.writing import Output, image_name
from sightline.data.tables import Tables
from sightline.errors import DataError
from sightline.files import replace_atomically

CARRIES = frozenset(
    {
        writing.BOXES,
        writing.BOX_FRACTIONS,
        writing.CLASS_PER_OBJECT,
        writing.UNUSED_CLASSES,
        writing.CLASS_ORDER,
        writing.EMPTY_IMAGES,
    }
)
"""What the format can hold."""

HEADER = ("filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax")
"""The columns."""

CROWD = "crowd left out"
DIFFICULT = "difficult object written as an ordinary one"
TWICE = "image listed twice in one split: its objects are joined"

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


def write(splits: Mapping[str, Tables], output: Output) -> None:
    """Writes a set.

    Args:
        splits: the tables of each split.
        output: where to.

    Raises:
        DataError: an image that is missing, or a split whose name cannot be that of a file.
        OSError: the disk is full or the folder cannot be written.
    """
    for split in splits:
        if f"{split}.csv" in CLASS_LISTS or split in ("", ".", "..") or "/" in split or "\\" in split:
            raise DataError(f"tables cannot have a split of the name {split!r}", cure="give it another name")
    names = dict.fromkeys(str(c["name"]) for tables in splits.values() for c in tables.categories)
    for name in names:
        if _LONE_SURROGATES.search(name):
            source = next(iter(splits.values())).source
            raise DataError(f"class {name!r} has no form in UTF-8", place=source, cure="rename the class")
    for split, tables in splits.items():
        _write_table(output.folder / f"{split}.csv", _rows(split, tables, output))
    _write_table(output.folder / CLASS_LISTS[0], ((name, i) for i, name in enumerate(names)))


def _rows(split: str, tables: Tables, output: Output) -> Iterator[Sequence[Any]]:
    """The rows of a split, one by one; its images are put in their places on the way."""
    yield HEADER
    seen: set[str] = set()
    order, first = tables.objects_by_image()
    for row in range(len(tables.images)):
        name = _LONE_SURROGATES.sub("_", image_name(tables, row))
        file = output.put_image(tables.image_path(row), f"images/{split}/{name}")
        if file in seen:
            output.losses[TWICE] += 1
        seen.add(file)
        height, width = size_of(tables, row)
        objects = _objects(tables, order[first[row] : first[row + 1]], output)
        yield from ([file, width, height, *values] for values in objects or [[""] * 5])


def _objects(tables: Tables, rows: NDArray[np.int64], output: Output) -> list[list[str]]:
    """Class and box of each object of an image."""
    table = tables.objects
    found: list[list[str]] = []
    for row in rows.tolist():
        if table.ignore[row]:
            is_crowd = bool(plain_entry(tables, row).get("iscrowd"))
            output.losses[CROWD if is_crowd else DIFFICULT] += 1
            if is_crowd:
                continue
        found.append([tables.categories[int(table.labels[row])]["name"], *map(_text, table.boxes[row].tolist())])
    return found


def _text(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _write_table(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    def write_to(beside: Path) -> None:
        with beside.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)

    replace_atomically(path, write_to)
