"""What the header of an image file says, before any pixel is decoded: its size, its frames, whether it is an image.

Nothing here imports torch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from sightline.classes import Size
from sightline.data.pixels import orientation_of
from sightline.data.salvage import DAMAGE
from sightline.errors import DataError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm"}
)
"""File name endings, in lower case, that are taken as images in folders."""

MAX_PIXELS = 178_956_970
"""Largest height times width that is decoded, half a gigabyte of RGB: Pillow's limit against decompression bombs."""

_PNG_METADATA = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")


def read_size(path: str | Path) -> Size:
    """(H, W) that :func:`read_image` would give, from the file's header alone where the format allows it.

    Raises:
        DataError: as :func:`read_image`, except for damage beyond the header.
    """
    path = Path(path)
    with opened(path) as image:
        width, height = image.size
        if image.format == "TIFF":  # Pillow has turned the size already
            return height, width
        if image.format == "PNG" and not _has_png_metadata(path):  # getexif would decode all pixels to look behind them
            return height, width
        return (width, height) if orientation_of(image) >= 5 else (height, width)


def read_frames(path: str | Path) -> int | None:
    """How many frames a file has: 1 for a plain picture; None where there are more, but damage hides how many.

    Raises:
        DataError: as :func:`read_size`.
    """
    path = Path(path)
    with opened(path) as image:
        return count_frames(image, path)


def require_image(path: Path) -> None:
    """Check that a file begins as an image does.

    Raises:
        DataError: it does not, or cannot be read.
    """
    with opened(path):
        pass


def count_frames(image: Image.Image, path: Path) -> int | None:
    """How many frames the opened file of a path has; None where there are more, but damage hides how many."""
    if image.format not in ("GIF", "TIFF"):
        return int(getattr(image, "n_frames", 1))
    # These two count by walking through the file; a walk that fails leaves a picture behind that cannot be read.
    with Image.open(path) as walker:
        try:
            return int(getattr(walker, "n_frames", 1))
        except DAMAGE:
            return None


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
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
            cure="fetch the file again, leave it out, or go on without it: --on-bad-image skip",
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_large(path) from error
    except DAMAGE as error:
        raise DataError(
            f"damaged image ({error})",
            place=path,
            cause="an interrupted copy or download",
            cure="fetch the file again, leave it out, or go on without it: --on-bad-image skip",
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
