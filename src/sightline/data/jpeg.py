"""The quick way for plain JPEGs: three components of 8 bits, whole, one picture. Everything else is Pillow's.

``torchvision.io`` gives the same pixels as Pillow, which a test compares, and hands them out as libjpeg wrote them,
interleaved. Resizing takes them so as well, so that no one puts them into another order first.
"""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from sightline.data.pixels import orientation_of, upright

_END = b"\xff\xd9"


def decode_plain_jpeg(image: Image.Image, path: Path) -> Tensor | None:
    """(3, H, W) uint8 RGB of an opened JPEG, upright, channels last in memory; None where Pillow has to look at it.

    Args:
        image: opened by Pillow, its header read.
        path: of the file.
    """
    # Adobe's marker may say that the components are RGB already.
    if image.format != "JPEG" or image.mode != "RGB" or image.info.get("adobe_transform", 1) != 1:
        return None
    data = path.read_bytes()
    # libjpeg fills what is missing with grey and says so to nobody: only a file with its end marker is taken here.
    if not data.endswith(_END):
        return None
    from torchvision.io import ImageReadMode, decode_jpeg  # takes a second, which commands without pictures save

    try:
        pixels: Tensor = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB)
    except RuntimeError:  # Pillow says what is wrong
        return None
    if tuple(pixels.shape[1:]) != (image.height, image.width):
        return None
    return torch.from_numpy(upright(pixels.numpy(), orientation_of(image)))
