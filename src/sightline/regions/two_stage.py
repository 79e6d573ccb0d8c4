"""Detectors whose regions come from a region proposal network on their own features: Faster R-CNN and its children."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.assign.padding import pad_targets
from sightline.contract import Anchors, DataNeeds, Step
from sightline.layers.dry_run import dry_run
from sightline.proposals.proposals import Proposals
from sightline.proposals.rpn import RPN, RPNConfig, RPNRaw
from sightline.recipes import Recipe
from sightline.regions.config import RegionConfig, explicit
from sightline.regions.recipe import one_stage
from sightline.regions.region_detector import RegionDetector, RegionRaw
from sightline.regions.sampling import SampledRegions
from sightline.structures import Classes, FeatureMaps, ImageBatch, LossTerm, Size, Target

USUAL_SIZE, USUAL_SAMPLES = (800, 1333), 512
"""Short and long side in pixels, and regions an image: torchvision's, after Lin et al. 2017."""


@dataclass(frozen=True)
class TwoStageConfig(RegionConfig):
    """A detector of regions with a region proposal network."""

    anchor_scale: float = 8.0
    """Side of the anchors on a pyramid level over its stride: 32 at stride 4 to 512 at stride 64."""
    anchor_sizes: tuple[float, ...] = (128.0, 256.0, 512.0)
    """Sides in pixels of the anchors on a single map (Ren et al. 2015, section 3.3)."""
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Height over width of the anchors."""
    proposals_before_nms: int = 0
    """Anchors a level that suppression sees in prediction, twice as many in training; 0: 1000, or 300 with a MobileNet
    or SqueezeNet, whose images are small."""
    proposals: int = 0
    """Proposals an image in prediction, twice as many in training; 0 as above."""
    proposal_score: float = 0.0
    """Smallest objectness in 0..1 of a proposal."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("proposals_before_nms", "proposals"):
            self.require(getattr(self, name) >= 0, name, "0 for the usual, or more")
        self.require(self.anchor_scale > 0, "anchor_scale", "more than 0")
        self.require(0 <= self.proposal_score <= 1, "proposal_score", "a number from 0 to 1")
        for name in ("anchor_sizes", "anchor_ratios"):
            values = getattr(self, name)
            self.require(len(values) > 0 and min(values) > 0, name, "numbers above 0, at least one")
        self.require_unused(("anchor_sizes",) if self.neck == "fpn" else ("anchor_scale",), f"neck={self.neck}")


@dataclass(frozen=True, eq=False)
class TwoStageRaw(RegionRaw):
    """What happens between images and detections.

    Args:
        rpn: anchors, objectness and deltas.
    """

    rpn: RPNRaw


Raw = TypeVar("Raw", bound=TwoStageRaw)
Config = TypeVar("Config", bound=TwoStageConfig)


class TwoStage(RegionDetector[Raw], Generic[Raw]):
    """A detector of regions with a region proposal network.

    Args:
        config: its settings; ``auto``, -1 and 0 are replaced by what they stand for.
        classes: what it tells apart.
        backbone_weights: None for random ones, ``imagenet``, or the path of a safetensors file.
    """

    config: TwoStageConfig

    def __init__(self, config: TwoStageConfig, classes: Classes, backbone_weights: str | None) -> None:
        config = _explicit(config, pretrained=backbone_weights is not None)
        super().__init__(config, classes, backbone_weights)
        sizes = [config.anchor_sizes]
        if self.neck is not None:
            strides = (*self.backbone.strides, self.backbone.strides[-1] * 2)
            sizes = [(config.anchor_scale * stride,) for stride in strides]
        self.rpn = RPN(self.channels, sizes, _rpn_config(config))

    def propose(self, features: FeatureMaps, batch: ImageBatch, *, training: bool) -> tuple[RPNRaw, Proposals]:
        """What the region proposal network says of every anchor, and the boxes that it makes of that."""
        rpn: RPNRaw = self.rpn(features, (batch.images.shape[2], batch.images.shape[3]))
        return rpn, self.rpn.propose(rpn, batch.sizes, training=training)

    def box_losses(
        self, batch: ImageBatch, targets: Sequence[Target]
    ) -> tuple[dict[str, LossTerm], FeatureMaps, SampledRegions]:
        """``rpn_objectness``, ``rpn_box``, ``classification`` and ``box``; the maps and regions that they are of."""
        padded = pad_targets(targets)
        features = self.features(batch)
        rpn, proposals = self.propose(features, batch, training=True)
        losses = self.rpn.loss(rpn, padded, batch.seeds)
        head_losses, regions = self.head_losses(features, proposals, padded, batch.seeds)
        return {**losses, **head_losses}, features, regions

    def regions(self, features: FeatureMaps, batch: ImageBatch) -> Proposals:
        """The boxes that the region proposal network proposes."""
        return self.propose(features, batch, training=False)[1]

    def anchors(self, size: Size) -> Anchors:
        """Those of the region proposal network, for an image that is alone in its batch."""
        batch = self.preparation.batch([torch.empty(3, *size, device="meta")])
        maps: FeatureMaps = dry_run(self.backbone, batch.images)
        sizes = maps.sizes[-1:] if self.neck is None else dry_run(self.neck, maps).sizes
        levels = self.rpn.anchors(sizes, (batch.images.shape[2], batch.images.shape[3]), self.device)
        rpn = self.rpn.config
        return Anchors(batch.to_original(torch.cat(levels), 0), rpn.high, rpn.low, keeps_best=True)

    def data_needs(self) -> DataNeeds:
        """The sets that Faster R-CNN was trained on here with an AP50 above 0.9; smaller ones were not tried."""
        seen = "AP50 0.92 on BCCD with 205 from ImageNet's, 0.93 on 3,000 made scenes from none, docs/results.md"
        return DataNeeds(images_given=200, images_random=3000, objects_per_class=200, source=seen)

    def recipe(self) -> Recipe:
        """Joint training: all losses in one stage."""
        return one_stage("joint", frozen_norms=self.config.norm == "frozen", backbone=self.backbone)

    def steps(self, raw: Raw, batch: ImageBatch) -> tuple[Step, ...]:
        """Objectness, proposals and detections of the first image."""
        maps = self._objectness(raw, batch)
        objectness = Step(
            "Objectness",
            "How much the best anchor at each place of each level looks like an object, whatever its class.",
            "heat-map",
            {f"stride {s}": m for s, m in zip(raw.features.strides, maps, strict=True)},
        )
        return (objectness, *super().steps(raw, batch))

    def _objectness(self, raw: TwoStageRaw, batch: ImageBatch) -> Sequence[Tensor]:
        """One (H, W) map in 0..1 a level, in pixels of the first image that went in."""
        maps = []
        (height, width), original = batch.sizes[0], batch.original_sizes[0]
        levels = torch.split(raw.rpn.objectness[0], list(raw.rpn.level_sizes))
        for logits, (rows, columns) in zip(levels, raw.features.sizes, strict=True):
            best = logits.view(1, rows, columns, -1).amax(dim=-1).sigmoid()[None]
            whole = F.interpolate(best, size=batch.images.shape[-2:], mode="nearest")[..., :height, :width]
            maps.append(F.interpolate(whole, size=original, mode="nearest")[0, 0])
        return maps


def _explicit(config: Config, *, pretrained: bool) -> Config:
    config = explicit(config, pretrained=pretrained, size=USUAL_SIZE, samples=USUAL_SAMPLES)
    few = 300 if config.is_mobile else 1000
    before, after = config.proposals_before_nms or few, config.proposals or few
    return replace(config, proposals_before_nms=before, proposals=after)


def _rpn_config(config: TwoStageConfig) -> RPNConfig:
    return RPNConfig(
        ratios=config.anchor_ratios,
        before_nms=config.proposals_before_nms,
        before_nms_training=2 * config.proposals_before_nms,
        after_nms=config.proposals,
        after_nms_training=2 * config.proposals,
        score_threshold=config.proposal_score,
    )
