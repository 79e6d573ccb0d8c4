"""Which column of a CSV file is what: by the names in its first line, or by RetinaNet's order where it has no names."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sightline.data.image_header import IMAGE_SUFFIXES
from sightline.errors import DataError

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "image": (
        *("filename", "file_name", "img_name", "image_name", "image", "image_path", "img_path", "path", "file"),
        *("filepath", "file_path", "imagename", "img", "image_id"),
    ),
    "class": ("class", "label", "name", "category", "class_name", "label_name", "category_name", "classname"),
    "x1": ("xmin", "x_min", "x1", "left", "bbox_xmin", "bbox_x1"),
    "y1": ("ymin", "y_min", "y1", "top", "bbox_ymin", "bbox_y1"),
    "x2": ("xmax", "x_max", "x2", "right", "bbox_xmax", "bbox_x2"),
    "y2": ("ymax", "y_max", "y2", "bottom", "bbox_ymax", "bbox_y2"),
    "x": ("x", "bbox_x", "box_x"),
    "y": ("y", "bbox_y", "box_y"),
    "w": ("w", "bbox_w", "bbox_width", "box_w", "box_width"),
    "h": ("h", "bbox_h", "bbox_height", "box_h", "box_height"),
    "width": ("width", "image_width", "img_width", "imagewidth"),
    "height": ("height", "image_height", "img_height", "imageheight"),
    "split": ("split", "subset"),
}
_RETINANET = ("image", "x1", "y1", "x2", "y2", "class")
_CORNERS, _SIDES = ("x1", "y1", "x2", "y2"), ("x", "y", "w", "h")
_DELIMITERS = (",", ";", "\t")
_LONGEST = 1 << 16

ACCEPTED = "filename (or img_name, image, path ...), class (or label, name), xmin, ymin, xmax, ymax (or x, y, w, h)"
"""The columns of a table of boxes, in words."""

_USUAL = {"image": "filename", "class": "class", "x1": "xmin", "y1": "ymin", "x2": "xmax", "y2": "ymax"}


@dataclass(frozen=True)
class Columns:
    """The columns of a file.

    Args:
        delimiter: between values.
        names: as written; empty where the file has no line of names.
        places: the number of each known column: image, class, x1 ... or x, y, w, h, width, height, split.
    """

    delimiter: str
    names: tuple[str, ...]
    places: Mapping[str, int]

    @cached_property
    def box(self) -> tuple[str, ...]:
        """The names of the four columns of the box: corners, or a corner and sides."""
        return _SIDES if all(key in self.places for key in _SIDES) and "x2" not in self.places else _CORNERS

    @property
    def looks_like_boxes(self) -> bool:
        """Whether there is an image and at least a part of a box, which its sides alone are not."""
        return "image" in self.places and sum(key in self.places for key in (*_CORNERS, "x", "y")) >= 2

    @property
    def missing(self) -> list[str]:
        """What has to be there and is not, by the name that it usually has."""
        return [_USUAL.get(key, key) for key in ("image", "class", *self.box) if key not in self.places]

    def name_of(self, key: str) -> str:
        """A column as the file calls it; its usual name where the file has no line of names."""
        if self.names and key in self.places:
            return self.names[self.places[key]]
        return _USUAL.get(key, key)

    @cached_property
    def extras(self) -> dict[str, int]:
        """All other columns: names and numbers."""
        known = set(self.places.values())
        return {name or f"column_{i + 1}": i for i, name in enumerate(self.names) if i not in known}


def read_columns(path: Path) -> Columns:
    """The columns of a file, by its first line.

    Raises:
        DataError: the file cannot be read, or its first line is no line of a table.
    """
    try:
        with path.open("rb") as file:
            start = file.readline(_LONGEST)
    except OSError as error:
        raise _unreadable(path, error) from error
    # A table in another encoding is recognised, too; reading its rows is the error.
    first = start.decode("utf-8-sig", errors="replace").replace("\r", "\n").partition("\n")[0]
    candidates = []
    for delimiter in _DELIMITERS:
        try:
            values = next(csv.reader([first], delimiter=delimiter), [])
        except csv.Error as error:
            raise _unreadable(path, error) from error
        candidates.append(_columns(delimiter, values))
    return max(candidates, key=lambda columns: (len(columns.places), len(columns.names)))


def _columns(delimiter: str, values: Sequence[str]) -> Columns:
    if _is_retinanet(values):
        return Columns(delimiter, (), {key: i for i, key in enumerate(_RETINANET)})
    keys = [value.strip().casefold().replace(" ", "_") for value in values]
    places = {
        key: keys.index(alias)
        for key, aliases in _ALIASES.items()
        for alias in [next((alias for alias in aliases if alias in keys), None)]
        if alias is not None
    }
    if "x" in places and "y" in places and not {"x2", "w", "h"} & set(places):
        # x, y, width, height: then these are the sides of the box.
        places |= {side: places.pop(name) for side, name in (("w", "width"), ("h", "height")) if name in places}
    if all(corner in places for corner in _CORNERS):
        # Beside four corners, w and h are the sides of the image.
        sides = (("width", "w"), ("height", "h"))
        places |= {side: keys.index(name) for side, name in sides if side not in places and name in keys}
    return Columns(delimiter, tuple(value.strip() for value in values), places)


def _is_retinanet(values: Sequence[str]) -> bool:
    if len(values) != 6 or not values[0].lower().endswith(tuple(IMAGE_SUFFIXES)):
        return False
    return all(not value.strip() or _is_number(value) for value in values[1:5])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_rows(path: Path, columns: Columns) -> Iterator[tuple[int, list[str]]]:
    """The rows of a file with the number of the line that each begins on, without the line of names and empty lines.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=columns.delimiter)
            if columns.names:
                next(reader, None)
            line = reader.line_num + 1
            for row in reader:
                if any(value.strip() for value in row):
                    yield line, row
                line = reader.line_num + 1
    except UnicodeDecodeError as error:
        raise DataError(
            f"the table is not saved as UTF-8 ({_place_of_first(path)})",
            place=path,
            cause="another encoding, such as Latin-1",
            cure="save it as UTF-8",
        ) from error
    except (OSError, csv.Error) as error:
        raise _unreadable(path, error) from error


def _place_of_first(path: Path) -> str:
    """The first line with bytes that are no UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if "\ufffd" in line.decode("utf-8", errors="replace"):
                return f"line {number}"
    return "at the end"


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"the file cannot be read ({error})", place=path, cause="no table, or a damaged one", cure="save it again"
    )
