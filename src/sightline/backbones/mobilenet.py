"""MobileNetV2 (Sandler et al. 2018) and MobileNetV3 (Howard et al. 2019), by torchvision's modules."""

from itertools import pairwise

from torch import nn
from torchvision.models import MobileNetV2, MobileNetV3

from sightline.backbones.backbone import Backbone, Stage


def cut_mobilenet(model: MobileNetV2 | MobileNetV3) -> Backbone:
    """One stage a stride, 2 to 32; the last one ends with the 1x1 convolution in front of the pooling.

    Args:
        model: torchvision's model; it shares its parameters with the result.
    """
    blocks = list(model.features)
    # torchvision marks the first block of each stride as _is_cn; the first block of all halves the image as well.
    starts = [i for i, block in enumerate(blocks) if i > 0 and getattr(block, "_is_cn", False)]
    bounds = [0, *starts, len(blocks)]
    stages = []
    for level, (start, end) in enumerate(pairwise(bounds)):
        module = nn.Sequential(*blocks[start:end])
        stages.append(Stage(module, blocks[end - 1].out_channels, 2 ** (level + 1)))
    return Backbone(stages, model)
