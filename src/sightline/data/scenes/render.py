"""One picture of Scenes from its settings: layout, ground, things painted from the back to the front, camera.

Nothing here imports torch: worker processes render with numpy alone.
"""

from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sightline.data.scenes.config import ScenesConfig, between, pick, stream
from sightline.data.scenes.layout import CLUTTER, Layout, Mask, Thing, lay_out, window
from sightline.data.scenes.paint import (
    OBJECT_PATTERNS,
    Canvas,
    Colour,
    box_blur,
    colour_unlike,
    ground,
    random_colour,
    unit,
    value_noise,
)
from sightline.data.scenes.shapes import KEYPOINT_NAMES, Plane

_TINY = 14.0


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture with its truth, as arrays.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (N,) int64 in 0..11, the front object first.
        masks: (N, H, W) bool, what is seen of each object; no two overlap.
        boxes: (N, 4) float32 xyxy in pixels, the boxes of the masks.
        keypoints: (N, 5, 3) float32 x, y in pixels and visibility: 2 seen, 1 behind something, 0 (with x = y = 0)
            outside the picture.
        lengths: (N,) float32, the longer side of each whole outline in pixels.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.int64]
    masks: Mask
    boxes: NDArray[np.float32]
    keypoints: NDArray[np.float32]
    lengths: NDArray[np.float32]


@dataclass(frozen=True)
class _Light:
    """Where the light of a picture comes from, as a direction in the picture, and how much of it is seen."""

    x: float
    y: float
    strength: float


def render(config: ScenesConfig, split: str, index: int) -> Picture:
    """The picture of a split at an index (from 0 on), the same on every machine whatever else is made.

    Raises:
        ValueError: an unknown split or a negative index.
    """
    config.count(split)
    if index < 0:
        raise ValueError(f"index must be 0 or more, got {index}")
    layout = lay_out(config, split, index)
    canvas = ground(stream(config, split, index, "background"), config.size, config.knob("texture"))
    rng = stream(config, split, index, "paint")
    angle = between(rng, 0, 2 * pi)
    light = _Light(cos(angle), sin(angle), config.knob("shading"))
    for thing in reversed(layout.things):
        _paint(canvas, thing, light, config.knob("texture"), rng)
    image = _photograph(canvas, config.knob("noise"), stream(config, split, index, "camera"))
    return _with_truth(image, layout)


def _paint(canvas: Canvas, thing: Thing, light: _Light, texture: float, rng: Generator) -> None:
    """Paints one thing over what is behind it, shadow first."""
    there, here = thing.windows((canvas.shape[1], canvas.shape[2]))
    cover = thing.cover[here]
    if not cover.size:
        return
    behind = _mean_colour(canvas[:, *there], cover)
    if light.strength > 0:
        _cast_shadow(canvas, thing, light, rng)
    skin = _skin(thing, behind, texture, rng)
    if light.strength > 0:
        skin = _lit(skin, thing, light, rng)
    canvas[:, *there] += cover * (skin[:, *here] - canvas[:, *there])


def _mean_colour(pixels: Canvas, cover: Plane) -> Colour:
    total = max(float(cover.sum(dtype=np.float64)), 1e-6)
    mean: Colour = ((pixels * cover).sum(axis=(1, 2), keepdims=True, dtype=np.float64) / total).astype(np.float32)
    return mean


def _skin(thing: Thing, behind: Colour, texture: float, rng: Generator) -> Canvas:
    """Two colours that stand out from what is behind, mixed by a pattern: (3, h, w) of the whole outline."""
    apart = 0.34 - 0.16 * texture
    first = colour_unlike(rng, behind, apart if thing.label != CLUTTER else apart / 2)
    skin: Canvas = np.broadcast_to(first, (3, *thing.cover.shape))
    pattern = pick(rng, OBJECT_PATTERNS)
    second = colour_unlike(rng, behind, apart / 2)
    strength = texture * between(rng, 0.35, 1.0) * (0.5 if thing.length < _TINY else 1.0)
    if strength == 0:
        return skin
    period = max(4.0, thing.length * between(rng, 0.12, 0.3))
    share = pattern(rng, (thing.cover.shape[0], thing.cover.shape[1]), thing.angle + between(rng, -0.6, 0.6), period)
    return skin + share * strength * (second - first)


def _cast_shadow(canvas: Canvas, thing: Thing, light: _Light, rng: Generator) -> None:
    height = thing.length * between(rng, 0.03, 0.16)
    soft = max(1, round(height / 2))
    corner = (thing.top - 2 * soft + round(light.y * height), thing.left - 2 * soft + round(light.x * height))
    shadow = box_blur(thing.cover, soft, grow=2 * soft)
    there, here = window(shadow.shape, corner, (canvas.shape[1], canvas.shape[2]))
    canvas[:, *there] *= 1 - (0.65 * light.strength * between(rng, 0.5, 1.0)) * shadow[here]


def _lit(skin: Canvas, thing: Thing, light: _Light, rng: Generator) -> Canvas:
    """Lambert's law on a height that rises from the edge: a narrow bevel, a dome, or anything between."""
    radius = max(1, round(thing.length * between(rng, 0.02, 0.16)))
    height = box_blur(thing.cover, radius, grow=1)
    # The light comes from the side away from which shadows fall.
    slope_x = height[1:-1, 2:] - height[1:-1, :-2]
    slope_y = height[2:, 1:-1] - height[:-2, 1:-1]
    towards = (slope_x * light.x + slope_y * light.y) * radius
    shade = 1 + towards * (light.strength * between(rng, 0.6, 1.3))
    shine = unit(towards - 0.35) * (light.strength * between(rng, 0.0, 1.2))
    return unit(skin * np.clip(shade, 0.25, 2) + shine)


def _photograph(canvas: Canvas, noise: float, rng: Generator) -> NDArray[np.uint8]:
    """Blur, vignette, colour cast and sensor noise, then eight bits."""
    if noise > 0:
        height, width = canvas.shape[1:]
        canvas = _blurred(canvas, noise * between(rng, 0.0, 1.0))
        drift = value_noise(rng, (height, width), (height, width)) - 0.5
        cast = 1 + (random_colour(rng, (0.0, 1.0), (1.0, 1.0)) - 0.8) * (0.3 * noise)
        canvas *= 1 + drift * (0.6 * noise)
        canvas *= cast
        canvas += _grain(rng, (height, width)) * (noise * between(rng, 0.005, 0.05))
    eight_bits = (unit(canvas) * 255 + 0.5).astype(np.uint8)
    return np.ascontiguousarray(eight_bits.transpose(1, 2, 0))


def _blurred(canvas: Canvas, amount: float) -> Canvas:
    """A blur of three by three pixels, ``amount`` 0..1 of the way."""
    padded = np.pad(canvas, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, 1:-1] * 2
    rows += padded[:, :-2]
    rows += padded[:, 2:]
    soft: Canvas = rows[..., 1:-1] * 2
    soft += rows[..., :-2]
    soft += rows[..., 2:]
    soft *= amount / 16
    soft += canvas * (1 - amount)
    return soft


def _grain(rng: Generator, size: tuple[int, int]) -> Canvas:
    """Nearly normal noise (3, H, W) of deviation 1: the sum of three random bytes, two of which all channels share."""
    cells = size[0] * size[1]
    words = rng.bit_generator.random_raw(-(-5 * cells // 8)).astype("<u8")
    planes = words.view(np.uint8)[: 5 * cells].reshape(5, *size).astype(np.float32)
    grain: Canvas = (planes[2:] + (planes[0] + planes[1]) - 382.5) / 128
    return grain


def _with_truth(image: NDArray[np.uint8], layout: Layout) -> Picture:
    """The picture with the masks, boxes and keypoints of its objects."""
    height, width = image.shape[:2]
    kept = [i for i, thing in enumerate(layout.things) if thing.label != CLUTTER]
    things = [layout.things[i] for i in kept]
    masks = np.stack([layout.seen[i] for i in kept]) if kept else np.zeros((0, height, width), dtype=np.bool_)
    keypoints = np.zeros((len(kept), len(KEYPOINT_NAMES), 3), dtype=np.float32)
    for row, place in enumerate(kept):
        keypoints[row] = _seen_keypoints(layout, place, (height, width))
    return Picture(
        image=image,
        labels=np.array([thing.label for thing in things], dtype=np.int64),
        masks=masks,
        boxes=np.array([_box_of(mask) for mask in masks], dtype=np.float32).reshape(-1, 4),
        keypoints=keypoints,
        lengths=np.array([thing.length for thing in things], dtype=np.float32),
    )


def _box_of(mask: Mask) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _seen_keypoints(layout: Layout, place: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """(5, 3) keypoints of one thing: hidden where something nearer covers the pixel that they lie in."""
    front = np.zeros(size, dtype=np.bool_)
    for mask in layout.seen[:place]:
        front |= mask
    rows = []
    for x, y in layout.things[place].keypoints:
        inside = 0 <= x < size[1] and 0 <= y < size[0]
        hidden = inside and bool(front[int(y), int(x)])
        rows.append((x, y, 1 if hidden else 2) if inside else (0, 0, 0))
    return np.array(rows, dtype=np.float32)
