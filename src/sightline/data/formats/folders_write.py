"""Image folders, written: ``<split>/<class>/image``, or ``<class>/image`` for a set without splits.

The form knows one class an image and no place. An image goes to the class that covers most of it by the sum of its
objects' areas; crowds and difficult objects count only where there is nothing else. Every class has its folder, also
one without images. A set of a single class needs splits: ``<class>/image`` alone is not told from any other folder.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from sightline.data.formats import writing
from sightline.data.formats.folders import ALL, belongs_to_other_format, is_split_name
from sightline.data.formats.writing import Output, image_name
from sightline.data.tables import Tables
from sightline.errors import DataError

CARRIES = frozenset({writing.UNUSED_CLASSES})
"""What the format can hold, beyond one class an image."""

_LONGEST = 255
"""Bytes that file systems allow for the name of a folder."""

_OUTSIDE_WINDOWS = frozenset('<>:"|?*')


def write(splits: Mapping[str, Tables], output: Output) -> None:
    """Writes a set.

    Args:
        splits: the tables of each split; one that is called ``all`` and stands alone is written without its name.
        output: where to.

    Raises:
        DataError: a class or split whose name cannot be that of a folder, or a missing image.
        OSError: the disk is full or the folder cannot be written.
    """
    flat = tuple(splits) == (ALL,)
    for split, tables in splits.items():
        names = [str(category["name"]) for category in tables.categories]
        _require_names(names, tables, flat=flat)
        if not flat and not is_split_name(split):
            raise DataError(
                f"image folders cannot have a split {split!r}: it would be read as a class",
                place=tables.source,
                cure="name the splits train, val and test",
            )
        start = "" if flat else f"{split}/"
        for name in names:
            (output.folder / f"{start}{name}").mkdir(parents=True, exist_ok=True)
        _write_images(tables, start, names, output)


def _write_images(tables: Tables, start: str, names: Sequence[str], output: Output) -> None:
    order, first = tables.objects_by_image()
    for row in range(len(tables.images)):
        label = _label(tables, order[first[row] : first[row + 1]], output)
        if label is None:
            output.losses["image without objects left out"] += 1
            continue
        name = names[label]
        output.put_image(tables.image_path(row), f"{start}{name}/{_within(image_name(tables, row), name)}")


def _label(tables: Tables, objects: NDArray[np.int64], output: Output) -> int | None:
    """The class of an image; None where it has no objects."""
    labels = tables.objects.labels[objects]
    if len(np.unique(labels)) > 1:
        output.losses["image with several classes written to its largest"] += 1
    if not len(objects):
        return None
    counting = ~tables.objects.ignore[objects]
    if not counting.any():
        counting[:] = True
    boxes = tables.objects.boxes[objects]
    areas = tables.objects.areas[objects]
    areas = np.where(np.isnan(areas), (boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(axis=1), areas)
    # Of two classes with the same area the first one of the list: bincount and argmax keep their order.
    sums = np.bincount(labels, weights=np.where(counting, areas, 0.0), minlength=len(tables.categories))
    sums[np.setdiff1d(np.arange(len(sums)), labels[counting])] = -1.0
    return int(sums.argmax())


def _within(name: str, class_name: str) -> str:
    """A path below the folder of its class, without hidden parts; that folder itself is not repeated."""
    parts = [f"_{part[1:]}" if part.startswith(".") else part for part in PurePosixPath(name).parts]
    return "/".join(parts[1:] if len(parts) > 1 and parts[0] == class_name else parts)


def _require_names(names: Sequence[str], tables: Tables, *, flat: bool) -> None:
    folded: dict[str, str] = {}
    for name in names:
        same = folded.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        trouble = _trouble(name) or (f"on many systems it is the same as {same!r}" if same != name else "")
        if trouble:
            raise DataError(
                f"class {name!r} cannot be a folder: {trouble}", place=tables.source, cure="rename the class"
            )
    if flat and names and all(is_split_name(name) for name in names):
        raise DataError(
            f"classes {', '.join(names)} would be read as splits", place=tables.source, cure="rename the classes"
        )


def _trouble(name: str) -> str:
    """Why a name cannot be a folder's; empty where it can."""
    outside = any(unicodedata.category(c) in ("Cc", "Cs") or c in _OUTSIDE_WINDOWS for c in name)
    troubles = {
        "it is empty, or begins or ends with a blank": not name or name != name.strip(),
        "it begins or ends with a full stop": name.startswith(".") or name.endswith("."),
        "it has a slash": "/" in name or "\\" in name,
        f"it has a control character or one of {' '.join(sorted(_OUTSIDE_WINDOWS))}": outside,
        f"it is longer than {_LONGEST} bytes": len(name.encode(errors="replace")) > _LONGEST,
        "other formats use this name": belongs_to_other_format(name),
    }
    return next((trouble for trouble, holds in troubles.items() if holds), "")
