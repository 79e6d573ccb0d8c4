"""Losses and gradients of one batch, computed apart from the run: nothing that the run depends on is changed.

The dry run before a stage and the look at a step that went wrong both need what a step computes without being one.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sightline.contract import NeuralSystem
from sightline.structures import LossTerm
from sightline.training.draws import draws_kept, seed_draws
from sightline.training.loader import TrainBatch

_REDUCED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class Outcome:
    """What a batch gave.

    Args:
        losses: by name.
        gradients: names of the parameters whose gradients are not finite.
    """

    losses: dict[str, float]
    gradients: tuple[str, ...]

    @property
    def finite(self) -> bool:
        """Whether all of it is."""
        return not self.gradients and all(np.isfinite(value) for value in self.losses.values())


def compute_apart(
    system: NeuralSystem[Any, Any], loss: str, part: TrainBatch, *, precision: str, draws: tuple[int, ...]
) -> Outcome:
    """The losses and the gradient of a batch as a step computes them; weights, buffers and draws stay as they are.

    Args:
        system: computes in training mode; gradients that it holds stay.
        loss: name of the method that gives the named losses.
        part: the batch, on any device.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed`` (without its scaling).
        draws: numbers that seed what the system draws.
    """
    learning = {name: parameter for name, parameter in system.named_parameters() if parameter.requires_grad}
    with _untouched(system):
        seed_draws(system.device, *draws)
        with _arithmetic(system.device, precision):
            terms: dict[str, LossTerm] = getattr(system, loss)(*_on(part, system.device))
        losses = {name: term.value for name, term in terms.items()}
        total = torch.stack(list(losses.values())).sum()
        found = torch.autograd.grad(total, list(learning.values()), allow_unused=True)
        bad = [name for name, gradient in zip(learning, found, strict=True) if not _is_finite(gradient)]
        return Outcome({name: value.item() for name, value in losses.items()}, tuple(bad))


@contextlib.contextmanager
def _untouched(system: NeuralSystem[Any, Any]) -> Iterator[None]:
    """Training mode inside; afterwards buffers (running statistics), modes and draws are what they were."""
    buffers = [(buffer, buffer.detach().clone()) for buffer in system.buffers()]
    modes = [(module, module.training) for module in system.modules()]
    try:
        with draws_kept(system.device):
            system.train()
            yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        for module, mode in modes:
            module.training = mode


def _arithmetic(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    reduced = _REDUCED.get(precision)
    return contextlib.nullcontext() if reduced is None else torch.autocast(device.type, reduced)


def _on(part: TrainBatch, device: torch.device) -> tuple[Any, Any]:
    there = part.to(device)
    return there.images, there.targets


def _is_finite(gradient: Tensor | None) -> bool:
    return gradient is None or bool(torch.isfinite(gradient).all())
