"""COCO's JSON, written entry by entry, so that memory does not grow with the set."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from sightline.classes import Classes
from sightline.files import replace_atomically

Entry = Mapping[str, Any]

NOT_FINITE = "number that JSON does not know (NaN, infinity) written as null"
"""The reason under which such numbers are counted, once an entry."""


def categories_of(classes: Classes, keypoint_names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """COCO's category entries of classes; every one has the keypoints, where there are any."""
    keypoints = {"keypoints": list(keypoint_names), "skeleton": []} if keypoint_names else {}
    return [
        {"id": number, "name": name, "supercategory": ""} | keypoints
        for number, name in zip(classes.ids, classes.names, strict=True)
    ]


def write(
    path: Path,
    categories: Sequence[Entry],
    images: Iterable[Entry],
    annotations: Iterable[Entry],
    header: Mapping[str, Any] | None = None,
    losses: Counter[str] | None = None,
) -> None:
    """Writes one annotation file, whole or not at all.

    Args:
        path: the file; its folder is made, an older file is replaced.
        categories: COCO's category entries.
        images: COCO's image entries: id, file_name, height, width. All are taken before the first annotation.
        annotations: COCO's annotation entries: id, image_id, category_id, bbox, area, iscrowd ...
        header: what else goes to the top: info, licenses ...
        losses: where entries are counted whose NaN and infinities, which JSON does not know, become null. Default: such
            numbers are refused.

    Raises:
        ValueError: a number that JSON cannot hold (NaN, infinity), without ``losses``.
        OSError: the disk is full or the folder cannot be written.
    """

    def write_to(beside: Path) -> None:
        with beside.open("w", encoding="utf-8", newline="\n") as file:
            file.write("{")
            for key, value in (header or {}).items():
                file.write(f"{json.dumps(key)}: {_text(value, losses)},\n")
            for key, entries in (("images", images), ("annotations", annotations)):
                _write_list(file, key, entries, losses)
                file.write(",\n")
            _write_list(file, "categories", categories, losses)
            file.write("}\n")

    path.parent.mkdir(parents=True, exist_ok=True)
    replace_atomically(path, write_to)


def _write_list(file: IO[str], key: str, entries: Iterable[Entry], losses: Counter[str] | None) -> None:
    file.write(f'"{key}": [')
    for number, entry in enumerate(entries):
        file.write(",\n" if number else "\n")
        file.write(_text(entry, losses))
    file.write("]")


def _text(value: Any, losses: Counter[str] | None) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        if losses is None:
            raise
        losses[NOT_FINITE] += 1
        return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
