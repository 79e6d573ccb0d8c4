"""A repaired copy of a set, and the list of all that is different in it.

Only what has one plain cure is done: what a check calls wrong and a person has to decide stays as it is. The copy is
written in the set's own format by the writer of that format; the set itself is never touched. Checking the copy finds
nothing of what was repaired.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.boxes import fit_boxes
from sightline.data.coco_masks import decode, encode
from sightline.data.doctor.box_checks import CONVENTIONS
from sightline.data.doctor.check import Checkup
from sightline.data.finding_kinds import KINDS
from sightline.data.findings import Finding
from sightline.data.formats.writers import writer_of
from sightline.data.formats.writing import ImageMode, Output
from sightline.data.image_header import read_size
from sightline.data.listing import Listing
from sightline.data.mask_files import MASK_FILE
from sightline.data.records import usable_segmentation
from sightline.data.tables import Tables, TablesBuilder
from sightline.errors import DataError
from sightline.files import whole_folder

_READ_AWAY = frozenset(
    {"key-missing", "value-malformed", "number-not-finite", "image-id-unknown", "class-unknown", "json-duplicate-key"}
    | {"annotation-missing", "annotation-id-duplicate", "annotation-id-missing", "class-ids-off-by-one"}
    | {"image-id-duplicate", "image-filename-differs", "image-letter-case", "image-size-off", "image-size-missing"}
    | {"image-missing", "image-damaged", "annotation-duplicate", "crowd-without-rle", "polygon-short"}
    | {"mask-size-differs", "keypoint-outside"}
)
"""Kinds whose cases are repaired one for one, so that the findings are the list of changes."""


@dataclass(frozen=True)
class Change:
    """One difference between the set and its copy.

    Args:
        code: the kind of finding that it cures.
        what: what was done.
        place: where in the set.
        split: the split.
    """

    code: str
    what: str
    place: str
    split: str

    def to_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return {"code": self.code, "what": self.what, "place": self.place, "split": self.split}


@dataclass
class _Patient:
    """One split under repair: what the check found in it, by row."""

    split: str
    tables: Tables
    findings: list[Finding]
    changes: list[Change] = field(default_factory=list)

    def rows(self, code: str) -> frozenset[int]:
        """Objects that a kind of finding is about."""
        return frozenset(f.row for f in self.findings if f.code == code and f.row is not None)

    def images(self, code: str) -> frozenset[str]:
        """Pictures that a kind of finding is about."""
        return frozenset(f.image for f in self.findings if f.code == code)

    def has(self, code: str) -> bool:
        """Whether there is a finding of this kind."""
        return any(f.code == code for f in self.findings)

    def change(self, code: str, row: int, what: str = "") -> None:
        """Notes a change to an object."""
        file, where = self.tables.locate_object(row)
        place = f"{file}, {where}" if where else file
        self.changes.append(Change(code, what or KINDS[code].repair, place, self.split))


def repair(checkup: Checkup, out: Path, *, images: ImageMode = "copy") -> list[Change]:
    """Writes a repaired copy of a set that was checked.

    Args:
        checkup: what the check found; its pixels should have been looked at, so that damaged images are known.
        out: a folder that does not exist; it is there only when all is written.
        images: copied, or linked.

    Returns:
        All changes.

    Raises:
        ConfigError: a folder that is there already.
        DataError: a split that could not be read at all, or a split of which nothing is left.
        OSError: the disk is full.
    """
    for finding in checkup.findings:
        if finding.code == "file-unreadable" and finding.split not in checkup.splits:
            raise DataError(
                f"split '{finding.split}' cannot be repaired: {finding.what}",
                place=finding.place,
                cure=finding.kind.cure,
            )
    changes: list[Change] = []
    repaired: dict[str, Tables] = {}
    for split, tables in checkup.splits.items():
        patient = _Patient(split, tables, [f for f in checkup.findings if f.split == split])
        repaired[split] = _repaired(patient)
        changes += patient.changes
    with whole_folder(out) as folder:
        writer_of(next(iter(checkup.splits.values())).form).write(repaired, Output(folder, images))
    return changes


def _repaired(patient: _Patient) -> Tables:
    for finding in patient.findings:
        if finding.code in _READ_AWAY and finding.kind.repair:
            patient.changes.append(Change(finding.code, finding.kind.repair, finding.place, patient.split))
    tables = patient.tables
    builder = TablesBuilder(
        tables.form,
        tables.source,
        tables.image_root,
        object_place=tables.object_place,
        image_place=tables.image_place,
        category_ids=[category["id"] for category in tables.categories],
    )
    kept = _add_images(builder, patient)
    if not kept:
        raise DataError(
            f"no image of split '{patient.split}' is left", place=tables.source, cure="look at the findings"
        )
    boxes, keep = _mended_boxes(patient, {row: size for row, (_, size) in kept.items()})
    ids = _fresh_ids(tables.objects.ids)
    for row in np.flatnonzero(keep).tolist():
        image = int(tables.objects.images[row])
        if image in kept:
            new_row, size = kept[image]
            entry = _mended_entry(patient, row, size, boxes[row])
            extra = {key: value for key, value in entry.items() if key not in ("image_id", "category_id", "bbox")}
            label = int(tables.objects.labels[row])
            number = int(tables.objects.rows[row])
            builder.add_object(new_row, label, boxes[row].tolist(), row=number, extra=extra | {"id": ids[row]})
    return builder.build(tables.categories, tables.header, tables.keypoint_names)


def _add_images(builder: TablesBuilder, patient: _Patient) -> dict[int, tuple[int, tuple[int, int]]]:
    """New row and size of each image that stays, by its row."""
    tables, listing = patient.tables, Listing()
    damaged, off = patient.images("image-damaged"), patient.images("image-size-off")
    kept: dict[int, tuple[int, tuple[int, int]]] = {}
    taken: set[int] = set()
    free = count(int(tables.images.ids.max(initial=0)) + 1)
    for row in range(len(tables.images)):
        path = str(tables.image_path(row))
        if not listing.has(path):
            other = listing.other_form(path)
            if other is None:
                continue
            path = str(other)
        if path in damaged:
            continue
        entry = tables.image_entry(row)
        number = int(tables.images.ids[row])
        if number in taken:
            number = next(free)
        taken.add(number)
        annotated = (int(tables.images.sizes[row, 0]), int(tables.images.sizes[row, 1]))
        size = read_size(path) if path in off or not all(annotated) else annotated
        extra = {key: value for key, value in entry.items() if key not in ("id", "file_name", "height", "width")}
        name = str(Path(path).relative_to(tables.image_root)) if path.startswith(f"{tables.image_root}/") else path
        kept[row] = builder.add_image(name, size=size, number=number, row=row, extra=extra), size
    return kept


def _mended_boxes(
    patient: _Patient, sizes: Mapping[int, tuple[int, int]]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Boxes as they should be, and which objects stay."""
    objects = patient.tables.objects
    limits = np.asarray([sizes.get(image, (0, 0)) for image in objects.images.tolist()], np.float64).reshape(-1, 2)
    known = (limits > 0).all(axis=1)
    boxes = objects.boxes.copy()
    for code, put_right in CONVENTIONS.items():
        if patient.has(code):
            boxes[known] = put_right(_as_written(patient, boxes[known]), limits[known])
            patient.changes.append(Change(code, KINDS[code].repair, str(patient.tables.source), patient.split))
    turned = (boxes[:, 2:] < boxes[:, :2]).any(axis=1) & known
    ordered = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)
    boxes[turned] = ordered[turned]
    fitted = fit_boxes(boxes, np.where(known[:, None], limits, 1).astype(np.int64))
    again = np.isin(np.arange(len(objects)), list(patient.rows("annotation-duplicate")))
    keep = known & fitted.keep & ~again
    for row in np.flatnonzero(turned & keep).tolist():
        patient.change("box-reversed", row)
    for code, cases in fitted.cases.items():
        for row in np.flatnonzero(cases & known & ~again).tolist():
            patient.change(code, row, KINDS[code].repair)
    moved = fitted.cases["box-clipped"] | fitted.cases["box-on-border"]
    boxes[moved] = fitted.boxes[moved]
    return boxes, keep


def _as_written(patient: _Patient, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """VOC's reader takes a pixel off the upper left corner, which boxes in 0..1 never had."""
    if patient.tables.form == "voc" and patient.has("boxes-are-normalised") and boxes.min() < 0:
        return boxes + np.asarray([1, 1, 0, 0])
    return boxes


def _fresh_ids(ids: NDArray[np.int64]) -> list[int]:
    """An id for each object: its own, or a free one where it has none or another had it before."""
    free = count(int(ids.max(initial=0)) + 1)
    taken: set[int] = set()
    fresh = []
    for number in ids.tolist():
        fresh.append(next(free) if number == -1 or number in taken else number)
        taken.add(number)
    return fresh


def _mended_entry(patient: _Patient, row: int, size: tuple[int, int], box: NDArray[np.float64]) -> dict[str, Any]:
    entry = patient.tables.object_entry(row)
    if MASK_FILE in entry:
        return entry
    if entry.get("segmentation"):
        mended = usable_segmentation(entry["segmentation"])
        entry = entry | {"segmentation": mended or []}
    if row in patient.rows("mask-size-differs"):
        entry = entry | {"segmentation": []}
    if row in patient.rows("crowd-without-rle"):
        x1, y1, x2, y2 = box.tolist()
        polygons = entry.get("segmentation") or [[x1, y1, x2, y1, x2, y2, x1, y2]]
        entry = entry | {"segmentation": encode(decode(polygons, size))}
    if row in patient.rows("keypoint-outside"):
        entry = entry | _mended_keypoints(entry["keypoints"], size)
    return entry


def _mended_keypoints(points: list[float], size: tuple[int, int]) -> dict[str, Any]:
    mended: list[float] = []
    for x, y, visibility in zip(points[::3], points[1::3], points[2::3], strict=True):
        inside = -1 <= x <= size[1] + 1 and -1 <= y <= size[0] + 1
        mended += [x, y, visibility] if inside or not visibility else [0, 0, 0]
    return {"keypoints": mended, "num_keypoints": sum(v > 0 for v in mended[2::3])}
