"""Which COCO annotation files a folder has, by split, without reading them."""

import mmap
import re
from collections import Counter
from pathlib import Path

from sightline.data.formats.coco import ROBOFLOW, split_name
from sightline.errors import DataError

LISTS = ("images", "annotations", "categories")
"""What a file of objects has; one of the three alone may be anything."""

_WITHOUT_OBJECTS = ("captions_", "image_info_")
_OPENING = re.compile(rb"\s*:\s*\[")


def find_splits(folder: Path) -> dict[str, Path]:
    """The annotation files of a folder by the name of their split; empty when it has none.

    ``annotations/instances_train2017.json`` is split ``train``, any other file there counts by its stem (captions and
    lists of test images hold no objects and are left out), and ``train/_annotations.coco.json`` counts by its folder.
    Without any of these the files of the folder itself count that have COCO's three lists.

    Raises:
        DataError: a file of the folder that cannot be looked into.
    """
    files = _with_objects(folder, "annotations/*.json")
    nested = sorted(folder.glob(f"*/{ROBOFLOW}"))
    if not files and not nested:
        files = [file for file in _with_objects(folder, "*.json") if not missing_lists(file)]
    short = Counter(split_name(file) for file in files)
    found = {split_name(file) if short[split_name(file)] == 1 else file.stem: file for file in files}
    for file in nested:
        name = split_name(file)
        found.setdefault(name if found.get(name) not in nested else file.parent.name, file)
    return found


def _with_objects(folder: Path, pattern: str) -> list[Path]:
    return sorted(f for f in folder.glob(pattern) if not f.name.startswith(_WITHOUT_OBJECTS) and f.is_file())


def missing_lists(file: Path) -> list[str]:
    """Which of COCO's lists a file does not have, by a search for their keys: files of 500 MB are not parsed for it.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        if not file.stat().st_size:
            return list(LISTS)
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as text:
            return [key for key in LISTS if not _has_list(text, key)]
    except OSError as error:
        what = f"the file cannot be read ({error.strerror})"
        raise DataError(what, place=file, cure="check the path and the file's permissions") from error


def _has_list(text: mmap.mmap, key: str) -> bool:
    quoted = f'"{key}"'.encode()
    place = text.find(quoted)
    while place >= 0:
        if _OPENING.match(text, place + len(quoted)):
            return True
        place = text.find(quoted, place + 1)
    return False
