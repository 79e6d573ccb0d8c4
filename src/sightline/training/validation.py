"""Judging a run as it goes: the losses of the validation split, and whatever the evaluator measures."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric

from sightline.contract import NeuralSystem, System
from sightline.structures import Sample
from sightline.training.loader import Loading
from sightline.training.memory import Load, answering_for_memory, smaller_images

Evaluate = Callable[[System[Any], Sequence[Sample]], Mapping[str, float]]
"""Metrics of a system on samples, such as {"AP": 0.4, "AP50": 0.6}; "best" means the highest value of the
first, the later of two equals."""

_SEED = 0


def validation_losses(
    system: NeuralSystem[Any, Any],
    loss: str,
    loading: Loading,
    batch_size: int,
    fabric: Fabric,
    tell: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Each named loss of the whole split, its total over its count: no gradients, evaluation mode, the same draws.

    ``tell`` is called with images done and images in all.
    """
    sums: dict[str, tuple[float, float]] = {}
    cure = f"start again with {smaller_images(system.preparation)}"
    was_training = system.training
    system.eval()
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.no_grad(), fabric.autocast():
        torch.manual_seed(_SEED)
        images = 0
        for loaded in loading.validation_batches(batch_size):
            batch = loaded.to(fabric.device)
            images += len(batch)
            with answering_for_memory("validation", Load.of(batch), cure):
                losses = getattr(system, loss)(batch.images, batch.targets)
            for name, term in losses.items():
                total, count = sums.get(name, (0.0, 0.0))
                sums[name] = total + float(term.total), count + float(term.count)
            if tell is not None:
                tell(images, len(loading.samples))
    system.train(was_training)
    return {name: total / (count or 1.0) for name, (total, count) in sums.items()}


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
