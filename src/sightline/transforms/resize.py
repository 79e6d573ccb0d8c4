"""Resizing: to an exact size, by the short side, or into a box with bars around (letterbox).

Bilinear with antialias (torchvision.transforms.v2), which is what a picture needs that is kept as uint8; the resize of
a model's own preparation is another matter. No object is dropped, however small it becomes, unless float32 can no
longer tell its sides apart.
"""

from dataclasses import dataclass

import numpy as np

from sightline.structures import Sample, Size
from sightline.transforms.checks import require, require_colour, require_size
from sightline.transforms.pipeline import Transform
from sightline.transforms.placement import Placement, place, whole


def resized(source: Size, size: Size) -> Placement:
    """The placement that stretches a whole image to ``size``."""
    return Placement(source, (0, 0, source[1], source[0]), size, (0, 0), size)


@dataclass(frozen=True)
class Resize(Transform):
    """Stretches an image to one size, whatever its proportions.

    Args:
        size: (H, W) in pixels.
    """

    size: Size

    def __post_init__(self) -> None:
        require_size(self, self.size)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:  # noqa: ARG002
        """The sample at ``size``."""
        return place(sample, resized(sample.target.size, self.size))


@dataclass(frozen=True)
class ResizeShortSide(Transform):
    """Scales an image so that its short side has a length, unless its long side would pass a limit.

    Args:
        short_side: pixels of the short side.
        long_side: most pixels of the long side; None for no limit.
    """

    short_side: int
    long_side: int | None = None

    def __post_init__(self) -> None:
        require(self.short_side >= 1, self, f"short_side is {self.short_side}", "give at least 1 pixel")
        sound = self.long_side is None or self.long_side >= self.short_side
        require(sound, self, f"long_side is {self.long_side}", "give at least short_side, or None for no limit")

    def size_for(self, size: Size) -> Size:
        """(H, W) that an image of ``size`` is resized to; never less than 1 pixel."""
        scale = self.short_side / min(size)
        if self.long_side is not None:
            scale = min(scale, self.long_side / max(size))
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:  # noqa: ARG002
        """The scaled sample."""
        return place(sample, resized(sample.target.size, self.size_for(sample.target.size)))


@dataclass(frozen=True)
class Letterbox(Transform):
    """Scales an image to fit into a size with its proportions kept, and fills what is left in equal bars.

    Args:
        size: (H, W) of the output in pixels.
        fill: colour of the bars, 0..255.
        enlarge: whether an image smaller than ``size`` is scaled up.
    """

    size: Size
    fill: tuple[int, int, int] = (114, 114, 114)
    enlarge: bool = True

    def __post_init__(self) -> None:
        require_size(self, self.size)
        require_colour(self, "fill", self.fill)

    def placement(self, source: Size) -> Placement:
        """Where an image of size ``source`` goes."""
        scale = min(self.size[0] / source[0], self.size[1] / source[1])
        if not self.enlarge:
            scale = min(scale, 1.0)
        height = min(self.size[0], max(1, round(source[0] * scale)))
        width = min(self.size[1], max(1, round(source[1] * scale)))
        offset = ((self.size[0] - height) // 2, (self.size[1] - width) // 2)
        return Placement(source, whole(source).window, (height, width), offset, self.size)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:  # noqa: ARG002
        """The sample between its bars."""
        return place(sample, self.placement(sample.target.size), self.fill)
