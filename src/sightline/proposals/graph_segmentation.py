"""Graph-based segmentation (Felzenszwalb and Huttenlocher, IJCV 2004).

Pixels are the nodes of a graph with an edge to each of their eight neighbours, as long as the two differ in colour.
From the shortest edge to the longest, two segments become one where the edge between them is no longer than the longest
inside either, plus a tolerance that shrinks as a segment grows (equations 3 and 4):

    w <= min(Int(a) + k / |a|, Int(b) + k / |b|)

Small segments are joined afterwards to the neighbour across their shortest edge, as the authors' section 5 does.

Legend: C channels, H rows, W columns, E edges, S segments.

Departure: lengths are rounded to 1/128 of a grey level, so that one pass of counting sorts them. Edges of equal length
come in the order of direction (right, down, down and right, up and right), then of rows and columns.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.proposals.compiled import compiled

STEPS = 128
"""Steps of length within one grey level."""


@dataclass(frozen=True, eq=False)
class SortedEdges:
    """The edges of an image, shortest first; one sorting serves any number of scales.

    Args:
        order: (E,) int32: four times the place of the edge's first pixel, plus its direction.
        starts: (65537,) int64: where in the order the edges of each length begin; lengths in steps.
        size: (H, W) of the image.
    """

    order: NDArray[np.int32]
    starts: NDArray[np.int64]
    size: tuple[int, int]


def sorted_edges(planes: NDArray[np.float32]) -> SortedEdges:
    """The edges of an image by length.

    Args:
        planes: (C, H, W), smoothed (the paper: by a Gaussian of 0.8 pixels), of values up to 255.
    """
    order, starts = _sort(_lengths(planes))
    return SortedEdges(order, starts, (planes.shape[1], planes.shape[2]))


def segment(edges: SortedEdges, scale: float, smallest: int) -> tuple[NDArray[np.int32], int]:
    """The segments of an image.

    Args:
        edges: of the image.
        scale: k; larger ones prefer larger segments.
        smallest: pixels that a segment has at least, unless it is the whole image.

    Returns:
        (H, W) labels from 0, in the order in which rows meet them; and S.
    """
    height, width = edges.size
    labels, count = _join(edges.order, edges.starts, width, height * width, scale, smallest)
    return labels.reshape(height, width), count


@compiled
def _lengths(planes: NDArray[np.float32]) -> NDArray[np.uint16]:
    """(4, H, W) steps from each pixel to its neighbour in each direction; 65535 where there is none."""
    channels, height, width = planes.shape
    lengths = np.full((4, height, width), np.uint16(65535))
    squares = np.empty(width, np.float32)
    for direction in range(4):
        down = 0 if direction == 0 else (-1 if direction == 3 else 1)
        right = 0 if direction == 1 else 1
        for row in range(max(0, -down), height - max(0, down)):
            squares[:] = np.float32(0)
            for channel in range(channels):
                here, there = planes[channel, row], planes[channel, row + down]
                for column in range(width - right):
                    difference = here[column] - there[column + right]
                    squares[column] += difference * difference
            for column in range(width - right):
                length = np.sqrt(squares[column]) * np.float32(STEPS) + np.float32(0.5)
                lengths[direction, row, column] = np.uint16(min(length, np.float32(65534)))
    return lengths


@compiled
def _sort(lengths: NDArray[np.uint16]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Edges by counting: their order, and where each length begins in it."""
    pixels = lengths.shape[1] * lengths.shape[2]
    flat = lengths.reshape(4, pixels)
    starts = np.zeros(65537, np.int64)
    for direction in range(4):
        for pixel in range(pixels):
            starts[np.int64(flat[direction, pixel]) + 1] += 1
    missing = starts[65536]
    for length in range(1, 65537):
        starts[length] += starts[length - 1]
    place = starts[:65536].copy()
    order = np.empty(4 * pixels, np.int32)
    for direction in range(4):
        for pixel in range(pixels):
            length = flat[direction, pixel]
            order[place[length]] = pixel * 4 + direction
            place[length] += 1
    starts[65536] -= missing
    return order[: 4 * pixels - missing], starts


@compiled
def _root(parents: NDArray[np.int32], node: int) -> int:
    """The root of a tree of joined nodes; the way to it is halved."""
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@compiled
def _join(
    order: NDArray[np.int32],
    starts: NDArray[np.int64],
    width: int,
    pixels: int,
    scale: float,
    smallest: int,
) -> tuple[NDArray[np.int32], int]:
    """The segments: (pixels,) labels and how many there are."""
    steps = (1, width, width + 1, 1 - width)
    parents = np.arange(pixels, dtype=np.int32)
    sizes = np.ones(pixels, np.int32)
    # The longest edge that a segment accepts next: Int + k / size.
    accepted = np.full(pixels, np.float32(scale))
    refused = np.empty(len(order), np.int32)
    refusals = 0
    for length in range(65535):
        weight = np.float32(length) / np.float32(STEPS)
        for place in range(starts[length], starts[length + 1]):
            first = order[place] >> 2
            a = _root(parents, first)
            b = _root(parents, first + steps[order[place] & 3])
            if a == b:
                continue
            if weight <= accepted[a] and weight <= accepted[b]:
                if sizes[a] < sizes[b]:
                    a, b = b, a
                parents[b] = a
                sizes[a] += sizes[b]
                accepted[a] = weight + np.float32(scale) / np.float32(sizes[a])
            else:
                refused[refusals] = order[place]
                refusals += 1
    for place in range(refusals):
        first = refused[place] >> 2
        a = _root(parents, first)
        b = _root(parents, first + steps[refused[place] & 3])
        if a != b and min(sizes[a], sizes[b]) < smallest:
            if sizes[a] < sizes[b]:
                a, b = b, a
            parents[b] = a
            sizes[a] += sizes[b]
    return _numbered(parents)


@compiled
def _numbered(parents: NDArray[np.int32]) -> tuple[NDArray[np.int32], int]:
    """Labels from 0 in the order in which the pixels meet their roots."""
    names = np.full(len(parents), np.int32(-1))
    labels = np.empty(len(parents), np.int32)
    count = 0
    for pixel in range(len(parents)):
        root = _root(parents, pixel)
        if names[root] < 0:
            names[root] = count
            count += 1
        labels[pixel] = names[root]
    return labels, count
