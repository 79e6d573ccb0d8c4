"""SSD's whole augmentation in one pass over the pixels (Liu et al. 2016, sections 2.2 and 3.6).

The plain chain distorts the colours of the whole image, lays it on a canvas of up to 16 times its area, crops that,
flips and resizes it. Here the same random numbers are drawn in the same order, but only the part of the image that
ends up in the output is ever touched: it is cut out, resized, mirrored and only then recoloured, and the canvas is
never made. Given one seed, the result is that of the plain chain (``SSDAugmentation.chain``) but for this:

* the picture on the canvas is snapped to whole pixels of the output, by half a pixel at most, and boxes, masks and
  keypoints with it, so that they fit it as before;
* colours are changed after resizing, not before, which differs where a step clips;
* the mean grey that contrast turns about is taken from a grid of some 3,000 pixels of the image.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sightline.structures import Sample, Size
from sightline.transforms.checks import require_size
from sightline.transforms.colour import Colours, PhotometricDistortion, paint, reorder
from sightline.transforms.crop import IoUCrop
from sightline.transforms.expand import Expand
from sightline.transforms.flip import HorizontalFlip
from sightline.transforms.pipeline import Transform
from sightline.transforms.placement import (
    Placement,
    Window,
    filled,
    inside,
    move_boxes,
    move_content,
    moved,
)
from sightline.transforms.resize import Resize

GRID = 56
"""Rows and columns of the grid of pixels, at least, that the mean grey is taken from."""


@dataclass(frozen=True)
class SSDAugmentation(Transform):
    """Photometric distortion, expansion, IoU crop, flip and resize as one transform.

    Args:
        size: (H, W) of the output.
        colour: the photometric distortion.
        expand: the zoom-out.
        crop: the crop.
        flip: the flip.
    """

    size: Size = (300, 300)
    colour: PhotometricDistortion = field(default_factory=PhotometricDistortion)
    expand: Expand = field(default_factory=Expand)
    crop: IoUCrop = field(default_factory=IoUCrop)
    flip: HorizontalFlip = field(default_factory=HorizontalFlip)

    def __post_init__(self) -> None:
        require_size(self, self.size)

    def chain(self) -> tuple[Transform, ...]:
        """The same as plain transforms, one after the other: slower, and what this is tested against."""
        return self.colour, self.expand, self.crop, self.flip, Resize(self.size)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The augmented sample."""
        source = sample.target.size
        colours = self.colour.draw(rng)
        canvas = self.expand.draw(source, rng)
        window = self.crop.draw(move_boxes(sample.target.boxes, canvas), canvas.size, rng)
        mirrored = self.flip.draw(rng)
        placement = compose(canvas, window, self.size, mirrored)
        image = render(sample.image, placement, colours, self.expand.fill)
        return moved(sample, image, placement, self.flip.keypoint_pairs)


def compose(canvas: Placement, window: Window | None, size: Size, mirrored: bool) -> Placement:
    """An expansion, a crop of its canvas, a resize and a flip as one placement, snapped to whole output pixels.

    Args:
        canvas: where the image lies on the canvas.
        window: what is cut out of the canvas; None for all. It overlaps the image.
        size: (H, W) that the window is resized to.
        mirrored: whether the window is flipped left to right.
    """
    x1, y1, x2, y2 = window or (0, 0, canvas.size[1], canvas.size[0])
    top, left = canvas.offset
    # What is seen of the image: from, to in pixels of the image; from, to in pixels of the output.
    row1, row2, out_y1, out_y2 = _seen(canvas.source[0], top, y1, y2, size[0])
    column1, column2, out_x1, out_x2 = _seen(canvas.source[1], left, x1, x2, size[1])
    if mirrored:
        out_x1, out_x2 = size[1] - out_x2, size[1] - out_x1
    content = out_y2 - out_y1, out_x2 - out_x1
    return Placement(canvas.source, (column1, row1, column2, row2), content, (out_y1, out_x1), size, mirrored)


def _seen(length: int, shift: int, start: int, stop: int, out: int) -> tuple[int, int, int, int]:
    """Along one axis, what start..stop of a canvas shows of an image at ``shift``, and where in 0..out it lands."""
    first, last = max(0, start - shift), min(length, stop - shift)
    scale = out / (stop - start)
    low = min(round((first + shift - start) * scale), out - 1)
    high = max(round((last + shift - start) * scale), low + 1)
    return first, last, low, high


def render(image: Tensor, placement: Placement, colours: Colours, fill: tuple[int, int, int]) -> Tensor:
    """The placed image with its colours changed and ``fill`` around it, (3, *placement.size), of the image's dtype."""
    content = move_content(image, placement)
    covers = placement.content == placement.size
    if covers and not colours.changes:
        return content.contiguous()
    out = image.new_empty((3, *placement.size)) if covers else filled(placement.size, fill, image)
    if colours.steps:
        content = _painted(content, image, colours)
    reorder(content, inside(out, placement), colours.order)
    return out


def _painted(content: Tensor, image: Tensor, colours: Colours) -> Tensor:
    """The content (3, h, w) as float32 after the steps of ``colours``, rounded where the image is uint8.

    A grid of the whole image's pixels goes along, behind those of the content, and through all the same steps, so
    that contrast finds there the mean grey that the whole image would have at its turn.
    """
    grid = image[:, :: max(1, image.shape[1] // GRID), :: max(1, image.shape[2] // GRID)]
    count = content[0].numel()
    pixels = torch.empty((3, count + grid[0].numel()), device=image.device)
    pixels[:, :count].view(content.shape).copy_(content)
    pixels[:, count:].view(grid.shape).copy_(grid)
    floating = image.is_floating_point()
    paint(pixels, colours, 1.0 if floating else 255.0, pixels[:, count:])
    painted = pixels[:, :count].view(content.shape)
    return painted if floating else painted.round_()
