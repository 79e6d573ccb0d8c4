"""The settings that detectors of regions have in common, and what their ``auto``, -1 and 0 stand for."""

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from sightline.backbones.build import BackboneName
from sightline.errors import ConfigError
from sightline.regions.pooling import PoolingKind
from sightline.structures import Size
from sightline.transforms.preparation import Preparation

NormSetting = Literal["auto", "frozen", "live"]
MOBILE_SIDE = 320
MOST_REFINEMENTS = 10
"""Each looks at all regions once more: beyond this it is a mistake."""
_MOBILE = ("mobilenet", "squeezenet")


@dataclass(frozen=True)
class AnswerConfig:
    """What all detectors of regions have: a head's, and those whose SVMs judge features."""

    backbone: BackboneName = "resnet50"
    """The trunk, by torchvision's name."""
    positive_fraction: float = 0.25
    """Largest share of objects among the regions that are learned from (Girshick 2015, section 2.3)."""
    score_threshold: float = 0.05
    """Smallest score in 0..1 of a detection."""
    nms_threshold: float = 0.5
    """IoU above which the lesser of two detections of one class falls."""
    detections: int = 100
    """Largest number of detections an image."""
    refinements: int = 0
    """How often regions are looked at again, in prediction, where the boxes are that were made of them (He et al. 2016,
    appendix B: once)."""
    voting: bool = False
    """Whether detections are moved to the mean of those that voted for them (Gidaris and Komodakis 2015, section 4)."""
    context: bool = False
    """Whether classes and boxes are read off a feature of the whole image beside the region's own (He et al. 2016,
    appendix B); it has to be trained with."""

    def __post_init__(self) -> None:
        self.require(self.detections > 0, "detections", "more than 0")
        for name in ("positive_fraction", "score_threshold", "nms_threshold"):
            self.require(0 <= getattr(self, name) <= 1, name, "a number from 0 to 1")
        self.require(0 <= self.refinements <= MOST_REFINEMENTS, "refinements", f"0 to {MOST_REFINEMENTS}")

    def require(self, sound: bool, name: str, wanted: str) -> None:
        """Raise ``ConfigError`` on a value that is not sound."""
        if not sound:
            value = getattr(self, name)
            raise ConfigError(f"{name} is {value}", place=type(self).__name__, cure=f"give {name} {wanted}")


@dataclass(frozen=True)
class RegionConfig(AnswerConfig):
    """What looks at regions; the defaults are the pyramid form that torchvision's official weights have."""

    neck: Literal["fpn", "none"] = "fpn"
    """Feature pyramid, or a single map: conv4 of a ResNet (C4), conv5 of a VGG, of others the last of stride 16."""
    norm: NormSetting = "auto"
    """Batch norms of the trunk; auto freezes them if the trunk starts from given weights and lets them live if not."""
    frozen_stages: int = -1
    """Stages of the trunk that do not learn; -1: two from given weights (torchvision's choice), none from random."""
    short_side: int = 0
    """Pixels that the short side of an image is resized to; 0: what the system's paper has, or 320 with a MobileNet or
    SqueezeNet (torchvision's choice for such)."""
    long_side: int = 0
    """Largest long side in pixels; 0: the paper's with the paper's short side, else twice the short side."""
    channels: int = 256
    """Channels of the pyramid."""
    pooling: PoolingKind = "align"
    """RoIAlign (He et al. 2017), RoIPool (Girshick 2015), or bilinear crops with max pooling (Chen and Gupta 2017)."""
    head_width: int = 1024
    """Units of the two hidden layers of the head; a ResNet's or VGG's single map has the trunk's own tail instead."""
    region_samples: int = 0
    """Regions an image that the head's losses see; 0: what the paper has, or 256 with a MobileNet or SqueezeNet."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("short_side", "long_side", "region_samples"):
            self.require(getattr(self, name) >= 0, name, "0 for the usual, or more")
        for name in ("channels", "head_width"):
            self.require(getattr(self, name) > 0, name, "more than 0")
        self.require(-1 <= self.frozen_stages <= 5, "frozen_stages", "-1 for the usual, or 0 to 5")
        if self.neck == "none":
            self.require_unused(("channels",), "neck=none")
        if self.has_tail:
            self.require_unused(("head_width",), f"neck=none with {self.backbone}, whose own tail is the head,")

    @property
    def is_mobile(self) -> bool:
        """Whether the trunk is one of those for small images."""
        return self.backbone.startswith(_MOBILE)

    @property
    def has_tail(self) -> bool:
        """Whether the head is the last part of the trunk."""
        return self.neck == "none" and not self.is_mobile

    def require_unused(self, names: tuple[str, ...], form: str) -> None:
        """Raise ``ConfigError`` on a setting that a form of the detector has no use for and that was changed."""
        for name in names:
            default = type(self).__dataclass_fields__[name].default
            self.require(getattr(self, name) == default, name, f"nothing: {form} does not use it")


Config = TypeVar("Config", bound=RegionConfig)


def explicit_trunk(norm: NormSetting, frozen_stages: int, *, pretrained: bool) -> tuple[NormSetting, int]:
    """What ``auto`` and -1 stand for: frozen norms and two fixed stages of given weights, all learns from random."""
    if norm == "auto":
        norm = "frozen" if pretrained else "live"
    if frozen_stages == -1:
        frozen_stages = 2 if pretrained else 0
    return norm, frozen_stages


def explicit(config: Config, *, pretrained: bool, size: Size, samples: int) -> Config:
    """The settings with all that was left open filled in, so that a saved model says what it is.

    Args:
        config: of a detector of regions.
        pretrained: whether the trunk starts from given weights.
        size: short and long side in pixels of the paper.
        samples: regions an image of the paper.
    """
    short_side = config.short_side or (MOBILE_SIDE if config.is_mobile else size[0])
    norm, frozen_stages = explicit_trunk(config.norm, config.frozen_stages, pretrained=pretrained)
    return replace(
        config,
        norm=norm,
        frozen_stages=frozen_stages,
        short_side=short_side,
        long_side=config.long_side or (size[1] if short_side == size[0] else 2 * short_side),
        region_samples=config.region_samples or (256 if config.is_mobile else samples),
    )


def preparation_of(config: RegionConfig) -> Preparation:
    """How a detector with explicit settings prepares images."""
    return Preparation(short_side=config.short_side, long_side=config.long_side)
