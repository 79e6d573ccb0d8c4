"""Keypoints as cells of their boxes and back: by hand, at the edges, against torchvision."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.roi_heads import heatmaps_to_keypoints, keypoints_to_heatmap

from sightline.geometry.keypoints import keypoint_cells, keypoints_of_maps

BOX = torch.tensor([[10.0, 20.0, 66.0, 132.0]])


@pytest.mark.parametrize(
    ("point", "cell"),
    [
        ((10.0, 20.0, 2.0), 0),
        ((10.9, 21.9, 2.0), 0),
        ((11.0, 20.0, 1.0), 1),
        ((10.0, 22.0, 2.0), 56),
        ((66.0, 20.0, 2.0), 55),
        ((10.0, 132.0, 2.0), 55 * 56),
        ((66.0, 132.0, 1.0), 55 * 56 + 55),
        ((66.1, 30.0, 2.0), None),
        ((9.9, 30.0, 2.0), None),
        ((30.0, 30.0, 0.0), None),
    ],
)
def test_cells_by_hand(point, cell):
    """A box of 56 x 112 pixels: a cell is one pixel wide and two high."""
    cells, valid = keypoint_cells(torch.tensor([[point]]), BOX, 56)
    assert bool(valid) == (cell is not None)
    assert int(cells) == (cell or 0)


def _boxes(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(count, 2, generator=generator) * 200
    side = torch.exp(torch.rand(count, 2, generator=generator) * 5)
    boxes = torch.cat([low, low + side], dim=1)
    boxes[0] = torch.tensor([3.0, 3.0, 3.2, 60.0])
    return boxes


def test_cells_are_torchvisions():
    generator, boxes = torch.Generator().manual_seed(1), _boxes(50)
    share = torch.rand(50, 17, 2, generator=generator) * 1.3 - 0.15
    share[:, :3] = share[:, :3].round()
    points = boxes[:, None, :2] + share * (boxes[:, None, 2:] - boxes[:, None, :2])
    points = torch.cat([points, torch.randint(0, 3, (50, 17, 1), generator=generator).float()], dim=2)
    cells, valid = keypoint_cells(points, boxes, 56)
    wanted, wanted_valid = keypoints_to_heatmap(points, boxes, 56)
    assert torch.equal(cells, wanted)
    assert torch.equal(valid, wanted_valid.bool())
    assert 200 < int(valid.sum()) < 700


def test_the_highest_places_are_torchvisions():
    boxes = _boxes(30)
    maps = torch.randn(30, 5, 8, 8, generator=torch.Generator().manual_seed(2))
    maps = 3 * F.interpolate(maps, (56, 56), mode="bicubic")
    places, heights = keypoints_of_maps(maps, boxes)
    wanted, scores = heatmaps_to_keypoints(maps, boxes)
    torch.testing.assert_close(places, wanted[..., :2], rtol=0, atol=1e-3)
    torch.testing.assert_close(heights, scores, rtol=0, atol=1e-4)


def test_there_and_back_is_less_than_a_cell_away():
    """One-hot maps give the keypoints back: to half a cell, 2 x 4 pixels here, and the pixel that it is told in."""
    box = torch.tensor([[0.0, 0.0, 112.0, 224.0]])
    points = torch.rand(1, 40, 2, generator=torch.Generator().manual_seed(3)) * torch.tensor([112.0, 224.0])
    cells, _ = keypoint_cells(torch.cat([points, torch.full((1, 40, 1), 2.0)], dim=2), box, 56)
    maps = F.one_hot(cells, 56 * 56).float().view(1, 40, 56, 56)
    found, _ = keypoints_of_maps(maps, box)
    distance = (found - points).abs().amax(dim=(0, 1))
    assert float(distance[0]) <= 1.5
    assert float(distance[1]) <= 2.5


def test_no_detections_are_legal():
    places, heights = keypoints_of_maps(torch.zeros(0, 17, 56, 56), torch.zeros(0, 4))
    assert (places.shape, heights.shape) == ((0, 17, 2), (0, 17))
