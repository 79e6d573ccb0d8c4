"""Zooming out: the image on a larger canvas, so that its objects become small (SSD, Liu et al. 2016, section 3.6)."""

from dataclasses import dataclass

import numpy as np

from sightline.structures import Sample, Size
from sightline.transforms.checks import require_colour, require_probability, require_range
from sightline.transforms.pipeline import Transform
from sightline.transforms.placement import Placement, place, whole

IMAGENET_GREY = (124, 116, 104)
"""The mean colour of ImageNet in 0..255, which a normalised image has as 0."""


@dataclass(frozen=True)
class Expand(Transform):
    """Lays an image somewhere on a canvas 1 to 4 times as wide and high, with probability ``p``.

    The paper's "16x the original image size" is by area. One factor is drawn for both sides, as torchvision and the
    authors' code do it.

    Args:
        sides: lowest and highest factor of the sides, at least 1.
        p: probability of an expansion.
        fill: colour of the canvas, 0..255.
    """

    sides: tuple[float, float] = (1.0, 4.0)
    p: float = 0.5
    fill: tuple[int, int, int] = IMAGENET_GREY

    def __post_init__(self) -> None:
        require_range(self, "sides", self.sides, 1.0)
        require_probability(self, "p", self.p)
        require_colour(self, "fill", self.fill)

    def draw(self, source: Size, rng: np.random.Generator) -> Placement:
        """Where an image of size ``source`` goes."""
        if rng.random() >= self.p:
            return whole(source)
        factor = rng.uniform(*self.sides)
        size = int(source[0] * factor), int(source[1] * factor)
        offset = (int(rng.random() * (size[0] - source[0])), int(rng.random() * (size[1] - source[1])))
        return Placement(source, whole(source).window, source, offset, size)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample, on a canvas or as it was."""
        placement = self.draw(sample.target.size, rng)
        return sample if placement.size == placement.source else place(sample, placement, self.fill)
