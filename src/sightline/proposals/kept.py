"""Proposals of a whole set of images in one file, for a later stage of the training that made them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sightline.errors import DataError
from sightline.files import replace_atomically, writing
from sightline.structures import Sample


def write_proposals(path: Path, proposals: Sequence[Tensor]) -> None:
    """Write the boxes (P_i, 4) of each image, in one move.

    Raises:
        SightlineError: the disk is full.
    """
    counts = torch.tensor([len(boxes) for boxes in proposals], dtype=torch.int64)
    boxes = torch.cat([torch.zeros(0, 4), *proposals]).contiguous()
    with writing(path, "make room and go on with --resume"):
        path.parent.mkdir(exist_ok=True)
        replace_atomically(path, lambda beside: save_file({"boxes": boxes, "counts": counts}, beside))


def read_proposals(path: Path) -> tuple[Tensor, ...]:
    """The boxes of each image as they were written.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        tensors = load_file(path)
        return torch.split(tensors["boxes"], tensors["counts"].tolist())
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise DataError(
            f"cannot be read as the proposals of an earlier stage ({error})",
            place=path,
            cause="it was deleted, or damaged by a disk that failed",
            cure="start the training again",
        ) from error


@dataclass(frozen=True, eq=False)
class ProposedSamples(Sequence[Sample]):
    """Samples with proposals beside them; only the proposals are held here.

    Args:
        samples: the images, wherever they are.
        proposals: (P_i, 4) boxes of each, in its pixels.

    Raises:
        DataError: more or fewer proposals than samples.
    """

    samples: Sequence[Sample]
    proposals: Sequence[Tensor]

    def __post_init__(self) -> None:
        if len(self.samples) != len(self.proposals):
            raise DataError(
                f"there are proposals of {len(self.proposals)} images for {len(self.samples)}",
                cure="start the training again: the set has changed",
            )

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> "ProposedSamples": ...

    def __getitem__(self, index: int | slice) -> "Sample | ProposedSamples":
        if isinstance(index, slice):
            return ProposedSamples(self.samples[index], self.proposals[index])
        return replace(self.samples[index], proposals=self.proposals[index])


def without_proposals(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The samples that proposals were put beside: what a data set or a list of them can say without decoding."""
    while isinstance(samples, ProposedSamples):
        samples = samples.samples
    return samples
