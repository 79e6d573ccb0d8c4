"""Which format a folder or file is in, and its splits: the only file that knows every format."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sightline.data.findings import Findings
from sightline.data.formats import coco, voc
from sightline.data.tables import Tables
from sightline.errors import DataError

LAYOUTS = "COCO: a .json file, annotations/*.json or */_annotations.coco.json; Pascal VOC: Annotations/ and JPEGImages/"
"""What is recognised, in words."""

Reader = Callable[[Findings], Tables]


@dataclass(frozen=True)
class Layout:
    """A set of images whose format was recognised.

    Args:
        form: name of the format.
        root: the set's folder.
        readers: how each split is read, by name.
        sources: the annotation file of each split, where the format has one; for messages.
    """

    form: str
    root: Path
    readers: dict[str, Reader]
    sources: dict[str, Path]


def recognise(path: Path) -> Layout:
    """The format and splits of what lies at a path.

    Raises:
        DataError: nothing to recognise, or more than one format.
    """
    if path.is_file():
        return _file(path)
    if not path.is_dir():
        raise DataError("no such file or folder", place=path, cure=f"give one of these: {LAYOUTS}")
    found = [layout for find in _FOLDERS if (layout := find(path)) is not None]
    if not found:
        raise DataError("no annotations recognised", place=path, cure=f"looked for these: {LAYOUTS}")
    if len(found) > 1:
        first = next(iter(found[0].sources.values()), path)
        raise DataError(
            f"both {found[0].form} and {found[1].form} annotations are there",
            place=path,
            cure=f"give one annotation file ({first}), or move one kind away",
        )
    return found[0]


def _file(path: Path) -> Layout:
    if path.suffix.lower() == ".json":
        root = path.parent.parent if path.parent.name == "annotations" else path.parent
        split = coco.split_name(path)
        return Layout("COCO", root, {split: partial(_coco, path)}, {split: path})
    raise DataError("not an annotation file", place=path, cure=f"give one of these: {LAYOUTS}")


def _coco(path: Path, findings: Findings) -> Tables:
    return coco.read(path, findings)


def _coco_folder(path: Path) -> Layout | None:
    files = coco.find_splits(path)
    return (
        Layout("COCO", path, {split: partial(_coco, file) for split, file in files.items()}, files) if files else None
    )


def _voc_folder(path: Path) -> Layout | None:
    if not voc.is_voc(path):
        return None
    return Layout("Pascal VOC", path, {split: partial(voc.read, path, split) for split in voc.find_splits(path)}, {})


_FOLDERS: tuple[Callable[[Path], Layout | None], ...] = (_coco_folder, _voc_folder)
