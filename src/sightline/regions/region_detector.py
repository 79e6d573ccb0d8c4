"""A trunk, somebody who says where to look, and a head that looks: Fast R-CNN and all that came of it.

Legend: B images, K classes, R regions of the batch, C channels of the pooled maps. Label 0 is the background in this
room only; labels of targets and detections have no background and are lower by one.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Generic, Literal, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightline.assign.iou_matcher import IoUMatcher
from sightline.assign.padding import PaddedTargets
from sightline.assign.samplers import BalancedSampler
from sightline.backbones.build import NormPolicy, build_backbone
from sightline.contract import NeuralSystem, Step, Task
from sightline.geometry.coding import rcnn_coder
from sightline.layers.norms import fold_norms
from sightline.necks.fpn import FPN
from sightline.proposals.proposals import Proposals
from sightline.proposals.rpn import SMOOTH_L1_BETA
from sightline.regions.config import RegionConfig, preparation_of
from sightline.regions.found import Found, candidates, kept
from sightline.regions.heads import TailHead, TwoLayerHead, head_width
from sightline.regions.looking import (
    beside_whole_images,
    look_repeatedly,
    looks_at_first_image,
    refined,
    refined_steps,
)
from sightline.regions.pooling import pool_regions
from sightline.regions.sampling import RegionSampler, SampledRegions
from sightline.structures import Classes, Detections, FeatureMaps, ImageBatch, LossTerm

SINGLE_STRIDE = 16
"""Pixels of the batch that one step on a single map spans, at most."""


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
            (hidden,) = beside_whole_images(partial(self._describe, features), boxes, image_index, features.image_sizes)
        else:
            (hidden,) = self._describe(features, boxes, image_index)
        logits = self.class_logits(hidden).float()
        return logits, self.box_deltas(hidden).float().unflatten(1, (-1, 4))

    def _describe(self, features: FeatureMaps, boxes: Tensor, image_index: Tensor) -> tuple[Tensor]:
        """(R, width): what the head gives for regions."""
        return (self.head(self.pool(features, boxes, image_index, self.pool_size)),)

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

        def look(regions: Proposals) -> tuple[Tensor, ...]:
            return self.look(features, regions.boxes, regions.image_index)

        def again(regions: Proposals, said: tuple[Tensor, ...]) -> Proposals:
            class_logits, box_deltas = said
            best = class_logits[:, 1:].argmax(dim=1) + 1
            own = torch.arange(len(best), device=best.device)
            scores = class_logits.softmax(dim=1)[own, best]
            return refined(regions, box_deltas[own, best], scores, self.coder, features.image_sizes)

        union, (logits, deltas) = look_repeatedly(proposals, look, again, self.config.refinements)
        return union, logits, deltas

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
        """Detections by class: decoded, clipped, thresholded, suppressed class by class, the best ones kept."""
        scores, coder, threshold = class_logits.softmax(dim=-1)[:, 1:], self.coder, self.config.score_threshold
        every = candidates(proposals, scores, box_deltas[:, 1:], coder, batch.sizes, threshold)
        return kept(every, self.config, len(self.classes), len(batch))

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
        looks = looks_at_first_image(raw.proposals, self.config.refinements)
        boxes, scores = looks[0]
        return (
            Step(
                "Region proposals",
                "The boxes that are thought to hold an object, of whatever class.",
                "boxes",
                {"boxes": batch.to_original(boxes, 0), "scores": scores},
            ),
            *refined_steps(looks, batch),
            Step(
                "Detections",
                "What is left after the head has named and moved the proposals and doubles have been suppressed.",
                "boxes",
                {"boxes": found.boxes, "scores": found.scores, "labels": found.labels},
            ),
        )
