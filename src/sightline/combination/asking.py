"""Several systems asked about the same images, each proposer once; and what a mirrored image's answer means."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self, final

import torch
from torch import Tensor

from sightline.contract import CombinedSystem, NeuralSystem, System, Task
from sightline.proposals.proposer import Proposer
from sightline.regions.keypoint_branch import mirror_pairs
from sightline.structures import Detections


class Asking:
    """Some images, about which systems are asked one after the other.

    Args:
        images: (3, H, W) RGB tensors, uint8 or float in 0..1.
        origin: of the same images before they were mirrored, whose proposals are mirrored instead of made anew.
    """

    def __init__(self, images: Sequence[Tensor], origin: "Asking | None" = None) -> None:
        self.images = tuple(images)
        self._origin = origin
        self._found: dict[tuple[Proposer, int], tuple[Tensor, ...]] = {}

    def ask(self, system: System[Detections]) -> list[Detections]:
        """One result an image, in its pixels."""
        if isinstance(system, CombinedDetector):
            return system.answer(self)
        if isinstance(system, NeuralSystem):
            return system.predict_batch(system.prepare(self.images, self.proposals_for(system)))
        return system.predict(self.images)

    def proposals_for(self, system: NeuralSystem[Any, Any]) -> tuple[Tensor, ...]:
        """What the system's proposer finds in each image; it is asked once, whichever systems have it."""
        if system.proposer is None:
            return ()
        key = (system.proposer, system.proposal_count)
        if key not in self._found:
            self._found[key] = (
                system.proposals_of(self.images)
                if self._origin is None
                else tuple(
                    mirrored_boxes(boxes, image.shape[2])
                    for boxes, image in zip(self._origin.proposals_for(system), self.images, strict=True)
                )
            )
        return self._found[key]

    def mirrored(self) -> "Asking":
        """The same images mirrored left to right."""
        return Asking([image.flip(2) for image in self.images], self)


class CombinedDetector(CombinedSystem[Detections]):
    """A detector that makes one answer of those of others."""

    task: ClassVar[Task] = "detection"

    @abstractmethod
    def answer(self, asking: Asking) -> list[Detections]:
        """One result an image, in its pixels."""

    @final
    def predict(self, images: Tensor | Sequence[Tensor]) -> list[Detections]:
        """One result an image, in pixels of the images that went in."""
        if len(images) == 0:
            return []
        listed = [images] if isinstance(images, Tensor) and images.ndim == 3 else list(images)
        with torch.inference_mode():
            return self.answer(Asking(listed))

    @abstractmethod
    def with_members(self, members: Sequence[System[Detections]]) -> Self:
        """As ``CombinedSystem``."""

    def _answers_like(self, member: System[Detections]) -> None:
        """Take over what a member answers with; for the constructors of frozen dataclasses."""
        for name in ("classes", "finds", "keypoint_names"):
            object.__setattr__(self, name, getattr(member, name))


def mirrored_boxes(boxes: Tensor, width: int) -> Tensor:
    """Boxes (N, 4) of an image of ``width`` pixels as they lie in the image mirrored left to right; its own inverse."""
    x1, y1, x2, y2 = boxes.unbind(1)
    return torch.stack([width - x2, y1, width - x1, y2], dim=1)


def mirrored_back(found: Detections, keypoint_names: Sequence[str]) -> Detections:
    """What was found in a mirrored image, as it lies in the image itself.

    Args:
        found: in pixels of the mirrored image.
        keypoint_names: of the keypoints in order; those that differ in left and right alone trade places.
    """
    width = found.size[1]
    keypoints = found.keypoints
    if keypoints is not None:
        order = list(range(keypoints.shape[1]))
        for first, second in mirror_pairs(keypoint_names):
            order[first], order[second] = second, first
        keypoints = keypoints[:, order]
        keypoints = torch.cat([width - keypoints[..., :1], keypoints[..., 1:]], dim=2)
    masks = None if found.masks is None else found.masks.flip(2)
    return replace(found, boxes=mirrored_boxes(found.boxes, width), masks=masks, keypoints=keypoints)
