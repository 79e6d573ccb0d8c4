"""Where a run stands, in numbers: what state.json of a checkpoint holds beside the tensors."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

_LATER: dict[str, Any] = {
    **{"steps_before": 0, "began_step": 0, "extensions": ()},
    **{"proposal_seconds": 0.0, "peak_memory": 0, "warnings": ()},
}
"""Values that states of the first format do not have."""


@dataclass(frozen=True)
class TrainState:
    """Everything about a run that is no tensor. Random numbers need no state: each step's come from its number.

    Args:
        stage: index of the stage in the recipe.
        step: optimiser steps done in the stage; with the batch size it is the place in the stream of images.
        steps_before: optimiser steps of the stages before.
        began_step: the step at which the present schedule began: 0, or where the run was last extended.
        extensions: epochs that the run was extended by, one number an extension.
        seconds: wall time that the run has used, without the making of proposals before the first step.
        proposal_seconds: wall time of making proposals, or of reading those that were kept, over all resumptions.
        peak_memory: bytes at the peak, as ``runtime.peak_memory`` measures them, up to the last saving and over all
            resumptions; 0 where that cannot be measured.
        stage_began: seconds that the run had used when the stage began.
        validated_step: the step after which the last validation came.
        validated_at: seconds at which it ended.
        validation_seconds: how long it took; 0 before the first.
        saving_seconds: how long the last saving took.
        saved_at: seconds at which it began.
        learning_rate: of the last step, the largest of all groups.
        loss_sums: of each named loss since the last row of the history.
        loss_steps: steps in those sums.
        loss_seconds: training time of those steps.
        rows: of the history.
        best: the score of the best file, or None before the first.
        best_step: the step that it comes from.
        best_metrics: what was measured with it.
        ema_updates: steps that the average has seen.
        warnings: of the fits that are done.
        scaler: state of the gradient scaler of 16-mixed; empty otherwise.
        finished: whether every stage is done.
    """

    stage: int = 0
    step: int = 0
    steps_before: int = 0
    began_step: int = 0
    extensions: tuple[float, ...] = ()
    seconds: float = 0.0
    proposal_seconds: float = 0.0
    peak_memory: int = 0
    stage_began: float = 0.0
    validated_step: int = 0
    validated_at: float = 0.0
    validation_seconds: float = 0.0
    saving_seconds: float = 0.0
    saved_at: float = 0.0
    learning_rate: float = 0.0
    loss_sums: dict[str, float] = field(default_factory=dict)
    loss_steps: int = 0
    loss_seconds: float = 0.0
    rows: int = 0
    best: float | None = None
    best_step: int = 0
    best_metrics: dict[str, float] = field(default_factory=dict)
    ema_updates: int = 0
    warnings: tuple[str, ...] = ()
    scaler: dict[str, float] = field(default_factory=dict)
    finished: bool = False

    @property
    def steps(self) -> int:
        """Optimiser steps done over all stages."""
        return self.steps_before + self.step

    def after_step(
        self, losses: Mapping[str, float], learning_rate: float, seconds: float, training_seconds: float
    ) -> "TrainState":
        """One optimiser step further.

        Args:
            losses: of the step, by name.
            learning_rate: that it was made with.
            seconds: wall time that the run has used.
            training_seconds: what the step took, loading included.
        """
        names = dict.fromkeys([*self.loss_sums, *losses])
        return replace(
            self,
            step=self.step + 1,
            seconds=seconds,
            learning_rate=learning_rate,
            loss_sums={name: self.loss_sums.get(name, 0.0) + losses.get(name, 0.0) for name in names},
            loss_steps=self.loss_steps + 1,
            loss_seconds=self.loss_seconds + training_seconds,
        )

    def next_stage(self, *, finished: bool) -> "TrainState":
        """The stage is done; the next one starts from zero, with a best of its own."""
        if finished:
            return replace(self, stage=self.stage + 1, finished=True)
        return TrainState(
            stage=self.stage + 1,
            steps_before=self.steps_before + self.step,
            seconds=self.seconds,
            proposal_seconds=self.proposal_seconds,
            peak_memory=self.peak_memory,
            stage_began=self.seconds,
            validated_at=self.seconds,
            saving_seconds=self.saving_seconds,
            saved_at=self.saved_at,
            rows=self.rows,
            warnings=self.warnings,
        )

    def extended(self, epochs: float) -> "TrainState":
        """A finished run is to go on: its last stage for so many more epochs, by a schedule that starts anew."""
        return replace(
            self,
            stage=self.stage - 1,
            began_step=self.step,
            extensions=(*self.extensions, epochs),
            stage_began=self.seconds,
            finished=False,
        )


def state_to_json(state: TrainState) -> dict[str, Any]:
    """The state as JSON values; floats come back bit for bit."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(state)))
    return values


def state_from_json(values: dict[str, Any]) -> TrainState:
    """The state that :func:`state_to_json` took; raises ``KeyError`` where a value is missing."""
    values = {**_LATER, **values}
    values |= {name: tuple(values[name]) for name in ("extensions", "warnings")}
    return TrainState(**{name.name: values[name.name] for name in fields(TrainState)})
