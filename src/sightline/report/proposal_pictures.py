"""Proposals on pictures: the best one for each object, coloured by its IoU, beside the first ones of an image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.geometry.iou import pairwise_iou
from sightline.proposals.proposer import ImageProposals
from sightline.report.data_pictures import scaled
from sightline.report.draw import PALETTE, Colour, draw, encode, image_name, row_length, side_by_side
from sightline.structures import Sample

LARGEST_SIDE = 440
"""Pixels of the longer side of each part of a picture of a report."""

LEAST_SIDE, LONGEST_SIDE = 240, 1760
"""Pixels of the shorter side that a small picture is enlarged to, and of the longer one that it does not exceed."""

LONGEST_ROW = 4
"""Pictures side by side at most."""

BANDS: tuple[tuple[float, str, Colour], ...] = (
    (0.7, "IoU of 0.7 or more", PALETTE[2]),
    (0.5, "0.5 to 0.7", PALETTE[4]),
    (0.0, "under 0.5: missed", PALETTE[5]),
)
"""Least IoU of a band, its name and its colour, best first."""

_TRUTH: Colour = (255, 255, 255)
_QUALITY = 80


@dataclass(frozen=True)
class ProposalPicture:
    """One picture of a report.

    Args:
        name: of the image.
        jpeg: the picture.
        caption: what is on it.
    """

    name: str
    jpeg: bytes
    caption: str


def proposal_picture(
    sample: Sample, proposals: ImageProposals, first: int = 30, fewer: ImageProposals | None = None
) -> ProposalPicture:
    """An image with the best proposal of each object at the left and the first proposals at the right.

    Args:
        sample: with its truth.
        proposals: of the image.
        first: how many of them are shown at the right.
        fewer: shown there instead, of a proposer that was asked anew for so many; None where the first ones are shown.
    """
    image = legible(scaled(sample.image, LARGEST_SIDE))
    height, width = sample.target.size
    factor = torch.tensor([image.shape[2] / width, image.shape[1] / height] * 2)
    objects = sample.target.boxes[~sample.target.ignore]
    left, overlaps = _best(image, objects, proposals.boxes, factor)
    right = draw_first(image, proposals if fewer is None else fewer, first, factor)
    found = sum(overlap >= 0.5 for overlap in overlaps)
    kind = "" if fewer is not None else "best " if proposals.scores is not None else "first "
    shown = how_many(proposals, first, fewer)
    titles = [f"best for each object: {found} of {len(overlaps)}", f"{kind}{shown}"]
    jpeg = encode(beside([left, right], titles), "JPEG", _QUALITY)
    mean = f", mean IoU {sum(overlaps) / len(overlaps):.2f}" if overlaps else ""
    name = image_name(sample)
    caption = f"{name}: {found} of {len(overlaps)} objects at IoU 0.5{mean}"
    return ProposalPicture(name, jpeg, caption)


def how_many(proposals: ImageProposals, first: int, fewer: ImageProposals | None) -> str:
    """How many proposals are drawn: of those that there are, or of those that were asked for anew."""
    if fewer is None:
        return f"{min(first, len(proposals))} of {len(proposals)}"
    return f"{len(fewer)} of {first} asked for"


def legible(image: Tensor) -> Tensor:
    """A picture, (3, H, W) uint8, enlarged by a whole factor, so that boxes on a small or narrow one can be told apart.

    The shorter side gets :data:`LEAST_SIDE` pixels, but the longer one not more than :data:`LONGEST_SIDE`.
    """
    short, long = sorted(image.shape[1:])
    factor = min(math.ceil(LEAST_SIDE / short), LONGEST_SIDE // long)
    return image if factor <= 1 else image.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)


def beside(pictures: Sequence[Tensor], titles: Sequence[str]) -> Tensor:
    """Pictures in rows of at most :data:`LONGEST_ROW` under their titles, on white.

    Narrow ones have white at their right, where the title goes on.
    """
    least = max(LEAST_SIDE, max(picture.shape[1] for picture in pictures) // 4)  # titles grow with the height
    wide = [F.pad(each, (0, max(0, least - each.shape[2])), value=255) for each in pictures]
    length = row_length(len(wide), LONGEST_ROW)
    starts = range(0, len(wide), length)
    rows = [side_by_side(wide[start : start + length], titles[start : start + length]) for start in starts]
    broadest = max(row.shape[2] for row in rows)
    return torch.cat([F.pad(row, (0, broadest - row.shape[2]), value=255) for row in rows], dim=1)


def draw_first(image: Tensor, proposals: ImageProposals, first: int, factor: Tensor | None = None) -> Tensor:
    """A copy of an image with its first proposals, in colours that tell neighbours in rank apart.

    Args:
        image: (3, H, W) uint8.
        proposals: best first where there are scores.
        first: how many are drawn.
        factor: (4,) from pixels of the proposals to those of the image; default 1.
    """
    boxes = proposals.boxes[:first] if factor is None else proposals.boxes[:first] * factor
    count = len(boxes)
    colours = [PALETTE[index % len(PALETTE)] for index in range(count)]
    return draw(image, boxes, [""] * count, colours=colours)


def _best(image: Tensor, objects: Tensor, boxes: Tensor, factor: Tensor) -> tuple[Tensor, list[float]]:
    """The image with each object in white and the proposal nearest to it, and the IoU of these."""
    if not len(objects) or not len(boxes):
        drawn = draw(image, objects * factor, [""] * len(objects), colours=[_TRUTH] * len(objects))
        return drawn, [0.0] * len(objects)
    overlaps, nearest = pairwise_iou(objects, boxes).max(dim=1)
    values: list[float] = overlaps.tolist()
    names = [f"{value:.2f}" for value in values] + [""] * len(values)
    colours = [_band(value) for value in values] + [_TRUTH] * len(values)
    dashed = [False] * len(values) + [True] * len(values)
    shown = torch.cat([boxes[nearest], objects]) * factor
    return draw(image, shown, names, colours=colours, dashed=dashed), values


def _band(overlap: float) -> Colour:
    return next(colour for least, _, colour in BANDS if overlap >= least)


def spread(count: int, most: int) -> Sequence[int]:
    """At most ``most`` places among 0..count-1, evenly spread."""
    return [index * count // most for index in range(most)] if count > most else range(count)
