"""Faster R-CNN (Ren et al. 2015) on a feature pyramid (Lin et al. 2017) or on a single map.

The machine: backbone -> neck -> region proposal network -> pooling of regions -> head -> class scores and one box a
class; ``regions/two_stage.py`` holds its parts. docs/differences.md says where it departs from the paper and from
torchvision, whose official weights it loads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

import torch

from sightline.assign.padding import pad_targets
from sightline.proposals.proposals import Proposals
from sightline.recipes import FitStage, GradientStage, ParameterGroup, Recipe
from sightline.regions.alternating import PROPOSALS, VAL_PROPOSALS, propose_and_begin_anew, set_trunk_aside
from sightline.regions.two_stage import TwoStage, TwoStageConfig, TwoStageRaw
from sightline.structures import Classes, FeatureMaps, ImageBatch, LossTerm, Target


@dataclass(frozen=True)
class FasterRCNNConfig(TwoStageConfig):
    """Faster R-CNN; the defaults are the pyramid form that torchvision's official weights have."""

    training: Literal["joint", "alternating"] = "joint"
    """All four losses at once, or the paper's four stages: proposals, detector on them, both again on shared maps."""


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


def alternating() -> FasterRCNNConfig:
    """The pyramid form, trained as the paper did: in four stages."""
    return FasterRCNNConfig(training="alternating")


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
        return TwoStageRaw(features, *self.examine(features, proposals), rpn)

    def loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        """``rpn_objectness``, ``rpn_box``, ``classification`` and ``box``: four losses, one backward."""
        losses, _, _ = self.box_losses(batch, targets)
        return losses

    def recipe(self) -> Recipe:
        """Joint training in one stage, or alternating training in four (Ren et al. 2015, section 3.2)."""
        joint = super().recipe()
        (stage,) = joint.stages
        if self.config.training == "joint" or not isinstance(stage, GradientStage):
            return joint
        share = partial(replace, stage, epochs=stage.epochs / 2, judged=False)
        proposals, detector = ParameterGroup(r"^rpn\.", 0), ParameterGroup(r"^(head|class_logits|box_deltas)\.", 0)
        trunk = ParameterGroup(r"^(backbone|neck)\.", 0)
        stages = (
            FitStage("set the trunk aside", set_trunk_aside, judged=False),
            share(name="1 proposals", loss="rpn_loss", groups=(detector,)),
            FitStage("propose, begin anew", propose_and_begin_anew, judged=False),
            share(
                name="2 detector",
                loss="detector_loss",
                groups=(proposals,),
                proposals=PROPOSALS,
                val_proposals=VAL_PROPOSALS,
            ),
            share(name="3 proposals on shared maps", loss="shared_rpn_loss", groups=(trunk, detector)),
            share(
                name="4 detector on shared maps", loss="shared_detector_loss", groups=(trunk, proposals), judged=True
            ),
        )
        return Recipe(stages, source=f"stages: Ren et al. 2015, section 3.2; within each: {joint.source}")

    def rpn_loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        """``rpn_objectness`` and ``rpn_box``: stage 1."""
        return self._rpn_loss(self.features(batch), batch, targets)

    def detector_loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        """``classification`` and ``box`` on proposals that were made before: stage 2; its own where there are none."""
        return self._detector_loss(self.features(batch), batch, targets)

    def shared_rpn_loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        """As ``rpn_loss``, on maps that stay as they are: stage 3."""
        return self._rpn_loss(self._fixed_features(batch), batch, targets)

    def shared_detector_loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        """As ``detector_loss``, on maps that stay as they are and its own proposals: stage 4."""
        return self._detector_loss(self._fixed_features(batch), batch, targets)

    def _rpn_loss(self, features: FeatureMaps, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        rpn = self.rpn(features, (batch.images.shape[2], batch.images.shape[3]))
        return self.rpn.loss(rpn, pad_targets(targets), batch.seeds)

    def _detector_loss(
        self, features: FeatureMaps, batch: ImageBatch, targets: Sequence[Target]
    ) -> dict[str, LossTerm]:
        if batch.proposals:
            proposals = Proposals.of(batch.proposals)
        else:
            with torch.no_grad():
                _, proposals = self.propose(features, batch, training=True)
        losses, _ = self.head_losses(features, proposals, pad_targets(targets), batch.seeds)
        return losses

    @torch.no_grad()
    def _fixed_features(self, batch: ImageBatch) -> FeatureMaps:
        """The maps as prediction sees them: live norms too keep what they have seen."""
        learning = self.backbone.training
        self.backbone.eval()
        features = self.features(batch)
        self.backbone.train(learning)
        return features
