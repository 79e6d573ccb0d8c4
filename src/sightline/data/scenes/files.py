"""Pictures of Scenes as image files and COCO annotations.

Nothing here imports torch: these functions run in worker processes.
"""

from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from sightline.data.coco_masks import encode
from sightline.data.scenes.config import ScenesConfig
from sightline.data.scenes.render import Picture, render

_JPEG_QUALITY = 92


class Written(NamedTuple):
    """What one chunk of pictures adds to an annotation file; the annotations have no ids yet."""

    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]


def write_chunk(config: ScenesConfig, folder: Path, chunk: tuple[str, range]) -> Written:
    """Renders some pictures of one split into ``folder / split`` and gives their annotations.

    Args:
        config: how the set is made.
        folder: where the set is written; it has a folder of the split's name.
        chunk: the split, and the indices of the pictures.
    """
    split, indices = chunk
    written = Written([], [])
    height, width = config.size
    for index in indices:
        picture, image_id = render(config, split, index), index + 1
        name = f"{image_id:06d}.jpg"
        # Full colour resolution: the smallest objects are 8 pixels long.
        Image.fromarray(picture.image).save(folder / split / name, quality=_JPEG_QUALITY, subsampling=0)
        written.images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        written.annotations.extend(_annotation(picture, place, image_id) for place in range(len(picture.labels)))
    return written


def _annotation(picture: Picture, place: int, image_id: int) -> dict[str, Any]:
    """One object in COCO's terms: box as x, y, width, height; mask as compressed run lengths; keypoints flat."""
    x1, y1, x2, y2 = (float(side) for side in picture.boxes[place])
    keypoints = picture.keypoints[place]
    flat = [[round(float(x), 2), round(float(y), 2), int(visibility)] for x, y, visibility in keypoints]
    return {
        "image_id": image_id,
        "category_id": int(picture.labels[place]) + 1,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": int(picture.masks[place].sum()),
        "iscrowd": 0,
        "segmentation": encode(picture.masks[place]),
        "keypoints": [value for triple in flat for value in triple],
        "num_keypoints": int((keypoints[:, 2] > 0).sum()),
    }
