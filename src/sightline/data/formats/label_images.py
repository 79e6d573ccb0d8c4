"""Label images as writers make them: every pixel has one value, shown in the colours of PASCAL VOC.

The colours come from the development kit: bit 0, 3 and 6 of a value are the high bits of red, bit 1, 4 and 7 of green,
bit 2 and 5 of blue. Values above 255 have no palette; such a picture is 16-bit grey, without colours.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sightline.classes import Size
from sightline.data.coco_masks import decode
from sightline.data.image_header import MAX_PIXELS, read_size
from sightline.data.mask_files import with_mask
from sightline.data.records import usable_segmentation
from sightline.data.tables import Tables
from sightline.errors import DataError

VOID = 255
"""The value of pixels that belong to no class, or to nobody knows which."""


def voc_colours() -> NDArray[np.uint8]:
    """(256, 3) RGB of each value."""
    values = np.arange(256)
    colours = np.zeros((256, 3), np.int64)
    for bit in range(8):
        channel, depth = bit % 3, bit // 3
        colours[:, channel] |= (values >> bit & 1) << (7 - depth)
    return colours.astype(np.uint8)


def write_labels(path: Path, labels: NDArray[np.int32], *, wide: bool = False) -> None:
    """Writes a label image as PNG; its folder is made.

    Args:
        path: the file, in a folder that belongs to the writer.
        labels: (H, W) values, 0..255, or 0..65535 where it is wide.
        wide: 16-bit grey instead of 8 bits with a palette.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    if labels.min() < 0 or labels.max() > (65535 if wide else 255):
        raise ValueError(f"labels span {labels.min()}..{labels.max()}, which the picture cannot hold")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(labels.astype(np.uint16 if wide else np.uint8))
    if not wide:
        picture.putpalette(voc_colours().tobytes())
    picture.save(path, format="PNG")


def size_of(tables: Tables, row: int) -> Size:
    """(H, W) of an image as annotated, or of the file where the annotation has none.

    Raises:
        DataError: the file is missing or no image, or annotated with more pixels than an image may have.
    """
    height, width = tables.images.sizes[row].tolist()
    if height * width > MAX_PIXELS:
        file, where = tables.locate_image(row)
        raise DataError(
            f"annotated as {height} x {width} (H x W), more than {MAX_PIXELS:,} pixels",
            place=f"{file}, {where}" if where else file,
            cure="correct the annotated size",
        )
    return (height, width) if height and width else read_size(tables.image_path(row))


def plain_entry(tables: Tables, row: int) -> dict[str, Any]:
    """COCO's entry of an object row; a mask in a label image stays a reference."""
    entry: dict[str, Any] = json.loads(tables.details.text(*tables.objects.spans[row].tolist()))
    return entry


def mask_of(entry: dict[str, Any], size: Size) -> NDArray[np.bool_] | None:
    """The mask of an object.

    Args:
        entry: COCO's entry, its mask possibly a reference to a label image.
        size: (H, W) of the image.

    Returns:
        (H, W); None where the mask is missing, of another size or damaged.
    """
    try:
        segmentation = usable_segmentation(with_mask(entry).get("segmentation"))
        return None if segmentation is None else decode(segmentation, size)
    except DataError:
        return None
