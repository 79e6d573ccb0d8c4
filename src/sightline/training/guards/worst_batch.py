"""The largest batch that a stage can meet, made before it is met: the largest padded size, the most objects.

Sizes and objects come from the annotations, without decoding. In a batch of two or more images height and width are
padded to the largest of either, which may be those of different images. Where an augmentation changes sizes, what it
makes of the most extreme images in the first epochs is drawn, with the run's own random numbers.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sightline.data.dataset import Dataset
from sightline.proposals.kept import without_proposals
from sightline.structures import Sample, Size
from sightline.training.loader import TrainBatch, sample_rng
from sightline.transforms.pipeline import Transform, apply
from sightline.transforms.preparation import Preparation
from sightline.transforms.resize import Resize

_EXTREMES = 4
"""Images looked at for each way of being extreme."""
_EPOCHS = 4
"""Epochs whose draws are looked at where the augmentation changes sizes."""
_DECODED = 32
"""Images decoded to learn sizes and objects of a set that cannot say them."""


@dataclass(frozen=True, eq=False)
class Extents:
    """What is known of the images of a set without decoding them.

    Args:
        places: (M,) int64, places of the images in the set.
        sizes: (M, 2) int64 (H, W).
        objects: (M,) int64 how many each has.
    """

    places: NDArray[np.int64]
    sizes: NDArray[np.int64]
    objects: NDArray[np.int64]


def extents(samples: Sequence[Sample]) -> Extents:
    """Sizes and objects: of all images where they are annotated or in memory, else of some, decoded, evenly spread."""
    samples = without_proposals(samples)
    if isinstance(samples, Dataset):
        table, rows = samples.records.table, samples.records.rows
        objects = np.diff(table.first)[rows].astype(np.int64)
        return Extents(np.arange(len(rows)), table.sizes[rows].astype(np.int64), objects)
    count = len(samples) if isinstance(samples, list | tuple) else min(len(samples), _DECODED)
    places = np.arange(count) * len(samples) // count
    targets = [samples[int(place)].target for place in places]
    sizes = np.array([target.size for target in targets], np.int64)
    return Extents(places, sizes, np.array([len(target) for target in targets], np.int64))


def worst_batch(
    samples: Sequence[Sample], preparation: Preparation, augmentation: Sequence[Transform], images: int, seed: int
) -> TrainBatch:
    """A batch of the largest padded size with the most objects, made of real images stretched to that size.

    Args:
        samples: the training split.
        preparation: the system's own.
        augmentation: of the stage.
        images: in the batch.
        seed: of the run.
    """
    known = extents(samples)
    if known.sizes.min() > 0 and not any(transform.magnifies for transform in augmentation):
        every = zip(known.sizes.tolist(), known.objects.tolist(), known.places.tolist(), strict=True)
        drawn = [(preparation.size_for((height, width)), count, place, 0) for (height, width), count, place in every]
    else:
        drawn = _drawn(samples, known, preparation, augmentation, seed)
    height, width = _padded([size for size, _, _, _ in drawn], images)
    fullest: dict[int, int] = {}
    for _, _, place, epoch in sorted(drawn, key=lambda each: -each[1]):
        fullest.setdefault(place, epoch)
    chosen = list(itertools.islice(itertools.cycle(list(fullest.items())[:images]), images))
    stretched = []
    for place, epoch in chosen:
        sample = apply(augmentation, samples[place], sample_rng(seed, epoch, place))
        stretched.append(Resize((height, width))(sample, sample_rng(seed, epoch, place)))
    return _batch(stretched, replace(preparation, short_side=min(height, width), long_side=max(height, width)))


_Drawn = tuple[Size, int, int, int]
"""Prepared size, objects, place in the set, epoch."""


def _drawn(
    samples: Sequence[Sample],
    known: Extents,
    preparation: Preparation,
    augmentation: Sequence[Transform],
    seed: int,
) -> list[_Drawn]:
    """What the augmentation makes of the most extreme images."""
    height, width = known.sizes[:, 0], known.sizes[:, 1]
    shape = height / np.maximum(width, 1)
    ways = (shape, -shape, height * width, known.objects)
    extreme = dict.fromkeys(int(known.places[i]) for way in ways for i in _most(way, _EXTREMES))
    found = []
    for place in extreme:
        sample = samples[place]
        for epoch in range(_EPOCHS):
            target = apply(augmentation, sample, sample_rng(seed, epoch, place)).target
            found.append((preparation.size_for(target.size), len(target), place, epoch))
    return found


def _most(values: NDArray[np.int64] | NDArray[np.float64], count: int) -> list[int]:
    """Places of the largest values, the first of equals first."""
    return [int(place) for place in np.argsort(-values, kind="stable")[:count]]


def _padded(sizes: Sequence[Size], images: int) -> Size:
    """The largest (H, W) that a batch of so many of the sizes is padded to, before whole strides."""
    if images == 1:
        return max(sizes, key=lambda size: size[0] * size[1])
    return max(height for height, _ in sizes), max(width for _, width in sizes)


def _batch(samples: Sequence[Sample], preparation: Preparation) -> TrainBatch:
    images = preparation.batch_of(samples)
    targets = tuple(preparation.target(sample.target) for sample in samples)
    return TrainBatch(images, targets, tuple(sample.path or f"image {sample.image_id}" for sample in samples))
