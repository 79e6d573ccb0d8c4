"""What a Scenes set is made by: its settings, and the random streams that follow from them.

Nothing here imports torch, so that worker processes start quickly. Every picture draws from streams of its own, seeded
by (seed, split, index, stage): it is the same whatever else is made, and turning one knob leaves the draws of the other
stages alone.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.random import Generator

from sightline.errors import ConfigError

Stage = Literal["layout", "background", "paint", "camera"]
Knob = Literal["occlusion", "clutter", "texture", "shading", "noise", "rotation"]
SPLITS = ("train", "val", "test")
_KNOBS = ("difficulty", "occlusion", "clutter", "texture", "shading", "noise", "rotation")
_SMALLEST_SIDE = 32
_SMALLEST_LENGTH = 6.0

Item = TypeVar("Item")


@dataclass(frozen=True)
class ScenesConfig:
    """How a Scenes set is made.

    Args:
        images: pictures of the training split.
        val: pictures of the validation split.
        test: pictures of the test split.
        size: (H, W) of every picture in pixels, each at least 32.
        objects: fewest and most objects of a picture; a picture has fewer where they find no room.
        scale: smallest and largest object: the longer side of its whole outline's box as a share of the picture's
            shorter side. Small objects are drawn a little less often than a log-uniform law would.
        difficulty: 0 (plain shapes on a plain ground) to 1; what the knobs below follow where they are None.
        occlusion: 0 nothing is hidden or cut by the border; 1 up to 70% of an object may be.
        clutter: 0 no things beside the objects; 1 some twenty strokes, blobs, letters and shards a picture.
        texture: 0 plain colours on smooth grounds; 1 patterns of full contrast on objects and ground. It also lets
            objects come closer to the colour of what is behind them.
        shading: 0 flat; 1 strong bevels, domes, highlights and cast shadows.
        noise: 0 a perfect camera; 1 blur, sensor noise, vignette and colour cast.
        rotation: 0 every object upright; at r turned by up to 180 degrees times the square of r to either side: by
            up to 45 at 0.5, any way up at 1.
        seed: any integer from 0 on; another seed is another set.

    Raises:
        ConfigError: a value out of its range.
    """

    images: int = 1200
    val: int = 200
    test: int = 200
    size: tuple[int, int] = (192, 256)
    objects: tuple[int, int] = (1, 6)
    scale: tuple[float, float] = (0.04, 0.60)
    difficulty: float = 0.5
    occlusion: float | None = None
    clutter: float | None = None
    texture: float | None = None
    shading: float | None = None
    noise: float | None = None
    rotation: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("images", "val", "test", "seed"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "a whole number from 0 on")
        for name in _KNOBS:
            value = getattr(self, name)
            sound = (value is None and name != "difficulty") or (value is not None and 0 <= value <= 1)
            _require(sound, name, value, "a number from 0 to 1")
        _require(
            len(self.size) == 2 and min(self.size) >= _SMALLEST_SIDE,
            "size",
            self.size,
            f"(H, W) of at least {_SMALLEST_SIDE} pixels each",
        )
        fewest, most = self.objects
        _require(0 <= fewest <= most, "objects", self.objects, "(fewest, most) with 0 <= fewest <= most")
        low, high = self.scale
        _require(0 < low <= high <= 1, "scale", self.scale, "(smallest, largest) with 0 < smallest <= largest <= 1")
        _require(
            low * min(self.size) >= _SMALLEST_LENGTH,
            "scale",
            self.scale,
            f"a smallest object of at least {_SMALLEST_LENGTH:.0f} pixels: "
            f"{_SMALLEST_LENGTH / min(self.size):.3f} or more at this size",
        )

    def knob(self, name: Knob) -> float:
        """The value of a knob, which is the difficulty where the knob is not set."""
        value: float | None = getattr(self, name)
        return self.difficulty if value is None else value

    def count(self, split: str) -> int:
        """The number of pictures of a split; raises ``ValueError`` for an unknown one."""
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
        return {"train": self.images, "val": self.val, "test": self.test}[split]


def _require(sound: bool, name: str, value: object, wanted: str) -> None:
    if not sound:
        raise ConfigError(f"{name} is {value}", place="ScenesConfig", cure=f"give {name} {wanted}")


def stream(config: ScenesConfig, split: str, index: int, stage: Stage) -> Generator:
    """The random stream of one stage of one picture."""
    words = (config.seed, zlib.crc32(split.encode()), index, zlib.crc32(stage.encode()))
    return Generator(np.random.PCG64(np.random.SeedSequence(words)))


# Only ``Generator.random`` is drawn from, here and below: its stream is the one that numpy is least likely to change.


def between(rng: Generator, low: float, high: float) -> float:
    """A number drawn evenly from [low, high)."""
    return low + (high - low) * float(rng.random())


def whole(rng: Generator, low: int, high: int) -> int:
    """A whole number drawn evenly from low to high, both included."""
    return low + int(float(rng.random()) * (high - low + 1))


def pick(rng: Generator, items: Sequence[Item]) -> Item:
    """One of the items, drawn evenly."""
    return items[int(float(rng.random()) * len(items))]
