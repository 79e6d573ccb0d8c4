"""Where things stand in one picture of Scenes, and what of each is seen.

Things are placed from the front to the back: what is placed later lies behind, so how much of it is seen is known at
once and final. A place where too little would be seen is not taken; after some tries the thing is made smaller, and
in the end left out, from the picture as from the truth.
"""

from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sightline.data.scenes.clutter import clutter_outline, occluder_outline
from sightline.data.scenes.config import ScenesConfig, between, pick, stream, whole
from sightline.data.scenes.shapes import CLASS_NAMES, Outline, Plane, Pose, coverage, fit, outline_of

Mask = NDArray[np.bool_]

MOST_HIDDEN = 0.7
"""The share of an object that may be hidden or cut off at full occlusion."""
CLUTTER = -1
"""The label of things that are no objects."""
_MOST_CLUTTER = 20
_MOST_OCCLUDERS = 5
_TRIES = 24
_SHRINK_EVERY = 6
_SHRINK = 0.8
_SMALL = 20.0
_SMALL_SEEN = 0.92
_SIZE_BIAS = 0.6


@dataclass(frozen=True, eq=False)
class Thing:
    """One thing in the picture.

    Args:
        label: 0..11, or ``CLUTTER``.
        cover: (h, w) share of each pixel that it covers, its whole outline, also what lies outside the picture.
        top: row of the picture at which ``cover`` begins; may be negative.
        left: column of the picture at which ``cover`` begins; may be negative.
        length: longer side of the whole outline in pixels.
        angle: its rotation in radians, which patterns follow.
        keypoints: (5, 2) x, y in pixels of the picture; (0, 2) for clutter.
    """

    label: int
    cover: Plane
    top: int
    left: int
    length: float
    angle: float
    keypoints: NDArray[np.float64]

    def windows(self, size: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """The slices of a picture of this size, and of ``cover``, that are the same pixels; may be empty."""
        return window(self.cover.shape, (self.top, self.left), size)


@dataclass(frozen=True, eq=False)
class Layout:
    """All things of one picture, the front one first.

    Args:
        things: objects and clutter.
        seen: one bool (H, W) mask a thing: the pixels at which it is the front thing.
    """

    things: tuple[Thing, ...]
    seen: tuple[Mask, ...]


def window(
    shape: tuple[int, ...], corner: tuple[int, int], size: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of a patch of this shape at this corner (top, left) that lies in a picture of this size.

    Returns:
        The slices of the picture and the slices of the patch, rows first.
    """
    there, here = [], []
    for extent, begin, whole_extent in zip(shape, corner, size, strict=True):
        first, last = max(begin, 0), max(min(begin + extent, whole_extent), begin, 0)
        there.append(slice(first, last))
        here.append(slice(first - begin, last - begin))
    return (there[0], there[1]), (here[0], here[1])


def lay_out(config: ScenesConfig, split: str, index: int) -> Layout:
    """The layout of one picture."""
    rng = stream(config, split, index, "layout")
    occlusion, clutter = config.knob("occlusion"), config.knob("clutter")
    objects = whole(rng, *config.objects)
    occluders = round(between(rng, 0, _MOST_OCCLUDERS) * occlusion * clutter * 2) if occlusion * clutter else 0
    placing = _Placing(config, rng)
    labels = [whole(rng, 0, len(CLASS_NAMES) - 1) for _ in range(objects)]
    # Occluders and objects take turns, so that some occluders lie in front of a few objects only.
    for label in _shuffled(rng, labels + [CLUTTER] * occluders):
        placing.add_object(label) if label != CLUTTER else placing.add_clutter(occluder_outline(rng), (0.2, 0.6))
    for _ in range(round(between(rng, 0.4, 1.0) * _MOST_CLUTTER * clutter)):
        placing.add_clutter(clutter_outline(rng), (0.06, 0.4))
    return Layout(tuple(placing.things), tuple(placing.seen))


def _shuffled(rng: Generator, items: list[int]) -> list[int]:
    order = sorted(range(len(items)), key=[float(rng.random()) for _ in items].__getitem__)
    return [items[i] for i in order]


class _Placing:
    """The things placed so far, and the pixels that they take."""

    def __init__(self, config: ScenesConfig, rng: Generator) -> None:
        self.config = config
        self.rng = rng
        self.short = min(config.size)
        self.occlusion = config.knob("occlusion")
        self.taken: Mask = np.zeros(config.size, dtype=np.bool_)
        self.things: list[Thing] = []
        self.seen: list[Mask] = []

    def add_clutter(self, outline: Outline, lengths: tuple[float, float]) -> None:
        """Puts clutter anywhere, its length between two shares of the shorter side, behind all that is there."""
        length = self.short * lengths[0] * (lengths[1] / lengths[0]) ** float(self.rng.random())
        thing = self._drawn(CLUTTER, outline, Pose.draw(self.rng, outline.turn), max(length, 6.0))
        thing = self._moved(thing, self._corner(thing, margin=0.5))
        self._add(thing, self._visible(thing))

    def add_object(self, label: int) -> None:
        """Puts an object where enough of it is seen, behind all that is there; leaves it out if there is no room."""
        low, high = self.config.scale
        share = low * (high / low) ** (float(self.rng.random()) ** _SIZE_BIAS)
        outline = outline_of(label, self.rng)
        pose = Pose.draw(self.rng, min(outline.turn, pi * self.config.knob("rotation") ** 2))
        for attempt in range(_TRIES):
            if attempt % _SHRINK_EVERY == 0:
                share = share if attempt == 0 else max(share * _SHRINK, low)
                drawn = self._drawn(label, outline, pose, share * self.short)
            thing = self._moved(drawn, self._corner(drawn, margin=MOST_HIDDEN / 2 * self.occlusion))
            seen = self._visible(thing)
            if self._enough(thing, seen):
                self._add(thing, seen)
                return

    def _drawn(self, label: int, outline: Outline, pose: Pose, length: float) -> Thing:
        offset = (float(self.rng.random()), float(self.rng.random()))
        fitted = fit(outline, pose, length, offset)
        extent = np.ceil(np.concatenate(fitted.contours).max(axis=0)).astype(int)
        cover = coverage(fitted.contours, (int(extent[1]), int(extent[0])))
        return Thing(label, cover, 0, 0, length, pose.angle, fitted.keypoints)

    def _moved(self, thing: Thing, corner: tuple[int, int]) -> Thing:
        top, left = corner
        keypoints = thing.keypoints + np.array([left - thing.left, top - thing.top])
        return Thing(thing.label, thing.cover, top, left, thing.length, thing.angle, keypoints)

    def _corner(self, thing: Thing, margin: float) -> tuple[int, int]:
        """A place (top, left) for a thing that may stick out of the picture by ``margin`` times its size."""
        objects = [other for other in self.things if other.label != CLUTTER]
        if thing.label != CLUTTER and objects and float(self.rng.random()) < 0.6 * self.occlusion:
            other = pick(self.rng, objects)
            top, left = (
                begin + round(there / 2 - here / 2 + between(self.rng, -0.5, 0.5) * (there + here) * 0.8)
                for begin, there, here in zip(
                    (other.top, other.left), other.cover.shape, thing.cover.shape, strict=True
                )
            )
            return top, left
        top, left = (
            whole(self.rng, -round(margin * extent), max(size - extent + round(margin * extent), 0))
            for extent, size in zip(thing.cover.shape, self.config.size, strict=True)
        )
        return top, left

    def _visible(self, thing: Thing) -> Mask:
        there, here = thing.windows(self.config.size)
        seen: Mask = np.zeros(self.config.size, dtype=np.bool_)
        seen[there] = (thing.cover[here] >= 0.5) & ~self.taken[there]
        return seen

    def _enough(self, thing: Thing, seen: Mask) -> bool:
        whole_area = int(np.count_nonzero(thing.cover >= 0.5))
        wanted = 1.0 - MOST_HIDDEN * self.occlusion
        if thing.length < _SMALL:
            wanted = max(wanted, _SMALL_SEEN)
        if np.count_nonzero(seen) < wanted * whole_area:
            return False
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        longer = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
        return bool(longer >= self.config.scale[0] * self.short - 1)

    def _add(self, thing: Thing, seen: Mask) -> None:
        self.taken |= seen
        self.things.append(thing)
        self.seen.append(seen)
