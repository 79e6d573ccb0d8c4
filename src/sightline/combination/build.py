"""From systems and the words for how they look to one system: several looks of each, and several as one."""

from collections.abc import Mapping, Sequence
from typing import Any

from sightline.combination.ensemble import Ensemble
from sightline.combination.fusion import Averaging, BoxVoting, Fusion, NMSUnion
from sightline.combination.multi_scale import MultiScale
from sightline.combination.region_ensemble import RegionEnsemble
from sightline.combination.weighted_box_fusion import WeightedBoxFusion
from sightline.contract import System
from sightline.regions.region_detector import RegionDetector

FUSIONS: Mapping[str, type[Fusion]] = {kind.name: kind for kind in (NMSUnion, BoxVoting, Averaging, WeightedBoxFusion)}
"""What makes one result of several, by name."""


def combine(
    systems: Sequence[System[Any]],
    *,
    short_sides: Sequence[int] = (),
    flip: bool = False,
    fusion: str | None = None,
    weights: Sequence[float] | None = None,
) -> System[Any]:
    """One system of some, each of which looks as often as is said; a single one that looks once is itself.

    Args:
        systems: at least one, of the same classes.
        short_sides: at which each looks at every image; empty for its own.
        flip: whether each looks at the mirrored image as well.
        fusion: a name of ``FUSIONS``; None for voting of several looks and weighted box fusion of several systems.
            ``average`` of Fast R-CNN and its kin that look once is that of He et al. 2016: shared proposals, mean
            scores and boxes.
        weights: how much each system counts; None for alike.

    Raises:
        ConfigError: what cannot be combined.
    """
    chosen = None if fusion is None else FUSIONS[fusion]
    members = tuple(systems)
    if short_sides or flip:
        looks = chosen or BoxVoting
        members = tuple(MultiScale(system, tuple(short_sides), flip, looks()) for system in members)
    if len(members) == 1:
        return members[0]
    given = None if weights is None else tuple(weights)
    if chosen is Averaging and all(isinstance(member, RegionDetector) for member in members):
        return RegionEnsemble(members, given)
    together = chosen or WeightedBoxFusion
    return Ensemble(members, given, together())
