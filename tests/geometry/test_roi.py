"""Pooling of regions: the lectures' worked examples, torchvision's operators, gradients."""

import pytest
import torch
from torchvision.ops import MultiScaleRoIAlign

from sightline.geometry.roi import pyramid_levels, roi_align, roi_pool
from sightline.structures import FeatureMaps


def test_lectures_example_of_a_region_inside_a_grid() -> None:
    grid = torch.arange(16.0).view(1, 1, 4, 4)
    region = torch.tensor([[0.0, 0, 2, 2]]) + torch.tensor([[0.0, 0, 0, 0]])
    pooled = roi_pool(grid, region, torch.tensor([0]), stride=1, size=2)
    assert pooled[0, 0].tolist() == [[5, 6], [9, 10]]


def test_lectures_example_of_a_4x6_region_in_3x3_cells() -> None:
    grid = torch.arange(24.0).view(1, 1, 4, 6)
    pooled = roi_pool(grid, torch.tensor([[0.0, 0, 5, 3]]), torch.tensor([0]), stride=1, size=3)
    wanted = [
        [grid[0, 0, a:b, c:d].max().item() for c, d in ((0, 2), (2, 4), (4, 6))] for a, b in ((0, 2), (1, 3), (2, 4))
    ]
    assert pooled[0, 0].tolist() == wanted


def _maps(dtype: torch.dtype = torch.float32) -> FeatureMaps:
    torch.manual_seed(0)
    maps = tuple(
        torch.randn(2, 8, 96 // s, 128 // s, dtype=dtype).contiguous(memory_format=torch.channels_last)
        for s in (4, 8, 16, 32)
    )
    return FeatureMaps(maps, (4, 8, 16, 32))


def _regions(count: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    corner = torch.rand(count, 2) * torch.tensor([128.0, 96.0])
    side = torch.exp(torch.rand(count, 2) * 7 - 1)
    boxes = torch.cat([corner, corner + side], dim=1)
    boxes[:, 2:] = torch.minimum(boxes[:, 2:], torch.tensor([128.0, 96.0]))
    return boxes[(boxes[:, 2:] > boxes[:, :2]).all(1)], torch.tensor([])


@pytest.mark.parametrize("size", [1, 7, 14])
def test_equals_torchvisions_multi_scale_roi_align(size: int) -> None:
    features = _maps()
    boxes, _ = _regions()
    image_index = torch.arange(len(boxes)) // (len(boxes) // 2 + 1)
    levels = pyramid_levels(boxes, features.strides, canonical_size=30)
    found = roi_align(features, boxes, image_index, levels, size=size)
    peer = MultiScaleRoIAlign(["0", "1", "2", "3"], size, 2, canonical_scale=30)
    per_image = [boxes[image_index == i] for i in range(2)]
    wanted = peer({str(i): m for i, m in enumerate(features)}, per_image, [(96, 128)] * 2)
    assert len(set(levels.tolist())) == 4
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=2e-5)


def test_gradients_equal_torchvisions() -> None:
    features = _maps()
    leaves = [m.clone().requires_grad_() for m in features]
    boxes, _ = _regions(60)
    image_index = torch.arange(len(boxes)) // (len(boxes) // 2 + 1)
    levels = pyramid_levels(boxes, features.strides, canonical_size=30)
    weight = torch.randn(len(boxes), 8, 7, 7)
    (roi_align(FeatureMaps(tuple(leaves), features.strides), boxes, image_index, levels) * weight).sum().backward()
    found = [leaf.grad.clone() for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    peer = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2, canonical_scale=30)
    per_image = [boxes[image_index == i] for i in range(2)]
    (peer({str(i): m for i, m in enumerate(leaves)}, per_image, [(96, 128)] * 2) * weight).sum().backward()
    for mine, leaf in zip(found, leaves, strict=True):
        torch.testing.assert_close(mine, leaf.grad, rtol=1e-3, atol=1e-4)


def test_a_constant_map_pools_to_the_constant() -> None:
    features = FeatureMaps((torch.full((1, 3, 10, 10), 2.5),), (4,))
    boxes = torch.tensor([[3.3, 4.4, 20.0, 31.0], [0.0, 0.0, 40.0, 40.0]])
    pooled = roi_align(features, boxes, torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))
    torch.testing.assert_close(pooled, torch.full((2, 3, 7, 7), 2.5))


def test_no_regions() -> None:
    features = _maps()
    none = torch.zeros(0, dtype=torch.int64)
    assert roi_align(features, torch.zeros(0, 4), none, none).shape == (0, 8, 7, 7)
    assert roi_pool(features.maps[0], torch.zeros(0, 4), none, stride=4).shape == (0, 8, 7, 7)


def test_levels_are_equation_1_of_the_pyramid_paper() -> None:
    boxes = torch.tensor([[0.0, 0, 224, 224], [0, 0, 223, 223], [0, 0, 448, 448], [0, 0, 10, 10], [0, 0, 2000, 2000]])
    assert pyramid_levels(boxes, (4, 8, 16, 32)).tolist() == [2, 1, 3, 0, 3]


def _follow(shift: float) -> tuple[float, float]:
    """By how many pixels RoIAlign's and RoIPool's values move on a ramp when a region moves by ``shift`` pixels."""
    stride, side = 16, 7 * 16
    ramp = (torch.arange(24.0) * stride).expand(1, 1, 24, 24).contiguous()
    boxes = torch.tensor([[64.0, 64, 64 + side, 64 + side]]) + torch.tensor([[0.0], [shift]]) * torch.ones(1, 4)
    image_index = torch.zeros(2, dtype=torch.int64)
    align = roi_align(FeatureMaps((ramp,), (stride,)), boxes, image_index, torch.zeros(2, dtype=torch.int64))
    pool = roi_pool(ramp, boxes, image_index, stride=stride)
    aligned, pooled = ((part[1] - part[0]).mean().item() for part in (align, pool))
    return aligned, pooled


def test_roi_align_follows_fractions_of_a_stride_and_roi_pool_is_off_by_up_to_half_of_it() -> None:
    """He et al. 2017, section 3: what is lost to rounding, in pixels of the image, at stride 16."""
    shifts = [0.25 * step for step in range(64)]
    moved = [_follow(shift) for shift in shifts]
    align_error = max(abs(aligned - shift) for (aligned, _), shift in zip(moved, shifts, strict=True))
    pool_error = [abs(pooled - shift) for (_, pooled), shift in zip(moved, shifts, strict=True)]
    assert align_error < 1e-3
    assert max(pool_error) == pytest.approx(8.0, abs=0.01)
    assert sum(pool_error) / len(pool_error) == pytest.approx(4.0, abs=0.05)


def test_gradcheck_of_roi_align() -> None:
    torch.manual_seed(0)
    maps = tuple(torch.randn(2, 3, side, side, dtype=torch.float64, requires_grad=True) for side in (8, 4))
    boxes = torch.tensor([[1.3, 2.1, 14.2, 20.7], [5.0, 3.0, 31.0, 30.0], [-2.0, 7.7, 9.1, 40.0]], dtype=torch.float64)
    image_index, levels = torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0])

    def pooled(*features: torch.Tensor) -> torch.Tensor:
        return roi_align(FeatureMaps(features, (4, 8)), boxes, image_index, levels, size=3)

    assert torch.autograd.gradcheck(pooled, maps)
