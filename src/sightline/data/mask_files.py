"""Masks that are kept as pictures: every value of a label image is an object or a class.

COCO has no word for them. An entry then says under :data:`MASK_FILE` which file and which value; the run lengths are
worked out when somebody asks for them.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from sightline.data.coco_masks import encode
from sightline.data.salvage import DAMAGE
from sightline.errors import DataError

MASK_FILE = "mask_file"
"""Key of an annotation entry whose mask is in a label image: ``{"path": ..., "value": ...}``."""


def read_labels(path: str) -> NDArray[np.int32]:
    """The values of a label image: of a palette the indices, of grey the levels, 8 or 16 bits.

    Args:
        path: a PNG, or another lossless picture.

    Returns:
        (H, W), not to be written to.

    Raises:
        DataError: missing, damaged, or a picture in colours.
    """
    try:
        status = Path(path).stat()
    except (OSError, ValueError) as error:
        raise DataError(
            f"the label image cannot be read ({error})", place=path, cause="an interrupted copy", cure="fetch it again"
        ) from error
    return _labels(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _labels(path: str, _size: int, _changed: int) -> NDArray[np.int32]:
    """The values of one state of a file: the objects of an image ask for them one after the other."""
    try:
        with Image.open(path) as image:
            if image.mode not in ("1", "L", "P", "I", "I;16", "I;16B"):
                raise DataError(
                    f"a label image holds one value a pixel, not colours ({image.mode})",
                    place=path,
                    cure="save it with a palette or as grey levels",
                )
            labels = np.asarray(image).astype(np.int32)
    except (UnidentifiedImageError, Image.DecompressionBombError, *DAMAGE) as error:
        raise DataError(
            f"the label image cannot be read ({error})", place=path, cause="an interrupted copy", cure="fetch it again"
        ) from error
    labels.setflags(write=False)
    return labels


def with_mask(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with its mask as COCO's run lengths, where it refers to a label image; else as it is.

    Raises:
        DataError: the label image cannot be read.
    """
    place = entry.get(MASK_FILE)
    if place is None:
        return entry
    labels = read_labels(place["path"])
    rest = {key: value for key, value in entry.items() if key != MASK_FILE}
    return rest | {"segmentation": encode(labels == place["value"])}
