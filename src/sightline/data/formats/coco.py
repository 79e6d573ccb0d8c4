"""COCO's JSON: images, annotations and categories (cocodataset.org/#format-data), read and written.

Category ids may have holes; labels 0..K-1 follow the order of ids, and ``Classes.ids`` keeps the originals. Boxes are
stored as x, y, width, height from the image's upper left corner. ``iscrowd`` becomes ``Record.ignore``. Segmentations
stay undecoded until a mask is asked for.

A file that breaks the format is refused with the place in it (``annotations[17].bbox``). Boxes that leave the image are
clipped, boxes without an area are dropped; both are counted.
"""

import json
import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.decode import read_size
from sightline.data.formats.checked_json import CheckedJson, is_finite, shortened
from sightline.data.records import SHORT_POLYGON, SIZE_FROM_FILE, Content, Record, box_areas, fit_boxes
from sightline.structures import Classes, Size

_OFFICIAL = re.compile(r"instances_([A-Za-z]+?)_?(\d{4})?")
_ROBOFLOW = "_annotations.coco.json"


def find_splits(folder: Path) -> dict[str, Path]:
    """The annotation files of a folder by the name of their split; empty when it has none.

    ``annotations/instances_train2017.json`` is split ``train``, any other file there counts by its stem (caption files
    hold no objects and are left out), and ``train/_annotations.coco.json`` counts by its folder.
    """
    files = sorted(f for f in folder.glob("annotations/*.json") if not f.name.startswith("captions_"))
    short = Counter(split_name(file) for file in files)
    found = {split_name(file) if short[split_name(file)] == 1 else file.stem: file for file in files}
    for file in sorted(folder.glob(f"*/{_ROBOFLOW}")):
        found.setdefault(file.parent.name, file)
    return found


def split_name(json_path: Path) -> str:
    """``train`` for ``instances_train2017.json`` and for ``train/_annotations.coco.json``; else the file's stem."""
    if json_path.name == _ROBOFLOW:
        return json_path.parent.name
    official = _OFFICIAL.fullmatch(json_path.stem)
    return official.group(1) if official else json_path.stem


def read(json_path: Path, image_root: Path | None = None) -> Content:
    """One annotation file.

    Args:
        json_path: the file.
        image_root: the folder that ``file_name`` starts from. Default: the first of the usual places beside the file
            (``train2017/``, ``images/train2017/``, ``train/``, ``images/``, the file's own folder ...) that holds the
            first image.

    Raises:
        DataError: the file is missing, no JSON, not COCO's structure, or names images that are not there.
    """
    source = CheckedJson(json_path)
    top = source.load()
    classes, label_of, keypoint_names = _categories(source, top)
    findings: Counter[str] = Counter()
    images = _images(source, top, image_root, findings)
    objects = _objects(source, top, images, label_of, len(keypoint_names))
    return Content(classes, _records(images, objects, len(keypoint_names), findings), findings, keypoint_names)


def write(
    path: Path,
    classes: Classes,
    images: Sequence[dict[str, Any]],
    annotations: Sequence[dict[str, Any]],
    keypoint_names: Sequence[str] = (),
) -> None:
    """Writes one annotation file, whole or not at all.

    Args:
        path: the file; its folder is made, an older file is replaced.
        classes: become the categories.
        images: COCO's image entries: id, file_name, height, width.
        annotations: COCO's annotation entries: id, image_id, category_id, bbox, area, iscrowd ...
        keypoint_names: the keypoints that every category has.

    Raises:
        ValueError: a number that JSON cannot hold (NaN, infinity).
    """
    keypoints = {"keypoints": list(keypoint_names), "skeleton": []} if keypoint_names else {}
    categories = [
        {"id": i, "name": name, "supercategory": ""} | keypoints
        for i, name in zip(classes.ids, classes.names, strict=True)
    ]
    content = {"images": list(images), "annotations": list(annotations), "categories": categories}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(content, file, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _categories(source: CheckedJson, top: dict[str, Any]) -> tuple[Classes, dict[int, int], tuple[str, ...]]:
    """The classes in order of id, the label of each category id, and the longest list of keypoint names."""
    entries = source.entries(top, "categories")
    ids = [source.whole(entry, "id", f"categories[{i}]") for i, entry in enumerate(entries)]
    names = [source.text(entry, "name", f"categories[{i}]") for i, entry in enumerate(entries)]
    source.unique(ids, "categories[].id", "the id")
    source.unique(names, "categories[].name", "the name")
    keypoints: tuple[str, ...] = ()
    for i, entry in enumerate(entries):
        listed = entry.get("keypoints") or []
        if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
            raise source.error(f"categories[{i}].keypoints", "must be a list of names")
        keypoints = max(keypoints, tuple(listed), key=len)
    ordered = sorted(zip(ids, names, strict=True))
    classes = Classes(tuple(name for _, name in ordered), tuple(i for i, _ in ordered))
    return classes, {i: label for label, i in enumerate(classes.ids)}, keypoints


@dataclass(frozen=True)
class _Images:
    paths: list[Path]
    ids: list[int]
    sizes: list[Size]


def _images(source: CheckedJson, top: dict[str, Any], image_root: Path | None, findings: Counter[str]) -> _Images:
    entries = source.entries(top, "images")
    names = [source.text(entry, "file_name", f"images[{i}]") for i, entry in enumerate(entries)]
    ids = [source.whole(entry, "id", f"images[{i}]") for i, entry in enumerate(entries)]
    source.unique(ids, "images[].id", "the id")
    root = image_root if image_root is not None else _find_root(source, names)
    paths = [root / name for name in names]
    for i, path in enumerate(paths):
        if not path.is_file():
            raise source.error(
                f"images[{i}].file_name", f"there is no file {path}", "put the image there, or remove the entry"
            )
    sizes = [_image_size(source, entry, paths[i], i, findings) for i, entry in enumerate(entries)]
    return _Images(paths, ids, sizes)


def _find_root(source: CheckedJson, names: list[str]) -> Path:
    folder = source.path.parent
    base = folder.parent if folder.name == "annotations" else folder
    tail = source.path.stem.rpartition("_")[2]
    split = split_name(source.path)
    candidates = [base / tail, base / "images" / tail, base / split, base / "images" / split, base / "images"]
    candidates += [folder, base]
    for candidate in candidates:
        if not names or (candidate / names[0]).is_file():
            return candidate
    places = ", ".join(dict.fromkeys(str(c) for c in candidates))
    raise source.error(
        "images[0].file_name", f"{names[0]} is in none of {places}", "put the images into one of these folders"
    )


def _image_size(source: CheckedJson, entry: dict[str, Any], path: Path, index: int, findings: Counter[str]) -> Size:
    if entry.get("height") and entry.get("width"):
        place = f"images[{index}]"
        height, width = source.whole(entry, "height", place), source.whole(entry, "width", place)
        if height < 1 or width < 1:
            raise source.error(place, f"height and width must be at least 1, got {height} and {width}")
        return height, width
    findings[SIZE_FROM_FILE] += 1
    return read_size(path)


@dataclass(frozen=True)
class _Objects:
    """All annotations of a file, one list a field."""

    owners: list[int] = field(default_factory=list)
    boxes: list[list[float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    crowds: list[bool] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    segmentations: list[Any] = field(default_factory=list)
    keypoints: list[list[float]] = field(default_factory=list)


def _objects(
    source: CheckedJson, top: dict[str, Any], images: _Images, label_of: dict[int, int], keypoint_count: int
) -> _Objects:
    index_of = {image_id: index for index, image_id in enumerate(images.ids)}
    objects = _Objects()
    for i, entry in enumerate(source.entries(top, "annotations")):
        place = f"annotations[{i}]"
        owner = index_of.get(source.whole(entry, "image_id", place))
        label = label_of.get(source.whole(entry, "category_id", place))
        if owner is None:
            raise source.error(f"{place}.image_id", f"there is no image with id {entry['image_id']}")
        if label is None:
            raise source.error(f"{place}.category_id", f"there is no category with id {entry['category_id']}")
        crowd, area = entry.get("iscrowd", 0), entry.get("area")
        if crowd not in (0, 1):
            raise source.error(f"{place}.iscrowd", f"must be 0 or 1, got {shortened(crowd)}")
        if area is not None and not (is_finite(area) and area >= 0):
            raise source.error(f"{place}.area", f"must be a number of at least 0, got {shortened(area)}")
        objects.owners.append(owner)
        objects.labels.append(label)
        objects.boxes.append(source.numbers(source.value(entry, "bbox", place), f"{place}.bbox", 4))
        objects.crowds.append(bool(crowd))
        objects.areas.append(math.nan if area is None else area)
        objects.segmentations.append(_segmentation(source, entry.get("segmentation"), place))
        objects.keypoints.append(_keypoints(source, entry.get("keypoints"), f"{place}.keypoints", keypoint_count))
    return objects


def _segmentation(source: CheckedJson, value: Any, place: str) -> Any:
    if not isinstance(value, list | dict | None):
        raise source.error(f"{place}.segmentation", f"must be polygons or run lengths, got {shortened(value)}")
    return value or None


def _keypoints(source: CheckedJson, value: Any, place: str, keypoint_count: int) -> list[float]:
    if keypoint_count == 0:
        if value:
            raise source.error(
                place, "there are keypoints, but no category names any", "name them in categories[].keypoints"
            )
        return []
    missing = 3 * keypoint_count
    if value:
        numbers = source.numbers(value, place)
        if len(numbers) % 3 or len(numbers) > missing or any(v not in (0, 1, 2) for v in numbers[2::3]):
            raise source.error(place, f"must be at most {keypoint_count} times x, y, visibility (0, 1 or 2)")
        return numbers + [0.0] * (missing - len(numbers))
    return [0.0] * missing


def _records(images: _Images, objects: _Objects, keypoint_count: int, findings: Counter[str]) -> tuple[Record, ...]:
    """The annotations sorted by image and cut into records; each field is one array for the whole file."""
    count = len(objects.owners)
    owners = np.asarray(objects.owners, np.int64)
    boxes = np.asarray(objects.boxes, np.float64).reshape(count, 4)
    boxes[:, 2:] += boxes[:, :2]
    sizes = np.asarray(images.sizes, np.int64).reshape(-1, 2)
    clipped, keep = fit_boxes(boxes, sizes[owners], findings)
    chosen = np.argsort(owners, kind="stable")
    chosen = chosen[keep[chosen]]
    ends = np.cumsum(np.bincount(owners[chosen], minlength=len(images.ids)))
    clipped = clipped[chosen]
    labels = np.asarray(objects.labels, np.int64)[chosen]
    crowds = np.asarray(objects.crowds, np.bool_)[chosen]
    areas = np.asarray(objects.areas, np.float32)[chosen]
    areas = np.where(np.isnan(areas), box_areas(clipped), areas)
    keypoints = np.asarray(objects.keypoints, np.float32).reshape(count, keypoint_count, 3)[chosen]
    records = []
    for i, end in enumerate(ends.tolist()):
        own = slice(ends[i - 1] if i else 0, end)
        records.append(
            Record(
                images.paths[i],
                images.ids[i],
                images.sizes[i],
                clipped[own],
                labels[own],
                crowds[own],
                areas[own],
                _own_segmentations(objects.segmentations, chosen[own], findings),
                keypoints[own] if keypoint_count else None,
            )
        )
    return tuple(records)


def _own_segmentations(segmentations: list[Any], chosen: NDArray[np.int64], findings: Counter[str]) -> tuple[Any, ...]:
    own = []
    for value in (segmentations[i] for i in chosen.tolist()):
        if isinstance(value, list):
            long_enough = [p for p in value if not isinstance(p, list) or len(p) >= 6]
            if len(long_enough) < len(value):
                findings[SHORT_POLYGON] += len(value) - len(long_enough)
            own.append(long_enough or None)
        else:
            own.append(value)
    return tuple(own) if any(value is not None for value in own) else ()
