"""Many images of a set on one picture: a grid of thumbnails with boxes, the name of the file below each."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from sightline.report.data_pictures import DataPicture, ShownObject, scaled, visible_box
from sightline.report.draw import PALETTE, Colour, cut_text, draw, from_pillow, letters, to_pillow

THUMBNAIL = (240, 320)
"""(H, W) in pixels that every thumbnail fits into."""

FLAGGED: Colour = (255, 0, 40)
"""The colour of what a finding points to."""

MOST_NAMED = 8
"""Objects of an image whose classes are written on its thumbnail; of more there is no room."""

_COLUMNS = 6
_GAP = 10
_LETTERS = 13
_INK, _SOFT, _PAPER = (27, 31, 36), (91, 101, 112), (255, 255, 255)


def thumbnail(picture: DataPicture) -> Tensor:
    """An image with its objects, (3, h, w) uint8, small enough for the sheet; those with findings lie on top."""
    height, width = picture.image.shape[1:]
    factor = min(THUMBNAIL[0] / height, THUMBNAIL[1] / width)
    image = scaled(picture.image, max(1, round(max(height, width) * factor)))
    scale_x, scale_y = image.shape[2] / picture.size[1], image.shape[1] / picture.size[0]
    objects = sorted(picture.objects, key=lambda found: (not found.flagged, found.area))
    boxes = torch.tensor([visible_box(found.box, picture.size) for found in objects]).reshape(-1, 4)
    named = len(objects) <= MOST_NAMED
    return draw(
        image,
        boxes * torch.tensor([scale_x, scale_y, scale_x, scale_y]),
        [found.name if named or found.flagged else "" for found in objects],
        colours=[FLAGGED if found.flagged else PALETTE[found.place % len(PALETTE)] for found in objects],
        dashed=[found.ignore for found in objects],
        masks=_masks(objects, image),
        keypoints=_keypoints(objects, scale_x, scale_y),
    )


def contact_sheet(thumbnails: Sequence[Tensor], captions: Sequence[Sequence[str]]) -> Tensor:
    """All thumbnails in a grid.

    Args:
        thumbnails: as :func:`thumbnail` makes them.
        captions: the lines below each; cut where they are longer than the thumbnail is wide.

    Returns:
        (3, H, W) uint8.

    Raises:
        ValueError: no thumbnails, or another number of captions.
    """
    if not thumbnails or len(thumbnails) != len(captions):
        raise ValueError(f"a sheet needs one caption for each of at least one thumbnail, got {len(captions)}")
    columns = min(len(thumbnails), max(_COLUMNS, math.ceil(math.sqrt(len(thumbnails)))))
    rows = math.ceil(len(thumbnails) / columns)
    line = round(1.4 * _LETTERS)
    cell_height = THUMBNAIL[0] + line * max(len(lines) for lines in captions) + _GAP
    cell_width = THUMBNAIL[1] + _GAP
    sheet = Image.new("RGB", (columns * cell_width + _GAP, rows * cell_height + _GAP), _PAPER)
    canvas = ImageDraw.Draw(sheet)
    font = letters(_LETTERS)
    for number, (image, lines) in enumerate(zip(thumbnails, captions, strict=True)):
        left, top = _GAP + number % columns * cell_width, _GAP + number // columns * cell_height
        # Flush with its caption at the bottom left.
        sheet.paste(to_pillow(image), (left, top + THUMBNAIL[0] - image.shape[1]))
        for place, text in enumerate(lines):
            below = top + THUMBNAIL[0] + place * line + 3
            fill = _SOFT if place else _INK
            canvas.text((left, below), cut_text(canvas, text, font, THUMBNAIL[1]), fill=fill, font=font)
    return from_pillow(sheet)


def _masks(objects: Sequence[ShownObject], image: Tensor) -> Tensor | None:
    """(N, h, w) bool in the size of the thumbnail, empty for objects without one; None where none has one."""
    if not any(found.mask is not None for found in objects):
        return None
    size = (image.shape[1], image.shape[2])
    masks = torch.zeros(len(objects), *size, dtype=torch.bool)
    for slot, found in zip(masks, objects, strict=True):
        if found.mask is not None:
            resized = torch.nn.functional.interpolate(found.mask[None, None].to(torch.uint8), size=size)
            slot[:] = resized[0, 0].bool()
    return masks


def _keypoints(objects: Sequence[ShownObject], scale_x: float, scale_y: float) -> Tensor | None:
    """(N, K, 3) in pixels of the thumbnail; None where no object has any."""
    count = max((len(found.keypoints) for found in objects if found.keypoints is not None), default=0)
    if not count:
        return None
    points = np.zeros((len(objects), count, 3), np.float32)
    for slot, found in zip(points, objects, strict=True):
        if found.keypoints is not None:
            slot[: len(found.keypoints)] = found.keypoints * (scale_x, scale_y, 1)
    return torch.from_numpy(points)
