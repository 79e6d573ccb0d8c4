"""Uniform random numbers that belong to an image: what is drawn for it does not depend on the images beside it.

A number is a hash of the image's seed, of what it is drawn for and of its place: the finaliser of SplitMix64 (Steele,
Lea and Flood 2014, "Fast splittable pseudorandom number generators", figure 17) in integer arithmetic, which is the
same on every device. So a batch that is spread over several processes draws what it would draw in one.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15
_STREAM = -3335678366873096957  # an odd number of 64 random bits, to keep apart what is drawn for one image
_BITS = 24


def uniform(seeds: Sequence[int], shape: tuple[int, int], *, stream: int, device: torch.device) -> Tensor:
    """(B, N) float32 in 0..1, below 1.

    Args:
        seeds: one an image; without any, the numbers come from torch's generator of the device.
        shape: B images, N numbers each; a longer row begins with the numbers of a shorter one.
        stream: what the numbers are for; those of two streams are independent.
        device: where to.

    Raises:
        ValueError: seeds of more or fewer than B images.
    """
    if not seeds:
        return torch.rand(shape, device=device)
    if len(seeds) != shape[0]:
        raise ValueError(f"{shape[0]} images need as many seeds, got {len(seeds)}")
    places = torch.arange(1, shape[1] + 1, device=device) * _GOLDEN
    starts = torch.tensor(seeds, device=device) ^ (stream * _STREAM % 2**63)
    hashed = _mixed(_mixed(starts)[:, None] + places)
    numbers: Tensor = _shifted(hashed, 64 - _BITS).float() / 2**_BITS
    return numbers


def _mixed(z: Tensor) -> Tensor:
    """SplitMix64's finaliser; integers wrap around."""
    z = (z ^ _shifted(z, 30)) * -4658895280553007687  # 0xBF58476D1CE4E5B9
    z = (z ^ _shifted(z, 27)) * -7723592293110705685  # 0x94D049BB133111EB
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, bits: int) -> Tensor:
    """To the right, filled with zeros."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
