"""Decoded images kept in memory where the whole set fits, so that every epoch after the first costs no decoding."""

import os
import sys
from collections.abc import Sequence

import torch

from sightline.structures import Sample

LARGEST_CACHE = 1 << 30
"""Bytes; a set that would take more, or more than a quarter of the free memory, is decoded in every epoch."""

_PROBES = 8


def hold_in_memory(samples: Sequence[Sample]) -> tuple[Sequence[Sample], str]:
    """The samples, decoded once if they fit, and one line for the log.

    Workers that are forked share the memory with this process.
    """
    count = len(samples)
    if isinstance(samples, list | tuple) or count == 0:
        return samples, f"{count} images, in memory already"
    probes = [samples[i * count // min(count, _PROBES)] for i in range(min(count, _PROBES))]
    needed = count * max(sample_bytes(sample) for sample in probes)
    limit = min(LARGEST_CACHE, _free_memory() // 4)
    if needed > limit:
        return samples, f"{count} images, about {needed >> 20} MB decoded: read from disk in every epoch"
    held = [samples[index] for index in range(count)]
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
