"""Faster R-CNN (Ren et al. 2015) on a feature pyramid (Lin et al. 2017) or on a single map.

The machine: backbone -> neck -> region proposal network -> pooling of regions -> head -> class scores and one box a
class; ``regions/two_stage.py`` holds its parts. docs/differences.md says where it departs from the paper and from
torchvision, whose official weights it loads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from sightline.assign.padding import pad_targets
from sightline.regions.two_stage import TwoStage, TwoStageConfig, TwoStageRaw
from sightline.structures import Classes, ImageBatch, LossTerm, Target


@dataclass(frozen=True)
class FasterRCNNConfig(TwoStageConfig):
    """Faster R-CNN; the defaults are the pyramid form that torchvision's official weights have."""


def vgg16() -> FasterRCNNConfig:
    """The paper's own form: VGG-16, one map of stride 16, RoIPool, fc6 and fc7 as head, 300 proposals."""
    return FasterRCNNConfig(
        backbone="vgg16",
        neck="none",
        short_side=600,
        long_side=1000,
        proposals_before_nms=6000,
        proposals=300,
        pooling="pool",
        region_samples=128,
    )


def c4() -> FasterRCNNConfig:
    """ResNet-50 C4 (He et al. 2015, appendix A): one map of stride 16, conv5_x on each region."""
    return FasterRCNNConfig(neck="none", proposals_before_nms=6000, proposals=300, region_samples=128)


class FasterRCNN(TwoStage[TwoStageRaw]):
    """The detector.

    Args:
        config: its settings; ``auto``, -1 and 0 are replaced by what they stand for, so that a saved model is explicit.
        classes: what it tells apart.
        backbone_weights: None for random ones, ``imagenet``, or the path of a safetensors file.
    """

    name: ClassVar[str] = "faster_rcnn"
    config: FasterRCNNConfig

    def __init__(self, config: FasterRCNNConfig, classes: Classes, backbone_weights: str | None = None) -> None:
        super().__init__(config, classes, backbone_weights)

    def forward(self, batch: ImageBatch) -> TwoStageRaw:
        """Features, proposals and what the head says of them."""
        features = self.features(batch)
        rpn, proposals = self.propose(features, batch, training=False)
        logits, deltas = self.look(features, proposals.boxes, proposals.image_index)
        return TwoStageRaw(features, proposals, logits, deltas, rpn)

    def loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        """``rpn_objectness``, ``rpn_box``, ``classification`` and ``box``: four losses, one backward."""
        padded = pad_targets(targets)
        features = self.features(batch)
        rpn, proposals = self.propose(features, batch, training=True)
        losses = self.rpn.loss(rpn, padded, batch.seeds)
        head_losses, _ = self.head_losses(features, proposals, padded, batch.seeds)
        return {**losses, **head_losses}
