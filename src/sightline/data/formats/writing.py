"""What the writers of all formats share: where images go, and what a format cannot carry."""

import os
import shutil
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from sightline.data.formats.path_texts import can_be_a_path
from sightline.data.tables import Tables
from sightline.errors import DataError

ImageMode = Literal["copy", "link"]
"""Whether images are copied, or linked (hard links: no space, but one file under two names)."""

# What a set can hold. A writer says which of these its format carries; the rest is counted and told before and after.
BOXES = "boxes"
BOX_FRACTIONS = "fractions of a pixel in boxes"
MASKS = "masks"
MASK_RUNS = "masks as run lengths, holes and single pixels included"
KEYPOINTS = "keypoints"
CLASS_PER_OBJECT = "several objects or classes in one image"
IMAGE_IDS = "ids of images"
ANNOTATION_IDS = "ids of annotations"
CATEGORY_IDS = "ids of classes"
CLASS_ORDER = "order of classes, which is alphabetical there"
CATEGORY_EXTRAS = "supercategories, skeletons and other keys of classes"
UNUSED_CLASSES = "classes without objects"
AREAS = "areas that are not the box's"
CROWDS = "crowds"
DIFFICULT = "difficult"
FLAGS = "truncated, occluded and pose"
CAPTIONS = "captions"
EMPTY_IMAGES = "images without objects"
IMAGE_EXTRAS = "other keys of images (licence, date, address, database ...)"
ANNOTATION_EXTRAS = "other keys of annotations"
HEADER = "info, licences and other keys at the top"

ALL_FEATURES = (
    *(
        BOXES,
        BOX_FRACTIONS,
        MASKS,
        MASK_RUNS,
        KEYPOINTS,
        CLASS_PER_OBJECT,
        IMAGE_IDS,
        ANNOTATION_IDS,
        CATEGORY_IDS,
        CLASS_ORDER,
    ),
    *(CATEGORY_EXTRAS, UNUSED_CLASSES, AREAS, CROWDS, DIFFICULT, FLAGS, CAPTIONS, EMPTY_IMAGES, IMAGE_EXTRAS),
    *(ANNOTATION_EXTRAS, HEADER),
)
"""All of them, in the order in which they are told."""


@dataclass(eq=False)
class Output:
    """Where a set is written.

    Args:
        folder: exists, is empty, and belongs to the writer.
        images: whether images are copied or linked.
        losses: what was lost or changed object by object, counted by reason; writers add to it.
    """

    folder: Path
    images: ImageMode = "copy"
    losses: Counter[str] = field(default_factory=Counter)
    _placed: dict[str, str] = field(default_factory=dict)
    _sources: dict[str, str] = field(default_factory=dict)

    def put_image(self, source: Path, target: str) -> str:
        """Copies or links an image, once however often it is asked for.

        Args:
            source: the image file.
            target: path below the folder, with forward slashes, where it is to lie.

        Returns:
            The path below the folder where it lies: another name where two images want the same.

        Raises:
            DataError: the image is not there, or cannot be read.
            OSError: the disk is full or the folder cannot be written.
        """
        key = f"{source}\0{target}"
        if key in self._placed:
            return self._placed[key]
        if not can_be_a_path(str(source)) or not source.is_file():
            raise DataError("there is no such image file", place=source, cure="put it there, or remove its entry")
        place = self._free(target)
        if not can_be_a_path(place):
            raise DataError(f"no image can be named {place[:60]!r} ...", place=source, cure="give it a shorter name")
        destination = self.folder / place
        destination.parent.mkdir(parents=True, exist_ok=True)
        if self.images == "link":
            os.link(source.resolve(), destination)
        else:
            shutil.copyfile(source, destination)
        self._placed[key] = place
        if place != target:
            self.losses["image renamed: another one has its name"] += 1
        return place

    def _free(self, target: str) -> str:
        path, number = PurePosixPath(target), 1
        place = target
        while place.casefold() in self._sources:
            number += 1
            place = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
        self._sources[place.casefold()] = place
        return place


def require_split_name(name: str, place: Path) -> None:
    """Refuses a split after which no file or folder can be named.

    Raises:
        DataError: with the set's place.
    """
    outside = any(c in "/\\" or unicodedata.category(c) in ("Cc", "Cs") for c in name)
    if outside or name in ("", ".", "..") or len(name.encode(errors="replace")) > _LONGEST_SPLIT:
        shown = name if len(name) < 60 else f"{name[:57]}..."
        raise DataError(f"no file can be named after a split {shown!r}", place=place, cure="rename the split")


def inner_path(name: str) -> str:
    """A file's name as a path that stays below a folder: absolute paths and ``..`` lose what leads outside."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    kept = parts[-1:] if name.startswith("/") or ".." in PurePosixPath(name).parts else parts
    return "/".join(kept) or "image"


def image_name(tables: Tables, row: int) -> str:
    """The name of an image below the images' folder of a new set: without the folders that belong to its format."""
    name = inner_path(tables.images.files[row])
    while True:
        first, _, rest = name.partition("/")
        if not rest or first.casefold() not in _FORMAT_FOLDERS:
            return name
        name = rest


_LONGEST_SPLIT = 200
"""Bytes; file systems allow 255 for a name, which has more to it."""

_FORMAT_FOLDERS = frozenset({"images", "jpegimages", "train", "val", "valid", "test", "train2017", "val2017"})
