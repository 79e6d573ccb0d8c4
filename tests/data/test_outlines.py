"""Outlines of masks: filling them gives the mask back, pixel for pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from sightline.data.outlines import Polygon, clip, join, outlines
from sightline.data.segmentation import decode_segmentation

Mask = NDArray[np.bool_]
EIGHT = np.ones((3, 3), int)
masks = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda size: arrays(np.bool_, size))


def filled(polygons: tuple[Polygon, ...], shape: tuple[int, ...]) -> Mask:
    """What COCO's rules fill."""
    if not polygons:
        return np.zeros(shape, np.bool_)
    return decode_segmentation([p.ravel().tolist() for p in polygons], (shape[0], shape[1])).numpy()


def inside_by_crossings(polygon: Polygon, shape: tuple[int, ...]) -> Mask:
    """The even-odd rule at pixel centres, edge by edge."""
    result = np.zeros(shape, np.bool_)
    for y in range(shape[0]):
        for x in range(shape[1]):
            crossings = 0
            for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
                if (y1 > y + 0.5) != (y2 > y + 0.5):
                    crossings += x1 + (y + 0.5 - y1) * (x2 - x1) / (y2 - y1) > x + 0.5
            result[y, x] = crossings % 2
    return result


@settings(max_examples=300, deadline=None)
@given(masks)
def test_filling_the_joined_outline_gives_the_mask_back(mask: Mask) -> None:
    found = outlines(mask)
    if not mask.any():
        assert len(found.joined) == 0
        return
    assert (filled((found.joined,), mask.shape) == mask).all()
    assert (inside_by_crossings(found.joined, mask.shape) == mask).all()


@settings(max_examples=200, deadline=None)
@given(masks)
def test_outer_outlines_are_the_parts_and_fill_their_holes(mask: Mask) -> None:
    found = outlines(mask)
    assert (filled(found.outer, mask.shape) == ndimage.binary_fill_holes(mask)).all()
    background = ndimage.label(np.pad(~mask, 1, constant_values=True))[1]
    assert (len(found.outer), len(found.holes)) == (ndimage.label(mask, EIGHT)[1], background - 1)


def test_corners_only() -> None:
    mask = np.zeros((6, 9), np.bool_)
    mask[1:5, 2:8] = True
    assert outlines(mask).outer[0].tolist() == [[2, 1], [8, 1], [8, 5], [2, 5]]
    mask[3:5, 6:8] = False
    assert outlines(mask).outer[0].tolist() == [[2, 1], [8, 1], [8, 3], [6, 3], [6, 5], [2, 5]]


def test_a_ring_with_an_island() -> None:
    mask = np.ones((9, 9), np.bool_)
    mask[1:8, 1:8] = False
    mask[3:6, 3:6] = True
    mask[4, 4] = False
    found = outlines(mask)
    assert (len(found.outer), len(found.holes)) == (2, 2)
    assert (filled((found.joined,), mask.shape) == mask).all()


def test_joining_adds_no_area() -> None:
    squares = [np.array([[x, y], [x + 4, y], [x + 4, y + 4], [x, y + 4]], float) for x, y in ((1, 1), (20, 9), (9, 3))]
    one = join(squares)
    assert (filled((one,), (16, 30)) == filled(tuple(squares), (16, 30))).all()
    assert filled((one,), (16, 30)).sum() == 48
    steps = np.abs(np.diff(one, axis=0)).sum(axis=1)
    assert steps.max() < 12  # from the first to the middle one and on, not across


def test_a_thousand_parts() -> None:
    mask = np.random.default_rng(0).random((90, 120)) < 0.2
    found = outlines(mask)
    assert len(found.outer) > 500
    assert (filled((found.joined,), mask.shape) == mask).all()


def test_joining_one_or_none() -> None:
    triangle = np.array([[0, 0], [4, 0], [0, 4]], float)
    assert join([triangle]).tolist() == triangle.tolist()
    assert join([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("polygon", "expected"),
    [
        ([[1, 1], [5, 1], [5, 4]], [[1, 1], [5, 1], [5, 4]]),
        ([[-2, 1], [4, 1], [4, 3], [-2, 3]], [[0, 1], [4, 1], [4, 3], [0, 3]]),
        ([[-5, -5], [-1, -5], [-1, -1]], []),
        ([[8, 2], [12, 4], [8, 6]], [[8, 2], [10, 3], [10, 5], [8, 6]]),
    ],
)
def test_clipping_by_hand(polygon: list[list[float]], expected: list[list[float]]) -> None:
    clipped = clip(np.array(polygon, float), 10, 8).tolist()
    turned = [clipped[i:] + clipped[:i] for i in range(max(len(clipped), 1))]
    assert expected in turned
