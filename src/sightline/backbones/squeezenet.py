"""SqueezeNet 1.1 (Iandola et al. 2016), by torchvision's modules.

Departure: the first convolution is padded by 1, so that maps of an image padded to a multiple of 16 have exactly 1/4,
1/8 and 1/16 of its size; without that each map is shifted against the image and its neighbours in a pyramid.
"""

from torch import nn
from torchvision.models import SqueezeNet

from sightline.backbones.backbone import Backbone, Stage


def cut_squeezenet(model: SqueezeNet) -> Backbone:
    """Stages of strides 2, 4, 8, 16 with 64, 128, 256, 512 channels.

    Args:
        model: torchvision's ``squeezenet1_1``; it shares its parameters with the result.
    """
    layers = list(model.features)
    first = layers[0]
    first.padding = (1, 1)
    pools = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    bounds = [0, *pools, len(layers)]
    stages = [
        Stage(nn.Sequential(*layers[start:end]), channels, stride)
        for start, end, channels, stride in zip(bounds, bounds[1:], (64, 128, 256, 512), (2, 4, 8, 16), strict=False)
    ]
    return Backbone(stages, model)
