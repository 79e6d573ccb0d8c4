"""Fast R-CNN (Girshick 2015): regions that somebody else proposes, pooled from one pass over the image.

The machine: backbone (-> neck) -> pooling of the proposals -> head -> class scores and one box a class. One loss of
classes and boxes reaches all of it, convolutions too, which SPP-net's did not (section 2.3); a mini-batch takes its
regions from few images, so that they share the pass (the same section). docs/differences.md says where it departs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from sightline.assign.padding import pad_targets
from sightline.backbones.build import BackboneName
from sightline.contract import DataNeeds
from sightline.proposals.proposals import Proposals
from sightline.recipes import Recipe
from sightline.regions.config import RegionConfig, explicit
from sightline.regions.pooling import PoolingKind
from sightline.regions.recipe import one_stage
from sightline.regions.region_detector import RegionDetector, RegionRaw
from sightline.structures import Classes, ImageBatch, LossTerm, Target

USUAL_SIZE = (600, 1000)
"""Short and long side in pixels (section 5.2)."""
USUAL_SAMPLES = 64
"""Regions an image: R = 128 of a mini-batch over N = 2 images (section 2.3)."""


@dataclass(frozen=True)
class FastRCNNConfig(RegionConfig):
    """Fast R-CNN; the defaults are the paper's: VGG-16, one map of stride 16, RoIPool, fc6 and fc7 as head."""

    backbone: BackboneName = "vgg16"
    """The trunk, by torchvision's name."""
    neck: Literal["fpn", "none"] = "none"
    """Feature pyramid, or a single map: conv4 of a ResNet (C4), conv5 of a VGG, of others the last of stride 16."""
    pooling: PoolingKind = "pool"
    """RoIPool (the paper's), RoIAlign (He et al. 2017), or bilinear crops with max pooling (Chen and Gupta 2017)."""
    proposer: str = "selective_search"
    """Who proposes regions: a name of ``sightline proposals --help``, or a model file whose RPN does."""
    proposals: int = 2000
    """Regions an image that are asked for (section 2.3)."""
    background_low: float = 0.1
    """Least IoU with an object of the background that is learned from: a rule of thumb that prefers what is hard
    (section 2.3)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.proposals > 0, "proposals", "more than 0")
        self.require(0 <= self.background_low < 0.5, "background_low", "a number from 0 to below 0.5")


class FastRCNN(RegionDetector[RegionRaw]):
    """The detector.

    Args:
        config: its settings; ``auto``, -1 and 0 are replaced by what they stand for, so that a saved model is explicit.
        classes: what it tells apart.
        backbone_weights: None for random ones, ``imagenet``, or the path of a safetensors file.
    """

    name: ClassVar[str] = "fast_rcnn"
    config: FastRCNNConfig

    def __init__(self, config: FastRCNNConfig, classes: Classes, backbone_weights: str | None = None) -> None:
        config = explicit(config, pretrained=backbone_weights is not None, size=USUAL_SIZE, samples=USUAL_SAMPLES)
        super().__init__(config, classes, backbone_weights, lowest_background=config.background_low)
        self.ask(config.proposer, config.proposals)

    def forward(self, batch: ImageBatch) -> RegionRaw:
        """Features, and what the head says of the proposals that came with the batch."""
        features = self.features(batch)
        return RegionRaw(features, *self.examine(features, Proposals.of(batch.proposals)))

    def loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        """``classification`` and ``box`` (equation 1)."""
        losses, _ = self.head_losses(
            self.features(batch), Proposals.of(batch.proposals), pad_targets(targets), batch.seeds
        )
        return losses

    def recipe(self) -> Recipe:
        """One stage: classes and boxes jointly."""
        return one_stage("joint", frozen_norms=self.config.norm == "frozen", backbone=self.backbone)

    def data_needs(self) -> DataNeeds:
        """Those of Faster R-CNN, whose head it has; smaller sets were not tried."""
        seen = "what Faster R-CNN with the same head was seen to need, docs/results.md"
        return DataNeeds(images_given=200, images_random=3000, objects_per_class=200, source=seen)
