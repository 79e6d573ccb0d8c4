"""Truth and results of a whole split as flat arrays: what every protocol and every analysis of errors is computed on.

Rows of one image stand together, images in the data set's order. Nothing here imports torch before per-image objects
are asked for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sightline.structures import Detections, Target

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

Kind = Literal["boxes", "masks", "keypoints"]
"""What of detections is judged."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The objects of a split.

    Args:
        count: images of the split, those without objects included.
        images: (N,) place of each object's image, 0..count-1, not decreasing.
        labels: (N,) in 0..K-1.
        boxes: (N, 4) xyxy in pixels of the object's image.
        areas: (N,) in square pixels; what COCO sorts small, medium and large by.
        ignore: (N,) objects that neither count nor cost (COCO crowds, VOC difficult).
        segmentations: one an object, as COCO writes them (polygons, run lengths), or None where nobody judges masks.
        keypoints: (N, K, 3) x, y, visibility, or None where nobody judges keypoints.
        sizes: (count, 2) (H, W) of each image; None where nobody needs it.
        sides: (N, 2) width and height as a file has them; None where they are the differences of the corners.
    """

    count: int
    images: Ints
    labels: Ints
    boxes: Floats
    areas: Floats
    ignore: Bools
    segmentations: Sequence[Any] | None = None
    keypoints: Floats | None = None
    sizes: Ints | None = None
    sides: Floats | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class Found:
    """The detections of a split, best first in each image.

    Args:
        count: images of the split, those without detections included.
        images: (N,) place of each detection's image, 0..count-1, not decreasing.
        labels: (N,) in 0..K-1.
        boxes: (N, 4) xyxy in pixels of the detection's image.
        scores: (N,) in any range, greater is surer; not increasing within an image.
        segmentations: run lengths as COCO writes them, one a detection, or None.
        keypoints: (N, K, 3) x, y, score, or None.
        sides: (N, 2) width and height as a file has them; None where they are the differences of the corners.
    """

    count: int
    images: Ints
    labels: Ints
    boxes: Floats
    scores: Floats
    segmentations: Sequence[Any] | None = None
    keypoints: Floats | None = None
    sides: Floats | None = None

    def __len__(self) -> int:
        return len(self.images)


def truth_of(targets: "Iterable[Target]") -> Truth:
    """The targets of a split, one an image, as columns; masks as run lengths and keypoints where all objects have them.

    Targets are looked at one after the other: their masks need not be in memory together.
    """
    return _joined_truth([_truth_of_one(target) for target in targets])


def _truth_of_one(target: "Target") -> Truth:
    from sightline.data.segmentation import encode_mask

    return Truth(
        count=1,
        images=_owners([target]),
        labels=target.labels.cpu().numpy(),
        boxes=target.boxes.cpu().numpy().astype(np.float64),
        areas=target.areas.cpu().numpy().astype(np.float64),
        ignore=target.ignore.cpu().numpy(),
        segmentations=None if target.masks is None else [encode_mask(mask) for mask in target.masks],
        keypoints=None if target.keypoints is None else target.keypoints.cpu().numpy().astype(np.float64),
        sizes=np.asarray([target.size], np.int64),
    )


def _joined_truth(parts: Sequence[Truth]) -> Truth:
    return Truth(
        count=len(parts),
        images=_places([len(part) for part in parts]),
        labels=_joined([part.labels for part in parts], np.zeros(0, np.int64)),
        boxes=_joined([part.boxes for part in parts], np.zeros((0, 4))),
        areas=_joined([part.areas for part in parts], np.zeros(0)),
        ignore=_joined([part.ignore for part in parts], np.zeros(0, np.bool_)),
        segmentations=_joined_segmentations(parts),
        keypoints=_joined_keypoints(parts),
        sizes=_joined([part.sizes for part in parts if part.sizes is not None], np.zeros((0, 2), np.int64)),
    )


def found_of(detections: "Iterable[Detections]") -> Found:
    """The detections of a split, one an image, as columns; masks as run lengths and keypoints, where all have them.

    Detections are looked at one after the other: their masks need not be in memory together.
    """
    return joined_found([_found_of_one(each) for each in detections])


def _found_of_one(detections: "Detections") -> Found:
    from sightline.data.segmentation import encode_mask

    masks, points = detections.masks, detections.keypoints
    return Found(
        count=1,
        images=_owners([detections]),
        labels=detections.labels.cpu().numpy(),
        boxes=detections.boxes.cpu().numpy().astype(np.float64),
        scores=detections.scores.cpu().numpy().astype(np.float64),
        segmentations=None if masks is None else [encode_mask(mask) for mask in masks.cpu()],
        keypoints=None if points is None else points.cpu().numpy().astype(np.float64),
    )


def joined_found(parts: Sequence[Found]) -> Found:
    """The detections of several images, each of one, as those of a split."""
    return Found(
        count=len(parts),
        images=_places([len(part) for part in parts]),
        labels=_joined([part.labels for part in parts], np.zeros(0, np.int64)),
        boxes=_joined([part.boxes for part in parts], np.zeros((0, 4))),
        scores=_joined([part.scores for part in parts], np.zeros(0)),
        segmentations=_joined_segmentations(parts),
        keypoints=_joined_keypoints(parts),
    )


def _joined_segmentations(parts: Sequence[Truth] | Sequence[Found]) -> list[Any] | None:
    """All of them, where every image with objects has them, and one at least."""
    kept = [part.segmentations for part in parts if len(part) or part.segmentations is not None]
    known = [each for each in kept if each is not None]
    return [one for each in known for one in each] if len(known) == len(kept) > 0 else None


def _joined_keypoints(parts: Sequence[Truth] | Sequence[Found]) -> Floats | None:
    """All of them, where every image with objects has equally many an object, and one at least."""
    kept = [part.keypoints for part in parts if len(part) or part.keypoints is not None]
    known = [each for each in kept if each is not None]
    alike = len(known) == len(kept) > 0 and len({each.shape[1] for each in known}) == 1
    return np.concatenate(known) if alike else None


def targets_of(truth: Truth) -> "tuple[Target, ...]":
    """The objects of each image as one target; masks stay behind.

    Raises:
        ValueError: columns without the images' sizes, or with a box that has no area.
    """
    import torch

    from sightline.structures import Target

    if truth.sizes is None:
        raise ValueError("targets need the sizes of their images")
    columns = [
        torch.from_numpy(truth.boxes).float(),
        torch.from_numpy(truth.labels),
        torch.from_numpy(truth.ignore),
        torch.from_numpy(truth.areas).float(),
    ]
    points = None if truth.keypoints is None else torch.from_numpy(truth.keypoints).float()
    made = []
    for rows, (height, width) in zip(image_slices(truth), truth.sizes.tolist(), strict=True):
        boxes, labels, ignore, areas = (column[rows] for column in columns)
        own = None if points is None else points[rows]
        made.append(Target(boxes, labels, (height, width), ignore, areas, keypoints=own))
    return tuple(made)


def detections_of(found: Found, sizes: Ints) -> "tuple[Detections, ...]":
    """The detections of each image; masks stay behind.

    Args:
        found: the columns.
        sizes: (count, 2) (H, W) of each image.

    Raises:
        ValueError: a box that has no area, or a score outside of 0..1.
    """
    import torch

    from sightline.structures import Detections

    columns = (
        torch.from_numpy(found.boxes).float(),
        torch.from_numpy(found.scores).float(),
        torch.from_numpy(found.labels),
    )
    points = None if found.keypoints is None else torch.from_numpy(found.keypoints).float()
    made = []
    for rows, (height, width) in zip(image_slices(found), sizes.tolist(), strict=True):
        boxes, scores, labels = (column[rows] for column in columns)
        own = None if points is None else points[rows]
        made.append(Detections(boxes, scores, labels, (height, width), keypoints=own))
    return tuple(made)


def first_rows(columns: Truth | Found) -> Ints:
    """(count + 1,) the row at which each image begins, and the number of rows."""
    return np.searchsorted(columns.images, np.arange(columns.count + 1)).astype(np.int64)


def image_slices(columns: Truth | Found) -> list[slice]:
    """The rows of each image."""
    return [slice(start, stop) for start, stop in pairwise(first_rows(columns).tolist())]


def image_rows(columns: Truth | Found, image: int) -> slice:
    """The rows of one image."""
    start, stop = np.searchsorted(columns.images, [image, image + 1]).tolist()
    return slice(start, stop)


def xywh(columns: Truth | Found) -> Floats:
    """(N, 4) x, y, width, height; as a file has them where the columns came from one."""
    return np.concatenate([columns.boxes[:, :2], sides_of(columns, slice(None))], axis=1)


def sides_of(columns: Truth | Found, rows: Ints | slice) -> Floats:
    """(R, 2) width and height of some rows; as a file has them where the columns came from one."""
    if columns.sides is not None:
        return columns.sides[rows]
    boxes = columns.boxes[rows]
    return boxes[:, 2:] - boxes[:, :2]


def _owners(items: "Sequence[Target] | Sequence[Detections]") -> Ints:
    return _places([len(item) for item in items])


def _places(counts: Sequence[int]) -> Ints:
    """The image of each row, where each image has so many."""
    return np.repeat(np.arange(len(counts)), np.asarray(counts, np.int64)).astype(np.int64)


def _joined(parts: Sequence[npt.NDArray[Any]], empty: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """All rows in the dtype of ``empty``; float32 becomes float64 exactly."""
    return np.concatenate([empty, *(part.astype(empty.dtype) for part in parts)])
