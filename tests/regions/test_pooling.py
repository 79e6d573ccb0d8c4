"""Pooling of regions on one map and on pyramids, against slow loops."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.regions.pooling import pool_regions
from sightline.structures import FeatureMaps

BOXES = torch.tensor(
    [[3.0, 5.0, 50.0, 41.0], [0.0, 0.0, 16.0, 16.0], [10.0, 2.0, 63.0, 60.0], [20.0, 20.0, 29.0, 31.0]]
)
INDEX = torch.tensor([0, 0, 1, 1])


def maps(*strides: int) -> FeatureMaps:
    generator = torch.Generator().manual_seed(0)
    return FeatureMaps(tuple(torch.randn(2, 3, 64 // s, 64 // s, generator=generator) for s in strides), strides)


def looped_pool(image: Tensor, box: Tensor, stride: int, size: int) -> Tensor:
    """RoIPool of one region by its definition (Girshick 2015, section 2.1), edges rounded as in the paper's code."""
    x1, y1, x2, y2 = (math.floor(value / stride + 0.5) for value in box.tolist())
    width, height = max(x2 - x1 + 1, 1), max(y2 - y1 + 1, 1)
    out = torch.zeros(image.shape[0], size, size)
    for row in range(size):
        for column in range(size):
            top, bottom = y1 + row * height // size, y1 + -(-(row + 1) * height // size)
            left, right = x1 + column * width // size, x1 + -(-(column + 1) * width // size)
            cell = image[:, max(top, 0) : bottom, max(left, 0) : right]
            if cell.numel():
                out[:, row, column] = cell.amax(dim=(1, 2))
    return out


def looped_crop(image: Tensor, box: Tensor, stride: int, size: int) -> Tensor:
    """A bilinear crop of one region sampled at the centres of twice as many cells, then the maximum of each 2 x 2."""
    x1, y1, x2, y2 = (box / stride).tolist()
    width, height = max(x2 - x1, 1), max(y2 - y1, 1)
    steps = (torch.arange(2 * size) + 0.5) / (2 * size)
    xs, ys = x1 + steps * width, y1 + steps * height
    side = torch.tensor([image.shape[2], image.shape[1]]).float()
    where = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1).clamp(min=0)
    where = torch.minimum(where, side - 1)
    grid = 2 * where / (side - 1) - 1
    return F.max_pool2d(F.grid_sample(image[None], grid[None], align_corners=True)[0], 2)


@pytest.mark.parametrize("kind", ["pool", "crop"])
def test_one_map_is_pooled_as_by_loops(kind: str) -> None:
    features = maps(8)
    loop = looped_pool if kind == "pool" else looped_crop
    wanted = torch.stack([loop(features.maps[0][i], box, 8, 3) for box, i in zip(BOXES, INDEX, strict=True)])
    torch.testing.assert_close(pool_regions(features, BOXES, INDEX, kind, 3), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["align", "pool", "crop"])
def test_a_pyramid_is_pooled_level_by_level(kind: str) -> None:
    features = maps(4, 8, 16)
    boxes = torch.cat([BOXES, torch.tensor([[0.0, 0.0, 500.0, 500.0]])])
    index = torch.cat([INDEX, torch.tensor([1])])
    pooled = pool_regions(features, boxes, index, kind, 2)
    # Regions of sides below 112 lie on the finest of these levels, one of 500 on the coarsest.
    for level, rows in ((0, slice(0, 4)), (2, slice(4, 5))):
        alone = FeatureMaps(features.maps[level : level + 1], features.strides[level : level + 1])
        torch.testing.assert_close(pooled[rows], pool_regions(alone, boxes[rows], index[rows], kind, 2))


@pytest.mark.parametrize("kind", ["align", "pool", "crop"])
@pytest.mark.parametrize("strides", [(8,), (4, 8)])
def test_no_regions_and_gradients(kind: str, strides: tuple[int, ...]) -> None:
    features = FeatureMaps(tuple(level.requires_grad_() for level in maps(*strides)), strides)
    assert pool_regions(features, BOXES[:0], INDEX[:0], kind, 2).shape == (0, 3, 2, 2)
    pool_regions(features, BOXES, INDEX, kind, 2).sum().backward()
    assert features.maps[0].grad is not None and bool(features.maps[0].grad.any())
