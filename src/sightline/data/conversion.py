"""From any format to any other, with every loss told.

COCO is the canonical form: every reader gives COCO's entries, every writer takes them. What a set holds is counted;
what the target format has no place for is a loss that is known before anything is written. Changes that depend on the
single object (a hole that is filled, a box that is clipped) are counted by the writer.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sightline.data.findings import Findings
from sightline.data.formats import writing
from sightline.data.formats.coco_set import captions_file
from sightline.data.formats.json_stream import Chunk, read_members
from sightline.data.formats.layouts import recognise
from sightline.data.formats.writers import WRITERS, Format
from sightline.data.formats.writing import ImageMode, Output
from sightline.data.records import require_fitting_images, usable_sizes
from sightline.data.tables import Tables
from sightline.errors import ConfigError
from sightline.files import require_outside, whole_folder

_IMAGE_KEYS = frozenset({"id", "file_name", "height", "width", "filename"})
_ANNOTATION_KEYS = frozenset(
    {"id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation", "keypoints", "num_keypoints"}
    | {"difficult", "truncated", "occluded", "pose", "whole_image"}
)
_CATEGORY_KEYS = frozenset({"id", "name", "keypoints"})


@dataclass(frozen=True)
class Conversion:
    """What a conversion did, or would do.

    Args:
        source: where the set was.
        form: its format.
        target: the new format.
        splits: images and objects of each split.
        lost: what the new format has no place for, with the number of cases.
        changed: what was changed object by object, with the number of cases; empty before it is written.
    """

    source: Path
    form: str
    target: str
    splits: Mapping[str, tuple[int, int]]
    lost: Mapping[str, int]
    changed: Counter[str] = field(default_factory=Counter)


def read_splits(path: Path, names: tuple[str, ...] = ()) -> tuple[str, dict[str, Tables]]:
    """The format of a set, and some or all of its splits as they are written.

    Args:
        path: as for ``open_dataset``.
        names: of the splits; none stands for all.

    Raises:
        DataError: nothing to recognise, no such split, or annotations that cannot be used.
    """
    layout = recognise(path)
    layout.require(names, path)
    tables = {}
    for name in names or layout.readers:
        findings = Findings()
        tables[name] = layout.readers[name](findings)
        require_fitting_images(tables[name], usable_sizes(tables[name], findings))
    return layout.form, tables


def target_format(name: str) -> Format:
    """A format that can be written.

    Raises:
        ConfigError: no such format.
    """
    if name not in WRITERS:
        raise ConfigError(f"unknown format {name!r}", cure=f"choose one of {', '.join(WRITERS)}")
    return WRITERS[name]


def plan(path: Path, target: str, splits: tuple[str, ...] = ()) -> Conversion:
    """What a conversion would lose; nothing is written. Raises as :func:`convert`."""
    wanted = target_format(target)
    form, tables = read_splits(path, splits)
    return _planned(path, form, tables, target, wanted)


def convert(
    path: Path,
    target: str,
    out: Path,
    *,
    splits: tuple[str, ...] = (),
    images: ImageMode = "copy",
) -> Conversion:
    """Writes a set in another format.

    Args:
        path: the set, as for ``open_dataset``; it is only read.
        target: name of the format.
        out: a folder that does not exist; it is there only when all is written.
        splits: which splits; none stands for all.
        images: copied, or linked.

    Raises:
        ConfigError: no such format, or a folder that is there already.
        DataError: annotations that cannot be used, or missing images.
        OSError: the disk is full.
    """
    wanted = target_format(target)
    form, tables = read_splits(path, splits)
    planned = _planned(path, form, tables, target, wanted)
    require_outside(out, path)
    with whole_folder(out) as folder:
        output = Output(folder, images)
        wanted.write(tables, output)
    return Conversion(path, form, target, planned.splits, planned.lost, output.losses)


def _planned(path: Path, form: str, tables: Mapping[str, Tables], target: str, wanted: Format) -> Conversion:
    for name in tables:
        writing.require_split_name(name, path)
    held: Counter[str] = Counter()
    for split in tables.values():
        held.update(features(split, wanted.keeps))
    lost = {name: held[name] for name in writing.ALL_FEATURES if held[name] and name not in wanted.carries}
    return Conversion(path, form, target, {name: (len(t.images), len(t.objects)) for name, t in tables.items()}, lost)


def features(tables: Tables, keeps: frozenset[str] = frozenset()) -> Counter[str]:
    """How often a split holds each of what formats carry or not (``formats.writing``).

    Args:
        tables: the split.
        keeps: further keys of entries that a format has a place for.
    """
    held: Counter[str] = Counter()
    objects, coco = tables.objects, tables.form == "coco"
    per_image = np.bincount(objects.images, minlength=len(tables.images))
    ids = [category["id"] for category in tables.categories]
    held[writing.BOXES] = len(objects)
    held[writing.BOX_FRACTIONS] = int((objects.boxes != np.rint(objects.boxes)).any(axis=1).sum())
    held[writing.CLASS_PER_OBJECT] = int((per_image > 1).sum())
    held[writing.IMAGE_IDS] = len(tables.images) if coco else 0
    held[writing.ANNOTATION_IDS] = int((objects.ids != -1).sum()) if coco else 0
    held[writing.CATEGORY_IDS] = len(ids) if ids != list(range(1, len(ids) + 1)) else 0
    held[writing.CATEGORY_EXTRAS] = sum(_has_more(category, _CATEGORY_KEYS) for category in tables.categories)
    held[writing.UNUSED_CLASSES] = len(ids) - len(np.unique(objects.labels))
    held[writing.EMPTY_IMAGES] = int((per_image == 0).sum())
    held[writing.HEADER] = sum(bool(value) for value in tables.header.values())
    held[writing.CAPTIONS] = _captions(tables)
    held[writing.CLASS_ORDER] = int(
        [c["name"] for c in tables.categories] != sorted(c["name"] for c in tables.categories)
    )
    known = _IMAGE_KEYS | keeps
    held[writing.IMAGE_EXTRAS] = sum(_has_more(tables.image_entry(i), known) for i in range(len(tables.images)))
    for row in range(len(objects)):
        entry = {key: value for key, value in tables.object_entry(row).items() if key not in keeps}
        held.update(name for name, test in _PER_OBJECT.items() if test(entry))
    return +held


def _has_more(entry: Mapping[str, Any], known: frozenset[str]) -> bool:
    return any(value not in (None, "", [], {}) for key, value in entry.items() if key not in known)


def _own_area(entry: Mapping[str, Any]) -> bool:
    area, (_, _, width, height) = entry.get("area"), entry["bbox"]
    return area is not None and abs(area - width * height) > 0.01 * abs(area) + 0.01


_PER_OBJECT: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    writing.MASKS: lambda entry: bool(entry.get("segmentation")),
    writing.MASK_RUNS: lambda entry: isinstance(entry.get("segmentation"), dict),
    writing.KEYPOINTS: lambda entry: any(entry.get("keypoints") or ()),
    writing.AREAS: _own_area,
    writing.CROWDS: lambda entry: bool(entry.get("iscrowd")),
    writing.DIFFICULT: lambda entry: bool(entry.get("difficult")),
    writing.FLAGS: lambda entry: (
        any(entry.get(key) for key in ("truncated", "occluded")) or entry.get("pose", "Unspecified") != "Unspecified"
    ),
    writing.ANNOTATION_EXTRAS: lambda entry: _has_more(entry, _ANNOTATION_KEYS),
}


def _captions(tables: Tables) -> int:
    path = captions_file(tables)
    if path is None:
        return 0
    return sum(len(part.spans) for part in read_members(path, ("annotations",)) if isinstance(part, Chunk))
