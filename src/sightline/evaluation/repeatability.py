"""Whether a proposer finds the same boxes again after the image has changed a little.

Source: Hosang, Benenson, Dollar and Schiele, "What makes for effective detection proposals?", PAMI 2016, section 3. The
boxes of the changed image are carried back into the one before it and paired with the boxes there, each used once,
greedily by IoU. Repeatability is the area under recall over IoU 0 to 1, which is the mean IoU of the boxes with their
partners.

Large boxes are found again more easily than small ones, whoever proposes them, and proposers differ in how many of
each they make. So boxes are put into ten groups by size and the mean over the groups counts, each as much as any other.

Where it departs: sizes are relative to the image, by the root of the share of its area, in tenths, so that images of
all sizes share the groups. Groups without boxes take no part in the mean.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sightline.evaluation.coco import none_if_nan
from sightline.evaluation.columns import Floats, Ints
from sightline.evaluation.perturbations import PERTURBATIONS, Perturbation
from sightline.evaluation.proposal_recall import matched_overlaps
from sightline.geometry.iou import pairwise_iou
from sightline.proposals.proposer import Proposer
from sightline.structures import Size

GROUPS = 10
"""Of boxes by size."""


@dataclass(frozen=True, eq=False)
class Repeated:
    """How the boxes of some images were found again after one change.

    Args:
        perturbation: the change.
        overlaps: (N,) IoU of each box before the change with its partner; 0 without one.
        groups: (N,) 0..9, the size of each box.
    """

    perturbation: Perturbation
    overlaps: Floats
    groups: Ints

    def by_group(self) -> Floats:
        """(10,) repeatability of each group; NaN for those without boxes."""
        sums, counts = (np.bincount(self.groups, weights, GROUPS) for weights in (self.overlaps, None))
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    @property
    def repeatability(self) -> float:
        """The mean over the groups that have boxes; NaN without boxes."""
        return _mean_of_defined(self.by_group())


@dataclass(frozen=True, eq=False)
class Repeatability:
    """How well a proposer repeats itself.

    Args:
        changes: one a perturbation, in their order.
        images: that were looked at.
        count: proposals that were asked for an image.
    """

    changes: tuple[Repeated, ...]
    images: int
    count: int

    def kinds(self) -> dict[str, list[Repeated]]:
        """The changes by kind."""
        found: dict[str, list[Repeated]] = {}
        for change in self.changes:
            found.setdefault(change.perturbation.kind, []).append(change)
        return found

    def by_kind(self) -> dict[str, float]:
        """The mean repeatability over the levels of each kind."""
        return {
            kind: _mean_of_defined(np.array([change.repeatability for change in changes]))
            for kind, changes in self.kinds().items()
        }

    @property
    def mean(self) -> float:
        """The mean over the kinds, in 0..1; NaN without boxes."""
        return _mean_of_defined(np.array(list(self.by_kind().values())))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "mean": none_if_nan(self.mean),
            "images": self.images,
            "count": self.count,
            "by_kind": {kind: none_if_nan(value) for kind, value in self.by_kind().items()},
            "changes": [
                {
                    "kind": change.perturbation.kind,
                    "unit": change.perturbation.unit,
                    "level": change.perturbation.level,
                    "repeatability": none_if_nan(change.repeatability),
                    "by_size": [none_if_nan(value) for value in change.by_group().tolist()],
                }
                for change in self.changes
            ],
        }


def repeatability(
    proposer: Proposer,
    images: Iterable[Tensor],
    count: int,
    *,
    perturbations: Sequence[Perturbation] = PERTURBATIONS,
) -> Repeatability:
    """How well a proposer repeats itself on some images.

    Args:
        proposer: looks at each image once for itself and once for each change.
        images: (3, H, W) uint8, of any sizes.
        count: proposals asked for an image.
        perturbations: the changes.
    """
    overlaps: list[list[Floats]] = [[np.zeros(0)] for _ in perturbations]
    groups: list[list[Ints]] = [[np.zeros(0, np.int64)] for _ in perturbations]
    looked = 0
    for image in images:
        whole = proposer.propose(image, count).boxes
        inner: Tensor | None = None
        for place, change in enumerate(perturbations):
            reference = change.reference(image)
            before = whole
            if reference is not image:
                inner = proposer.propose(reference, count).boxes if inner is None else inner
                before = inner
            after = change.back(proposer.propose(change.apply(image), count).boxes, _size(image))
            pairs = pairwise_iou(before.double(), after.double()).numpy()
            overlaps[place].append(matched_overlaps(pairs))
            groups[place].append(size_groups(before, _size(reference)))
        looked += 1
    changes = zip(perturbations, overlaps, groups, strict=True)
    made = (Repeated(change, np.concatenate(own), np.concatenate(kinds)) for change, own, kinds in changes)
    return Repeatability(tuple(made), looked, count)


def size_groups(boxes: Tensor, size: Size) -> Ints:
    """(N,) 0..9: tenths of the root of the share of an image's area that each box covers.

    Args:
        boxes: (N, 4) xyxy in pixels of the image.
        size: (H, W) of the image.
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).double() / (size[0] * size[1])
    return torch.floor(areas.sqrt() * GROUPS).clamp(0, GROUPS - 1).long().numpy()


def _size(image: Tensor) -> Size:
    return image.shape[1], image.shape[2]


def _mean_of_defined(values: Floats) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan
