"""The one way from an image file to pixels; training, evaluation, prediction and the web page all come through here.

Pillow decodes. What comes out is always (3, H, W) uint8 RGB with the EXIF orientation applied:

* grey, palette, 1-bit, CMYK, YCbCr and HSV pictures become RGB by Pillow's conversion; ICC profiles are not applied;
* transparency is composited on white, which is what a browser's page and most labelling tools show;
* 16-bit grey is scaled from 0..65535 to 0..255 and rounded, never cut off; 16-bit colour is reduced by Pillow, which
  keeps the high byte; 32-bit integers are taken as 16-bit values, floats as 0..1, and anything outside is an error;
* of an animation the first frame is read.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from sightline.errors import DataError
from sightline.structures import Size

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm"}
)
"""File name endings, in lower case, that are taken as images in folders."""

MAX_PIXELS = 178_956_970
"""Largest height times width that is decoded, half a gigabyte of RGB: Pillow's limit against decompression bombs."""

_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    IndexError,
    KeyError,
    AttributeError,
    RuntimeError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombWarning,
)
"""What Pillow's readers raise on damaged bytes; found by mutating files."""

_PNG_METADATA = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")


def read_image(path: str | Path) -> Tensor:
    """The pixels of an image file.

    Args:
        path: the file.

    Returns:
        (3, H, W) uint8 RGB, contiguous, upright by its EXIF orientation.

    Raises:
        DataError: the file is missing, no image, damaged, too large, or in a colour mode without a defined RGB.
    """
    path = Path(path)
    with _opened(path) as image:
        image.load()
        orientation = _orientation(image)
        pixels = _rgb(image, path)
    return _upright(torch.from_numpy(pixels), orientation)


def read_size(path: str | Path) -> Size:
    """(H, W) that :func:`read_image` would give, from the file's header alone where the format allows it.

    Raises:
        DataError: as :func:`read_image`, except for damage beyond the header.
    """
    path = Path(path)
    with _opened(path) as image:
        width, height = image.size
        if image.format == "TIFF":  # Pillow has turned the size already
            return height, width
        if image.format == "PNG" and not _has_png_metadata(path):  # getexif would decode all pixels to look behind them
            return height, width
        return (width, height) if _orientation(image) >= 5 else (height, width)


def list_images(paths: Sequence[str]) -> list[Path]:
    """The image files that command-line arguments name, each once.

    Args:
        paths: files; folders, searched with their subfolders, in order of path, without hidden files; glob patterns
            (``**`` for any depth), whose matches are taken like a folder's.

    Raises:
        DataError: an argument that matches nothing, a folder without images, or a file that is no image.
    """
    found: dict[Path, None] = {}
    for argument in paths:
        found.update(dict.fromkeys(_expand(argument)))
    if not found:
        raise DataError("no images given", cure="name image files, folders or patterns such as 'photos/*.jpg'")
    return list(found)


def _expand(argument: str) -> list[Path]:
    path = Path(argument)
    if path.is_file():
        _require_image(path)
        return [path]
    if path.is_dir():
        images = _images_below(path)
    elif any(sign in argument for sign in "*?["):
        matches = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        matches = [m for m in matches if not any(q.startswith(".") and q not in path.parts for q in m.parts)]
        files = [m for m in matches if m.suffix.lower() in IMAGE_SUFFIXES and m.is_file()]
        images = files + [image for m in matches if m.is_dir() for image in _images_below(m)]
    else:
        raise DataError("no such file or folder", place=argument, cure="check the path")
    if not images:
        known = " ".join(sorted(IMAGE_SUFFIXES))
        raise DataError("no images found", place=argument, cure=f"name files or folders with images ({known})")
    return images


def _images_below(folder: Path) -> list[Path]:
    files = (p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(p for p in files if p.is_file() and not any(q.startswith(".") for q in p.relative_to(folder).parts))


def _require_image(path: Path) -> None:
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        with _opened(path):
            pass


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The file opened by Pillow; whatever it raises on bad bytes becomes a DataError that names the file."""
    try:
        with Image.open(path) as image:
            _require_sane_size(image, path)
            yield image
    except (FileNotFoundError, IsADirectoryError) as error:
        raise DataError("there is no such image file", place=path, cure="check the path") from error
    except PermissionError as error:
        raise DataError("image may not be read", place=path, cure="change the file's permissions") from error
    except UnidentifiedImageError as error:
        empty = path.is_file() and path.stat().st_size == 0
        raise DataError(
            "the file is empty" if empty else "not an image in a format that can be read",
            place=path,
            cause="an interrupted copy or download" if empty else "another kind of file, or a damaged header",
            cure="fetch the file again, or leave it out",
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_large(path) from error
    except _DAMAGE as error:
        raise DataError(
            f"damaged image ({error})",
            place=path,
            cause="an interrupted copy or download",
            cure="fetch the file again, or leave it out",
        ) from error


def _require_sane_size(image: Image.Image, path: Path) -> None:
    if min(image.size) < 1:
        raise DataError("an image without pixels", place=path, cure="leave the file out")
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(path)


def _too_large(path: Path) -> DataError:
    return DataError(
        f"the image has more than {MAX_PIXELS:,} pixels",
        place=path,
        cause="a damaged header, or a file made to exhaust memory",
        cure="cut the picture into tiles",
    )


def _has_png_metadata(path: Path) -> bool:
    data = path.read_bytes()
    return any(mark in data for mark in _PNG_METADATA)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; values that EXIF does not define count as 1, as viewers take them."""
    value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(pixels: Tensor, orientation: int) -> Tensor:
    """The image as it is to be seen (EXIF 2.32, tag 0x0112): 5 to 8 are transposed first, then mirrored."""
    if orientation == 1:
        return pixels
    if orientation >= 5:
        pixels = pixels.transpose(1, 2)
    mirrored = {2: (2,), 3: (1, 2), 4: (1,), 5: (), 6: (2,), 7: (1, 2), 8: (1,)}[orientation]
    return pixels.flip(mirrored).contiguous()


def _rgb(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    """(3, H, W) uint8 of a loaded picture in any of Pillow's modes."""
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
