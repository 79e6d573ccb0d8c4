"""VGG A, B, D and E, that is 11, 13, 16 and 19 layers (Simonyan and Zisserman 2014), by torchvision's modules."""

from itertools import pairwise

from torch import nn
from torchvision.models import VGG

from sightline.backbones.backbone import Backbone, Stage


def cut_vgg(model: VGG, *, with_tail: bool) -> Backbone:
    """One stage a block of convolutions, strides 1 to 16; without a tail also pool5, stride 32.

    Args:
        model: torchvision's model; it shares its parameters with the result.
        with_tail: fc6 and fc7 become the tail, from 512x7x7 features of a region to 4096, as in Fast R-CNN; the last
            pooling falls away because RoIPool stands in for it.
    """
    layers = list(model.features)
    pools = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    bounds = [0, *pools, len(layers)]
    stages = []
    for level, (start, end) in enumerate(pairwise(bounds)):
        channels = min(64 * 2**level, 512)
        stages.append(Stage(nn.Sequential(*layers[start:end]), channels, 2**level))
    if not with_tail:
        return Backbone(stages, model)
    tail = nn.Sequential(nn.Flatten(), *list(model.classifier)[:6])
    return Backbone(stages[:-1], model, tail=tail)
