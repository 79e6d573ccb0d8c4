"""What a folder holds that no reader recognised, in words: the likely reason first, and at the least what was seen."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.data.formats.coco_files import missing_lists
from sightline.data.formats.csv_classes import CLASS_LISTS
from sightline.data.formats.csv_table import ACCEPTED, read_columns
from sightline.data.formats.voc_places import has_annotations
from sightline.data.formats.yolo_config import has_labels_beside_images
from sightline.data.image_header import IMAGE_SUFFIXES
from sightline.errors import DataError

_IMAGE = "image"
_MOST_NAMES = 6
_MOST_FOLDERS = 50
"""Folders below that are looked into; more of them are classes or videos, and all alike."""


@dataclass(frozen=True)
class _Folder:
    """A folder, how many files of each ending it has (images together), and the names of the folders below."""

    path: Path
    counts: Mapping[str, int]
    below: Sequence[str]


def seen(path: Path) -> str:
    """Why a folder may not have been recognised, on one line.

    Args:
        path: a folder of which no reader made anything.
    """
    top = _look(path)
    folders = [top, *(_look(path / name) for name in top.below[:_MOST_FOLDERS])]
    for explain in _EXPLANATIONS:
        for folder in folders:
            if reason := explain(folder):
                return reason if folder is top else f"in {folder.path.name}/: {reason}"
    return _in_numbers(top, folders[1:])


def _look(path: Path) -> _Folder:
    counts: Counter[str] = Counter()
    below = []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                below.append(entry.name)
            else:
                suffix = Path(entry.name).suffix.lower()
                counts[_IMAGE if suffix in IMAGE_SUFFIXES else suffix] += 1
    return _Folder(path, counts, sorted(below))


def _table(folder: _Folder) -> str:
    """A table whose columns are not those of boxes."""
    for file in _files(folder, ".csv"):
        if file.name.lower() in CLASS_LISTS:
            continue
        try:
            columns = read_columns(file)
        except DataError as error:
            return f"{file.name}: {error.what}"
        if not columns.looks_like_boxes:
            names = ", ".join(name[:30] or '""' for name in columns.names[:_MOST_NAMES])
            more = " ..." if len(columns.names) > _MOST_NAMES else ""
            return f"a .csv file without usable columns, {file.name}: found {names or 'none'}{more}; needed: {ACCEPTED}"
    return ""


def _labels(folder: _Folder) -> str:
    """YOLO's labels without the names of their classes."""
    if folder.counts.get(".txt") and has_labels_beside_images(folder.path):
        return "YOLO's .txt labels beside images, but no classes.txt or data.yaml that names the classes"
    has_both = {"images", "labels"} <= set(folder.below)
    if has_both and any(".txt" in name for _, _, names in os.walk(folder.path / "labels") for name in names):
        return "YOLO's images/ and labels/, but no data.yaml or classes.txt that names the classes"
    return ""


def _coco(folder: _Folder) -> str:
    """JSON of another form."""
    for file in _files(folder, ".json"):
        missing = missing_lists(file)
        if not missing:
            return f"{file.name} is COCO's JSON, but not where it is looked for: give this file"
        return f"{file.name} is not COCO's JSON: it has no list {' and no list '.join(map(repr, missing))}"
    return ""


def _voc(folder: _Folder) -> str:
    """XML of another form, or without its images."""
    count = folder.counts.get(".xml", 0)
    if not count:
        return ""
    if not has_annotations(folder.path):
        return f"{_number(count, '.xml file')}, but none that begins with Pascal VOC's <annotation>"
    return f"{_number(count, '.xml file')} of Pascal VOC, but no images beside them or in JPEGImages/ or images/"


_EXPLANATIONS: tuple[Callable[[_Folder], str], ...] = (_table, _labels, _coco, _voc)


def _files(folder: _Folder, suffix: str) -> list[Path]:
    if not folder.counts.get(suffix):
        return []
    files = sorted(f for f in folder.path.iterdir() if f.suffix.lower() == suffix and not f.name.startswith("."))
    return [file for file in files[:_MOST_NAMES] if file.is_file()]


def _in_numbers(top: _Folder, below: Sequence[_Folder]) -> str:
    """What lies in a folder and in those right below it."""
    here = _counted(top.counts)
    inside = _counted(sum((Counter(folder.counts) for folder in below), Counter()))
    if not here and not below:
        return "the folder is empty"
    names = ", ".join(f"{name[:40]}/" for name in top.below[:_MOST_NAMES])
    more = " ..." if len(top.below) > _MOST_NAMES else ""
    parts = [f"{here} in the folder itself"] if here else []
    parts += [f"{inside or 'nothing'} in {names}{more}"] if below else []
    return f"no annotations among {' and '.join(parts)}"


def _counted(counts: Mapping[str, int]) -> str:
    shown = [
        _number(number, "image" if suffix == _IMAGE else f"{suffix[:12]} file" if suffix else "file without ending")
        for suffix, number in Counter(counts).most_common(4)
    ]
    return ", ".join(shown)


def _number(count: int, thing: str) -> str:
    plural = thing.replace("file", "files", 1) if "file" in thing else f"{thing}s"
    return f"{count:,} {thing if count == 1 else plural}"
