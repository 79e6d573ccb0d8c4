"""The loop: how one gradient stage runs, from its first step to its last, on one page.

Before every step the run is looked at: is a validation due, is it time to save, is the stage over, does somebody want
it to stop? All of that is a function of the state and of the clock, so that a run that goes on from a checkpoint does
what it would have done anyway.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from sightline.contract import NeuralSystem
from sightline.model_file import tensors_of
from sightline.recipes import GradientStage
from sightline.training.ema import Ema
from sightline.training.guards.watch import Watch
from sightline.training.history import Row
from sightline.training.job import Job
from sightline.training.loader import Sampling
from sightline.training.optimisers import (
    build_optimiser,
    load_optimiser_tensors,
    optimiser_tensors,
    set_learning_rate,
)
from sightline.training.pace import Pace
from sightline.training.progress import StepView
from sightline.training.schedules import learning_rate_share
from sightline.training.sharding import FSDP, Shards
from sightline.training.state import TrainState
from sightline.training.steps import LossOf, Stepper
from sightline.training.validation import validation_losses

_SMOOTHING = 0.9


@dataclass(frozen=True)
class Learner:
    """What changes in a stage beside the state: weights, the optimiser's memory, the average."""

    stage: GradientStage
    sampling: Sampling
    optimiser: Optimizer
    shards: Shards | None
    ema: Ema[NeuralSystem[Any, Any]] | None
    stepper: Stepper
    watch: Watch

    @classmethod
    def prepare(
        cls, job: Job, stage: GradientStage, state: TrainState, tensors: Mapping[str, Mapping[str, Tensor]]
    ) -> "Learner":
        """For a stage that begins (no tensors) or goes on (the tensors of a checkpoint)."""
        fabric = job.fabric
        sampling = Sampling(
            seed=job.options.seed,
            images=len(job.train.samples),
            batch_size=stage.batch_size,
            accumulate=stage.accumulate,
            rank=fabric.global_rank,
            processes=fabric.world_size,
        )
        shards = None
        if job.options.strategy == FSDP:
            shards = Shards(fabric, job.system, partial(LossOf, method=stage.loss))
        learning = job.system if shards is None else shards.system
        optimiser = build_optimiser(learning, stage.optimiser, stage.groups)
        if shards is not None:
            shards.freeze()
        ema = None if stage.ema is None else Ema(job.system, stage.ema, state.ema_updates)
        load_optimiser_tensors(optimiser, learning, tensors.get("optimiser", {}))
        if ema is not None and "ema" in tensors:
            ema.network.load_state_dict(tensors["ema"])
        stepper = Stepper(fabric, stage, learning, optimiser, ema, None if shards is None else shards.module)
        stepper.load_scaler_state(state.scaler)
        watch = Watch(fabric, stage, job.system, optimiser, job.run.path, job.options.seed, shards)
        return cls(stage, sampling, optimiser, shards, ema, stepper, watch)

    def save(self, job: Job, state: TrainState) -> TrainState:
        """Write the checkpoint."""
        if self.ema is not None:
            state = replace(state, ema_updates=self.ema.updates)
        return job.save(replace(state, scaler=self.stepper.scaler_state()), **self.parts(job))

    def parts(self, job: Job) -> dict[str, dict[str, Tensor]]:
        """The tensors of a checkpoint beside the system's own."""
        learning = job.system if self.shards is None else self.shards.system
        parts = {"optimiser": optimiser_tensors(self.optimiser, learning)}
        return parts if self.ema is None else {**parts, "ema": tensors_of(self.ema.network)}

    def whole_on(self, device: torch.device) -> contextlib.AbstractContextManager[None]:
        """The whole system is on a device while its shards learn; where there are none, it stays where it is."""
        return contextlib.nullcontext() if self.shards is None else self.shards.whole_on(device)


@dataclass(frozen=True)
class Look:
    """What is to be done before the next step."""

    progress: float
    validate: bool
    save: bool
    stop: bool


def follow_gradients(job: Job, learner: Learner, pace: Pace, state: TrainState) -> tuple[TrainState, bool]:
    """Run a stage from where ``state`` stands; returns where it ended and whether it was stopped early."""
    stage = learner.stage
    a_step = 0.0
    job.system.train()
    with (
        contextlib.closing(job.train.training_batches(stage.augmentation, learner.sampling, state.step)) as batches,
        learner.whole_on(torch.device("cpu")),
    ):
        while True:
            look = _look(job, pace, state)
            if learner.shards is not None and (look.validate or look.save or look.stop or look.progress >= 1):
                learner.shards.gather()
            if look.validate:
                with learner.whole_on(job.fabric.device):
                    state = validate(job, learner, state)
                state = learner.save(job, state)
                continue
            if look.save or look.stop:
                state = learner.save(job, state)
            if look.progress >= 1 or look.stop:
                return state, look.stop
            began = job.timer.seconds()
            share = learning_rate_share(stage.schedule, state.step - state.began_step, look.progress)
            learning_rate = set_learning_rate(learner.optimiser, share)
            losses = learner.watch.step(learner.stepper, next(batches), state.step, learning_rate)
            now = job.timer.seconds()
            state = state.after_step(losses, learning_rate, now, now - began)
            a_step = _SMOOTHING * a_step + (1 - _SMOOTHING) * (now - began) if a_step else now - began
            job.progress.step(_view(learner, pace, state, losses, a_step))


def _look(job: Job, pace: Pace, state: TrainState) -> Look:
    """What the first process sees, so that all do the same."""
    seconds = job.timer.seconds()
    look = Look(
        progress=pace.progress(state, seconds),
        validate=pace.validation_due(state, seconds) and not job.stop.wanted,
        save=seconds - state.saved_at >= job.options.save_every,
        stop=job.stop.wanted,
    )
    return job.agreed(look)


def validate(job: Job, learner: Learner, state: TrainState) -> TrainState:
    """Judge the weights as they are: a row of the history, and the best file if they are the best so far."""
    began = job.timer.seconds()
    means = {name: value / state.loss_steps for name, value in state.loss_sums.items()}
    judged = job.system if learner.ema is None else learner.ema.network
    losses = {}
    if job.val is not None:
        # As many images at once as in training: what fits into memory there fits here.
        size = learner.sampling.part_size
        tell = partial(job.progress.working, "losses of the validation split")
        losses = validation_losses(judged, learner.stage.loss, job.val, size, job.fabric, job.processes, tell)
    counts = learner.stage.judged
    metrics = job.measure(judged) if counts else {}
    if job.leads:
        row = _row(learner, state, means)
        state = job.keep(state, judged, row, losses=losses, metrics=metrics, counts=counts)
    state = job.agreed(state)
    ended = job.timer.seconds()
    return replace(
        state,
        seconds=ended,
        validated_step=state.step,
        validated_at=ended,
        validation_seconds=ended - began,
        loss_sums={},
        loss_steps=0,
        loss_seconds=0.0,
    )


def _row(learner: Learner, state: TrainState, means: Mapping[str, float]) -> Row:
    images = state.loss_steps * learner.stage.batch_size
    return {
        "stage": learner.stage.name,
        "epoch": round(state.step * learner.stage.batch_size / learner.sampling.images, 4),
        "step": state.step,
        "lr": state.learning_rate,
        "seconds": round(state.seconds, 3),
        "images_per_second": round(images / max(state.loss_seconds, 1e-9), 2),
        "train/total": sum(means.values()),
        **{f"train/{name}": value for name, value in means.items()},
    }


def _view(learner: Learner, pace: Pace, state: TrainState, losses: Mapping[str, float], a_step: float) -> StepView:
    batch_size = learner.stage.batch_size
    return StepView(
        stage=learner.stage.name,
        progress=pace.progress(state, state.seconds),
        epoch=state.step * batch_size / learner.sampling.images,
        step=state.step,
        loss=sum(state.loss_sums.values()) / state.loss_steps,
        images_per_second=batch_size / max(a_step, 1e-9),
        learning_rate=state.learning_rate,
        seconds_left=pace.seconds_left(state, state.seconds, 1 / max(a_step, 1e-9)),
        losses=losses,
        steps_before=state.steps_before,
    )
