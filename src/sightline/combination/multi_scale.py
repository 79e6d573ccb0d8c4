"""Testing at several sizes (He et al. 2016, appendix B), and mirrored: one system, several looks, one answer.

Where it departs from the paper: the whole system looks at each size and its detections are fused, which any detector
allows; the paper pools each region at two sizes of a pyramid and takes the greater of each feature (maxout).
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import asdict, dataclass, field, replace
from typing import ClassVar, Self, final

from sightline.combination.asking import Asking, CombinedDetector, mirrored_back
from sightline.combination.fusion import BoxVoting, Fusion
from sightline.contract import NeuralSystem, System
from sightline.errors import ConfigError
from sightline.structures import Classes, Detections


@final
@dataclass(frozen=True, eq=False)
class MultiScale(CombinedDetector):
    """A detector that looks at each image at several sizes, mirrored too if asked, and fuses what it finds.

    The model is there once, however many sizes there are.

    Args:
        system: the detector.
        short_sides: pixels that the short side is resized to in each look, different ones; the long side's limit keeps
            its proportion. None: the system's own size alone.
        flip: whether each size is looked at mirrored as well.
        fusion: what makes one result of all.

    Raises:
        ConfigError: sizes that make no sense or that the system cannot choose; or nothing to combine.
    """

    name: ClassVar[str] = "multi_scale"

    system: System[Detections]
    short_sides: tuple[int, ...] = ()
    flip: bool = False
    fusion: Fusion = field(default_factory=BoxVoting)
    classes: Classes = field(init=False)
    members: tuple[System[Detections], ...] = field(init=False)

    def __post_init__(self) -> None:
        self._answers_like(self.system)
        object.__setattr__(self, "members", (self.system,))
        listed = ", ".join(map(str, self.short_sides))
        if min(self.short_sides, default=1) < 1 or len(set(self.short_sides)) < len(self.short_sides):
            raise ConfigError(f"the short sides are {listed}", cure="give different numbers of pixels above 0")
        if self.short_sides and not isinstance(self.system, NeuralSystem):
            raise ConfigError("this model's image size is fixed", cure="look at one size, mirrored or not")
        if not self.short_sides and not self.flip:
            raise ConfigError("one look alone is nothing to fuse", cure="give short sides, or flip")

    def asked(self) -> tuple[System[Detections], ...]:
        """The system at each size."""
        if not self.short_sides or not isinstance(self.system, NeuralSystem):
            return (self.system,)
        return tuple(_at_size(self.system, short_side) for short_side in self.short_sides)

    def answer(self, asking: Asking) -> list[Detections]:
        """The fused result of each image."""
        looks = [asking.ask(system) for system in self.asked()]
        if self.flip:
            mirrored = asking.mirrored()
            looks += [
                [mirrored_back(found, self.keypoint_names) for found in mirrored.ask(system)] for system in self.asked()
            ]
        return [self.fusion(found) for found in zip(*looks, strict=True)]

    def with_members(self, members: Sequence[System[Detections]]) -> Self:
        """The same looks by another system."""
        (system,) = members
        return replace(self, system=system)

    def describe(self) -> dict[str, object]:
        """The system that looks, sizes, mirroring and fusion."""
        sides = list(self.short_sides) or None
        return {"system": self.system.name, "short_sides": sides, "flip": self.flip, "fusion": described(self.fusion)}


def described(fusion: Fusion) -> dict[str, object]:
    """A fusion with its settings as plain values."""
    return {"name": fusion.name, **asdict(fusion), "source": fusion.source}


def _at_size(system: NeuralSystem[object, Detections], short_side: int) -> NeuralSystem[object, Detections]:
    """The same network with another preparation; the parameters are shared."""
    other = copy(system)
    other.preparation = system.preparation.with_size(short_side)
    return other
