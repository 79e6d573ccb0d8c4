"""Changes of colour: brightness, contrast, saturation, hue and the order of the channels.

Sources: Howard, "Some improvements on deep convolutional neural network based image classification" (2013), and the
photometric distortion of SSD (Liu et al. 2016, section 2.2; the authors' code). Factors, probabilities and formulas
are those of torchvision.transforms.v2: brightness scales, contrast blends with the image's mean grey, saturation with
each pixel's own grey, hue turns in HSV.

Where it departs: the image becomes float once and is rounded once at the end, where torchvision truncates to whole
grey levels after every step; results differ by about one level a step. The HSV turn is one closed formula without
branches.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sightline.structures import Sample
from sightline.transforms.checks import require_probability, require_range
from sightline.transforms.pipeline import Transform

GREY = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601), with torchvision's digits."""

Range = tuple[float, float]
"""(lowest, highest)."""


@dataclass(frozen=True)
class Colours:
    """One drawn change of colour.

    Args:
        steps: (name, factor) in order; names are brightness, contrast, saturation and hue (a part of a full turn).
        order: which channel each of red, green and blue is taken from, at the end.
    """

    steps: tuple[tuple[str, float], ...]
    order: tuple[int, int, int] = (0, 1, 2)

    @property
    def changes(self) -> bool:
        """Whether it does anything."""
        return bool(self.steps) or self.order != (0, 1, 2)


def shift_brightness(pixels: Tensor, factor: float, bound: float) -> None:
    """Scales pixels (3, P) in place; 0 is black, 1 leaves them."""
    pixels.mul_(factor).clamp_(0, bound)


def shift_contrast(pixels: Tensor, factor: float, bound: float, sample: Tensor) -> None:
    """Blends pixels (3, P) in place with the mean grey of ``sample`` (3, S); 0 is grey, 1 leaves them."""
    mean = torch.dot(sample.mean(dim=1), sample.new_tensor(GREY))
    pixels.mul_(factor).add_((1 - factor) * mean).clamp_(0, bound)


def shift_saturation(pixels: Tensor, factor: float, bound: float) -> None:
    """Blends pixels (3, P) in place with their own grey; 0 is grey, 1 leaves them."""
    red, green, blue = pixels
    grey = red.mul(GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2]).mul_(1 - factor)
    pixels.mul_(factor).add_(grey).clamp_(0, bound)


def shift_hue(pixels: Tensor, turn: float) -> None:
    """Turns the hue of pixels (3, P) in place in HSV, by a part -0.5..0.5 of a full turn.

    With M and m the largest and smallest channel and c = M - m, the channels scaled to r, g, b in 0..1 hold a 0 and a
    1, and in each of the six sectors of HSV the hue comes to 1 - r + g + b for g >= b, and 6 less that otherwise.
    Back, each channel is m + c times a trapezoid of the hue (Smith, "Color gamut transform pairs", 1978).
    """
    red, green, blue = pixels
    low, high = torch.minimum(red, green).minimum(blue), torch.maximum(red, green).maximum(blue)
    chroma = high.sub_(low)
    # Grey pixels have no hue; any finite one will do, for it is multiplied by a chroma of 0.
    distance = (red - green).sub_(blue).add_(low).div_(chroma.clamp(min=1e-12)).add_(2.0)
    hue = torch.copysign(distance, green - blue).neg_().add_(3.0 + 6.0 * turn)
    hue.sub_((hue * (1 / 6)).floor_().mul_(6.0))
    torch.addcmul(low, chroma, (hue - 3.0).abs_().sub_(1.0).clamp_(0, 1), out=red)
    torch.addcmul(low, chroma, (hue - 2.0).abs_().neg_().add_(2.0).clamp_(0, 1), out=green)
    torch.addcmul(low, chroma, hue.sub_(4.0).abs_().neg_().add_(2.0).clamp_(0, 1), out=blue)


def paint(pixels: Tensor, colours: Colours, bound: float, sample: Tensor | None = None) -> None:
    """Applies the steps of ``colours`` (not its order of channels) to pixels in place.

    Args:
        pixels: (3, P) float32 in 0..bound, contiguous.
        colours: what to do.
        bound: white; 255 or 1.
        sample: (3, S) pixels whose mean grey contrast is about, a view of ``pixels``; default all.
    """
    for name, factor in colours.steps:
        if name == "brightness":
            shift_brightness(pixels, factor, bound)
        elif name == "contrast":
            shift_contrast(pixels, factor, bound, pixels if sample is None else sample)
        elif name == "saturation":
            shift_saturation(pixels, factor, bound)
        elif name == "hue":
            shift_hue(pixels, factor)
        else:
            raise ValueError(f"there is no colour step {name!r}")


def recolour(image: Tensor, colours: Colours) -> Tensor:
    """A (3, H, W) image, uint8 or float in 0..1, with its colours changed."""
    if not colours.changes:
        return image
    pixels = image.to(torch.float32, memory_format=torch.contiguous_format, copy=True).flatten(1)
    floating = image.is_floating_point()
    paint(pixels, colours, 1.0 if floating else 255.0)
    if not floating:
        pixels.round_()
    changed = torch.empty(image.shape, dtype=image.dtype, device=image.device)
    reorder(pixels.view(image.shape), changed, colours.order)
    return changed


def reorder(source: Tensor, out: Tensor, order: tuple[int, int, int]) -> None:
    """Writes the channels of ``source`` (3, H, W) into ``out`` in another order, with out's dtype."""
    for channel, origin in enumerate(order):
        out[channel].copy_(source[origin])


@dataclass(frozen=True)
class PhotometricDistortion(Transform):
    """The photometric distortion of SSD: each step with probability ``p``, contrast first or last by chance.

    The order is brightness, contrast, saturation, hue, or with contrast after hue; then the channels trade places.

    Args:
        brightness: range of the factor.
        contrast: range of the factor.
        saturation: range of the factor.
        hue: range in parts of a full turn, within -0.5..0.5; 0.05 is the authors' 18 degrees.
        p: probability of each step, and of a random order of channels.
    """

    magnifies: ClassVar[bool] = False

    brightness: Range = (0.875, 1.125)
    contrast: Range = (0.5, 1.5)
    saturation: Range = (0.5, 1.5)
    hue: Range = (-0.05, 0.05)
    p: float = 0.5

    def __post_init__(self) -> None:
        require_factors(self, self.brightness, self.contrast, self.saturation, self.hue)
        require_probability(self, "p", self.p)

    def draw(self, rng: np.random.Generator) -> Colours:
        """What to do to one image."""
        ranges = {
            "brightness": self.brightness,
            "contrast": self.contrast,
            "saturation": self.saturation,
            "hue": self.hue,
        }
        steps = [(name, rng.uniform(*limits)) for name, limits in ranges.items() if rng.random() < self.p]
        if rng.random() >= 0.5:
            steps.sort(key=lambda step: step[0] == "contrast")
        if rng.random() >= self.p:
            return Colours(tuple(steps))
        red, green, blue = rng.permutation(3).tolist()
        return Colours(tuple(steps), (red, green, blue))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample in other colours; boxes and all else stay."""
        return replace(sample, image=recolour(sample.image, self.draw(rng)))


@dataclass(frozen=True)
class ColourJitter(Transform):
    """Brightness, contrast, saturation and hue in random order, all of them every time.

    A range that holds nothing but the factor that leaves an image as it is (1, for hue 0) switches its step off.

    Args:
        brightness: range of the factor.
        contrast: range of the factor.
        saturation: range of the factor.
        hue: range in parts of a full turn, within -0.5..0.5.
    """

    magnifies: ClassVar[bool] = False

    brightness: Range = (0.8, 1.2)
    contrast: Range = (0.8, 1.2)
    saturation: Range = (0.8, 1.2)
    hue: Range = (0.0, 0.0)

    def __post_init__(self) -> None:
        require_factors(self, self.brightness, self.contrast, self.saturation, self.hue)

    def draw(self, rng: np.random.Generator) -> Colours:
        """What to do to one image."""
        steps = [
            ("brightness", rng.uniform(*self.brightness)),
            ("contrast", rng.uniform(*self.contrast)),
            ("saturation", rng.uniform(*self.saturation)),
            ("hue", rng.uniform(*self.hue)),
        ]
        shuffled = [steps[index] for index in rng.permutation(4).tolist()]
        return Colours(tuple(step for step in shuffled if step[1] != (0.0 if step[0] == "hue" else 1.0)))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample in other colours; boxes and all else stay."""
        return replace(sample, image=recolour(sample.image, self.draw(rng)))


def require_factors(owner: object, brightness: Range, contrast: Range, saturation: Range, hue: Range) -> None:
    """Raises ``ConfigError`` unless the ranges of a colour transform make sense."""
    for name, limits in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
        require_range(owner, name, limits, 0.0)
    require_range(owner, "hue", hue, -0.5, 0.5)
