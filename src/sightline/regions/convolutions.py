"""The 3x3 convolutions that mask and keypoint branches begin with (He et al. 2017, figure 4 right and section 5)."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def convolutions(channels: int, width: int, depth: int) -> nn.ModuleList:
    """3x3 convolutions one after the other, the first from ``channels``, all to ``width``."""
    inputs = [channels, *[width] * (depth - 1)]
    return nn.ModuleList(started(nn.Conv2d(before, width, 3, padding=1)) for before in inputs)


def started(layer: nn.Conv2d | nn.ConvTranspose2d) -> nn.Conv2d | nn.ConvTranspose2d:
    """The layer with random weights that keep the scale of what goes through a rectifier (He et al. 2015), biases 0."""
    # Of a transposed one PyTorch takes the outputs for inputs.
    mode: Literal["fan_in", "fan_out"] = "fan_in" if isinstance(layer, nn.Conv2d) else "fan_out"
    nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def through(layers: nn.ModuleList, pooled: Tensor) -> Tensor:
    """(R, C, h, w) to (R, width, h, w), a rectifier after each convolution."""
    hidden = pooled.contiguous(memory_format=torch.channels_last)
    for convolution in layers:
        hidden = F.relu(convolution(hidden), inplace=True)
    return hidden
