"""What a transform is: a frozen value that turns one sample into another with the random numbers that it is given.

Random numbers come from outside, seeded by (seed, epoch, index of the image), so that a sample looks the same however
many workers load it and wherever a run is resumed.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from sightline.structures import Sample


class Transform(ABC):
    """One change of an image together with its boxes, masks and keypoints.

    Subclasses are frozen dataclasses, so that a recipe can be printed, compared and saved.

    Attributes:
        magnifies: whether a part of the image may come out larger than it went in; then its full size is needed.
    """

    magnifies: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """A new sample; the one that went in is not changed."""


def apply(transforms: Sequence[Transform], sample: Sample, rng: np.random.Generator) -> Sample:
    """The sample after all transforms, in order."""
    for transform in transforms:
        sample = transform(sample, rng)
    return sample
