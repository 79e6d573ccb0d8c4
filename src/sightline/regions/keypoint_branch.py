"""The keypoint branch of Mask R-CNN (He et al. 2017, section 5): K maps a region, one hot place on each.

Legend: R regions, C channels of the pooled maps, K keypoints, m = 56 cells a side.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightline.geometry.keypoints import keypoint_cells
from sightline.regions.convolutions import convolutions, started, through
from sightline.regions.sampling import matched_objects
from sightline.structures import Target

POOLED = 14
"""Cells along each side of the maps that the branch looks at."""
CELLS = 4 * POOLED
"""m: cells along each side of a keypoint's map."""


class KeypointBranch(nn.Module):
    """Eight 3x3 convolutions of 512 channels, a 4x4 transposed one to K maps, enlarged twofold.

    Args:
        channels: C.
        keypoints: K.
        width: channels between.
        depth: 3x3 convolutions.
    """

    def __init__(self, channels: int, keypoints: int, width: int = 512, depth: int = 8) -> None:
        super().__init__()
        self.convolutions = convolutions(channels, width, depth)
        self.maps = started(nn.ConvTranspose2d(width, keypoints, 4, stride=2, padding=1))

    def forward(self, pooled: Tensor) -> Tensor:
        """(R, C, 14, 14) to (R, K, m, m) float32 logits of each keypoint's place."""
        coarse = self.maps(through(self.convolutions, pooled)).float()
        return F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)


def true_cells(targets: Sequence[Target], match: Tensor, boxes: Tensor, image_index: Tensor) -> tuple[Tensor, Tensor]:
    """Where the keypoints of objects lie in regions that found them.

    Args:
        targets: of the batch, with keypoints where there are objects.
        match: (S,) int64, the object of each region among those of its image that count.
        boxes: (S, 4) the regions, in pixels of the batch.
        image_index: (S,) int64, not decreasing.

    Returns:
        (S, K) int64 cells and (S, K) bool, which of them are to be learned, as ``keypoint_cells`` gives them; K is 0
        without regions.

    Raises:
        ValueError: a target without keypoints.
    """
    own_keypoints = []
    for target, _, objects in matched_objects(targets, match, image_index):
        if target.keypoints is None:
            raise ValueError("keypoints can be learned only from targets that have keypoints")
        own_keypoints.append(target.keypoints[objects])
    keypoints = torch.cat(own_keypoints) if own_keypoints else boxes.new_zeros(0, 0, 3)
    return keypoint_cells(keypoints, boxes, CELLS)


def mirror_pairs(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """The keypoints that trade places in a mirror: those whose names differ in left and right alone."""
    places = {name: place for place, name in enumerate(names)}
    swapped = {place: places.get(name.replace("left", "right")) for name, place in places.items() if "left" in name}
    return tuple((left, right) for left, right in swapped.items() if right is not None)
