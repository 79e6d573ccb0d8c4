"""How far a stage has come and when it validates: by steps, or by the clock.

By the clock, everything counts: training, validation and saving. The end of the schedule is brought forward by what the
last validation and the last saving took, so that the run as a whole ends on time with the learning rate at its end.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from sightline.training.loader import Sampling
from sightline.training.state import TrainState

VALIDATION_SHARE = 0.1
"""Largest share of the time that validation may take when a run is timed."""

_LARGEST_RESERVE = 0.5
_SAFETY = 1.1


@dataclass(frozen=True)
class Pace(ABC):
    """Answers from where a run stands; holds nothing that changes.

    Args:
        sampling: what a step sees.
        validate_every: epochs.
    """

    sampling: Sampling
    validate_every: int

    @abstractmethod
    def progress(self, state: TrainState, seconds: float) -> float:
        """Share of the stage that is behind, 0..1; at 1 the stage ends.

        Args:
            state: where the run stands.
            seconds: wall time that the run has used.
        """

    @abstractmethod
    def seconds_left(self, state: TrainState, seconds: float, rate: float) -> float:
        """Foreseen seconds to the end of the stage at ``rate`` steps a second."""

    def validation_due(self, state: TrainState, seconds: float) -> bool:
        """Whether to validate before the next step."""
        if state.step == state.validated_step:
            return False
        if self.progress(state, seconds) >= 1:
            return True
        before, now = self.sampling.epochs_done(state.step - 1), self.sampling.epochs_done(state.step)
        crossed = now // self.validate_every > before // self.validate_every
        return crossed and self._affordable(state, seconds)

    def _affordable(self, state: TrainState, seconds: float) -> bool:
        del state, seconds
        return True


@dataclass(frozen=True)
class StepPace(Pace):
    """A stage of so many steps.

    Args:
        steps: to be done.
        start: steps of the stage that had been done when they began: those before an extension.
    """

    steps: int
    start: int = 0

    def progress(self, state: TrainState, seconds: float) -> float:
        """Steps done of steps in all."""
        del seconds
        return min(1.0, (state.step - self.start) / self.steps)

    def seconds_left(self, state: TrainState, seconds: float, rate: float) -> float:
        """Steps left at the present rate, and the validations between them as long as the last."""
        del seconds
        end = self.start + self.steps
        epochs = self.sampling.epochs_done(end) - self.sampling.epochs_done(state.step)
        return (end - state.step) / rate + epochs / self.validate_every * state.validation_seconds


@dataclass(frozen=True)
class TimePace(Pace):
    """A stage of so much wall time.

    Args:
        began: seconds that the run had used when the stage began.
        budget: seconds that the stage may take.
        validation_steps: optimiser steps that one validation is guessed to take until one has been measured.
    """

    began: float
    budget: float
    validation_steps: float

    def progress(self, state: TrainState, seconds: float) -> float:
        """Time used of the time that is left for training; at least one step is made."""
        share = (seconds - self.began) / (self.budget - self._reserve(state, seconds))
        return min(1.0, share) if state.step > 0 else min(0.0, share)

    def seconds_left(self, state: TrainState, seconds: float, rate: float) -> float:
        """What the clock leaves."""
        del state, rate
        return max(0.0, self.began + self.budget - seconds)

    def _reserve(self, state: TrainState, seconds: float) -> float:
        """Seconds to keep for the last validation and saving."""
        a_step = self._a_step(state, seconds)
        validation = self._validation(state, seconds)
        # Half a step, since a step that has begun is finished; saving writes the checkpoint and the best file.
        reserve = _SAFETY * validation + 2 * state.saving_seconds + a_step / 2
        return min(reserve, _LARGEST_RESERVE * self.budget)

    def _a_step(self, state: TrainState, seconds: float) -> float:
        return (seconds - self.began) / max(1, state.step)

    def _validation(self, state: TrainState, seconds: float) -> float:
        """Seconds that a validation takes: as measured, or as guessed before the first."""
        return state.validation_seconds or self.validation_steps * self._a_step(state, seconds)

    def _affordable(self, state: TrainState, seconds: float) -> bool:
        """Seldom enough to take a tenth of the time, and not when the last validation is about to come anyway."""
        waited = seconds - state.validated_at >= state.validation_seconds * (1 / VALIDATION_SHARE - 1)
        return waited and seconds + 3 * self._validation(state, seconds) < self.began + self.budget
