"""Judging a run as it goes: the losses of the validation split, and whatever the evaluator measures."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric

from sightline.contract import NeuralSystem, System
from sightline.processes import ALONE, Processes
from sightline.structures import Sample
from sightline.training.guards.memory import Load, answering_for_memory, smaller_images
from sightline.training.loader import Loading

Evaluate = Callable[[System[Any], Sequence[Sample], Processes], Mapping[str, float]]
"""Metrics of a system on samples, such as {"AP": 0.4, "AP50": 0.6}; "best" means the highest value of the
first, the later of two equals. All processes call it with the same system and share out the samples; what it gives in
the first one counts."""


def validation_losses(
    system: NeuralSystem[Any, Any],
    loss: str,
    loading: Loading,
    batch_size: int,
    fabric: Fabric,
    processes: Processes = ALONE,
    tell: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Each named loss of the whole split, its total over its count: no gradients, evaluation mode, the same draws.

    Several processes share out the batches and give the same numbers as one; empty in all but the first. ``tell`` is
    called with about how many images are done, and images in all.
    """
    found: list[tuple[str, float, float]] = []
    cure = f"start again with {smaller_images(system.preparation)}"
    was_training = system.training
    system.eval()
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.no_grad(), fabric.autocast():
        for number, loaded in loading.validation_batches(batch_size, processes):
            torch.manual_seed(number)
            batch = loaded.to(fabric.device)
            with answering_for_memory("validation", Load.of(batch), cure):
                losses = getattr(system, loss)(batch.images, batch.targets)
            found += [(name, float(term.total), float(term.count)) for name, term in losses.items()]
            if tell is not None:
                tell(min((number + 1) * batch_size, len(loading.samples)), len(loading.samples))
    system.train(was_training)
    gathered = [row for rows in processes.gathered(found) for row in rows]
    return {name: _mean(gathered, name) for name in dict.fromkeys(row[0] for row in gathered)}


def _mean(rows: Sequence[tuple[str, float, float]], name: str) -> float:
    """Total over count; ``fsum`` gives the same for every order."""
    total = math.fsum(row[1] for row in rows if row[0] == name)
    return total / (math.fsum(row[2] for row in rows if row[0] == name) or 1.0)


def score_of(metrics: Mapping[str, float], losses: Mapping[str, float]) -> float | None:
    """What the best file is chosen by, higher is better: the first metric, else minus the validation loss, else None.

    A metric that is not defined (NaN, where a split has no objects) counts as none; a loss that is NaN is the worst.
    """
    value = next(iter(metrics.values()), math.nan)
    if not math.isnan(value):
        return value
    if not losses:
        return None
    total = sum(losses.values())
    return -math.inf if math.isnan(total) else -total
