"""What an image is known by when others are compared with it: digests, and a small grey picture.

The grey picture is 32 x 32 whatever the image's shape, upright, of box averages. From it come

* :func:`search_vectors`, for a first look at all pairs: differences between neighbours at 16 x 16, cut off at 1.5 times
  their mean so that one strong edge (a horizon, a black bar) does not decide, and of length 1. They are split into a
  part that a mirror leaves as it is and one that it turns round, so that one product serves both the picture and its
  mirror image;
* :class:`Windows`, for the second look: 49 overlapping windows of 8 x 8, each without its mean and slope. Two pictures
  of one sky, sea or street agree in most of the picture; windows with something in them tell them apart.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from sightline.classes import Size
from sightline.data.image_header import opened
from sightline.data.pixels import orientation_of, rgb, upright

SIDE = 32
"""Sides of the grey picture."""

_COARSE = SIDE // 2
_DECODED = 4 * SIDE  # a JPEG is decoded at the fraction of its size that is still as large as this
_CUT_OFF = 1.5
_WINDOW, _STEP = 8, 4
_LEAST_CONTRAST = 2.0  # grey levels; below that a window shows nothing
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, which JPEG uses

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What an image file is known by.

    Args:
        digest: SHA-256 of the file's bytes.
        size: (H, W) of the upright picture.
        luma: (32, 32) uint8 grey levels.
    """

    digest: bytes
    size: Size
    luma: NDArray[np.uint8]


def fingerprint(path: Path) -> Fingerprint:
    """Reads an image file once.

    Raises:
        DataError: it is missing, no image, or damaged.
    """
    with opened(path) as image:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        width, height = image.size
        if image.format in ("JPEG", "MPO"):
            image.draft("L", (_DECODED, _DECODED))
        image.load()
        orientation = orientation_of(image)
        grey = image
        if image.mode != "L" or "transparency" in image.info:
            grey = Image.fromarray(np.tensordot(_LUMA, rgb(image, path), 1).astype(np.uint8))
        luma = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX))
    size = (width, height) if orientation >= 5 else (height, width)
    return Fingerprint(digest, size, upright(luma, orientation))


def pixel_digest(path: Path) -> bytes:
    """SHA-256 of the upright RGB picture: the same for two files that show the same pixels.

    Raises:
        DataError: the file is missing, no image, or damaged.
    """
    with opened(path) as image:
        image.load()
        pixels = upright(rgb(image, path), orientation_of(image))
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()


def search_vectors(luma: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What is compared at the first look.

    Args:
        luma: (N, 32, 32).

    Returns:
        Two parts (N, 232) and (N, 248) of one vector of length 1: a mirror leaves the first as it is and turns the
        sign of the second. The product of two pictures is the sum of the parts' products, with the one picture
        mirrored their difference. Zeros where the picture is of one grey.
    """
    coarse = luma.reshape(len(luma), _COARSE, 2, _COARSE, 2).mean((2, 4), dtype=np.float32)
    across, down = np.diff(coarse, axis=2), np.diff(coarse, axis=1)
    mean = (np.abs(across).sum((1, 2)) + np.abs(down).sum((1, 2))) / (2 * _COARSE * (_COARSE - 1))
    limit = _CUT_OFF * mean[:, None, None]
    across, down = np.clip(across, -limit, limit), np.clip(down, -limit, limit)
    half = _COARSE // 2
    left, middle, right = across[:, :, : half - 1], across[:, :, half - 1], across[:, :, : half - 1 : -1]
    upper, lower = down[:, :, :half], down[:, :, : half - 1 : -1]
    root = np.float32(np.sqrt(0.5))
    same = [root * (left - right), root * (upper + lower)]
    turned = [root * (left + right), middle, root * (upper - lower)]
    kept, changed = _flat(same), _flat(turned)
    length = np.sqrt((kept**2).sum(1) + (changed**2).sum(1))[:, None]
    length[length == 0] = 1
    return kept / length, changed / length


def _flat(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate([part.reshape(len(part), int(np.prod(part.shape[1:]))) for part in parts], 1)


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of pictures for the second look.

    Args:
        units: (49, N, 64) float32, each window without mean and slope, of length 1.
        shown: (49, N), whether a window shows anything.
    """

    units: NDArray[np.float32]
    shown: NDArray[np.bool_]

    @classmethod
    def of(cls, luma: NDArray[np.uint8]) -> "Windows":
        """The windows of pictures (N, 32, 32)."""
        views = sliding_window_view(luma, (_WINDOW, _WINDOW), (1, 2))[:, ::_STEP, ::_STEP]
        flat = views.reshape(len(luma), -1, _WINDOW * _WINDOW).astype(np.float32)
        rest = np.asarray(flat - (flat @ _SLOPES) @ _SLOPES.T, np.float32).swapaxes(0, 1)
        contrast = np.sqrt((rest**2).mean(2))
        return cls(rest / np.maximum(_WINDOW * contrast, 1e-3)[:, :, None], contrast > _LEAST_CONTRAST)


def _slopes() -> NDArray[np.float32]:
    down, across = np.mgrid[:_WINDOW, :_WINDOW]
    basis = np.stack([np.ones(_WINDOW * _WINDOW), across.ravel(), down.ravel()], 1)
    return np.linalg.qr(basis)[0].astype(np.float32)


_SLOPES = _slopes()
