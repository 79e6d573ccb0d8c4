"""What every format is read into: the annotations of one split as flat arrays, exactly as they are written.

COCO is the canonical form. Each row points to the COCO entry that it comes from, as text: in the annotation file itself
where that is COCO's, else in one block of bytes that the reader made. So masks, captions, attributes and whatever else
an entry holds stay on the disk until somebody asks, worker processes share the arrays, and what is written again is
what was read.

Nothing is clipped, dropped or put right here: ``index`` does that for training, the check tells of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.classes import Size
from sightline.data.details import Details
from sightline.data.mask_files import MASK_FILE
from sightline.data.strings import Strings


@dataclass(frozen=True, eq=False)
class ImageTable:
    """One row an image, in the order of the source.

    Args:
        files: paths of the image files, relative to ``Tables.image_root`` and with forward slashes.
        ids: (M,) int64 as in the source; for formats without ids the image's number, from 1.
        sizes: (M, 2) int32 (H, W) as annotated; 0, 0 where the source has none.
        spans: (M, 2) int64, offset and length of each entry in ``Tables.details``.
        rows: (M,) int64 number of the entry in the source.
        sources: the annotation file of each image, for formats that have one an image; else empty.
    """

    files: Strings
    ids: NDArray[np.int64]
    sizes: NDArray[np.int32]
    spans: NDArray[np.int64]
    rows: NDArray[np.int64]
    sources: Strings

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class ObjectTable:
    """One row an object, in the order of the source.

    Args:
        images: (N,) int64 row of the image.
        labels: (N,) int64 place in ``Tables.categories``.
        boxes: (N, 4) float64 xyxy in pixels, as written.
        ignore: (N,) bool; COCO crowds, VOC difficult.
        areas: (N,) float64 in square pixels; NaN where the source has none.
        ids: (N,) int64 as in the source; -1 where it has none.
        masked: (N,) bool, whether there is a segmentation.
        spans: (N, 2) int64, offset and length of each entry in ``Tables.details``.
        rows: (N,) int64 number of the entry in its file.
        keypoints: (N, K, 3) float32 x, y, visibility; None when the source has none.
        sides: (N, 2) float64 width and height as the source has them; None where it has corners.
    """

    images: NDArray[np.int64]
    labels: NDArray[np.int64]
    boxes: NDArray[np.float64]
    ignore: NDArray[np.bool_]
    areas: NDArray[np.float64]
    ids: NDArray[np.int64]
    masked: NDArray[np.bool_]
    spans: NDArray[np.int64]
    rows: NDArray[np.int64]
    keypoints: NDArray[np.float32] | None = None
    sides: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class Tables:
    """One split as it is written.

    Args:
        form: name of the format.
        source: the annotation file, or the folder of a format with many.
        image_root: the folder that ``images.files`` start from.
        categories: COCO's category entries, in order of id.
        images: one row an image.
        objects: one row an object.
        details: where the entries' texts are.
        image_place: how a place in the source is named, such as ``images[{}]``.
        object_place: such as ``annotations[{}]``, ``object[{}]`` or ``line {}``; the number is the row.
        header: what else the source holds at its top: info, licenses ...
        keypoint_names: names of the keypoints in order; empty when there are none.
    """

    form: str
    source: Path
    image_root: Path
    categories: tuple[Mapping[str, Any], ...]
    images: ImageTable
    objects: ObjectTable
    details: Details
    image_place: str
    object_place: str
    header: Mapping[str, Any] = field(default_factory=dict)
    keypoint_names: tuple[str, ...] = ()

    def image_path(self, row: int) -> Path:
        """The image file of an image row."""
        return self.image_root / self.images.files[row]

    def image_entry(self, row: int) -> dict[str, Any]:
        """COCO's entry of an image row."""
        return self.details.read(*self.images.spans[row].tolist())

    def object_entry(self, row: int) -> dict[str, Any]:
        """COCO's entry of an object row."""
        return self.details.read(*self.objects.spans[row].tolist())

    def locate_image(self, row: int) -> tuple[str, str]:
        """The annotation file of an image row, and the place in it."""
        if len(self.images.sources):
            return self.images.sources[row], ""
        return str(self.source), self.image_place.format(int(self.images.rows[row]))

    def locate_object(self, row: int) -> tuple[str, str]:
        """The annotation file of an object row, and the place in it."""
        own = len(self.images.sources) > 0
        file = self.images.sources[int(self.objects.images[row])] if own else str(self.source)
        return file, self.object_place.format(int(self.objects.rows[row]))

    def objects_by_image(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Object rows in the order of their images, (N,), and where each image's begin, (M + 1,)."""
        order = np.argsort(self.objects.images, kind="stable")
        counts = np.bincount(self.objects.images, minlength=len(self.images))
        return order, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


class TablesBuilder:
    """Collects images and objects one by one: how formats other than COCO's are read.

    Args:
        form: name of the format.
        source: the annotation file, or the folder of a format with many.
        image_root: the folder that the images' names start from.
        object_place: as in :class:`Tables`.
        image_place: as in :class:`Tables`.
        category_ids: of the labels. Default: 1..K.
    """

    def __init__(
        self,
        form: str,
        source: Path,
        image_root: Path,
        *,
        object_place: str,
        image_place: str = "image {}",
        category_ids: Sequence[int] | None = None,
    ) -> None:
        self._form, self._source, self._image_root = form, source, image_root
        self._places = image_place, object_place
        self._category_ids = category_ids
        self._texts: list[bytes] = []
        self._offset = 0
        self._files: list[str] = []
        self._sources: list[str] = []
        self._images: list[tuple[int, int, int, int, int, int]] = []
        self._objects: list[tuple[int, int, int, int, int, int, int, int]] = []
        self._boxes: list[tuple[float, ...]] = []
        self._areas: list[float] = []
        self._keypoints: list[list[float]] = []

    def add_image(
        self,
        file: str,
        *,
        size: Size | None = None,
        source: str = "",
        row: int = 0,
        number: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> int:
        """Adds an image and gives its row.

        Args:
            file: path of the image, relative to the image root.
            size: (H, W) as annotated.
            source: its own annotation file, for formats that have one an image.
            row: number of the entry in the source.
            number: its id. Default: counted from 1.
            extra: further keys of its COCO entry.
        """
        height, width = size or (0, 0)
        number = len(self._images) + 1 if number is None else number
        sides = {"height": height, "width": width} if size else {}
        span = self._write({"id": number, "file_name": file, **sides, **(extra or {})})
        self._files.append(file)
        self._sources.append(source)
        self._images.append((number, height, width, *span, row))
        return len(self._images) - 1

    def add_object(
        self, image: int, label: int, box: Sequence[float], *, row: int, extra: Mapping[str, Any] | None = None
    ) -> None:
        """Adds an object.

        Args:
            image: row of its image.
            label: place of its class in the categories.
            box: xyxy in pixels.
            row: number of the entry in its file.
            extra: further keys of its COCO entry: area, segmentation, keypoints, difficult ...; an id as well, where it
                is not to be counted from 1.
        """
        x1, y1, x2, y2 = (float(value) for value in box)
        extra = extra or {}
        number = int(extra.get("id", len(self._objects) + 1))
        category = label + 1 if self._category_ids is None else self._category_ids[label]
        entry = {
            "id": number,
            "image_id": self._images[image][0],
            "category_id": category,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
        }
        entry |= {"iscrowd": 0} | dict(extra)
        span = self._write(entry)
        ignore = int(is_ignored(entry))
        self._objects.append(
            (image, label, ignore, number, int(bool(entry.get("segmentation") or entry.get(MASK_FILE))), *span, row)
        )
        self._boxes.append((x1, y1, x2, y2))
        self._areas.append(float(extra.get("area", np.nan)))
        self._keypoints.append(list(extra.get("keypoints", ())))

    def build(
        self,
        categories: Sequence[Mapping[str, Any]],
        header: Mapping[str, Any] | None = None,
        keypoint_names: Sequence[str] = (),
    ) -> Tables:
        """All that was added, as tables.

        Args:
            categories: COCO's category entries, in the order of the labels.
            header: what else the source holds.
            keypoint_names: names of the keypoints in order.
        """
        images = np.asarray(self._images, np.int64).reshape(-1, 6)
        objects = np.asarray(self._objects, np.int64).reshape(-1, 8)
        per_image = Strings.of(self._sources if any(self._sources) else [])
        image_place, object_place = self._places
        return Tables(
            self._form,
            self._source,
            self._image_root,
            tuple(categories),
            ImageTable(
                Strings.of(self._files),
                images[:, 0],
                images[:, 1:3].astype(np.int32),
                images[:, 3:5],
                images[:, 5],
                per_image,
            ),
            ObjectTable(
                objects[:, 0],
                objects[:, 1],
                np.asarray(self._boxes, np.float64).reshape(-1, 4),
                objects[:, 2].astype(np.bool_),
                np.asarray(self._areas, np.float64),
                objects[:, 3],
                objects[:, 4].astype(np.bool_),
                objects[:, 5:7],
                objects[:, 7],
                self._points(len(keypoint_names)),
            ),
            Details.in_memory(b"".join(self._texts)),
            image_place,
            object_place,
            header or {},
            tuple(keypoint_names),
        )

    def _points(self, count: int) -> NDArray[np.float32] | None:
        if not count:
            return None
        padded = [(points + [0.0] * (3 * count))[: 3 * count] for points in self._keypoints]
        return np.asarray(padded, np.float32).reshape(-1, count, 3)

    def _write(self, entry: Mapping[str, Any]) -> tuple[int, int]:
        text = json.dumps(entry, ensure_ascii=True).encode()
        start = self._offset
        self._texts.append(text)
        self._offset += len(text)
        return start, len(text)


def is_ignored(entry: Mapping[str, Any]) -> bool:
    """Whether an object neither counts nor costs: COCO's crowds, and what VOC calls difficult."""
    return bool(entry.get("iscrowd")) or entry.get("difficult") in (1, True)
