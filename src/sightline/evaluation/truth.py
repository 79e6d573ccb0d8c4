"""The truth of a split for judging results that come as a file: the annotations exactly as they are written.

Training and the evaluation of a model use boxes that are clipped to their images, and leave out what has no area. Here
nothing is changed, as in pycocotools, and no picture is needed. Nothing here imports torch.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from sightline.classes import Classes
from sightline.data.coco_masks import run_lengths
from sightline.data.findings import Findings
from sightline.data.formats.layouts import recognise
from sightline.data.mask_files import with_mask
from sightline.data.records import classes_of, complete_sizes, usable_segmentation
from sightline.data.tables import Tables
from sightline.errors import DataError
from sightline.evaluation.columns import Floats, Ints, Kind, Truth


@dataclass(frozen=True, eq=False)
class TruthOfSplit:
    """What results of a split are judged by.

    Args:
        name: of the set's folder.
        split: the name of the split.
        path: what was opened.
        truth: the objects, with the sizes of the images.
        image_ids: of the images, as in the annotations; for formats without ids the image's number, from 1.
        classes: names and original ids.
        findings: what was left out at reading, counted by reason.
    """

    name: str
    split: str
    path: Path
    truth: Truth
    image_ids: tuple[int, ...]
    classes: Classes
    findings: Counter[str]

    def __len__(self) -> int:
        return self.truth.count


def open_truth(path: str | Path, split: str = "val", kind: Kind = "boxes") -> TruthOfSplit:
    """The truth of a split of a labelled set of images in any format; the pictures need not be there.

    Args:
        path: as for ``open_dataset``; an annotation file is taken whatever its split.
        split: the split's name.
        kind: what is to be judged: masks and keypoints are read only where they are needed.

    Raises:
        DataError: nothing to recognise, no such split, no images, damaged annotations, or objects without the masks or
            keypoints that are to be judged.
    """
    path = Path(path)
    layout = recognise(path)
    if path.is_file() and len(layout.readers) == 1:
        split = next(iter(layout.readers))
    layout.require([split], path)
    findings = Findings()
    tables = layout.readers[split](findings)
    findings.refuse()
    if not len(tables.images):
        raise DataError(f"split '{split}' has no images", place=tables.source, cure="check how the set was made")
    sizes = _sizes(tables, kind, findings)
    return TruthOfSplit(
        layout.root.resolve().name,
        split,
        path,
        _columns(tables, sizes, kind),
        tuple(tables.images.ids.tolist()),
        classes_of(tables),
        findings.by_title(),
    )


def split_with(path: Path, image_ids: set[int], but: str) -> str | None:
    """The split of a set that has all of some image ids, other than one; None where there is none."""
    for name, read in recognise(path).readers.items():
        if name != but and image_ids <= set(read(Findings()).images.ids.tolist()):
            return name
    return None


def _sizes(tables: Tables, kind: Kind, findings: Findings) -> Ints:
    """(M, 2) as annotated; where masks need them, those that are missing come from the images."""
    if kind == "masks":
        return complete_sizes(tables, np.ones(len(tables.images), np.bool_), findings).astype(np.int64)
    return tables.images.sizes.astype(np.int64)


def _columns(tables: Tables, sizes: Ints, kind: Kind) -> Truth:
    objects = tables.objects
    order, _ = tables.objects_by_image()
    boxes, areas = objects.boxes[order], objects.areas[order]
    sides = boxes[:, 2:] - boxes[:, :2] if objects.sides is None else objects.sides[order]
    return Truth(
        count=len(tables.images),
        images=objects.images[order],
        labels=objects.labels[order],
        boxes=boxes,
        areas=np.where(np.isnan(areas), sides.prod(axis=1), areas),
        ignore=objects.ignore[order],
        segmentations=_masks(tables, order, sizes) if kind == "masks" else None,
        keypoints=_keypoints(tables, order) if kind == "keypoints" else None,
        sizes=sizes,
        sides=sides,
    )


def _entries(tables: Tables, order: Ints) -> Iterator[tuple[int, dict[str, Any]]]:
    texts = tables.details.each(tables.objects.spans[order])
    for row, text in zip(order.tolist(), texts, strict=True):
        yield row, with_mask(msgspec.json.decode(text))


def _masks(tables: Tables, order: Ints, sizes: Ints) -> list[dict[str, Any]]:
    """One mask an object, as run lengths."""
    masks = []
    for row, entry in _entries(tables, order):
        shape = usable_segmentation(entry.get("segmentation"))
        height, width = sizes[tables.objects.images[row]].tolist()
        try:
            if shape is None:
                raise DataError("the object has no mask", cure="judge boxes instead, with --task boxes")
            masks.append(run_lengths(shape, (height, width)))
        except DataError as error:
            file, where = tables.locate_object(row)
            cure = error.cure or "correct the annotation file"
            raise DataError(error.what, place=f"{file}, {where}", cause=error.cause, cure=cure) from error
    return masks


def _keypoints(tables: Tables, order: Ints) -> Floats:
    """(N, K, 3) as they are written; an object without keypoints has none that is visible."""
    count = len(tables.keypoint_names)
    if not count:
        raise DataError(
            "the set has no keypoints",
            place=tables.source,
            cure="judge boxes instead, with --task boxes; or give annotations whose categories name keypoints",
        )
    points = np.zeros((len(order), 3 * count))
    for place, (_, entry) in enumerate(_entries(tables, order)):
        listed = entry.get("keypoints") or ()
        points[place, : len(listed)] = listed
    return points.reshape(-1, count, 3)
