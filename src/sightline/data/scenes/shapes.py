"""The twelve shapes of Scenes as outlines with keypoints, how they are posed, and how an outline becomes pixels.

A shape is drawn in its own frame: x to the right, y down, upright, about 2 across. Shapes that look the same after
part of a turn are turned by at most half of that part to either side, and all are then stretched symmetrically (no
further turn), so that every keypoint is one definite place in the picture. All shapes are mirror images of themselves;
a mirrored picture swaps the keypoints left and right.

Outlines are filled by signed area accumulation: exact along a row, four rows a pixel. Holes run the other way round.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi, sin, sqrt

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sightline.data.scenes.config import between

Points = NDArray[np.float64]
"""(V, 2) places as x, y."""
Plane = NDArray[np.float32]
"""(h, w) values, mostly 0..1."""

KEYPOINT_NAMES = ("centre", "tip", "right", "tail", "left")
_SUBROWS = 4
_GRID = 256.0
_ANY_TURN = pi


@dataclass(frozen=True, eq=False)
class Outline:
    """A shape in its own frame.

    Args:
        contours: closed polygons of (V, 2); holes run the other way round than what surrounds them.
        keypoints: (5, 2) in the order of ``KEYPOINT_NAMES``; (0, 2) for clutter.
        turn: largest rotation to either side in radians.
    """

    contours: tuple[Points, ...]
    keypoints: Points
    turn: float = _ANY_TURN


def _points(*places: tuple[float, float]) -> Points:
    return np.array(places, dtype=np.float64).reshape(-1, 2)


def arc(radius: float, start: float, stop: float, count: int, centre: tuple[float, float] = (0.0, 0.0)) -> Points:
    """Points on a circle, angles in radians from the top, clockwise as seen; the last angle is left out."""
    angles = [start + (stop - start) * i / count for i in range(count)]
    return _points(*((centre[0] + radius * sin(a), centre[1] - radius * cos(a)) for a in angles))


def _circle(radius: float, hole: bool = False) -> Points:
    points = arc(radius, 0.0, 2 * pi, 56)
    return points[::-1] if hole else points


def _compass(radius: float) -> Points:
    return _points((0, 0), (0, -radius), (radius, 0), (0, radius), (-radius, 0))


def _mirrored(half: Sequence[tuple[float, float]]) -> Points:
    """A closed outline from its right half, given from top to bottom."""
    left = [(-x, y) for x, y in reversed(half) if x != 0]
    return _points(*half, *left)


def _disc(rng: Generator) -> Outline:
    del rng
    return Outline((_circle(1.0),), _compass(1.0), turn=0.0)


def _ring(rng: Generator) -> Outline:
    return Outline((_circle(1.0), _circle(between(rng, 0.45, 0.68), hole=True)), _compass(1.0), turn=0.0)


def _triangle(rng: Generator) -> Outline:
    base, half = 0.7, between(rng, 0.56, 0.7)
    outline = _points((0, -1), (half, base), (-half, base))
    return Outline((outline,), _points((0, base * 2 / 3 - 1 / 3), (0, -1), (half, base), (0, base), (-half, base)))


def _square(rng: Generator) -> Outline:
    corner = between(rng, 0.0, 0.1)
    near = 1.0 - corner
    outline = _points((near, -1), (1, -near), (1, near), (near, 1), (-near, 1), (-1, near), (-1, -near), (-near, -1))
    return Outline((outline,), _compass(1.0), turn=pi / 4)


def _pentagon(rng: Generator) -> Outline:
    del rng
    corners = arc(1.0, 0.0, 2 * pi, 5)
    keypoints = np.stack([np.zeros(2), corners[0], corners[1], (corners[2] + corners[3]) / 2, corners[4]])
    return Outline((corners,), keypoints, turn=pi / 5)


def _star(rng: Generator) -> Outline:
    inner = between(rng, 0.36, 0.5)
    outer_tips = arc(1.0, 0.0, 2 * pi, 5)
    notches = arc(inner, pi / 5, 2 * pi + pi / 5, 5)
    outline = np.stack([outer_tips, notches], axis=1).reshape(-1, 2)
    keypoints = np.stack([np.zeros(2), outer_tips[0], outer_tips[1], notches[2], outer_tips[4]])
    return Outline((outline,), keypoints, turn=pi / 5)


def _cross(rng: Generator) -> Outline:
    arm = between(rng, 0.24, 0.38)
    half = [(arm, -1.0), (arm, -arm), (1.0, -arm), (1.0, arm), (arm, arm), (arm, 1.0)]
    return Outline((_mirrored(half),), _compass(1.0), turn=pi / 4)


def _arrow(rng: Generator) -> Outline:
    wing, neck, shaft = between(rng, 0.6, 0.8), between(rng, -0.25, 0.05), between(rng, 0.18, 0.3)
    outline = _mirrored([(0.0, -1.0), (wing, neck), (shaft, neck), (shaft, 1.0)])
    return Outline((outline,), _points((0, 0), (0, -1), (wing, neck), (0, 1), (-wing, neck)))


def _heart(rng: Generator) -> Outline:
    # The usual heart curve of sines and cosines.
    fat = between(rng, 0.9, 1.1)
    angles = [2 * pi * i / 56 for i in range(56)]
    heights = [-(13 * cos(a) - 5 * cos(2 * a) - 2 * cos(3 * a) - cos(4 * a)) / 16 - 0.15 for a in angles]
    outline = _points(*((fat * sin(a) ** 3, y) for a, y in zip(angles, heights, strict=True)))
    notch, wide, point = outline[0], outline[14], outline[28]
    keypoints = _points((0, 0), (0, point[1]), (fat, wide[1]), (0, notch[1]), (-fat, wide[1]))
    return Outline((outline,), keypoints)


def _crescent(rng: Generator) -> Outline:
    # The outer circle less a circle of radius r that is moved down by d; they meet at the horns.
    radius, shift = between(rng, 0.78, 0.9), between(rng, 0.42, 0.58)
    horn_y = (1 + shift * shift - radius * radius) / (2 * shift)
    horn_x = sqrt(1 - horn_y * horn_y)
    outer_angle = pi - float(np.arctan2(horn_x, horn_y))
    inner_angle = pi - float(np.arctan2(horn_x, horn_y - shift))
    outer = arc(1.0, -outer_angle, outer_angle, 40)
    inner = arc(radius, inner_angle, -inner_angle, 40, (0.0, shift))
    tail = shift - radius
    keypoints = _points((0, (tail - 1) / 2), (0, -1), (horn_x, horn_y), (0, tail), (-horn_x, horn_y))
    return Outline((np.concatenate([outer, inner]),), keypoints)


def _gear(rng: Generator) -> Outline:
    teeth, root, hole = 8, between(rng, 0.68, 0.76), between(rng, 0.22, 0.38)
    step, top, foot = 2 * pi / teeth, between(rng, 0.17, 0.22), between(rng, 0.27, 0.31)
    corners: list[tuple[float, float]] = []
    for tooth in range(teeth):
        for radius, share in ((root, -foot), (1.0, -top), (1.0, top), (root, foot)):
            angle = (tooth + share) * step
            corners.append((radius * sin(angle), -radius * cos(angle)))
    return Outline((_points(*corners), _circle(hole, hole=True)), _compass(1.0), turn=step / 2)


def _drop(rng: Generator) -> Outline:
    width, sharp = between(rng, 0.85, 1.05), between(rng, 1.4, 2.0)
    half = [(width * sin(a) * sin(a / 2) ** sharp, -cos(a)) for a in (pi * i / 30 for i in range(1, 30))]
    right = max(half)
    outline = _mirrored([(0.0, -1.0), *half, (0.0, 1.0)])
    return Outline((outline,), _points((0, right[1]), (0, -1), right, (0, 1), (-right[0], right[1])))


_SHAPES: dict[str, Callable[[Generator], Outline]] = {
    "disc": _disc,
    "ring": _ring,
    "triangle": _triangle,
    "square": _square,
    "pentagon": _pentagon,
    "star": _star,
    "cross": _cross,
    "arrow": _arrow,
    "heart": _heart,
    "crescent": _crescent,
    "gear": _gear,
    "drop": _drop,
}
CLASS_NAMES = tuple(_SHAPES)


def outline_of(label: int, rng: Generator) -> Outline:
    """A shape of the class with this label (0..11), with proportions of its own."""
    return _SHAPES[CLASS_NAMES[label]](rng)


@dataclass(frozen=True)
class Pose:
    """How an outline stands in the picture.

    Args:
        angle: rotation in radians, clockwise as seen.
        stretch: factor along ``axis``; its inverse is the factor across.
        axis: direction of the stretch in radians.
        tilt: (x, y) of a mild perspective: how fast things shrink to the right and downwards.
    """

    angle: float
    stretch: float
    axis: float
    tilt: tuple[float, float]

    @classmethod
    def draw(cls, rng: Generator, turn: float) -> "Pose":
        """A pose that turns by at most ``turn`` radians."""
        return cls(
            angle=between(rng, -turn, turn),
            stretch=between(rng, 1.0, 1.13),
            axis=between(rng, 0.0, pi),
            tilt=(between(rng, -0.09, 0.09), between(rng, -0.09, 0.09)),
        )

    def apply(self, points: Points) -> Points:
        """The points (V, 2) after rotation, stretch and perspective, in that order."""
        c, s = cos(self.axis), sin(self.axis)
        along, across = self.stretch, 1 / self.stretch
        xx, xy, yy = along * c * c + across * s * s, (along - across) * c * s, along * s * s + across * c * c
        turned_c, turned_s = cos(self.angle), sin(self.angle)
        x, y = points[:, 0], points[:, 1]
        posed = np.empty_like(points)
        posed[:, 0] = x * (xx * turned_c + xy * turned_s) + y * (xy * turned_c - xx * turned_s)
        posed[:, 1] = x * (xy * turned_c + yy * turned_s) + y * (yy * turned_c - xy * turned_s)
        posed /= (1.0 + self.tilt[0] * posed[:, 0] + self.tilt[1] * posed[:, 1])[:, None]
        return posed


def fit(outline: Outline, pose: Pose, length: float, offset: tuple[float, float]) -> Outline:
    """The posed outline in pixels: its box is ``length`` along the longer side and begins at ``offset`` (x, y)."""
    posed = pose.apply(np.concatenate(outline.contours))
    low, extent = posed.min(axis=0), np.ptp(posed, axis=0)
    factor = length / extent.max()

    def to_pixels(points: Points) -> Points:
        # Rounded to 1/256 pixel, so that the last bit of a machine's sine cannot turn a pixel.
        pixels: Points = np.round(((points - low) * factor + np.array(offset)) * _GRID) / _GRID
        return pixels

    ends = np.cumsum([len(contour) for contour in outline.contours])
    contours = tuple(np.split(to_pixels(posed), ends[:-1]))
    return Outline(contours, to_pixels(pose.apply(outline.keypoints)), outline.turn)


def coverage(contours: Sequence[Points], size: tuple[int, int]) -> Plane:
    """The share of each pixel that lies inside the contours.

    Args:
        contours: closed polygons in pixels; x may leave the picture on either side, y as well.
        size: (h, w) of the result.

    Returns:
        (h, w) float32 in 0..1; places wound round more than once count once.
    """
    height, width = size
    start = np.concatenate(contours)
    lasts = np.cumsum([len(contour) for contour in contours]) - 1
    following = np.arange(1, len(start) + 1)
    following[lasts] = np.concatenate([[0], lasts[:-1] + 1])
    end = start[following]
    rows = (np.arange(height * _SUBROWS) + 0.5) / _SUBROWS
    line, edge = np.nonzero((start[:, 1] <= rows[:, None]) != (end[:, 1] <= rows[:, None]))
    run, rise = end[edge, 0] - start[edge, 0], end[edge, 1] - start[edge, 1]
    x = np.clip(start[edge, 0] + (rows[line] - start[edge, 1]) * run / rise, 0, width)
    column = np.floor(x).astype(np.int64)
    inside = np.where(rise > 0, 1.0, -1.0) / _SUBROWS
    share = x - column
    # A crossing changes everything to its right: its own pixel in part, the next ones through the running sum.
    place = (line // _SUBROWS) * (width + 2) + column
    cells = height * (width + 2)
    steps = np.bincount(place, inside * (1 - share), cells) + np.bincount(place + 1, inside * share, cells)
    filled = np.cumsum(steps.reshape(height, width + 2), axis=1)[:, :width]
    return np.minimum(np.abs(filled), 1).astype(np.float32)
