"""YOLO sets, written: images/<split>/, labels/<split>/ and data.yaml, for yolo.py and for Ultralytics' programs.

A set has one task: keypoints make it one of poses, masks one of segments, else it is one of boxes. Every object is a
line of numbers between 0 and 1, with ten decimals: pixel coordinates come back to 1e-5 of a pixel in images of up to
100,000 pixels a side, and those of six decimals come back equal in images of up to 5,000. A mask of several parts, or
with holes, becomes one polygon: its outlines are tied by lines of no width. Run lengths are traced along pixel edges,
so that filling the polygon gives the same pixels.

data.yaml has no key ``path``, as Ultralytics takes a relative one from the folder that it is started in, and starts
from the file's own folder without it. Its programs ask for splits ``train`` and ``val``; splits of other names become
keys of their names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np
import yaml
from hotcoco import mask as rle
from numpy.typing import NDArray

from sightline.classes import Size
from sightline.data.boxes import fit_boxes
from sightline.data.finding_kinds import KINDS
from sightline.data.formats import writing
from sightline.data.formats.label_images import mask_of, plain_entry, size_of
from sightline.data.formats.stems import Stems
from sightline.data.formats.writing import Output, image_name
from sightline.data.formats.yolo_config import OTHER_KEYS
from sightline.data.outlines import Polygon, clip, join, outlines
from sightline.data.records import usable_segmentation
from sightline.data.tables import Tables
from sightline.errors import DataError
from sightline.files import write_atomically

CARRIES = frozenset(
    {
        *(writing.BOXES, writing.BOX_FRACTIONS, writing.MASKS, writing.MASK_RUNS, writing.KEYPOINTS),
        *(writing.CLASS_PER_OBJECT, writing.UNUSED_CLASSES, writing.CLASS_ORDER, writing.EMPTY_IMAGES),
    }
)
"""What the format can hold; masks and keypoints not in one set."""

Task = Literal["auto", "detect", "segment", "pose"]

CROWD = "crowd left out"
DIFFICULT = "difficult object written as an ordinary one"
JOINED = "mask of several parts joined by a line"
BOX_AS_POLYGON = "box written as a polygon"
NO_MASK = "mask left out"
NO_KEYPOINTS = "keypoints left out"
MOVED_BOX = "box replaced by the extent of its mask"
OUTSIDE_POINT = "keypoint outside the image written as not labelled"

_FARTHEST = 1e9
"""Pixels beyond which a polygon's point is no point; NaN is none either."""

_OVERLAP = 0.01
"""Share of a mask that polygons may cover twice, as neighbours along an edge do, before it is traced from pixels."""


def write(splits: Mapping[str, Tables], output: Output, *, task: Task = "auto") -> None:
    """Writes a set.

    Args:
        splits: the tables of each split.
        output: where to.
        task: what the lines hold; ``auto`` takes what the set has.

    Raises:
        DataError: an image that is missing or has another ending, or a split whose name is a key of data.yaml or no
            name of a folder.
        OSError: the disk is full or the folder cannot be written.
    """
    for split in splits:
        if split in OTHER_KEYS or split in ("", ".", "..") or "/" in split or "\\" in split:
            raise DataError(f"a YOLO set cannot have a split of the name {split!r}", cure="give it another name")
    names = tuple(dict.fromkeys(str(c["name"]) for tables in splits.values() for c in tables.categories))
    keypoints = max((tables.keypoint_names for tables in splits.values()), key=len, default=())
    numbers = {name: i for i, name in enumerate(names)}
    writer = _Writer(_task(splits) if task == "auto" else task, numbers, len(keypoints), output)
    stems = Stems(output.losses, flat=False)
    for split, tables in splits.items():
        (output.folder / "images" / split).mkdir(parents=True, exist_ok=True)
        order, first = tables.objects_by_image()
        for row in range(len(tables.images)):
            name = stems.name(f"{split}/{_without_images(image_name(tables, row))}", (split, row))
            output.put_image(tables.image_path(row), f"images/{name}")
            lines = writer.lines(tables, row, order[first[row] : first[row + 1]])
            path = (output.folder / "labels" / name).with_suffix(".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    about = _about_keypoints(splits, keypoints, names) if writer.task == "pose" else {}
    content = {split: f"images/{split}" for split in splits} | about
    content |= {"nc": len(names), "names": dict(enumerate(names))}
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=1000)
    write_atomically(output.folder / "data.yaml", text)


def _task(splits: Mapping[str, Tables]) -> Task:
    if any(tables.keypoint_names for tables in splits.values()):
        return "pose"
    return "segment" if any(tables.objects.masked.any() for tables in splits.values()) else "detect"


def _without_images(name: str) -> str:
    """A name without folders ``images``: the last one of a path would become ``labels``."""
    path = PurePosixPath(name)
    return "/".join([*(part for part in path.parts[:-1] if part != "images"), path.name])


def _about_keypoints(
    splits: Mapping[str, Tables], keypoints: tuple[str, ...], names: tuple[str, ...]
) -> dict[str, Any]:
    about: dict[str, Any] = {"kpt_shape": [len(keypoints), 3]}
    about["kpt_names"] = {i: list(keypoints) for i in range(len(names))}
    given = [flips for tables in splits.values() if _are_flips(flips := tables.header.get("flip_idx"), len(keypoints))]
    flips = given[0] if given else _flips(keypoints)
    return about | ({"flip_idx": list(flips)} if flips else {})


def _are_flips(value: Any, count: int) -> bool:
    return isinstance(value, list | tuple) and sorted(map(str, value)) == sorted(map(str, range(count)))


def _flips(keypoints: tuple[str, ...]) -> list[int]:
    """The keypoint that each one is in a mirror, by names with left and right; empty where none has them."""
    mirrored = [_mirrored(name) for name in keypoints]
    if mirrored == list(keypoints) or not set(mirrored) <= set(keypoints):
        return []
    return [keypoints.index(name) for name in mirrored]


def _mirrored(name: str) -> str:
    return name.replace("left", "\0").replace("right", "left").replace("\0", "right")


@dataclass(frozen=True, eq=False)
class _Writer:
    """Writes the lines of images.

    Args:
        task: what the lines hold.
        names: the number of each class.
        keypoints: of each object.
        output: where losses are counted.
    """

    task: Task
    names: Mapping[str, int]
    keypoints: int
    output: Output

    def lines(self, tables: Tables, row: int, objects: NDArray[np.int64]) -> list[str]:
        """The lines of one image."""
        size = size_of(tables, row)
        table = tables.objects
        fitted = fit_boxes(table.boxes[objects], np.tile(np.array(size), (len(objects), 1)))
        limits = np.array([size[1], size[0], size[1], size[0]], np.float64)
        lines: list[str] = []
        for place, number in enumerate(objects.tolist()):
            # Where neither is needed, the texts of the objects stay unread.
            reads = table.ignore[number] or (self.task == "segment" and table.masked[number])
            entry = plain_entry(tables, number) if reads else {}
            if entry.get("iscrowd"):
                self._lose(CROWD)
                continue
            self._lose(DIFFICULT, bool(table.ignore[number]))
            for code, cases in fitted.cases.items():
                self._lose(KINDS[code].title, bool(cases[place]))
            if not fitted.keep[place]:
                continue
            box = np.clip(table.boxes[number], 0, limits)
            label = self.names[tables.categories[int(table.labels[number])]["name"]]
            values = self._values(tables, number, entry, box, size)
            lines.append(" ".join([str(label), *map(_text, values)]))
        return lines

    def _values(
        self, tables: Tables, number: int, entry: Mapping[str, Any], box: NDArray[np.float64], size: Size
    ) -> list[float]:
        table = tables.objects
        self._lose(NO_MASK, self.task != "segment" and bool(table.masked[number]))
        has_points = table.keypoints is not None and bool((table.keypoints[number] != 0).any())
        self._lose(NO_KEYPOINTS, self.task != "pose" and has_points)
        height, width = size
        x1, y1, x2, y2 = (box / [width, height, width, height]).tolist()
        if self.task == "segment":
            polygon = self._polygon(entry, size) if table.masked[number] else None
            self._lose(BOX_AS_POLYGON, polygon is None)
            if polygon is None:
                return [x1, y1, x2, y1, x2, y2, x1, y2]
            extent = np.concatenate([polygon.min(axis=0), polygon.max(axis=0)])
            self._lose(MOVED_BOX, bool(np.abs(extent - box).max() > 1))
            return (polygon / [width, height]).ravel().tolist()
        values = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
        return values + (self._points(table.keypoints, number, size) if self.task == "pose" else [])

    def _polygon(self, entry: Mapping[str, Any], size: Size) -> Polygon | None:
        """The mask as one polygon inside the image; None where nothing is left of it."""
        parts = _parts(entry, size)
        self._lose(JOINED, len(parts) > 1)
        return join(parts) if parts else None

    def _points(self, points: NDArray[np.float32] | None, number: int, size: Size) -> list[float]:
        values = np.zeros((self.keypoints, 3))
        if points is not None:
            values[: points.shape[1]] = points[number]
        values[:, :2] /= [size[1], size[0]]
        outside = ~((values[:, :2] >= 0) & (values[:, :2] <= 1)).all(axis=1)
        self._lose(OUTSIDE_POINT, number=int((outside & (values[:, 2] > 0)).sum()))
        values[outside] = 0
        flat: list[float] = values.ravel().tolist()
        return flat

    def _lose(self, reason: str, happened: bool = True, *, number: int = 1) -> None:
        if happened and number:
            self.output.losses[reason] += number


def _parts(entry: Mapping[str, Any], size: Size) -> list[Polygon]:
    """The outlines of a mask inside the image, which cover it by the even-odd rule."""
    segmentation = usable_segmentation(entry.get("segmentation"))
    if isinstance(segmentation, list) and all(_is_polygon(polygon) for polygon in segmentation):
        whole = [np.asarray(polygon, np.float64).reshape(-1, 2) for polygon in segmentation]
        clipped = [clip(polygon, size[1], size[0]) for polygon in whole]
        parts = [part for part in clipped if len(part) >= 3 and (np.ptp(part, axis=0) > 0).all()]
        if len(parts) < 2 or not _overlap(parts, size):
            return parts
    mask = mask_of(dict(entry), size)
    if mask is None:
        return []
    found = outlines(mask)
    return [*found.outer, *found.holes]


def _is_polygon(points: Any) -> bool:
    even = isinstance(points, list) and len(points) % 2 == 0
    return even and all(isinstance(v, int | float) and abs(v) < _FARTHEST for v in points)


def _overlap(polygons: list[Polygon], size: Size) -> bool:
    """Whether polygons cover more than a little of their union twice."""
    runs = rle.fr_py_objects([polygon.ravel().tolist() for polygon in polygons], *size)
    areas = sum(int(rle.area(run)) for run in runs)
    union = int(rle.area(rle.merge(runs)))
    return areas - union > _OVERLAP * union


def _text(value: float) -> str:
    text = f"{value:.10f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
