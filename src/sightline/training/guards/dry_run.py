"""A dry run of the worst batch before a stage's first step: what does not fit is known in seconds, not after hours.

Losses and gradients are computed once, in the run's precision. Weights, running statistics, the optimiser and all
random numbers are afterwards what they were, so that the run is bit for bit the one without.
"""

from typing import Any

import torch
from torch import Tensor

from sightline.contract import NeuralSystem
from sightline.errors import SightlineError
from sightline.recipes import GradientStage
from sightline.runtime import peak_memory, reset_peak_memory
from sightline.training.guards.causes import Evidence, find_causes
from sightline.training.guards.memory import Load, answering_for_memory, named, smaller
from sightline.training.guards.replay import compute_apart
from sightline.training.guards.worst_batch import worst_batch
from sightline.training.job import Job
from sightline.training.loader import Sampling

_REMEMBERED = {"sgd": 1, "adamw": 2}
"""Tensors of the size of the weights that an optimiser keeps."""


def rehearse(job: Job, stage: GradientStage, sampling: Sampling) -> None:
    """Try the worst batch of a stage, and say what it took.

    Raises:
        SightlineError: it does not fit into memory, or its losses or gradients are not finite.
    """
    if not job.options.dry_run:
        job.log("worst batch: not tried, as asked for")
        return
    began = job.timer.seconds()
    job.progress.working("trying the worst batch")
    part = worst_batch(
        job.train.samples, job.system.preparation, stage.augmentation, sampling.part_size, job.options.seed
    )
    load = Load.of(part)
    device = job.fabric.device
    draws = (job.options.seed, 0, 0, job.fabric.global_rank)
    precision = str(job.fabric.strategy.precision.precision)
    measured = reset_peak_memory(device)
    cure = smaller(stage, sampling.processes, job.system.preparation)
    with answering_for_memory(f"the dry run of the worst batch of stage {stage.name}", load, cure):
        room = _room_for_the_optimiser(job.system, stage, device)
        outcome = compute_apart(job.system, stage.loss, part, precision=precision, draws=draws)
        del room
    memory = f"{peak_memory(device) / 1e9:.1f} GB" if measured else "memory not measured here"
    if not outcome.finite:
        evidence = Evidence(
            job.system, stage.loss, [part], [draws], precision, (), 0.0, stage.optimiser.lr, sampling.processes == 1
        )
        causes = find_causes(evidence)
        raise SightlineError(
            f"losses or gradients are not finite in the dry run of the worst batch of stage {stage.name} ({load})",
            place=named(load.names),
            cause="; ".join(cause.found for cause in causes),
            cure=f"{causes[0].cure}; the images were stretched to the largest size: --no-dry-run leaves this out",
        )
    job.log(f"worst batch: {load}: {memory}, {job.timer.seconds() - began:.1f} s")


def _room_for_the_optimiser(system: NeuralSystem[Any, Any], stage: GradientStage, device: torch.device) -> list[Tensor]:
    """What the optimiser will take of a GPU's memory from its first step on; a CPU gives memory when it is written."""
    if device.type != "cuda":
        return []
    learning = [parameter for parameter in system.parameters() if parameter.requires_grad]
    return [torch.empty_like(p) for p in learning for _ in range(_REMEMBERED[stage.optimiser.kind])]
