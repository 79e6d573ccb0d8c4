"""Checks of a transform's arguments; each raises ``ConfigError`` with the name, the value and what would be right."""

import math
from collections.abc import Sequence

from sightline.errors import ConfigError
from sightline.structures import Size


def require(condition: bool, owner: object, what: str, cure: str) -> None:
    """Raises ``ConfigError`` about a transform unless ``condition`` holds."""
    if not condition:
        raise ConfigError(what, place=type(owner).__name__, cure=cure)


def require_probability(owner: object, name: str, value: float) -> None:
    """A probability lies in 0..1."""
    require(0 <= value <= 1, owner, f"{name} is {value}", f"give {name} as a probability in 0..1")


def require_range(owner: object, name: str, value: Sequence[float], low: float, high: float = math.inf) -> None:
    """A range is two finite numbers in increasing order, both in ``low..high``."""
    sound = len(value) == 2 and all(math.isfinite(v) for v in value) and low <= value[0] <= value[1] <= high
    require(sound, owner, f"{name} is {value}", f"give {name} as (lowest, highest) within {low:g}..{high:g}")


def require_size(owner: object, size: Size) -> None:
    """A size is (H, W) of at least one pixel each."""
    sound = len(size) == 2 and all(isinstance(side, int) and side >= 1 for side in size)
    require(sound, owner, f"size is {size}", "give size as (height, width) in whole pixels")


def require_colour(owner: object, name: str, value: Sequence[int]) -> None:
    """A colour is three whole numbers in 0..255."""
    sound = len(value) == 3 and all(0 <= channel <= 255 for channel in value)
    require(sound, owner, f"{name} is {value}", f"give {name} as (red, green, blue) in 0..255")
