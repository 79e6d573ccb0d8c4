"""Image folders, read: ``<split>/<class>/image`` as torchvision's ImageFolder has it, or ``<class>/image`` alone.

Such a set says of each image which class it is of, and nothing of where. Each image gets one object: a box around all
of it, marked ``"whole_image": 1`` in its entry. Classes are the names of the folders, sorted, over all splits; folders
below a class belong to the class, and a class without images stays a class.

Nearly any folder looks like this form, so it is recognised only where nothing speaks against it: no annotation files,
no folder that other formats use, and images of two classes at least where there are no splits.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from sightline.data.findings import Findings
from sightline.data.image_header import IMAGE_SUFFIXES, read_size
from sightline.data.tables import Tables, TablesBuilder
from sightline.errors import DataError

ALL = "all"
"""The split of a folder without splits."""

_SPLIT = re.compile(r"(train|training|trainval|val|valid|validation|test|testing|test-dev)(\d{4})?")
_OTHER_FORMATS = frozenset(
    {
        *("images", "labels", "masks", "annotations", "annots", "Annotations", "JPEGImages", "ImageSets"),
        *("SegmentationClass", "SegmentationObject", "imgs", "img", "leftImg8bit", "gtFine"),
    }
)
_ANNOTATION_SUFFIXES = frozenset({".xml", ".json", ".jsonl", ".csv", ".tsv", ".txt", ".yaml", ".yml", ".parquet"})
_TEXTS = frozenset({"readme.txt", "license.txt", "licence.txt", "classes.txt", "labels.txt"})
_LITTER = frozenset({"thumbs.db", "desktop.ini"})


def is_split_name(name: str) -> bool:
    """Whether a folder of this name is taken as a split: train, val, test and what is usual beside them."""
    return _SPLIT.fullmatch(name) is not None


def belongs_to_other_format(name: str) -> bool:
    """Whether a folder of this name is no class, because another format has it."""
    return name in _OTHER_FORMATS or name.endswith("annot")


def find_splits(folder: Path) -> dict[str, Path]:
    """The folder of classes of each split; empty where the folder is no set in this form."""
    below = _folders(folder)
    if not below or _has_annotations(folder):
        return {}
    if all(is_split_name(f.name) for f in below):
        counts = [_count_classes(f) for f in below]
        return {f.name: f for f in below} if None not in counts and any(counts) else {}
    if any(is_split_name(f.name) and _folders(f) for f in below):  # splits beside something else
        return {}
    return {ALL: folder} if (_count_classes(folder) or 0) >= 2 else {}


def read(folder: Path, split: str, findings: Findings) -> Tables:
    """One split of image folders.

    Args:
        folder: the set.
        split: one of :func:`find_splits`.
        findings: where defects are noted; what cannot be used is left out.
    """
    splits = find_splits(folder)
    names = sorted({f.name for part in splits.values() for f in _folders(part)})
    builder = TablesBuilder("folders", folder, folder, object_place="the image", image_place="file {}")
    number = 0
    for name, part in splits.items():
        for label, class_name in enumerate(names):
            for path in _images(part / class_name, findings if name == split else Findings()):
                number += 1
                if name == split:
                    _add(builder, path, path.relative_to(folder).as_posix(), number, label, findings)
    return builder.build([{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(names, start=1)])


def _add(builder: TablesBuilder, path: Path, name: str, number: int, label: int, findings: Findings) -> None:
    try:
        height, width = read_size(path)
    except DataError as error:
        findings.add_error("image-damaged", error, image=str(path))
        return
    row = builder.add_image(name, size=(height, width), source=str(path), number=number)
    builder.add_object(row, label, (0, 0, width, height), row=0, extra={"whole_image": 1})


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(f for f in folder.iterdir() if not f.name.startswith(".") and f.is_dir())


def _count_classes(folder: Path) -> int | None:
    """How many folders below have images; None where one of them is no class, or there are none."""
    below = _folders(folder)
    if not below or _has_annotations(folder) or any(belongs_to_other_format(f.name) for f in below):
        return None
    counts = [_count_images(f) for f in below]
    return None if None in counts else sum(bool(n) for n in counts)


def _has_annotations(folder: Path) -> bool:
    """Whether files lie in a folder itself that speak of images, or images that no class has."""
    return any(
        _is_annotation(f.name) or f.suffix.lower() in IMAGE_SUFFIXES
        for f in folder.iterdir()
        if not f.name.startswith(".") and f.is_file()
    )


def _is_annotation(name: str) -> bool:
    return Path(name).suffix.lower() in _ANNOTATION_SUFFIXES and name.lower() not in _TEXTS


def _count_images(folder: Path) -> int | None:
    """How many images lie below a folder; None where annotation files lie among them."""
    count = 0
    for path in _files(folder):
        if _is_annotation(path.name):
            return None
        count += path.suffix.lower() in IMAGE_SUFFIXES
    return count


def _images(folder: Path, findings: Findings) -> Iterator[Path]:
    for path in _files(folder):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            yield path
        else:
            findings.add("file-not-image", f"{path.name} is no image", path)


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder in order, without what is hidden."""
    for place, below, files in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and name.lower() not in _LITTER:
                yield Path(place) / name
