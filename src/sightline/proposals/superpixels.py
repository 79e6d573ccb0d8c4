"""Superpixels as proposals, the fourth baseline of Hosang et al. (TPAMI 2016, section 2.4).

Each segment of the graph-based segmentation is a proposal, as it is: what methods that group segments start from, and a
lower bound of their recall.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from sightline.errors import ConfigError
from sightline.proposals.proposer import ImageProposals, Proposer, require_askable


@dataclass(frozen=True)
class Superpixels(Proposer):
    """The boxes around the segments of one segmentation, those of large segments first."""

    colour_space: Literal["rgb", "hsv", "lab", "rgi", "hue", "intensity"] = "rgb"
    """Where the image is segmented; Felzenszwalb and Huttenlocher's own is rgb."""
    scale: float = 100.0
    """k of the segmentation, of levels in 0..255: larger ones prefer larger segments."""
    smallest: int = 20
    """Pixels of a segment at least, unless it is the whole image."""
    smoothing: float = 0.8
    """Pixels of the Gaussian before."""

    name: ClassVar[str] = "superpixels"
    summary: ClassVar[str] = "segments of a graph segmentation, as they are"
    source: ClassVar[str] = "Felzenszwalb, Huttenlocher 2004"
    segments: ClassVar[bool] = True
    controllable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.scale < 0 or self.smallest < 1 or self.smoothing <= 0:
            raise ConfigError("scale must not be negative, smallest at least 1, and smoothing positive")

    def propose(self, image: Tensor, count: int) -> ImageProposals:
        """The first ``count`` segments' boxes; equal boxes once."""
        from sightline.proposals.colour_spaces import in_space
        from sightline.proposals.graph_segmentation import segment, sorted_edges
        from sightline.proposals.near_duplicates import distinct
        from sightline.proposals.region_features import sizes_and_boxes, smooth

        require_askable(image, count)
        planes = in_space(image.contiguous().numpy(), self.colour_space)
        labels, segments = segment(sorted_edges(smooth(planes, self.smoothing)), self.scale, self.smallest)
        sizes, boxes = sizes_and_boxes(labels, segments)
        boxes = boxes[np.argsort(-sizes, kind="stable")]
        return ImageProposals(torch.from_numpy(boxes[distinct(boxes, 1.0)[:count]].astype(np.float32)))
