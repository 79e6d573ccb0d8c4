"""What lies about in Scenes beside the objects: strokes, letters, zigzags, arcs, blobs, shards, bars and spirals.

None of it is one of the twelve shapes, though some is near: arcs of even width are no crescents, long ovals no discs,
lop-sided shards no triangles. It wears the same colours, patterns and light as the objects, so that only the outline
tells them apart.
"""

from collections.abc import Callable
from math import cos, pi, sin

import numpy as np
from numpy.random import Generator

from sightline.data.scenes.config import between, pick, whole
from sightline.data.scenes.shapes import Outline, Points

_NONE = np.zeros((0, 2))

# Strokes of letters and letter-like signs on a grid of 2 x 2, x to the right and y down; T, X and + would be crosses.
_LETTERS: tuple[tuple[tuple[tuple[float, float], ...], ...], ...] = (
    (((-0.6, -1), (-0.6, 1), (0.6, 1)),),
    (((-0.6, -1), (0.6, -1)), ((-0.6, 0), (0.4, 0)), ((-0.6, -1), (-0.6, 1))),
    (((-0.6, -1), (-0.6, 1)), ((0.6, -1), (0.6, 1)), ((-0.6, 0), (0.6, 0))),
    (((-0.7, 1), (-0.7, -1), (0.7, 1), (0.7, -1)),),
    (((-0.7, -1), (0.7, -1), (-0.7, 1), (0.7, 1)),),
    (((-0.7, -1), (-0.35, 1), (0, -0.2), (0.35, 1), (0.7, -1)),),
    (((-0.6, -1), (-0.6, 1)), ((0.6, -1), (-0.6, 0.1), (0.6, 1))),
    (((0.6, -1), (-0.6, -1), (-0.6, 1), (0.6, 1)), ((-0.6, 0), (0.4, 0))),
    (((-0.7, -1), (0, 0), (0.7, -1)), ((0, 0), (0, 1))),
)


def _stroke(line: Points, width: float) -> tuple[Points, ...]:
    """A line of even width: a quadrilateral a segment, a little longer than it so that corners close."""
    start, end = line[:-1], line[1:]
    step = end - start
    along = step * (width / 2 / np.maximum(np.sqrt(step[:, :1] ** 2 + step[:, 1:] ** 2), 1e-6))
    across = along[:, ::-1] * np.array([1.0, -1.0])
    corners = (start - along + across, end + along + across, end + along - across, start - along - across)
    return tuple(np.stack(corners, axis=1))


def _letter(rng: Generator) -> Outline:
    width = between(rng, 0.2, 0.42)
    strokes = [_stroke(np.array(line), width) for line in pick(rng, _LETTERS)]
    return Outline(tuple(piece for stroke in strokes for piece in stroke), _NONE)


def _zigzag(rng: Generator) -> Outline:
    count, height = whole(rng, 3, 6), between(rng, 0.15, 0.4)
    line = np.array([(2 * i / count - 1, height * (-1) ** i) for i in range(count + 1)])
    return Outline(_stroke(line, between(rng, 0.1, 0.22)), _NONE)


def _wave(rng: Generator) -> Outline:
    bends, height, phase = between(rng, 2.0, 7.0), between(rng, 0.1, 0.35), between(rng, 0, 2 * pi)
    places = [i / 10 - 1 for i in range(21)]
    line = np.array([(x, height * sin(bends * x + phase)) for x in places])
    return Outline(_stroke(line, between(rng, 0.06, 0.2)), _NONE)


def _bend(rng: Generator) -> Outline:
    extent = between(rng, 1.2, 4.2)
    line = np.array([(cos(extent * i / 16), sin(extent * i / 16)) for i in range(17)])
    return Outline(_stroke(line, between(rng, 0.12, 0.3)), _NONE)


def _spiral(rng: Generator) -> Outline:
    turns = between(rng, 1.6, 2.4)
    radii = [(0.15 + 0.85 * i / 36, 2 * pi * turns * i / 36) for i in range(37)]
    line = np.array([(r * cos(a), r * sin(a)) for r, a in radii])
    return Outline(_stroke(line, between(rng, 0.1, 0.18)), _NONE)


def _bar(rng: Generator) -> Outline:
    half = between(rng, 0.05, 0.22)
    return Outline(_stroke(np.array([(-1.0, 0.0), (1.0, 0.0)]), 2 * half), _NONE)


def _oval(rng: Generator) -> Outline:
    half = between(rng, 0.16, 0.34)
    return Outline((np.array([(cos(a), half * sin(a)) for a in (2 * pi * i / 40 for i in range(40))]),), _NONE)


def _blob(rng: Generator) -> Outline:
    # A closed curve of which the third harmonic is strong: three arms, never round, and never the two lobes of a heart.
    phases = [between(rng, 0, 2 * pi) for _ in range(3)]
    sizes = [between(rng, 0.3, 0.5), between(rng, 0.05, 0.2), between(rng, 0.05, 0.15)]
    outline = []
    for i in range(48):
        angle = 2 * pi * i / 48
        waves = zip(sizes, phases, (3, 2, 5), strict=True)
        radius = 1 + sum(size * sin(order * angle + phase) for size, phase, order in waves)
        outline.append((radius * cos(angle), radius * sin(angle)))
    return Outline((np.array(outline),), _NONE)


def _shard(rng: Generator) -> Outline:
    # Four corners around the middle, one of them drawn far in: a dart or a sliver.
    corners = []
    for i, radius in enumerate((1.0, between(rng, 0.25, 0.45), between(rng, 0.7, 1.0), between(rng, 0.08, 0.2))):
        angle = pi / 2 * i + between(rng, -0.35, 0.35)
        corners.append((radius * cos(angle), radius * sin(angle)))
    return Outline((np.array(corners),), _NONE)


def _dashes(rng: Generator) -> Outline:
    count, width = whole(rng, 3, 5), between(rng, 0.1, 0.25)
    pieces: list[Points] = []
    for i in range(count):
        begin = 2 * i / count - 1
        pieces.extend(_stroke(np.array([(begin, 0.0), (begin + 0.9 / count, 0.0)]), width))
    return Outline(tuple(pieces), _NONE)


_KINDS: tuple[Callable[[Generator], Outline], ...] = (
    _letter,
    _letter,
    _zigzag,
    _wave,
    _bend,
    _spiral,
    _bar,
    _oval,
    _blob,
    _shard,
    _shard,
    _dashes,
)
_LONG_KINDS: tuple[Callable[[Generator], Outline], ...] = (_wave, _bar, _bar, _bend, _shard, _zigzag)


def clutter_outline(rng: Generator) -> Outline:
    """Something that is not an object, about 2 across, without keypoints."""
    return pick(rng, _KINDS)(rng)


def occluder_outline(rng: Generator) -> Outline:
    """Something thin that lies in front of objects, about 2 across, without keypoints."""
    return pick(rng, _LONG_KINDS)(rng)
