"""Masks of a few cells a side against images: pasted in, and cut out (He et al. 2017, section 3).

Both touch only the pixels of the boxes, never whole images in floating point. Numbers agree with torchvision's
``paste_masks_in_image`` and ``project_masks_on_boxes``.
"""

import torch
import torch.nn.functional as F
import torchvision.ops
from torch import Tensor

from sightline.structures import Size


def paste_masks(probabilities: Tensor, boxes: Tensor, size: Size, *, threshold: float = 0.5) -> Tensor:
    """Masks in pixels of an image, as the paper's code pastes them.

    A mask gets a border of one empty cell and its box grows with it; the corners of the box are cut to whole pixels,
    both of them inside; the mask is resized to it bilinearly.

    Args:
        probabilities: (N, m, m) float in 0..1.
        boxes: (N, 4) xyxy in pixels of the image.
        size: (H, W) of the image; what of a box lies outside is left out.
        threshold: probability above which a pixel belongs to the object.

    Returns:
        (N, H, W) bool.
    """
    height, width = size
    pasted = torch.zeros(len(boxes), height, width, dtype=torch.bool, device=probabilities.device)
    cells = probabilities.shape[-1]
    padded = F.pad(probabilities.float(), (1, 1, 1, 1))
    grown = _grown(boxes, (cells + 2) / cells).to(torch.int64).tolist()
    for mask, out, (x1, y1, x2, y2) in zip(padded, pasted, grown, strict=True):
        top, bottom, left, right = max(y1, 0), min(y2 + 1, height), max(x1, 0), min(x2 + 1, width)
        if top >= bottom or left >= right:
            continue
        resized = F.interpolate(mask[None, None], size=(y2 - y1 + 1, x2 - x1 + 1), mode="bilinear")[0, 0]
        window = resized[top - y1 : bottom - y1, left - x1 : right - x1]
        torch.gt(window, threshold, out=out[top:bottom, left:right])
    return pasted


def _grown(boxes: Tensor, factor: float) -> Tensor:
    """Boxes about the same centres, so many times as large."""
    half = (boxes[:, 2:] - boxes[:, :2]) * 0.5 * factor
    centre = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    return torch.cat([centre - half, centre + half], dim=1)


def crop_masks(masks: Tensor, owner: Tensor, boxes: Tensor, cells: int) -> Tensor:
    """What masks look like in boxes: RoIAlign of each box on its mask, with a sample a pixel and more.

    Args:
        masks: (N, H, W) bool.
        owner: (S,) int64, the mask of each box.
        boxes: (S, 4) xyxy in pixels of the masks.
        cells: m of the output along each side.

    Returns:
        (S, m, m) float32 in 0..1: the share of each cell that is mask.
    """
    crops = torch.zeros(len(boxes), cells, cells, device=masks.device)
    for mask in sorted(set(owner.tolist())):
        own = (owner == mask).nonzero()[:, 0]
        regions = boxes[own]
        # A margin of two pixels keeps every sample, and the rules at the border are for the image's border only.
        left, top = (regions[:, :2].amin(dim=0).floor() - 2).clamp(min=0).to(torch.int64).tolist()
        right, bottom = (regions[:, 2:].amax(dim=0).ceil() + 2).to(torch.int64).tolist()
        window = masks[mask, top:bottom, left:right].float()[None, None]
        moved = regions - regions.new_tensor([left, top, left, top])
        crops[own] = torchvision.ops.roi_align(window, [moved], (cells, cells))[:, 0]
    return crops
