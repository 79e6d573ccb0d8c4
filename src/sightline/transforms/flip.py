"""Mirroring left to right, the one augmentation that nearly every detector trains with."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sightline.structures import Sample
from sightline.transforms.checks import require, require_probability
from sightline.transforms.pipeline import Transform
from sightline.transforms.placement import Pairs, place, whole


@dataclass(frozen=True)
class HorizontalFlip(Transform):
    """Mirrors an image left to right with probability ``p``.

    Args:
        p: probability of a flip.
        keypoint_pairs: indices of keypoints that trade places (left and right eye), each at most once.
    """

    magnifies: ClassVar[bool] = False

    p: float = 0.5
    keypoint_pairs: Pairs = ()

    def __post_init__(self) -> None:
        require_probability(self, "p", self.p)
        named = [index for pair in self.keypoint_pairs for index in pair]
        sound = all(len(pair) == 2 for pair in self.keypoint_pairs) and len(set(named)) == len(named)
        sound = sound and min(named, default=0) >= 0
        require(sound, self, f"keypoint_pairs is {self.keypoint_pairs}", "give pairs that name each keypoint once")

    def draw(self, rng: np.random.Generator) -> bool:
        """Whether to flip."""
        return bool(rng.random() < self.p)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample, mirrored or not."""
        if not self.draw(rng):
            return sample
        return place(sample, whole(sample.target.size, mirrored=True), pairs=self.keypoint_pairs)
