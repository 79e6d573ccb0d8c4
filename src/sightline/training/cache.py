"""Decoded images kept in memory where the whole set fits, so that every epoch after the first costs no decoding."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

import torch

from sightline.structures import Classes, Sample, Size, Target

LARGEST_CACHE = 1 << 30
"""Bytes; a set that would take more, or more than a quarter of the free memory, is decoded in every epoch."""

_PROBES = 8


@dataclass(frozen=True)
class HeldRecord:
    """What is known of a held image beside its pixels.

    Args:
        image_id: the id that the data set's files give the image.
        size: (H, W) of the image.
    """

    image_id: int
    size: Size


@dataclass(frozen=True, eq=False)
class HeldSamples(Sequence[Sample]):
    """Decoded samples that answer as the data set that they come from, so that an evaluator need not decode again.

    Args:
        samples: held in memory.
        classes: what the labels mean.
    """

    samples: Sequence[Sample]
    classes: Classes

    @property
    def records(self) -> tuple[HeldRecord, ...]:
        """One an image."""
        return tuple(HeldRecord(sample.image_id, sample.target.size) for sample in self.samples)

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> "HeldSamples": ...

    def __getitem__(self, index: int | slice) -> "Sample | HeldSamples":
        if isinstance(index, slice):
            return HeldSamples(self.samples[index], self.classes)
        return self.samples[index]

    def target(self, index: int) -> Target:
        """The truth of one image."""
        return self.samples[index].target


def hold_in_memory(
    samples: Sequence[Sample], progress: Callable[[int, int], None] | None = None
) -> tuple[Sequence[Sample], str]:
    """The samples, decoded once if they fit, and one line for the log.

    Workers that are forked share the memory with this process.

    Args:
        samples: of a data set.
        progress: called with images decoded and images in all.
    """
    count = len(samples)
    if isinstance(samples, list | tuple) or count == 0:
        return samples, f"{count} images, in memory already"
    probes = [samples[i * count // min(count, _PROBES)] for i in range(min(count, _PROBES))]
    needed = count * max(sample_bytes(sample) for sample in probes)
    limit = min(LARGEST_CACHE, _free_memory() // 4)
    if needed > limit:
        return samples, f"{count} images, about {needed >> 20} MB decoded: read from disk in every epoch"
    held = []
    for index in range(count):
        held.append(samples[index])
        if progress is not None:
            progress(index + 1, count)
    size = sum(sample_bytes(sample) for sample in held)
    return held, f"{count} images, decoded once and kept in {max(1, size >> 20)} MB of memory"


def sample_bytes(sample: Sample) -> int:
    """Bytes of a sample's pixels and masks."""
    masks = sample.target.masks
    return _bytes(sample.image) + (0 if masks is None else _bytes(masks))


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _free_memory() -> int:
    if sys.platform == "linux":
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 4 * LARGEST_CACHE
