"""Systems that look several times, and several as one, of the settings of a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sightline.combination.build import combine
from sightline.config import parse_settings
from sightline.contract import System
from sightline.errors import ConfigError


@dataclass(frozen=True)
class Looks:
    """How a row looks at images."""

    multi_scale: tuple[int, ...] = ()
    """Short sides that each image is looked at."""
    flip: bool = False
    """Whether each is looked at mirrored as well."""
    fusion: Literal["nms", "voting", "average", "wbf"] | None = None
    """What makes one result of several: voting of several looks and wbf of several models, unless told otherwise."""
    member_weights: tuple[float, ...] | None = None
    """How much each of several models counts."""


def looks_of(settings: Mapping[str, Any], members: int) -> Looks:
    """The settings, checked.

    Args:
        settings: those of ``entrants.LOOKS``.
        members: how many models the row has.

    Raises:
        ConfigError: a value that does not fit, or one that would change nothing.
    """
    looks = parse_settings(Looks, settings)
    if looks.member_weights is not None and members == 1:
        raise ConfigError("member_weights has no meaning with one model", cure="leave it out, or name several: A+B")
    if looks.member_weights is not None and len(looks.member_weights) != members:
        raise ConfigError(
            f"member_weights has {len(looks.member_weights)} numbers for {members} models", cure="give one for each"
        )
    if looks.fusion is not None and members == 1 and not (looks.multi_scale or looks.flip):
        raise ConfigError("fusion has no meaning with one look of one model", cure="add multi_scale=[N,N] or flip=true")
    return looks


def combined(systems: Sequence[System[Any]], looks: Looks) -> System[Any]:
    """One system of some, each of which looks as often as is said.

    Raises:
        ConfigError: what cannot be combined.
    """
    return combine(
        systems, short_sides=looks.multi_scale, flip=looks.flip, fusion=looks.fusion, weights=looks.member_weights
    )
