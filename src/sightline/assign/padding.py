"""Targets of a batch as rectangular tensors, so that assignment needs no loop over images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sightline.structures import Target


@dataclass(frozen=True, eq=False)
class PaddedTargets:
    """The objects of B images, padded to the largest number M.

    Args:
        boxes: (B, M, 4) float32; zeros where padded.
        labels: (B, M) int64; zeros where padded.
        valid: (B, M) bool; objects that count.
        ignored: (B, I, 4) float32 boxes of objects that neither count nor cost; zeros where padded.
    """

    boxes: Tensor
    labels: Tensor
    valid: Tensor
    ignored: Tensor


def pad_targets(targets: Sequence[Target]) -> PaddedTargets:
    """The targets of a batch as one structure; M and I may be 0."""
    kept = [target.boxes[~target.ignore] for target in targets]
    boxes = pad_sequence(kept, batch_first=True)
    labels = pad_sequence([target.labels[~target.ignore] for target in targets], batch_first=True)
    counts = torch.tensor([len(k) for k in kept], device=boxes.device)
    valid = torch.arange(boxes.shape[1], device=boxes.device) < counts[:, None]
    ignored = pad_sequence([target.boxes[target.ignore] for target in targets], batch_first=True)
    return PaddedTargets(boxes, labels, valid, ignored)


def covered(boxes: Tensor, ignored: Tensor, share: float = 0.5) -> Tensor:
    """Boxes of which at least ``share`` of the area lies in one ignored region.

    Args:
        boxes: (..., N, 4) xyxy.
        ignored: (..., I, 4) xyxy, zeros where padded.

    Returns:
        (..., N) bool.
    """
    low = torch.maximum(boxes[..., :, None, :2], ignored[..., None, :, :2])
    high = torch.minimum(boxes[..., :, None, 2:], ignored[..., None, :, 2:])
    overlap = (high - low).clamp(min=0).prod(dim=-1)
    area = (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)
    return (overlap >= share * area[..., None]).any(dim=-1) & (area > 0)
