"""One optimiser step: losses, gradients, clipping, the step itself and the average."""

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from sightline.contract import NeuralSystem
from sightline.errors import SightlineError
from sightline.recipes import GradientStage
from sightline.structures import LossTerm, divisor
from sightline.training.draws import seed_draws
from sightline.training.ema import Ema
from sightline.training.loader import TrainBatch
from sightline.training.sharding import whole_of

MOST_SKIPPED = 20
"""Steps in a row that the scaler of 16-mixed may skip: its scale, 65,536 at first, is then below a tenth."""


class NotFiniteError(SightlineError):
    """A loss or the gradient of a step is not finite; the weights are as they were before the step.

    Args:
        what: which of them, without a full stop.
        losses: of each part of the batch, by name.
        elsewhere: whether it is a loss of another process, and those of this one are finite.
    """

    def __init__(self, what: str, losses: Sequence[dict[str, float]], *, elsewhere: bool = False) -> None:
        super().__init__(what)
        self.losses = tuple(losses)
        self.elsewhere = elsewhere


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
        """The named losses of a batch: of each (2,) float32, its total and its count."""
        return totals_and_counts(getattr(self.system, self.method)(batch.images, batch.targets))


def totals_and_counts(losses: Mapping[str, LossTerm]) -> dict[str, Tensor]:
    """Of each named loss (2,) float32: its total, with its gradient, and its count."""
    counts = {name: torch.as_tensor(term.count, device=term.total.device) for name, term in losses.items()}
    return {name: torch.stack([term.total.float(), counts[name].detach().float()]) for name, term in losses.items()}


def _values(names: Iterable[str], terms: Tensor) -> dict[str, float]:
    """Total over count of each named loss; ``terms`` is (T, 2)."""
    return dict(zip(names, (terms[:, 0] / divisor(terms[:, 1])).tolist(), strict=True))


class Stepper:
    """Takes steps of one stage.

    Args:
        fabric: devices and precision.
        stage: clipping and the loss.
        system: what learns; on its device.
        optimiser: over the system's parameters.
        ema: the average to keep up, or None.
        shared_out: the system's loss as a module that is set up already, over the processes; None to set it up here.
    """

    def __init__(
        self,
        fabric: Fabric,
        stage: GradientStage,
        system: NeuralSystem[Any, Any],
        optimiser: Optimizer,
        ema: Ema[NeuralSystem[Any, Any]] | None,
        shared_out: nn.Module | None = None,
    ) -> None:
        self._fabric = fabric
        self._stage = stage
        self._system = system
        self._ema = ema
        self._skipped = 0
        if shared_out is None:
            self._module, self._optimiser = fabric.setup(LossOf(system, stage.loss), optimiser)
        else:
            self._module, self._optimiser = shared_out, fabric.setup_optimizers(optimiser)

    def step(self, parts: Sequence[TrainBatch], seed: int, number: int) -> dict[str, float]:
        """Learn from one batch, given in parts.

        The totals of a part are divided by its counts over all processes, and the parts weigh as much as they have
        images. So the gradient is that of the whole batch if there is one part, or if the counts of the parts are in
        proportion to their images; other parts weigh a little otherwise, because their counts are not known before the
        last is computed.

        Returns:
            Each named loss of the whole batch: its total over its count, over all parts and processes.

        Raises:
            NotFiniteError: a loss or the gradient is not; or 16-mixed has skipped :data:`MOST_SKIPPED` steps in a row.
        """
        by_part: list[dict[str, float]] = []
        sums: list[Tensor] = []
        for index, part in enumerate(parts):
            seed_draws(self._fabric.device, seed, number, index, self._fabric.global_rank)
            with self._without_exchange(index < len(parts) - 1):
                losses = self._module(part.to(self._fabric.device))
                terms = torch.stack(list(losses.values()))
                joined, images = self._joined(terms, len(part))
                share = images / self._stage.batch_size
                # The exchange takes the mean of the gradients; the number of processes makes it their sum.
                weights = share * self._fabric.world_size / divisor(joined[:, 1])
                self._fabric.backward((terms[:, 0] * weights).sum())
            by_part.append(_values(losses, terms.detach()))
            sums.append(joined)
        values = _values(losses, torch.stack(sums).sum(dim=0))
        self._require_finite(by_part, values)
        self._clip()
        scale = self.scaler_state().get("scale")
        self._optimiser.step()
        self._count_skipped(scale, by_part)
        self._optimiser.zero_grad(set_to_none=True)
        if self._ema is not None:
            self._ema.update(self._system)
        return values

    def _joined(self, terms: Tensor, images: int) -> tuple[Tensor, Tensor]:
        """Totals and counts (T, 2) and the number of images, summed over all processes, without gradient."""
        values = torch.cat([terms.detach().flatten(), terms.new_tensor([images])])
        if self._fabric.world_size > 1:
            values = torch.as_tensor(self._fabric.all_reduce(values, reduce_op="sum"))
        return values[:-1].view_as(terms), values[-1]

    def _without_exchange(self, wanted: bool) -> contextlib.AbstractContextManager[None]:
        """Processes exchange gradients after the last part only."""
        if wanted and self._fabric.world_size > 1:
            return self._fabric.no_backward_sync(self._module)
        return contextlib.nullcontext()

    def _clip(self) -> None:
        stage = self._stage
        if stage.clip_norm is not None:
            self._fabric.clip_gradients(
                self._module, self._optimiser, max_norm=stage.clip_norm, error_if_nonfinite=False
            )
        if stage.clip_value is not None:
            if stage.clip_norm is None:
                self._fabric.clip_gradients(self._module, self._optimiser, clip_val=stage.clip_value)
            else:
                # Fabric would scale the gradients of 16-mixed back a second time.
                nn.utils.clip_grad_value_(self._system.parameters(), stage.clip_value)

    def _require_finite(self, by_part: Sequence[dict[str, float]], joined: dict[str, float]) -> None:
        """Losses of this process and of all, and the norm of the gradient: one pass over it, however it is clipped."""
        for losses, where in [*((losses, "") for losses in by_part), (joined, " in another process")]:
            bad = next((name for name, value in losses.items() if not math.isfinite(value)), None)
            if bad is not None:
                raise NotFiniteError(f"the loss {bad} is not finite{where}", by_part, elsewhere=bool(where))
        # The scaler of 16-mixed meets infinite gradients in its course and skips their steps.
        if self.scaler_state():
            return
        gradients = [p.grad for p in self._system.parameters() if p.grad is not None]
        norm = float(whole_of(nn.utils.get_total_norm(gradients, foreach=True)))
        if not math.isfinite(norm):
            raise NotFiniteError("the norm of the gradient is not finite", by_part)

    def _count_skipped(self, scale_before: float | None, by_part: Sequence[dict[str, float]]) -> None:
        """A scale that has shrunk is the scaler's mark of a step that was skipped."""
        if scale_before is None:
            return
        self._skipped = self._skipped + 1 if self.scaler_state()["scale"] < scale_before else 0
        if self._skipped >= MOST_SKIPPED:
            raise NotFiniteError(f"the gradient was not finite in {self._skipped} steps in a row", by_part)

    def scaler_state(self) -> dict[str, float]:
        """The state of the gradient scaler of 16-mixed; empty otherwise."""
        return dict(self._fabric.strategy.precision.state_dict())

    def load_scaler_state(self, state: dict[str, float]) -> None:
        """Give the scaler back what :meth:`scaler_state` gave."""
        if state:
            self._fabric.strategy.precision.load_state_dict(state)
