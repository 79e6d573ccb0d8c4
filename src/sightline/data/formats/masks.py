"""Semantic segmentation as label images, read: a PNG for each picture, whose values are classes.

Three layouts: ``<split>/`` beside ``<split>annot/`` (SegNet's copy of CamVid); ``images/`` beside ``masks/``,
``labels/`` or ``annotations/``, with the same folder below for each split, or without splits; PASCAL VOC's
``JPEGImages/`` and ``SegmentationClass/`` where there is no ``Annotations/``. A picture and its mask have the same path
but for the suffix.

``classes.txt`` names the classes: ``value name`` in every line, or one name a line in the order of the values from 0.
Without it the values are the names. Every class of an image becomes one object with a mask, and the box around all of
its pixels. The value 255, unless it has a name of its own, and classes called void, unlabelled or ignore become crowds,
which neither count nor cost.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.classes import Size
from sightline.data.findings import Findings
from sightline.data.formats.label_images import VOID
from sightline.data.image_header import IMAGE_SUFFIXES, read_size
from sightline.data.mask_files import MASK_FILE, read_labels
from sightline.data.tables import Tables, TablesBuilder
from sightline.errors import DataError

VOID_NAMES = frozenset({"void", "unlabelled", "unlabeled", "ignore"})
"""Classes, in lower case, that stand for pixels without a class."""

CLASSES_FILE = "classes.txt"
"""Where the names of classes are, in the set's folder."""

VALUE = "value"
"""Key of a category entry that says which value its pixels have."""

ALL = "all"
"""The split of a folder without splits."""

MOST = 65535
"""The largest value, that of 16-bit grey."""

_MASK_FOLDERS = ("masks", "labels", "annotations")
_OTHER_ANNOTATIONS = frozenset({".txt", ".xml", ".json"})
_VALUE_AND_NAME = re.compile(r"(\d{1,5})[\s:,;=]+(\S.*)")
_SEGMENTATION = Path("ImageSets") / "Segmentation"


@dataclass(frozen=True)
class Part:
    """Where a split lies.

    Args:
        images: folder of the pictures.
        masks: folder of the label images.
        listed: a list of the stems that belong to it, one a line; None takes all.
    """

    images: Path
    masks: Path
    listed: Path | None = None


def find_splits(folder: Path) -> dict[str, Part]:
    """The splits of a folder; empty where it is no set in this form."""
    return _beside(folder) or _images_and_masks(folder) or _voc(folder)


def read(folder: Path, split: str, findings: Findings, names: Sequence[str] | None = None) -> Tables:
    """One split.

    Args:
        folder: the set.
        split: one of :func:`find_splits`.
        findings: where defects are noted; what cannot be used is left out.
        names: the classes in the order of their values, from 0, instead of ``classes.txt``.

    Raises:
        DataError: a list of classes or images that cannot be read.
    """
    pairs = {
        name: _pairs(part, findings if name == split else Findings()) for name, part in find_splits(folder).items()
    }
    listed = dict(enumerate(names)) if names is not None else _listed(folder / CLASSES_FILE)
    pictures = [picture for pair in pairs[split] if (picture := _picture(*pair, findings)) is not None]
    own = {region.value for picture in pictures for region in picture.regions}
    elsewhere = (mask for name, others in pairs.items() if name != split for _, mask in others)
    classes = _classes(listed, own, elsewhere)
    numbers = {pair: i for i, pair in enumerate((pair for part in pairs.values() for pair in part), start=1)}
    label_of = {value: label for label, value in enumerate(classes)}
    builder = TablesBuilder("masks", folder, folder, object_place="value {}")
    for picture in pictures:
        name = picture.image.relative_to(folder).as_posix()
        number = numbers[picture.image, picture.mask]
        row = builder.add_image(name, size=picture.size, source=str(picture.mask), number=number)
        for region in picture.regions:
            if region.value in label_of:
                void = _is_void(region.value, listed)
                builder.add_object(
                    row, label_of[region.value], region.box, row=region.value, extra=_extra(picture, region, void)
                )
            else:
                what = f"value {region.value} is no class of {folder / CLASSES_FILE if names is None else 'the set'}"
                findings.add("class-unknown", what, picture.mask, image=str(picture.image))
    categories = [
        {"id": i, "name": name, "supercategory": "", VALUE: value}
        for i, (value, name) in enumerate(classes.items(), start=1)
    ]
    return builder.build(categories)


@dataclass(frozen=True)
class _Region:
    """All pixels of a value: box (x1, y1, x2, y2) around them, and how many they are."""

    value: int
    box: tuple[int, int, int, int]
    area: int


@dataclass(frozen=True)
class _Picture:
    """An image whose mask could be read."""

    image: Path
    mask: Path
    size: Size
    regions: list[_Region]


def _extra(picture: _Picture, region: _Region, void: bool) -> dict[str, Any]:
    reference = {"path": str(picture.mask.absolute()), "value": region.value}
    return {"area": region.area, "iscrowd": int(void), MASK_FILE: reference}


def _is_void(value: int, listed: Mapping[int, str]) -> bool:
    return listed[value].casefold() in VOID_NAMES if value in listed else value == VOID


def _classes(listed: Mapping[int, str], own: Iterable[int], elsewhere: Iterator[Path]) -> dict[int, str]:
    """The name of each value that is a class, in order of value: the same whichever split is read."""
    if listed:
        # Only 255 can be a class that no list names, and it is one in all splits or in none.
        unnamed = VOID not in listed and (VOID in own or any(VOID in _values(mask) for mask in elsewhere))
        values = sorted([*listed, VOID] if unnamed else listed)
    else:
        values = sorted(set(own).union(*(_values(mask) for mask in elsewhere)))
    taken = {name.casefold() for name in listed.values()}
    free = ("void", str(VOID), *(f"void {number}" for number in range(2, len(taken) + 3)))
    void = next(name for name in free if name not in taken)
    return {value: listed.get(value, void if value == VOID else str(value)) for value in values}


def _listed(file: Path) -> dict[int, str]:
    """The names in a list of classes by value; empty where there is no list."""
    if not file.is_file():
        return {}
    lines = read_lines(file)
    pairs = [_VALUE_AND_NAME.fullmatch(line) for line in lines]
    found = [(int(pair[1]), pair[2]) for pair in pairs if pair is not None]
    if len(found) < len(lines):
        found = list(enumerate(lines))
    listed = dict(found)
    if len(listed) < len(found) or len(set(listed.values())) < len(found) or max(listed, default=0) > MOST:
        raise DataError(
            f"a value or name is there twice, or a value is above {MOST}",
            place=file,
            cure="give each class one line: its value, a blank, its name",
        )
    return listed


def read_lines(file: Path) -> list[str]:
    """The lines of a list that are not empty, without blanks at their ends.

    Raises:
        DataError: it cannot be read as UTF-8.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the list cannot be read ({error})", place=file, cure="save it as UTF-8") from error
    return [line.strip() for line in lines if line.strip()]


def _values(mask: Path) -> set[int]:
    """The values in a label image of another split; what is wrong with it is told when that one is read."""
    try:
        labels = read_labels(str(mask))
    except DataError:
        return set()
    if labels.min() < 0 or labels.max() > MOST:
        return set()
    return set(np.flatnonzero(np.bincount(labels.ravel())).tolist())


def _picture(image: Path, mask: Path, findings: Findings) -> _Picture | None:
    try:
        labels = read_labels(str(mask))
    except DataError as error:
        code = "value-malformed" if "colours" in error.what else "file-unreadable"
        findings.add_error(code, error, image=str(image))
        return None
    try:
        size = read_size(image)
    except DataError as error:
        findings.add_error("image-damaged", error, image=str(image))
        return None
    if labels.shape != size:
        what = f"the mask has {labels.shape[0]} x {labels.shape[1]} pixels, the image {size[0]} x {size[1]}"
        findings.add("mask-size-differs", f"{what} (height x width)", mask, image=str(image))
        return None
    if labels.min() < 0 or labels.max() > MOST:
        what = f"values must be in 0..{MOST}, got {labels.min()}..{labels.max()}"
        findings.add("value-malformed", what, mask, image=str(image))
        return None
    return _Picture(image, mask, size, _regions(labels))


def _regions(labels: NDArray[np.int32]) -> list[_Region]:
    """The values of a (H, W) label image with their boxes, in order of value; values are 0..65535."""
    counts = np.bincount(labels.ravel())
    values = np.flatnonzero(counts)
    place = np.zeros(len(counts), np.int64)
    place[values] = np.arange(len(values))
    compact = place[labels]
    height, width = labels.shape
    in_row = np.zeros((len(values), height), np.bool_)
    in_column = np.zeros((len(values), width), np.bool_)
    in_row[compact, np.arange(height)[:, None]] = True
    in_column[compact, np.arange(width)] = True
    top, left = in_row.argmax(axis=1).tolist(), in_column.argmax(axis=1).tolist()
    bottom = (height - in_row[:, ::-1].argmax(axis=1)).tolist()
    right = (width - in_column[:, ::-1].argmax(axis=1)).tolist()
    boxes = zip(left, top, right, bottom, strict=True)
    areas = counts[values].tolist()
    return [_Region(value, box, area) for value, box, area in zip(values.tolist(), boxes, areas, strict=True)]


def _beside(folder: Path) -> dict[str, Part]:
    """``train/`` beside ``trainannot/``."""
    pairs = [(f, folder / f"{f.name}annot") for f in _folders(folder)]
    return {f.name: Part(f, masks) for f, masks in pairs if masks.is_dir() and _holds_masks(masks)}


def _images_and_masks(folder: Path) -> dict[str, Part]:
    """``images/`` beside ``masks/``, each with the same folders below, or without any."""
    images = folder / "images"
    masks = next((m for name in _MASK_FOLDERS if (m := folder / name).is_dir() and _holds_masks(m)), None)
    if masks is None or not images.is_dir():
        return {}
    if any(_is_image(f) for f in images.iterdir()):
        return {ALL: Part(images, masks)}
    return {f.name: Part(f, masks / f.name) for f in _folders(images) if (masks / f.name).is_dir()}


def _voc(folder: Path) -> dict[str, Part]:
    """PASCAL VOC's pictures of classes, where there are no boxes."""
    images, masks = folder / "JPEGImages", folder / "SegmentationClass"
    if (folder / "Annotations").is_dir() or not images.is_dir() or not masks.is_dir() or not _holds_masks(masks):
        return {}
    lists = sorted((folder / _SEGMENTATION).glob("*.txt"))
    return {f.stem: Part(images, masks, f) for f in lists} or {ALL: Part(images, masks)}


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(f for f in folder.iterdir() if not f.name.startswith(".") and f.is_dir())


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _holds_masks(folder: Path) -> bool:
    """Whether label images lie below a folder, and no other annotations."""
    suffixes = {Path(name).suffix.lower() for _, _, files in os.walk(folder) for name in files if name[0] != "."}
    return ".png" in suffixes and not suffixes & _OTHER_ANNOTATIONS


def _pairs(part: Part, findings: Findings) -> list[tuple[Path, Path]]:
    """The images of a split with their masks, in order; what has no partner is noted."""
    images, masks = _by_stem(part.images, IMAGE_SUFFIXES), _by_stem(part.masks, frozenset({".png"}))
    if part.listed is None:
        members = sorted(images)
        for stem in sorted(set(masks) - set(images)):
            findings.add("image-missing", f"there is no image {stem}.* in {part.images}", masks[stem][0])
    else:
        members = _members(part.listed, findings)
    pairs = []
    for stem in members:
        found = images.get(stem, [])
        if stem not in masks:
            place = str(found[0]) if found else f"{part.images / stem}.*"
            findings.add("annotation-missing", f"there is no mask {part.masks / stem}.png", place)
        elif len(found) != 1:
            several = f"several images are named {stem}: {', '.join(f.name for f in found)}"
            findings.add("image-missing", several if found else f"there is no image {stem}.*", masks[stem][0])
        else:
            pairs.append((found[0], masks[stem][0]))
    return pairs


def _members(file: Path, findings: Findings) -> list[str]:
    stems: dict[str, None] = {}
    for line, stem in enumerate(read_lines(file), start=1):
        if stem in stems:
            findings.add("image-listed-twice", f"{stem} is listed more than once", file, f"entry {line}")
        stems[stem] = None
    return list(stems)


def _by_stem(folder: Path, suffixes: frozenset[str]) -> dict[str, list[Path]]:
    """The files below a folder by their path in it without suffix."""
    found: dict[str, list[Path]] = {}
    for place, below, files in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(files):
            path = Path(place) / name
            if not name.startswith(".") and path.suffix.lower() in suffixes:
                found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
    return found
