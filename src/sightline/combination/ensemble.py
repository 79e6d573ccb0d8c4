"""Ensembles: several detectors of the same classes look at an image, and their detections are fused.

Detectors of regions can do more (``region_ensemble``): they share their proposals before anything is named.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self, final

from sightline.combination.asking import Asking, CombinedDetector
from sightline.combination.fusion import Fusion, require_weights
from sightline.combination.multi_scale import described
from sightline.combination.weighted_box_fusion import WeightedBoxFusion
from sightline.contract import CombinedSystem, System
from sightline.errors import ConfigError
from sightline.structures import Classes, Detections


@final
@dataclass(frozen=True, eq=False)
class Ensemble(CombinedDetector):
    """Several detectors whose results are fused.

    Args:
        members: the detectors, of the same classes in the same order; at least one, whose answers are then its own.
        weights: one a member, above 0; None for equal ones.
        fusion: what makes one result of all.

    Raises:
        ConfigError: no member, other classes, or weights that do not fit.
    """

    name: ClassVar[str] = "ensemble"

    members: tuple[System[Detections], ...]
    weights: tuple[float, ...] | None = None
    fusion: Fusion = field(default_factory=WeightedBoxFusion)
    classes: Classes = field(init=False)

    def __post_init__(self) -> None:
        require_alike(self.members)
        require_weights(self.weights, len(self.members))
        self._answers_like(self.members[0])

    def asked(self) -> tuple[System[Detections], ...]:
        """The members."""
        return self.members

    def answer(self, asking: Asking) -> list[Detections]:
        """The fused result of each image."""
        answers = [asking.ask(member) for member in self.members]
        return [self.fusion(found, self.weights) for found in zip(*answers, strict=True)]

    def with_members(self, members: Sequence[System[Detections]]) -> Self:
        """The same fusion of others."""
        return replace(self, members=tuple(members))

    def describe(self) -> dict[str, object]:
        """Members, weights and fusion."""
        return {**describe_members(self.members, self.weights), "fusion": described(self.fusion)}


def require_alike(members: Sequence[System[Detections]]) -> None:
    """Look at systems that are to answer together.

    Raises:
        ConfigError: there is none, or one is of other classes, keypoints or kinds of results than the first.
    """
    if not members:
        raise ConfigError("an ensemble of nothing", cure="give at least one model")
    first = members[0]
    for number, member in enumerate(members[1:], start=2):
        for what, ours, theirs in (
            ("classes", first.classes.names, member.classes.names),
            ("keypoints", first.keypoint_names, member.keypoint_names),
            ("kinds of results", first.finds, member.finds),
        ):
            if ours != theirs:
                raise ConfigError(
                    f"model {number} of the ensemble answers with the {what} {', '.join(theirs) or 'none'}, but the "
                    f"first with {', '.join(ours) or 'none'}",
                    cause="they were trained on different sets, or find different things",
                    cure=f"combine models of the same {what}, in the same order",
                )


def describe_members(members: Sequence[System[Detections]], weights: Sequence[float] | None) -> dict[str, object]:
    """Names of members, what those that are combined themselves are made of, and the weights."""
    named = [
        {"system": member.name, **(member.describe() if isinstance(member, CombinedSystem) else {})}
        for member in members
    ]
    return {"members": named, "weights": None if weights is None else list(weights)}
