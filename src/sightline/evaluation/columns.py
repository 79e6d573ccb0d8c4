"""Truth and results of a whole split as flat arrays: what every protocol and every analysis of errors is computed on.

Rows of one image stand together, images in the data set's order. Nothing here imports torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sightline.structures import Detections, Target

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


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
    """

    count: int
    images: Ints
    labels: Ints
    boxes: Floats
    areas: Floats
    ignore: Bools
    segmentations: Sequence[Any] | None = None
    keypoints: Floats | None = None

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
    """

    count: int
    images: Ints
    labels: Ints
    boxes: Floats
    scores: Floats
    segmentations: Sequence[Any] | None = None
    keypoints: Floats | None = None

    def __len__(self) -> int:
        return len(self.images)


def truth_of(targets: "Sequence[Target]") -> Truth:
    """The targets of a split, one an image, as columns; masks and keypoints stay behind."""
    return Truth(
        count=len(targets),
        images=_owners(targets),
        labels=_joined([t.labels.cpu().numpy() for t in targets], np.zeros(0, np.int64)),
        boxes=_joined([t.boxes.cpu().numpy() for t in targets], np.zeros((0, 4))),
        areas=_joined([t.areas.cpu().numpy() for t in targets], np.zeros(0)),
        ignore=_joined([t.ignore.cpu().numpy() for t in targets], np.zeros(0, np.bool_)),
    )


def found_of(detections: "Sequence[Detections]") -> Found:
    """The detections of a split, one an image, as columns; masks and keypoints stay behind."""
    return Found(
        count=len(detections),
        images=_owners(detections),
        labels=_joined([d.labels.cpu().numpy() for d in detections], np.zeros(0, np.int64)),
        boxes=_joined([d.boxes.cpu().numpy() for d in detections], np.zeros((0, 4))),
        scores=_joined([d.scores.cpu().numpy() for d in detections], np.zeros(0)),
    )


def first_rows(columns: Truth | Found) -> Ints:
    """(count + 1,) the row at which each image begins, and the number of rows."""
    return np.searchsorted(columns.images, np.arange(columns.count + 1)).astype(np.int64)


def _owners(items: "Sequence[Target] | Sequence[Detections]") -> Ints:
    return np.repeat(np.arange(len(items)), [len(item) for item in items]).astype(np.int64)


def _joined(parts: Sequence[npt.NDArray[Any]], empty: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """All rows in the dtype of ``empty``; float32 becomes float64 exactly."""
    return np.concatenate([empty, *(part.astype(empty.dtype) for part in parts)])
