"""Weights, gradients and the optimiser's memory shared out over the processes (FSDP; Rajbhandari et al. 2020, "ZeRO").

What learns is a copy of the system whose tensors are cut along their first axis, a part a process; torch's
``fully_shard`` puts them together for a step and takes them apart again. The system itself stays whole: it is brought
up to date before it is saved, judged or looked at, so that nothing else of a run knows of shards.

Departures: none. Large convolutions and linear layers are put together one after the other, the rest all at once.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from sightline.contract import NeuralSystem
from sightline.errors import ConfigError
from sightline.recipes import GradientStage, Stage
from sightline.training.options import TrainOptions

FSDP = "fsdp"

LARGE = 1_000_000
"""Parameters from which on a layer is put together for itself, when it is its turn; the others are all at once."""


def sharding_strategy(options: TrainOptions, accelerator: str) -> ModelParallelStrategy:
    """Fabric's strategy that shares out what is set up with it.

    Raises:
        ConfigError: there is one process, a device without collectives, or a precision that scales gradients.
    """
    processes = options.devices * options.nodes
    if processes == 1:
        raise ConfigError("fsdp shares out the weights, but there is one process", cure="give --devices, or auto")
    if accelerator == "mps":
        raise ConfigError("fsdp is not there for mps", cause="torch has no exchange for it", cure="use --device cpu")
    if options.precision == "16-mixed":
        raise ConfigError("fsdp does not go with 16-mixed", cure="choose --precision bf16-mixed or 32, or ddp")
    return ModelParallelStrategy(_share_out, data_parallel_size=processes, tensor_parallel_size=1)


def require_shardable(stages: Sequence[Stage]) -> None:
    """Raise ``ConfigError`` if a stage keeps an average of the weights, which would have to be shared out too."""
    for stage in stages:
        if isinstance(stage, GradientStage) and stage.ema is not None:
            raise ConfigError(
                f"fsdp keeps no average of the weights, which stage {stage.name} asks for",
                cure="give --recipe ema=null, or choose ddp",
            )


def _share_out(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    across = mesh["data_parallel"]
    for layer in module.modules():
        # No subclasses: attention reads the weights of its linear layers without calling them.
        if type(layer) in (nn.Conv2d, nn.Linear) and sum(p.numel() for p in layer.parameters()) >= LARGE:
            fully_shard(layer, mesh=across)
    fully_shard(module, mesh=across)
    return module


def whole_of(value: Tensor) -> Tensor:
    """A tensor put together from its shards, in every process, which all must take part; another as it is."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def like(parameter: Tensor, value: Tensor) -> Tensor:
    """A whole value of a parameter's shape on its device, laid out and shared out as it is."""
    if isinstance(parameter, DTensor):
        there = value.to(parameter.device)
        return distribute_tensor(there, parameter.device_mesh, parameter.placements, src_data_rank=None)
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


class Shards:
    """A shared out copy of a system, which learns in its place for one stage.

    Args:
        fabric: with :func:`sharding_strategy`.
        whole: the system, the same in all processes.
        losses: gives a module whose forward pass is the stage's loss of a system.
    """

    def __init__(
        self,
        fabric: Fabric,
        whole: NeuralSystem[Any, Any],
        losses: Callable[[NeuralSystem[Any, Any]], nn.Module],
    ) -> None:
        self.whole = whole
        self.system = copy.deepcopy(whole).to(memory_format=torch.contiguous_format)
        self.system.train()
        self.module = fabric.setup_module(losses(self.system))

    def freeze(self) -> None:
        """What does not learn in the copy does not in the whole system."""
        for own, shard in zip(self.whole.parameters(), self.system.parameters(), strict=True):
            own.requires_grad_(shard.requires_grad)

    @torch.no_grad()
    def gather(self, *, gradients: bool = False) -> None:
        """Bring the whole system up to date; all processes must take part.

        Args:
            gradients: whether it gets the gradients too.
        """
        for own, shard in zip(self.whole.parameters(), self.system.parameters(), strict=True):
            own.copy_(whole_of(shard))
            if gradients and shard.grad is not None:
                own.grad = whole_of(shard.grad).to(own.device)
        for kept, buffer in zip(self.whole.buffers(), self.system.buffers(), strict=True):
            # Running statistics of norms that are not synchronised: the first process's count, as with ddp.
            dist.broadcast(buffer, 0)
            kept.copy_(buffer)

    @contextmanager
    def whole_on(self, device: torch.device) -> Iterator[None]:
        """The whole system is on a device, and goes back where it was: it makes room for the steps, or is judged."""
        before = self.whole.device
        self.whole.to(device)
        try:
            yield
        finally:
            self.whole.to(before)
