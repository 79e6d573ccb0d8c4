"""One optimiser step: losses, gradients, clipping, the step itself and the average."""

import contextlib
import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from sightline.contract import GradientStage, NeuralSystem
from sightline.errors import SightlineError
from sightline.training.ema import Ema
from sightline.training.loader import TrainBatch


class LossOf(nn.Module):
    """A system's loss method as a forward pass, so that Fabric's precision and DDP's gradient exchange wrap it.

    Args:
        system: whose parameters learn.
        method: name of the method that gives the named losses.
    """

    def __init__(self, system: NeuralSystem[Any, Any], method: str) -> None:
        super().__init__()
        self.system = system
        self.method = method

    def forward(self, batch: TrainBatch) -> dict[str, Tensor]:
        """The named losses of a batch."""
        losses: dict[str, Tensor] = getattr(self.system, self.method)(batch.images, batch.targets)
        return losses


class Stepper:
    """Takes steps of one stage.

    Args:
        fabric: devices and precision.
        stage: clipping and the loss.
        system: what learns; on its device.
        optimiser: over the system's parameters.
        ema: the average to keep up, or None.
    """

    def __init__(
        self,
        fabric: Fabric,
        stage: GradientStage,
        system: NeuralSystem[Any, Any],
        optimiser: Optimizer,
        ema: Ema[NeuralSystem[Any, Any]] | None,
    ) -> None:
        self._fabric = fabric
        self._stage = stage
        self._system = system
        self._ema = ema
        self._module, self._optimiser = fabric.setup(LossOf(system, stage.loss), optimiser)

    def step(self, parts: Sequence[TrainBatch], seed: int, number: int) -> dict[str, float]:
        """Learn from one batch, given in equal parts.

        Returns:
            The mean over the parts of each named loss, of this process.

        Raises:
            SightlineError: a loss or the gradient is not finite; the weights are unchanged.
        """
        sums: dict[str, float] = {}
        for index, part in enumerate(parts):
            seed_draws(self._fabric.device, seed, number, index, self._fabric.global_rank)
            with self._without_exchange(index < len(parts) - 1):
                losses = self._module(part.to(self._fabric.device))
                self._fabric.backward(torch.stack(list(losses.values())).sum() / len(parts))
            for name, value in zip(losses, torch.stack(list(losses.values())).tolist(), strict=True):
                sums[name] = sums.get(name, 0.0) + value / len(parts)
        self._require_finite(sums, parts, number)
        self._clip(parts, number)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        if self._ema is not None:
            self._ema.update(self._system)
        return sums

    def _without_exchange(self, wanted: bool) -> contextlib.AbstractContextManager[None]:
        """Processes exchange gradients after the last part only."""
        if wanted and self._fabric.world_size > 1:
            return self._fabric.no_backward_sync(self._module)
        return contextlib.nullcontext()

    def _clip(self, parts: Sequence[TrainBatch], number: int) -> None:
        stage = self._stage
        if stage.clip_norm is not None:
            norm = self._fabric.clip_gradients(
                self._module, self._optimiser, max_norm=stage.clip_norm, error_if_nonfinite=False
            )
            # The scaler of 16-mixed meets infinite gradients in its course and skips their steps.
            if norm is not None and not self.scaler_state():
                self._require_finite({"the gradient": float(norm)}, parts, number)
        if stage.clip_value is not None:
            if stage.clip_norm is None:
                self._fabric.clip_gradients(self._module, self._optimiser, clip_val=stage.clip_value)
            else:
                # Fabric would scale the gradients of 16-mixed back a second time.
                nn.utils.clip_grad_value_(self._system.parameters(), stage.clip_value)

    def _require_finite(self, values: dict[str, float], parts: Sequence[TrainBatch], number: int) -> None:
        bad = next((name for name, value in values.items() if not math.isfinite(value)), None)
        if bad is None:
            return
        images = ", ".join(name for part in parts for name in part.names)
        raise SightlineError(
            f"{bad} is not finite at step {number + 1} of stage {self._stage.name}",
            place=images,
            cause="the learning rate is too high, or the boxes of these images make no sense",
            cure="halve the learning rate, clip the gradient, or use --precision 32; the last checkpoint is sound",
        )

    def scaler_state(self) -> dict[str, float]:
        """The state of the gradient scaler of 16-mixed; empty otherwise."""
        return dict(self._fabric.strategy.precision.state_dict())

    def load_scaler_state(self, state: dict[str, float]) -> None:
        """Give the scaler back what :meth:`scaler_state` gave."""
        if state:
            self._fabric.strategy.precision.load_state_dict(state)


def seed_draws(device: torch.device, *numbers: int) -> None:
    """Seed every source of random numbers that a system may draw from, by what the draw is for.

    With a seed for each step, the draws of a step do not depend on what came before it: on a resume, on a validation.
    """
    words = np.random.SeedSequence(numbers).generate_state(4)
    seed = int(words[0]) << 32 | int(words[1])
    # Not torch.manual_seed: it also queues seeds for devices that are not there, at 2 ms a time.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
    np.random.seed(int(words[2]))
    random.seed(int(words[3]))
