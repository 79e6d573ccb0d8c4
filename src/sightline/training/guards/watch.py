"""A step under watch: trouble in it ends the run with an answer instead of a traceback."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch.optim import Optimizer

from sightline.contract import NeuralSystem
from sightline.recipes import GradientStage
from sightline.training.guards.causes import Evidence
from sightline.training.guards.memory import Load, answering_for_memory, smaller
from sightline.training.guards.stopped import Circumstances, stop, synchronised
from sightline.training.loader import TrainBatch
from sightline.training.optimisers import optimiser_tensors
from sightline.training.sharding import Shards
from sightline.training.steps import NotFiniteError, Stepper

_REMEMBERED = 20


class Watch:
    """Takes the steps of one stage and remembers the last losses.

    Args:
        fabric: devices and precision.
        stage: what is learned from.
        system: what learns.
        optimiser: what it is moved by.
        run: the run folder.
        seed: of the run.
        shards: what learns in the system's place, or None.
    """

    def __init__(
        self,
        fabric: Fabric,
        stage: GradientStage,
        system: NeuralSystem[Any, Any],
        optimiser: Optimizer,
        run: Path,
        seed: int,
        shards: Shards | None = None,
    ) -> None:
        self._fabric = fabric
        self._stage = stage
        self._system = system
        self._optimiser = optimiser
        self._run = run
        self._seed = seed
        self._shards = shards
        self._last: deque[float] = deque(maxlen=_REMEMBERED)

    def step(
        self, stepper: Stepper, parts: Sequence[TrainBatch], number: int, learning_rate: float
    ) -> dict[str, float]:
        """One step of ``stepper``; gives its losses.

        Args:
            stepper: of this stage.
            parts: the batch.
            number: steps done in the stage before.
            learning_rate: of this step.

        Raises:
            SightlineError: a loss or the gradient is not finite (batch and state are kept in the run folder), or
                memory ran out; the weights are as they were before.
        """
        doing = f"training, step {number + 1} of stage {self._stage.name}"
        cure = smaller(self._stage, self._fabric.world_size, self._system.preparation)
        largest = max((Load.of(part) for part in parts), key=lambda load: load.size[0] * load.size[1])
        try:
            with answering_for_memory(doing, largest, cure):
                losses = stepper.step(parts, self._seed, number)
        except NotFiniteError as error:
            if self._shards is not None:
                self._shards.gather(gradients=True)
            where = Circumstances(
                self._stage.name,
                number,
                self._seed,
                self._fabric.global_rank,
                self._run,
                optimiser_tensors(self._optimiser, self._system if self._shards is None else self._shards.system),
            )
            raise stop(error, self._evidence(parts, number, learning_rate, error.elsewhere), where) from error
        self._last.append(sum(losses.values()))
        return losses

    def _evidence(self, parts: Sequence[TrainBatch], number: int, learning_rate: float, elsewhere: bool) -> Evidence:
        return Evidence(
            self._system,
            self._stage.loss,
            parts,
            [(self._seed, number, index, self._fabric.global_rank) for index in range(len(parts))],
            str(self._fabric.strategy.precision.precision),
            tuple(self._last),
            learning_rate,
            self._stage.optimiser.lr,
            recompute=self._fabric.world_size == 1 or not synchronised(self._system),
            processes=self._fabric.world_size,
            elsewhere=elsewhere,
            clip_norm=self._stage.clip_norm,
        )
