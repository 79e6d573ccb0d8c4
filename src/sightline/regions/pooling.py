"""Features of regions, one fixed size whatever the region's: RoIPool, RoIAlign or crops, on one map or a pyramid."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from sightline.geometry.roi import pyramid_levels, roi_align, roi_pool
from sightline.structures import FeatureMaps

PoolingKind = Literal["align", "pool", "crop"]


def pool_regions(features: FeatureMaps, boxes: Tensor, image_index: Tensor, kind: PoolingKind, size: int) -> Tensor:
    """The maps under regions, each on its level (Lin et al. 2017, equation 1).

    Args:
        features: one map or more, of one number of channels C.
        boxes: (R, 4) xyxy in pixels of the batch.
        image_index: (R,) int64, the image of each region.
        kind: ``align``: RoIAlign (He et al. 2017, section 3); ``pool``: RoIPool (Girshick 2015, section 2.1);
            ``crop``: a bilinear crop of twice the size, then the maximum of each 2 x 2 (Chen and Gupta 2017).
        size: cells of the output along each side.

    Returns:
        (R, C, size, size).
    """
    levels = pyramid_levels(boxes, features.strides)
    if kind == "align":
        return roi_align(features, boxes, image_index, levels, size=size)
    if kind == "crop":
        crops = roi_align(features, boxes, image_index, levels, size=2 * size, samples=1)
        return F.max_pool2d(crops, 2)
    if len(features) == 1:
        return roi_pool(features.maps[0], boxes, image_index, stride=features.strides[0], size=size)
    pooled = features.maps[0].new_zeros(len(boxes), features.maps[0].shape[1], size, size)
    for level, (feature_map, stride) in enumerate(zip(features, features.strides, strict=True)):
        here = (levels == level).nonzero()[:, 0]
        pooled = pooled.index_copy(
            0, here, roi_pool(feature_map, boxes[here], image_index[here], stride=stride, size=size)
        )
    return pooled
