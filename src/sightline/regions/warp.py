"""Regions cut out and warped to the size that a network takes (Girshick et al. 2014, section 2.1 and appendix A).

Whatever its shape, a region becomes a square of side S, stretched along each axis on its own. It is dilated first, so
that p pixels of the warped square on every side show what lies around it; beyond the image there is the mean, which is
0 in normalised pixels. Appendix A's two other ways keep the shape: the tightest square around the region, with what is
in it, or with the mean in place of what is not the region.

All regions of an image are one ``grid_sample`` a level of a small image pyramid. Bilinear samples alone would skip
pixels of a region that is much larger than S; it is read from the image at half, a quarter ... of its size.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

WarpShape = Literal["warp", "square", "square_without_context"]
PAPER_SIDE = 227
_LEVELS = 5


def warp_regions(
    images: Tensor,
    boxes: Tensor,
    image_index: Tensor,
    *,
    side: int = PAPER_SIDE,
    context: float = 16.0,
    shape: WarpShape = "warp",
) -> Tensor:
    """Squares of one size from regions of any.

    Args:
        images: (B, 3, H, W), normalised, with zeros where there is no image.
        boxes: (R, 4) xyxy in pixels of the batch.
        image_index: (R,) int64, the image of each region.
        side: S, pixels of a square.
        context: p, pixels of the square on every side that lie around the region; below S / 2.
        shape: how a region becomes a square.

    Returns:
        (R, 3, S, S).
    """
    if not 0 <= context < side / 2:
        raise ValueError(f"context must be from 0 to below half of side {side}, got {context}")
    windows = _windows(boxes, side, context, shape)
    scale = (windows[:, 2:] - windows[:, :2]).prod(dim=1).sqrt() / side
    levels = (scale.clamp(min=1).log2() + 0.5).floor().clamp(max=_LEVELS - 1).to(torch.int64)
    crops = images.new_zeros(len(boxes), 3, side, side)
    for level in range(_LEVELS):
        here = levels == level
        if not bool(here.any()):
            continue
        small = _reduced(images, 2**level)
        for image in sorted(set(image_index[here].tolist())):
            chosen = (here & (image_index == image)).nonzero()[:, 0]
            crops[chosen] = _sampled(small[image], windows[chosen] / 2**level, side)
    if shape == "square_without_context":
        crops = crops * _inside(boxes, windows, side)[:, None].to(crops.dtype)
    return crops


def _windows(boxes: Tensor, side: int, context: float, shape: WarpShape) -> Tensor:
    """(R, 4): what of the image each square shows."""
    centre, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    if shape != "warp":
        sides = sides.amax(dim=1, keepdim=True).expand(-1, 2)
    half = sides * (side / (side - 2 * context)) / 2
    return torch.cat([centre - half, centre + half], dim=1)


def _positions(windows: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """(R, S) each: the x and the y of the centres of a square's pixels, in pixels of the image."""
    share = (torch.arange(side, device=windows.device) + 0.5) / side
    x = windows[:, :1] + share * (windows[:, 2:3] - windows[:, :1])
    y = windows[:, 1:2] + share * (windows[:, 3:] - windows[:, 1:2])
    return x, y


def _sampled(image: Tensor, windows: Tensor, side: int) -> Tensor:
    """Bilinear samples (R, 3, S, S) of one image (3, H, W), zeros outside."""
    x, y = _positions(windows, side)
    x, y = 2 * x / image.shape[2] - 1, 2 * y / image.shape[1] - 1
    grid = torch.stack([x[:, None, :].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], dim=-1)
    grid = grid.reshape(1, -1, side, 2).to(image.dtype)
    tall = F.grid_sample(image[None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return tall.view(3, -1, side, side).transpose(0, 1)


def _reduced(images: Tensor, factor: int) -> Tensor:
    """Means of blocks of factor x factor pixels, with zeros beyond the edge."""
    if factor == 1:
        return images
    height, width = images.shape[2:]
    return F.avg_pool2d(F.pad(images, (0, -width % factor, 0, -height % factor)), factor)


def _inside(boxes: Tensor, windows: Tensor, side: int) -> Tensor:
    """(R, S, S) bool: which pixels of a square lie in the region itself."""
    x, y = _positions(windows, side)
    in_x = (x >= boxes[:, :1]) & (x <= boxes[:, 2:3])
    in_y = (y >= boxes[:, 1:2]) & (y <= boxes[:, 3:])
    return in_y[:, :, None] & in_x[:, None, :]
