"""Says what batch norms do in a run. The policy itself belongs to the backbones; nothing about it may be silent."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops.misc import FrozenBatchNorm2d

from sightline.layers.sync_norm import SyncBatchNorm2d


def describe_batch_norm(system: nn.Module) -> str:
    """One line for the log: how many norms use fixed statistics, how many the batch's, how many none at all.

    The system must be in the mode that it trains in, since a batch norm in evaluation mode uses fixed statistics.
    """
    counts = dict.fromkeys(
        ("frozen", "fixed statistics, learning scale", "live", "live over all devices", "without batch statistics"), 0
    )
    for module in system.modules():
        if isinstance(module, _BatchNorm):
            counts[_policy(module)] += 1
        elif isinstance(module, FrozenBatchNorm2d):
            counts["frozen"] += 1
        elif isinstance(module, nn.GroupNorm | nn.LayerNorm):
            counts["without batch statistics"] += 1
    named = ", ".join(f"{count} {policy}" for policy, count in counts.items() if count)
    return f"norm layers: {named}" if named else "norm layers: none"


def _policy(module: _BatchNorm) -> str:
    if module.training or not module.track_running_stats:
        return "live over all devices" if isinstance(module, SyncBatchNorm2d) else "live"
    learns = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
    return "fixed statistics, learning scale" if learns else "frozen"
