"""COCO's JSON, read: images, annotations and categories (cocodataset.org/#format-data).

Category ids may have holes; labels 0..K-1 follow the order of ids, and ``Classes.ids`` keeps the originals. Boxes are
stored as x, y, width, height from the image's upper left corner. ``iscrowd`` makes an object ignored, and so does
``difficult``, under which Sightline keeps VOC's flag. Segmentations stay in the file until a mask is asked for.
Backslashes in ``file_name``, as Windows writes them, are read as slashes unless a file has the literal name.

Whatever breaks the format is noted with the place in the file (``annotations[17].bbox``).
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.class_shift import shift_of
from sightline.data.details import Details
from sightline.data.findings import Findings
from sightline.data.formats.coco_columns import ColumnReader, ImageColumns, ObjectColumns
from sightline.data.formats.coco_values import as_dict, shortened
from sightline.data.formats.json_stream import Member, invalid, read_members
from sightline.data.formats.path_texts import is_file_below, with_forward_slashes
from sightline.data.strings import Strings
from sightline.data.tables import ImageTable, ObjectTable, Tables
from sightline.errors import DataError

ROBOFLOW = "_annotations.coco.json"
"""Name of the annotation file that Roboflow puts into the folder of each split."""

_OFFICIAL = re.compile(r"instances_([A-Za-z]+?)_?(\d{4})?")
_LISTS = ("images", "annotations")


def split_name(json_path: Path) -> str:
    """``train`` for ``instances_train2017.json`` and for ``train/_annotations.coco.json``; else the file's stem.

    Roboflow calls the folder of val ``valid``.
    """
    if json_path.name == ROBOFLOW:
        folder = json_path.absolute().parent.name
        return "val" if folder == "valid" else folder or json_path.stem
    official = _OFFICIAL.fullmatch(json_path.stem)
    return official.group(1) if official else json_path.stem


def read(json_path: Path, findings: Findings, image_root: Path | None = None) -> Tables:
    """One annotation file.

    Args:
        json_path: the file.
        findings: where defects are noted; entries that cannot be used are left out.
        image_root: the folder that ``file_name`` starts from. Default: the first of the usual places beside the file
            (``train2017/``, ``images/train2017/``, ``train/``, ``images/``, the file's own folder ...) that holds the
            first image.

    Raises:
        DataError: the file is missing, no JSON, or without one of the three lists.
    """
    columns = ColumnReader(json_path, findings)
    members: dict[str, Member] = {}
    seen: Counter[str] = Counter()
    for part in read_members(json_path, _LISTS):
        if isinstance(part, Member):
            members[part.key] = part
            seen[part.key] += 1
        elif part.key == "images":
            seen[part.key] += part.first == 0
            if part.first == 0:
                columns.images = ImageColumns()
            columns.add_images(part)
        else:
            seen[part.key] += part.first == 0
            if part.first == 0:
                columns.objects = ObjectColumns()
            columns.add_annotations(part)
    for key in (key for key, times in seen.items() if times > 1):
        findings.add("json-duplicate-key", f"the key '{key}' comes twice; the last one counts", json_path, key)
    header = {key: _parsed(json_path, member, findings) for key, member in members.items()}
    _require_lists(json_path, seen, header)
    categories, keypoint_names, joined = _categories(json_path, header.pop("categories"), findings)
    columns.objects.join_classes(joined)
    files = columns.images.files
    root = image_root or find_image_root(json_path, files[0] if files else None)
    images = _image_table(columns.images, [with_forward_slashes(name, root) for name in files])
    for place, first in _repeated(images.ids):
        what = f"the id {images.ids[place]} was used by images[{images.rows[first]}] already"
        image = str(root / images.files[place])
        findings.add("image-id-duplicate", what, json_path, f"images[{images.rows[place]}].id", image=image)
    objects = _object_table(columns.objects, images, categories, len(keypoint_names), json_path, findings)
    return Tables(
        "coco",
        json_path,
        root,
        categories,
        images,
        objects,
        Details.in_file(json_path),
        "images[{}]",
        "annotations[{}]",
        header,
        keypoint_names,
    )


def find_image_root(json_path: Path, first: str | None) -> Path:
    """The folder that the images' names start from: the first of the usual places that holds the first image.

    Args:
        json_path: the annotation file.
        first: name of the first image; None where there are none. Where it is in none of them, the first place that is
            a folder has to do.
    """
    folder = json_path.parent
    base = folder.parent if folder.name == "annotations" else folder
    tail = json_path.stem.rpartition("_")[2]
    split = split_name(json_path)
    candidates = [base / tail, base / "images" / tail, base / split, base / "images" / split, base / "images"]
    candidates = list(dict.fromkeys([*candidates, folder, base]))
    for candidate in candidates:
        if first is None or is_file_below(candidate, with_forward_slashes(first, candidate)):
            return candidate
    # The first image itself may be the one that is missing: then a folder of images is the next best guess.
    for candidate in candidates[:-2]:
        if candidate.is_dir():
            return candidate
    return folder


def _parsed(path: Path, member: Member, findings: Findings) -> Any:
    twice: list[str] = []
    try:
        value = json.loads(member.text, object_pairs_hook=lambda pairs: as_dict(pairs, twice))
    except json.JSONDecodeError as error:
        raise invalid(path, error.msg, member.offset + len(error.doc[: error.pos].encode())) from error
    except (ValueError, RecursionError) as error:
        raise invalid(path, str(error), member.offset) from error
    for key in twice:
        findings.add("json-duplicate-key", f"the key '{key}' comes twice; the last one counts", path, member.key)
    return value


def _require_lists(path: Path, seen: Counter[str], header: dict[str, Any]) -> None:
    for key in ("categories", *_LISTS):
        if key not in seen:
            raise DataError(
                f"the list '{key}' is missing",
                place=f"{path}, top level",
                cure="give a COCO annotation file with objects",
            )
        if key in header and not isinstance(header[key], list):
            raise DataError("must be a list", place=f"{path}, {key}", cure="correct the annotation file")


def _categories(
    path: Path, entries: list[Any], findings: Findings
) -> tuple[tuple[dict[str, Any], ...], tuple[str, ...], dict[int, int]]:
    """The category entries in order of id, the longest list of keypoint names, and ids that share another's name."""
    kept: dict[int, dict[str, Any]] = {}
    names: dict[str, int] = {}
    rows: dict[int, int] = {}
    joined: dict[int, int] = {}
    for row, entry in enumerate(entries):
        place = f"categories[{row}]"
        wrong = _wrong_category(entry)
        if wrong:
            findings.add(wrong[0], wrong[2], path, f"{place}{wrong[1]}")
            continue
        # The same class twice is told by its name; an id that comes again stands for two names.
        for key, taken in (("id", rows.get(entry["id"])), ("name", names.get(entry["name"]))):
            if taken is not None and (key == "name" or entries[taken]["name"] != entry["name"]):
                what = f"the {key} {entry[key]!r} was used by categories[{taken}] already"
                findings.add("class-duplicate", what, path, f"{place}.{key}")
        if entry["id"] not in rows:
            if entry["name"] in names:
                joined[entry["id"]] = entries[names[entry["name"]]]["id"]
            else:
                kept[entry["id"]] = entry
        rows.setdefault(entry["id"], row)
        names.setdefault(entry["name"], row)
    keypoints = max((tuple(entry.get("keypoints") or ()) for entry in kept.values()), key=len, default=())
    return tuple(kept[number] for number in sorted(kept)), keypoints, joined


def _wrong_category(entry: Any) -> tuple[str, str, str] | None:
    """Code, key and text of the first thing that is wrong with a category."""
    if not isinstance(entry, dict):
        return "value-malformed", "", "must be an object { }"
    for key in ("id", "name"):
        if key not in entry:
            return "key-missing", "", f"the key '{key}' is missing"
    number, name = entry["id"], entry["name"]
    if type(number) is not int or abs(number) >= 2**63:
        return "value-malformed", ".id", f"must be a whole number, got {shortened(number)}"
    if not isinstance(name, str) or not name or "\0" in name:
        return "value-malformed", ".name", f"must be a text, got {shortened(name)}"
    listed = entry.get("keypoints") or []
    if not isinstance(listed, list) or not all(isinstance(point, str) for point in listed):
        return "value-malformed", ".keypoints", "must be a list of names"
    return None


def _image_table(columns: ImageColumns, files: Sequence[str]) -> ImageTable:
    return ImageTable(
        Strings.of(files),
        np.asarray(columns.ids, np.int64),
        np.asarray(columns.sizes, np.int32).reshape(-1, 2),
        _joined(columns.spans, 2),
        np.asarray(columns.rows, np.int64),
        Strings.of([]),
    )


def _repeated(ids: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Places of values that came before, and where they came first."""
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    same = ordered[1:] == ordered[:-1]
    if not same.any():
        return []
    begins = np.maximum.accumulate(np.where(np.append(True, ~same), np.arange(len(ids)), 0))
    again = np.flatnonzero(same) + 1
    return sorted(zip(order[again].tolist(), order[begins[again]].tolist(), strict=True))


def _object_table(
    columns: ObjectColumns,
    images: ImageTable,
    categories: Sequence[dict[str, Any]],
    keypoint_count: int,
    path: Path,
    findings: Findings,
) -> ObjectTable:
    numbers = _joined(columns.numbers, 5)
    rows = _joined(columns.rows)
    owners, known_image = _look_up(numbers[:, 0], images.ids)
    category_ids = np.asarray([category["id"] for category in categories], np.int64)
    class_ids = numbers[:, 1] + _shift(numbers[:, 1], category_ids, path, findings)
    labels, known_class = _look_up(class_ids, category_ids)
    for i in np.flatnonzero(~known_image):
        what = f"there is no image with id {numbers[i, 0]}"
        findings.add("image-id-unknown", what, path, f"annotations[{rows[i]}].image_id")
    for i in np.flatnonzero(~known_class):
        what = f"there is no category with id {class_ids[i]}"
        findings.add("class-unknown", what, path, f"annotations[{rows[i]}].category_id")
    for place, first in _repeated_ids(numbers[:, 2]):
        what = f"the id {numbers[place, 2]} was used by annotations[{rows[first]}] already"
        findings.add("annotation-id-duplicate", what, path, f"annotations[{rows[place]}].id")
    findings.count("annotation-id-missing", int((numbers[:, 2] == -1).sum()))
    keypoints = _keypoints(columns, rows, keypoint_count, path, findings)
    keep = known_image & known_class
    boxes = _joined(columns.boxes, 4)
    sides = boxes[:, 2:].copy()
    boxes[:, 2:] += boxes[:, :2]
    return ObjectTable(
        owners[keep],
        labels[keep],
        boxes[keep],
        numbers[keep, 3].astype(np.bool_),
        _joined(columns.areas)[keep],
        numbers[keep, 2],
        numbers[keep, 4].astype(np.bool_),
        _joined(columns.spans, 2)[keep],
        rows[keep],
        None if keypoints is None else keypoints[keep],
        sides[keep],
    )


def _repeated_ids(ids: NDArray[np.int64]) -> list[tuple[int, int]]:
    given = np.flatnonzero(ids != -1)
    return [(int(given[place]), int(given[first])) for place, first in _repeated(ids[given])]


def _joined(parts: Sequence[NDArray[Any]], width: int | None = None) -> NDArray[Any]:
    empty = np.zeros((0,) if width is None else (0, width), np.int64)
    return np.concatenate(parts) if parts else empty


def _look_up(values: NDArray[np.int64], ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The place of each value among ids, the first where an id is repeated, and whether it is there."""
    if not len(ids):
        return np.zeros(len(values), np.int64), np.zeros(len(values), np.bool_)
    order = np.argsort(ids, kind="stable")
    places = np.minimum(np.searchsorted(ids, values, sorter=order), len(ids) - 1)
    rows = order[places]
    return rows, ids[rows] == values


def _shift(values: NDArray[np.int64], ids: NDArray[np.int64], path: Path, findings: Findings) -> int:
    """By how much all class ids are beside the listed ones: 1 or -1, which is noted; 0 where they are not."""
    ordered = np.sort(values)
    begins = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
    numbers, counts = ordered[begins], np.diff(begins, append=len(ordered))
    used, listed = dict(zip(numbers.tolist(), counts.tolist(), strict=True)), {int(number) for number in ids}
    shift = shift_of(used, listed)
    if shift:
        what = f"class ids are {_range(used)}, but the listed ones {_range(listed)}"
        findings.add("class-ids-off-by-one", what, path, "annotations[].category_id")
    return shift


def _range(values: Collection[int]) -> str:
    return f"{min(values)} to {max(values)}"


def _keypoints(
    columns: ObjectColumns, rows: NDArray[np.int64], count: int, path: Path, findings: Findings
) -> NDArray[np.float32] | None:
    for place, points in columns.keypoints:
        if len(points) > 3 * count:
            what = f"{len(points) // 3} keypoints, but the categories name at most {count}"
            if not count:
                what = "there are keypoints, but no category names any"
            findings.add("keypoints-unnamed", what, path, f"annotations[{rows[place]}].keypoints")
    if not count:
        return None
    table = np.zeros((columns.count, 3 * count), np.float32)
    for place, points in columns.keypoints:
        table[place, : len(points)] = points[: 3 * count]
    return table.reshape(-1, count, 3)
