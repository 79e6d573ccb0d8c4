"""Proposers that are simple enough to know what they must give."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sightline.proposals.proposer import ImageProposals, Proposer


def bounded(boxes: Tensor, image: Tensor) -> Tensor:
    height, width = image.shape[1:]
    clipped = torch.minimum(boxes.clamp(min=0), torch.tensor([width, height] * 2, dtype=torch.float32))
    return clipped[(clipped[:, 2:] - clipped[:, :2] > 1e-3).all(dim=1)]


@dataclass(frozen=True)
class Relative(Proposer):
    """The same parts of whatever image: equivariant to scaling, blind to everything else."""

    name: ClassVar[str] = "relative"
    scored: ClassVar[bool] = True

    def propose(self, image: Tensor, count: int) -> ImageProposals:
        generator = torch.Generator().manual_seed(0)
        parts = torch.rand(300, 4, generator=generator, dtype=torch.float64)
        corners = torch.cat([torch.minimum(parts[:, :2], parts[:, 2:]), torch.maximum(parts[:, :2], parts[:, 2:])], 1)
        sides = torch.tensor([image.shape[2], image.shape[1]] * 2)
        boxes = bounded((corners * sides).float(), image)[:count]
        return ImageProposals(boxes, torch.linspace(1, 0, len(boxes)))


@dataclass(frozen=True)
class Restless(Proposer):
    """Boxes at random, other ones for every other pixel content, a few for each image."""

    name: ClassVar[str] = "restless"

    def propose(self, image: Tensor, count: int) -> ImageProposals:
        weights = torch.arange(1, image.numel() + 1, dtype=torch.float64)
        seed = int((image.flatten().double() * weights).sum().item()) % 2**31
        centre, side = torch.rand(2, min(count, 40), 2, generator=torch.Generator().manual_seed(seed))
        sides = torch.tensor([image.shape[2], image.shape[1]])
        half = side * 0.15 + 0.02
        return ImageProposals(bounded(torch.cat([(centre - half) * sides, (centre + half) * sides], 1), image))


@dataclass(frozen=True)
class Blobs(Proposer):
    """The box around all pixels of more than half the brightness: it moves with the image."""

    name: ClassVar[str] = "blobs"
    controllable: ClassVar[bool] = False
    segments: ClassVar[bool] = True

    def propose(self, image: Tensor, count: int) -> ImageProposals:
        rows, columns = (image.float().mean(dim=0) > 127).nonzero(as_tuple=True)
        if not len(rows):
            return ImageProposals(torch.zeros(0, 4))
        corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        return ImageProposals(torch.tensor([corners], dtype=torch.float32)[:count])
