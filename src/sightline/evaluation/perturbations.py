"""The changes to images under which proposals should stay where they are.

Source: Hosang, Benenson, Dollar and Schiele, "What makes for effective detection proposals?", PAMI 2016, section 3:
scale 0.5 to 2, JPEG quality 5 to 100, rotation -20 to 20 degrees, brightness 50% to 150%, Gaussian blur of deviation 0
to 8 pixels, salt and pepper on 1 to 1000 pixels. Those ranges are sampled here at fewer places than in the paper, and
the places where nothing changes are left out. A turned box becomes a box of the same size around the turned centre.

Nothing is drawn that does not come from a seed.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from io import BytesIO
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sightline.structures import Size


@dataclass(frozen=True)
class Perturbation(ABC):
    """A change to an image, and the way back for boxes found in it.

    Args:
        level: how far the image is changed, in ``unit``.

    Attributes:
        kind: the family that it belongs to.
        unit: what its level is measured in.
    """

    kind: ClassVar[str]
    unit: ClassVar[str]
    level: float

    @abstractmethod
    def apply(self, image: Tensor) -> Tensor:
        """The changed image, (3, H', W') uint8, from (3, H, W) uint8."""

    def reference(self, image: Tensor) -> Tensor:
        """The part of the image that the change keeps in sight, and that its proposals are compared with."""
        return image

    def back(self, boxes: Tensor, size: Size) -> Tensor:
        """Boxes (N, 4) of the changed image in pixels of the reference.

        Args:
            boxes: (N, 4) xyxy.
            size: (H, W) of the image before the change.
        """
        del size
        return boxes


@dataclass(frozen=True)
class Scale(Perturbation):
    """Resizing by a factor, bicubic; with antialiasing where the image shrinks."""

    kind: ClassVar[str] = "scale"
    unit: ClassVar[str] = "times the size"

    def size_for(self, size: Size) -> Size:
        """(H, W) that an image of ``size`` gets; never less than 1 pixel."""
        return max(1, round(size[0] * self.level)), max(1, round(size[1] * self.level))

    def apply(self, image: Tensor) -> Tensor:
        """The resized image."""
        height, width = self.size_for((image.shape[1], image.shape[2]))
        return _pixels(_picture(image).resize((width, height), Image.Resampling.BICUBIC))

    def back(self, boxes: Tensor, size: Size) -> Tensor:
        """Boxes at the size of the reference."""
        height, width = self.size_for(size)
        return boxes * boxes.new_tensor([size[1] / width, size[0] / height] * 2)


@dataclass(frozen=True)
class JPEG(Perturbation):
    """Compression as a JPEG file and back."""

    kind: ClassVar[str] = "JPEG"
    unit: ClassVar[str] = "quality in %"

    def apply(self, image: Tensor) -> Tensor:
        """The image as the file gives it back."""
        file = BytesIO()
        _picture(image).save(file, "JPEG", quality=round(self.level))
        return _pixels(Image.open(file).convert("RGB"))


LARGEST_ANGLE = 20.0
"""Degrees. The part of an image that stays in sight under all smaller turns too is what all of them are compared on."""


@dataclass(frozen=True)
class Rotation(Perturbation):
    """A clockwise turn, bicubic, cut to the largest box of the image's aspect that 20 degrees leave whole.

    All angles are cut to the same box, so that all of them see the same part of the image.
    """

    kind: ClassVar[str] = "rotation"
    unit: ClassVar[str] = "degrees"

    def __post_init__(self) -> None:
        if not -LARGEST_ANGLE <= self.level <= LARGEST_ANGLE:
            raise ValueError(f"a rotation must be within {LARGEST_ANGLE:g} degrees, got {self.level}")

    def apply(self, image: Tensor) -> Tensor:
        """The turned and cut image."""
        size = (image.shape[1], image.shape[2])
        height, width = inner_size(size)
        cos, sin = self._direction()
        # From a point of the result, counted from its corner, to the point of the image that lies there.
        right = size[1] / 2 - cos * width / 2 - sin * height / 2
        down = size[0] / 2 + sin * width / 2 - cos * height / 2
        matrix = (cos, sin, right, -sin, cos, down)
        turned = _picture(image).transform(
            (width, height), Image.Transform.AFFINE, matrix, resample=Image.Resampling.BICUBIC
        )
        return _pixels(turned)

    def reference(self, image: Tensor) -> Tensor:
        """The same box cut from the image as it is."""
        height, width = inner_size((image.shape[1], image.shape[2]))
        top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
        return image[:, top : top + height, left : left + width].contiguous()

    def back(self, boxes: Tensor, size: Size) -> Tensor:
        """Boxes of the same sizes around the centres, turned back; without those whose centre leaves the picture."""
        height, width = inner_size(size)
        cos, sin = self._direction()
        middle = boxes.new_tensor([width / 2, height / 2])
        x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2 - middle).unbind(1)
        centres = torch.stack([cos * x + sin * y, cos * y - sin * x], dim=1) + middle
        half = (boxes[:, 2:] - boxes[:, :2]) / 2
        inside = ((centres >= 0) & (centres <= 2 * middle)).all(dim=1)
        return torch.cat([centres - half, centres + half], dim=1)[inside]

    def _direction(self) -> tuple[float, float]:
        return math.cos(math.radians(self.level)), math.sin(math.radians(self.level))


def inner_size(size: Size) -> Size:
    """(H, W) of the largest box of an image's aspect, about its centre, that a turn of 20 degrees keeps inside it.

    Each side differs from the image's by a whole even number of pixels, so that no turn is no resampling.
    """
    height, width = size
    cos, sin = math.cos(math.radians(LARGEST_ANGLE)), math.sin(math.radians(LARGEST_ANGLE))
    scale = min(width / (width * cos + height * sin), height / (width * sin + height * cos))
    rows, columns = (side - 2 * min(math.ceil(side * (1 - scale) / 2), (side - 1) // 2) for side in size)
    return rows, columns


@dataclass(frozen=True)
class Brightness(Perturbation):
    """The brightness of HSB scaled and cut off at white; hue and saturation stay."""

    kind: ClassVar[str] = "brightness"
    unit: ClassVar[str] = "% of the brightness"

    def apply(self, image: Tensor) -> Tensor:
        """The brighter or darker image."""
        values = image.float()
        brightness = values.amax(dim=0, keepdim=True).clamp(min=1.0)
        scale = torch.minimum(torch.full_like(brightness, self.level / 100), 255 / brightness)
        return (values * scale).round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class Blur(Perturbation):
    """A Gaussian blur; beyond its border the image goes on as at it."""

    kind: ClassVar[str] = "blur"
    unit: ClassVar[str] = "pixels of deviation"

    def apply(self, image: Tensor) -> Tensor:
        """The blurred image."""
        radius = math.ceil(4 * self.level)
        steps = torch.arange(-radius, radius + 1, dtype=torch.float32)
        kernel = torch.exp(-((steps / self.level) ** 2) / 2)
        kernel /= kernel.sum()
        values = F.pad(image.float()[:, None], (radius, radius, radius, radius), mode="replicate")
        values = F.conv2d(F.conv2d(values, kernel[None, None, None]), kernel[None, None, :, None])
        return values[:, 0].round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class SaltAndPepper(Perturbation):
    """Some pixels made white or black by the toss of a coin each, drawn from the seed; all where there are no more."""

    kind: ClassVar[str] = "salt and pepper"
    unit: ClassVar[str] = "pixels"
    seed: int = 0

    def apply(self, image: Tensor) -> Tensor:
        """The noisy image."""
        count = round(self.level)
        rng = np.random.default_rng((self.seed, count))
        changed = image.flatten(1).clone()
        places = rng.choice(changed.shape[1], min(count, changed.shape[1]), replace=False)
        white = rng.random(len(places)) < 0.5
        changed[:, torch.from_numpy(places)] = torch.from_numpy(np.where(white, 255, 0).astype(np.uint8))
        return changed.view(image.shape)


PERTURBATIONS: tuple[Perturbation, ...] = (
    *(Scale(factor) for factor in (0.5, 0.75, 0.9, 0.99, 1.01, 1.1, 1.5, 2.0)),
    *(JPEG(quality) for quality in (5, 25, 50, 75, 100)),
    *(Rotation(degrees) for degrees in (-20, -10, -5, 5, 10, 20)),
    *(Brightness(percent) for percent in (50, 75, 90, 110, 125, 150)),
    *(Blur(deviation) for deviation in (0.5, 1, 2, 4, 8)),
    *(SaltAndPepper(pixels) for pixels in (1, 10, 100, 1000)),
)
"""The paper's six kinds over the paper's ranges."""

KINDS = tuple(dict.fromkeys(each.kind for each in PERTURBATIONS))
"""Their names, in order."""


def _picture(image: Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())


def _pixels(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
