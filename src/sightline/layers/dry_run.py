"""What a network gives for an input of some shape, without computing it."""

from typing import Any

import torch
from torch import nn
from torch.func import functional_call


def dry_run(module: nn.Module, *inputs: Any) -> Any:
    """What ``module(*inputs)`` gives in evaluation mode, as tensors of the right shapes that hold nothing.

    Args:
        module: neither it nor its buffers change.
        inputs: tensors on the device ``meta``, or furniture around such.
    """
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            return functional_call(module, {name: t.detach().to("meta") for name, t in tensors.items()}, inputs)
    finally:
        for part, mode in modes:
            part.training = mode
