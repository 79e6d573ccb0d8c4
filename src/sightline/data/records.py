"""The usable annotations of one split as flat arrays, and one image's as a record.

This is what training and evaluation see of a set: boxes are inside their images and have an area, objects stand
together by image. Worker processes share the arrays; a record is cut from them when it is asked for.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from sightline.classes import Classes, Size
from sightline.data.box_conventions import read_boxes
from sightline.data.boxes import box_areas, fit_boxes
from sightline.data.details import Details
from sightline.data.finding_kinds import KINDS
from sightline.data.findings import Findings
from sightline.data.fit import require_fit
from sightline.data.image_header import read_frames, read_size
from sightline.data.listing import Listing
from sightline.data.strings import Strings
from sightline.data.tables import Tables
from sightline.errors import DataError

_OF_SEVERAL = (".gif", ".webp", ".tif", ".tiff")

Segmentation = tuple[Any, ...]
"""One entry an object: a list of COCO polygons, an RLE as a dict, or None. Empty when no object has one."""


@dataclass(frozen=True, eq=False)
class Index:
    """The usable annotations of one split.

    Args:
        classes: names and original ids.
        image_root: the folder that ``files`` start from.
        files: paths of the image files.
        image_ids: (M,) int64, the ids in the annotation file; for formats without ids the image's number, from 1.
        sizes: (M, 2) int32 (H, W) as annotated, or of the file where the annotation has none.
        first: (M + 1,) int64, where each image's objects begin.
        boxes: (N, 4) float32, xyxy in pixels, inside the image and with an area.
        labels: (N,) int64 in 0..K-1.
        ignore: (N,) bool; COCO crowds, VOC difficult.
        areas: (N,) float32 in square pixels.
        masked: (N,) bool, whether there is a segmentation.
        spans: (N, 2) int64, where each object's entry is in ``details``.
        details: the entries' texts.
        keypoints: (N, K, 3) float32 x, y, visibility; None when the source has none.
        keypoint_names: names of the keypoints in order; empty when there are none.
    """

    classes: Classes
    image_root: Path
    files: Strings
    image_ids: NDArray[np.int64]
    sizes: NDArray[np.int32]
    first: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    areas: NDArray[np.float32]
    masked: NDArray[np.bool_]
    spans: NDArray[np.int64]
    details: Details
    keypoints: NDArray[np.float32] | None = None
    keypoint_names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Record:
    """One image and its objects.

    Args:
        index: the split.
        row: the image's place in it.
    """

    index: Index
    row: int

    def __len__(self) -> int:
        return int(self.index.first[self.row + 1] - self.index.first[self.row])

    @property
    def _own(self) -> slice:
        return slice(int(self.index.first[self.row]), int(self.index.first[self.row + 1]))

    @property
    def path(self) -> Path:
        """The image file."""
        return self.index.image_root / self.index.files[self.row]

    @property
    def image_id(self) -> int:
        """The id in the annotation file."""
        return int(self.index.image_ids[self.row])

    @property
    def size(self) -> Size:
        """(H, W) as annotated."""
        height, width = self.index.sizes[self.row].tolist()
        return height, width

    @property
    def boxes(self) -> NDArray[np.float32]:
        """(N, 4) xyxy in pixels."""
        return self.index.boxes[self._own]

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) in 0..K-1."""
        return self.index.labels[self._own]

    @property
    def ignore(self) -> NDArray[np.bool_]:
        """(N,)."""
        return self.index.ignore[self._own]

    @property
    def areas(self) -> NDArray[np.float32]:
        """(N,) in square pixels."""
        return self.index.areas[self._own]

    @property
    def masked(self) -> NDArray[np.bool_]:
        """(N,), whether there is a segmentation."""
        return self.index.masked[self._own]

    @property
    def keypoints(self) -> NDArray[np.float32] | None:
        """(N, K, 3) x, y, visibility; None when the source has none."""
        return None if self.index.keypoints is None else self.index.keypoints[self._own]

    @property
    def segmentation(self) -> Segmentation:
        """COCO polygons or RLE of each object, read now; polygons of fewer than three points are left out.

        Raises:
            DataError: the annotation file has changed since it was opened.
        """
        if not self.masked.any():
            return ()
        entries = [self.index.details.read(*span) for span in self.index.spans[self._own].tolist()]
        return tuple(usable_segmentation(entry.get("segmentation")) for entry in entries)


@dataclass(frozen=True, eq=False)
class Records(Sequence[Record]):
    """The records of a split or of a part of it.

    Args:
        table: the split.
        rows: (M,) int64 places of the images in it.
    """

    table: Index
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> "Records": ...

    def __getitem__(self, index: int | slice) -> "Record | Records":
        if isinstance(index, slice):
            return Records(self.table, self.rows[index])
        return Record(self.table, int(self.rows[index]))


def usable_segmentation(value: Any) -> Any:
    """A segmentation without polygons of fewer than three points; None where nothing is left."""
    # What is no polygon at all stays, for decoding to refuse.
    kept = [p for p in value if not isinstance(p, list) or len(p) >= 6] if isinstance(value, list) else value
    return kept or None


def classes_of(tables: Tables) -> Classes:
    """The classes of a source, with their ids."""
    return Classes(tuple(c["name"] for c in tables.categories), tuple(c["id"] for c in tables.categories))


def find_images(tables: Tables, findings: Findings) -> NDArray[np.bool_]:
    """Which images are there, (M,); what is not is noted."""
    listing = Listing()
    root = str(tables.image_root)
    found = np.ones(len(tables.images), np.bool_)
    for row in listing.missing(root, tables.images.files.to_list()):
        found[row] = False
        path = str(tables.image_path(row))
        file, where = tables.locate_image(row)
        other = listing.other_form(path)
        if other is None:
            findings.add("image-missing", f"there is no file {path}", file, _join(where, "file_name"), image=path)
        else:
            what = f"there is no file {path}, but one that is written {other.name}"
            findings.add("image-letter-case", what, file, _join(where, "file_name"), image=str(other))
    return found


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where.endswith("]") else where


def complete_sizes(tables: Tables, found: NDArray[np.bool_], findings: Findings) -> NDArray[np.int32]:
    """(M, 2) sizes as annotated, or from the headers of the files where the annotation has none."""
    sizes = tables.images.sizes.copy()
    for row in np.flatnonzero(found & (sizes == 0).any(axis=1)):
        file, where = tables.locate_image(int(row))
        path = tables.image_path(int(row))
        try:
            sizes[row] = read_size(path)
        except DataError as error:
            findings.add_error("image-damaged", error, image=str(path))
            continue
        findings.add("image-size-missing", "", file, where, image=str(path))
    return sizes


def usable_sizes(tables: Tables, findings: Findings) -> NDArray[np.int32]:
    """(M, 2) sizes of all images of a split that can be used as it is written.

    Raises:
        DataError: images are missing, or the boxes are written in another convention.
    """
    found = find_images(tables, findings)
    findings.refuse()
    sizes = complete_sizes(tables, found, findings)
    _count_frames(tables, findings)
    reading = read_boxes(tables, sizes)
    if reading.code:
        title = KINDS[reading.code].title
        what = f"{title}: {reading.share:.0%} of the boxes fit their images only when they are read so"
        findings.add(reading.code, what, tables.source)
        findings.refuse()
    return sizes


def _count_frames(tables: Tables, findings: Findings) -> None:
    """Notes animations and stacks, whose first picture counts."""
    for row, name in enumerate(tables.images.files.to_list()):
        if name.lower().endswith(_OF_SEVERAL):
            path = tables.image_path(row)
            with suppress(DataError):  # decoding it says what is wrong
                if read_frames(path) != 1:
                    findings.add("image-animated", "", path, image=str(path))


def require_fitting_images(tables: Tables, sizes: NDArray[np.int32]) -> None:
    """Refuses images whose files have another size than the annotated one, where that makes the boxes wrong.

    Args:
        tables: the split.
        sizes: (M, 2) as :func:`usable_sizes` gives them.

    Raises:
        DataError: names the first such image; or an image whose header cannot be read.
    """
    order, first = tables.objects_by_image()
    for row, (height, width) in enumerate(sizes.tolist()):
        path = tables.image_path(row)
        require_fit(path, (height, width), read_size(path), tables.objects.boxes[order[first[row] : first[row + 1]]])


def index_of(tables: Tables, findings: Findings) -> Index:
    """The usable annotations of a split; repairs and drops are counted.

    Raises:
        DataError: something that leaves no way to use the set.
    """
    sizes = usable_sizes(tables, findings)
    objects = tables.objects
    # Of an image whose header cannot be read nobody knows the size; it is an error when it is decoded.
    limits = np.where(sizes[objects.images] > 0, sizes[objects.images], np.iinfo(np.int32).max)
    fitted = fit_boxes(objects.boxes, limits)
    for code, cases in fitted.cases.items():
        findings.count(code, int(cases.sum()))
    order = np.argsort(objects.images, kind="stable")
    order = order[fitted.keep[order]]
    counts = np.bincount(objects.images[order], minlength=len(tables.images))
    boxes = fitted.boxes[order]
    areas = objects.areas[order].astype(np.float32)
    return Index(
        classes_of(tables),
        tables.image_root,
        tables.images.files,
        tables.images.ids,
        sizes,
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes,
        objects.labels[order],
        objects.ignore[order],
        np.where(np.isnan(areas), box_areas(boxes), areas),
        objects.masked[order],
        objects.spans[order],
        tables.details,
        None if objects.keypoints is None else objects.keypoints[order],
        tables.keypoint_names,
    )


@dataclass(frozen=True, eq=False)
class Content:
    """What opening a split gives.

    Args:
        index: the usable annotations.
        findings: what was dropped or repaired, counted by reason.
    """

    index: Index
    findings: Counter[str] = field(default_factory=Counter)


def with_classes(index: Index, classes: Classes, place: Path) -> Index:
    """The same index with labels in the order of ``classes``.

    Raises:
        DataError: an object of a class that is not among them.
    """
    names = index.classes.names
    unknown = [names[label] for label in np.unique(index.labels).tolist() if names[label] not in classes.names]
    if unknown:
        raise DataError(
            f"unknown class {', '.join(repr(name) for name in unknown)}",
            place=place,
            cause=f"the model knows only {', '.join(classes.names)}",
            cure="use a model that was trained with these classes, or rename them in the annotations",
        )
    new = np.asarray([classes.names.index(n) if n in classes.names else -1 for n in names], np.int64)
    return replace(index, classes=classes, labels=new[index.labels])
