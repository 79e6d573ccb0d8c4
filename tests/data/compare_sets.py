"""What of a set is different after it went through another format, as kinds of difference."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from sightline.data.coco_masks import decode
from sightline.data.formats.masks import VOID_NAMES
from sightline.data.image_header import read_size
from sightline.data.tables import Tables
from sightline.errors import DataError

ALLOWED: Mapping[str, tuple[str, ...]] = {
    "images": ("images without objects", "image without objects left out", "image listed twice"),
    "classes": ("classes without objects", "crowd left out"),
    "class ids": ("ids of classes",),
    "image ids": ("ids of images",),
    "annotation ids": ("ids of annotations",),
    "objects": ("=boxes", "left out", "joined", "several objects", "outside", "no area", "partly under", "dropped"),
    "boxes": ("=boxes", "fractions of a pixel", "box "),
    "labels": ("several objects or classes", "several classes"),
    "masks": ("mask", "joined", "box written as a polygon"),
    "keypoints": ("keypoint",),
    "crowds": ("crowds", "crowd"),
    "difficult": ("difficult", "crowd"),
    "flags": ("truncated, occluded and pose",),
    "areas": ("areas that are not the box's", "=boxes"),
    "header": ("info, licences",),
    "image extras": ("other keys of images",),
    "annotation extras": ("other keys of annotations",),
}
"""By kind of difference, words of the announcements that speak of it; after a "=" the whole of one."""

_KNOWN = {"id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation", "keypoints", "num_keypoints"}
_NUMBERS = ("class ids", "image ids", "annotation ids")
_FLAGS = ("truncated", "occluded", "pose")


def differences(before: Mapping[str, Tables], after: Mapping[str, Tables]) -> Counter[str]:
    """Kinds of difference with the number of cases. Images are known by their bytes."""
    found: Counter[str] = Counter()
    names = [{c["name"]: c["id"] for tables in some.values() for c in tables.categories} for some in (before, after)]
    found["classes"] += len(names[0].keys() - names[1].keys())
    found["class ids"] += any(names[1].get(name, number) != number for name, number in names[0].items())
    for split, tables in before.items():
        other = after.get(split)
        if other is None:
            found["images"] += len(tables.images)
            continue
        found["header"] += dict(tables.header) != dict(other.header)
        rows = _by_content(other)
        for content, row in _by_content(tables).items():
            if content in rows:
                found.update(_image(tables, row, other, rows[content]))
            else:
                found["images"] += 1
        found["images"] += len(set(rows) - set(_by_content(tables)))
    if any(tables.form != "coco" for tables in before.values()):
        for kind in _NUMBERS:  # only COCO's are the user's; others are counted by the reader
            del found[kind]
    return +found


def unannounced(found: Counter[str], announced: Mapping[str, int]) -> dict[str, int]:
    """Differences of which no announcement speaks."""
    told = [text for text, number in announced.items() if number]
    return {kind: number for kind, number in found.items() if not any(_speaks(text, kind) for text in told)}


def _speaks(text: str, kind: str) -> bool:
    return any(word in text or word == f"={text}" for word in ALLOWED[kind])


def _by_content(tables: Tables) -> dict[str, int]:
    rows = range(len(tables.images))
    return {hashlib.sha256(tables.image_path(row).read_bytes()).hexdigest(): row for row in rows}


def _image(tables: Tables, row: int, other: Tables, other_row: int) -> Counter[str]:
    found: Counter[str] = Counter()
    found["image ids"] += int(tables.images.ids[row]) != int(other.images.ids[other_row])
    kept = [
        {"license", "date_captured", "depth"} & entry.keys() for entry in _image_entries(tables, row, other, other_row)
    ]
    found["image extras"] += kept[0] > kept[1]
    one, two = _objects(tables, row), _objects(other, other_row)
    if tables.form != "masks":  # which says of pixels without an object that they are of no class
        two = [entry for entry in two if entry["name"] not in VOID_NAMES]
    if len(one) != len(two):
        found["objects"] += abs(len(one) - len(two))
        return found
    for first, second in zip(one, two, strict=True):
        found.update(_object(first, second))
    return found


def _image_entries(tables: Tables, row: int, other: Tables, other_row: int) -> list[dict[str, Any]]:
    return [tables.image_entry(row), other.image_entry(other_row)]


def _objects(tables: Tables, row: int) -> list[dict[str, Any]]:
    """The entries of an image with the values of the tables, in an order that formats cannot change."""
    objects = tables.objects
    found = []
    for i in np.flatnonzero(objects.images == row).tolist():
        entry = tables.object_entry(i)
        entry["size"] = read_size(tables.image_path(row))
        entry["name"] = tables.categories[int(objects.labels[i])]["name"]
        entry["box"] = objects.boxes[i]
        entry["points"] = None if objects.keypoints is None else objects.keypoints[i]
        entry["number"] = int(objects.ids[i])
        found.append(entry)
    return sorted(found, key=lambda entry: (entry["name"], np.rint(entry["box"]).tolist()))


def _object(one: dict[str, Any], two: dict[str, Any]) -> Counter[str]:
    found: Counter[str] = Counter()
    found["labels"] += one["name"] != two["name"]
    found["boxes"] += bool(np.abs(one["box"] - two["box"]).max() > 0.01)
    found["annotation ids"] += one["number"] != two["number"]
    found["crowds"] += bool(one.get("iscrowd")) != bool(two.get("iscrowd"))
    found["difficult"] += bool(one.get("difficult")) != bool(two.get("difficult"))
    found["flags"] += any(one.get(key) and one.get(key) != two.get(key) for key in _FLAGS)
    area = one.get("area")
    found["areas"] += area is not None and abs(area - (two.get("area") or _extent(two))) > 0.02 * area + 0.1
    found["annotation extras"] += any(key not in two for key in ("caption", "score", "attributes") if key in one)
    found["masks"] += not _same_masks(one, two)
    found["keypoints"] += not _same_points(one["points"], two["points"])
    return found


def _extent(entry: dict[str, Any]) -> float:
    x1, y1, x2, y2 = entry["box"].tolist()
    return float((x2 - x1) * (y2 - y1))


def _mask(entry: dict[str, Any]) -> Any:
    value = entry.get("segmentation")
    try:
        return decode(value, entry["size"]) if value else None
    except DataError:
        return None


def _same_masks(one: dict[str, Any], two: dict[str, Any]) -> bool:
    first, second = _mask(one), _mask(two)
    if first is None or second is None:
        return first is second
    # Coordinates are written with so many digits: no more than rounding at the edge of a pixel.
    return int((first ^ second).sum()) <= 0.02 * max(int(first.sum()), 1)


def _same_points(one: Any, two: Any) -> bool:
    if one is None or two is None:
        return (one is None or not one.any()) and (two is None or not two.any())
    if one.shape != two.shape:
        return False
    seen = one[:, 2] > 0
    return bool(np.allclose(one[seen], two[seen], atol=0.01) and np.array_equal(seen, two[:, 2] > 0))
