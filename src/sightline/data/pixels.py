"""From a picture in any of Pillow's colour modes to (3, H, W) uint8 RGB.

* Grey, palette, 1-bit, CMYK, YCbCr and HSV pictures become RGB by Pillow's conversion; ICC profiles are not applied.
* Transparency is composited on white, which is what a browser's page and most labelling tools show.
* 16-bit grey is scaled from 0..65535 to 0..255 and rounded, never cut off; 16-bit colour is reduced by Pillow, which
  keeps the high byte. 32-bit integers are taken as 16-bit values, floats as 0..1, and anything outside is an error.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from sightline.errors import DataError


def rgb(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    """The pixels of a loaded picture, not yet turned.

    Args:
        image: the picture, with its pixels in memory.
        path: the file that an error names.

    Returns:
        (3, H, W), contiguous.

    Raises:
        DataError: the colour mode has no defined RGB, or values are outside the range that the mode stands for.
    """
    mode = image.mode
    if mode.startswith(("I", "F")):
        return _from_grey(_to_eight_bits(np.asarray(image), mode, path))
    if mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        return _planes(_on_white(image))
    if mode == "RGB":
        return _planes(image)
    if mode == "L":
        return _from_grey(np.asarray(image))
    if mode in ("1", "P", "CMYK", "YCbCr", "HSV"):
        return _planes(image.convert("RGB"))
    raise DataError(f"colour mode {mode} has no defined RGB", place=path, cure="save the picture as RGB")


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; values that EXIF does not define count as 1, as viewers take them."""
    value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A picture (..., H, W) as it is to be seen (EXIF 2.32, tag 0x0112): 5 to 8 are transposed first, then mirrored."""
    if orientation == 1:
        return pixels
    if orientation >= 5:
        pixels = pixels.swapaxes(-1, -2)
    mirrored = {2: (-1,), 3: (-2, -1), 4: (-2,), 5: (), 6: (-1,), 7: (-2, -1), 8: (-2,)}[orientation]
    return np.ascontiguousarray(np.flip(pixels, mirrored))


def _planes(image: Image.Image) -> NDArray[np.uint8]:
    # One packed band after the other is a fifth faster than interleaved pixels that are permuted afterwards.
    out = np.empty((3, image.height, image.width), np.uint8)
    for plane, band in zip(out, "RGB", strict=True):
        plane[:] = np.frombuffer(image.tobytes("raw", band), np.uint8).reshape(plane.shape)
    return out


def _from_grey(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.broadcast_to(grey, (3, *grey.shape)))


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        image = image.convert("LA")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _to_eight_bits(values: NDArray[np.generic], mode: str, path: Path) -> NDArray[np.uint8]:
    top = 1.0 if mode == "F" else 65535.0
    wide = values.astype(np.float64)
    if not (np.isfinite(wide).all() and wide.min() >= 0 and wide.max() <= top):
        kind = "float pixels outside 0..1" if mode == "F" else "integer pixels outside 0..65535"
        raise DataError(kind, place=path, cause="a measurement rather than a picture", cure="scale it to 8 or 16 bits")
    return np.rint(wide * (255 / top)).astype(np.uint8)
