"""Selective Search (Uijlings, van de Sande, Gevers and Smeulders, IJCV 2013).

    image -> colour spaces -> segments at several scales -> groups by several similarities -> all their boxes, ranked

One reading of an image serves all it can: edges are sorted once for all scales of a colour space, and the histograms of
segments are counted once for all similarities.

Rank (section 3.3): the group that was made last in a hierarchy has position 1, the one before it 2, and so on; a box is
worth its position times a random number in 0..1, and the smallest come first. The random numbers come from ``seed`` and
the strategy, so that the same image always gives the same boxes.

Departures: boxes that overlap a better one by more than ``overlap`` fall, and not only its equals, which brings the
first N nearer to more objects; images are reduced to ``longer_side`` first (R-CNN's authors took a width of 500).
Segments have at least ``k`` pixels, as in the authors' code.
"""

from abc import ABC
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sightline.errors import ConfigError
from sightline.proposals.proposer import ImageProposals, Proposer, require_askable

ColourSpace = Literal["rgb", "hsv", "lab", "rgi", "hue", "intensity"]

SMOOTHING = 0.8
"""Pixels of the Gaussian before segmentation."""

STEEPEST = 40.0
"""Grey levels a pixel from which a derivative falls into the last bin of texture."""


@dataclass(frozen=True)
class HierarchicalGrouping(Proposer, ABC):
    """What both modes of Selective Search do; they differ in how many strategies they take."""

    colour_spaces: tuple[ColourSpace, ...] = ("hsv", "lab")
    """Where the image is segmented and regions are compared: rgb, hsv, lab, rgi, hue, intensity (table 1)."""
    scales: tuple[float, ...] = (50.0, 100.0)
    """k of the graph segmentation, and the pixels that a segment has at least; fine ones first."""
    similarities: tuple[str, ...] = ("CTSF", "TSF")
    """By what regions are grouped: some of the letters C (colour), T (texture), S (size), F (fill) each."""
    longer_side: int = 500
    """Pixels of the longer side to which larger images are reduced; 0 leaves all as they are."""
    overlap: float = 0.85
    """IoU with a better box above which a box is a duplicate, 0.5 to 1; 1 drops equal boxes alone."""
    seed: int = 0
    """Of the random part of the rank; not negative."""

    segments: ClassVar[bool] = True
    controllable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.colour_spaces or not self.scales or not self.similarities:
            raise ConfigError("Selective Search needs a colour space, a scale and a similarity at least")
        for letters in self.similarities:
            if not letters or set(letters) - set("CTSF") or len(set(letters)) < len(letters):
                raise ConfigError(
                    f"similarities: {letters!r} is not a choice of similarities",
                    cure="name some of the letters C (colour), T (texture), S (size), F (fill), such as CTSF",
                )
        if min(self.scales) < 1:
            raise ConfigError(f"scales must be at least 1, got {min(self.scales):g}")
        if self.longer_side < 0 or self.seed < 0:
            raise ConfigError("longer_side and seed must not be negative")
        if not 0.5 <= self.overlap <= 1:
            raise ConfigError(f"overlap must lie in 0.5..1, got {self.overlap:g}")

    def propose(self, image: Tensor, count: int) -> ImageProposals:
        """The first ``count`` boxes of all groups, the best first."""
        from sightline.proposals.near_duplicates import distinct

        height, width = require_askable(image, count)
        seen = _reduced(image, self.longer_side)
        boxes = ranked(list(self._hierarchies(seen.numpy())), self.seed)
        boxes = boxes[distinct(boxes, self.overlap)[:count]]
        across, down = width / seen.shape[2], height / seen.shape[1]
        return ImageProposals(torch.from_numpy((boxes * (across, down, across, down)).astype(np.float32)))

    def _hierarchies(self, image: NDArray[np.uint8]) -> Iterator[NDArray[np.int32]]:
        """The boxes of each strategy, (N, 4) in the order in which they were made."""
        from sightline.proposals.colour_spaces import in_space
        from sightline.proposals.graph_segmentation import segment, sorted_edges
        from sightline.proposals.hierarchy import group
        from sightline.proposals.region_features import bins_of_pixels, describe, smooth

        for space in self.colour_spaces:
            planes = in_space(image, space)
            smoothed = smooth(planes, SMOOTHING)
            edges, bins = sorted_edges(smoothed), bins_of_pixels(planes, smoothed, STEEPEST)
            for scale in self.scales:
                regions = describe(*segment(edges, scale, int(scale)), bins)
                for similarity in self.similarities:
                    yield group(regions, similarity, image.shape[1] * image.shape[2])


@dataclass(frozen=True)
class SelectiveSearch(HierarchicalGrouping):
    """The fast mode: 8 strategies (table 5), about 2000 boxes of a photograph."""

    name: ClassVar[str] = "selective_search"
    summary: ClassVar[str] = "groups segments by likeness, 8 strategies (fast)"
    source: ClassVar[str] = "Uijlings et al. 2013"


@dataclass(frozen=True)
class SelectiveSearchQuality(HierarchicalGrouping):
    """The quality mode: 80 strategies (table 5)."""

    colour_spaces: tuple[ColourSpace, ...] = ("hsv", "lab", "rgi", "hue", "intensity")
    scales: tuple[float, ...] = (50.0, 100.0, 150.0, 300.0)
    similarities: tuple[str, ...] = ("CTSF", "TSF", "F", "S")

    name: ClassVar[str] = "selective_search_quality"
    summary: ClassVar[str] = "the same with 80 strategies (quality)"
    source: ClassVar[str] = "Uijlings et al. 2013"


def ranked(hierarchies: Sequence[NDArray[np.int32]], seed: int) -> NDArray[np.int32]:
    """The boxes of all hierarchies, the best first.

    Args:
        hierarchies: (N_i, 4) boxes of each strategy, in the order in which they were made.
        seed: of the random numbers, one stream a strategy.
    """
    worth = [
        np.random.default_rng((seed, strategy)).random(len(boxes)) * np.arange(len(boxes), 0, -1)
        for strategy, boxes in enumerate(hierarchies)
    ]
    return np.concatenate(hierarchies)[np.argsort(np.concatenate(worth), kind="stable")]


def _reduced(image: Tensor, longer_side: int) -> Tensor:
    """The image with its longer side of at most so many pixels; each side keeps one."""
    height, width = image.shape[1:]
    if longer_side == 0 or max(height, width) <= longer_side:
        return image.contiguous()
    factor = longer_side / max(height, width)
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    return F.interpolate(image[None], size, mode="bilinear", antialias=True)[0].contiguous()
