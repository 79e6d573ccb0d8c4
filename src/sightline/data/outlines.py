"""Masks as polygons: the outlines of pixels, and several outlines joined to one.

A pixel is a square, so an outline runs along pixel edges and its corners are whole numbers. COCO's rules for filling
polygons give the same pixels back. Pixels that touch by a corner only belong together, as in connected components with
eight neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]
"""(P, 2) x, y in pixels; the last point is joined to the first."""

_TURNS_LEFT_DOWN = 1
_TURNS_LEFT_UP = 2


@dataclass(frozen=True, eq=False)
class Outlines:
    """The outlines of a mask.

    Args:
        outer: around each connected part.
        holes: around each hole.
    """

    outer: tuple[Polygon, ...]
    holes: tuple[Polygon, ...]

    @property
    def joined(self) -> Polygon:
        """One polygon, which filled by the even-odd rule gives the mask with its holes; empty for an empty mask."""
        return join((*self.outer, *self.holes))


def outlines(mask: NDArray[np.bool_]) -> Outlines:
    """The outlines of a mask.

    Args:
        mask: (H, W) bool.

    Returns:
        Polygons without points on straight lines. Filling ``outer`` alone gives the mask with its holes filled.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return Outlines((), ())
    top, left = int(rows[0]), int(columns[0])
    padded = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1).astype(np.bool_)
    corners, across, down = _corners(padded)
    outer: list[Polygon] = []
    holes: list[Polygon] = []
    for cycle in _cycles(across, down):
        points = corners[cycle]
        # The first corner is the uppermost, and of these the leftmost: the outline's inside is below and right of it.
        y, x = points[0]
        polygon = np.asarray(points[:, ::-1] + [left, top], np.float64)
        (outer if padded[y + 1, x + 1] else holes).append(polygon)
    return Outlines(tuple(outer), tuple(holes))


def _corners(padded: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Corners (V, 2) y, x of the outlines in reading order, each one's partner in its row, and in its column."""
    above_left, above_right = padded[:-1, :-1], padded[:-1, 1:]
    below_left, below_right = padded[1:, :-1], padded[1:, 1:]
    odd = above_left ^ above_right ^ below_left ^ below_right
    crossing = (above_left == below_right) & (above_right == below_left) & (above_left != above_right)
    # A corner where two outlines meet counts twice: first with the edge on its left, then with that on its right.
    turn = np.where(above_left, _TURNS_LEFT_DOWN, _TURNS_LEFT_UP) * crossing
    flat = np.repeat(np.arange(odd.size), (odd + 2 * crossing).ravel())
    corners = np.stack(np.divmod(flat, odd.shape[1]), axis=1)
    count = len(flat)
    across = np.arange(count) ^ 1
    # Down a column the one whose outline turns up comes first, and the one that turns down follows.
    is_right = np.zeros(count, np.int64)
    is_right[1:] = flat[1:] == flat[:-1]
    late = np.where(turn.ravel()[flat] == _TURNS_LEFT_DOWN, 1 - is_right, is_right)
    order = np.lexsort((late, corners[:, 0], corners[:, 1]))
    down = np.empty(count, np.int64)
    down[order] = order[np.arange(count) ^ 1]
    return corners, across, down


def _cycles(across: NDArray[np.int64], down: NDArray[np.int64]) -> list[list[int]]:
    """The closed outlines as lists of corners: one step across, one step down, until the start is reached."""
    by_row, by_column = across.tolist(), down.tolist()
    seen = bytearray(len(by_row))
    found: list[list[int]] = []
    for start in range(len(by_row)):
        cycle: list[int] = []
        corner = start
        while not seen[corner]:
            other = by_row[corner]
            seen[corner] = seen[other] = 1
            cycle += [corner, other]
            corner = by_column[other]
        if cycle:
            found.append(cycle)
    return found


def join(polygons: Sequence[Polygon]) -> Polygon:
    """Several polygons as one: each next one is tied to its nearest point by a line that is walked there and back.

    Filled by the even-odd rule, the result covers what an odd number of the polygons cover: all of parts that do not
    overlap, and not what a hole cuts out.

    Args:
        polygons: any number; the first is where the result starts.

    Returns:
        (P, 2); (0, 2) without polygons.
    """
    if not polygons:
        return np.zeros((0, 2))
    points = np.concatenate(polygons)
    owners = np.repeat(np.arange(len(polygons)), [len(polygon) for polygon in polygons])
    # Of each point that is not joined yet: how far the nearest joined one is, squared, and which.
    distances, nearest = np.full(len(points), np.inf), np.zeros(len(points), np.int64)
    walk = last = np.flatnonzero(owners == 0)
    rest = owners != 0
    while rest.any():
        _approach(points, last, np.flatnonzero(rest), distances, nearest)
        entry = int(np.where(rest, distances, np.inf).argmin())
        last = np.flatnonzero(owners == owners[entry])
        here = int(np.flatnonzero(walk == nearest[entry])[0])
        detour = np.append(np.roll(last, last[0] - entry), entry)
        walk = np.concatenate([walk[: here + 1], detour, walk[here:]])
        rest[last] = False
    return points[walk]


def _approach(
    points: NDArray[np.float64],
    joined: NDArray[np.int64],
    rest: NDArray[np.int64],
    distances: NDArray[np.float64],
    nearest: NDArray[np.int64],
) -> None:
    """Brings distances and nearest points of the rest up to date after ``joined`` were joined."""
    for start in range(0, len(joined), 256):
        part = joined[start : start + 256]
        squares = ((points[rest][:, None, :] - points[part][None, :, :]) ** 2).sum(axis=2)
        closest = squares.min(axis=1)
        closer = closest < distances[rest]
        distances[rest[closer]] = closest[closer]
        nearest[rest[closer]] = part[squares.argmin(axis=1)[closer]]


def clip(polygon: Polygon, width: float, height: float) -> Polygon:
    """The part of a polygon inside 0..width and 0..height (Sutherland and Hodgman, 1974).

    Args:
        polygon: (P, 2).
        width: of the image.
        height: of the image.

    Returns:
        (Q, 2): the same points where none lies outside; parts that were apart are tied along the border.
    """
    for axis, limit, sign in ((0, 0.0, 1.0), (0, width, -1.0), (1, 0.0, 1.0), (1, height, -1.0)):
        inside = sign * (polygon[:, axis] - limit) >= 0
        if inside.all():
            continue
        before, was_inside = np.roll(polygon, 1, axis=0), np.roll(inside, 1)
        kept: list[NDArray[np.float64]] = []
        for a, b, a_in, b_in in zip(before, polygon, was_inside, inside, strict=True):
            if a_in != b_in:
                point = a + (b - a) * ((limit - a[axis]) / (b[axis] - a[axis]))
                point[axis] = limit
                kept.append(point)
            if b_in:
                kept.append(b)
        polygon = np.array(kept, np.float64).reshape(-1, 2)
    return polygon
