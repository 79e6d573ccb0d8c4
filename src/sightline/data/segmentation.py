"""Masks as tensors, from COCO's polygons and run lengths and back; ``coco_masks`` does the work."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sightline.classes import Size
from sightline.data.coco_masks import decode, encode


def decode_segmentation(segmentation: Any, size: Size) -> Tensor:
    """The mask of one object, (H, W) bool; arguments and errors as ``coco_masks.decode``."""
    return torch.from_numpy(decode(segmentation, size))


def encode_mask(mask: Tensor) -> dict[str, Any]:
    """A (H, W) bool mask as COCO's compressed run lengths: ``{"size": [H, W], "counts": text}``."""
    return encode(mask.cpu().numpy().astype(np.bool_))
