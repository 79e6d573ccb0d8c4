"""Systems that look several times, and several as one, of the settings of a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sightline.combination.ensemble import Ensemble
from sightline.combination.fusion import Averaging, BoxVoting, Fusion, NMSUnion
from sightline.combination.multi_scale import MultiScale
from sightline.combination.region_ensemble import RegionEnsemble
from sightline.combination.weighted_box_fusion import WeightedBoxFusion
from sightline.config import parse_settings
from sightline.contract import System
from sightline.errors import ConfigError
from sightline.regions.region_detector import RegionDetector

_FUSIONS: Mapping[str, type[Fusion]] = {kind.name: kind for kind in (NMSUnion, BoxVoting, Averaging, WeightedBoxFusion)}


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

    def fuse(self, usual: type[Fusion]) -> Fusion:
        """What makes one result of several."""
        return usual() if self.fusion is None else _FUSIONS[self.fusion]()


def looks_of(settings: Mapping[str, Any], members: int) -> Looks:
    """The settings, checked.

    Args:
        settings: those of ``entrants.LOOKS``.
        members: how many models the row has.

    Raises:
        ConfigError: a value that does not fit, or one that would change nothing.
    """
    looks = parse_settings(Looks, settings)
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
    several = bool(looks.multi_scale or looks.flip)
    members = tuple(
        MultiScale(system, looks.multi_scale, looks.flip, looks.fuse(BoxVoting)) if several else system
        for system in systems
    )
    if len(members) == 1:
        return members[0]
    if looks.fusion == "average" and all(isinstance(member, RegionDetector) for member in members):
        return RegionEnsemble(members, looks.member_weights)
    return Ensemble(members, looks.member_weights, looks.fuse(WeightedBoxFusion))
