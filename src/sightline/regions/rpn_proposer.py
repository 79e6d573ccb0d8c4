"""The region proposal network of a trained detector as a proposer that stands before any other system.

Four-stage training (Ren et al. 2015, section 3.2) and the comparison of proposers (Hosang et al. 2016) both look at
the network alone.
"""

from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from sightline.contract import System
from sightline.errors import ModelFileError
from sightline.geometry.boxes import at_least, clip
from sightline.proposals.proposer import ImageProposals, Proposer, require_askable
from sightline.regions.two_stage import TwoStage

_LEAST_SIDE = 1e-3


@dataclass(frozen=True)
class RPNProposer(Proposer):
    """Boxes of a region proposal network, with their objectness.

    Suppression sees at least twice as many anchors of each level as proposals are asked for, so that the model's own
    number of proposals is no limit; what is left after it may still be fewer.

    Args:
        weights: what tells the weights apart from all others, such as the hash of their file.
        system: that the network is a part of, ready to predict.
    """

    name: ClassVar[str] = "rpn"
    summary: ClassVar[str] = "the region proposal network of a trained model (--model)"
    source: ClassVar[str] = "Ren et al. 2015"
    scored: ClassVar[bool] = True
    controllable: ClassVar[bool] = False

    weights: str
    system: TwoStage[Any] = field(repr=False, compare=False)

    def on(self, device: torch.device) -> "RPNProposer":
        """The same network on a device; its numbers stay what they are, float32 ones too."""
        if self.system.device == device:
            return self
        # Others may hold this one, and be elsewhere.
        return replace(self, system=deepcopy(self.system).to(device))

    def propose(self, image: Tensor, count: int) -> ImageProposals:
        """The best boxes of an image that do not overlap better ones of their level by more than the model allows."""
        require_askable(image, count)
        system = self.system
        with torch.inference_mode():
            batch = system.preparation.batch([image.to(system.device)])
            raw = system.rpn(system.features(batch), (batch.images.shape[2], batch.images.shape[3]))
            before = max(system.rpn.config.before_nms, 2 * count)
            found = system.rpn.best(raw, batch.sizes, before, count)
            boxes = clip(batch.to_original(found.boxes, 0).float(), batch.original_sizes[0])
            kept = at_least(boxes, _LEAST_SIDE)
            boxes, scores = boxes[kept].cpu(), found.scores[kept].float().cpu()
        # Tensors of inference mode could not take part in training.
        return ImageProposals(boxes.clone(), scores.clone())


def rpn_proposer(system: System[Any], weights: str, place: str | Path | None = None) -> RPNProposer:
    """The region proposal network of a system as a proposer.

    Args:
        system: a detector that has one; it is left as it is.
        weights: what tells its weights apart from all others, such as the hash of their file.
        place: of the file, for an error.

    Raises:
        ModelFileError: a system without a region proposal network.
    """
    if not isinstance(system, TwoStage):
        raise ModelFileError(
            f"holds a {system.name}, which has no region proposal network",
            place=place,
            cure="name a model that has one, such as faster_rcnn or mask_rcnn",
        )
    return RPNProposer(weights, system.for_prediction())
