"""A set of images in COCO's form, written: ``annotations/*.json``, and a folder of images for each split.

Every entry is written as it was read, so that ids, masks, areas, dates, licences and whatever else an entry holds come
back unchanged. Files that were COCO's keep their names; captions beside them are copied.
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sightline.data.formats import coco, coco_write
from sightline.data.formats.writing import ALL_FEATURES, Output, image_name, inner_path
from sightline.data.tables import Tables

CARRIES = frozenset(ALL_FEATURES)
"""What the format carries: all there is."""


def write(splits: Mapping[str, Tables], output: Output) -> None:
    """Writes a set.

    Args:
        splits: the annotations of each split, by name.
        output: where to.

    Raises:
        DataError: an image that is not there.
        OSError: the disk is full or the folder cannot be written.
    """
    taken: set[str] = set()
    for split, tables in splits.items():
        stem = _stem(split, tables, taken)
        taken.add(stem)
        folder = stem.rpartition("_")[2]
        names = [
            output.put_image(tables.image_path(row), f"{folder}/{_name(tables, row)}")
            for row in range(len(tables.images))
        ]
        coco_write.write(
            output.folder / "annotations" / f"{stem}.json",
            tables.categories,
            (_image(tables, row, name[len(folder) + 1 :]) for row, name in enumerate(names)),
            _annotations(tables),
            tables.header,
            output.losses,
        )
        captions = captions_file(tables)
        if captions is not None:
            shutil.copyfile(captions, output.folder / "annotations" / captions.name)


def _name(tables: Tables, row: int) -> str:
    """A COCO file's own names come back; those of other formats lose the folders that belong to the format."""
    return inner_path(tables.images.files[row]) if tables.form == "coco" else image_name(tables, row)


def captions_file(tables: Tables) -> Path | None:
    """The captions of the same images beside a COCO file; None where there are none."""
    if tables.form != "coco":
        return None
    tail = tables.source.stem.rpartition("_")[2]
    path = tables.source.with_name(f"captions_{tail}.json")
    return path if path.is_file() and path != tables.source else None


def _stem(split: str, tables: Tables, taken: set[str]) -> str:
    own = tables.source.stem
    official = tables.form == "coco" and tables.source.name != coco.ROBOFLOW and own not in taken
    if official and coco.split_name(tables.source) in (split, own):
        return own
    return f"instances_{split}" if "_" not in split else split


def _image(tables: Tables, row: int, name: str) -> dict[str, Any]:
    entry = tables.image_entry(row)
    height, width = tables.images.sizes[row].tolist()
    return entry | {"file_name": name} | ({"height": height, "width": width} if height and width else {})


def _annotations(tables: Tables) -> Iterator[dict[str, Any]]:
    free = int(tables.objects.ids.max(initial=0)) + 1
    for row in range(len(tables.objects)):
        entry = tables.object_entry(row)
        if tables.objects.ids[row] == -1:
            entry["id"] = free
            free += 1
        if np.isnan(tables.objects.areas[row]):
            x1, y1, x2, y2 = tables.objects.boxes[row].tolist()
            entry["area"] = max(x2 - x1, 0.0) * max(y2 - y1, 0.0)
        yield entry
