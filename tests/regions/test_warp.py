"""Warped regions against a slow loop over pixels, and what appendix A's three ways show."""

import math

import pytest
import torch
from torch import Tensor

from sightline.regions.warp import warp_regions


def slow_warp(image: Tensor, box: Tensor, side: int, context: float, shape: str) -> Tensor:
    """One region, pixel by pixel: the same bilinear samples, written as the definition says."""
    x1, y1, x2, y2 = box.tolist()
    wide, high = x2 - x1, y2 - y1
    if shape != "warp":
        wide = high = max(wide, high)
    wide, high = wide * side / (side - 2 * context), high * side / (side - 2 * context)
    left, top = (x1 + x2 - wide) / 2, (y1 + y2 - high) / 2
    scale = math.sqrt(wide * high) / side
    block = 2 ** min(4, max(0, math.floor(math.log2(max(scale, 1)) + 0.5)))
    out = torch.zeros(3, side, side)
    for row in range(side):
        for column in range(side):
            x, y = left + (column + 0.5) * wide / side, top + (row + 0.5) * high / side
            if shape == "square_without_context" and not (x1 <= x <= x2 and y1 <= y <= y2):
                continue
            out[:, row, column] = bilinear(image, x / block - 0.5, y / block - 0.5, block)
    return out


def bilinear(image: Tensor, x: float, y: float, block: int) -> Tensor:
    total = torch.zeros(3)
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            weight = (1 - abs(y - row)) * (1 - abs(x - column))
            total += weight * block_mean(image, row, column, block)
    return total


def block_mean(image: Tensor, row: int, column: int, block: int) -> Tensor:
    if row < 0 or column < 0:
        return torch.zeros(3)
    return image[:, row * block : (row + 1) * block, column * block : (column + 1) * block].sum(dim=(1, 2)) / block**2


@pytest.mark.parametrize("shape", ["warp", "square", "square_without_context"])
@pytest.mark.parametrize("context", [0.0, 1.5])
def test_every_pixel_is_that_of_the_slow_loop(shape, context):
    torch.manual_seed(0)
    images = torch.randn(2, 3, 37, 50)
    boxes = torch.tensor(
        [[3.0, 4.0, 20.0, 11.0], [0.0, 0.0, 50.0, 37.0], [44.5, 30.2, 49.0, 36.9], [10.0, 10.0, 11.0, 11.5]]
    )
    index = torch.tensor([0, 1, 1, 0])
    crops = warp_regions(images, boxes, index, side=9, context=context, shape=shape)
    for crop, box, image in zip(crops, boxes, index.tolist(), strict=True):
        assert torch.allclose(crop, slow_warp(images[image], box, 9, context, shape), atol=2e-5)


def test_context_lies_around_the_region_and_beyond_the_image_is_the_mean():
    image = torch.zeros(1, 3, 40, 40)
    image[:, :, 10:30, 10:30] = 1.0  # the region is white, what surrounds it is black
    box, at = torch.tensor([[10.0, 10.0, 30.0, 30.0]]), torch.tensor([0])
    crop = warp_regions(image, box, at, side=40, context=4.0)[0, 0]
    assert (crop[6:34, 6:34] == 1).all() and (crop[:3] == 0).all() and (crop[:, -3:] == 0).all()
    whole = warp_regions(torch.ones(1, 3, 40, 40), torch.tensor([[0.0, 0.0, 40.0, 40.0]]), at, side=40, context=4.0)[0]
    assert (whole[:, 6:34, 6:34] == 1).all() and (whole[:, :3] == 0).all() and (whole[:, :, -3:] == 0).all()


def test_the_three_ways_of_a_tall_region():
    """Twice as high as wide: stretched; with its neighbourhood; with the mean beside it."""
    image = torch.full((1, 3, 40, 40), 2.0)
    image[:, :, 10:30, 15:25] = 1.0
    box, at = torch.tensor([[15.0, 10.0, 25.0, 30.0]]), torch.tensor([0])
    stretched, square, alone = (
        warp_regions(image, box, at, side=20, context=0.0, shape=shape)[0, 0]
        for shape in ("warp", "square", "square_without_context")
    )
    assert (stretched[:, 1:-1] == 1).all()
    assert (square[:, :4] == 2).all() and (square[1:-1, 6:14] == 1).all()
    assert (alone[:, :4] == 0).all() and (alone[1:-1, 6:14] == 1).all()


def test_no_region_and_a_context_that_leaves_no_region():
    images = torch.zeros(1, 3, 8, 8)
    nothing = torch.zeros(0, dtype=torch.int64)
    assert warp_regions(images, torch.zeros(0, 4), nothing, side=7, context=1.0).shape == (0, 3, 7, 7)
    with pytest.raises(ValueError, match="context"):
        warp_regions(images, torch.zeros(0, 4), nothing, side=7, context=3.5)


def test_a_large_region_is_averaged_and_not_skipped_through():
    """A checkerboard of single pixels, eight times too large, is grey and not black or white."""
    board = (torch.arange(64)[:, None] + torch.arange(64)[None]) % 2
    image = board.float().expand(1, 3, 64, 64)
    crop = warp_regions(image, torch.tensor([[0.0, 0.0, 64.0, 64.0]]), torch.tensor([0]), side=8, context=0.0)
    assert torch.allclose(crop, torch.full_like(crop, 0.5), atol=1e-6)
