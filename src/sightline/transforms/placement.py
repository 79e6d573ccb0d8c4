"""Where the pixels of an image go, and its boxes, masks and keypoints with them.

Every geometric transform here is one ``Placement``: a rectangle is cut out of the image, resized, mirrored if asked,
and laid on an output that is filled with one colour around it. A crop, a flip, a letterbox and a zoom-out each use a
part of it, and a chain of them is one placement again. Pixels are moved by torchvision.transforms.v2's functionals.

What holds for all of them:

* Boxes are clipped to what is left of the image. An object whose box is empty after that is dropped. When something
  was cut off, objects whose centre is outside are dropped (SSD, Liu et al. 2016, section 2.2), those whose box is
  thinner than ``MIN_SIDE`` source pixels after it, and those that had a mask of which nothing is left.
* Proposals are clipped too, and those of which less than a pixel is left in either direction are dropped.
* A keypoint that leaves the image gets visibility 0, and every keypoint of visibility 0 lies at (0, 0), as in COCO.
  Points are mirrored like the corners of boxes, x to W - x. torchvision maps x to W - 1 - x, so that a point and the
  edge of a box at one place come apart.
* Areas scale with the image. The area of an object that lost a part is counted from its mask, or shrinks with its box
  where there is no mask.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as v2

from sightline.errors import ConfigError
from sightline.structures import Sample, Size, Target

Window = tuple[int, int, int, int]
"""(x1, y1, x2, y2) in whole pixels, x2 and y2 excluded."""

Pairs = tuple[tuple[int, int], ...]
"""Keypoints that trade places in a mirror: left and right eye, say."""

MIN_SIDE = 1.0
"""Shortest side, in source pixels, of a box that survives a cut."""


@dataclass(frozen=True)
class Placement:
    """A rectangle of a source image, and where it lands in the output.

    A point (x, y) of the source lands at ``left + (x - x1) * width / (x2 - x1)``, and y likewise; a mirrored one at
    ``left + width - (x - x1) * width / (x2 - x1)``.

    Args:
        source: (H, W) of the source image.
        window: the rectangle that is cut out; inside the source, at least one pixel.
        content: (H, W) that the window is resized to.
        offset: (top, left) of the content in the output.
        size: (H, W) of the output; the content lies inside.
        mirrored: whether the content is flipped left to right.
    """

    source: Size
    window: Window
    content: Size
    offset: tuple[int, int]
    size: Size
    mirrored: bool = False

    @property
    def cuts(self) -> bool:
        """Whether any of the source is lost."""
        return self.window != (0, 0, self.source[1], self.source[0])

    @property
    def scales(self) -> tuple[float, float]:
        """(scale_x, scale_y) from source to output."""
        x1, y1, x2, y2 = self.window
        return self.content[1] / (x2 - x1), self.content[0] / (y2 - y1)


def whole(source: Size, *, mirrored: bool = False) -> Placement:
    """The placement that leaves an image where it is, or only mirrors it."""
    return Placement(source, (0, 0, source[1], source[0]), source, (0, 0), source, mirrored)


def cut(source: Size, window: Window) -> Placement:
    """The placement that cuts a window out."""
    size = (window[3] - window[1], window[2] - window[0])
    return Placement(source, window, size, (0, 0), size)


def place(sample: Sample, placement: Placement, fill: tuple[int, int, int] = (0, 0, 0), pairs: Pairs = ()) -> Sample:
    """The sample with image and target moved.

    Args:
        sample: what to move; ``placement.source`` is its size.
        placement: where to.
        fill: colour around the content, 0..255 also for float images.
        pairs: keypoints that trade places when the placement mirrors.
    """
    image = _on_canvas(move_content(sample.image, placement), placement, fill)
    return moved(sample, image, placement, pairs)


def moved(sample: Sample, image: Tensor, placement: Placement, pairs: Pairs = ()) -> Sample:
    """A sample whose pixels have been moved already, with all else moved as they were."""
    proposals = sample.proposals
    if proposals is not None:
        proposals = move_boxes(proposals, placement)
        proposals = proposals[(proposals[:, 2:] - proposals[:, :2] >= MIN_SIDE).all(dim=1)]
    return replace(sample, image=image, target=move_target(sample.target, placement, pairs), proposals=proposals)


def move_content(image: Tensor, placement: Placement) -> Tensor:
    """The cut, resized and mirrored rectangle of a (3, H, W) image, antialiased, (3, *content)."""
    x1, y1, x2, y2 = placement.window
    content = resize_image(image[..., y1:y2, x1:x2], placement.content)
    return content.flip(-1) if placement.mirrored else content


def resize_image(image: Tensor, size: Size) -> Tensor:
    """A (3, H, W) image at another size, bilinear and antialiased, with its dtype."""
    # The quick uint8 kernel of torch (seen in 2.14) scrambles the channels of results that are one pixel wide.
    scrambled = size[1] == 1 and not image.is_floating_point()
    resized: Tensor = v2.resize(image.float() if scrambled else image, list(size), antialias=True)
    return resized.round_().to(image.dtype) if scrambled else resized


def _on_canvas(content: Tensor, placement: Placement, fill: tuple[int, int, int]) -> Tensor:
    if placement.content == placement.size:
        return dense(content)
    canvas = filled(placement.size, fill, content)
    inside(canvas, placement).copy_(content)
    return canvas


def dense(image: Tensor) -> Tensor:
    """The image as it is where its memory holds it alone, channels first or last; else a copy of it."""
    return image if image.is_contiguous() or image.permute(1, 2, 0).is_contiguous() else image.contiguous()


def filled(size: Size, fill: tuple[int, int, int], like: Tensor) -> Tensor:
    """A (3, H, W) image of one colour with the dtype and device of ``like``."""
    colour = torch.tensor(fill, device=like.device)
    if like.is_floating_point():
        colour = colour / 255
    return colour.to(like.dtype)[:, None, None].expand(3, *size).contiguous()


def inside(canvas: Tensor, placement: Placement) -> Tensor:
    """The view of an output, (..., H, W), that the content lies in."""
    top, left = placement.offset
    return canvas[..., top : top + placement.content[0], left : left + placement.content[1]]


def move_boxes(boxes: Tensor, placement: Placement) -> Tensor:
    """Boxes (N, 4) in pixels of the output, clipped to the content; empty ones are still among them."""
    x1, y1, _, _ = placement.window
    scale_x, scale_y = placement.scales
    height, width = placement.content
    moved = boxes - boxes.new_tensor([x1, y1, x1, y1])
    moved = moved * boxes.new_tensor([scale_x, scale_y, scale_x, scale_y])
    moved = moved.clamp_(min=0).minimum(boxes.new_tensor([width, height, width, height]))
    if placement.mirrored:
        moved = torch.stack([width - moved[:, 2], moved[:, 1], width - moved[:, 0], moved[:, 3]], dim=1)
    top, left = placement.offset
    return moved + boxes.new_tensor([left, top, left, top])


def move_target(target: Target, placement: Placement, pairs: Pairs = ()) -> Target:
    """The target in pixels of the output, without the objects that were lost (see the module)."""
    boxes = move_boxes(target.boxes, placement)
    keep = _kept(target, boxes, placement)
    if not bool(keep.all()):
        target, boxes = target.select(keep), boxes[keep]
    masks = None if target.masks is None else move_masks(target.masks, placement)
    keypoints = None if target.keypoints is None else move_keypoints(target.keypoints, placement, pairs)
    areas = _areas(target, boxes, placement)
    return Target(boxes, target.labels, placement.size, target.ignore, areas, masks, keypoints)


def _kept(target: Target, moved: Tensor, placement: Placement) -> Tensor:
    boxes, sides = target.boxes, moved[:, 2:] - moved[:, :2]
    keep = (sides > 0).all(dim=1)
    if not placement.cuts:
        return keep
    x1, y1, x2, y2 = placement.window
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    within = (centres > boxes.new_tensor([x1, y1])) & (centres < boxes.new_tensor([x2, y2]))
    # The slack keeps a side of exactly MIN_SIDE whose product with the scale was rounded down.
    thick = sides >= MIN_SIDE * (1 - 1e-4) * boxes.new_tensor(placement.scales)
    keep = keep & within.all(dim=1) & thick.all(dim=1)
    if target.masks is not None:
        gone = target.masks.flatten(1).any(dim=1) & ~target.masks[:, y1:y2, x1:x2].flatten(1).any(dim=1)
        keep = keep & ~gone
    return keep


def _areas(target: Target, boxes: Tensor, placement: Placement) -> Tensor:
    scale_x, scale_y = placement.scales
    scale = scale_x * scale_y
    areas = target.areas * scale
    if not placement.cuts or len(target) == 0:
        return areas
    full = (target.boxes[:, 2:] - target.boxes[:, :2]).prod(dim=1) * scale
    left = ((boxes[:, 2:] - boxes[:, :2]).prod(dim=1) / full).clamp(max=1.0)
    # Rounding alone takes parts in a hundred thousand off an untouched box.
    lost = left < 1 - 1e-4
    if target.masks is None:
        return torch.where(lost, areas * left, areas)
    x1, y1, x2, y2 = placement.window
    seen = target.masks[:, y1:y2, x1:x2].sum(dim=(1, 2)) * scale
    return torch.where(lost, seen.to(areas.dtype), areas)


def move_masks(masks: Tensor, placement: Placement) -> Tensor:
    """Masks (N, *source) as masks (N, *size): the source pixel under each pixel's centre, False around the content."""
    x1, y1, x2, y2 = placement.window
    content = masks[:, y1:y2, x1:x2]
    if placement.content != content.shape[1:] and len(masks):
        height, width = placement.content
        nearest = InterpolationMode.NEAREST_EXACT
        content = v2.resize(content.to(torch.uint8), [height, width], interpolation=nearest).bool()
    elif placement.content != content.shape[1:]:
        content = masks.new_zeros((0, *placement.content))
    if placement.mirrored:
        content = content.flip(-1)
    if placement.content == placement.size:
        return dense(content)
    canvas = masks.new_zeros((len(masks), *placement.size))
    inside(canvas, placement).copy_(content)
    return canvas


def move_keypoints(keypoints: Tensor, placement: Placement, pairs: Pairs = ()) -> Tensor:
    """Keypoints (N, K, 3) in pixels of the output; those outside the content become (0, 0, 0)."""
    x1, y1, _, _ = placement.window
    height, width = placement.content
    scale_x, scale_y = placement.scales
    x, y, visibility = ((keypoints[..., 0] - x1) * scale_x, (keypoints[..., 1] - y1) * scale_y, keypoints[..., 2])
    seen = (visibility > 0) & (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
    if placement.mirrored:
        x = width - x
    top, left = placement.offset
    moved = torch.stack([x + left, y + top, visibility], dim=-1) * seen[..., None]
    return moved[:, mirror_order(keypoints.shape[1], pairs)] if placement.mirrored and pairs else moved


def mirror_order(count: int, pairs: Pairs) -> list[int]:
    """Which keypoint each of ``count`` takes its place from in a mirror.

    Raises:
        ConfigError: a pair names a keypoint that there is not.
    """
    order = list(range(count))
    for first, second in pairs:
        if max(first, second) >= count:
            raise ConfigError(
                f"keypoint_pairs names keypoint {max(first, second)}, but objects have {count}",
                cure="count keypoints from 0, in the order of the data set",
            )
        order[first], order[second] = second, first
    return order
