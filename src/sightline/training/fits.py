"""Stages that are solved rather than followed: the first process fits, the others wait and get what came out."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from sightline.model_file import tensors_of
from sightline.recipes import FitStage, FitStopped, Workbench
from sightline.training.guards.memory import answering_for_memory, smaller_images
from sightline.training.history import Row
from sightline.training.job import Job
from sightline.training.state import TrainState

STILL_WORKING = 60.0
"""Seconds after which the processes that wait for a fit are told that it is not done."""
_WORKING, _SOLVED = "working", "solved"


@dataclass(frozen=True)
class Solved:
    """What came out of a fit beside the tensors.

    Args:
        facts: what is worth a column of the history.
        warnings: what the person must know to read the result right.
    """

    facts: dict[str, float]
    warnings: tuple[str, ...] = ()


def fit(job: Job, stage: FitStage, state: TrainState) -> TrainState | None:
    """Solve a stage and judge what came out; None where it gave up, because the person asked for an end."""
    job.log(f"stage {stage.name}: fitted to {len(job.train.samples)} images")
    job.progress.working(f"fitting {stage.name}")
    solved = solve(job, stage)
    if solved is None:
        return None
    facts = solved.facts
    state = replace(state, step=1, warnings=tuple(dict.fromkeys((*state.warnings, *solved.warnings))))
    if not stage.judged:
        job.log(f"stage {stage.name} done" + "".join(f"; {name} {value:.6g}" for name, value in facts.items()))
        return state
    metrics = job.measure(job.system)
    if job.leads:
        row: Row = {"stage": stage.name, "epoch": 1, "step": 1, "seconds": round(job.timer.seconds(), 3)}
        state = job.keep(state, job.system, {**row, **facts}, losses={}, metrics=metrics)
    return job.agreed(state)


def solve(job: Job, stage: FitStage) -> Solved | None:
    """Fit in the first process, and give the others what came out.

    Returns:
        what came out beside the tensors; None where the fit gave up.

    Raises:
        SightlineError: the fit ran out of memory.
    """
    solved: Solved | None = None
    if job.leads:
        warnings: list[str] = []

        def warn(text: str) -> None:
            warnings.append(text)
            job.log(f"warning: {text}")

        tell = _keeping_others_waiting(job)
        val, stop = () if job.val is None else job.val.samples, job.stop
        bench = Workbench(job.options.seed, job.run.path, tell, job.log, warn, lambda: stop.wanted, val)
        cure = f"start again with {stage.smaller or smaller_images(job.system.preparation)}"
        with suppress(FitStopped), answering_for_memory(f"the fit of stage {stage.name}", None, cure):
            facts = dict(stage.fit(job.system, job.train.samples, bench))
            solved = Solved(facts, tuple(warnings))
        job.agreed(_SOLVED)
    else:
        while job.agreed(_WORKING) == _WORKING:
            pass
    solved = job.agreed(solved)
    if job.fabric.world_size > 1 and solved is not None:
        job.system.load_state_dict(job.agreed(tensors_of(job.system) if job.leads else {}))
    return solved


def _keeping_others_waiting(job: Job) -> Callable[[str, int, int], None]:
    """Tells the person what a fit does, and now and then the other processes that it is not done.

    An exchange that no other process joins for half an hour fails, and a fit may take longer.
    """
    last = time.monotonic()

    def tell(doing: str, done: int, of: int) -> None:
        nonlocal last
        job.progress.working(doing, done, of)
        if time.monotonic() - last >= STILL_WORKING:
            last = time.monotonic()
            job.agreed(_WORKING)

    return tell
