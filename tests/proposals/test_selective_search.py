"""Selective Search: its parts against plain loops and worked examples, and what it promises of any image."""

import colorsys

import numpy as np
import pytest
import slow_selective_search as slow
import torch

from sightline.errors import ConfigError
from sightline.geometry.iou import pairwise_iou
from sightline.proposals.colour_spaces import in_space
from sightline.proposals.graph_segmentation import segment, sorted_edges
from sightline.proposals.hierarchy import group
from sightline.proposals.near_duplicates import distinct
from sightline.proposals.region_features import bins_of_pixels, describe, smooth
from sightline.proposals.selective_search import SelectiveSearch, SelectiveSearchQuality, ranked

STEEPEST = 40.0


def picture(height: int, width: int, seed: int) -> np.ndarray:
    """Overlapping rectangles of a few colours, with a little noise."""
    rng = np.random.default_rng(seed)
    image = np.full((3, height, width), 120)
    for _ in range(6):
        y, x = rng.integers(0, height), rng.integers(0, width)
        image[:, y : y + height // 2, x : x + width // 2] = rng.integers(0, 256, (3, 1, 1))
    return np.clip(image + rng.integers(-8, 9, image.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(4))
def test_segments_are_those_of_plain_loops(seed: int) -> None:
    planes = smooth(picture(11, 14, seed).astype(np.float32), 0.8)
    edges = sorted_edges(planes)
    for scale, smallest in ((5.0, 1), (20.0, 4), (80.0, 12), (1000.0, 1)):
        labels, count = segment(edges, scale, smallest)
        assert labels.tolist() == slow.segment(planes, scale, smallest).tolist()
        assert count == labels.max() + 1


def test_two_flat_halves_stay_apart_until_the_tolerance_spans_their_edge() -> None:
    """Halves of 8 pixels that differ by 10 grey levels: they join where k / 8 reaches 10."""
    planes = np.zeros((1, 4, 4), np.float32)
    planes[:, :, 2:] = 10
    assert segment(sorted_edges(planes), 79, 1)[1] == 2
    assert segment(sorted_edges(planes), 80, 1)[1] == 1
    assert segment(sorted_edges(planes), 1, 9)[1] == 1


@pytest.mark.parametrize("letters", ["CTSF", "TSF", "C", "S", "F"])
def test_groups_are_those_of_plain_loops(letters: str) -> None:
    for seed in range(2):
        planes = picture(10, 13, seed).astype(np.float32)
        smoothed = smooth(planes, 0.8)
        labels, count = segment(sorted_edges(smoothed), 30, 3)
        assert count > 5
        regions = describe(labels, count, bins_of_pixels(planes, smoothed, STEEPEST))
        wanted = slow.group(labels, planes, smoothed, letters, STEEPEST)
        assert group(regions, letters, labels.size).tolist() == wanted.tolist()


def test_histograms_of_segments_are_those_of_plain_loops() -> None:
    planes = picture(9, 12, 3).astype(np.float32)
    smoothed = smooth(planes, 0.8)
    labels, count = segment(sorted_edges(smoothed), 30, 3)
    regions = describe(labels, count, bins_of_pixels(planes, smoothed, STEEPEST))
    for label in range(count):
        pixels = set(zip(*np.nonzero(labels == label), strict=True))
        assert regions.counts[label].tolist() == slow.histograms(planes, smoothed, pixels, STEEPEST).tolist()
        assert (regions.sizes[label], *regions.boxes[label]) == (len(pixels), *slow.box_of(pixels))


def test_the_most_similar_pair_by_hand() -> None:
    """Four flat columns of a 4 x 8 image, 0, 10, 200 and 210 bright, one of them narrow.

    By size alone the two smallest neighbours join first: columns 2 and 3 (2 + 1 of 8 columns). By fill alone all pairs
    fill their boxes, and the first pair comes first. By colour 0 and 10 share one of the 25 bins (10.24 levels each),
    200 and 210 do not, so that columns 0 and 1 join first.
    """
    labels = np.array([[0, 0, 0, 1, 1, 2, 2, 3]] * 4, np.int32)
    planes = np.array([0, 10, 200, 210], np.float32)[labels][None]
    regions = describe(labels, 4, bins_of_pixels(planes, planes, STEEPEST))
    assert group(regions, "S", 32)[4].tolist() == [5, 0, 8, 4]
    assert group(regions, "F", 32)[4].tolist() == [0, 0, 5, 4]
    assert group(regions, "C", 32)[4].tolist() == [0, 0, 5, 4]
    assert group(regions, "C", 32)[-1].tolist() == [0, 0, 8, 4]


def test_smoothing_is_a_gaussian() -> None:
    point = np.zeros((1, 9, 9), np.float32)
    point[0, 4, 4] = 1
    weights = np.exp(-0.5 * (np.arange(-4, 5) / 0.8) ** 2)
    wanted = np.outer(weights, weights) / weights.sum() ** 2
    assert smooth(point, 0.8)[0] == pytest.approx(wanted, abs=1e-6)
    assert smooth(np.full((2, 3, 1), 7, np.float32), 0.8) == pytest.approx(np.full((2, 3, 1), 7), abs=1e-5)


def test_colour_spaces_are_those_of_their_definitions() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (3, 5, 7), dtype=np.uint8)
    image[:, 0, :3] = ((0, 255, 77), (0, 255, 77), (0, 255, 77))
    hsv = np.array([colorsys.rgb_to_hsv(*pixel) for pixel in image.reshape(3, -1).T / 255]).T.reshape(image.shape)
    assert in_space(image, "hsv") == pytest.approx(hsv * 255, abs=1e-3)
    assert in_space(image, "hue") == pytest.approx(hsv[:1] * 255, abs=1e-3)
    assert in_space(image, "intensity")[0] == pytest.approx(image.mean(axis=0), abs=1e-3)
    assert in_space(image, "rgi")[0, 1:] == pytest.approx(image[0, 1:] / image[:, 1:].sum(axis=0) * 255, abs=1e-2)


def test_lab_is_that_of_its_definition() -> None:
    """sRGB to linear light to XYZ to CIE L*a*b* under D65."""
    image = np.random.default_rng(1).integers(0, 256, (3, 20, 30), dtype=np.uint8)
    image[:, 0, :2] = ((255, 0), (255, 0), (255, 0))
    values = image / 255
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    matrix = [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
    xyz = np.einsum("ij,jyx->iyx", matrix, light) / np.array([0.950456, 1, 1.088754])[:, None, None]
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    wanted = np.stack(((116 * y - 16) * 2.55, 500 * (x - y) + 128, 200 * (y - z) + 128)).clip(0, 255)
    assert in_space(image, "lab") == pytest.approx(wanted, abs=0.02)
    assert in_space(image, "lab")[:, 0, :2] == pytest.approx(np.array([[255, 0], [128, 128], [128, 128]]), abs=0.02)


@pytest.mark.parametrize("overlap", [0.6, 0.75, 0.9])
def test_duplicates_are_those_of_greedy_suppression(overlap: float) -> None:
    rng = np.random.default_rng(2)
    corners = rng.integers(0, 12, (400, 2))
    boxes = np.concatenate((corners, corners + rng.integers(1, 40, (400, 2))), axis=1).astype(np.int32)
    matrix = pairwise_iou(torch.tensor(boxes).double(), torch.tensor(boxes).double())
    kept: list[int] = []
    for place in range(len(boxes)):
        if not any(matrix[place, other] > overlap for other in kept):
            kept.append(place)
    assert distinct(boxes, overlap).tolist() == kept
    assert len(kept) < 400


def test_equal_boxes_are_named_once() -> None:
    boxes = np.array([[0, 0, 4, 4], [1, 0, 4, 4], [0, 0, 4, 4], [1, 0, 4, 4], [2, 2, 3, 3]], np.int32)
    assert distinct(boxes, 1.0).tolist() == [0, 1, 4]


@pytest.mark.parametrize("size", [(1, 1), (1, 23), (23, 1), (2, 2), (3, 900), (40, 60)])
def test_any_image_has_boxes_within_it(size: tuple[int, int]) -> None:
    image = torch.from_numpy(picture(*size, seed=5))
    for search in (SelectiveSearch(), SelectiveSearchQuality()):
        boxes = search.propose(image, 5000).boxes
        assert len(boxes) >= 1
        assert boxes.min() >= 0 and boxes[:, 2].max() <= size[1] and boxes[:, 3].max() <= size[0]
        assert (boxes == boxes.new_tensor([0, 0, size[1], size[0]])).all(dim=1).any()


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_image_of_one_colour_is_one_region(value: int) -> None:
    boxes = SelectiveSearch().propose(torch.full((3, 30, 40), value, dtype=torch.uint8), 10).boxes
    assert boxes.tolist() == [[0, 0, 40, 30]]


def test_an_object_on_a_ground_is_found() -> None:
    image = torch.full((3, 60, 80), 30, dtype=torch.uint8)
    image[0, 20:45, 10:50] = 220
    overlap = pairwise_iou(torch.tensor([[10.0, 20, 50, 45]]), SelectiveSearch().propose(image, 50).boxes)
    assert overlap.max() > 0.85  # the smoothed edge is a region of its own


def test_the_same_image_gives_the_same_boxes_and_fewer_are_the_first_of_more() -> None:
    image = torch.from_numpy(picture(60, 90, seed=6))
    many = SelectiveSearch().propose(image, 1000).boxes
    assert torch.equal(SelectiveSearch().propose(image.clone(), 1000).boxes, many)
    assert torch.equal(SelectiveSearch().propose(image, 7).boxes, many[:7])
    assert len(many) > 50
    others = SelectiveSearch(seed=1).propose(image, 7).boxes
    assert not torch.equal(others, many[:7])


def test_rank_is_position_from_the_last_group_times_a_random_number() -> None:
    sizes = (5, 3)
    hierarchies = [np.array([[which, made, 9, 9] for made in range(n)], np.int32) for which, n in enumerate(sizes)]
    worth = {}
    for which, n in enumerate(sizes):
        random = np.random.default_rng((4, which)).random(n)
        for made in range(n):
            position = n - made  # 1 for the last, which is the whole image
            worth[which, made] = position * random[made]
    wanted = sorted(worth, key=lambda each: worth[each])
    assert [tuple(box[:2]) for box in ranked(hierarchies, 4).tolist()] == wanted


def test_large_images_are_reduced_and_boxes_mapped_back() -> None:
    image = torch.zeros(3, 300, 1200, dtype=torch.uint8)
    image[1, 60:240, 240:720] = 200
    reduced, whole = (SelectiveSearch(longer_side=side).propose(image, 100).boxes for side in (200, 0))
    assert pairwise_iou(torch.tensor([[240.0, 60, 720, 240]]), reduced).max() > 0.9
    assert set((reduced % 6).flatten().tolist()) == {0}
    assert pairwise_iou(torch.tensor([[240.0, 60, 720, 240]]), whole).max() > 0.95
    assert (whole % 6).any()


@pytest.mark.parametrize(
    "settings",
    [
        {"similarities": ("CX",)},
        {"similarities": ("",)},
        {"scales": ()},
        {"scales": (0.5,)},
        {"overlap": 0.2},
        {"overlap": 1.1},
        {"longer_side": -1},
        {"seed": -1},
        {"similarities": ("CC",)},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict) -> None:
    with pytest.raises(ConfigError):
        SelectiveSearch(**settings)


def test_other_than_images_are_refused() -> None:
    for image in (torch.zeros(3, 4, 4), torch.zeros(4, 4, dtype=torch.uint8), torch.zeros(3, 0, 4, dtype=torch.uint8)):
        with pytest.raises(ValueError, match="uint8"):
            SelectiveSearch().propose(image, 5)
    with pytest.raises(ValueError, match="at least 1"):
        SelectiveSearch().propose(torch.zeros(3, 4, 4, dtype=torch.uint8), 0)
