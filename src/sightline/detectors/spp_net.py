"""SPP-net (He, Zhang, Ren, Sun 2014): spatial pyramid pooling of regions on the maps of one pass.

Legend: B images, K classes, R regions of the batch, C channels of the map.

The machine, as the paper's figure 5 shows it: an image -> the convolutions, once -> under each proposal the map is
pooled into grids of several sizes, whose maxima are its features whatever its shape -> fully connected layers -> a
linear SVM a class -> suppression and, as in R-CNN, regression of boxes. It learns in R-CNN's steps, except that the
fine-tuning reaches the fully connected layers alone: that is what Fast R-CNN changed (Girshick 2015, section 1.1).

docs/differences.md says where it departs from the paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.backbones.build import build_backbone
from sightline.recipes import GradientStage, Optimiser
from sightline.regions.heads import TwoLayerHead
from sightline.regions.pooling import PoolingKind, pool_regions
from sightline.regions.svm_detector import RegionFeatures, SVMDetector, SVMDetectorConfig
from sightline.structures import Classes, FeatureMaps, ImageBatch

CANONICAL_SIDE = 224
"""Pixels along each side that a region should have: what the network was trained on."""


@dataclass(frozen=True)
class SPPNetConfig(SVMDetectorConfig):
    """SPP-net; the defaults are the paper's, with VGG-16 in place of its own networks."""

    levels: tuple[int, ...] = (6, 3, 2, 1)
    """Cells along each side of the grids that a region is pooled into: 50 in all (section 4.1)."""
    pooling: PoolingKind = "pool"
    """How a region becomes the cells of a grid: ``pool``, RoIPool, is the paper's pyramid; RoIAlign (``align``), crops
    (``crop``)."""
    stride: int = 16
    """Pixels of the image that one step of the map spans, at most: 16 is conv5 of the paper's networks."""
    scales: tuple[int, ...] = ()
    """Short sides in pixels at which the convolutions see an image; a region is pooled where its area is nearest to
    224 x 224. Nothing: only ``short_side``. The paper's five are 480, 576, 688, 864 and 1200 (section 4.1)."""
    head_width: int = 4096
    """Units of fc6 and of fc7."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(len(self.levels) > 0 and min(self.levels) >= 1, "levels", "numbers of 1 or more, at least one")
        self.require(not self.scales or min(self.scales) >= 1, "scales", "short sides in pixels, or nothing")
        self.require(self.stride >= 4, "stride", "4 or more")
        self.require(self.head_width >= 1, "head_width", "1 or more")


class SPPNet(SVMDetector):
    """The detector.

    Args:
        config: its settings.
        classes: what it tells apart.
        backbone_weights: None for random ones, ``imagenet``, or the path of a safetensors file. The convolutions never
            learn here: random ones stay so.
    """

    name = "spp_net"
    config: SPPNetConfig

    def __init__(self, config: SPPNetConfig, classes: Classes, backbone_weights: str | None = None) -> None:
        super().__init__(config, classes, backbone_weights)
        self.backbone = build_backbone(config.backbone, weights=backbone_weights, norm="frozen")
        self.backbone.end_at(config.stride)
        self.backbone.requires_grad_(False)
        pooled = self.backbone.channels[-1] * sum(level**2 for level in config.levels)
        self.head = TwoLayerHead(pooled, 1, config.head_width)
        self._end(hidden=config.head_width, pooled=pooled)

    @torch.no_grad()
    def features(self, batch: ImageBatch) -> list[FeatureMaps]:
        """The one map of a batch at each scale, finest image last."""
        images = batch.images.to(self.class_logits.weight.dtype)
        every = []
        for scale in self.config.scales or (self.config.short_side,):
            seen = images
            if scale != self.config.short_side:
                factor = scale / self.config.short_side
                size = [max(1, round(side * factor)) for side in images.shape[2:]]
                seen = F.interpolate(images, size=size, mode="bilinear", antialias=True)
            maps = self.backbone(seen.contiguous(memory_format=torch.channels_last))
            every.append(FeatureMaps(maps.maps[-1:], maps.strides[-1:]))
        return every

    def describe(self, features: Sequence[FeatureMaps], boxes: Tensor, image_index: Tensor) -> RegionFeatures:
        """Regions pooled from the maps of the whole images, then the fully connected layers."""
        factors = [scale / self.config.short_side for scale in self.config.scales] or [1.0]
        chosen = nearest_scale(boxes, factors)
        pooled = boxes.new_zeros(len(boxes), self.widths[1], dtype=features[0].maps[0].dtype)
        for place, (scaled, factor) in enumerate(zip(features, factors, strict=True)):
            here = (chosen == place).nonzero()[:, 0]
            pooled[here] = pyramid_pool(
                scaled, boxes[here] * factor, image_index[here], self.config.levels, self.config.pooling
            )
        return RegionFeatures(self.head(pooled), pooled)

    def feature_settings(self) -> dict[str, object]:
        """How regions are pooled."""
        config = self.config
        levels, scales = list(config.levels), list(config.scales)
        return {"levels": levels, "pooling": config.pooling, "stride": config.stride, "scales": scales}

    def fine_tuning(self) -> GradientStage:
        """Step 1, of the fully connected layers alone. They start from nothing: the rate is ten times R-CNN's."""
        sgd = Optimiser("sgd", lr=0.01, momentum=0.9, weight_decay=5e-4)
        return replace(super().fine_tuning(), optimiser=sgd, clip_norm=10.0)


def nearest_scale(boxes: Tensor, factors: list[float]) -> Tensor:
    """The scale at which the area of each region is nearest to 224 x 224 (section 4.1).

    Args:
        boxes: (R, 4) xyxy in pixels of the batch.
        factors: of each scale on those pixels.

    Returns:
        (R,) int64 places in ``factors``.
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)[:, None] * boxes.new_tensor(factors)[None] ** 2
    return (areas - CANONICAL_SIDE**2).abs().argmin(dim=1)


def pyramid_pool(
    features: FeatureMaps, boxes: Tensor, image_index: Tensor, levels: tuple[int, ...], kind: PoolingKind = "pool"
) -> Tensor:
    """The cells of several grids laid over each region: their maxima, unless another kind is asked for (section 2.2).

    Args:
        features: one map (B, C, H, W).
        boxes: (R, 4) xyxy in pixels of the image that the map is of.
        image_index: (R,) int64, the image of each region.
        levels: cells along each side of each grid.
        kind: of pooling, as :func:`pool_regions` has them.

    Returns:
        (R, C x sum of levels squared); grids one after the other, channels outermost in each.
    """
    grids = [pool_regions(features, boxes, image_index, kind, level).flatten(1) for level in levels]
    return torch.cat(grids, dim=1)
