"""Batch norm whose statistics are those of the batch over all processes (Ioffe and Szegedy 2015, algorithm 1).

Where each process sees one or two images, statistics of its own are poor and differ from process to process; those of
the whole batch make training over several devices that of one (Peng et al. 2018, "MegDet", section 3.2). torch's own
SyncBatchNorm refuses tensors on the CPU; this one computes with torch's operations on any device, and the means of
uneven shares are weighted right.

Departures: none in the result. Means and sums of squared deviations are combined as in Chan, Golub and LeVeque 1983,
equation 2.1, which does not cancel where the mean is large against the deviation.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class SyncBatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` that in training normalises by the batch of all processes; names and state are the same.

    All processes of the default group must call it in training mode, as often as each other and backwards too.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same; B, H and W may differ from process to process."""
        if not (self.training and dist.is_initialized()):
            return super().forward(x)
        values = x if x.dtype == torch.float64 else x.float()
        mean, variance, count = joined_statistics(values)
        self._track(mean, variance, count)
        out: Tensor = _Normalise.apply(values, mean, torch.rsqrt(variance + self.eps), count)
        if self.weight is not None:
            out = out * self.weight[:, None, None] + self.bias[:, None, None]
        return out.to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if not self.track_running_stats:
            return
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        # As torch has it: the running variance is the unbiased one, that of normalisation is not.
        unbiased = variance * (count / (count - 1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


@torch.no_grad()
def joined_statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,), biased variance (C,) and number of values a channel, a scalar, over all processes.

    Args:
        x: (B, C, H, W) of this process, float32 or float64.

    Raises:
        ValueError: all processes together have fewer than two values a channel.
    """
    own = x.new_tensor(x.numel() // x.shape[1])
    mean = x.sum(dim=(0, 2, 3)) / own.clamp(min=1)
    deviations = (x - mean[:, None, None]).square().sum(dim=(0, 2, 3))
    packed = torch.cat([mean, deviations, own[None]])
    gathered = [torch.empty_like(packed) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, packed)
    every = torch.stack(gathered).double() if x.device.type != "mps" else torch.stack(gathered)
    means, squares, counts = every[:, : len(mean)], every[:, len(mean) : -1], every[:, -1:]
    count = counts.sum()
    if count < 2:
        raise ValueError(f"batch norm needs two values a channel in training, got {int(count)} over all processes")
    joined = (counts * means).sum(dim=0) / count
    variance = (squares + counts * (means - joined).square()).sum(dim=0) / count
    return joined.to(x.dtype), variance.to(x.dtype), count.to(x.dtype)


class _Normalise(torch.autograd.Function):
    """(x - mean) / deviation, where mean and deviation are those of all processes and depend on x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, scale: Tensor, count: Tensor) -> Tensor:
        """Normalised x; ``scale`` is one over the deviation."""
        out = (x - mean[:, None, None]) * scale[:, None, None]
        ctx.save_for_backward(out, scale, count)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """What the losses of all processes say of this process's x."""
        (gradient,) = gradients
        out, scale, count = ctx.saved_tensors
        sums = torch.stack([gradient.sum(dim=(0, 2, 3)), (gradient * out).sum(dim=(0, 2, 3))])
        dist.all_reduce(sums)
        mean, projection = (sums / count)[:, :, None, None]
        return (gradient - mean - out * projection) * scale[:, None, None], None, None, None


@contextmanager
def synchronised_norms(module: nn.Module) -> Iterator[int]:
    """Inside, batch norms that use the batch's statistics in training are synchronised; gives how many.

    Parameters and buffers stay the same tensors under the same names; afterwards the norms are what they were.

    Args:
        module: in the mode that it trains in, since a norm in evaluation mode is left alone.
    """
    live = [
        (name, norm)
        for name, norm in module.named_modules(remove_duplicate=False)
        if type(norm) is nn.BatchNorm2d and norm.training
    ]
    replaced = {id(norm): _synchronised(norm) for _, norm in live}
    for name, norm in live:
        module.set_submodule(name, replaced[id(norm)])
    try:
        yield len(replaced)
    finally:
        for name, norm in live:
            module.set_submodule(name, norm)


def _synchronised(norm: nn.BatchNorm2d) -> SyncBatchNorm2d:
    new = SyncBatchNorm2d(
        norm.num_features,
        eps=norm.eps,
        momentum=norm.momentum,
        affine=norm.affine,
        track_running_stats=norm.track_running_stats,
        device="meta",
    )
    new._parameters, new._buffers = norm._parameters, norm._buffers
    return new
