"""Mask R-CNN (He et al. 2017): Faster R-CNN with RoIAlign and a branch that gives each object its pixels.

Legend: B images, K classes, D detections of the batch, m = 28 cells a side.

The machine: Faster R-CNN finds boxes; a second, small convolutional network looks at each of them again and gives one
mask a class. Classes do not compete for pixels: the map of the class that the box was named by is the mask, all others
are not even computed. docs/differences.md says where it departs from the paper and from torchvision, whose official
weights it loads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.contract import Kind, Step
from sightline.geometry.masks import paste_masks
from sightline.regions.found import Found
from sightline.regions.mask_branch import CELLS, POOLED, MaskBranch, true_masks
from sightline.regions.sampling import SampledRegions
from sightline.regions.two_stage import TwoStage, TwoStageConfig, TwoStageRaw
from sightline.structures import Classes, Detections, FeatureMaps, ImageBatch, LossTerm, Target


@dataclass(frozen=True)
class MaskRCNNConfig(TwoStageConfig):
    """Mask R-CNN; the defaults are the pyramid form that torchvision's official weights have."""

    mask_width: int = 256
    """Channels of the mask branch (He et al. 2017, figure 4)."""
    mask_depth: int = 4
    """3x3 convolutions of the mask branch."""
    mask_threshold: float = 0.5
    """Probability in 0..1 above which a pixel belongs to the object."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("mask_width", "mask_depth"):
            self.require(getattr(self, name) > 0, name, "more than 0")
        self.require(0 <= self.mask_threshold < 1, "mask_threshold", "a number from 0 to below 1")


@dataclass(frozen=True, eq=False)
class MaskRCNNRaw(TwoStageRaw):
    """What happens between images and detections.

    Args:
        found: D detections, whose masks are made.
        mask_logits: (D, m, m) float32, of the class of each.
    """

    found: Found
    mask_logits: Tensor


class MaskRCNN(TwoStage[MaskRCNNRaw]):
    """The detector.

    Args:
        config: its settings; ``auto``, -1 and 0 are replaced by what they stand for, so that a saved model is explicit.
        classes: what it tells apart.
        backbone_weights: None for random ones, ``imagenet``, or the path of a safetensors file.
    """

    name: ClassVar[str] = "mask_rcnn"
    finds: ClassVar[tuple[Kind, ...]] = ("boxes", "masks")
    class_layers: ClassVar[tuple[str, ...]] = (*TwoStage.class_layers, "mask_branch.logits.")
    config: MaskRCNNConfig

    def __init__(self, config: MaskRCNNConfig, classes: Classes, backbone_weights: str | None = None) -> None:
        super().__init__(config, classes, backbone_weights)
        self.mask_branch = MaskBranch(self.channels, len(classes), config.mask_width, config.mask_depth)

    def mask_logits(self, features: FeatureMaps, boxes: Tensor, image_index: Tensor, labels: Tensor) -> Tensor:
        """(R, m, m) masks of regions (R, 4), in pixels of the batch, of images (R,), as of the classes (R,)."""
        logits: Tensor = self.mask_branch(self.pool(features, boxes, image_index, POOLED), labels)
        return logits

    def forward(self, batch: ImageBatch) -> MaskRCNNRaw:
        """Features, proposals, what the head says of them, the detections, and their masks."""
        features = self.features(batch)
        rpn, proposals = self.propose(features, batch, training=False)
        regions, logits, deltas = self.examine(features, proposals)
        found = self.found(regions, logits, deltas, batch)
        masks = self.mask_logits(features, found.boxes, found.image_index, found.labels)
        return MaskRCNNRaw(features, regions, logits, deltas, rpn, found, masks)

    def loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        """Faster R-CNN's four, and ``mask`` (He et al. 2017, section 3: L = L_cls + L_box + L_mask).

        Raises:
            ValueError: targets without masks.
        """
        losses, features, regions = self.box_losses(batch, targets)
        return {**losses, "mask": self.mask_loss(features, regions, targets)}

    def mask_loss(self, features: FeatureMaps, regions: SampledRegions, targets: Sequence[Target]) -> LossTerm:
        """Binary cross-entropy of the true class's map alone, over the cells of regions that hold an object."""
        positive = regions.positive
        logits = self.mask_logits(features, positive.boxes, positive.image_index, positive.labels - 1)
        with torch.no_grad():
            wanted = true_masks(targets, positive.match, positive.boxes, positive.image_index)
        total = F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
        return LossTerm(total / (CELLS * CELLS), len(wanted))

    def decode(self, raw: MaskRCNNRaw, batch: ImageBatch) -> list[Detections]:
        """Detections with their masks, in pixels of the images that went in."""
        return self._pasted(raw.found, raw.mask_logits, batch)

    def completed(self, found: Found, features: FeatureMaps, batch: ImageBatch) -> list[Detections]:
        """Boxes that were found, with their masks."""
        logits = self.mask_logits(features, found.boxes, found.image_index, found.labels)
        return self._pasted(found, logits, batch)

    def _pasted(self, every: Found, mask_logits: Tensor, batch: ImageBatch) -> list[Detections]:
        shares = torch.split(mask_logits.sigmoid(), every.counts(batch))
        parts = zip(every.per_image(batch), shares, strict=True)
        return [
            replace(found, masks=paste_masks(own, found.boxes, found.size, threshold=self.config.mask_threshold))
            for found, own in parts
        ]

    def steps(self, raw: MaskRCNNRaw, batch: ImageBatch) -> tuple[Step, ...]:
        """Faster R-CNN's, and the masks of the first image's detections."""
        first = raw.found.image_index == 0
        boxes = batch.to_original(raw.found.boxes[first], 0)
        masks = Step(
            "Masks",
            "How much each cell of a detection's box looks like its class: "
            f"above {self.config.mask_threshold:g} it is the object.",
            "crops",
            {"boxes": boxes, "crops": raw.mask_logits[first].sigmoid()},
        )
        return (*super().steps(raw, batch), masks)
