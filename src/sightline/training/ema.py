"""An exponential moving average of the weights, which is evaluated and kept instead of the last step's.

average <- d * average + (1 - d) * weights after every step, with d = min(decay, (1 + n) / (10 + n)) after n earlier
ones, so that a short run is not held back by its first weights (as TensorFlow's ExponentialMovingAverage with
num_updates). Buffers such as running means are averages already and are copied.
"""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


class Ema(Generic[Network]):
    """The average of a network's weights, as a network of its own.

    Args:
        network: what is averaged.
        decay: in 0..1; 0.999 remembers about a thousand steps.
        updates: how many updates the average has seen, when a run goes on.
    """

    def __init__(self, network: Network, decay: float, updates: int = 0) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be at least 0 and below 1, got {decay}")
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay
        self.updates = updates

    @torch.no_grad()
    def update(self, network: Network) -> None:
        """Take one step's weights in."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averages: list[torch.Tensor] = list(self.network.parameters())
        weights: list[torch.Tensor] = list(network.parameters())
        torch._foreach_lerp_(averages, weights, 1 - decay)
        for average, value in zip(self.network.buffers(), network.buffers(), strict=True):
            average.copy_(value)
        self.updates += 1
