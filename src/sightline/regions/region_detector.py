"""A trunk, somebody who says where to look, and a head that looks: Fast R-CNN and all that came of it.

Legend: B images, K classes, R regions of the batch, C channels of the pooled maps. Label 0 is the background in this
room only; labels of targets and detections have no background and are lower by one.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, Literal, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightline.assign.iou_matcher import IoUMatcher
from sightline.assign.padding import PaddedTargets
from sightline.assign.samplers import BalancedSampler
from sightline.backbones.build import NormPolicy, build_backbone
from sightline.contract import NeuralSystem, Step, Task
from sightline.geometry.boxes import at_least, clip_each
from sightline.geometry.coding import rcnn_coder
from sightline.geometry.voting import vote
from sightline.layers.norms import fold_norms
from sightline.necks.fpn import FPN
from sightline.proposals.proposals import Proposals
from sightline.proposals.rpn import SMOOTH_L1_BETA
from sightline.regions.config import RegionConfig, preparation_of
from sightline.regions.found import Found, best_of
from sightline.regions.heads import TailHead, TwoLayerHead, head_width
from sightline.regions.pooling import pool_regions
from sightline.regions.sampling import RegionSampler, SampledRegions
from sightline.structures import Classes, Detections, FeatureMaps, ImageBatch, LossTerm

SINGLE_STRIDE = 16
"""Pixels of the batch that one step on a single map spans, at most."""

SMALLEST_SIDE = 1e-2
"""Pixels of the batch that each side of a box has at least."""


@dataclass(frozen=True, eq=False)
class RegionRaw:
    """What a head says of regions.

    Args:
        features: the maps that regions are pooled from.
        proposals: R boxes that the head looks at.
        class_logits: (R, 1 + K), the background first.
        box_deltas: (R, 1 + K, 4) in R-CNN's coding against the proposals.
    """

    features: FeatureMaps
    proposals: Proposals
    class_logits: Tensor
    box_deltas: Tensor


Raw = TypeVar("Raw", bound=RegionRaw)


class RegionDetector(NeuralSystem[Raw, Detections], Generic[Raw]):
    """What detectors of regions share: trunk, pooling, head, the losses of the head, and detections from its answers.

    Args:
        config: explicit settings (``regions.config.explicit``).
        classes: what it tells apart.
        backbone_weights: None for random ones, ``imagenet``, or the path of a safetensors file.
        lowest_background: least IoU with some object of the background that the head learns from.

    Attributes:
        backbone: the trunk.
        neck: the pyramid on it, or None for a single map.
        head: hidden layers on the pooled maps of a region.
        class_logits: from its units to 1 + K scores.
        box_deltas: from its units to a box for each class and the background.
        sampler: draws the regions that the head learns from.
        channels: C.
    """

    config: RegionConfig
    task: ClassVar[Task] = "detection"
    class_layers: ClassVar[tuple[str, ...]] = ("class_logits.", "box_deltas.")

    def __init__(
        self, config: RegionConfig, classes: Classes, backbone_weights: str | None, *, lowest_background: float = 0.0
    ) -> None:
        super().__init__()
        self.config = config
        self.classes = classes
        if backbone_weights is not None:
            self.origin = f"backbone weights {backbone_weights}, the rest random"
        self.preparation = preparation_of(config)
        norm: NormPolicy = "live" if config.norm == "live" else "frozen"
        backbone = build_backbone(config.backbone, weights=backbone_weights, norm=norm, with_tail=config.has_tail)
        if config.neck == "none":
            backbone.end_at(SINGLE_STRIDE)
        backbone.freeze_stages(config.frozen_stages)
        self.backbone = backbone
        self.neck: FPN | None = None
        if config.neck == "fpn":
            self.neck = FPN(backbone.channels, config.channels)
        self.channels = backbone.channels[-1] if self.neck is None else config.channels
        # conv5_x halves its input; all else was trained on 7x7.
        self.pool_size = 14 if config.has_tail and config.backbone.startswith("resnet") else 7
        if config.has_tail:
            self.head: nn.Module = TailHead(backbone.take_tail())
        else:
            self.head = TwoLayerHead(self.channels, self.pool_size, config.head_width)
        width = head_width(self.head, self.channels, self.pool_size) * (2 if config.context else 1)
        self.class_logits = nn.Linear(width, 1 + len(classes))
        self.box_deltas = nn.Linear(width, 4 * (1 + len(classes)))
        self.coder = rcnn_coder((10.0, 10.0, 5.0, 5.0))
        self.sampler = RegionSampler(
            IoUMatcher(0.5, 0.5),
            BalancedSampler(config.region_samples, config.positive_fraction),
            self.coder,
            lowest_background,
        )

    def features(self, batch: ImageBatch) -> FeatureMaps:
        """The maps of a batch: P2..P6, or the one map."""
        images = batch.images.to(self.class_logits.weight.dtype)
        maps: FeatureMaps = self.backbone(images.contiguous(memory_format=torch.channels_last))
        if self.neck is None:
            return FeatureMaps(maps.maps[-1:], maps.strides[-1:], batch.sizes)
        pyramid: FeatureMaps = self.neck(maps)
        return replace(pyramid, image_sizes=batch.sizes)

    def pool(self, features: FeatureMaps, boxes: Tensor, image_index: Tensor, size: int) -> Tensor:
        """(R, C, size, size) maps of regions (R, 4), in pixels of the batch, of images (R,)."""
        # The coarsest level of a pyramid is for proposals only.
        if len(features) > 1:
            features = FeatureMaps(features.maps[:-1], features.strides[:-1])
        return pool_regions(features, boxes, image_index, self.config.pooling, size)

    def look(self, features: FeatureMaps, boxes: Tensor, image_index: Tensor) -> tuple[Tensor, Tensor]:
        """What the head says of regions.

        Args:
            features: of the batch.
            boxes: (R, 4) in pixels of the batch.
            image_index: (R,) int64.

        Returns:
            class logits (R, 1 + K) and box deltas (R, 1 + K, 4), float32.
        """
        if self.config.context:
            hidden = self._with_context(features, boxes, image_index)
        else:
            hidden = self.head(self.pool(features, boxes, image_index, self.pool_size))
        logits = self.class_logits(hidden).float()
        return logits, self.box_deltas(hidden).float().unflatten(1, (-1, 4))

    def _with_context(self, features: FeatureMaps, boxes: Tensor, image_index: Tensor) -> Tensor:
        """(R, 2 width): what the head gives for regions, and for the whole image that each is in."""
        sizes = features.image_sizes
        whole = boxes.new_tensor([(0, 0, width, height) for height, width in sizes])
        # One pass of the head for both, so that norms that live see one batch.
        every = torch.cat([boxes, whole]), torch.cat([image_index, torch.arange(len(sizes), device=boxes.device)])
        own, of_image = self.head(self.pool(features, *every, self.pool_size)).split([len(boxes), len(sizes)])
        return torch.cat([own, of_image[image_index]], dim=1)

    def examine(self, features: FeatureMaps, proposals: Proposals) -> tuple[Proposals, Tensor, Tensor]:
        """What the head says of proposals and, if they are refined, of the boxes that it makes of them.

        Refinement is that of He et al. 2016, appendix B: the head looks at its own boxes as it did at the proposals,
        and what it says then joins what it said first. Of the boxes that it makes of a region, one a class, the next
        look is at that of the class that it thinks most of.

        Args:
            features: of the batch, with the sizes of its images.
            proposals: R boxes.

        Returns:
            all regions that were looked at, class logits and box deltas. In each image the proposals come first, and
            then as many boxes a refinement, in the order of the proposals.
        """
        logits, deltas = self.look(features, proposals.boxes, proposals.image_index)
        looks = [(proposals, logits, deltas)]
        for _ in range(self.config.refinements):
            refined = self._refined(*looks[-1], features)
            looks.append((refined, *self.look(features, refined.boxes, refined.image_index)))
        if len(looks) == 1:
            return looks[0]
        regions, all_logits, all_deltas = zip(*looks, strict=True)
        image_index = torch.cat([each.image_index for each in regions])
        order = image_index.sort(stable=True).indices
        boxes, scores = torch.cat([each.boxes for each in regions]), torch.cat([each.scores for each in regions])
        union = Proposals(boxes[order], scores[order], image_index[order], proposals.images)
        return union, torch.cat(all_logits)[order], torch.cat(all_deltas)[order]

    def _refined(
        self, proposals: Proposals, class_logits: Tensor, box_deltas: Tensor, features: FeatureMaps
    ) -> Proposals:
        """The boxes that the head makes of proposals, each that of its most likely class."""
        best = class_logits[:, 1:].argmax(dim=1) + 1
        own = torch.arange(len(best), device=best.device)
        boxes = self.coder.decode(box_deltas[own, best], proposals.boxes)
        boxes = clip_each(boxes, boxes.new_tensor(features.image_sizes)[proposals.image_index])
        # Nothing can be pooled from a box that lies beside the image.
        boxes = torch.where(at_least(boxes, SMALLEST_SIDE)[:, None], boxes, proposals.boxes)
        return replace(proposals, boxes=boxes, scores=class_logits.softmax(dim=1)[own, best])

    def regions(self, features: FeatureMaps, batch: ImageBatch) -> Proposals:
        """The boxes that the head looks at first, in prediction: those that came with the batch.

        Detectors that find their regions themselves override this.
        """
        del features
        return Proposals.of(batch.proposals)

    def head_losses(
        self, features: FeatureMaps, proposals: Proposals, targets: PaddedTargets, seeds: Sequence[int]
    ) -> tuple[dict[str, LossTerm], SampledRegions]:
        """``classification`` and ``box`` (Girshick 2015, equation 1), and the regions that they are of."""
        regions = self.sampler(proposals, targets, seeds)
        logits, deltas = self.look(features, regions.boxes, regions.image_index)
        labels = regions.labels
        positive = labels.nonzero()[:, 0]
        box = F.smooth_l1_loss(
            deltas[positive, labels[positive]], regions.true_deltas[positive], beta=SMOOTH_L1_BETA, reduction="sum"
        )
        classification = F.cross_entropy(logits, labels, reduction="sum")
        count = len(labels)
        return {"classification": LossTerm(classification, count), "box": LossTerm(box, count)}, regions

    def found(self, proposals: Proposals, class_logits: Tensor, box_deltas: Tensor, batch: ImageBatch) -> Found:
        """Detections by class: decoded, clipped, thresholded, suppressed class by class, the best ones kept.

        With ``voting`` what is kept is moved to the mean of what voted for it.
        """
        config = self.config
        scores = class_logits.softmax(dim=-1)[:, 1:]
        region, label = (scores > config.score_threshold).nonzero(as_tuple=True)
        scores, image_index = scores[region, label], proposals.image_index[region]
        boxes = self.coder.decode(box_deltas[region, label + 1], proposals.boxes[region])
        boxes = clip_each(boxes, boxes.new_tensor(list(batch.sizes))[image_index])
        keep = at_least(boxes, SMALLEST_SIDE)
        return self.kept(boxes[keep], scores[keep], label[keep], image_index[keep], len(batch))

    def kept(self, boxes: Tensor, scores: Tensor, labels: Tensor, image_index: Tensor, images: int) -> Found:
        """What suppression within each class leaves of candidates (N, 4), the best ones of each image.

        Args:
            boxes: (N, 4) xyxy in pixels of images or of the batch.
            scores: (N,).
            labels: (N,) without a background.
            image_index: (N,), in any order.
            images: how many there are.
        """
        groups = image_index * len(self.classes) + labels
        threshold, most = self.config.nms_threshold, self.config.detections
        best = best_of(boxes, scores, groups, image_index, images=images, threshold=threshold, most=most)
        placed = vote(best, boxes, scores, groups) if self.config.voting else boxes[best]
        return Found(placed, scores[best], labels[best], image_index[best])

    def completed(self, found: Found, features: FeatureMaps, batch: ImageBatch) -> list[Detections]:
        """One result an image for boxes that were found: what a detector has to add to them is in it.

        Args:
            found: in pixels of the batch.
            features: of the batch.
            batch: prepared images.
        """
        del features
        return found.per_image(batch)

    def decode(self, raw: Raw, batch: ImageBatch) -> list[Detections]:
        """One result an image."""
        return self.found(raw.proposals, raw.class_logits, raw.box_deltas, batch).per_image(batch)

    def for_prediction(self, precision: Literal["fp32", "bf16"] = "fp32") -> Self:
        """A copy with batch norms folded into filters, in channels-last memory, that can only predict."""
        fast = deepcopy(self).eval().requires_grad_(False)
        fold_norms(fast.backbone)
        fold_norms(fast.head)
        fast = fast.to(memory_format=torch.channels_last)
        return fast.to(torch.bfloat16) if precision == "bf16" else fast

    def steps(self, raw: Raw, batch: ImageBatch) -> tuple[Step, ...]:
        """Proposals and detections of the first image."""
        found = self.decode(raw, batch)[0]
        first = int((raw.proposals.image_index == 0).sum())
        parts = (raw.proposals.boxes[:first], raw.proposals.scores[:first])
        # The proposals, and then as many boxes for each look that followed.
        boxes, scores = (part.tensor_split(1 + self.config.refinements) for part in parts)
        refined = tuple(
            Step(
                "Refined regions",
                "The boxes that the head made of the regions before, at which it looked again.",
                "boxes",
                {"boxes": batch.to_original(box, 0), "scores": score},
            )
            for box, score in zip(boxes[1:], scores[1:], strict=True)
        )
        return (
            Step(
                "Region proposals",
                "The boxes that are thought to hold an object, of whatever class.",
                "boxes",
                {"boxes": batch.to_original(boxes[0], 0), "scores": scores[0]},
            ),
            *refined,
            Step(
                "Detections",
                "What is left after the head has named and moved the proposals and doubles have been suppressed.",
                "boxes",
                {"boxes": found.boxes, "scores": found.scores, "labels": found.labels},
            ),
        )
