"""Keypoints against the one-hot maps that they are learned as (He et al. 2017, section 5, "keypoint detection").

A box is laid out in m x m cells; each of its K keypoints is one cell of a map of its own. Numbers agree with
torchvision's ``keypoints_to_heatmap`` and ``heatmaps_to_keypoints``.
"""

import torch
from torch import Tensor


def keypoint_cells(keypoints: Tensor, boxes: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Where keypoints lie in their boxes.

    A keypoint on the right or lower edge of its box belongs to the last cell; elsewhere a cell holds its left and upper
    edge.

    Args:
        keypoints: (S, K, 3) x, y, visibility.
        boxes: (S, 4) xyxy, the box of each.
        cells: m of the map along each side.

    Returns:
        (S, K) int64 cells, row by row, 0 where there is none; (S, K) bool, whether a keypoint is labelled and lies in
        its box.
    """
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    points = keypoints[..., :2]
    place = ((points - low) * (cells / (high - low))).floor().to(torch.int64)
    place = torch.where(points == high, cells - 1, place)
    valid = ((place >= 0) & (place < cells)).all(dim=-1) & (keypoints[..., 2] > 0)
    return (place[..., 1] * cells + place[..., 0]) * valid, valid


def keypoints_of_maps(maps: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """The highest place of each map, after it was enlarged bicubically to the pixels of its box.

    Args:
        maps: (D, K, m, m) float.
        boxes: (D, 4) xyxy in pixels.

    Returns:
        (D, K, 2) x, y in pixels: the middle of the highest pixel; (D, K) the value there.
    """
    count, kinds, cells, _ = maps.shape
    places = boxes.new_zeros(count, kinds, 2)
    heights = maps.new_zeros(count, kinds, dtype=torch.float32)
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
    pixels = sides.ceil().to(torch.int64)
    for index, (width, height) in enumerate(pixels.tolist()):
        across, down = _enlarging(cells, width, maps.device), _enlarging(cells, height, maps.device)
        large = torch.matmul(down, maps[index].float() @ across.T).flatten(1)
        heights[index], best = large.max(dim=1)
        places[index] = torch.stack([best % width, best // width], dim=1)
    places = (places + 0.5) * (sides / pixels)[:, None]
    return places + boxes[:, None, :2], heights


def _enlarging(cells: int, pixels: int, device: torch.device) -> Tensor:
    """(pixels, cells) weights of bicubic enlargement along one axis (Keys 1981, with a = -0.75); edges are repeated."""
    a = -0.75
    position = (torch.arange(pixels, device=device) + 0.5) * (cells / pixels) - 0.5
    first = position.floor()
    taps = torch.arange(-1, 3, device=device)
    distance = (position - first)[:, None].sub(taps).abs_()
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    weights = torch.where(distance <= 1, near, far)
    places = (first[:, None] + taps).clamp_(0, cells - 1).to(torch.int64)
    return torch.zeros(pixels, cells, device=device).scatter_add_(1, places, weights)
