"""Batch norms frozen into, or folded into, the convolutions before them.

A frozen batch norm is a fixed scale and shift of each channel. ``FrozenNormConv2d`` puts the scale on the filters
instead of on the map, which gives the same result without a pass over the activations; gradients reach the filters as
if the norm stood behind them. ``fold_norms`` makes the result permanent for prediction.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops.misc import FrozenBatchNorm2d


class FrozenNormConv2d(nn.Conv2d):
    """A convolution followed by a batch norm whose statistics and affine parameters do not learn.

    Args:
        conv: the convolution; its parameters are taken over, not copied.
        norm: the batch norm behind it; its four tensors become buffers.
    """

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__(**_form(conv), bias=False, device="meta")
        if conv.bias is not None:
            raise ValueError("a convolution in front of a batch norm must have no bias")
        self.weight = conv.weight
        self.norm = FrozenBatchNorm2d(norm.num_features, eps=norm.eps)
        self.norm.load_state_dict({k: v for k, v in norm.state_dict().items() if k != "num_batches_tracked"})

    def folded(self) -> tuple[Tensor, Tensor]:
        """Filters (out, in, kh, kw) and bias (out,) of the one convolution that equals both."""
        norm = self.norm
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight: Tensor = self.weight * scale[:, None, None, None]
        bias: Tensor = norm.bias - norm.running_mean * scale
        return weight, bias

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H', W')."""
        weight, bias = self.folded()
        out: Tensor = self._conv_forward(x, weight, bias)
        return out


def has_norms(module: nn.Module) -> bool:
    """Whether there is a batch norm anywhere in a module, live or frozen."""
    return any(isinstance(m, nn.BatchNorm2d | FrozenNormConv2d) for m in module.modules())


def _conv_norm_pairs(module: nn.Module) -> Iterator[tuple[str, nn.Conv2d, str, nn.BatchNorm2d]]:
    """Convolutions and the batch norms directly behind them, by registration order."""
    leaves = [(name, m) for name, m in module.named_modules() if not any(True for _ in m.children())]
    for (name, conv), (norm_name, norm) in pairwise(leaves):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and norm.num_features == conv.out_channels:
            yield name, conv, norm_name, norm


def freeze_norms(module: nn.Module) -> None:
    """Every batch norm behind a convolution is frozen into it, in place.

    The names of the parameters change: ``conv1`` and ``bn1`` become ``conv1`` with ``conv1.norm``.

    Raises:
        ValueError: a batch norm that stands behind no convolution.
    """
    for name, conv, norm_name, norm in list(_conv_norm_pairs(module)):
        module.set_submodule(name, FrozenNormConv2d(conv, norm))
        module.set_submodule(norm_name, nn.Identity())
    if any(isinstance(m, nn.BatchNorm2d) for m in module.modules()):
        raise ValueError("a batch norm that stands behind no convolution cannot be frozen into one")


def _form(conv: nn.Conv2d) -> dict[str, Any]:
    """What another convolution like it is made with, but for bias and device."""
    return {
        "in_channels": conv.in_channels,
        "out_channels": conv.out_channels,
        "kernel_size": conv.kernel_size,
        "stride": conv.stride,
        "padding": conv.padding,
        "dilation": conv.dilation,
        "groups": conv.groups,
    }


def _plain_conv(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    plain = nn.Conv2d(**_form(conv), device="meta")
    plain.weight = nn.Parameter(weight.detach().contiguous(memory_format=torch.channels_last), requires_grad=False)
    plain.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return plain


def fold_norms(module: nn.Module) -> None:
    """Every batch norm behind a convolution, frozen or live, is folded into it for prediction, in place."""
    for name, conv, norm_name, norm in list(_conv_norm_pairs(module)):
        frozen = FrozenNormConv2d(conv, norm)
        module.set_submodule(name, _plain_conv(conv, *frozen.folded()))
        module.set_submodule(norm_name, nn.Identity())
    for name, child in list(module.named_modules()):
        if isinstance(child, FrozenNormConv2d):
            module.set_submodule(name, _plain_conv(child, *child.folded()))
