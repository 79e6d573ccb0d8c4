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
    starts = [i for i, block in enumerate(blocks) if i > 0 and _halves(block)]
    bounds = [0, *starts, len(blocks)]
    stages = []
    for level, (start, end) in enumerate(pairwise(bounds)):
        module = nn.Sequential(*blocks[start:end])
        stages.append(Stage(module, blocks[end - 1].out_channels, 2 ** (level + 1)))
    return Backbone(stages, model)


def _halves(block: nn.Module) -> bool:
    """Whether some convolution of a block has stride 2."""
    return any(isinstance(layer, nn.Conv2d) and layer.stride == (2, 2) for layer in block.modules())
