import pytest
import torch

from sightline.geometry.anchors import cell_anchors, grid, multibox_prior, size_ratio_pairs
from sightline.geometry.boxes import areas, sides


def test_cell_anchors_have_the_areas_and_ratios_asked_for():
    anchors = cell_anchors([32, 64], [0.5, 1.0, 2.0])
    width, height = sides(anchors)
    assert torch.allclose(areas(anchors), torch.tensor([32.0**2, 64.0**2] * 3))
    assert torch.allclose(height / width, torch.tensor([0.5, 0.5, 1, 1, 2, 2]))
    assert torch.equal(anchors[:, :2], -anchors[:, 2:])
    assert torch.equal(cell_anchors([32, 64], [0.5, 1.0, 2.0], rounded=True), anchors.round())


def test_grid_runs_over_rows_then_columns_then_anchors():
    cell = torch.tensor([[-1.0, -2, 1, 2], [-3.0, -3, 3, 3]])
    anchors = grid(cell, (2, 3), (16, 8))
    expected = [cell[a] + torch.tensor([8.0 * x, 16 * y] * 2) for y in range(2) for x in range(3) for a in range(2)]
    assert torch.equal(anchors, torch.stack(expected))
    assert torch.equal(grid(cell, (2, 3), 8, offset=0.5), grid(cell, (2, 3), 8) + 4)


@pytest.mark.parametrize(("anchors", "size"), [(0, (2, 3)), (2, (0, 3)), (2, (2, 0))])
def test_empty_grids(anchors, size):
    assert grid(torch.zeros(anchors, 4), size, 4).shape == (0, 4)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("sizes_first", [(1, 7), (2, 7), (3, 7), (1, 8), (1, 9)]),
        ("ratios_first", [(1, 7), (1, 8), (1, 9), (2, 7), (3, 7)]),
    ],
)
def test_both_orders_of_the_lectures(order, expected):
    assert size_ratio_pairs([1, 2, 3], [7, 8, 9], order) == expected
    assert size_ratio_pairs([1], [7], order) == [(1, 7)]
    assert size_ratio_pairs([], [7], order) == size_ratio_pairs([1], [], order) == []


def test_multibox_prior_is_square_in_pixels_on_a_map_of_any_aspect():
    anchors = multibox_prior((4, 10), [0.5], [1, 4]).reshape(4, 10, 2, 4) * torch.tensor([10.0, 4, 10, 4])
    width, height = sides(anchors)
    assert torch.allclose(width, torch.tensor([2.0, 4.0]).expand_as(width))
    assert torch.allclose(height, torch.tensor([2.0, 1.0]).expand_as(height))
    centres = (anchors[..., :2] + anchors[..., 2:]) / 2
    assert torch.allclose(centres[2, 7], torch.tensor([7.5, 2.5]))


@pytest.mark.parametrize("order", ["sizes_first", "ratios_first"])
def test_multibox_prior_follows_the_order_of_the_pairs(order):
    sizes, ratios = [0.75, 0.5, 0.25], [1, 2, 0.5]
    width, height = sides(multibox_prior((5, 5), sizes, ratios, order)[:5])
    pairs = torch.tensor(size_ratio_pairs(sizes, ratios, order))
    assert torch.allclose((width * height).sqrt(), pairs[:, 0])
    assert torch.allclose(width / height, pairs[:, 1])
