"""Feature Pyramid Network (Lin et al. 2017, section 3).

Names: lateral = the 1x1 convolution from a backbone's map; output = the 3x3 one behind the sum.
A level is output(lateral(C_i) + upsample(level above)). Departure, torchvision's too: nearest upsampling to the exact
size of the finer map, so that sizes need not be multiples of the stride.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import nn

from sightline.structures import FeatureMaps


class FPN(nn.Module):
    """Maps of a backbone to a pyramid of one width, with one coarser level by subsampling (Detectron's P6).

    Args:
        in_channels: of the backbone's maps, finest first.
        out_channels: of every level of the pyramid.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int = 256) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, out_channels, 1) for channels in in_channels)
        self.output = nn.ModuleList(nn.Conv2d(out_channels, out_channels, 3, padding=1) for _ in in_channels)
        for convolution in (*self.lateral, *self.output):
            nn.init.kaiming_uniform_(convolution.weight, a=1)
            nn.init.zeros_(convolution.bias)
        self.out_channels = out_channels

    def forward(self, features: FeatureMaps) -> FeatureMaps:
        """Maps of L levels to maps of L + 1 levels, each (B, out_channels, H_i, W_i)."""
        laterals = [lateral(x) for lateral, x in zip(self.lateral, features, strict=True)]
        merged = [laterals[-1]]
        for finer in reversed(laterals[:-1]):
            above = F.interpolate(merged[0], size=finer.shape[-2:], mode="nearest")
            merged.insert(0, finer + above)
        maps = [output(x) for output, x in zip(self.output, merged, strict=True)]
        maps.append(F.max_pool2d(maps[-1], kernel_size=1, stride=2))
        return FeatureMaps(tuple(maps), (*features.strides, features.strides[-1] * 2))
