"""Which objects a system's anchors can match: the best IoU of each object with any anchor of its image.

An object whose best IoU is below the threshold from which anchors are taught to find it is learned badly, or not at
all, however long the training. Overlaps are exact: every anchor is compared with every object of its image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.contract import Anchors
from sightline.data.records import Index
from sightline.data.statistics import images_of_objects, size_classes
from sightline.geometry.iou import pairwise_iou
from sightline.structures import Size

_PAIRS_AT_ONCE = 2_000_000
"""Pairs of anchor and object that are compared at once: a few times 8 MB, which is faster than much more or less."""

_SIZE_NAMES = ("small", "medium", "large")


@dataclass(frozen=True)
class Share:
    """How some objects are covered.

    Args:
        name: which objects they are.
        objects: how many.
        matched: of these, those with an IoU from which an anchor is taught to find them.
        between: those with less that are not taught as background either.
        missed: those below the IoU that is background.
    """

    name: str
    objects: int
    matched: int
    between: int
    missed: int


@dataclass(frozen=True, eq=False)
class Coverage:
    """How well anchors cover the objects of a split, crowds and difficult ones left out.

    Args:
        index: the split.
        objects: (N,) int64 places of the objects that were looked at.
        overlaps: (N,) float32 best IoU of each with any anchor.
        images_looked_at: of the images of the split.
        positive: IoU from which an anchor is taught to find an object.
        negative: IoU below which it is background.
        keeps_best: whether the best anchor of each object is taught to find it all the same.
    """

    index: Index
    objects: NDArray[np.int64]
    overlaps: NDArray[np.float32]
    images_looked_at: int
    positive: float
    negative: float
    keeps_best: bool

    def worst(self, count: int) -> NDArray[np.int64]:
        """(at most count,) places in ``objects`` of those covered worst, worst first."""
        return np.argsort(self.overlaps, kind="stable")[:count]

    def share(self, name: str, chosen: NDArray[np.bool_]) -> Share:
        """The share of some of the objects, (N,) bool."""
        overlaps = self.overlaps[chosen]
        matched, missed = int((overlaps >= self.positive).sum()), int((overlaps < self.negative).sum())
        return Share(name, len(overlaps), matched, len(overlaps) - matched - missed, missed)

    def overall(self) -> Share:
        """The share of all objects."""
        return self.share("all", np.ones(len(self.objects), np.bool_))

    def by_size(self) -> tuple[Share, ...]:
        """Shares of COCO's three sizes."""
        sizes = size_classes(self.index.areas[self.objects])
        return tuple(self.share(name, sizes == size) for size, name in enumerate(_SIZE_NAMES))

    def by_class(self) -> tuple[Share, ...]:
        """Shares of the classes, in order of label."""
        labels = self.index.labels[self.objects]
        return tuple(self.share(name, labels == label) for label, name in enumerate(self.index.classes.names))

    def to_dict(self, worst: int = 20) -> dict[str, Any]:
        """Plain values for JSON, with the objects that are covered worst."""
        return {
            "images": self.images_looked_at,
            "images_in_split": len(self.index.image_ids),
            "positive": self.positive,
            "negative": self.negative,
            "keeps_best": self.keeps_best,
            "all": vars(self.overall()),
            "by_size": [vars(share) for share in self.by_size()],
            "by_class": [vars(share) for share in self.by_class()],
            "worst": [self._object(place) for place in self.worst(worst).tolist()],
        }

    def _object(self, place: int) -> dict[str, Any]:
        index, row = self.index, int(self.objects[place])
        image = int(np.searchsorted(index.first, row, side="right")) - 1
        return {
            "image": str(index.image_root / index.files[image]),
            "image_id": int(index.image_ids[image]),
            "object": row - int(index.first[image]),
            "class": index.classes.names[int(index.labels[row])],
            "box": index.boxes[row].tolist(),
            "iou": float(self.overlaps[place]),
        }


def anchor_coverage(
    index: Index, anchors: Callable[[Size], Anchors], images: NDArray[np.int64] | None = None
) -> Coverage:
    """How well anchors cover the objects of a split.

    Args:
        index: the split.
        anchors: of an image of a size (H, W); asked once a size.
        images: places of the images to look at. Default: all.
    """
    chosen = np.arange(len(index.image_ids)) if images is None else images
    looked_at = np.zeros(len(index.image_ids), np.bool_)
    looked_at[chosen] = True
    owners = images_of_objects(index)
    objects = np.flatnonzero(looked_at[owners] & ~index.ignore)
    sizes, kinds = np.unique(index.sizes[owners[objects]], axis=0, return_inverse=True)
    overlaps = np.zeros(len(objects), np.float32)
    found = anchors((1, 1))
    for number, (height, width) in enumerate(sizes.tolist()):
        own = np.flatnonzero(kinds.reshape(-1) == number)
        found = anchors((height, width))
        boxes = torch.from_numpy(index.boxes[objects[own]]).to(found.boxes.device)
        overlaps[own] = best_overlaps(boxes, found.boxes).cpu().numpy()
    rules = found.positive, found.negative, found.keeps_best
    return Coverage(index, objects, overlaps, int(looked_at.sum()), *rules)


def best_overlaps(boxes: Tensor, anchors: Tensor) -> Tensor:
    """(N,) the best IoU of each of (N, 4) boxes with any of (A, 4) anchors; 0 without anchors."""
    if not len(anchors) or not len(boxes):
        return boxes.new_zeros(len(boxes))
    step = max(1, _PAIRS_AT_ONCE // len(anchors))
    return torch.cat([pairwise_iou(part, anchors).amax(dim=1) for part in torch.split(boxes, step)])
