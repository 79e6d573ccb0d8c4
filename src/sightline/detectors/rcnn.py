"""R-CNN (Girshick, Donahue, Darrell, Malik 2014): regions with CNN features.

Legend: B images, K classes, R regions of the batch, S the side of a crop.

The machine, as the paper's figure 1 shows it: an image -> about 2000 proposals -> each warped to S x S, with context
around it -> a convolutional network, crop by crop -> a linear SVM a class -> suppression; and, of appendix C, a
regression that moves each box. It learns in the five steps of ``regions.svm_detector``. Every region goes through the
whole network, which is why it takes the longest; here at least all crops of an image go through it at once.

docs/differences.md says where it departs from the paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightline.backbones.build import NormPolicy, build_backbone
from sightline.recipes import GradientStage
from sightline.regions.config import NormSetting, explicit_trunk
from sightline.regions.heads import TailHead, head_width
from sightline.regions.svm_detector import RegionFeatures, SVMDetector, SVMDetectorConfig, with_live_norms
from sightline.regions.warp import PAPER_SIDE, WarpShape, warp_regions
from sightline.structures import Classes, FeatureMaps

POOL5_CELLS = 7
"""Along each side of VGG's pool5, which fc6 stands on."""


@dataclass(frozen=True)
class RCNNConfig(SVMDetectorConfig):
    """R-CNN; the defaults are the paper's, with its larger network."""

    norm: NormSetting = "auto"
    """Batch norms of the trunk; auto freezes them if the trunk starts from given weights and lets them live if not."""
    frozen_stages: int = -1
    """Stages of the trunk that the fine-tuning leaves alone; -1: two of given weights, none of random ones."""
    crop_side: int = PAPER_SIDE
    """Pixels S along each side of a warped region."""
    padding: float = 16.0
    """Pixels of a crop of 227 on every side that show what lies around the region, in proportion for other sides
    (context padding, appendix A)."""
    warp: WarpShape = "warp"
    """Stretched along each axis, or the tightest square with or without what else is in it (appendix A)."""
    crop_batch: int = 256
    """Crops that go through the network at once in prediction and for the SVMs; the fine-tuning takes all of a step."""
    box_cells: int = 2
    """Cells along each side of the map that boxes are regressed from, where the trunk is no VGG with its 7 x 7."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("crop_side", "crop_batch", "box_cells"):
            self.require(getattr(self, name) >= 1, name, "1 or more")
        self.require(0 <= self.padding < PAPER_SIDE / 2, "padding", "from 0 to 113 pixels")
        self.require(-1 <= self.frozen_stages <= 5, "frozen_stages", "-1 for the usual, or 0 to 5")
        if self.has_tail:
            self.require(self.box_cells == 2, "box_cells", "nothing: a VGG's boxes are regressed from its pool5")

    @property
    def has_tail(self) -> bool:
        """Whether the trunk brings fc6 and fc7 with it."""
        return self.backbone.startswith("vgg")


class RCNN(SVMDetector):
    """The detector.

    Args:
        config: its settings; ``auto`` and -1 are replaced by what they stand for, so that a saved model is explicit.
        classes: what it tells apart.
        backbone_weights: None for random ones, ``imagenet``, or the path of a safetensors file.
    """

    name = "rcnn"
    config: RCNNConfig

    def __init__(self, config: RCNNConfig, classes: Classes, backbone_weights: str | None = None) -> None:
        pretrained = backbone_weights is not None
        norm_setting, frozen_stages = explicit_trunk(config.norm, config.frozen_stages, pretrained=pretrained)
        config = replace(config, norm=norm_setting, frozen_stages=frozen_stages)
        super().__init__(config, classes, backbone_weights)
        norm: NormPolicy = "live" if config.norm == "live" else "frozen"
        self.backbone = build_backbone(config.backbone, weights=backbone_weights, norm=norm, with_tail=config.has_tail)
        self.backbone.freeze_stages(config.frozen_stages)
        channels = self.backbone.channels[-1]
        self.cells = config.box_cells
        self.fc7: nn.Module | None = None
        width = channels
        if config.has_tail:
            self.cells = POOL5_CELLS
            self.fc7 = TailHead(self.backbone.take_tail())
            width = head_width(self.fc7, channels, self.cells)
        self._end(hidden=width, pooled=channels * self.cells**2)

    def describe(self, features: Sequence[FeatureMaps], boxes: Tensor, image_index: Tensor) -> RegionFeatures:
        """Each region warped and sent through the whole network, ``crop_batch`` at once where no gradient is kept."""
        # Gradients hold all crops in memory anyway; and norms that live must see one batch, and each process must come
        # to them as often as the others.
        together = max(1, len(boxes)) if torch.is_grad_enabled() else self.config.crop_batch
        chunks = zip(torch.split(boxes, together), torch.split(image_index, together), strict=True)
        parts = [self._describe(self.crops(features[0].maps[0], some, index)) for some, index in chunks]
        return RegionFeatures(torch.cat([p.hidden for p in parts]), torch.cat([p.pooled for p in parts]))

    def crops(self, images: Tensor, boxes: Tensor, image_index: Tensor) -> Tensor:
        """(R, 3, S, S) warped regions."""
        config = self.config
        around = config.padding * config.crop_side / PAPER_SIDE
        return warp_regions(images, boxes, image_index, side=config.crop_side, context=around, shape=config.warp)

    def _describe(self, crops: Tensor) -> RegionFeatures:
        crops = crops.to(self.class_logits.weight.dtype)
        if not len(crops):
            hidden, pooled = self.widths
            return RegionFeatures(crops.new_zeros(0, hidden), crops.new_zeros(0, pooled))
        last = self.backbone(crops.contiguous(memory_format=torch.channels_last)).maps[-1]
        if self.fc7 is not None:
            pool5 = F.adaptive_max_pool2d(last, self.cells)
            return RegionFeatures(self.fc7(pool5), pool5.flatten(1))
        return RegionFeatures(last.mean(dim=(2, 3)), F.adaptive_avg_pool2d(last, self.cells).flatten(1))

    def feature_settings(self) -> dict[str, object]:
        """How regions become crops."""
        config = self.config
        return {"crop_side": config.crop_side, "padding": config.padding, "warp": config.warp, "cells": self.cells}

    def fewer_at_once(self) -> str:
        """Half of the crops that go through the network at once."""
        return f"--set crop_batch={max(1, self.config.crop_batch // 2)}"

    def fine_tuning(self) -> GradientStage:
        """Step 1: all that is not frozen learns, from 32 objects and 96 backgrounds a step."""
        stage = super().fine_tuning()
        return with_live_norms(stage) if self.config.norm == "live" else stage
