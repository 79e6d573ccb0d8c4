"""Mask R-CNN for poses (He et al. 2017, section 5): Faster R-CNN and a branch with one hot map for each keypoint.

Legend: B images, D detections of the batch, K keypoints, m = 56 cells a side.

A keypoint is a mask of one cell: the branch gives K maps of m x m, a softmax over all cells of a map says where the
keypoint is, and the highest place of the map, enlarged to the pixels of the box, is the answer. docs/differences.md
says where it departs from the paper and from torchvision, whose official weights it loads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.contract import Kind, Step
from sightline.geometry.keypoints import keypoints_of_maps
from sightline.recipes import Recipe
from sightline.regions.found import Found
from sightline.regions.keypoint_branch import POOLED, KeypointBranch, mirror_pairs, true_cells
from sightline.regions.recipe import one_stage
from sightline.regions.sampling import SampledRegions
from sightline.regions.two_stage import TwoStage, TwoStageConfig, TwoStageRaw
from sightline.structures import Classes, Detections, FeatureMaps, ImageBatch, LossTerm, Target

_PAIRS = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
COCO_KEYPOINTS = ("nose", *(f"{side}_{part}" for part in _PAIRS for side in ("left", "right")))
"""COCO's 17 keypoints of a person, in its order."""


@dataclass(frozen=True)
class KeypointRCNNConfig(TwoStageConfig):
    """Keypoint R-CNN; the defaults are the pyramid form that torchvision's official weights have."""

    keypoints: tuple[str, ...] = COCO_KEYPOINTS
    """Names of the keypoints, in the order of the data; those that differ in left and right trade places in a flip."""
    keypoint_width: int = 512
    """Channels of the keypoint branch (He et al. 2017, section 5)."""
    keypoint_depth: int = 8
    """3x3 convolutions of the keypoint branch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("keypoint_width", "keypoint_depth"):
            self.require(getattr(self, name) > 0, name, "more than 0")
        unique = 0 < len(self.keypoints) == len(set(self.keypoints))
        self.require(unique, "keypoints", "different names, at least one")


@dataclass(frozen=True, eq=False)
class KeypointRCNNRaw(TwoStageRaw):
    """What happens between images and detections.

    Args:
        found: D detections, whose keypoints are looked for.
        keypoint_logits: (D, K, m, m) float32.
    """

    found: Found
    keypoint_logits: Tensor


class KeypointRCNN(TwoStage[KeypointRCNNRaw]):
    """The detector.

    Args:
        config: its settings; ``auto``, -1 and 0 are replaced by what they stand for, so that a saved model is explicit.
        classes: what it tells apart; all have the same keypoints.
        backbone_weights: None for random ones, ``imagenet``, or the path of a safetensors file.
    """

    name: ClassVar[str] = "keypoint_rcnn"
    finds: ClassVar[tuple[Kind, ...]] = ("boxes", "keypoints")
    config: KeypointRCNNConfig

    def __init__(self, config: KeypointRCNNConfig, classes: Classes, backbone_weights: str | None = None) -> None:
        super().__init__(config, classes, backbone_weights)
        self.keypoint_names = config.keypoints
        width, depth = config.keypoint_width, config.keypoint_depth
        self.keypoint_branch = KeypointBranch(self.channels, len(config.keypoints), width, depth)

    def keypoint_logits(self, features: FeatureMaps, boxes: Tensor, image_index: Tensor) -> Tensor:
        """(R, K, m, m) maps of regions (R, 4), in pixels of the batch, of images (R,)."""
        logits: Tensor = self.keypoint_branch(self.pool(features, boxes, image_index, POOLED))
        return logits

    def forward(self, batch: ImageBatch) -> KeypointRCNNRaw:
        """Features, proposals, what the head says of them, the detections, and the maps of their keypoints."""
        features = self.features(batch)
        rpn, proposals = self.propose(features, batch, training=False)
        regions, logits, deltas = self.examine(features, proposals)
        found = self.found(regions, logits, deltas, batch)
        maps = self.keypoint_logits(features, found.boxes, found.image_index)
        return KeypointRCNNRaw(features, regions, logits, deltas, rpn, found, maps)

    def loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        """Faster R-CNN's four, and ``keypoint``.

        Raises:
            ValueError: targets without keypoints.
        """
        losses, features, regions = self.box_losses(batch, targets)
        return {**losses, "keypoint": self.keypoint_loss(features, regions, targets)}

    def keypoint_loss(self, features: FeatureMaps, regions: SampledRegions, targets: Sequence[Target]) -> LossTerm:
        """Cross-entropy over the m x m places, over the labelled keypoints that lie in regions with an object."""
        positive = regions.positive
        logits = self.keypoint_logits(features, positive.boxes, positive.image_index).flatten(2)
        with torch.no_grad():
            cells, valid = true_cells(targets, positive.match, positive.boxes, positive.image_index)
        if not len(valid):
            return LossTerm(logits.sum(), 0)
        total = F.cross_entropy(logits[valid], cells[valid], reduction="sum")
        return LossTerm(total, valid.sum())

    def decode(self, raw: KeypointRCNNRaw, batch: ImageBatch) -> list[Detections]:
        """Detections with their keypoints, in pixels of the images that went in.

        A keypoint's score is the probability of the best cell of its map.
        """
        return self._placed(raw.found, raw.keypoint_logits, batch)

    def completed(self, found: Found, features: FeatureMaps, batch: ImageBatch) -> list[Detections]:
        """Boxes that were found, with their keypoints."""
        return self._placed(found, self.keypoint_logits(features, found.boxes, found.image_index), batch)

    def _placed(self, every: Found, keypoint_logits: Tensor, batch: ImageBatch) -> list[Detections]:
        counts = every.counts(batch)
        scores = _probabilities(keypoint_logits).amax(dim=(2, 3))[..., None]
        # In pixels of the batch, as the weights learned it: a map is told to a pixel's middle.
        places, _ = keypoints_of_maps(keypoint_logits, every.boxes)
        parts = zip(every.per_image(batch), torch.split(places, counts), torch.split(scores, counts), strict=True)
        results = []
        for index, (found, points, own) in enumerate(parts):
            doubled = batch.to_original(points.repeat(1, 1, 2).flatten(0, 1), index)
            keypoints = torch.cat([doubled[:, :2].view_as(points), own], dim=2)
            results.append(replace(found, keypoints=keypoints))
        return results

    def recipe(self) -> Recipe:
        """Joint training: all losses in one stage; in flips left and right trade places."""
        pairs = mirror_pairs(self.config.keypoints)
        frozen = self.config.norm == "frozen"
        return one_stage("joint", frozen_norms=frozen, backbone=self.backbone, keypoint_pairs=pairs)

    def steps(self, raw: KeypointRCNNRaw, batch: ImageBatch) -> tuple[Step, ...]:
        """Faster R-CNN's, and the maps of the first image's detections, all keypoints on one."""
        first = raw.found.image_index == 0
        boxes = batch.to_original(raw.found.boxes[first], 0)
        maps = _probabilities(raw.keypoint_logits[first])
        peaks = maps / maps.amax(dim=(2, 3), keepdim=True)
        step = Step(
            "Keypoints",
            "Where each keypoint is thought to be in a detection's box.",
            "crops",
            {"boxes": boxes, "crops": peaks.amax(dim=1)},
        )
        return (*super().steps(raw, batch), step)


def _probabilities(logits: Tensor) -> Tensor:
    """(D, K, m, m) over the places of each map."""
    return logits.flatten(2).softmax(dim=2).view_as(logits)
