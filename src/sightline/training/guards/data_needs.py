"""Whether there is enough to learn from, said before the first epoch: what the system needs, what there is, the cure.

It warns and does not refuse: a system may do with less than anybody has measured. Only a detector without any object to
learn from is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.classes import Classes
from sightline.contract import RANDOM_WEIGHTS, DataNeeds, NeuralSystem
from sightline.data.dataset import Dataset
from sightline.errors import DataError
from sightline.proposals.kept import without_proposals
from sightline.structures import Sample

_NAMED_CLASSES = 10
_NO_OBJECTS = "has no object in any of its images"


@dataclass(frozen=True)
class DataCheck:
    """What is to be said of the data before training.

    Args:
        told: one line on what the system needs and what there is.
        warnings: what is too little, each with its cure.
    """

    told: str
    warnings: tuple[str, ...]


def check_data(
    system: NeuralSystem[Any, Any], training: Sequence[Sample], validation: Sequence[Sample] | None
) -> DataCheck:
    """Compare what a system says it needs with the data that it gets.

    Args:
        system: with the weights that it starts from.
        training: the training split, as it was opened or in memory.
        validation: the validation split, or None.

    Raises:
        DataError: a detector gets no object to learn from.
    """
    examples = count_examples(training, system.classes)
    detects = system.task == "detection"
    if examples is not None and detects and examples.sum() == 0:
        raise DataError(
            f"the training split {_NO_OBJECTS}: there is nothing to learn",
            cause="the annotations are elsewhere, of other classes, or all ignored (crowd, difficult)",
            cure="look at it with `sightline data check` and `sightline data stats`",
        )
    warnings = []
    if validation is not None and detects and _is_empty(validation, system.classes):
        warnings.append(
            f"the validation split {_NO_OBJECTS}: AP is not defined there, and the loss decides which weights are "
            "best; cure: another --val-split, or split the set anew (sightline data split)"
        )
    elif validation is not None and detects and examples is not None:
        warnings += _unjudged(system.classes, examples, count_examples(validation, system.classes))
    needs = system.data_needs()
    there = _there(len(training), examples)
    if needs is None:
        return DataCheck(f"data: {there}; {system.name} does not say what it needs", tuple(warnings))
    random = system.origin == RANDOM_WEIGHTS
    wanted, start = (needs.images_random, "random weights") if random else (needs.images_given, "given weights")
    told = f"data: {there}; {system.name} needs about {wanted:,} images from {start} ({needs.source})"
    if len(training) < wanted:
        fewer = f" (from given ones about {needs.images_given:,})" if random else ""
        warnings.append(
            f"too little data: {system.name} needs about {wanted:,} images from {start}{fewer}, the training split "
            f"has {len(training):,}: expect poor results; cure: {_cure(needs, random, len(training))}"
        )
    if examples is not None:
        warnings += _few_examples(system.classes, examples, needs.objects_per_class)
    return DataCheck(told, tuple(warnings))


def count_examples(samples: Sequence[Sample], classes: Classes) -> NDArray[np.int64] | None:
    """Objects of each class (K,), ignored ones left out; None for a set that would have to be decoded for that."""
    samples = without_proposals(samples)
    if isinstance(samples, Dataset):
        table, rows = samples.records.table, samples.records.rows
        image_of = np.repeat(np.arange(len(table.first) - 1), np.diff(table.first))
        counted = np.isin(image_of, rows) & ~table.ignore
        return np.bincount(table.labels[counted], minlength=len(classes)).astype(np.int64)
    if isinstance(samples, list | tuple):
        labels = [sample.target.labels[~sample.target.ignore].numpy() for sample in samples]
        return np.bincount(np.concatenate([*labels, np.zeros(0, np.int64)]), minlength=len(classes)).astype(np.int64)
    return None


def _is_empty(samples: Sequence[Sample], classes: Classes) -> bool:
    examples = count_examples(samples, classes)
    return examples is not None and len(samples) > 0 and int(examples.sum()) == 0


def _there(images: int, examples: NDArray[np.int64] | None) -> str:
    if examples is None or len(examples) == 0:
        return f"{images:,} images"
    low, high = int(examples.min()), int(examples.max())
    spread = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return f"{images:,} images, {len(examples)} classes with {spread} objects each"


def _cure(needs: DataNeeds, random: bool, images: int) -> str:
    cures = []
    if random and images >= needs.images_given:
        return "start from given weights (--weights or --backbone-weights), which is enough for this set"
    if random:
        cures.append("start from given weights (--weights or --backbone-weights)")
    return ", or ".join([*cures, "label more images", "choose a system that needs fewer"])


def _unjudged(classes: Classes, training: NDArray[np.int64], validation: NDArray[np.int64] | None) -> list[str]:
    if validation is None:
        return []
    names = [classes.names[label] for label in np.flatnonzero((training > 0) & (validation == 0))]
    if not names:
        return []
    named = ", ".join(names[:_NAMED_CLASSES]) + (" ..." if len(names) > _NAMED_CLASSES else "")
    return [
        f"the validation split has no object of {named}: which weights are best is decided without; cure: split the "
        "set anew (sightline data split), or label more images"
    ]


def _few_examples(classes: Classes, examples: NDArray[np.int64], wanted: int) -> list[str]:
    few = sorted((int(count), name) for count, name in zip(examples, classes.names, strict=True) if count < wanted)
    if not few:
        return []
    named = ", ".join(f"{name} {count:,}" for count, name in few[:_NAMED_CLASSES])
    more = f" and {len(few) - _NAMED_CLASSES} more classes" if len(few) > _NAMED_CLASSES else ""
    return [
        f"few examples: {named}{more}, where about {wanted:,} objects of a class are needed; cure: label more of "
        "these, or join rare classes"
    ]
