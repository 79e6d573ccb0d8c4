"""How Scenes are painted: noise, patterns, grounds, light and colour, as plain arrays.

Value noise is Perlin's idea in its simplest form (lattice of random values, smooth interpolation, octaves summed);
light is Lambert's cosine law to first order on a height that is the blurred outline. Only + - * / and square roots
touch pixels, which every machine rounds alike, so that the same seed gives the same picture everywhere. Everything is
float32: numpy keeps it so beside Python's numbers.
"""

import colorsys
from collections.abc import Callable
from math import cos, pi, sin
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sightline.data.scenes.config import between, pick, whole
from sightline.data.scenes.shapes import Plane

Canvas = NDArray[np.float32]
"""(3, H, W) RGB in 0..1."""
Colour = NDArray[np.float32]
"""(3, 1, 1) RGB in 0..1."""

_LUMA = (0.30, 0.59, 0.11)


def unit(values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """The values clipped to 0..1."""
    clipped: NDArray[np.float32] = np.clip(values, 0, 1, dtype=np.float32)
    return clipped


def value_noise(rng: Generator, size: tuple[int, int], cell: tuple[float, float], octaves: int = 1) -> Plane:
    """Smooth noise of (h, w) in 0..1; ``cell`` is the (rows, columns) that one lattice step spans at first.

    Each further octave has half the cell and half the weight.
    """
    total: Plane = np.zeros(size, dtype=np.float32)
    weight, weights = 1.0, 0.0
    for octave in range(octaves):
        step = [max(extent / 2**octave, 1.0) for extent in cell]
        total += weight * _lattice(rng, size, (step[0], step[1]))
        weights += weight
        weight /= 2
    return total / weights


def _lattice(rng: Generator, size: tuple[int, int], step: tuple[float, float]) -> Plane:
    shape = tuple(int(extent / by) + 2 for extent, by in zip(size, step, strict=True))
    values = rng.random(shape, dtype=np.float32)
    for axis in (1, 0):
        place = np.arange(size[axis]) / step[axis]
        cell = place.astype(np.int64)
        share = (place - cell).astype(np.float32)
        share = share * share * (3 - 2 * share)
        share = share[:, None] if axis == 0 else share[None, :]
        here, there = np.take(values, cell, axis=axis), np.take(values, cell + 1, axis=axis)
        values = here + share * (there - here)
    return values


def box_blur(plane: Plane, radius: int, grow: int = 0) -> Plane:
    """Two passes of a box of 2 ``radius`` + 1 pixels a side, nearly a Gaussian, with zeros all around.

    The result is larger than the plane by ``grow`` pixels on every side.
    """
    return _blur_columns(_blur_columns(plane, radius, grow).T, radius, grow).T


def _blur_columns(plane: Plane, radius: int, grow: int) -> Plane:
    # The running sum of a running sum holds every triangle, and two boxes in a row are a triangle.
    side, rows = 2 * radius + 1, plane.shape[0] + 2 * grow
    sums = np.zeros((rows + 2 * side, plane.shape[1]), dtype=np.float64)
    sums[side + 1 + grow : side + 1 + grow + plane.shape[0]] = plane
    np.cumsum(sums, axis=0, out=sums)
    np.cumsum(sums, axis=0, out=sums)
    blurred: Plane = ((sums[2 * side :] - 2 * sums[side:-side] + sums[:rows]) / side**2).astype(np.float32)
    return blurred


def random_colour(rng: Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    """A colour of any hue."""
    rgb = colorsys.hsv_to_rgb(float(rng.random()), between(rng, *saturation), between(rng, *value))
    return np.array(rgb, dtype=np.float32).reshape(3, 1, 1)


def colour_distance(first: Colour, second: Colour) -> float:
    """How far two colours are apart, 0..1; lightness counts for half."""
    difference: list[float] = (first - second).ravel().tolist()
    lightness = abs(sum(part * weight for part, weight in zip(difference, _LUMA, strict=True)))
    return 0.5 * lightness + 0.5 * max(abs(part) for part in difference)


def colour_unlike(rng: Generator, behind: Colour, distance: float) -> Colour:
    """A colour at least ``distance`` from the one behind it, or the farthest of a dozen."""
    best, farthest = behind, -1.0
    for _ in range(12):
        colour = random_colour(rng, (0.15, 0.95), (0.15, 1.0))
        found = colour_distance(colour, behind)
        if found >= distance:
            return colour
        if found > farthest:
            best, farthest = colour, found
    return best


def _axes(size: tuple[int, int], angle: float) -> tuple[Plane, Plane]:
    """Two turned coordinates of every pixel, measured from the middle."""
    y = (np.arange(size[0], dtype=np.float32) - size[0] / 2)[:, None]
    x = (np.arange(size[1], dtype=np.float32) - size[1] / 2)[None, :]
    c, s = round(cos(angle), 6), round(sin(angle), 6)
    return x * c + y * s, y * c - x * s


def _wave(distance: Plane, period: float, duty: float = 0.5) -> Plane:
    """1 on stripes and 0 between them, ``duty`` of the period wide, with soft edges of one pixel."""
    phase = distance / period
    ramp = np.abs(phase - np.floor(phase) - 0.5) * 2
    soft = (duty - ramp) * (period / 2) + 0.5
    return unit(soft)


def _stripes(rng: Generator, size: tuple[int, int], angle: float, period: float) -> Plane:
    return _wave(_axes(size, angle)[0], period, between(rng, 0.35, 0.65))


def _checks(rng: Generator, size: tuple[int, int], angle: float, period: float) -> Plane:
    del rng
    u, v = _axes(size, angle)
    first, second = _wave(u, period), _wave(v, period)
    return first + second - 2 * first * second


def _dots(rng: Generator, size: tuple[int, int], angle: float, period: float) -> Plane:
    u, v = _axes(size, angle)
    u, v = u / period, v / period
    u, v = u - np.floor(u) - 0.5, v - np.floor(v) - 0.5
    distance: Plane = np.sqrt(u * u + v * v)
    return unit((between(rng, 0.22, 0.36) - distance) * period + 0.5)


def _marble(rng: Generator, size: tuple[int, int], angle: float, period: float) -> Plane:
    bend = value_noise(rng, size, (period * 2, period * 2), 3) * (period * between(rng, 2, 4))
    return _wave(_axes(size, angle)[0] + bend, period * 1.5, 0.5)


def _cloud(rng: Generator, size: tuple[int, int], angle: float, period: float) -> Plane:
    del angle
    return unit(value_noise(rng, size, (period * 1.5, period * 1.5), 3) * 2 - 0.5)


def _gradient(rng: Generator, size: tuple[int, int], angle: float, period: float) -> Plane:
    del rng, period
    u, _ = _axes(size, angle)
    return unit(u / max(size) + 0.5)


def _plain(rng: Generator, size: tuple[int, int], angle: float, period: float) -> Plane:
    del rng, angle, period
    return np.zeros(size, dtype=np.float32)


def _bricks(rng: Generator, size: tuple[int, int], angle: float, period: float) -> Plane:
    u, v = _axes(size, angle)
    long = period * between(rng, 1.7, 2.4)
    row = np.floor(v / period)
    shifted = u + row * (long / 2)
    column = np.floor(shifted / long)
    shades = rng.random((16, 16), dtype=np.float32)
    shade = shades[row.astype(np.int64) % 16, column.astype(np.int64) % 16]
    joint = between(rng, 0.84, 0.93)
    inside = _wave(v, period, joint) * _wave(shifted, long, 1 - (1 - joint) * period / long)
    shaded: Plane = inside * (0.45 + 0.55 * shade)
    return shaded


def _planks(rng: Generator, size: tuple[int, int], angle: float, period: float) -> Plane:
    _, v = _axes(size, angle)
    plank = np.floor(v / (period * 2)).astype(np.int64) % 16
    shade = rng.random(16, dtype=np.float32)[plank]
    grain = value_noise(rng, size, (2.5, 40.0), 2)
    boards: Plane = (0.3 + 0.4 * shade + 0.3 * grain) * _wave(v, period * 2, 0.94)
    return boards


def _grass(rng: Generator, size: tuple[int, int], angle: float, period: float) -> Plane:
    del angle
    blades = value_noise(rng, size, (period, 2.0), 2)
    return unit(blades * 1.6 - 0.3)


Pattern = Callable[[Generator, tuple[int, int], float, float], Plane]
OBJECT_PATTERNS: tuple[Pattern, ...] = (_plain, _stripes, _checks, _dots, _marble, _cloud, _gradient)
_GROUND_PATTERNS: tuple[Pattern, ...] = (
    _gradient,
    _cloud,
    _cloud,
    _marble,
    _stripes,
    _checks,
    _dots,
    _bricks,
    _bricks,
    _planks,
    _grass,
    _grass,
)


def ground(rng: Generator, size: tuple[int, int], texture: float) -> Canvas:
    """A background: one ground, or two that meet at a horizon or along a ragged line."""
    canvas = _one_ground(rng, size, texture)
    kind = float(rng.random())
    if kind < 0.45:
        other = _one_ground(rng, size, texture)
        across = _axes(size, between(rng, -0.3, 0.3) + (pi / 2 if kind < 0.3 else 0))[0]
        ragged = value_noise(rng, size, (30, 30), 3) * 60 if kind > 0.2 else 0
        border = between(rng, -0.25, 0.25) * min(size)
        share = unit((across + ragged - border) * 0.5)
        other -= canvas
        other *= share
        canvas += other
    return canvas


def _one_ground(rng: Generator, size: tuple[int, int], texture: float) -> Canvas:
    base = random_colour(rng, (0.05, 0.6), (0.2, 0.9))
    far = unit(base + (random_colour(rng, (0.0, 0.6), (0.0, 1.0)) - 0.5) * 0.35)
    slope = _gradient(rng, size, between(rng, 0, 2 * pi), 1.0)
    canvas: Canvas = base + slope * (far - base)
    if texture == 0:
        return canvas
    pattern = pick(rng, _GROUND_PATTERNS)(rng, size, _mostly_level(rng), between(rng, 8, 30))
    ink = random_colour(rng, (0.05, 0.7), (0.1, 0.95))
    pattern *= texture * between(rng, 0.3, 0.9)
    canvas += pattern * (ink - canvas)
    mottle = value_noise(rng, size, (48, 48), 4) - 0.5
    canvas *= 1 + mottle * (texture * between(rng, 0.4, 1.2))
    return unit(canvas)


def _mostly_level(rng: Generator) -> float:
    return between(rng, -0.25, 0.25) + (pi / 2) * whole(rng, 0, 1) if rng.random() < 0.7 else between(rng, 0, pi)
