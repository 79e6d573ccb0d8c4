"""What is left of a damaged image file, and whether anything is missing from one.

Pillow fills a picture's memory as far as the file goes and then raises. So the picture is decoded twice, once into
memory full of 0 and once into memory full of 255: where both agree the file has spoken, elsewhere nothing was
written. Pillow's own switch for this (``ImageFile.LOAD_TRUNCATED_IMAGES``) changes every decoding in the process, also
those of other threads, and is left alone; where somebody else has set it, :func:`is_cut_short` still tells.

JPEG is different: it stores frequencies, not pixels, and libjpeg itself makes mid-grey of what does not come. It only
has to meet an end-of-image marker, which is appended.
"""

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    IndexError,
    KeyError,
    AttributeError,
    RuntimeError,
    SystemError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombWarning,
)
"""What Pillow's readers raise on damaged bytes; found by mutating files."""

_JPEG_START = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9" * 32769
"""End-of-image markers, more than the longest segment: one that was cut off swallows 65,535 bytes."""

_JPEG_BLOCK = 16 * 16
"""Pixels that libjpeg invents where the file ends."""


@dataclass(frozen=True)
class Part:
    """What could be decoded of a picture.

    Args:
        image: the loaded picture, not yet turned; what is missing is black.
        missing: (H, W) bool, pixels that the file does not fill; of a JPEG all that are exactly mid-grey.
    """

    image: Image.Image
    missing: NDArray[np.bool_]


def salvage(data: bytes) -> Part | None:
    """The part of a damaged file that can be decoded, or None when not one pixel can.

    Args:
        data: the content of the file; its header is sound.

    Raises:
        Exception: one of ``DAMAGE`` where the header is no image's after all.
    """
    is_jpeg = data.startswith(_JPEG_START)
    if is_jpeg:
        data += _JPEG_END
    dark, light = (_loaded_over(fill, Image.open(BytesIO(data))) for fill in (0, 255))
    if _is_turned_by_its_reader(dark):
        return None
    pixels = np.asarray(dark)
    missing = _over_bands(pixels != np.asarray(light))
    if is_jpeg:  # 127 is the same grey after Adobe's inversion of CMYK
        missing |= ~_over_bands((pixels < 127) | (pixels > 128))
    there = missing.size - int(missing.sum())
    return Part(dark, missing) if there > (_JPEG_BLOCK if is_jpeg else 0) else None


def is_cut_short(data: bytes) -> bool:
    """Whether pixels are missing from a file, also when Pillow was told not to mind.

    Args:
        data: the content of the file.
    """
    source = _Source(data)
    image = Image.open(source)
    source.ran_dry = False  # whoever asks what kind of file it is may read on at liberty
    dark, light = _loaded_over(0, image), _loaded_over(255, Image.open(BytesIO(data)))
    wanted_more = source.ran_dry and image.format != "PNG"  # whose reader looks for remarks behind the pixels
    return wanted_more or not np.array_equal(np.asarray(dark), np.asarray(light), equal_nan=dark.mode == "F")


def _over_bands(found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W): whether it is found in any band of a pixel."""
    return np.asarray(found.any(axis=2)) if found.ndim == 3 else found


class _Source(BytesIO):
    """A file in memory that notes whether a reader wanted more than there is."""

    ran_dry = False

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.ran_dry = self.ran_dry or (not data and size is not None and size > 0)
        return data


def _loaded_over(fill: int, image: ImageFile.ImageFile) -> ImageFile.ImageFile:
    """The picture decoded, as far as that goes, into memory that is full of one value."""
    if not _is_turned_by_its_reader(image):
        image.im = Image.new(image.mode, image.size, fill).im
    try:
        image.load()
    except DAMAGE:
        image.tile = []  # nothing more will come; Pillow hands out the picture as it is
    return image


def _is_turned_by_its_reader(image: Image.Image) -> bool:
    """TIFF's reader turns pictures when it is done, which it is not when the file ends early."""
    return image.format == "TIFF" and image.getexif().get(0x0112, 1) != 1
