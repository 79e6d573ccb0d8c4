"""YOLO sets, read: images/ and labels/ side by side, and data.yaml (docs.ultralytics.com/datasets).

The labels of ``.../images/a.jpg`` are in ``.../labels/a.txt``: the last folder ``images`` of the path becomes
``labels``; without such a folder they lie beside the image. An image without a label file has no objects, which is
legal. Numbers are divided by the sides of the image, which the files' headers tell; boxes come back in pixels and as
they are written, outside of the image too. A polygon's box is its extent, as the format has no other.

A label file whose image is gone is noted where labels have folders of their own. Folders reached by links inside a
folder of images are not followed.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sightline.classes import Size
from sightline.data.class_shift import shift_of
from sightline.data.findings import Findings
from sightline.data.formats.path_texts import can_be_a_path
from sightline.data.formats.yolo_config import YoloSet, find_set
from sightline.data.formats.yolo_labels import Line, LineForm, read_lines
from sightline.data.image_header import IMAGE_SUFFIXES, read_size
from sightline.data.listing import Listing
from sightline.data.tables import Tables, TablesBuilder
from sightline.errors import DataError

_NOT_LABELS = frozenset({"classes.txt", "labels.txt", "notes.txt", "predefined_classes.txt", "readme.txt"})


def find_splits(path: Path) -> dict[str, tuple[Path, ...]]:
    """The folders and lists of images of each split; empty where there is no YOLO set.

    Raises:
        DataError: a YAML file that makes no sense.
    """
    found = find_set(path)
    return found.splits if found else {}


def read(path: Path, split: str, findings: Findings) -> Tables:
    """One split.

    Args:
        path: the set's folder, or its YAML file.
        split: one of :func:`find_splits`.
        findings: where defects are noted; what cannot be used is left out.

    Raises:
        DataError: no YOLO set, no such split, or a list of images that cannot be read.
    """
    found = find_set(path)
    if found is None or split not in found.splits:
        there = ", ".join(found.splits) if found else "no YOLO set"
        raise DataError(f"there is no split '{split}'", place=path, cure=f"there is {there}")
    reader = _Reader(found, findings)
    for place in found.splits[split]:
        for image, listed in _images(place, found.root):
            reader.add(image, place, listed)
    _note_orphans(found.splits[split], found.root, reader.labels, findings)
    return reader.tables()


@dataclass(frozen=True, eq=False)
class _Object:
    """A line of a label file, and the row, size and files of its image."""

    line: Line
    row: int
    size: Size
    labels: Path
    image: Path


@dataclass(eq=False)
class _Reader:
    """Collects the images and objects of one split.

    Class numbers that count from 1 are read as meant. They show only when all lines are read, so objects wait for as
    long as no number says that they count from 0: the first object of class 0 lets all of them in.
    """

    found: YoloSet
    findings: Findings
    images: set[Path] = field(default_factory=set)
    labels: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._builder = TablesBuilder("yolo", self.found.source, self.found.root, object_place="line {}")
        self._form = LineForm(len(self.found.keypoints), self.found.dimensions)
        self._listing = Listing()
        self._waiting: list[_Object] = []
        self._used = Counter[int]()
        self._from_one = True

    def add(self, image: Path, place: Path, listed: str) -> None:
        """Adds an image and its objects; ``listed`` is its place in a list of images."""
        if image in self.images:
            self.findings.add("image-listed-twice", f"{image.name} is listed more than once", place, listed)
            return
        self.images.add(image)
        labels = label_path(image, self.found.root)
        if listed and not self._listing.has(str(image)):
            other = self._listing.other_form(str(image))
            if other is None:
                self.labels.add(labels)
                self.findings.add("image-missing", f"there is no file {image}", place, listed, image=str(image))
                return
            what = f"there is no file {image}, but one that is written {other.name}"
            self.findings.add("image-letter-case", what, place, listed, image=str(other))
            image = other
            if image in self.images:
                return
            self.images.add(image)
            labels = labels if labels.is_file() else label_path(image, self.found.root)
        self.labels.add(labels)
        size = self._size(image)
        lines = read_lines(labels, self._form, self.findings, str(image))
        if size is None or lines is None:
            return
        row = self._builder.add_image(
            _below(image, self.found.root), size=size, source=str(labels if labels.is_file() else image)
        )
        for line in lines:
            self._used[line.label] += 1
            self._from_one = self._from_one and 1 <= line.label <= len(self.found.names)
            self._waiting.append(_Object(line, row, size, labels, image))
        if not self._from_one:
            self._let_in(0)

    def _size(self, image: Path) -> Size | None:
        try:
            return read_size(image)
        except DataError as error:
            self.findings.add_error("image-damaged", error, image=str(image))
            return None

    def _let_in(self, shift: int) -> None:
        """Adds the objects that wait; those of classes that are not listed are noted."""
        count = len(self.found.names)
        for waiting in self._waiting:
            line, label = waiting.line, waiting.line.label + shift
            if 0 <= label < count:
                box, extra = line.in_pixels(waiting.size)
                self._builder.add_object(waiting.row, label, box, row=line.number, extra=extra)
            else:
                what, where = f"there is no class {line.label}, only 0 to {count - 1}", f"line {line.number}"
                self.findings.add("class-unknown", what, waiting.labels, where, image=str(waiting.image))
        self._waiting = []

    def _shift(self) -> int:
        """-1 where all class numbers are one above the listed ones, which is noted; else 0."""
        count = len(self.found.names)
        shift = shift_of(self._used, range(count)) if self._from_one else 0
        if shift:
            what = f"class numbers are {min(self._used)} to {count}, but the listed ones 0 to {count - 1}"
            self.findings.add("class-ids-off-by-one", what, self.found.source, "names")
        return shift

    def tables(self) -> Tables:
        """All that was added."""
        self._let_in(self._shift())
        found = self.found
        for name in sorted({name for name in found.names if found.names.count(name) > 1}):
            self.findings.add("class-duplicate", f"the name {name!r} is used twice", found.source, "names")
        keypoints = {"keypoints": list(found.keypoints), "skeleton": []} if found.keypoints else {}
        categories = [
            {"id": i, "name": name, "supercategory": ""} | keypoints for i, name in enumerate(found.names, start=1)
        ]
        return self._builder.build(categories, found.header, found.keypoints)


def label_path(image: Path, root: Path) -> Path:
    """The label file that belongs to an image: the last folder ``images`` becomes ``labels``.

    Args:
        image: the image file.
        root: the set's folder; folders above it do not count for images that lie in it.
    """
    return _labels_folder(image.parent, root) / f"{image.stem}.txt"


def _labels_folder(folder: Path, root: Path) -> Path:
    inner = folder.relative_to(root) if folder.is_relative_to(root) else folder
    parts = list(inner.parts)
    if "images" not in parts:
        return folder
    parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return root / Path(*parts)


def _below(path: Path, root: Path) -> str:
    """The path relative to the root; an absolute one where it lies elsewhere."""
    return (path.relative_to(root) if path.is_relative_to(root) else path.absolute()).as_posix()


def _images(place: Path, root: Path) -> Iterator[tuple[Path, str]]:
    """The images of a folder, with its sub-folders, or of a list; with their place in the list."""
    if place.is_dir():
        yield from ((path, "") for path in _files(place, IMAGE_SUFFIXES))
        return
    try:
        lines = place.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the list of images cannot be read ({error})", place=place, cure="save it as UTF-8") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _listed(line.strip().replace("\\", "/"), place.parent, root), f"line {number}"


def _listed(text: str, folder: Path, root: Path) -> Path:
    """The image that a line names: absolute, or from the list's folder, or from the set's."""
    # What no file can be named is missing, like any other name.
    path = Path(text if can_be_a_path(text) else "\ufffd")
    if path.is_absolute():
        return path
    inner = Path(*(part for part in path.parts if part != ".."))
    from_list, from_root = folder / inner, root / inner
    is_from_root = from_root.exists() or not from_list.parent.is_dir()
    return from_root if is_from_root and not from_list.exists() else from_list


def _files(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    """The files of a folder and its sub-folders with one of these endings, sorted by path; hidden ones are left out."""
    found: list[Path] = []
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if not name.startswith(".") and path.suffix.lower() in suffixes:
                found.append(path)
    return sorted(found)


def _note_orphans(places: Sequence[Path], root: Path, known: set[Path], findings: Findings) -> None:
    """Notes label files without an image, in folders of labels that belong to folders of images."""
    for place in places:
        folder = _labels_folder(place, root)
        if not place.is_dir() or folder == place:
            continue
        for file in _files(folder, frozenset({".txt"})):
            if file not in known and file.name.lower() not in _NOT_LABELS:
                findings.add("image-missing", f"there is no image for {file.name} in {place}", file)
