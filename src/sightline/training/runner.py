"""Runs a recipe: every stage in order, from the start or from where a checkpoint left it."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from sightline.contract import NeuralSystem
from sightline.errors import DataError
from sightline.layers.sync_norm import synchronised_norms
from sightline.model_file import require_fit
from sightline.processes import Processes
from sightline.proposals.cache import propose_for
from sightline.proposals.kept import ProposedSamples, read_proposals
from sightline.recipes import FitStage, FitStopped, GradientStage, Recipe, Stage
from sightline.runtime import reset_peak_memory
from sightline.structures import Sample
from sightline.training.batch_norm import describe_batch_norm
from sightline.training.cache import hold_in_memory
from sightline.training.checkpoints import Checkpoint, peek_state, read_checkpoint
from sightline.training.continuation import extended
from sightline.training.devices import start_fabric
from sightline.training.fits import fit
from sightline.training.guards.data_needs import check_data
from sightline.training.guards.dry_run import rehearse
from sightline.training.history import read_history
from sightline.training.job import Job, Timer, TrainData
from sightline.training.loader import Loading, Sampling, sensible_workers
from sightline.training.loop import Learner, follow_gradients
from sightline.training.options import (
    FREE_ON_RESUME,
    TrainOptions,
    describe_learning_rate,
    require_enough_images,
    settle,
)
from sightline.training.pace import Pace, StepPace, TimePace
from sightline.training.processes.heartbeat import heartbeat
from sightline.training.progress import Progress, SilentProgress
from sightline.training.run_folder import RunFolder
from sightline.training.sharding import FSDP, require_shardable
from sightline.training.state import TrainState
from sightline.training.stopping import StopRequest
from sightline.training.validation import Evaluate

_NO_SETTING = ("resume", "from_previous", "extend")
"""Options that say what to do with a run, not what it is."""
_NO_VALIDATION = "none: the last weights count as the best"


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Args:
        finished: whether every stage is done; if not, it was stopped and can be resumed.
        steps: optimiser steps done in the last stage that ran.
        seconds: wall time used, over all resumptions; the making of proposals before the first step is not in it.
        best: the model file with the best weights.
        metrics: what was measured with them.
        rows: of the history.
        warnings: what the data have too little of, and what its fits warned of.
    """

    finished: bool
    steps: int
    seconds: float
    best: Path
    metrics: Mapping[str, float]
    rows: int = 0
    warnings: tuple[str, ...] = ()


def train(
    system: NeuralSystem[Any, Any],
    recipe: Recipe,
    data: TrainData,
    options: TrainOptions,
    run: RunFolder,
    *,
    evaluate: Evaluate | None,
    progress: Progress,
    clock: Callable[[], float] = time.monotonic,
) -> TrainResult:
    """Train a system by its recipe.

    Args:
        system: as it was built, with the weights that it starts from; afterwards it has those of the last step (the
            best ones are in the run folder).
        recipe: its stages.
        data: what it learns from and is judged by.
        options: what the person decides.
        run: where everything is written; opened to go on if the options go on.
        evaluate: measures the system on the validation split; its first metric decides what is best.
        progress: what the person sees.
        clock: gives seconds.

    Raises:
        ConfigError: options that do not fit each other, the machine, the recipe or the run to be resumed.
        DataError: no images to train on, or one that cannot be read.
        ModelFileError: the checkpoint to resume from is damaged or of another model.
        SightlineError: a loss that is not finite, or a disk that is full; the last checkpoint is sound.
    """
    timer = Timer(clock)
    if options.goes_on != run.resumed:
        raise ValueError("the run folder must be opened with the options' goes_on")
    if len(data.train) == 0:
        raise DataError("there are no images to train on", cure="check --data and its training split")
    stages = settle(recipe, options)
    if options.strategy == FSDP:
        require_shardable(stages)
    fabric, devices, helpers = start_fabric(options)
    # Outermost: torchrun's request to end comes while it is found out which process is gone.
    with StopRequest() as stop, heartbeat(fabric, helpers):
        # A folder that nobody named is numbered by each process for itself.
        run = replace(run, path=fabric.broadcast(run.path))
        for stage in stages:
            if isinstance(stage, GradientStage):
                require_enough_images(stage, fabric.world_size)
        described = _description(system, stages, data, options)
        run.record("training", described | _extensions(peek_state(run.last)), free=FREE_ON_RESUME)
        checkpoint = _read(run, system) if options.goes_on else Checkpoint(TrainState(), {})
        if options.extend is not None:
            checkpoint = extended(checkpoint, stages, options.extend, run.path)
        timer.add(checkpoint.state.seconds)
        # Weights that change have scores of their own: a temperature is fitted to them when they are done.
        system.temperature = 1.0
        system.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        with (
            progress if fabric.is_global_zero else SilentProgress() as shown,
            _norms(system, options, fabric),
        ):
            reset_peak_memory(fabric.device)
            among = Processes(fabric.global_rank, fabric.world_size)
            load = partial(
                _load, system=system, options=options, timer=timer, tell=shown.working, among=among, stop=stop
            )
            try:
                loading, held = load(data.train, "training")
                val, val_held = load(data.val, "validation") if data.val else (None, _NO_VALIDATION)
            except FitStopped:
                return _stopped_while_proposing(run, checkpoint.state, timer, shown)
            state = replace(checkpoint.state, proposal_seconds=checkpoint.state.proposal_seconds + timer.aside)
            checkpoint = replace(checkpoint, state=state)
            job = Job(system, data, loading, val, options, fabric, run, evaluate, shown, timer, stop)
            job.log(f"{system.name} on {devices}; seed {options.seed}; {loading.workers} loading processes")
            warnings = _introduce(job, recipe.stages, stages, (held, val_held))
            if options.extend is not None:
                _begin_extension(job, checkpoint, options.extend)
                run.record("training", described | _extensions(checkpoint.state), free=FREE_ON_RESUME)
            result = _run_stages(job, stages, checkpoint)
            return replace(result, warnings=tuple(dict.fromkeys((*warnings, *result.warnings))))


def _stopped_while_proposing(run: RunFolder, state: TrainState, timer: Timer, shown: Progress) -> TrainResult:
    again = "go on with the same command and --resume" if run.resumed else "nothing was trained yet; start again"
    for log in (shown.log, run.log):
        log(f"stopped while regions were proposed: those that were made are kept; {again}")
    return TrainResult(False, state.step, timer.seconds(), run.best, state.best_metrics, state.rows)


def _introduce(job: Job, before: Sequence[Stage], after: Sequence[Stage], held: tuple[str, str]) -> tuple[str, ...]:
    """Say what the run starts from and learns from; gives the warnings about the data."""
    if not job.options.goes_on:
        job.log(f"starts from {job.system.origin}")
    for own, settled in zip(before, after, strict=True):
        if isinstance(own, GradientStage) and isinstance(settled, GradientStage):
            job.log(f"stage {settled.name}: {describe_learning_rate(own, settled)}")
    for split, told in zip(("training", "validation"), held, strict=True):
        job.log(f"{split} split: {told}")
    check = check_data(job.system, job.train.samples, None if job.val is None else job.val.samples)
    for line in (check.told, *(f"warning: {warning}" for warning in check.warnings)):
        job.log(line)
    return check.warnings


def _begin_extension(job: Job, checkpoint: Checkpoint, epochs: float) -> None:
    """Say it and save it: from here on the run is one to be resumed."""
    job.log(f"extended by {epochs:g} epochs: goes on from the last weights, optimiser memory and place in the images")
    job.log("the learning rate starts anew with its warm-up, a warm restart (Loshchilov and Hutter 2017)")
    job.fabric.barrier()  # every process has read the checkpoint that is replaced now
    job.save(checkpoint.state, **{part: tensors for part, tensors in checkpoint.tensors.items() if part != "model"})


def _norms(system: NeuralSystem[Any, Any], options: TrainOptions, fabric: Fabric) -> AbstractContextManager[object]:
    """Live batch norms see the batch of all processes, where there are several and the options do not forbid it."""
    system.train()
    return synchronised_norms(system) if fabric.world_size > 1 and options.sync_norm else nullcontext()


def _run_stages(job: Job, stages: tuple[Stage, ...], checkpoint: Checkpoint) -> TrainResult:
    state, tensors = checkpoint.state, checkpoint.tensors
    learns = {name for name, parameter in job.system.named_parameters() if parameter.requires_grad}
    if job.options.goes_on:
        job.log(f"goes on at stage {state.stage + 1} of {len(stages)}, step {state.step}, {state.seconds:.0f} s used")
        _count_rows(job, state)
        job.progress.started(state.steps)
    begun = job.options.goes_on
    while not state.finished:
        for name, parameter in job.system.named_parameters():
            parameter.requires_grad_(name in learns)
        stage, is_last = stages[state.stage], state.stage + 1 == len(stages)
        parts: dict[str, dict[str, Tensor]] = {}
        if isinstance(stage, GradientStage):
            here = _with_proposals(job, stage)
            learner = Learner.prepare(here, stage, state, tensors)
            pace = _pace(here, stages, state, learner.sampling)
            _describe_stage(here, stage, learner.sampling, pace)
            rehearse(here, stage, learner.sampling)
        if not begun:
            # Only now: a run whose first batch does not fit leaves nothing behind.
            state, begun = job.save(state), True
            job.progress.started(state.steps)
        if isinstance(stage, FitStage):
            # What a fit solved is always kept, whenever the request came; only a fit that can go on later gives up.
            stopped = job.agreed(job.stop.wanted)
            fitted = None if stopped else fit(job, stage, state)
            state, stopped = (state, True) if fitted is None else (fitted, False)
        else:
            state, stopped = follow_gradients(here, learner, pace, state)
            # The end of a run keeps what the stage remembers, for an extension; another stage starts without it.
            parts = learner.parts(job) if is_last and not stopped else {}
        if stopped:
            break
        state, tensors = job.save(state.next_stage(finished=is_last), **parts), {}
    if state.finished:
        job.log(f"finished after {state.seconds:.0f} s; best: {job.run.best} (step {state.best_step})")
    else:
        place = f"stage {state.stage + 1} of {len(stages)}, step {state.step}"
        job.log(f"stopped and saved at {place}; go on with the same command and --resume")
    metrics, warned = state.best_metrics, state.warnings
    return TrainResult(state.finished, state.step, state.seconds, job.run.best, metrics, state.rows, warned)


def _count_rows(job: Job, state: TrainState) -> None:
    """Say it where the table lacks rows; more of them were written after the checkpoint, and are written again."""
    rows = len(read_history(job.run.history)) if job.leads else state.rows
    if rows < state.rows:
        job.log(f"warning: {job.run.history.name} has {rows} of the {state.rows} rows that the run has written")


def _with_proposals(job: Job, stage: GradientStage) -> Job:
    """The job with the regions that an earlier fit kept for a stage, where it did."""
    if not stage.proposals:
        return job
    job = replace(job, train=_proposed(job.train, job.run.path / stage.proposals))
    if job.val is None or not stage.val_proposals:
        return job
    return replace(job, val=_proposed(job.val, job.run.path / stage.val_proposals))


def _proposed(loading: Loading, path: Path) -> Loading:
    return replace(loading, samples=ProposedSamples(loading.samples, read_proposals(path)))


def _read(run: RunFolder, system: NeuralSystem[Any, Any]) -> Checkpoint:
    checkpoint = read_checkpoint(run.last)
    model: Mapping[str, Tensor] = checkpoint.tensors["model"]
    require_fit(run.last / "model.safetensors", model, system)
    system.load_state_dict(dict(model))
    return checkpoint


def _load(
    samples: Sequence[Sample],
    split: str,
    system: NeuralSystem[Any, Any],
    options: TrainOptions,
    timer: Timer,
    tell: Callable[[str, int, int], None],
    among: Processes,
    stop: StopRequest,
) -> tuple[Loading, str]:
    """How a split is loaded, and one line on it for the log.

    Raises:
        FitStopped: the person asked for an end while regions were proposed.
    """
    workers = sensible_workers(options.devices) if options.workers is None else options.workers
    held, told = hold_in_memory(samples, partial(tell, f"decoding the {split} split"))
    if system.proposer is not None:

        def tell_proposed(done: int, of: int) -> None:
            tell(f"proposing regions in the {split} split", done, of)
            # Of several processes none may go alone: they stop at the first step.
            if stop.wanted and among.count == 1:
                raise FitStopped

        # Proposals are kept on the disk, so that the next run has them for nothing: no budget pays for them.
        with timer.stopped():
            held = propose_for(held, system.proposer, system.proposal_count, tell_proposed, among)
        told += f"; {system.proposer.name} proposes up to {system.proposal_count} regions an image"
    return Loading(held, system.preparation, workers), told


def _pace(job: Job, stages: tuple[Stage, ...], state: TrainState, sampling: Sampling) -> Pace:
    """By the clock where minutes are given, the rest of them shared by the stages to come in proportion to epochs."""
    stage = stages[state.stage]
    assert isinstance(stage, GradientStage)
    options = job.options
    if options.minutes is None or state.extensions:
        epochs = state.extensions[-1] if state.extensions else stage.epochs
        steps = max(1, round(epochs * sampling.images / stage.batch_size))
        return StepPace(sampling, options.validate_every, steps, state.began_step)
    to_come = sum(other.epochs for other in stages[state.stage :] if isinstance(other, GradientStage))
    left = max(0.0, options.minutes * 60 - state.stage_began)
    val_images = 0 if job.val is None else len(job.val.samples)
    return TimePace(
        sampling,
        options.validate_every,
        began=state.stage_began,
        budget=max(1e-3, left * stage.epochs / to_come),
        validation_steps=val_images / stage.batch_size,
    )


def _describe_stage(job: Job, stage: GradientStage, sampling: Sampling, pace: Pace) -> None:
    """Say what the stage does, so that nothing about a run has to be guessed."""
    learning = sum(p.numel() for p in job.system.parameters() if p.requires_grad)
    every = sum(p.numel() for p in job.system.parameters())
    length = (
        f"{pace.steps} steps ({pace.steps * stage.batch_size / sampling.images:g} epochs)"
        if isinstance(pace, StepPace)
        else ""
    )
    if isinstance(pace, TimePace):
        length = f"{pace.budget:.0f} s of wall time; validation takes at most about a tenth of it"
    optimiser, schedule = stage.optimiser, stage.schedule
    job.log(
        f"stage {stage.name}: {length}; batches of {sampling.batch_size} images"
        + (f" in {sampling.accumulate} parts" if sampling.accumulate > 1 else "")
        + (f" over {sampling.processes} processes" if sampling.processes > 1 else "")
        + f"; {optimiser.kind}, learning rate {optimiser.lr:g}, weight decay {optimiser.weight_decay:g}; "
        f"{schedule.kind} schedule, warm-up over {schedule.warmup_steps} steps or a tenth of the stage if that is less"
    )
    job.system.train()
    job.log(f"{learning:,} of {every:,} parameters learn; {describe_batch_norm(job.system)}")


def _description(
    system: NeuralSystem[Any, Any], stages: tuple[Stage, ...], data: TrainData, options: TrainOptions
) -> dict[str, object]:
    """What config.json says of the training, and what must be the same when a run goes on."""
    proposer = {"proposer_sha256": system.proposer_sha256} if system.proposer_sha256 else {}
    return {
        "system": system.name,
        "config": asdict(system.config),
        **proposer,
        "preparation": asdict(system.preparation),
        "classes": asdict(system.classes),
        "images": {"train": len(data.train), "val": len(data.val or ())},
        "stages": [_stage_description(stage) for stage in stages],
        "options": {name: value for name, value in asdict(options).items() if name not in _NO_SETTING},
    }


def _extensions(state: TrainState | None) -> dict[str, object]:
    return {"extensions": list(state.extensions)} if state is not None and state.extensions else {}


def _stage_description(stage: Stage) -> dict[str, object]:
    if isinstance(stage, FitStage):
        return {"name": stage.name, "kind": "fit"}
    plain = asdict(replace(stage, augmentation=()))
    return {**plain, "kind": "gradient", "augmentation": [repr(transform) for transform in stage.augmentation]}
