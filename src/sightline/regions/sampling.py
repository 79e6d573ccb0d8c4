"""Which regions a head learns from, and what it is to say of them (Girshick 2015, section 2.3).

Label 0 is the background here; labels of targets have no background and are lower by one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sightline.assign.draws import uniform
from sightline.assign.iou_matcher import BACKGROUND, IoUMatcher
from sightline.assign.padding import PaddedTargets, covered
from sightline.assign.samplers import BalancedSampler
from sightline.geometry.coding import BoxCoder
from sightline.geometry.iou import pairwise_iou
from sightline.proposals.proposals import Proposals, rank_in_group
from sightline.structures import Target


@dataclass(frozen=True, eq=False)
class SampledRegions:
    """S regions of a batch, ordered by image, and what is true of them.

    Args:
        boxes: (S, 4) xyxy in pixels of the batch.
        image_index: (S,) int64, not decreasing.
        labels: (S,) int64, 0 for background.
        match: (S,) int64, the object of each among those of its image that count; -1 for background.
        true_deltas: (S, 4), from the region to its object; zeros for background.
    """

    boxes: Tensor
    image_index: Tensor
    labels: Tensor
    match: Tensor
    true_deltas: Tensor

    @property
    def positive(self) -> "SampledRegions":
        """Those that hold an object."""
        chosen = self.labels.nonzero()[:, 0]
        columns = (self.boxes, self.image_index, self.labels, self.match, self.true_deltas)
        return SampledRegions(*(column[chosen] for column in columns))


def matched_objects(
    targets: Sequence[Target], match: Tensor, image_index: Tensor
) -> Iterator[tuple[Target, Tensor, Tensor]]:
    """Each image that has regions with objects: its target, its regions, and the objects of these in the target.

    Args:
        targets: of the batch.
        match: (S,) int64, the object of each region among those of its image that count.
        image_index: (S,) int64.
    """
    for image, target in enumerate(targets):
        own = (image_index == image).nonzero()[:, 0]
        if len(own):
            yield target, own, (~target.ignore).nonzero()[:, 0][match[own]]


@dataclass(frozen=True)
class RegionSampler:
    """Draws regions of each image, objects and background in bounded proportion.

    Args:
        matcher: IoU from which a region is an object, and below which it is background; those between do not count.
        sampler: how many of an image.
        coder: of boxes against regions.
        lowest: least IoU of background with some object; regions that touch none are no background then. Fast R-CNN's
            0.1 keeps what is hard (Girshick 2015, section 2.3); 0 takes all.
    """

    matcher: IoUMatcher
    sampler: BalancedSampler
    coder: BoxCoder
    lowest: float = 0.0

    @torch.no_grad()
    def __call__(self, proposals: Proposals, targets: PaddedTargets, seeds: Sequence[int] = ()) -> SampledRegions:
        """Regions drawn from the proposals and the true boxes.

        Args:
            proposals: of the batch.
            targets: of the batch.
            seeds: of the images, from which regions are drawn.
        """
        boxes, valid = by_image(proposals)
        device = boxes.device
        # Apart, so that what is drawn for a true box does not depend on how many proposals other images have.
        parts = [(1, boxes.shape[:2]), (2, targets.boxes.shape[:2])]
        keys = torch.cat([uniform(seeds, (b, n), stream=stream, device=device) for stream, (b, n) in parts], dim=1)
        boxes = torch.cat([boxes, targets.boxes], dim=1)  # (B, P + M, 4)
        valid = torch.cat([valid, targets.valid], dim=1)
        overlap = pairwise_iou(boxes, targets.boxes).masked_fill_(~targets.valid[:, None], -1.0)
        matches = self.matcher(overlap)
        kind = (matches >= 0).to(torch.int64)
        kind[~valid | (matches < BACKGROUND)] = -1
        if self.lowest > 0 and overlap.shape[2]:
            # An image without objects has no hard background: all of it counts.
            easy = (overlap.amax(dim=2) < self.lowest) & targets.valid.any(dim=1, keepdim=True)
            kind[easy & (kind == 0)] = -1
        if targets.ignored.shape[1]:
            kind[covered(boxes, targets.ignored) & (kind == 0)] = -1
        positive, negative = self.sampler(kind, keys)
        image_index, region = (positive | negative).nonzero(as_tuple=True)
        boxes, match = boxes[image_index, region], matches[image_index, region]
        labels = torch.zeros_like(match)
        true_deltas = torch.zeros_like(boxes)
        objects = (match >= 0).nonzero()[:, 0]
        owner = image_index[objects], match[objects]
        labels[objects] = targets.labels[owner] + 1
        true_deltas[objects] = self.coder.encode(targets.boxes[owner], boxes[objects])
        return SampledRegions(boxes, image_index, labels, match, true_deltas)


def by_image(proposals: Proposals) -> tuple[Tensor, Tensor]:
    """Boxes (B, P, 4) padded with zeros to the largest number an image, and which of them are real (B, P)."""
    rank = rank_in_group(proposals.image_index, proposals.images)
    most = int(rank.max()) + 1 if len(rank) else 0
    boxes = proposals.boxes.new_zeros(proposals.images, most, 4)
    boxes[proposals.image_index, rank] = proposals.boxes
    valid = torch.zeros(boxes.shape[:2], dtype=torch.bool, device=boxes.device)
    valid[proposals.image_index, rank] = True
    return boxes, valid
