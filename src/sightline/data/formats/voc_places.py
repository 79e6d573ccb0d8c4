"""Where the files of a Pascal VOC set are: the development kit's folders, and those that labelling tools write.

The kit has ``Annotations/``, ``JPEGImages/`` and lists in ``ImageSets/Main``. labelImg writes each .xml beside its
image; sets on Kaggle have ``annotations/`` and ``images/``; exports for training have either in ``train/``, ``valid/``
and ``test/``. Names of folders count in any letter case. Where the folders are not the kit's, a file that begins with
``<annotation>`` has to be there, as other formats use the same names.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sightline.data.image_header import IMAGE_SUFFIXES
from sightline.errors import DataError

ALL = "all"
"""The split of a set without lists and without folders for splits."""

_STANDARD = ("train", "val", "trainval", "test")
_SPLIT_FOLDERS = {
    **{"train": "train", "training": "train", "trainval": "trainval"},
    **{"val": "val", "valid": "val", "validation": "val", "test": "test", "testing": "test"},
}
_ANNOTATIONS = ("annotations", "annotation", "annots", "xmls", "xml", "labels")
_IMAGES = ("jpegimages", "images", "imgs")
_LOOKED_AT = 20
"""How many files say whether a folder holds VOC's annotations; some may be of another kind, or damaged."""
_BEGINNING = 4096
_ROOT_ELEMENT = re.compile(rb"<annotation[\s/>]")


@dataclass(frozen=True)
class VocPlaces:
    """Where a split lies.

    Args:
        annotations: folder of the .xml files.
        images: folder of the images; may be the same.
        masks: folder of the label images whose values are objects; need not be there.
        listed: a list of the stems that belong to it, one a line; None takes every .xml file.
    """

    annotations: Path
    images: Path
    masks: Path
    listed: Path | None = None


def find_places(folder: Path) -> dict[str, VocPlaces]:
    """Where each split of a folder lies; empty where it is no VOC set.

    Raises:
        DataError: a list of images that cannot be read.
    """
    found = _places(folder)
    if found is not None:
        return _by_list(folder, found)
    parts = _by_folder(folder)
    inner = None if parts else _child(folder, _IMAGES)
    return parts if inner is None else _by_folder(inner)


def read_list(file: Path) -> list[str]:
    """The lines of a list of images, without empty ones.

    Raises:
        DataError: it cannot be read.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the list of images cannot be read ({error})", place=file, cure="save it as UTF-8") from error
    return [line.strip() for line in lines if line.strip()]


def has_annotations(folder: Path) -> bool:
    """Whether .xml files of VOC's form lie in a folder."""
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() == ".xml" and not f.name.startswith("."))
    return any(_is_annotation(file) for file in files[:_LOOKED_AT])


def _places(folder: Path) -> VocPlaces | None:
    """The places of a folder that is one set, or one split; None where it is neither."""
    annotations, images = _child(folder, _ANNOTATIONS), _child(folder, _IMAGES)
    masks = folder / "SegmentationObject"
    kit = folder / "Annotations", folder / "JPEGImages"
    if all(place.is_dir() for place in kit):
        return VocPlaces(*kit, masks)
    if annotations is not None and images is not None and has_annotations(annotations):
        return VocPlaces(annotations, images, masks)
    if has_annotations(folder):
        # Files in one folder with others, such as annotations that were saved above their images.
        if any(f.suffix.lower() in IMAGE_SUFFIXES for f in folder.iterdir()):
            return VocPlaces(folder, folder, masks)
        if images is not None:
            return VocPlaces(folder, images, masks)
    return None


def _by_list(folder: Path, places: VocPlaces) -> dict[str, VocPlaces]:
    """A split for each list; lists of one class (``dog_train.txt``, two columns) are none."""
    sets = _child(folder, ("imagesets",))
    main = None if sets is None else _child(sets, ("main",))
    files = [] if main is None else sorted(main.glob("*.txt"))
    named = {f.stem: f for f in files if f.stem in _STANDARD or not _is_of_one_class(f)}
    return {stem: VocPlaces(places.annotations, places.images, places.masks, file) for stem, file in named.items()} or {
        ALL: places
    }


def _by_folder(folder: Path) -> dict[str, VocPlaces]:
    """A split for each folder that is called after one."""
    found: dict[str, VocPlaces] = {}
    for below in _folders(folder):
        split = _SPLIT_FOLDERS.get(below.name.casefold())
        places = None if split is None else _places(below)
        if split is not None and places is not None:
            found[split if split not in found else below.name] = places
    return found


def _child(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The folder below of one of these names, in any letter case; the first name counts before the others."""
    below = _folders(folder)
    return next((f for name in names for f in below if f.name.casefold() == name), None)


def _folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:  # folders of 100,000 images are passed over quickly
        return sorted(Path(entry.path) for entry in entries if not entry.name.startswith(".") and entry.is_dir())


def _is_annotation(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            start = stream.read(_BEGINNING)
    except OSError:  # reading it will be the error, where others say what the folder is
        return False
    # UTF-16 is the same text with zeros between.
    return _ROOT_ELEMENT.search(start.replace(b"\0", b"")) is not None


def _is_of_one_class(file: Path) -> bool:
    first: Iterator[list[str]] = (line.split() for line in read_list(file))
    values = next(first, [])
    return len(values) > 1 and values[-1] in ("-1", "0", "1")
