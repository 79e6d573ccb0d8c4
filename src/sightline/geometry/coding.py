"""Boxes as offsets from anchors, the numbers that box regression predicts.

R-CNN's form (Girshick et al., CVPR 2014, appendix C): with centres (x, y), widths w and heights h,

    dx = (x_box - x_anchor) / w_anchor        dw = log(w_box / w_anchor)
    dy = (y_box - y_anchor) / h_anchor        dh = log(h_box / h_anchor)

each then normalised to (d - mean) / std, so that the four have similar spread. Fast R-CNN's "weights" are 1 / std.

The lectures' picture of the regression targets, (0, 0, 0, 0), (.25, 0, 0, 0) and (0, 0, -0.125, 0), writes the change
of width as a share of the proposal: dw = -0.125 is a box of 7/8 of its width. Here, as in the paper, the same box has
dw = log(7/8) = -0.1335; the shifts agree.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

Four = tuple[float, float, float, float]


@dataclass(frozen=True)
class BoxCoder:
    """Encodes boxes relative to anchors, and decodes them again.

    Args:
        mean: of (dx, dy, dw, dh), subtracted when encoding.
        std: of (dx, dy, dw, dh), divided by when encoding; positive.
        clip: largest dw and dh (before exp) that decoding believes; the usual value lets a box grow 62.5-fold.

    Raises:
        ValueError: a std that is not positive.
    """

    mean: Four = (0.0, 0.0, 0.0, 0.0)
    std: Four = (1.0, 1.0, 1.0, 1.0)
    clip: float = math.log(1000 / 16)

    def __post_init__(self) -> None:
        if min(self.std) <= 0:
            raise ValueError(f"BoxCoder.std must be positive, got {self.std}")

    @property
    def _scale(self) -> list[float]:
        # 1 / std, the paper's weights: dividing by them decodes to torchvision's boxes to the last bit.
        return [1 / std for std in self.std]

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Normalised offsets of boxes from anchors.

        Args:
            boxes: (..., 4) xyxy with positive sides.
            anchors: (..., 4) xyxy with positive sides; broadcast against ``boxes``.

        Returns:
            (..., 4) as dx, dy, dw, dh. A side that is not positive gives values that are not finite.
        """
        centre, sides = _centre_and_sides(boxes)
        anchor_centre, anchor_sides = _centre_and_sides(anchors)
        deltas = torch.cat(((centre - anchor_centre) / anchor_sides, torch.log(sides / anchor_sides)), dim=-1)
        return (deltas - deltas.new_tensor(self.mean)) * deltas.new_tensor(self._scale)

    def decode(self, deltas: Tensor, anchors: Tensor) -> Tensor:
        """The boxes that lie at normalised offsets from anchors; not clipped to any image.

        Args:
            deltas: (..., 4) as dx, dy, dw, dh.
            anchors: (..., 4) xyxy; broadcast against ``deltas``.

        Returns:
            (..., 4) xyxy, in the wider of the two dtypes.
        """
        deltas = deltas / anchors.new_tensor(self._scale) + anchors.new_tensor(self.mean)
        anchor_centre, anchor_sides = _centre_and_sides(anchors)
        centre = deltas[..., :2] * anchor_sides + anchor_centre
        half = deltas[..., 2:].clamp(max=self.clip).exp() * anchor_sides * 0.5
        return torch.cat((centre - half, centre + half), dim=-1)


def rcnn_coder(weights: Four = (10.0, 10.0, 5.0, 5.0)) -> BoxCoder:
    """The coder of Fast and Faster R-CNN: std = 1 / weights; by default their box head's; the RPN has (1, 1, 1, 1)."""
    x, y, w, h = weights
    return BoxCoder(std=(1 / x, 1 / y, 1 / w, 1 / h))


def lecture_coder() -> BoxCoder:
    """The lectures' coder with the usual MultiBox setting: mean 0, std 0.1 of the centres and 0.2 of the sides."""
    return BoxCoder(std=(0.1, 0.1, 0.2, 0.2))


def _centre_and_sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    low, high = boxes[..., :2], boxes[..., 2:]
    sides = high - low
    return low + 0.5 * sides, sides
