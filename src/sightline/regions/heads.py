"""What looks at the pooled maps of a region, before its classes and its box are read off."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TwoLayerHead(nn.Module):
    """Two hidden layers (Lin et al. 2017, section 4.2).

    Args:
        channels: C of the pooled maps.
        size: cells of them along each side.
        width: units of each layer.
    """

    def __init__(self, channels: int, size: int, width: int) -> None:
        super().__init__()
        self.fc6 = nn.Linear(channels * size * size, width)
        self.fc7 = nn.Linear(width, width)

    def forward(self, pooled: Tensor) -> Tensor:
        """(R, C, size, size) to (R, width)."""
        return F.relu(self.fc7(F.relu(self.fc6(pooled.flatten(1)))))


class TailHead(nn.Module):
    """The last part of the trunk: VGG's fc6 and fc7, or a ResNet's conv5_x with average pooling.

    Args:
        tail: taken from a backbone.
    """

    def __init__(self, tail: nn.Module) -> None:
        super().__init__()
        self.tail = tail

    def forward(self, pooled: Tensor) -> Tensor:
        """(R, C, size, size) to (R, width)."""
        out: Tensor = self.tail(pooled)
        return out.mean(dim=(2, 3)) if out.ndim == 4 else out


def head_width(head: nn.Module, channels: int, size: int) -> int:
    """Units that a head gives for a region; it is left in training mode."""
    head.eval()
    with torch.no_grad():
        width = int(head(torch.zeros(1, channels, size, size)).shape[1])
    head.train()
    return width
