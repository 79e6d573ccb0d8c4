"""Tables of boxes, read: a CSV file with a line an object, as courses, TensorFlow's tutorials and RetinaNet use them.

The first line names the columns: an image, a class, and a box as xmin, ymin, xmax, ymax or x, y, w, h in pixels, as
written and with no pixel added; further columns become keys of the annotation. Without names the columns are
RetinaNet's: path, x1, y1, x2, y2, class. An image without objects is a row without class and box. Values are separated
by commas, semicolons or tabs.

Classes are the names in ``classes.csv`` (name, number) or ``classes.txt`` beside the tables, which also say what class
numbers mean; without them they are the sorted names over all splits, numbers in their order.

A split is a file: ``train_labels.csv`` is train, ``bananas_train/label.csv`` too. A column ``split`` makes several.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightline.classes import Size
from sightline.data.class_shift import shift_of
from sightline.data.findings import Findings
from sightline.data.formats.csv_classes import CLASS_LISTS, is_number, read_class_list
from sightline.data.formats.csv_table import ACCEPTED, Columns, read_columns, read_rows
from sightline.data.formats.path_texts import can_be_a_path
from sightline.data.image_header import IMAGE_SUFFIXES
from sightline.data.listing import Listing
from sightline.data.tables import Tables, TablesBuilder
from sightline.errors import DataError

_STANDARD = ("train", "val", "valid", "validation", "test")
_ENDINGS = ("_labels", "_annotations", "_label", "_boxes")
_GENERIC = ("label", "labels", "annotations", "_annotations", "annotation", "boxes", "_boxes")
_FLAGS = ("iscrowd", "difficult", "truncated", "occluded")
_TAKEN = frozenset(
    {"id", "image_id", "category_id", "bbox", "area", "segmentation", "keypoints", "num_keypoints", "mask_file"}
)
_LARGEST = 1e30
_SUFFIXES = (".jpg", ".png", ".jpeg")
_NO_SPLIT = "all"


def find_splits(path: Path) -> dict[str, Path]:
    """The file of each split; empty where there is no table of boxes.

    Args:
        path: a CSV file, or a folder with such files in it or in its direct sub-folders.

    Raises:
        DataError: a file with a column of splits that cannot be read, or that names one which another file has too.
    """
    found: dict[str, Path] = {}
    for file in _tables(path):
        columns = read_columns(file)
        names = _split_names(file, columns, path)
        for name in names:
            if name in found and "split" in columns.places:
                raise DataError(
                    f"{found[name]} and {file} both have a split '{name}'", place=path, cure="give one of the files"
                )
            found[name if name not in found else f"{file.parent.name}-{file.stem}"] = file
    return found


def read(path: Path, split: str, findings: Findings) -> Tables:
    """One split.

    Args:
        path: the file, or the folder.
        split: one of :func:`find_splits`.
        findings: where defects are noted; what cannot be used is left out.

    Raises:
        DataError: no such split, a file that cannot be read, or a column that is missing.
    """
    splits = find_splits(path)
    if split not in splits:
        raise DataError(f"there is no split '{split}'", place=path, cure=f"there is {', '.join(splits) or 'none'}")
    file = splits[split]
    columns = _require_columns(file)
    numbers = read_class_list([file.parent, *([path] if path.is_dir() else [])])
    rows = [row for row in _rows(file, columns, findings) if "split" not in columns.places or row.split == split]
    if numbers:
        names = list(numbers.values())
    else:
        others = (_rows(other, _require_columns(other), Findings()) for other in sorted({*splits.values()} - {file}))
        own = _rows(file, columns, Findings()) if "split" in columns.places else rows
        names = _sorted_names({row.name for some in (own, *others) for row in some if row.name})
    shift = _shift(Counter(row.name for row in rows if row.name), numbers, file, findings)
    builder = _Builder(file, split, names, {number - shift: name for number, name in numbers.items()}, findings)
    for row in rows:
        builder.add(row)
    return builder.tables()


def _tables(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() in (".csv", ".tsv") else []
    files = sorted(file for pattern in ("*.csv", "*/*.csv") for file in path.glob(pattern))
    return [file for file in files if file.is_file() and file.name.lower() not in CLASS_LISTS and _has_boxes(file)]


def _has_boxes(file: Path) -> bool:
    try:
        return read_columns(file).looks_like_boxes
    except DataError:  # a table of something else
        return False


def _split_names(file: Path, columns: Columns, path: Path) -> list[str]:
    if "split" in columns.places:
        place = columns.places["split"]
        found = (row[place].strip() for _, row in read_rows(file, columns) if len(row) > place)
        return list(dict.fromkeys(name or _NO_SPLIT for name in found))
    stem = file.stem
    if stem.casefold() not in _GENERIC:
        ending = next((ending for ending in _ENDINGS if stem.casefold().endswith(ending)), "")
        return [stem[: len(stem) - len(ending)]]
    tail = file.parent.name.replace("-", "_").rpartition("_")[2].casefold()
    if tail in _STANDARD:
        return [tail]
    return [file.parent.name if file.parent != path and path.is_dir() else _NO_SPLIT]


def _require_columns(file: Path) -> Columns:
    columns = read_columns(file)
    if columns.missing:
        raise DataError(
            f"no column for {', '.join(columns.missing)}; there are {', '.join(columns.names) or 'none'}",
            place=f"{file}, line 1",
            cure=f"name the columns {ACCEPTED}",
        )
    return columns


@dataclass(frozen=True)
class _Row:
    """One line: an object, or an image without any where it has no name."""

    line: int
    image: str
    split: str
    size: Size | None
    name: str = ""
    box: tuple[float, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


def _rows(file: Path, columns: Columns, findings: Findings) -> list[_Row]:
    """The usable rows of a file; what cannot be used is noted."""
    width = len(columns.names) or len(columns.places)
    rows: list[_Row] = []
    for line, values in read_rows(file, columns):
        if len(values) != width:
            findings.add("value-malformed", f"{len(values)} values, where the table has {width}", file, f"line {line}")
            continue
        try:
            rows.append(_row(line, [value.strip() for value in values], columns))
        except _RowError as error:
            findings.add(error.code, error.what, file, f"line {line}")
    return rows


class _RowError(Exception):
    """What is wrong with a row, and its code."""

    def __init__(self, what: str, code: str = "value-malformed") -> None:
        super().__init__(what)
        self.what, self.code = what, code


def _row(line: int, values: Sequence[str], columns: Columns) -> _Row:
    def text(key: str) -> str:
        return values[columns.places[key]] if key in columns.places else ""

    image, name, split, box = (
        text("image"),
        text("class"),
        text("split") or _NO_SPLIT,
        [text(key) for key in columns.box],
    )
    if not image:
        raise _RowError(f"{columns.name_of('image')} is missing", "key-missing")
    if not can_be_a_path(image) or "\0" in name:
        raise _RowError("a name that no file or class can have")
    size = _size(columns, text("height"), text("width"))
    if not name and not any(box):
        return _Row(line, image, split, size)
    if not name:
        raise _RowError(f"{columns.name_of('class')} is missing", "key-missing")
    first, second, third, fourth = (
        _number(columns.name_of(key), value) for key, value in zip(columns.box, box, strict=True)
    )
    if columns.box[0] == "x":
        third, fourth = first + third, second + fourth
    extra = dict(_extra(key, values[place]) for key, place in columns.extras.items() if values[place])
    return _Row(line, image, split, size, name, (first, second, third, fourth), extra)


def _number(name: str, text: str) -> float:
    if not text:
        raise _RowError(f"{name} is missing", "key-missing")
    try:
        value = float(text)
    except ValueError:
        value = None
    if value is None or "_" in text:
        raise _RowError(f"{name} must be a number, got {text[:40]!r}")
    if not -_LARGEST < value < _LARGEST:
        raise _RowError(f"{name} must be a finite number, got {text[:40]!r}", "number-not-finite")
    return value


def _size(columns: Columns, height: str, width: str) -> Size | None:
    """(H, W); None where there is none, or it is zero, as some tools leave it."""
    if not height and not width:
        return None
    names = columns.name_of("height"), columns.name_of("width")
    sides = [_number(name, text) for name, text in zip(names, (height, width), strict=True)]
    if not all(side.is_integer() and 0 <= side < 2**31 for side in sides):
        raise _RowError(f"{names[1]} and {names[0]} must be whole numbers")
    return (int(sides[0]), int(sides[1])) if all(sides) else None


def _extra(name: str, text: str) -> tuple[str, Any]:
    key = name.casefold()
    if key not in _FLAGS:
        # COCO's own keys have other meanings than any text that a table may hold.
        return (f"column_{name}" if key in _TAKEN else name), text
    if text.casefold() not in ("0", "1", "true", "false"):
        raise _RowError(f"{name} must be 0 or 1, got {text[:40]!r}")
    return key, int(text.casefold() in ("1", "true"))


def _sorted_names(names: set[str]) -> list[str]:
    if all(is_number(name) for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def _shift(used: Mapping[str, int], listed: Mapping[int, str], file: Path, findings: Findings) -> int:
    """By how much all class numbers are beside the listed ones: 1 or -1, which is noted; 0 where they are not."""
    if not all(is_number(name) and name not in listed.values() for name in used):
        return 0
    numbers = Counter[int]()
    for name, count in used.items():
        numbers[int(name)] += count
    shift = shift_of(numbers, listed)
    if shift:
        there = f"the listed ones {min(listed)} to {max(listed)}"
        what = f"class numbers are {min(numbers)} to {max(numbers)}, {there}"
        findings.add("class-ids-off-by-one", what, file)
    return shift


class _Builder:
    """Collects the images and objects of one split."""

    def __init__(
        self, file: Path, split: str, names: Sequence[str], numbers: Mapping[int, str], findings: Findings
    ) -> None:
        self._file, self._split, self._names, self._findings = file, split, names, findings
        self._labels = {name: i for i, name in enumerate(names)}
        self._by_number = {str(number): self._labels[name] for number, name in numbers.items()}
        self._builder = TablesBuilder("csv", file, file.parent, object_place="line {}", image_place="line {}")
        self._listing = Listing()
        self._rows: dict[str, tuple[int, Size | None, int]] = {}
        self._unknown: list[_Row] = []

    def add(self, row: _Row) -> None:
        """Adds an object, and its image when it is the first of it."""
        if row.image not in self._rows:
            number = self._builder.add_image(self._place(row.image), size=row.size, row=row.line)
            self._rows[row.image] = number, row.size, row.line
        image, size, line = self._rows[row.image]
        if row.size not in (None, size):
            what = f"the size {row.size} (height, width) differs from that in line {line}, {size}"
            self._findings.add("value-malformed", what, self._file, f"line {row.line}", image=self._path(row.image))
            return
        if not row.name:
            return
        label = self._labels.get(row.name, self._by_number.get(row.name))
        if label is None:
            self._unknown.append(row)
        else:
            self._builder.add_object(image, label, row.box, row=row.line, extra=row.extra)

    def _path(self, name: str) -> str:
        return str(self._file.parent / self._place(name))

    def _place(self, name: str) -> str:
        """Where an image lies, from the table's folder."""
        spellings = dict.fromkeys((name, name.replace("\\", "/")))
        if not name.lower().endswith(tuple(IMAGE_SUFFIXES)):  # image_id is often the name without its ending
            spellings |= dict.fromkeys(spelling + suffix for spelling in tuple(spellings) for suffix in _SUFFIXES)
        places = ["", "images/", f"{self._split}/", f"images/{self._split}/"]
        root = f"{self._file.parent}/"
        candidates = [
            spelling if spelling.startswith("/") else place + spelling for spelling in spellings for place in places
        ]
        for candidate in candidates:
            if self._has(candidate if candidate.startswith("/") else root + candidate):
                return candidate
        # The one that is found under another letter case, or the plainest, is the one that the finding tells of.
        near = (c for c in candidates if self._listing.other_form(c if c.startswith("/") else root + c))
        return next(near, candidates[0])

    def _has(self, path: str) -> bool:
        return self._listing.has(path)

    def tables(self) -> Tables:
        """All that was added."""
        for row in self._unknown:
            what = f"there is no class {row.name[:60]!r} in the list of classes"
            self._findings.add("class-unknown", what, self._file, f"line {row.line}", image=self._path(row.image))
        categories = [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(self._names, start=1)]
        return self._builder.build(categories)
