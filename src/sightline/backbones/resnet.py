"""ResNet 18 to 152 (He et al., Deep Residual Learning for Image Recognition, 2015), by torchvision's modules.

Departure, torchvision's too: in bottlenecks the stride is on the 3x3 convolution, not on the first 1x1.
"""

from torch import nn
from torchvision.models import ResNet

from sightline.backbones.backbone import Backbone, Stage


def cut_resnet(model: ResNet, *, with_tail: bool) -> Backbone:
    """The stages stem, conv2_x .. conv5_x of strides 4, 4, 8, 16, 32.

    Args:
        model: torchvision's model; it shares its parameters with the result.
        with_tail: conv5_x becomes the tail instead of a stage: the C4 form of region detectors, in which conv5_x runs
            on each region.
    """
    stem = nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool)
    width = model.fc.in_features // 8
    layers = (model.layer1, model.layer2, model.layer3, model.layer4)
    stages = [Stage(stem, 64, 4)]
    stages += [Stage(layer, width * 2**i, 4 * 2**i) for i, layer in enumerate(layers)]
    if not with_tail:
        return Backbone(stages, model)
    return Backbone(stages[:-1], model, tail=model.layer4)
