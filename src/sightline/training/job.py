"""What a run has at hand: its system, data, devices, folder and clock; and the two things that touch the disk."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from lightning_fabric import Fabric
from torch import Tensor

from sightline.contract import NeuralSystem
from sightline.model_file import tensors_of, write_model
from sightline.processes import Processes
from sightline.proposals.kept import without_proposals
from sightline.runtime import highest_memory
from sightline.structures import Sample
from sightline.training.cache import HeldSamples
from sightline.training.checkpoints import Checkpoint, write_checkpoint
from sightline.training.guards.memory import answering_for_memory, smaller_images
from sightline.training.history import Row, describe_row, read_history, write_history
from sightline.training.loader import Loading
from sightline.training.options import TrainOptions
from sightline.training.progress import Progress
from sightline.training.run_folder import RunFolder
from sightline.training.state import TrainState
from sightline.training.stopping import StopRequest
from sightline.training.validation import Evaluate, score_of

Value = TypeVar("Value")


@dataclass(frozen=True)
class TrainData:
    """What a run learns from and is judged by.

    Args:
        train: the training split.
        val: the validation split, or None.
        provenance: licence and origin of the data and of the weights that the run starts from; goes into model files.
    """

    train: Sequence[Sample]
    val: Sequence[Sample] | None
    provenance: str = ""


class Timer:
    """Wall time that a run has used, over all its resumptions.

    Args:
        clock: gives seconds.
        used: seconds that were used before.

    Attributes:
        aside: seconds during which it was stopped.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, used: float = 0.0) -> None:
        self.aside = 0.0
        self._clock = clock
        self._start = clock() - used

    def seconds(self) -> float:
        """Seconds used."""
        return self._clock() - self._start

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """What is done within the block is not used time."""
        began = self._clock()
        try:
            yield
        finally:
            took = self._clock() - began
            self._start += took
            self.aside += took

    def add(self, seconds: float) -> None:
        """Count seconds that were used before a resumption."""
        self._start -= seconds


@dataclass(frozen=True)
class Job:
    """What does not change during a run.

    Args:
        system: what learns.
        data: what it learns from, as it was passed in.
        train: loads the training split.
        val: loads the validation split, or None.
        options: what the person decided.
        fabric: devices and precision.
        run: the folder.
        evaluate: gives the metrics, or None.
        progress: what the person sees.
        timer: wall time.
        stop: whether to end early.
    """

    system: NeuralSystem[Any, Any]
    data: TrainData
    train: Loading
    val: Loading | None
    options: TrainOptions
    fabric: Fabric
    run: RunFolder
    evaluate: Evaluate | None
    progress: Progress
    timer: Timer
    stop: StopRequest

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes, evaluates and reports."""
        return self.fabric.is_global_zero

    @property
    def processes(self) -> Processes:
        """This process among those of the run."""
        return Processes(self.fabric.global_rank, self.fabric.world_size)

    @property
    def _judging(self) -> Sequence[Sample]:
        """The validation split as it is judged: the decoded images where they are held, else the data as passed in."""
        val = self.data.val or ()
        if self.val is None or without_proposals(self.val.samples) is val:
            return val
        return HeldSamples(self.val.samples, self.system.classes)

    def agreed(self, value: Value) -> Value:
        """The first process's value, in every process."""
        return value if self.fabric.world_size == 1 else self.fabric.broadcast(value)

    def log(self, text: str) -> None:
        """A line for the person and for log.txt."""
        if self.leads:
            self.progress.log(text)
            self.run.log(text)

    def save(self, state: TrainState, **parts: Mapping[str, Tensor]) -> TrainState:
        """Write the checkpoint: the system's tensors and further parts; returns the state with the time it took."""
        began = self.timer.seconds()
        peak = max(state.peak_memory, highest_memory(self.fabric.device))
        state = replace(state, seconds=began, saved_at=began, peak_memory=peak)
        if self.leads:
            self.progress.working("saving")
            write_checkpoint(self.run.last, Checkpoint(state, {"model": tensors_of(self.system), **parts}))
        return replace(state, saving_seconds=self.timer.seconds() - began)

    def measure(self, judged: NeuralSystem[Any, Any]) -> dict[str, float]:
        """The metrics of a system on the validation split; all processes take part, and the first one's count."""
        if self.evaluate is None or self.val is None:
            return {}
        cure = f"start again with {smaller_images(judged.preparation)}"
        with answering_for_memory("judging the validation split", None, cure):
            metrics = self.evaluate(judged, self._judging, self.processes)
        return {name: float(value) for name, value in metrics.items()}

    def keep(
        self,
        state: TrainState,
        judged: NeuralSystem[Any, Any],
        row: Row,
        *,
        losses: Mapping[str, float],
        metrics: Mapping[str, float],
        counts: bool = True,
    ) -> TrainState:
        """Add a row to the history, and keep the system if none before was better; for the process that leads.

        Args:
            state: where the run stands.
            judged: the system with the weights that count (the average where there is one).
            row: the row's columns so far.
            losses: of the validation split, by name; they join the row.
            metrics: of the validation split; so do they.
            counts: whether the system may be the best so far.
        """
        if losses:
            row |= {"val/total": sum(losses.values()), **{f"val/{name}": value for name, value in losses.items()}}
        row |= {f"val/{name}": value for name, value in metrics.items()}
        write_history(self.run.history, [*read_history(self.run.history)[: state.rows], row])
        self.progress.measured(state.steps, row)
        self.log(describe_row(row))
        state = replace(state, rows=state.rows + 1)
        if not counts:
            return state
        score = score_of(metrics, losses)
        if score is not None and state.best is not None and score < state.best:
            return state
        kept = dict(metrics) or {name: value for name, value in row.items() if isinstance(value, float)}
        stage = f"{row['stage']}, epoch {row['epoch']}"
        write_model(self.run.best, judged, stage=stage, metrics=kept, provenance=self.data.provenance)
        return replace(state, best=score, best_step=state.step, best_metrics=kept)
