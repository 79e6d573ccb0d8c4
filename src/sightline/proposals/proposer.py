"""What every proposer of regions promises: class-free boxes of one image, made from its pixels alone.

A proposer that looks at the features of a network (the RPN inside Faster R-CNN) is a part of its system; here are those
that stand before a system, and any of them may stand before any (Hosang et al. 2016 compare twelve).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from sightline.classes import Size


@dataclass(frozen=True, eq=False)
class ImageProposals:
    """Boxes of one image that may hold an object of any class, best first where there are scores.

    Args:
        boxes: (P, 4) float32, xyxy in pixels of the image.
        scores: (P,) float32, not increasing; None where the proposer ranks nothing.

    Raises:
        ValueError: a shape, dtype or value that breaks the conventions.
    """

    boxes: Tensor
    scores: Tensor | None = None

    def __post_init__(self) -> None:
        boxes, scores = self.boxes, self.scores
        if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype != torch.float32:
            raise ValueError(f"proposals must be float32 of shape (P, 4), got {boxes.dtype} of {tuple(boxes.shape)}")
        if not bool((boxes[:, 2:] > boxes[:, :2]).all() & torch.isfinite(boxes).all()):
            raise ValueError("proposals must be finite with x2 > x1 and y2 > y1")
        if scores is not None and (scores.shape != (len(boxes),) or not bool((scores[:-1] >= scores[1:]).all())):
            raise ValueError("scores of proposals must be one a box and not increase")

    def __len__(self) -> int:
        return len(self.boxes)


class Proposer(ABC):
    """Makes proposals from the pixels of an image.

    Subclasses are frozen dataclasses: their fields are all that the proposals depend on beside pixels and count, so
    that cached ones are known by their settings. The same image gives the same proposals.

    Attributes:
        name: in the table of proposers.
        summary: what it does, in a few words for a table.
        source: the paper.
        version: raised whenever the same settings give other boxes than before; caches of other versions are not used.
        scored: whether proposals have scores and are ranked by them.
        controllable: whether it makes any number: as many as asked for or, of a regular grid of boxes, as many of them
            as the grid holds; if not, it gives what it finds, cut off at the count.
        segments: whether the boxes are those of segments of the image, which could be given too.
    """

    name: ClassVar[str]
    summary: ClassVar[str] = ""
    source: ClassVar[str] = ""
    version: ClassVar[int] = 1
    scored: ClassVar[bool] = False
    controllable: ClassVar[bool] = True
    segments: ClassVar[bool] = False

    @property
    def asked_anew(self) -> bool:
        """Whether it is asked anew for fewer: it makes any number and ranks nothing; its first ones say nothing."""
        return self.controllable and not self.scored

    @abstractmethod
    def propose(self, image: Tensor, count: int) -> ImageProposals:
        """At most ``count`` boxes of an image, inside it.

        Args:
            image: (3, H, W) RGB uint8 on the CPU, of any size from 1 x 1.
            count: proposals asked for, at least 1.

        Raises:
            ValueError: another image, or a count below 1.
        """

    def on(self, device: torch.device) -> Self:
        """The same proposer, at work on a device; those that have no network to move are where they are."""
        del device
        return self


def require_askable(image: Tensor, count: int) -> Size:
    """The (H, W) of an image; raises ``ValueError`` where it or the count is not what ``propose`` takes."""
    if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8 or min(image.shape) < 1:
        raise ValueError(f"an image must be uint8 of shape (3, H, W), got {image.dtype} of {tuple(image.shape)}")
    if count < 1:
        raise ValueError(f"at least 1 proposal must be asked for, got {count}")
    return image.shape[1], image.shape[2]


def as_pixels(image: Tensor) -> Tensor:
    """An image, uint8 or float in 0..1, as proposers see it: uint8 on the CPU."""
    image = image.cpu()
    return image if image.dtype == torch.uint8 else (image * 255).round().clamp(0, 255).to(torch.uint8)
