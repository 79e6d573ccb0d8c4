"""Scenes: outlines, poses and how they become pixels, against slow and exact answers."""

from math import pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.data.scenes.clutter import clutter_outline
from sightline.data.scenes.config import ScenesConfig, stream
from sightline.data.scenes.paint import box_blur, value_noise
from sightline.data.scenes.shapes import CLASS_NAMES, KEYPOINT_NAMES, Pose, arc, coverage, fit, outline_of


def shoelace(points: np.ndarray) -> float:
    following = np.roll(points, -1, axis=0)
    return float(np.sum(points[:, 0] * following[:, 1] - following[:, 0] * points[:, 1])) / 2


def draws(index: int) -> np.random.Generator:
    return stream(ScenesConfig(), "train", index, "layout")


@pytest.mark.parametrize("label", range(len(CLASS_NAMES)), ids=CLASS_NAMES)
def test_filled_area_is_the_area_of_the_outline(label: int) -> None:
    rng = draws(label)
    outline = outline_of(label, rng)
    fitted = fit(outline, Pose.draw(rng, outline.turn), 50.0, (3.3, 2.6))
    area = abs(sum(shoelace(contour) for contour in fitted.contours))
    assert coverage(fitted.contours, (60, 60)).sum() == pytest.approx(area, rel=5e-3)


@pytest.mark.parametrize("label", range(len(CLASS_NAMES)), ids=CLASS_NAMES)
def test_posed_outline_is_as_long_as_asked_and_begins_at_its_offset(label: int) -> None:
    rng = draws(label)
    outline = outline_of(label, rng)
    points = np.concatenate(fit(outline, Pose.draw(rng, outline.turn), 37.0, (0.25, 0.75)).contours)
    assert np.ptp(points, axis=0).max() == pytest.approx(37.0, abs=0.01)
    assert points.min(axis=0) == pytest.approx([0.25, 0.75], abs=0.01)


@pytest.mark.parametrize("label", range(len(CLASS_NAMES)), ids=CLASS_NAMES)
def test_outer_keypoints_lie_on_the_outline_and_mirror_each_other(label: int) -> None:
    outline = outline_of(label, draws(label))
    named = dict(zip(KEYPOINT_NAMES, outline.keypoints, strict=True))
    edges = [np.linspace(a, b, 60) for c in outline.contours for a, b in zip(c, np.roll(c, -1, axis=0), strict=True)]
    border = np.concatenate(edges)
    for name in ("tip", "right", "tail", "left"):
        assert np.sqrt(((border - named[name]) ** 2).sum(axis=1)).min() < 0.03, name
    assert named["right"] * [-1, 1] == pytest.approx(named["left"], abs=1e-9)
    heights = [named[name][1] for name in ("tip", "centre", "tail")]
    assert heights == sorted(heights, reverse=CLASS_NAMES[label] == "heart")
    assert named["right"][0] > 0 == named["tip"][0]


@pytest.mark.parametrize("label", range(len(CLASS_NAMES)), ids=CLASS_NAMES)
def test_shapes_look_the_same_after_the_turn_that_they_are_spared(label: int) -> None:
    # Twice the largest turn to one side is where the shape meets itself again, and not before.
    outline = outline_of(label, draws(label))

    def pixels(angle: float) -> np.ndarray:
        turned = [Pose(angle, 1.0, 0.0, (0.0, 0.0)).apply(contour) * 20 + 24 for contour in outline.contours]
        return coverage(turned, (48, 48))

    still = pixels(0.0)
    assert np.abs(pixels(2 * outline.turn) - still).mean() < 2e-3
    if 0 < outline.turn < pi:
        assert np.abs(pixels(outline.turn) - still).mean() > 0.01


@given(
    st.lists(st.tuples(st.floats(-8, 20), st.floats(-8, 20)), min_size=3, max_size=3),
)
def test_coverage_of_a_triangle_is_its_share_of_points_inside(corners: list[tuple[float, float]]) -> None:
    triangle = np.array(corners)
    if abs(shoelace(triangle)) < 1.0:
        return
    places = (np.arange(12 * 8) + 0.5) / 8
    x, y = np.meshgrid(places, places)
    sides = [
        (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])
        for a, b in zip(triangle, np.roll(triangle, -1, axis=0), strict=True)
    ]
    inside = np.all([s >= 0 for s in sides], axis=0) | np.all([s <= 0 for s in sides], axis=0)
    wanted = inside.reshape(12, 8, 12, 8).mean(axis=(1, 3))
    assert np.abs(coverage([triangle], (12, 12)) - wanted).max() < 0.27
    assert abs(float(coverage([triangle], (12, 12)).sum() - wanted.sum())) < 2.0


def test_a_hole_is_left_out_and_overlaps_count_once() -> None:
    circle = arc(8.0, 0.0, 2 * pi, 64, (10.0, 10.0))
    hole = arc(4.0, 0.0, 2 * pi, 64, (10.0, 10.0))[::-1]
    ring = coverage([circle, hole], (20, 20))
    assert ring[10, 10] == 0
    assert ring[10, 4] == 1
    assert coverage([circle, circle], (20, 20)).max() == 1


def test_clutter_covers_something_and_no_class_is_among_it() -> None:
    for index in range(40):
        rng = draws(index)
        outline = clutter_outline(rng)
        fitted = fit(outline, Pose.draw(rng, outline.turn), 24.0, (0.0, 0.0))
        assert coverage(fitted.contours, (25, 25)).sum() > 5
        assert outline.keypoints.shape == (0, 2)


def test_blur_is_two_boxes_with_zeros_around() -> None:
    plane = np.random.default_rng(0).random((7, 9), dtype=np.float32)
    box = np.ones(5) / 5
    kernel = np.convolve(box, box)
    wanted = np.pad(plane.astype(np.float64), 3)
    for axis in (0, 1):
        wanted = np.apply_along_axis(lambda line: np.convolve(line, kernel, "same"), axis, wanted)
    assert box_blur(plane, 2, grow=3) == pytest.approx(wanted, abs=1e-6)


def test_value_noise_is_smooth_and_in_range() -> None:
    smooth = value_noise(draws(0), (40, 50), (20, 20))
    assert smooth.shape == (40, 50)
    assert smooth.dtype == np.float32
    assert 0 <= smooth.min() < smooth.max() <= 1
    assert np.abs(np.diff(smooth, axis=1)).max() < 0.1
    assert np.abs(np.diff(value_noise(draws(0), (40, 50), (2, 2)), axis=1)).max() > 0.2
